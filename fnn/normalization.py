"""Batch normalisation: while it learns, a hidden unit's ``z`` is standardised over the batch before its bias is added.

Ioffe & Szegedy (2015), "Batch normalization: accelerating deep network training by reducing internal covariate shift":

    y = (z - mean z) / sqrt(var z + epsilon) + b

The paper multiplies by a learned scale, too, which the next layer's weights can take over where the activation is ReLU.
So a network has the parameters it would have without. And it keeps no running statistics: those of the training images
follow from the parameters (the paper's algorithm 2), and are folded into weights and biases once they are asked for an
answer. What comes out is a plain network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import frozen

from fnn.arrays import Array, Empty, empty, freeze, spans

EPSILON = 1e-5  # of a variance, below which a unit counts as constant
KINDS = ("none", "batch")
ROWS = 1000  # of the inputs, activated at a time


@frozen(eq=False)
class Normalized:
    """What a layer's normalisation writes, for batches of ``n``: overwritten by every pass."""

    biases: Array  # (width, 1), a view into the parameters
    z: Array  # (width, n), standardised
    scale: Array  # (width, 1): 1 / sqrt(var + epsilon)
    total: Array  # (width, 1): the biases' gradient
    scratch: Array  # (width, n)

    def apply(self, z: Array) -> None:
        """Overwrite ``z``, (width, n), by ``y``."""
        mean_of(z, self.scale)
        np.subtract(z, self.scale, out=self.z)
        np.multiply(self.z, self.z, out=self.scratch)
        scale_of(mean_of(self.scratch, self.scale))
        np.multiply(self.z, self.scale, out=self.z)
        np.add(self.z, self.biases, out=z)

    def pull_back(self, delta: Array) -> None:
        """Overwrite the cotangent of ``y`` by that of ``z``:

        ``delta - mean delta - z mean (z delta)``, over the root of the variance.
        """
        np.sum(delta, axis=1, keepdims=True, out=self.total)
        np.multiply(delta, self.z, out=self.scratch)
        share = np.multiply(mean_of(self.scratch, np.empty_like(self.total)), self.z, out=self.scratch)
        np.subtract(delta, self.total / delta.shape[1], out=delta)
        np.subtract(delta, share, out=delta)
        np.multiply(delta, self.scale, out=delta)


def normalized(biases: Array, n: int, empty: Empty = empty) -> Normalized:
    """Allocate, by ``empty``, what a layer with these biases writes for batches of ``n``.

    They are a view ``(width,)`` into the parameters.
    """
    width = len(biases)
    z, scratch = (empty((width, n), biases.dtype) for _ in range(2))
    scale, total = empty((2, width, 1), biases.dtype)
    return Normalized(biases[:, None], z, scale, total, scratch)


def mean_of(z: Array, out: Array) -> Array:
    """Write the means ``(width, 1)`` over a batch ``(width, n)`` and return them."""
    return np.mean(z, axis=1, keepdims=True, out=out)


def scale_of(variance: Array) -> Array:
    """Overwrite variances by ``1 / sqrt(variance + epsilon)`` and return them."""
    variance += variance.dtype.type(EPSILON)
    return np.reciprocal(np.sqrt(variance, out=variance), out=variance)


def fold(block: Array, activate: Callable[[Array], None], a: Array) -> Array:
    """Fold the statistics of a layer's ``z`` on some inputs ``[a; 1]``, (fan_in + 1, n), into its ``[W; b]``.

    Overwrites the block by one that needs no normalisation and returns the layer's outputs, with a row of ones.
    """
    out = np.ones((block.shape[1] + 1, a.shape[1]), block.dtype)
    z = np.dot(block.T, a, out=out[:-1])
    mean = np.mean(z, axis=1, dtype=float)
    z -= mean.astype(z.dtype)[:, None]
    scale = 1 / np.sqrt(np.einsum("ij,ij->i", z, z, dtype=float) / z.shape[1] + EPSILON)
    biases = np.array(block[-1])
    block *= scale
    block[-1] += biases - mean * scale
    z *= scale.astype(z.dtype)[:, None]
    z += biases[:, None]
    for span in spans(z.shape[1], ROWS):
        activate(z[:, span])
    return freeze(out)
