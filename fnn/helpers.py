"""A few threads beside the caller's, for work that NumPy does without holding Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from threading import Thread

import numpy as np

Task = Callable[[int], object]


class Helper:
    """A thread that does what it is asked to: a pool of the standard library takes three times as long to wake one.

    It keeps off one core, where the caller's finds its place: the system likes to wake a thread on the core of the one
    that wakes it, and then both work there by turns.
    """

    def __init__(self) -> None:
        self.asked: SimpleQueue[tuple[Task, int, SimpleQueue[BaseException | None]]] = SimpleQueue()
        Thread(target=self._serve, name="fnn", daemon=True).start()

    def _serve(self) -> None:
        # A thread has its own error state: the caller's checks are made where its results arrive.
        np.seterr(all="ignore")
        if hasattr(os, "sched_setaffinity") and len(cores := os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, cores - {max(cores)})  # 0: this thread
        while True:
            task, part, done = self.asked.get()
            try:
                task(part)
            except BaseException as error:  # the caller's to handle, whatever it is
                done.put(error)
            else:
                done.put(None)
            del task, done  # what they hold shall not outlive them here


@lru_cache
def _helpers(count: int) -> tuple[Helper, ...]:
    return tuple(Helper() for _ in range(count))


def at_once(task: Task, parts: int) -> None:
    """Do the parts of a task at the same time, the last in the caller's thread; an exception of any is raised.

    >>> found = [0, 0]
    >>> at_once(lambda part: found.__setitem__(part, part + 1), 2)
    >>> found
    [1, 2]
    """
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    helpers = _helpers(parts - 1)
    for part, helper in enumerate(helpers):
        helper.asked.put((task, part, done))
    try:
        task(parts - 1)
    finally:
        errors = [done.get() for _ in helpers]
    for error in errors:
        if error is not None:
            raise error
