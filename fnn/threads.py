"""How many threads train a network: chosen by size and trial, since small ones lose by company.

They are ours, each with a BLAS of one thread. The BLAS's own serve what is done now and then, as evaluation.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fnn.calls import by_rows, call
from fnn.network import Spec
from fnn.products import product, product_with_transposed

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

#: Multiply-adds of a step below which a second thread doesn't pay, however idle the machine.
WORTH_SHARING = 2e7
GAIN = 1.1  # by which several threads must be faster than one in the trial
TRIAL_SECONDS = 0.1


def choose(setting: str | int, spec: Spec, batch_size: int) -> int:
    """Return the number of threads: the setting, or for ``auto`` the faster of 1 and all cores in a short trial.

    A step costs about ``3 * batch_size * parameters`` multiply-adds; small ones aren't tried. Where another process is
    at work, several threads may be slower than one.
    """
    if isinstance(setting, int):
        return setting
    cores = available()
    if cores == 1 or 3 * batch_size * spec.parameters < WORTH_SHARING:
        return 1
    return cores if seconds(spec, batch_size, cores) * GAIN < seconds(spec, batch_size, 1) else 1


def seconds(spec: Spec, batch_size: int, count: int) -> float:
    """Return the time of the largest layer's products in so many threads: the mean, which counts their stalls, too."""
    fan_in, fan_out = max(spec.shapes, key=lambda shape: shape[0] * shape[1])
    ones = lambda *shape: np.ones(shape, spec.dtype)  # noqa: E731
    weights, gradient = ones(fan_in, fan_out), ones(fan_in, fan_out)
    batch, units = ones(fan_in, batch_size), ones(fan_out, batch_size)
    work = fan_in * fan_out * batch_size
    runs = (
        *by_rows(lambda rows: product(weights.T[rows], batch, units[rows]), fan_out, work, count),
        *by_rows(lambda rows: product_with_transposed(batch[rows], units, gradient[rows]), fan_in, work, count),
    )
    with limited(1):
        done, began = -1, 0.0  # the first time wakes the threads
        while (passed := time.perf_counter() - began) < TRIAL_SECONDS or done < 3:
            call(runs)
            done += 1
            began = began if done else time.perf_counter()
    return passed / done


def available() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limited(count: int) -> AbstractContextManager[object]:
    """Return a context within which BLAS uses ``count`` threads."""
    return _controller().limit(limits=count, user_api="blas")


@lru_cache
def _controller() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
