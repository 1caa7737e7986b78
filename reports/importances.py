"""What each setting of a sweep explains, alone and together with others, and which values go with accuracy.

The space is small enough to be looked at whole: a random forest learns the accuracy from the trials, predicts it for
every point, and the variance of these predictions is divided among the settings exactly (functional analysis of
variance: Hoeffding 1948; of forests: Hutter et al. 2014, "An efficient approach for assessing hyperparameter
importance"). What a setting explains alone, whatever the others are, is its main effect; with all its interactions it
is its total effect, the mean variance that is left when all others are known (Sobol 1993; Homma and Saltelli 1996).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import frozen

from fnn.arrays import Array
from fnn.sweepfile import Sweep
from reports.intervals import Interval, bootstrap, drawn

Space = Mapping[str, Sequence[Any]]  # the values of each setting
TREES = 50
DRAWS = 30  # of the bootstrap of a forest
NOTHING: Space = MappingProxyType({})


def space_of(sweep: Sweep) -> dict[str, list[Any]]:
    """Return the values of each setting that varies in a sweep of discrete values."""
    return {name: list(sweep.parameters[name]["values"]) for name in sweep.varying}


def grid(space: Space) -> list[dict[str, Any]]:
    """Return every point of a space, the last setting varying fastest.

    >>> grid({"a": [1, 2], "b": "xy"})[1]
    {'a': 1, 'b': 'y'}
    """
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]


def encoded(space: Space, settings: Sequence[Mapping[str, Any]]) -> Array:
    """Return settings as numbers: the place of a number among its values, a column of 0 and 1 for each name.

    >>> encoded({"a": [16, 64], "b": ["x", "y"]}, [{"a": 64, "b": "x"}]).tolist()
    [[1.0, 1.0, 0.0]]
    """
    columns = []
    for name, values in space.items():
        own = [one[name] for one in settings]
        if isinstance(values[0], str):
            columns += [[float(value == each) for value in own] for each in values]
        else:
            ordered = sorted(values)
            columns.append([float(ordered.index(value)) for value in own])
    return np.array(columns).T


@frozen
class Effect:
    """The shares of the variance that a setting explains: alone, and with its interactions."""

    name: str
    alone: Interval
    total: Interval


def shares(table: Array) -> tuple[Array, Array]:
    """Return each axis' main and total share of the variance of a table that has a value for every point of a space.

    Main: ``Var_i(E[y | i]) / Var(y)``. Total: ``E[Var_i(y | all but i)] / Var(y)``. Without interactions they agree.

    >>> [part.tolist() for part in shares(np.array([[0.0, 0.0], [1.0, 1.0]]))]
    [[1.0, 0.0], [1.0, 0.0]]
    >>> [part.tolist() for part in shares(np.array([[0.0, 1.0], [1.0, 0.0]]))]
    [[0.0, 0.0], [1.0, 1.0]]
    """
    whole, axes = table.var(), range(table.ndim)
    if whole == 0:
        return np.zeros(table.ndim), np.zeros(table.ndim)
    main = [table.mean(axis=tuple(other for other in axes if other != axis)).var() / whole for axis in axes]
    return np.array(main), np.array([table.var(axis=axis).mean() / whole for axis in axes])


def forest(x: Array, y: Array, seed: int = 0) -> Any:
    """Return a random forest (Breiman 2001) that has learnt ``y`` from ``x``."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.6, random_state=seed).fit(x, y)


def effects(
    space: Space,
    settings: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    within: Space = NOTHING,
    draws: int = DRAWS,
) -> list[Effect]:
    """Return the effects of the settings by the largest total: means over bootstrapped trials' forests, and intervals.

    With ``within`` they are those in the part of the space that has the given values of some settings.
    """
    part = {name: list(within.get(name, own)) for name, own in space.items()}
    x, y, points = encoded(space, settings), np.asarray(values, float), encoded(space, grid(part))
    shape = tuple(map(len, part.values()))

    def statistic(rows: Array) -> Array:
        return np.array(shares(forest(x[rows], y[rows]).predict(points).reshape(shape)))

    found = np.array(drawn(statistic, len(y), draws))  # (mean, low, high) by (main, total) by settings
    intervals = [[tuple(map(float, found[:, kind, at])) for kind in (0, 1)] for at in range(len(part))]
    listed = [Effect(name, *both) for name, both in zip(part, intervals, strict=True) if len(part[name]) > 1]
    return sorted(listed, key=lambda one: -one.total[0])


def predictive(
    space: Space, seen: Sequence[Any], values: Sequence[float], unseen: Sequence[Any], found: Sequence[float]
) -> float:
    """Return the rank correlation of a forest's predictions, learnt from some trials, with what others have come to."""
    model = forest(encoded(space, seen), np.asarray(values, float))
    return spearman(model.predict(encoded(space, unseen)), np.asarray(found, float))


@frozen
class Correlation:
    """The rank correlation of a setting, or of having one value of it, with the accuracy."""

    name: str
    value: str
    coefficient: Interval


def correlations(
    space: Space, settings: Sequence[Mapping[str, Any]], values: Sequence[float], draws: int = 1000
) -> list[Correlation]:
    """Return the correlations of numbers, and of each named value against the others, with bootstrap intervals."""
    x, y = encoded(space, settings), np.asarray(values, float)
    names = [(name, str(value)) for name, own in space.items() for value in (own if isinstance(own[0], str) else ("",))]
    found = bootstrap(lambda rows: spearman_columns(x[rows], y[rows]), len(y), draws)
    intervals = [tuple(map(float, ends)) for ends in zip(*found, strict=True)]
    listed = [Correlation(*name, ends) for name, ends in zip(names, intervals, strict=True)]  # type: ignore[arg-type]
    return sorted(listed, key=lambda one: -abs(one.coefficient[0]))


def ranks(values: Array) -> Array:
    """Return the ranks of values from 1, equals sharing their mean.

    >>> ranks(np.array([5, 7, 5])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def spearman(a: Array, b: Array) -> float:
    """Return the rank correlation of two lists, NaN where one is constant.

    >>> round(spearman(np.array([1, 2, 3]), np.array([1, 8, 27])), 6)
    1.0
    """
    return float(spearman_columns(a[:, None], b)[0])


def spearman_columns(x: Array, y: Array) -> Array:
    """Return the rank correlation of each column with a list."""
    a = np.apply_along_axis(ranks, 0, x)
    b = ranks(y)
    a, b = a - a.mean(axis=0), b - b.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a.T @ b) / np.sqrt((a * a).sum(axis=0) * (b @ b))
