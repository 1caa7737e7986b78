"""How far numbers carry: intervals of means, of differences and of shares, and the test of two classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from fnn.arrays import Array, rng

Interval = tuple[float, float, float]  # the estimate, the lower and the upper end
LEVEL = 0.95
DRAWS = 10_000  # of the bootstrap


def wilson(hits: int, count: int, level: float = LEVEL) -> Interval:
    """Return a share and its interval by Wilson's score (1927), sound near 0 and 1, too.

    It holds the shares ``p`` with ``|hits / count - p| <= z sqrt(p (1 - p) / count)``.

    >>> [round(end, 4) for end in wilson(9000, 10000)]
    [0.9, 0.894, 0.9057]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return share, max(0.0, middle - half), min(1.0, middle + half)


def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """Return what Student's t with so many degrees of freedom exceeds in size with probability ``1 - level``.

    With ``t = sqrt(f) tan(u)`` the density of ``u`` is proportional to ``cos(u)^(f - 1)``: bounded, so a plain sum of
    it is exact to six digits.

    >>> round(t_quantile(4), 3)
    2.776
    """
    u = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(u) ** (freedom - 1)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return float(sqrt(freedom) * np.tan(np.interp(level * mass[-1], mass, u)))


def mean(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return a mean and its interval by Student's t; an infinite one for a single value.

    >>> mean([0.25, 0.75])[0]
    0.5
    """
    found = np.asarray(values, float)
    if len(found) < 2:
        return float(found.mean()), -np.inf, np.inf
    half = t_quantile(len(found) - 1, level) * float(found.std(ddof=1)) / sqrt(len(found))
    middle = float(found.mean())
    return middle, middle - half, middle + half


def paired(ours: Sequence[float], theirs: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the mean difference of pairs and its interval by Student's t.

    >>> paired([0.5, 0.75], [0.25, 0.5])
    (0.25, 0.25, 0.25)
    """
    return mean([a - b for a, b in zip(ours, theirs, strict=True)], level)


def difference(ours: Sequence[float], theirs: Sequence[float], paired: bool, draws: int = DRAWS) -> Interval:
    """Return the difference of the means and its 95 % bootstrap interval: pairs drawn together, or both apart."""
    a, b = np.asarray(ours), np.asarray(theirs)
    generator = rng(0, "bootstrap", 0)
    first = generator.integers(len(a), size=(draws, len(a)))
    second = first if paired else generator.integers(len(b), size=(draws, len(b)))
    low, high = np.quantile(a[first].mean(axis=1) - b[second].mean(axis=1), (0.025, 0.975))
    return float(a.mean() - b.mean()), float(low), float(high)


def bootstrap(statistic: Callable[[Array], Any], count: int, draws: int, level: float = LEVEL) -> tuple[Array, ...]:
    """Return a statistic of ``count`` rows, and its ends over draws of as many rows; it is given their numbers.

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> middle, low, high = bootstrap(lambda rows: x[rows].mean(), len(x), 200)
    >>> bool(1 <= low < middle < high <= 3)
    True
    """
    _, low, high = drawn(statistic, count, draws, level)
    return np.asarray(statistic(np.arange(count)), float), low, high


def drawn(statistic: Callable[[Array], Any], count: int, draws: int, level: float = LEVEL) -> tuple[Array, ...]:
    """Return the mean of a statistic over draws, and its ends: of one that the draws bias, as of fitted models."""
    generator = rng(0, "bootstrap", count)
    found = np.array([statistic(generator.integers(count, size=count)) for _ in range(draws)], float)
    low, high = np.nanquantile(found, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return np.nanmean(found, axis=0), low, high


def mcnemar(ours: int, theirs: int) -> float:
    """Return the exact two-sided probability of such a split of the samples that only one of two classifiers got right.

    McNemar (1947), exact: a fair coin decides each of the ``ours + theirs`` samples (Dietterich 1998).

    >>> mcnemar(0, 5), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    total, fewer = ours + theirs, min(ours, theirs)
    tail = sum(comb(total, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def paired_shares(ours: int, theirs: int, count: int, level: float = LEVEL) -> Interval:
    """Return the difference of two classifiers' accuracies on ``count`` samples, and its interval.

    ``ours`` and ``theirs`` are the samples that only one got right: their difference has the variance
    ``ours + theirs - (ours - theirs)^2 / count``.
    """
    gap, z = ours - theirs, NormalDist().inv_cdf((1 + level) / 2)
    half = z * sqrt(max(0.0, ours + theirs - gap * gap / count))
    return gap / count, (gap - half) / count, (gap + half) / count


def sure(interval: Interval) -> bool:
    """Tell whether an interval of a difference leaves zero out."""
    return interval[1] > 0 or interval[2] < 0


def in_points(interval: Interval) -> str:
    """Write a difference of accuracies in percentage points.

    >>> in_points((0.003, -0.001, 0.0071))
    '+0.30 (-0.10 to +0.71)'
    """
    value, low, high = (100 * end for end in interval)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def in_percent(interval: Interval) -> str:
    """Write a share in percent.

    >>> in_percent((0.9, 0.8939, 0.9057))
    '90.00 % (89.39 to 90.57)'
    """
    value, low, high = (100 * end for end in interval)
    return f"{value:.2f} % ({low:.2f} to {high:.2f})"
