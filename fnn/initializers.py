"""Initial weights: draws from zero-mean distributions whose width may depend on the fans."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen

from fnn.arrays import Array


@frozen
class Initializer:
    """Draws a weight matrix of shape ``(fan_in, fan_out)``; biases start at zero."""

    name: str
    draw: Callable[[np.random.Generator, int, int], Array]


def _random(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Draw from ``N(0, 1)/10``, whatever the fans: the naive choice that the others are compared with."""
    return rng.normal(0.0, 0.1, (fan_in, fan_out))


def _xavier(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Draw from ``U(-r, r)``, ``r = sqrt(6 / (fan_in + fan_out))`` (Glorot & Bengio 2010, eq. 16)."""
    bound = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, (fan_in, fan_out))


def _he(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Draw from ``N(0, 2 / fan_in)`` (He et al. 2015, eq. 10)."""
    return rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out))


#: Every initializer by its name on the command line.
INITIALIZERS: Mapping[str, Initializer] = {
    row.name: row for row in (Initializer("random", _random), Initializer("Xavier", _xavier), Initializer("He", _he))
}
