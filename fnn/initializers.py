"""Initial weights: draws from zero-mean distributions whose width may depend on the fans, and on the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np
from attrs import Factory, field, frozen

from fnn.arrays import Array

Draw = Callable[[np.random.Generator, int, int], Array]
SIGHT = 2.5  # pixels: standard deviation of the window through which a local unit begins to look


@frozen
class Initializer:
    """Draws a weight matrix of shape ``(fan_in, fan_out)``; biases start at zero."""

    name: str
    draw: Draw
    first: Draw = field(default=Factory(lambda self: self.draw, takes_self=True))  # of the layer that sees the inputs


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


def _local(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Draw a unit's weights from ``N(0, 2 g_i^2 / sum_k g_k^2)`` with ``g_i = exp(-d_i^2 / (2 SIGHT^2))``.

    ``d_i`` is the distance of pixel i of a square image from a random place of it, the unit's own, so that it begins by
    looking there, as units of the eye and of convolutions do (d'Ascoli et al. 2019, "Finding the needle in the
    haystack with convolutions"). He's width, with what it sees as its fan-in; any other number of inputs as He's.
    """
    side = isqrt(fan_in)
    if side**2 != fan_in:
        return _he(rng, fan_in, fan_out)
    places = rng.uniform(0, side - 1, (2, 1, fan_out))
    down, right = np.exp(-((np.arange(side)[:, None] - places) ** 2) / (2 * SIGHT**2))  # their product is the window
    out = rng.standard_normal((side, side, fan_out))
    out *= down[:, None]
    out *= right * np.sqrt(2 / (np.sum(down**2, axis=0) * np.sum(right**2, axis=0)))
    return out.reshape(fan_in, fan_out)


#: Every initializer by its name on the command line.
INITIALIZERS: Mapping[str, Initializer] = {
    row.name: row
    for row in (
        Initializer("random", _random),
        Initializer("Xavier", _xavier),
        Initializer("He", _he),
        Initializer("local", _he, first=_local),
    )
}
