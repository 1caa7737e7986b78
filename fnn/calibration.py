"""How many threads train a network: chosen by size and by a trial of its steps, since small ones lose by company.

They are ours, each with a BLAS of one thread. The BLAS's own serve what is done now and then, as evaluation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from attrs import evolve

from fnn.arrays import Array, empty, freeze, rng, thaw
from fnn.network import Params, gradient_pass
from fnn.threads import available, limited
from fnn.training import Plan, bound_update, masks_of
from fnn.updates import Signal, State

#: Multiply-adds of a step below which a second thread doesn't pay, however idle the machine.
WORTH_SHARING = 2e7
GAIN = 1.05  # by which several threads must be faster than one in the trial
TURNS = 3  # that each takes ...
TURN_SECONDS = 0.05  # ... of so much time at least


def choose(setting: str | int, plan: Plan, batch_size: int) -> int:
    """Return the number of threads: the setting, or for ``auto`` the faster of 1 and all cores in a short trial.

    A step costs about ``3 * batch_size * parameters`` multiply-adds; small ones aren't tried. Where another process is
    at work, several threads may be slower than one. They take turns, and medians count: a moment's stall decides
    nothing.
    """
    if isinstance(setting, int):
        return setting
    cores = available()
    if cores == 1 or 3 * batch_size * plan.spec.parameters < WORTH_SHARING:
        return 1
    alone, together = seconds(plan, batch_size, (1, cores))
    return cores if together * GAIN < alone else 1


def seconds(plan: Plan, batch_size: int, counts: tuple[int, ...]) -> list[float]:
    """Return the time of a step by each of these numbers of threads, the median of some turns.

    A step is the network's passes and the update. The batch's gathering, its changes and the drawing of dropout's
    masks, which one thread does, are left out.
    """
    params = Params(plan.spec.sizes, freeze(np.full(plan.spec.parameters, 2.0**-10, plan.spec.dtype)))
    theta, memory = thaw((params.theta, plan.optimizer.init(params)))
    gradient = empty(theta.shape, theta.dtype)

    def turn(count: int) -> float:
        """Make a pass, which only this turn holds, and take steps by so many threads."""
        return _turn(_step(evolve(plan, threads=count), batch_size, theta, gradient, memory))

    with limited(1), np.errstate(all="ignore"):
        turns = [[turn(count) for count in counts] for _ in range(TURNS)]
    return [statistics.median(times) for times in zip(*turns, strict=True)]


def _turn(step: Callable[[], None]) -> float:
    step()  # which finds new memory, and wakes the helpers
    began, done = time.perf_counter(), 0
    while not done or time.perf_counter() - began < TURN_SECONDS:
        step()
        done += 1
    return (time.perf_counter() - began) / done


def _step(plan: Plan, n: int, theta: Array, gradient: Array, memory: State) -> Callable[[], None]:
    """Return a step on images of noise, at a learning rate of zero."""
    masks = masks_of(plan, n)
    for mask in masks:
        mask.fill(1)
    the = gradient_pass(plan.spec, theta, gradient, n, masks, plan.normalizes, plan.threads)
    the.design[:] = rng(plan.seed, "trial").random(the.design.shape, theta.dtype)
    update = bound_update(plan, theta, gradient, memory)
    signal = Signal(gradient, 0.0, 1, 1.0)
    wanted = np.full((plan.spec.sizes[-1], n), 1 / (plan.spec.sizes[-1] * n), theta.dtype)
    logits = np.empty_like(wanted)

    def step() -> None:
        the.run(wanted, logits)
        update(signal, memory)

    return step
