"""Cores and the threads of the BLAS."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_info

from fnn import threads


def test_no_more_cores_are_counted_than_the_process_may_use() -> None:
    assert 1 <= threads.available() <= (os.cpu_count() or 1)


def test_the_limit_holds_inside_the_block_only() -> None:
    blas = lambda: {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}  # noqa: E731
    before = blas()
    with threads.limited(2):
        assert blas() == {2}
        with threads.limited(2), threads.limited(1):
            assert blas() == {1}
        assert blas() == {2}
    assert blas() == before
