"""How many cores there are, and how many of them the BLAS may use."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def available() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limited(count: int) -> AbstractContextManager[object]:
    """Return a context within which BLAS uses ``count`` threads.

    Where it does already, it isn't asked to: after a fork OpenBLAS answers by new threads, which watch out for work for
    some 20 ms.
    """
    found = {blas.num_threads for blas in _controller().lib_controllers if blas.user_api == "blas"}
    return nullcontext() if found == {count} else _controller().limit(limits=count, user_api="blas")


@lru_cache
def _controller() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
