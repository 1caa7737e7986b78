from __future__ import annotations

import os
import signal
import threading

import pytest

from fnn.signals import ENDING, deferred


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_noted_and_the_handlers_come_back(number: int) -> None:
    before = [signal.getsignal(n) for n in ENDING]
    with deferred() as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request and request.number == number
        assert [signal.getsignal(n) for n in ENDING] != before
    assert [signal.getsignal(n) for n in ENDING] == before


@pytest.mark.parametrize("first", ENDING)
def test_a_second_interrupt_ends_at_once(first: int) -> None:
    with pytest.raises(KeyboardInterrupt), deferred() as request:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGTERM)  # patient, whoever repeats it
        assert request.number in ENDING
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still here")


def test_another_thread_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with deferred() as request:
            seen.append((signal.getsignal(signal.SIGINT) is before, bool(request)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, False)]
