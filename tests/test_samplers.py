"""Samplers: pure functions of space, history and seed; and each is better at its task than chance."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest

from fnn.samplers import Past, given_up, propose, size
from fnn.sweepfile import Sweep, config_of, parse

METHODS = ("grid", "random", "bayes", "custom")
SPACE: dict[str, Any] = {
    "preset": {"value": "assignment"},
    "optimizer": {"values": ["sgd", "adam"]},
    "hidden_size": {"values": [32, [64, 32]]},
    "epochs": {"min": 1, "max": 3},
    "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
    "weight_decay": {"distribution": "log_normal", "mu": -7.0, "sigma": 1.0},
    "momentum": {"distribution": "q_uniform", "min": 0.0, "max": 0.9, "q": 0.1},
}


def sweep_of(method: str, **more: Any) -> Sweep:
    names = [name for name in SPACE if method != "grid" or name not in ("learning_rate", "weight_decay", "momentum")]
    content = {
        "method": method,
        "metric": {"name": "val_accuracy", "goal": "maximize"},
        "parameters": {name: SPACE[name] for name in names},
    }
    return parse(content | ({"scheduler": {"engine": "optuna"}} if method == "custom" else {}) | more)


def history(sweep: Sweep, count: int, seed: int = 0) -> list[Past]:
    past: list[Past] = []
    for number in range(count):
        settings = propose(sweep, past, seed)
        assert settings is not None
        state = ("finished", "finished", "running", "failed")[number % 4]
        values = () if state == "failed" else (0.1, 0.1 * (number % 7))
        past.append(Past(settings, values, state))
    return past


@pytest.mark.parametrize("method", METHODS)
def test_proposals_are_pure_and_valid(method: str) -> None:
    sweep = sweep_of(method)
    random.seed(1)
    np.random.seed(1)
    first = history(sweep, 12)
    unaltered = random.random(), np.random.random()
    random.seed(2)
    np.random.seed(2)
    assert history(sweep, 12) == first
    random.seed(1)
    np.random.seed(1)
    assert unaltered == (random.random(), np.random.random()), "the global generators are as they were"
    if method != "grid":
        assert history(sweep, 12, seed=1) != first
    for past in first:
        config_of(past.settings)
        assert set(past.settings) == set(sweep.parameters)
        assert all(type(value) in (int, float, str, list) for value in past.settings.values()), past.settings


@pytest.mark.parametrize("method", ["grid", "random"])
def test_grid_and_random_depend_on_the_number_alone(method: str) -> None:
    sweep = sweep_of(method)
    whole = history(sweep, 8)
    other = [Past({}, (), "running")] * 7
    assert propose(sweep, other, 0) == whole[7].settings


def test_a_grid_has_each_point_once() -> None:
    sweep = sweep_of("grid")
    points = [past.settings for past in history(sweep, 12)]
    assert size(sweep) == 12 and propose(sweep, [Past({}, (), "finished")] * 12, 0) is None
    wanted = itertools.product(["sgd", "adam"], [32, [64, 32]], [1, 2, 3])
    found = [(point["optimizer"], point["hidden_size"], point["epochs"]) for point in points]
    assert sorted(found, key=str) == sorted(wanted, key=str)


@pytest.mark.parametrize("method", ["bayes", "custom"])
def test_learning_samplers_find_the_good_region(method: str) -> None:
    """On a smooth function of two parameters they come nearer to its best, on average, than blind draws do."""
    parameters = {name: SPACE[name] for name in ("optimizer", "learning_rate")}
    sweep = sweep_of(method, parameters=parameters)

    def value(settings: Any) -> float:
        return float(settings["optimizer"] == "adam") - (math.log10(settings["learning_rate"]) + 2) ** 2

    past: list[Past] = []
    for _ in range(30):
        settings = propose(sweep, past, 0)
        assert settings is not None
        past.append(Past(settings, (value(settings),), "finished"))
    values = [one.values[0] for one in past]
    assert np.mean(values[-10:]) > np.mean(values[:10]) + 0.3 and max(values) > 0.95


def test_what_failed_is_kept_away_from() -> None:
    sweep = sweep_of("custom", parameters={"learning_rate": SPACE["learning_rate"]})
    past = []
    for exponent in np.linspace(-4, 0, 21):
        failed = bool(exponent > -2)
        past.append(Past({"learning_rate": 10.0**exponent}, () if failed else (0.5,), ("finished", "failed")[failed]))
    past[0] = Past(past[0].settings, (0.1,), "finished")
    rates = [proposal["learning_rate"] for seed in range(6) if (proposal := propose(sweep, past, seed))]
    assert np.median(rates) < 0.015


def test_hyperband_stops_the_worse_at_its_brackets() -> None:
    sweep = sweep_of("random", early_terminate={"type": "hyperband", "min_iter": 1, "eta": 3})
    settings = propose(sweep, [], 0) or {}
    good = [Past(settings, (0.5, 0.6 + 0.01 * k), "finished") for k in range(3)]
    poor, fair, young = (Past(settings, values, "running") for values in ((0.1, 0.2), (0.5, 0.7), (0.1,)))
    assert given_up(sweep, [*good, poor, fair, young]) == {3}
    assert given_up(sweep_of("random"), [*good, poor, fair, young]) == frozenset()
