"""Threads beside the caller's: what they compute, and that their number changes no bit."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from fnn import helpers, training
from fnn.arrays import same
from fnn.data import dataset
from fnn.helpers import at_once
from fnn.network import Spec
from fnn.optimizers import OPTIMIZERS, with_clipping, with_l2
from fnn.training import Plan, initial_state, run_epoch


def test_parts_are_done_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=10)
    at_once(lambda _part: barrier.wait() and None, 3)  # a barrier that is never full would time out


@pytest.mark.skipif(not helpers.CORES, reason="a system that doesn't tell cores")
def test_a_helper_keeps_off_the_core_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = []
    for core in sorted(helpers.CORES) * 2:
        monkeypatch.setattr(helpers, "core_of_caller", lambda core=core: core)
        at_once(lambda part: part or cores.append(os.sched_getaffinity(0)), 2)
        assert cores[-1] == (helpers.CORES - {core} or helpers.CORES)


def test_without_knowledge_of_cores_parts_are_done_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "core_of_caller", None)
    done = []
    at_once(done.append, 3)
    assert sorted(done) == [0, 1, 2]


def test_cores_that_were_taken_away_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "CORES", frozenset({4096, 4097}))
    monkeypatch.setattr(helpers, "core_of_caller", lambda: 4096)
    done = []
    at_once(done.append, 2)
    assert sorted(done) == [0, 1]


def test_failures_reach_the_caller() -> None:
    def fail(part: int) -> None:
        if part == 0:
            raise ValueError("part 0")

    with pytest.raises(ValueError, match="part 0"):
        at_once(fail, 2)


def test_several_callers_share_the_helpers_and_each_gets_its_own_failure() -> None:
    def call(number: int, found: list[str]) -> None:
        def fail(part: int) -> None:
            if part < 2:
                raise ValueError(f"{number}")

        for _ in range(50):
            with pytest.raises(ValueError, match=r"[0-3]") as caught:
                at_once(fail, 3)
            found.append(str(caught.value))

    results: list[list[str]] = [[] for _ in range(4)]
    callers = [threading.Thread(target=call, args=each) for each in enumerate(results)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [[str(number)] * 50 for number in range(4)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_number_of_threads_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SHARED_FROM", 0)
    rng = np.random.default_rng(0)
    data = dataset(rng.integers(0, 256, (700, 5, 5), dtype=np.uint8), rng.integers(0, 10, 700))
    optimizer = with_clipping(0.5)(with_l2(0.01)(OPTIMIZERS[name]()))
    ends = []
    for threads in (1, 2, 3):
        plan = Plan(Spec((25, 40, 10)), optimizer, 0.01, 32, threads=threads)
        ends.append(run_epoch(plan, data, initial_state(plan)))
    assert same(ends[0], ends[1]) and same(ends[0], ends[2])
