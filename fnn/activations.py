"""Activation functions and their derivatives, each written once, in place, for blocks of any shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze
from fnn.calls import Runs, call

# Scalars as arrays: NumPy converts a Python number at every call, which costs as much as the call itself.
ZERO, ONE, INFINITY = (freeze(np.array(number, np.float32)) for number in (0, 1, np.inf))


@frozen
class Activation:
    """An elementwise non-linearity ``a = f(z)``, whose slope is a function of its *output*.

    ``apply(z)`` returns the calls that overwrite ``z`` by ``f(z)``. ``pull_back(a, delta, scratch)`` returns those that
    overwrite ``delta``, the cotangent of ``a``, by that of ``z``, ``f'(z) * delta``; they don't write ``a``, and what
    they leave in ``scratch``, contiguous and of the same shape and dtype, is of no use.
    """

    name: str
    apply: Callable[[Array], Runs]
    pull_back: Callable[[Array, Array, Array], Runs]

    def value(self, z: Array) -> Array:
        """Return ``f(z)`` as a new read-only array.

        >>> ACTIVATIONS["ReLU"].value(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        out = np.array(z, np.result_type(z, ONE))
        with np.errstate(over="ignore"):
            call(self.apply(out))
        return freeze(out)


def _identity(_z: Array) -> Runs:
    return ()


def _pull_back_identity(_a: Array, _delta: Array, _scratch: Array) -> Runs:
    return ()


def _sigmoid(z: Array) -> Runs:
    # exp overflows to infinity for z << 0, whose reciprocal is the right limit: callers silence that overflow.
    return partial(np.negative, z, z), partial(np.exp, z, z), partial(np.add, z, ONE, z), partial(np.reciprocal, z, z)


def _pull_back_sigmoid(a: Array, delta: Array, scratch: Array) -> Runs:
    write_slope = partial(np.subtract, ONE, a, scratch), partial(np.multiply, scratch, a, scratch)
    return *write_slope, partial(np.multiply, delta, scratch, delta)


def _tanh(z: Array) -> Runs:
    return (partial(np.tanh, z, z),)


def _pull_back_tanh(a: Array, delta: Array, scratch: Array) -> Runs:
    write_slope = partial(np.multiply, a, a, scratch), partial(np.subtract, ONE, scratch, scratch)
    return *write_slope, partial(np.multiply, delta, scratch, delta)


def _relu(z: Array) -> Runs:
    # ``maximum`` with a number takes up to twice the time, and with an array of zeros it reads twice the memory.
    return (partial(z.clip, ZERO, INFINITY, z),)


def _pull_back_relu(a: Array, delta: Array, scratch: Array) -> Runs:
    # The subgradient at the kink is 0, as in every framework (Bertoin et al. 2021 study the choice).
    # A product with what is true or false takes as long as one with its copy as numbers and the copying.
    positive = scratch.reshape(-1).view(bool)[: a.size].reshape(a.shape)  # a byte an element, at the memory's beginning
    return partial(np.greater, a, ZERO, positive), partial(np.multiply, delta, positive, delta)


#: Every activation by its name on the command line. Adding one is adding a row.
ACTIVATIONS: Mapping[str, Activation] = {
    row.name: row
    for row in (
        Activation("identity", _identity, _pull_back_identity),
        Activation("sigmoid", _sigmoid, _pull_back_sigmoid),
        Activation("tanh", _tanh, _pull_back_tanh),
        Activation("ReLU", _relu, _pull_back_relu),
    )
}
