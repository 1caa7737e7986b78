"""Processes that train one network together: forks of the caller's, in memory that all of them see.

Threads would take turns at Python's lock, and whoever waits for it, or for the others' part of a step, sleeps: to be
woken takes as long as a small layer. Processes have locks of their own, and wait for each other by watching a number.

They do the same work at the same time, each its own part of what is shared, and whatever isn't shared is left to the
*lead*, the caller. What they compute is what one process would, but for a product of fewer rows, which the BLAS may add
up in another order, the same at each run.
"""

from __future__ import annotations

import gc
import os
import platform
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from math import prod
from mmap import mmap
from typing import NoReturn, TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import DTypeLike

from fnn.arrays import LINE, Array, empty

#: Whether there can be teams. Watching a number tells what else has been written on processors only that keep writes
#: in order, which those of ARM don't; and on systems other than Linux a fork may lose what libraries rely on.
AVAILABLE = sys.platform == "linux" and platform.machine() == "x86_64"

WORDS = LINE // 8  # of a line
WATCHES = 500  # of a number, before the core is offered to others: some 20 us
PATIENCE = 200  # such offers, after which a wait goes on asleep
NAP = 1e-3  # seconds
HEARD_WITHIN = 1.0  # seconds: a process that hasn't told its number by then has not been started
MEANT_FOR_THE_LEAD = signal.SIGINT, signal.SIGTERM

R = TypeVar("R")


class Memory:
    """Memory that forks share. What nobody holds any more serves again: new memory must be cleared by the system."""

    def __init__(self) -> None:
        self._idle: dict[int, list[mmap]] = {}

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array of any content, which begins where a page does."""
        size = max(1, prod(shape) * np.dtype(dtype).itemsize)
        idle = self._idle.setdefault(size, [])
        try:
            block = idle.pop() if idle else mmap(-1, size)
        except OSError as error:
            raise MemoryError(f"{size:,} bytes that processes share ({error.strerror})") from error
        whole = np.frombuffer(block, np.uint8)
        finalize(whole, idle.append, block).atexit = False
        return whole[: prod(shape) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)


class Team:
    """So many processes, or one where there can't be several, as each of them sees it."""

    def __init__(self, parts: int = 1, memory: Memory | None = None) -> None:
        self.parts = parts if AVAILABLE else 1
        self.part, self.leads = self.parts - 1, True  # what this process does: the last part is the lead's
        self.empty = (memory or Memory()).empty if self.parts > 1 else empty  # allocates what several are to see
        self._begun: set[int] = set()  # the parts of the others

    def run(self, work: Callable[[], R]) -> R:
        """Do the work in each process, and return what it returns to the lead.

        Raises ChildProcessError when another can't be started or has ended before. Whatever happens, none is left.
        """
        if self.parts == 1:
            return work()
        self._lead = os.getpid()
        # By part: how often it has come to a meeting, and its process; each number in a line of the cache of its own.
        self._counts, self._pids = (memoryview(mmap(-1, self.parts * LINE)).cast("q")[::WORDS] for _ in range(2))
        try:
            for part in range(self.parts - 1):
                self._fork(part, work)
            result = work()
            self.meet()
            return result
        finally:
            self._end()

    def _end(self) -> None:
        """End the other processes, and only then give way to an interrupt."""
        interrupt = None
        while self._begun:
            part = max(self._begun)
            try:
                # An interrupt may have kept the lead from hearing the number, which the process itself has told, too.
                deadline = time.monotonic() + HEARD_WITHIN
                while not self._pids[part] and time.monotonic() < deadline:
                    time.sleep(NAP)
                if self._pids[part]:
                    os.kill(self._pids[part], signal.SIGKILL)
                    os.waitpid(self._pids[part], 0)
                self._begun.discard(part)
            except (ProcessLookupError, ChildProcessError):
                self._begun.discard(part)  # had ended when an interrupt came
            except BaseException as error:
                interrupt = error
        if interrupt:
            raise interrupt

    def meet(self) -> None:
        """Wait until all have come here: what they have written is there from now on."""
        if self.parts == 1:
            return
        counts, arrived = self._counts, self._counts[self.part] + 1
        counts[self.part] = arrived
        for other in range(self.parts):
            watched = 0
            while counts[other] < arrived:
                watched += 1
                if watched % WATCHES == 0:
                    self._pause(watched)

    def _pause(self, watched: int) -> None:
        """Let others have the core, and see whether those who are waited for are still there."""
        if self.leads:
            for part in self._begun:
                if how := _ended(self._pids[part]):
                    self._begun.remove(part)
                    raise ChildProcessError(
                        f"a process that trained its part of the network has ended{how}; what is saved stays as it is, "
                        "and --threads 1 needs no such process"
                    )
        elif os.getppid() != self._lead:
            os._exit(1)
        if watched > WATCHES * PATIENCE:
            time.sleep(NAP)
        else:
            os.sched_yield()

    def _fork(self, part: int, work: Callable[[], object]) -> None:
        """Start the process that does a part."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # The new process gets no signal before it has said what becomes of it.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            with warnings.catch_warnings():
                # Of the caller's threads, whose locks nobody opens in a fork: all that it does here is compute.
                warnings.simplefilter("ignore")
                self._begun.add(part)
                child = os.fork()
                if not child:
                    self._serve(part, work, mask)
                self._pids[part] = child
        except OSError as error:
            self._begun.discard(part)
            raise ChildProcessError(
                f"no process could be started ({error.strerror}); --threads 1 needs none"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _serve(self, part: int, work: Callable[[], object], mask: Iterable[int | signal.Signals]) -> NoReturn:
        """Do a part, in a process that then ends without what the caller's has to do at its end."""
        try:
            self._pids[part] = os.getpid()
            for number in MEANT_FOR_THE_LEAD:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            gc.disable()  # of objects that are the caller's to finish
            self.part, self.leads, self._begun = part, False, set()
            work()
            self.meet()
            while os.getppid() == self._lead:
                time.sleep(NAP)  # until the lead ends it: whoever ends sooner has failed
        except BaseException:
            os.write(2, traceback.format_exc().encode())  # sys.stderr may need the caller's threads
        finally:
            os._exit(1)


def _ended(pid: int) -> str:
    """Return how a process has ended, in words, or nothing if it hasn't."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG) if pid else (0, 0)
    except ChildProcessError:  # somebody else has waited for it
        return " somehow"
    code = os.waitstatus_to_exitcode(status)
    return "" if not found else " by an error, told above" if code > 0 else f", killed by signal {-code}"


SOLO = Team()
