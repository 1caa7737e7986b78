"""How much each parameter of a sweep matters: the share of the ranks' variance between a parameter's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from fnn.arrays import Array

BINS = 5  # into which many different numbers are cut, by quantiles
FEWEST = 5  # trials that say anything


@frozen
class Importance:
    """What a parameter explains alone (``share``, 0 to 1), and its value, or range, of the best median."""

    name: str
    share: float
    best: str
    median: float


def importances(settings: Sequence[Mapping[str, Any]], values: Sequence[float], maximize: bool) -> list[Importance]:
    """Return the importance of each parameter that varies, the largest first; nothing for fewer than five trials.

    ``share`` is epsilon squared of the Kruskal-Wallis test (Kelley 1935, "An unbiased correlation ratio measure"): of
    the variance of the trials' ranks, the part between groups of equal value, less what chance alone would give. It is
    what the parameter explains by itself, whatever the others are; interactions belong to none. Ranks, since accuracies
    pile up at the top. Sound for grid and random; bayes and tpe look more often where it is good, which blurs it.

    >>> found = importances([{"a": i % 2, "b": i // 4} for i in range(8)], [0, 1, 0, 1, 0, 1, 0, 1], True)
    >>> [(one.name, round(one.share, 2), one.best) for one in found]
    [('a', 1.0, '1'), ('b', 0.0, '0')]
    """
    result = np.asarray(values, float)
    if len(result) < FEWEST:
        return []
    ranks = _ranks(result if maximize else -result)
    found = []
    for name in sorted({name for each in settings for name in each}):
        labels = _groups([each.get(name) for each in settings])
        groups = [np.array([label == other for other in labels]) for label in dict.fromkeys(labels)]
        if len(groups) > 1:
            best = max(groups, key=lambda group: float(np.median(ranks[group])))
            label = labels[int(np.argmax(best))]
            found.append(Importance(name, _epsilon_squared(ranks, groups), label, float(np.median(result[best]))))
    return sorted(found, key=lambda one: -one.share)


def _ranks(values: Array) -> Array:
    """Return the ranks of values, equals sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _epsilon_squared(ranks: Array, groups: Sequence[Array]) -> float:
    total = float(((ranks - ranks.mean()) ** 2).sum())
    within = sum(float(((ranks[group] - ranks[group].mean()) ** 2).sum()) for group in groups)
    free = len(ranks) - len(groups)
    if total == 0 or free == 0:
        return 0.0
    return max(0.0, 1 - (within / free) / (total / (len(ranks) - 1)))


def _groups(values: Sequence[Any]) -> list[str]:
    """Return a label for each value: itself, or its bin where there are many different numbers."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(set(numbers)) <= min(2 * BINS, len(values) // 2):
        return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    count = min(BINS, max(2, len(values) // 3))
    edges = np.quantile(np.asarray(numbers, float), np.linspace(0, 1, count + 1))
    bins = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, count - 1)
    return [f"{edges[index]:.3g} to {edges[index + 1]:.3g}" for index in bins]
