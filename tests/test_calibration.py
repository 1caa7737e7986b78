"""How many cores are chosen, and what their trial is made of."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fnn import calibration, metrics, teams, training
from fnn.calibration import choose, seconds
from fnn.data import Dataset, dataset
from fnn.network import Spec
from fnn.optimizers import OPTIMIZERS
from fnn.threads import limited
from fnn.training import Plan, TrainState, run_epoch


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return dataset(rng.integers(0, 256, (1000, 28, 28), dtype=np.uint8), rng.integers(0, 10, 1000))


def plan(*hidden: int, batch_size: int = 64) -> Plan:
    return Plan(Spec((784, *hidden, 10)), OPTIMIZERS["adam"](), 0.1, batch_size)


@pytest.mark.parametrize(("together", "expected"), [(0.6, 6), (0.97, 1), (20.0, 1)])
def test_auto_takes_all_cores_if_they_are_faster(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, together: float, expected: int
) -> None:
    monkeypatch.setattr(calibration, "available", lambda: 6)
    monkeypatch.setattr(calibration, "seconds", lambda _plan, _data, counts: [{1: 1.0, 6: together}[n] for n in counts])
    assert choose("auto", plan(1024, 1024), data) == expected
    assert choose("auto", plan(8), data) == 1  # too small to try
    assert choose(3, plan(8), data) == 3
    monkeypatch.setattr(calibration, "available", lambda: 1)
    assert choose("auto", plan(1024, 1024), data) == 1


@pytest.mark.parametrize(("batch_size", "steps"), [(64, (1, 16)), (500, (1, 2)), (1000, (1,)), (4000, (1,))])
def test_a_trial_is_of_real_steps_that_learn_nothing(
    data: Dataset, batch_size: int, steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one and, where an epoch has as many, of some more, by each number of cores in turn, after one to warm up."""
    seen = []

    def recorded(plan: Plan, data: Dataset, state: TrainState, steps: int) -> TrainState:
        seen.append((plan.threads, steps))
        start = state.params.theta
        state = run_epoch(plan, data, state, steps)
        assert state.params.theta.tobytes() == start.tobytes()
        return state

    monkeypatch.setattr(calibration, "run_epoch", recorded)
    found = seconds(plan(16, batch_size=batch_size), data, (1, 2))
    turn = [(count, each) for count in (1, 2) for each in steps]
    assert seen in ([(1, 1), *turn * turns] for turns in (2, calibration.TURNS))
    assert all(0 < each < 1 for each in found)


def test_wide_networks_take_few_steps(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(calibration, "_timed", lambda _plan, _data, steps: seen.append(steps) or float(steps))
    the = plan(2048, 1024, batch_size=32)
    assert seconds(the, data, (1,)) == [1.0]
    assert calibration.WORK / 2 < seen[2] * the.multiply_adds(1000) <= calibration.WORK * 1.5


def test_each_piece_begins_anew(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "PIECE", 1.0)
    monkeypatch.setattr(calibration, "_timed", lambda _plan, _data, steps: 10.0 + 2.0 * steps)
    assert seconds(plan(8, batch_size=25), data, (1, 2)) == [4.5, 4.5]  # ten pieces of four steps
    assert seconds(plan(8, batch_size=1000), data, (1,)) == [12.0]


@pytest.mark.parametrize("count", [1, 2])
def test_trials_are_held_to_the_cores_that_they_are_of(
    data: Dataset, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    monkeypatch.setattr(training, "hits", lambda *both: held.append(_blas()) or metrics.hits(*both))
    for there in (True, False):
        monkeypatch.setattr(teams, "AVAILABLE", there)
        with limited(3):
            seconds(plan(16), data, (count,))
        assert set(held) == {1 if there else count}
        held.clear()


def _blas() -> int:
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def test_where_no_process_can_be_started_one_trains(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(calibration, "available", lambda: 2)
    monkeypatch.setattr(os, "fork", refuse)
    assert choose("auto", plan(512), data) == 1


def test_a_moment_s_stall_decides_nothing(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([9.0, 2.0, 1.0, 2.0, 1.0, 50.0])
    monkeypatch.setattr(calibration, "_turn", lambda *_: next(turns))
    assert seconds(plan(8), data, (1, 2)) == [1.0, 2.0]


@pytest.mark.parametrize("together", [1.0, 4.0])
def test_two_turns_that_agree_are_enough(data: Dataset, monkeypatch: pytest.MonkeyPatch, together: float) -> None:
    turns = iter([2.0, together] * 2)
    monkeypatch.setattr(calibration, "_turn", lambda *_: next(turns))
    assert seconds(plan(8), data, (1, 2)) == [2.0, together]
    assert not list(turns)
