"""Activation functions and their slopes, each written once, in place, for blocks of any shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze
from fnn.calls import Runs, call

# Scalars as arrays: NumPy converts a Python number at every call, which costs as much as the call itself.
ZERO, ONE = (freeze(np.array(number, np.float32)) for number in (0, 1))


@frozen
class Activation:
    """An elementwise non-linearity ``a = f(z)`` and its slope as a function of its *output*: ``f'(z) = slope(a)``.

    ``apply(z)`` returns the calls that overwrite ``z`` by ``f(z)``. ``slope(a, scratch)`` returns those that overwrite
    ``scratch``, of the same shape and dtype, by the factor of the cotangent; they don't write ``a``.
    """

    name: str
    apply: Callable[[Array], Runs]
    slope: Callable[[Array, Array], Runs]

    def value(self, z: Array) -> Array:
        """Return ``f(z)`` as a new read-only array.

        >>> ACTIVATIONS["ReLU"].value(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        out = np.array(z)
        with np.errstate(over="ignore"):
            call(self.apply(out))
        return freeze(out)


def _identity(_z: Array) -> Runs:
    return ()


def _identity_slope(_a: Array, scratch: Array) -> Runs:
    return (partial(scratch.fill, 1),)


def _sigmoid(z: Array) -> Runs:
    # exp overflows to infinity for z << 0, whose reciprocal is the right limit: callers silence that overflow.
    return partial(np.negative, z, z), partial(np.exp, z, z), partial(np.add, z, ONE, z), partial(np.reciprocal, z, z)


def _sigmoid_slope(a: Array, scratch: Array) -> Runs:
    return partial(np.subtract, ONE, a, scratch), partial(np.multiply, scratch, a, scratch)


def _tanh(z: Array) -> Runs:
    return (partial(np.tanh, z, z),)


def _tanh_slope(a: Array, scratch: Array) -> Runs:
    return partial(np.multiply, a, a, scratch), partial(np.subtract, ONE, scratch, scratch)


@lru_cache(maxsize=16)
def _zeros(shape: tuple[int, ...], dtype: str) -> Array:
    return freeze(np.zeros(shape, dtype))


def _relu(z: Array) -> Runs:
    # Two arrays are compared by vector instructions, an array and a number are not: 3 times the time.
    return (partial(np.maximum, z, _zeros(z.shape, z.dtype.char), out=z),)


def _relu_slope(a: Array, scratch: Array) -> Runs:
    # The subgradient at the kink is 0, as in every framework (Bertoin et al. 2021 study the choice).
    # A factor of the same dtype: a product of mixed ones is twice as slow.
    positive = np.empty(a.shape, bool)
    return partial(np.greater, a, ZERO, positive), partial(np.copyto, scratch, positive)


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
