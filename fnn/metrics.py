"""How good predictions are: loss, accuracy, the confusion matrix and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze
from fnn.data import Dataset, targets
from fnn.losses import softmax
from fnn.network import Params, Spec, logits_in_batches
from fnn.views import predict_views


@frozen(eq=False)
class Evaluation:
    """A network's results on a data set: mean loss, accuracy and each sample's probabilities ``(n, classes)``."""

    loss: float
    accuracy: float
    probabilities: Array

    @property
    def predictions(self) -> Array:
        """The likeliest class of each sample, ``(n,)``."""
        return freeze(np.argmax(self.probabilities, axis=1))


def evaluate(spec: Spec, params: Params, data: Dataset, views: str = "none") -> Evaluation:
    """Return the results on ``data``; the loss is that of the plain labels, without smoothing.

    With ``views``, a choice in ``fnn.views``, they are those of the probabilities averaged over the views.
    """
    if views == "none":
        return _judged(spec, logits_in_batches(spec, params, data.design), data)
    return _judged(spec, _logits_of(predict_views(spec, params, data.design, views, of=data.features)), data)


def pooled(spec: Spec, results: Sequence[Evaluation], data: Dataset) -> Evaluation:
    """Return the results of the mean of several predictions' probabilities; the loss is that of ``spec``.

    The mean of one is that one.
    """
    if len(results) == 1:
        return results[0]
    return _judged(spec, _logits_of(mean_of([result.probabilities for result in results])), data)


def mean_of(probabilities: Sequence[Array]) -> Array:
    """Return the mean of several arrays of probabilities ``(n, classes)``.

    >>> mean_of([np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])])
    array([[0.75, 0.25]])
    """
    return freeze(np.mean(probabilities, axis=0))


def _judged(spec: Spec, logits: Array, data: Dataset) -> Evaluation:
    losses = spec.objective.value(logits, targets(data.labels, data.classes, dtype=logits.dtype.name))
    accuracy = hits(logits, data.labels) / len(data)
    return Evaluation(float(np.mean(losses, dtype=float)), accuracy, softmax(logits).T)


def hits(logits: Array, labels: Array) -> int:
    """Return of how many samples the label has the largest logit, the first of equal ones; logits are (classes, n).

    >>> hits(np.array([[3, 1, 2], [0, 2, 2]]), np.array([0, 0, 1]))
    1
    """
    best = np.maximum.reduce(logits, axis=0)
    largest = logits == best
    # Nearly always there is one a sample, and no need for the slower argmax; NaN has none.
    if np.count_nonzero(largest) == len(labels) and not np.isnan(best).any():
        return int(np.count_nonzero(largest[labels, np.arange(len(labels))]))
    return int(np.count_nonzero(np.argmax(logits, axis=0) == labels))


def _logits_of(probabilities: Array) -> Array:
    """Return logits ``(classes, n)`` of which the softmax are the probabilities: their logarithms."""
    return np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny)).T


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """Return counts by ``[true class, predicted class]``.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return freeze(counts.reshape(classes, classes))


def precision_and_recall(confusion: Array) -> tuple[Array, Array]:
    """Return precision ``c_kk / sum_i c_ik`` and recall ``c_kk / sum_j c_kj`` by class; NaN if it never occurs.

    >>> precision_and_recall(np.array([[1, 0], [1, 1]]))
    (array([0.5, 1. ]), array([1. , 0.5]))
    """
    right = np.diag(confusion).astype(float)
    with np.errstate(invalid="ignore"):
        return freeze(right / confusion.sum(axis=0)), freeze(right / confusion.sum(axis=1))
