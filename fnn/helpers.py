"""A few threads beside the caller's, for work that NumPy does without holding Python's lock."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from queue import SimpleQueue
from threading import Thread

import numpy as np

Task = Callable[[int], object]


class Helper:
    """A thread that does what it is asked to: a pool of the standard library takes three times as long to wake one."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[tuple[Task, int, SimpleQueue[BaseException | None]]] = SimpleQueue()
        self.thread = Thread(target=self._serve, name="fnn", daemon=True)
        self.thread.start()
        self.off: int | None = None

    def keep_off(self, core: int) -> None:
        """Stay on other cores than the caller's, on which the system likes to wake a thread: both would take turns."""
        if core != self.off and (others := CORES - {core}):
            with suppress(OSError):  # of cores that have been taken away meanwhile
                os.sched_setaffinity(self.thread.native_id or 0, others)
            self.off = core

    def _serve(self) -> None:
        # A thread has its own error state: the caller's checks are made where its results arrive.
        np.seterr(all="ignore")
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


def _found() -> tuple[frozenset[int], Callable[[], int] | None]:
    """Return the cores that the process may use and what tells the caller's, where the system tells."""
    if not hasattr(os, "sched_setaffinity"):
        return frozenset(), None
    return frozenset(os.sched_getaffinity(0)), getattr(ctypes.CDLL(None), "sched_getcpu", None)


CORES, core_of_caller = _found()


def at_once(task: Task, parts: int) -> None:
    """Do the parts of a task at the same time, the last in the caller's thread; an exception of any is raised.

    >>> found = [0, 0]
    >>> at_once(lambda part: found.__setitem__(part, part + 1), 2)
    >>> found
    [1, 2]
    """
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    helpers = _helpers(parts - 1)
    core = core_of_caller() if core_of_caller else None
    for part, helper in enumerate(helpers):
        if core is not None:
            helper.keep_off(core)
        helper.asked.put((task, part, done))
    try:
        task(parts - 1)
    finally:
        errors = [done.get() for _ in helpers]
    for error in errors:
        if error is not None:
            raise error
