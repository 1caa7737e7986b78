"""Activation functions and their slopes, each written once, in place, for blocks of any shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze

# Scalars as arrays: NumPy converts a Python number at every call, which costs as much as the call itself.
ZERO, ONE = (freeze(np.array(number, np.float32)) for number in (0, 1))


@frozen
class Activation:
    """An elementwise non-linearity ``a = f(z)`` and its slope as a function of its *output*: ``f'(z) = slope(a)``.

    ``apply`` overwrites its argument. ``slope`` writes the factor by which the cotangent is multiplied into
    ``scratch``, an array of the same shape and dtype, and returns that; it never writes ``a``.
    """

    name: str
    apply: Callable[[Array], None]
    slope: Callable[[Array, Array], Array]

    def value(self, z: Array) -> Array:
        """Return ``f(z)`` as a new read-only array.

        >>> ACTIVATIONS["ReLU"].value(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        out = np.array(z)
        with np.errstate(over="ignore"):
            self.apply(out)
        return freeze(out)


def _identity(z: Array) -> None:
    pass


def _identity_slope(a: Array, scratch: Array) -> Array:
    scratch.fill(1)
    return scratch


def _sigmoid(z: Array) -> None:
    # exp overflows to infinity for z << 0, whose reciprocal is the right limit: callers silence that overflow.
    np.negative(z, out=z)
    np.exp(z, out=z)
    np.add(z, ONE, out=z)
    np.reciprocal(z, out=z)


def _sigmoid_slope(a: Array, scratch: Array) -> Array:
    np.subtract(ONE, a, out=scratch)
    return np.multiply(scratch, a, out=scratch)


def _tanh(z: Array) -> None:
    np.tanh(z, out=z)


def _tanh_slope(a: Array, scratch: Array) -> Array:
    np.multiply(a, a, out=scratch)
    return np.subtract(ONE, scratch, out=scratch)


@lru_cache(maxsize=16)
def _zeros(shape: tuple[int, ...], dtype: str) -> Array:
    return freeze(np.zeros(shape, dtype))


def _relu(z: Array) -> None:
    # Two arrays are compared by vector instructions, an array and a number are not: 3 times the time.
    np.maximum(z, _zeros(z.shape, z.dtype.char), out=z)


def _relu_slope(a: Array, scratch: Array) -> Array:
    # The subgradient at the kink is 0, as in every framework (Bertoin et al. 2021 study the choice).
    # A factor of the same dtype: a product of mixed ones is twice as slow.
    np.copyto(scratch, np.greater(a, ZERO))
    return scratch


#: Every activation by its name on the command line. Adding one is adding a row.
ACTIVATIONS: Mapping[str, Activation] = {
    row.name: row
    for row in (
        Activation("identity", _identity, _identity_slope),
        Activation("sigmoid", _sigmoid, _sigmoid_slope),
        Activation("tanh", _tanh, _tanh_slope),
        Activation("ReLU", _relu, _relu_slope),
    )
}
