"""Losses of logits against targets, and their exact gradients.

Both take arrays of shape ``(..., classes, n)``: classes run along the last axis but one, samples along the last, so
that sums over classes add contiguous rows. Targets are distributions over the classes (one-hot, smoothed or mixed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze

CLASSES = -2  # the axis of the classes


Gradient = Callable[[Array, Array], None]


@frozen
class Loss:
    """A loss per sample and its gradient with respect to the logits.

    ``value(logits, targets)`` has shape ``(..., n)``. ``delta(share, out)`` returns ``run(logits, weighted)``, which
    writes the gradient of ``share`` times the sum of the samples' losses into ``out``, shape ``(classes, n)``, where
    ``weighted = share * targets``: the mean's gradient costs no pass of its own.
    """

    name: str
    value: Callable[[Array, Array], Array]
    delta: Callable[[float, Array], Gradient]


def _exponentials(logits: Array, out: Array | None = None) -> Array:
    """Return ``exp(z_k - max_j z_j)``: the shift changes no quotient but keeps all finite."""
    out = np.subtract(logits, np.maximum.reduce(logits, axis=CLASSES, keepdims=True), out=out)
    return np.exp(out, out=out)


def softmax(logits: Array) -> Array:
    """Return ``p_k = exp(z_k) / sum_j exp(z_j)`` over the classes, finite for logits of any finite size.

    >>> softmax(np.array([[1e4], [1e4]])).tolist()
    [[0.5], [0.5]]
    """
    out = _exponentials(logits)
    return freeze(np.divide(out, np.add.reduce(out, axis=CLASSES, keepdims=True), out=out))


def _frozen(losses: Array) -> Array:
    return freeze(np.asarray(losses))


def _cross_entropy(logits: Array, targets: Array) -> Array:
    """Return ``-sum_k t_k log p_k``, written with log-sum-exp so that no logarithm of zero is taken."""
    shifted = logits - np.maximum.reduce(logits, axis=CLASSES, keepdims=True)
    log_total = np.log(np.add.reduce(np.exp(shifted), axis=CLASSES, keepdims=True))
    return _frozen(np.add.reduce((log_total - shifted) * targets, axis=CLASSES))


def _cross_entropy_delta(share: float, out: Array) -> Gradient:
    """Return what writes ``share (p - t)`` (for targets that sum to one; Bishop 2006, eq. 4.109).

    The sum over the classes, over ``share`` and in every row, is a matrix product: on batches of a few hundred numbers
    a third of the cost of a sum and a broadcast.
    """
    summation, total = np.full((len(out), len(out)), 1 / share, out.dtype), np.empty(out.shape, out.dtype)

    def run(logits: Array, weighted: Array) -> None:
        _exponentials(logits, out)
        summation.dot(out, out=total)
        np.divide(out, total, out=out)
        np.subtract(out, weighted, out=out)

    return run


def _mean_squared_error(logits: Array, targets: Array) -> Array:
    """Return ``1/K sum_k (p_k - t_k)^2`` of the softmax outputs ``p``, K the number of classes."""
    return _frozen(np.mean(np.square(softmax(logits) - targets), axis=CLASSES))


def _mean_squared_error_delta(share: float, out: Array) -> Gradient:
    """Return what writes ``2/K p_k (e_k - sum_j p_j e_j)``, ``e = share (p - t)``: the gradient through the softmax."""

    def run(logits: Array, weighted: Array) -> None:
        p = softmax(logits)
        np.multiply(p, share, out=out)
        np.subtract(out, weighted, out=out)
        np.subtract(out, np.add.reduce(p * out, axis=CLASSES, keepdims=True), out=out)
        np.multiply(out, p, out=out)
        np.multiply(out, 2 / p.shape[CLASSES], out=out)

    return run


#: Every loss by its name on the command line.
LOSSES: Mapping[str, Loss] = {
    row.name: row
    for row in (
        Loss("mean_squared_error", _mean_squared_error, _mean_squared_error_delta),
        Loss("cross_entropy", _cross_entropy, _cross_entropy_delta),
    )
}
