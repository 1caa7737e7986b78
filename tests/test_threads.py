from __future__ import annotations

import os

import pytest
from threadpoolctl import threadpool_info

from fnn import threads
from fnn.network import Spec


def test_auto_shares_large_products_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available", lambda: 6)
    assert threads.choose("auto", Spec((784, 64, 10)), 64) == 1
    assert threads.choose("auto", Spec((784, 1024, 1024, 10)), 256) == 6
    assert threads.choose(3, Spec((784, 64, 10)), 64) == 3


def test_no_more_cores_are_counted_than_the_process_may_use() -> None:
    assert 1 <= threads.available() <= (os.cpu_count() or 1)


def test_the_limit_holds_inside_the_block_only() -> None:
    blas = lambda: {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}  # noqa: E731
    before = blas()
    with threads.limited(2):
        assert blas() == {2}
    assert blas() == before
