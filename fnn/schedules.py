"""Learning-rate schedules: pure functions from the step (1, 2, ...) to a factor of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, pi

Schedule = Callable[[int], float]


def constant(total: int) -> Schedule:
    """Return the schedule that is 1 at every step."""
    return lambda step: 1.0


def warmup_cosine(total: int, warmup: float = 0.1) -> Schedule:
    """Rise linearly over the first ``warmup`` share of ``total`` steps, then fall along half a cosine to zero.

    ``step / w`` up to ``w = warmup * total``, then ``(1 + cos(pi (step - w) / (total - w))) / 2`` (Loshchilov & Hutter
    2017, "SGDR", with one period; warm-up as in Goyal et al. 2017).

    >>> f = warmup_cosine(100)
    >>> f(5), f(10), round(f(55), 3), f(100)
    (0.5, 1.0, 0.5, 0.0)
    """
    rise = max(1, round(warmup * total))
    fall = max(1, total - rise)

    def factor(step: int) -> float:
        if step <= rise:
            return step / rise
        return (1 + cos(pi * min(1.0, (step - rise) / fall))) / 2

    return factor


def step_decay(total: int, drops: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> Schedule:
    """Multiply the learning rate by ``factor`` after each share of the training in ``drops`` (He et al. 2016).

    >>> f = step_decay(100)
    >>> f(50), f(51), round(f(76), 3)
    (1.0, 0.1, 0.01)
    """
    return lambda step: factor ** sum(step > share * total for share in drops)


#: Every schedule by its name on the command line: a function from the total number of steps to a schedule.
SCHEDULES: Mapping[str, Callable[[int], Schedule]] = {
    "constant": constant,
    "warmup_cosine": warmup_cosine,
    "step": step_decay,
}
