"""How many threads are chosen, and what their trial is made of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fnn import calibration
from fnn.network import Spec
from fnn.optimizers import OPTIMIZERS
from fnn.training import Plan


def plan(*hidden: int, normalizes: bool = False) -> Plan:
    return Plan(Spec((784, *hidden, 10)), OPTIMIZERS["adam"](), normalizes=normalizes)


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
def test_the_trial_makes_steps_by_the_threads_that_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, normalizes: bool
) -> None:
    seen: dict[int, set[str]] = {}
    blas: set[int] = set()
    bind = calibration.bound_update

    def bound(plan: Plan, theta: np.ndarray, *others: object) -> Callable[..., object]:
        update = bind(plan, theta, *others)  # type: ignore[arg-type]

        def step(*each: object) -> object:
            assert np.isfinite(theta).all()
            blas.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
            seen.setdefault(plan.threads, set()).update(thread.name for thread in threading.enumerate())
            return update(*each)  # type: ignore[arg-type]

        return step

    monkeypatch.setattr(calibration, "bound_update", bound)
    monkeypatch.setattr(calibration, "SECONDS", 0.0)
    monkeypatch.setattr(calibration, "TURN_SECONDS", 0.0)
    found = calibration.seconds(plan(600, 300, normalizes=normalizes), 64, (1, 2))
    assert len(found) == 2 and all(0 < each < 1 for each in found)
    assert set(seen) == {1, 2} and blas == {1}
    assert "fnn" in seen[2]  # a helper of ours


def test_a_moment_s_stall_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([9.0, 2.0, 1.0, 2.0, 1.0, 50.0] * 9)
    monkeypatch.setattr(calibration, "_turn", lambda _step: next(turns))
    monkeypatch.setattr(calibration, "SECONDS", 0.0)
    began = time.perf_counter()
    assert calibration.seconds(plan(8), 4, (1, 2)) == [1.0, 2.0]
    assert time.perf_counter() - began < 5
