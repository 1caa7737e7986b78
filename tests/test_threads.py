"""How many threads are used."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest
from threadpoolctl import threadpool_info

from fnn import threads
from fnn.network import Spec

LARGE = Spec((784, 1024, 1024, 10))


@pytest.mark.parametrize(("together", "expected"), [(0.6, 6), (0.95, 1), (20.0, 1)])
def test_auto_takes_all_cores_if_they_are_faster(
    monkeypatch: pytest.MonkeyPatch, together: float, expected: int
) -> None:
    monkeypatch.setattr(threads, "available", lambda: 6)
    monkeypatch.setattr(threads, "seconds", lambda _spec, _size, count: together if count == 6 else 1.0)
    assert threads.choose("auto", LARGE, 256) == expected
    assert threads.choose("auto", Spec((784, 64, 10)), 64) == 1  # too small to try
    assert threads.choose(3, Spec((784, 64, 10)), 64) == 3


def test_the_trial_multiplies_in_the_threads_that_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(threads, "limited", lambda count: asked.append(count) or nullcontext())
    made = threads.by_rows
    monkeypatch.setattr(threads, "by_rows", lambda *each: asked.append(each[-1]) or made(*each))
    monkeypatch.setattr(threads, "TRIAL_SECONDS", 0.0)
    assert 0 < threads.seconds(LARGE, 4, 2) < 1
    assert asked == [2, 2, 1]  # ours, and the BLAS's


def test_no_more_cores_are_counted_than_the_process_may_use() -> None:
    assert 1 <= threads.available() <= (os.cpu_count() or 1)


def test_the_limit_holds_inside_the_block_only() -> None:
    blas = lambda: {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}  # noqa: E731
    before = blas()
    with threads.limited(2):
        assert blas() == {2}
    assert blas() == before
