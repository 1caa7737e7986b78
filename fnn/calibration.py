"""How many threads train a network: chosen by size and by a trial of its own steps, since small ones lose by company.

They are ours, each with a BLAS of one thread. The BLAS's own serve what is done now and then, as evaluation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from attrs import evolve

from fnn.arrays import empty, freeze, rng, thaw
from fnn.network import Params, gradient_pass
from fnn.threads import available, limited
from fnn.training import Plan, bound_update
from fnn.updates import Signal

#: Multiply-adds of a step below which a second thread doesn't pay, however idle the machine.
WORTH_SHARING = 2e7
GAIN = 1.05  # by which several threads must be faster than one in the trial
SECONDS = 0.3  # that a trial takes at least ...
TURNS = 3  # ... and in which each takes so many turns at least ...
TURN_SECONDS = 0.01  # ... of so much time


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
    """Return the time of a step by each of these numbers of threads."""
    steps = _steps(plan, batch_size, counts)
    found: list[list[float]] = [[] for _ in counts]
    with limited(1), np.errstate(all="ignore"):
        for step in steps:
            step()
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS or len(found[0]) < TURNS:
            for times, step in zip(found, steps, strict=True):
                times.append(_turn(step))
    return [statistics.median(times) for times in found]


def _turn(step: Callable[[], None]) -> float:
    began, done = time.perf_counter(), 0
    while not done or time.perf_counter() - began < TURN_SECONDS:
        step()
        done += 1
    return (time.perf_counter() - began) / done


def _steps(plan: Plan, n: int, counts: tuple[int, ...]) -> list[Callable[[], None]]:
    """Return steps of a plan by so many threads, all on the same arrays: noise, from which nothing is learned."""
    params = Params(plan.spec.sizes, freeze(np.full(plan.spec.parameters, 2.0**-10, plan.spec.dtype)))
    theta, memory = thaw((params.theta, plan.optimizer.init(params)))
    gradient = empty(theta.shape, theta.dtype)
    signal = Signal(gradient, 0.0, 1, 1.0)
    wanted = np.full((plan.spec.sizes[-1], n), 1 / (plan.spec.sizes[-1] * n), theta.dtype)
    logits = np.empty_like(wanted)

    def by(count: int) -> Callable[[], None]:
        the = gradient_pass(plan.spec, theta, gradient, n, (), plan.normalizes, count)
        the.design[:] = rng(plan.seed, "trial").random(the.design.shape, theta.dtype)
        update = bound_update(evolve(plan, threads=count), theta, gradient, memory)

        def step() -> None:
            the.run(wanted, logits)
            update(signal, memory)

        return step

    return [by(count) for count in counts]
