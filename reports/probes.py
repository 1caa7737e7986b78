"""A look inside networks: gradients, activations and weights by layer, and how far probabilities can be trusted."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from fnn.arrays import Array
from fnn.calls import call
from fnn.data import Dataset, targets
from fnn.network import Params, Spec, forward, loss_and_grad, matrices

SAMPLE = 1000  # images that a look takes
SATURATED = 0.05  # of the steepest slope: where a unit passes on less, it counts as saturated
BINS = 15  # of confidence, equally wide


@frozen
class Look:
    """Figures of each layer, the output's last; of the hidden ones alone in ``spread`` and ``saturated``."""

    gradients: tuple[float, ...]  # norms
    weights: tuple[float, ...]  # norms
    spread: tuple[float, ...]  # of the activations: standard deviation over the images, the mean of the units
    saturated: tuple[float, ...]  # share of units and images whose slope is below SATURATED of the steepest


def look(spec: Spec, params: Params, data: Dataset, count: int = SAMPLE) -> Look:
    """Return the figures of the loss and the activations over the first ``count`` samples."""
    x, labels = data.x[:count], data.labels[:count]
    _, gradient = loss_and_grad(spec, params, x, targets(labels, data.classes, dtype=spec.dtype).T)
    hidden = [units.output for units in forward(spec, params, x).layers.hidden]  # (width, n)
    slopes = [np.ones_like(a) for a in hidden]
    for a, slope in zip(hidden, slopes, strict=True):
        call(spec.nonlinearity.pull_back(a, slope, np.empty_like(slope)))
    steepest = {"sigmoid": 0.25}.get(spec.activation, 1.0)
    return Look(
        _norms(matrices(spec.sizes, gradient)),
        _norms(tuple(w for w, _ in params.layers)),
        tuple(float(a.std(axis=1).mean()) for a in hidden),
        tuple(float((slope < SATURATED * steepest).mean()) for slope in slopes),
    )


def gradient_norm(spec: Spec, params: Params, data: Dataset, count: int = SAMPLE) -> float:
    """Return the norm of the gradient of the mean loss of the first ``count`` samples."""
    wanted = targets(data.labels[:count], data.classes, dtype=spec.dtype).T
    return float(np.linalg.norm(loss_and_grad(spec, params, data.x[:count], wanted)[1].astype(float)))


def moved(now: Params, start: Params) -> float:
    """Return how far the parameters are from where they began, over their norm there."""
    a, b = now.theta.astype(float), start.theta.astype(float)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def calibration_error(probabilities: Array, labels: Array, bins: int = BINS) -> float:
    """Return the expected calibration error ``sum_b n_b / n |right_b - sure_b|`` (Guo et al. 2017).

    The samples are put into equally wide bins ``b`` by the probability of their likeliest class, ``sure_b`` is its mean
    there and ``right_b`` the share of right predictions.

    >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
    0.0
    """
    sure, right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == labels
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = np.bincount(place, right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def cross_entropy(probabilities: Array, labels: Array) -> float:
    """Return the mean of ``-log p`` of the true classes, whichever loss was trained.

    >>> round(cross_entropy(np.array([[0.5, 0.5]]), np.array([1])), 4)
    0.6931
    """
    true = probabilities[np.arange(len(labels)), labels].astype(float)
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def packed(flags: Array) -> str:
    """Return booleans as hexadecimal digits, eight in two.

    >>> packed(np.array([True, False, True]))
    'a0'
    """
    return np.packbits(flags).tobytes().hex()


def unpacked(text: str, count: int) -> Array:
    """Return the booleans that ``packed`` has written.

    >>> unpacked("a0", 3).tolist()
    [True, False, True]
    """
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)


def _norms(arrays: tuple[Array, ...]) -> tuple[float, ...]:
    return tuple(float(np.linalg.norm(array.astype(float))) for array in arrays)
