"""How many threads are chosen, and what their trial is made of."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from threadpoolctl import threadpool_info

from fnn import calibration, calls, training
from fnn.helpers import Task, at_once
from fnn.network import Spec
from fnn.optimizers import OPTIMIZERS
from fnn.training import Plan


def plan(*hidden: int, normalizes: bool = False, dropout: float = 0.0) -> Plan:
    return Plan(Spec((784, *hidden, 10)), OPTIMIZERS["adam"](), normalizes=normalizes, dropout=dropout)


@pytest.mark.parametrize(("together", "expected"), [(0.6, 6), (0.97, 1), (20.0, 1)])
def test_auto_takes_all_cores_if_they_are_faster(
    monkeypatch: pytest.MonkeyPatch, together: float, expected: int
) -> None:
    monkeypatch.setattr(calibration, "available", lambda: 6)
    monkeypatch.setattr(calibration, "seconds", lambda _plan, _size, counts: [{1: 1.0, 6: together}[n] for n in counts])
    assert calibration.choose("auto", plan(1024, 1024), 256) == expected
    assert calibration.choose("auto", plan(64), 64) == 1  # too small to try
    assert calibration.choose(3, plan(64), 64) == 3


@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_a_trial_takes_steps_by_the_threads_that_it_is_asked_for(
    count: int, normalizes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: set[tuple[str, int]] = set()
    blas: set[int] = set()

    def recorder(by: str) -> Callable[..., None]:
        def record(task: Task, parts: int) -> None:
            blas.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
            shared.add((by, parts))
            at_once(task, parts)

        return record

    monkeypatch.setattr(calls, "at_once", recorder("layers"))
    monkeypatch.setattr(training, "at_once", recorder("update"))
    monkeypatch.setattr(calibration, "TURN_SECONDS", 0.0)
    (found,) = calibration.seconds(plan(600, 300, normalizes=normalizes, dropout=0.5), 64, (count,))
    assert 0 < found < 1
    assert shared == ({("layers", 2), ("update", 2)} if count == 2 else set())
    assert blas == ({1} if count == 2 else set())


def test_a_trial_holds_the_memory_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide layers and a large batch, whose activations outweigh the parameters."""
    monkeypatch.setattr(calibration, "TURN_SECONDS", 0.0)
    the = plan(300, 200)

    def peak(*counts: int) -> int:
        tracemalloc.start()
        calibration.seconds(the, 3000, counts)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1, 2)  # after which ReLU's zeros are kept
    assert peak(1, 2) < 1.05 * peak(1)


def test_a_moment_s_stall_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([9.0, 2.0, 1.0, 2.0, 1.0, 50.0])
    monkeypatch.setattr(calibration, "_turn", lambda _step: next(turns))
    assert calibration.seconds(plan(8), 4, (1, 2)) == [1.0, 2.0]
