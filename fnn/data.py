"""Data sets as arrays ready for training: splitting, targets and the order of an epoch, all pure functions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze, rng
from fnn.coded import Coded
from fnn.errors import UserError
from fnn.features import FEATURES, Fitted


@frozen(eq=False)
class Dataset:
    """Samples as a design matrix ``[x, 1]`` of shape ``(n, features + 1)``, and their labels ``(n,)``; read-only.

    The matrix may be in codes: of either kind a slice of rows and ``take`` give numbers.
    """

    design: Array | Coded
    labels: Array
    classes: int
    features: str = "pixels"  # a row of FEATURES: what the columns mean
    taught: Array | None = None  # probabilities (n, classes) to learn in place of the labels: a teacher's answers

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """Number of features."""
        return self.design.shape[1] - 1

    @property
    def x(self) -> Array:
        """Features, shape ``(n, features)``: a view, or all of them decoded."""
        return self.design[:][:, :-1]


def dataset(
    images: Array,
    labels: Array,
    classes: int = 10,
    dtype: str = "float32",
    features: str = "pixels",
    fitted: Fitted | None = None,
) -> Dataset:
    """Compute features of images of bytes ``(n, ...)``: pixels are flattened and scaled to ``[0, 1]``.

    Features that learn need what they have learned, ``fitted``. Raises UserError for labels that do not fit the images,
    and for images that have no such features.

    >>> dataset(np.full((1, 2, 2), 255, np.uint8), np.array([3])).design
    array([[1., 1., 1., 1., 1.]], dtype=float32)
    """
    check_labels(images, labels, classes)
    design = FEATURES[features].design(images, dtype, fitted)
    if not isinstance(design, Coded):
        freeze(design)
    return Dataset(design, freeze(np.array(labels, np.int64)), classes, features)


def check_labels(images: Array, labels: Array, classes: int) -> None:
    """Raise UserError for labels that do not fit the images."""
    if len(images) != len(labels):
        raise UserError(f"labels: expected one for each of {len(images)} images, found {len(labels)}")
    if not len(labels):
        raise UserError("images: expected at least one, found none")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"labels: expected 0 to {classes - 1}, found {labels.min()} to {labels.max()}")


def take(data: Dataset, index: Array) -> Dataset:
    """Return the samples at ``index``, in its order."""
    design = data.design.at(index) if isinstance(data.design, Coded) else freeze(data.design[index])
    taught = None if data.taught is None else freeze(data.taught[index])
    return Dataset(design, freeze(data.labels[index]), data.classes, data.features, taught)


def split(labels: Array, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return disjoint, sorted indices of training and validation samples, stratified by class.

    Of a class with ``c`` samples, ``round(fraction * c)`` are drawn for validation by (seed, class) alone.

    >>> train, validation = split(np.array([0, 1, 0, 1]), 0.5, seed=0)
    >>> len(train), len(validation)
    (2, 2)
    """

    def held_out(label: int) -> Array:
        members = np.flatnonzero(labels == label)
        return rng(seed, "split", label).permutation(members)[: round(fraction * len(members))]

    chosen = np.sort(np.concatenate([held_out(int(label)) for label in np.unique(labels)]))
    return freeze(np.setdiff1d(np.arange(len(labels)), chosen)), freeze(chosen)


def targets(labels: Array, classes: int, smoothing: float = 0.0, dtype: str = "float32") -> Array:
    """Return one-hot targets smoothed to ``(1 - s) onehot + s / classes`` (Szegedy et al. 2016).

    Labels of shape ``(..., n)`` give targets of shape ``(..., classes, n)``.

    >>> targets(np.array([1]), 2, 0.2, "float64").ravel().tolist()
    [0.1, 0.9]
    """
    hot = labels[..., None, :] == np.arange(classes)[:, None]
    rest = smoothing / classes
    return freeze(np.where(hot, np.array(1 - smoothing + rest, dtype), np.array(rest, dtype)))


def desired(data: Dataset, rows: Array, smoothing: float = 0.0, dtype: str = "float32") -> Array:
    """Return what a network is to answer to the samples at ``rows`` (..., n): targets (..., classes, n).

    They are what a teacher answers, where there is one: its probabilities tell what else an image is like (Hinton,
    Vinyals & Dean 2015, "Distilling the knowledge in a neural network", at a temperature of one).

    >>> two = Dataset(np.ones((2, 1)), np.array([0, 1]), 2)
    >>> desired(two, np.array([1]), 0.2).ravel().tolist() == targets(np.array([1]), 2, 0.2).ravel().tolist()
    True
    """
    if data.taught is None:
        return targets(data.labels[rows], data.classes, smoothing, dtype)
    return freeze(np.ascontiguousarray(data.taught[rows].swapaxes(-1, -2), dtype))


@lru_cache(maxsize=2)
def epoch_order(n: int, seed: int, epoch: int) -> Array:
    """Return the order in which an epoch visits ``n`` samples: a permutation, a pure function of its arguments."""
    return freeze(rng(seed, "shuffle", epoch).permutation(n))


def twins(images: Array, others: Array) -> Array:
    """Return the indices of the images that stand, byte for byte, among the others too.

    >>> twins(np.array([[1, 2], [3, 4]], np.uint8), np.array([[3, 4]], np.uint8)).tolist()
    [1]
    """
    known = {image.tobytes() for image in others}
    return freeze(np.array([i for i, image in enumerate(images) if image.tobytes() in known], np.int64))
