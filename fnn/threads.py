"""How many threads the matrix products use: chosen by their size, since small ones lose by company."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from fnn.network import Spec

#: Multiply-adds of a step above which a second thread pays, on the machine and by the command in reports/speed.py.
WORTH_SHARING = 2e7


def choose(setting: str | int, spec: Spec, batch_size: int) -> int:
    """Return the number of BLAS threads: the setting, or for ``auto`` one a core if a step's products are large enough.

    A step costs about ``3 * batch_size * parameters`` multiply-adds.
    """
    if isinstance(setting, int):
        return setting
    return available() if 3 * batch_size * spec.parameters >= WORTH_SHARING else 1


def available() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limited(count: int) -> AbstractContextManager[object]:
    """Return a context within which BLAS uses ``count`` threads."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(count, user_api="blas")
