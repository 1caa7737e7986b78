"""The reports: what they make of recorded numbers, and that the page says what the numbers say."""

from __future__ import annotations

import doctest
import importlib
import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnn.files import read_lines
from fnn.samplers import Past, given_up
from fnn.sweepfile import Sweep
from reports import searches as report
from reports import speed, strategies
from reports.peers import OWN
from reports.runs import key
from reports.searches import Tried
from reports.throughput import content_of, summary
from tests.shell import DATA

SETTINGS = {
    "activation": "ReLU",
    "batch_size": 64,
    "epochs": 10,
    "hidden_size": 32,
    "learning_rate": 0.001,
    "num_layers": 3,
    "optimizer": "adam",
    "weight_decay": 0,
    "weight_init": "He",
}


def tried(*values: float, price: float = 1.0, **settings: Any) -> Tried:
    return Tried(SETTINGS | settings, values, (price,) * len(values), "finished", price)


def row(strategy: str, repeat: int, number: int, trial: Tried | None, settings: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"strategy": strategy, "repeat": repeat, "number": number, "settings": settings}
    return found | ({} if trial is None else {"values": trial.values, "seconds": trial.seconds, "state": trial.state})


curves = st.lists(st.integers(0, 100).map(lambda percent: percent / 100), min_size=1, max_size=5)
searches = st.lists(curves.map(lambda values: tried(*values)), min_size=1, max_size=6)


@lru_cache
def halving() -> Sweep:
    return strategies.sweep_of("halving")


@pytest.mark.parametrize("name", ["ingredients", "runs", "searches", "throughput"])
def test_the_examples_of_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"reports.{name}"))
    assert result.attempted and not result.failed


# Curves


@given(trials=searches)
def test_the_best_so_far_is_the_maximum_of_what_has_ended(trials: list[Tried]) -> None:
    seconds, best = report.best_so_far(trials)
    for count in range(1, len(trials) + 1):
        assert best[count - 1] == max(max(trial.values) for trial in trials[:count])
        assert seconds[count - 1] == sum(len(trial.values) for trial in trials[:count])
        assert report.best_at(trials, seconds[count - 1]) == best[count - 1]
        assert report.ended_by(trials, seconds[count - 1]) == count
    assert math.isnan(report.best_at(trials, seconds[0] - 0.5))


def test_equal_seconds_are_those_that_all_have_used_up() -> None:
    searches = {"random": [[tried(0.5, 0.6)], [tried(0.5)] * 5], "tpe": [[tried(0.1, 0.2, 0.3)]]}
    assert report.equal_seconds(searches) == 2


def test_the_band_is_the_median_within_the_range() -> None:
    middle, low, high = report.band([[1, 5], [2, 4], [9, 0]])
    assert (middle.tolist(), low.tolist(), high.tolist()) == ([2, 4], [1, 0], [9, 5])


def test_a_diverged_epoch_has_its_price() -> None:
    assert evolve(tried(0.5, 0.6, price=2.0), state="diverged").cost == 6
    assert Tried(SETTINGS, (), (), "diverged", 2.0).cost == 2 and Tried(SETTINGS, (), (), "diverged").best == 0


@given(seed=st.integers(0, 2**32 - 1))
def test_prices_recover_what_settings_cost(seed: int) -> None:
    draw = np.random.default_rng(seed)
    trials = []
    for _ in range(60):
        batch, width, layers = (int(draw.choice(values)) for values in ((16, 64), (32, 128), (3, 5)))
        settings = {"batch_size": batch, "hidden_size": width, "num_layers": layers}
        price = (1 + width / batch) * layers
        busy = tuple(price * draw.uniform(1, 9, size=3))  # all but one epoch were disturbed
        trials.append(evolve(tried(0.5, 0.5, 0.5, 0.5, **settings), seconds=(*busy, price)))
    for trial in report.priced(trials):
        assert trial.price == pytest.approx(trial.seconds[-1])
    assert len({(key(trial.settings), round(trial.price, 9)) for trial in report.priced(trials)}) == len(
        {key(trial.settings) for trial in trials}
    )


# Halving


@given(trials=searches, budget=st.integers(1, 40))
def test_replayed_trials_are_beginnings_that_the_rule_allows(trials: list[Tried], budget: int) -> None:
    sweep = halving()
    done = report.halved(sweep, trials, budget)
    assert done[0] == trials[0]  # nothing to compare it with
    for number, (short, whole) in enumerate(zip(done, trials, strict=False)):
        assert short.values == whole.values[: len(short.values)]
        assert (short.state == "stopped") == (len(short.values) < len(whole.values))
        history = [each.past() for each in done[:number]]
        asked = [*history, Past(short.settings, short.values, "running")]
        if short.state == "stopped":
            assert number in given_up(sweep, asked)
    assert sum(trial.cost for trial in done[:-1]) < budget
    assert len(done) == len(trials) or sum(trial.cost for trial in done) >= budget


def test_a_poor_trial_is_stopped_at_its_second_epoch_and_costs_only_that() -> None:
    good, poor = tried(*[0.8] * 10), tried(*[0.3] * 10)
    done = report.halved(halving(), [good, good, poor], 100)
    assert [len(trial.values) for trial in done] == [10, 10, 2] and done[-1].cost == 2


@given(size=st.integers(1, 8), repeats=st.integers(1, 5))
def test_repeats_of_halving_begin_with_disjoint_parts_of_the_pool(size: int, repeats: int) -> None:
    orders = [report.order(size * repeats, repeats, repeat) for repeat in range(repeats)]
    assert sorted(number for each in orders for number in each[:size]) == list(range(size * repeats))
    assert all(sorted(each) == list(range(size * repeats)) for each in orders)


# Statistics and loading


def test_the_verdict_names_what_is_surely_better_and_nothing_without_a_trial() -> None:
    ahead = {"random": [[tried(0.5)], [tried(0.6)]], "tpe": [[tried(0.8)], [tried(0.9)]]}
    assert "TPE +30.00 (" in report.verdict(ahead) and report.verdict(ahead).endswith("TPE is better than random.")
    even = {"random": [[tried(0.5)], [tried(0.6)]], "tpe": [[tried(0.5)], [tried(0.6)]]}
    assert report.verdict(even).endswith("none can be told from random.")
    late = {"random": [[tried(0.5)], [tried(0.6)]], "tpe": [[tried(0.8, 0.9)]]}
    assert report.verdict(late).endswith("too few to compare.")


def test_known_settings_get_the_recorded_result_and_cut_rounds_are_left_out() -> None:
    first, second = tried(0.5, 0.7), tried(0.2, optimizer="sgd")
    rows = [row("random", 0, n, one, dict(one.settings)) for n, one in enumerate((first, second))]
    rows += [row("tpe", 0, 0, None, SETTINGS | {"weight_decay": 0.0}), row("tpe", 0, 1, None, dict(second.settings))]
    rows += [row("tpe", 1, 0, None, dict(second.settings))]
    found = report.load(rows, 2, halving())
    assert [[trial.best for trial in trials] for trials in found["tpe"]] == [[0.7], [0.2]]
    assert [[trial.best for trial in trials] for trials in found["random"]] == [[0.7], [0.2]]


def test_bayes_and_halving_have_each_a_half_of_the_file() -> None:
    bayes, random = map(strategies.sweep_of, ("bayes", "random"))
    assert bayes.early is None and bayes.method == "bayes"
    assert halving().early and halving().method == "random"
    assert bayes.parameters == halving().parameters == random.parameters == strategies.sweep_of("tpe").parameters


def test_summaries_are_ranked_by_the_mean() -> None:
    again = [
        {"settings": {"a": a}, "searched": 0.9, "seed": seed, "best": best, "last": best - 0.1}
        for a, seed, best in ((1, 1, 0.8), (1, 2, 0.9), (2, 1, 0.86), (2, 2, 0.88))
    ]
    first, second = report.summaries(again)
    assert (first["settings"], first["best_mean"], first["best_sd"]) == ({"a": 2}, 0.87, round(0.02 / 2**0.5, 5))
    assert (second["best_mean"], second["last_mean"], second["seeds"]) == (0.85, 0.75, 2)


# The recorded trials


def test_each_trial_is_recorded_once_and_none_is_missing() -> None:
    rows = strategies.recorded()
    full = [key(row["settings"]) for row in rows if "values" in row]
    assert {key(row["settings"]) for row in rows} == set(full)
    learning = [key(row["settings"]) for row in rows if "values" in row and row["strategy"] != "random"]
    assert len(learning) == len(set(learning))
    lanes: dict[tuple[str, int], list[int]] = {}
    for one in rows:
        lanes.setdefault((one["strategy"], one["repeat"]), []).append(one["number"])
    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in lanes.values())
    assert set(lanes) == {("random", 0), *((name, repeat) for name in ("bayes", "tpe") for repeat in range(5))}


def test_the_page_says_what_was_recorded() -> None:
    searches = report.load(strategies.recorded(), 5, halving())
    again = [row for row in read_lines(strategies.RESEEDED) if "seed" in row] if strategies.RESEEDED.exists() else []
    text = strategies.README.read_text()
    assert strategies.rewritten(text, strategies.section(searches, again)) == text, "run python -m reports.strategies"


def test_what_was_trained_again_is_among_the_best_and_its_means_are_right() -> None:
    about, *rows = read_lines(strategies.RESEEDED)
    assert about["command"].startswith("python -m reports.strategies")
    assert [row for row in rows if "seed" not in row] == report.summaries(rows)
    best = max(max(row["values"], default=0) for row in strategies.recorded() if "values" in row)
    assert max(row["searched"] for row in rows) == best


# Throughput


def test_trials_of_the_throughput_cost_the_same_and_differ() -> None:
    from fnn.samplers import propose, size
    from fnn.sweepfile import config_of, parse

    sweep = parse(content_of(16, 5))
    assert size(sweep) == 16
    history: list[Past] = []
    configs = []
    for _ in range(16):
        settings = propose(sweep, history, 0)
        assert settings is not None
        history.append(Past(settings, (), "running"))
        configs.append(config_of(settings))
    assert len({config.learning_rate for config in configs}) == 16
    assert len({evolve(config, learning_rate=1e-4) for config in configs}) == 1


def test_overhead_is_what_workers_did_not_train() -> None:
    ends = [3.0, 3.0, 5.0, 5.0, 7.0, 7.0]
    found = summary(2, 8.0, ends, 12.0 - 0.6)
    assert found["per_second"] == 0.75 and found["steady_per_second"] == 1
    assert found["overhead_per_trial"] == pytest.approx((16 - 11.4) / 6, abs=1e-4)
    assert found["steady_overhead_per_trial"] == pytest.approx(0.1)
    assert all(a <= b for a, b in pairwise(ends))


def test_parts_of_a_step_are_timed_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a process of its own; of ours that trains, by as many cores as it chooses, the others take the number."""
    monkeypatch.setitem(speed.NEUTRAL, "FNN_DATA_DIR", str(DATA))
    monkeypatch.setattr(speed, "LONGEST", 0.01)
    steps, cores = speed.trial("6x5:8:nadam:tanh", 1)
    assert steps >= 2 and cores == "1"
    for found in speed.in_turns([*OWN], "6x5:8:nadam:tanh", 2, 1, "2"):
        assert found.keys() == OWN.keys() and all(us > 0 and peak > 0 for us, peak in found.values())
