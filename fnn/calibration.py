"""How many cores train a network: chosen by size and by a trial of its steps, since small ones lose by company."""

from __future__ import annotations

import statistics
import time

import numpy as np
from attrs import evolve

from fnn.arrays import freeze
from fnn.data import Dataset
from fnn.network import Params
from fnn.threads import available
from fnn.training import Plan, TrainState, run_epoch

#: Multiply-adds of a step below which a second core doesn't pay, however idle the machine.
WORTH_SHARING = 5e6
GAIN = 1.05  # by which several cores must be faster than one in the trial
TURNS = 3  # that each takes, or two that agree ...
WORK = 2e9  # ... of about so many multiply-adds: some 20 ms


def choose(setting: str | int, plan: Plan, data: Dataset) -> int:
    """Return the number of cores: the setting, or for ``auto`` the faster of 1 and all in a short trial.

    Steps of few multiply-adds aren't tried. Where another process is at work, several cores may be slower than one.
    They take turns, and medians count: a moment's stall decides nothing.
    """
    if isinstance(setting, int):
        return setting
    cores = available()
    if cores == 1 or plan.multiply_adds(len(data)) < WORTH_SHARING:
        return 1
    try:
        alone, together = seconds(plan, data, (1, cores))
    except ChildProcessError:  # none may be started here
        return 1
    return cores if _several([alone, together]) else 1


def _several(times: list[float]) -> bool:
    """Tell whether more cores than the first number of them are faster."""
    alone, *others = times
    return any(together * GAIN < alone for together in others)


def seconds(plan: Plan, data: Dataset, counts: tuple[int, ...]) -> list[float]:
    """Return the time of a step by each of these numbers of cores, the median of some turns.

    It is one of training, at a rate of zero, and of each piece of an epoch what it takes to begin. A turn that can't
    change whether the first number is the best isn't taken.
    """
    plan = evolve(plan, learning_rate=0.0)
    _timed(evolve(plan, threads=counts[0]), data, 1)  # not counted: it finds everything cold
    turns: list[list[float]] = []
    while len(turns) < TURNS and not (len(turns) == 2 and _several(turns[0]) == _several(turns[1])):
        turns.append([_turn(evolve(plan, threads=count), data) for count in counts])
    return [statistics.median(times) for times in zip(*turns, strict=True)]


def _turn(plan: Plan, data: Dataset) -> float:
    """Return the time of a step in a piece of an epoch, from that of one step and that of some more."""
    n = len(data)
    more = min(max(1, int(WORK / plan.multiply_adds(n))), plan.steps_per_epoch(n) - 1)
    first = _timed(plan, data, 1)
    step = max(0.0, _timed(plan, data, 1 + more) - first) / more if more else first
    return step + (first - step) / plan.steps_per_epoch(n) * plan.pieces(n)


def _timed(plan: Plan, data: Dataset, steps: int) -> float:
    # Equal parameters: to draw some takes as long as many steps.
    params = Params(plan.spec.sizes, freeze(np.full(plan.spec.parameters, 2.0**-10, plan.spec.dtype)))
    state = [TrainState(params, plan.optimizer.init(params))]
    del params
    began = time.perf_counter()
    run_epoch(plan, data, state.pop(), steps)
    return time.perf_counter() - began
