"""Thousands of features of each image in a byte apiece: a quarter of the memory of floats, read as if they were these.

A feature is kept as a code, its share of the largest value seen in 255ths, and decoded when a batch is gathered, when
it is standardised, too: ``x = step * code + offset`` is the deviation from the mean in standard deviations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze

MOST = 255  # the largest code
FLOOR = 0.02  # of the largest value: the least that a standard deviation counts as


@frozen(eq=False)
class Scale:
    """How features are coded and decoded, each by numbers of its own."""

    top: Array  # (width,): what the largest code stands for; more counts as that
    step: Array  # (width + 1,): of a code, in standard deviations; the last column is of ones
    offset: Array  # (width + 1,)


def blank(width: int) -> Scale:
    """Return a record of the right shapes: it takes features from 0 to 1 as they are, to the nearest code.

    >>> blank(1).step.tolist()
    [0.00392156862745098, 1.0]
    """
    step = np.full(width + 1, 1 / MOST)
    step[-1] = 1
    return Scale(freeze(np.ones(width)), freeze(step), freeze(np.zeros(width + 1)))


def fit(features: Array, mirror: Array) -> Scale:
    """Return the scale of features ``(n, width)``, none negative; those that ``mirror`` exchanges share their numbers.

    >>> scale = fit(np.array([[0.0, 3.0], [1.0, 2.0]]), np.array([1, 0]))
    >>> scale.top.tolist()
    [3.0, 3.0]
    """
    top = np.maximum(features.max(axis=0), features.max(axis=0)[mirror]).astype(float)
    top[top <= 0] = 1
    codes = encode(top, features)[:, :-1]
    sums = codes.sum(axis=0, dtype=np.int64)  # exact, and so in any order
    squares = np.einsum("ij,ij->j", codes, codes, dtype=np.int64)
    mean = (sums + sums[mirror]) / (2 * len(codes))
    variance = (squares + squares[mirror]) / (2 * len(codes)) - mean**2
    step = 1 / np.sqrt(np.maximum(variance, 0) + (FLOOR * MOST) ** 2)
    return Scale(freeze(top), freeze(np.append(step, 1)), freeze(np.append(-mean * step, 0)))


def encode(top: Array, features: Array) -> Array:
    """Return the codes of features, and a last column of ones: bytes of shape ``(n, width + 1)``."""
    shares = features * (MOST / top).astype(features.dtype)
    out = np.ones((len(features), features.shape[1] + 1), np.uint8)
    np.minimum(np.rint(shares, out=shares), MOST, out=out[:, :-1], casting="unsafe")
    return freeze(out)


@frozen(eq=False)
class Coded:
    """A design matrix ``[x, 1]`` in codes. An array's ``shape``, ``len``, slices and ``take`` do the same with it."""

    codes: Array  # (images, width + 1)
    rows: Array  # (n,): which of the images, in which order
    step: Array  # (width + 1,) in the precision of the result
    offset: Array

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.codes.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, span: slice) -> Array:
        return freeze(self.take(np.arange(len(self.rows))[span]))

    def take(self, indices: Array, axis: int = 0, out: Array | None = None, mode: Any = "raise") -> Array:
        """Return rows as numbers, like the method of an array of which they are rows."""
        assert axis == 0, "only rows are coded side by side"
        codes = self.codes.take(self.rows.take(indices, mode=mode), axis=0)
        out = np.multiply(codes, self.step, out=out)
        return np.add(out, self.offset, out=out)

    def at(self, index: Array) -> Coded:
        """Return some of the rows, without a copy of them."""
        return Coded(self.codes, freeze(self.rows[index]), self.step, self.offset)


def coded(codes: Array, scale: Scale, dtype: str) -> Coded:
    """Return all rows of codes as a design matrix."""
    step, offset = (freeze(array.astype(dtype)) for array in (scale.step, scale.offset))
    return Coded(codes, freeze(np.arange(len(codes))), step, offset)
