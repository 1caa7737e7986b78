"""Signals that ask a program to end, heard at the next good moment instead of at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from attrs import define

ENDING = (signal.SIGINT, signal.SIGTERM)


@define
class Request:
    """Whether the program has been asked to end, and by which signal."""

    number: int = 0

    def __bool__(self) -> bool:
        return self.number > 0


@contextmanager
def deferred() -> Iterator[Request]:
    """Within the block, note the first SIGINT or SIGTERM in the request that is yielded; a second SIGINT ends at once.

    Outside of the main thread, which alone may handle signals, nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.number = number

    before = {number: signal.signal(number, note) for number in ENDING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
