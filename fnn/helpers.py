"""A few threads beside the caller's, for work that NumPy does without holding Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np


@lru_cache
def _pool(count: int) -> ThreadPoolExecutor:
    # A thread has its own error state: the caller's checks are made where its results arrive.
    return ThreadPoolExecutor(count, "fnn", initializer=lambda: np.seterr(all="ignore"))


def at_once(task: Callable[[int], object], parts: int) -> None:
    """Do the parts of a task at the same time, the last in the caller's thread; an exception of any is raised.

    >>> found = [0, 0]
    >>> at_once(lambda part: found.__setitem__(part, part + 1), 2)
    >>> found
    [1, 2]
    """
    *others, own = range(parts)
    started = [_pool(parts - 1).submit(task, part) for part in others]
    task(own)
    for each in started:
        each.result()
