"""The report's experiments: what they run, and what they make of rows, on rows that are made up."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.data import dataset, targets
from fnn.metrics import evaluate
from fnn.network import loss_and_grad, matrices
from reports import claims, failures, importances, loss, probes
from reports.questions import published
from reports.runs import key, missing, name_of, seeded
from tests.strategies import Case, cases

MODULES = (
    "claims", "failures", "importances", "loss", "probes", "questions.approaching", "questions.failing",
    "questions.published", "questions.q05_best", "questions.q06_matters", "questions.q08_loss", "questions.q10_mnist",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"reports.{name}"), extraglobs={"np": np})
    assert not result.failed


# Probes


@given(case=cases(max_batch=20))
def test_a_look_is_at_the_gradient_and_the_weights_of_each_layer(case: Case) -> None:
    n, classes = len(case.x), case.spec.sizes[-1]
    labels = np.arange(n) % classes
    data = dataset(np.zeros((n, case.spec.sizes[0]), np.uint8), labels, classes, "float64")
    found = probes.look(case.spec, case.params, data)
    _, gradient = loss_and_grad(case.spec, case.params, data.x, targets(labels, classes, dtype="float64").T)
    assert found.gradients == pytest.approx([np.linalg.norm(m) for m in matrices(case.spec.sizes, gradient)])
    assert probes.gradient_norm(case.spec, case.params, data) == pytest.approx(np.linalg.norm(found.gradients))
    assert found.weights == pytest.approx([np.linalg.norm(w) for w, _ in case.params.layers])
    assert found.spread == pytest.approx([0.0] * (len(case.spec.sizes) - 2), abs=1e-9)  # all images are the same
    assert all(0 <= share <= 1 for share in found.saturated)
    assert probes.moved(case.params, case.params) == 0
    result = evaluate(case.spec, case.params, data)
    if case.spec.loss == "cross_entropy":
        assert probes.cross_entropy(result.probabilities, labels) == pytest.approx(min(result.loss, 27.6), rel=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_the_mean_gap_of_the_bins(seed: int) -> None:
    draw = np.random.default_rng(seed)
    p, labels = draw.dirichlet(np.full(4, 0.5), 200), draw.integers(4, size=200)
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    edges = np.linspace(0, 1, probes.BINS + 1)
    gaps = [
        abs(right[at].mean() - sure[at].mean()) * at.mean()
        for low, high in pairwise(edges)
        if (at := (sure >= low) & ((sure < high) | ((high == 1) & (sure == 1)))).any()
    ]
    assert probes.calibration_error(p, labels) == pytest.approx(sum(gaps))


@given(flags=st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_flags_come_back(flags: list[bool]) -> None:
    assert probes.unpacked(probes.packed(np.array(flags)), len(flags)).tolist() == flags


# Importance


@given(seed=st.integers(0, 2**32 - 1))
def test_shares_of_a_sum_are_those_of_its_terms_and_of_a_product_more(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b, c = (draw.normal(size=size) for size in (2, 3, 4))
    main, total = importances.shares(a[:, None, None] + b[:, None] + c)
    assert main == pytest.approx(total) and main == pytest.approx(np.array([a.var(), b.var(), c.var()]) / (
        a.var() + b.var() + c.var()
    ))  # fmt: skip
    main, total = importances.shares(draw.normal(size=(2, 3, 4)))
    assert (main <= total + 1e-12).all() and main.sum() <= 1 + 1e-12 <= total.sum() + 2e-12


def test_a_forest_finds_what_acts_only_together() -> None:
    space = {"a": [1, 2], "b": ["x", "y"], "c": [1, 2, 3]}
    points = importances.grid(space) * 8
    values = [float((one["a"] == 1) == (one["b"] == "x")) for one in points]
    found = {one.name: one for one in importances.effects(space, points, values, draws=4)}
    assert found["c"].total[0] < 0.1
    for name in ("a", "b"):
        assert found[name].alone[0] < 0.1 and found[name].total[0] > 0.8
        assert found[name].total[1] <= found[name].total[0] <= found[name].total[2]
    within = importances.effects(space, points, values, {"b": ["x"]}, draws=4)
    assert {one.name for one in within} == {"a", "c"} and within[0].name == "a" and within[0].alone[0] > 0.8
    assert importances.predictive(space, points, values, points, values) > 0.9


@given(values=st.lists(st.integers(-3, 3), min_size=3, max_size=12), seed=st.integers(0, 99))
def test_rank_correlation_is_scipys(values: list[int], seed: int) -> None:
    from scipy.stats import spearmanr

    other = np.random.default_rng(seed).permutation(len(values))
    if len(set(values)) > 1:
        expected = spearmanr(values, other).statistic
        assert importances.spearman(np.array(values), other) == pytest.approx(expected)


def test_correlations_have_a_row_for_each_number_and_each_name() -> None:
    space = {"a": [1, 2, 3], "b": ["x", "y"]}
    points = importances.grid(space) * 3
    first, *rest = importances.correlations(space, points, [one["a"] for one in points], 50)
    assert (first.name, first.value) == ("a", "") and first.coefficient[0] == pytest.approx(1)
    assert {(one.name, one.value) for one in rest} == {("b", "x"), ("b", "y")}


# Claims


def played(worth: Mapping[float, float], limit: int = 400) -> list[dict[str, Any]]:
    """Return the rows of all claims' runs where the accuracy depends on the learning rate and the seed alone."""
    rows: list[dict[str, Any]] = []
    while task := next(missing(rows, claims.tasks(rows)), None):
        accuracy = worth.get(task["settings"]["learning_rate"], 0.1) + task["seed"] / 1000
        accuracy += 0.02 * (task["settings"].get("num_layers") == 5)
        rows.append({**task, "values": [0.2, accuracy, accuracy], "state": "finished"})
        assert len(rows) < limit
    return rows


def test_each_arm_is_tuned_to_the_top_of_the_ladder_and_then_run_from_fresh_seeds() -> None:
    rows = played({1e-4: 0.5, 3e-4: 0.6, 1e-3: 0.7, 3e-3: 0.8, 1e-2: 0.7, 1e-1: 0.6, 3e-2: 0.5})
    assert len({name_of(row) for row in rows}) == len(rows)
    for arm in claims.arms():
        own = [row for row in rows if claims._arm(row) == key(arm)]
        fresh = [row for row in own if row["seed"] in claims.SEEDS]
        assert [row["seed"] for row in fresh] == list(claims.SEEDS)
        slow = arm.get("optimizer") in claims.FROM
        assert {row["settings"]["learning_rate"] for row in fresh} == {0.1 if slow else 3e-3}
    deep = next(claim for claim in claims.CLAIMS if claim.setting == "num_layers")
    found = claims.finding(rows, deep)
    assert found is not None and found.gain == pytest.approx((0.02, 0.02, 0.02), abs=1e-9)
    assert found.pairs == len(claims.SEEDS) and found.rates == (3e-3, 3e-3)


def test_a_claim_without_its_runs_has_no_finding() -> None:
    rows = played({1e-3: 0.7})
    assert claims.finding([], claims.CLAIMS[0]) is None
    tuned = [row for row in rows if row["seed"] in claims.TUNING]
    assert claims.finding(tuned, claims.CLAIMS[0]) is None


def test_a_diverged_run_counts_as_a_guess() -> None:
    assert claims.score({"values": [0.9, 0.9], "state": "diverged"}) == 0.1
    assert loss.last({"values": [0.9], "state": "diverged"}) == 0.1


def test_the_arms_of_a_claim_differ_in_its_setting_and_have_names() -> None:
    for claim in claims.CLAIMS:
        ours, theirs = claim.names if claim.setting in claims.BASE else ("0.9", "0.5")
        assert ours != theirs


# Losses


def made(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as if cross entropy were a point better, and the fewer layers the better."""
    ours = task["settings"]["loss"] == "cross_entropy"
    accuracy = 0.8 + 0.01 * ours - task["settings"]["num_layers"] / 1000 + task["seed"] / 10_000
    row: dict[str, Any] = {**task, "values": [0.5 + 0.1 * ours, accuracy], "norms": [2.0] * (loss.PIECES + 1)}
    row |= {"by_layer": [1.0, 2.0], "ece": 0.02, "cross_entropy": 0.4, "state": "finished"}
    if task["seed"] in loss.FRESH:
        right = np.arange(1000) < (900 if ours else 880)
        row |= {"images": 1000, "right": probes.packed(right)}
    return row


def all_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while tasks := list(missing(rows, loss.tasks(rows))):
        rows += map(made, tasks)
    return rows


def test_the_losses_are_compared_in_pairs_and_their_best_image_by_image() -> None:
    rows = all_rows()
    assert len(rows) == len(loss.arms()) * len(loss.SEEDS) + len(loss.LOSSES) * len(loss.FRESH)
    some = loss.pairs(rows)
    assert len(some) == len(loss.arms()) * len(loss.SEEDS) // 2
    assert all(pair.ours["settings"] | {"loss": ""} == pair.theirs["settings"] | {"loss": ""} for pair in some)
    assert all(pair.ours["seed"] == pair.theirs["seed"] == pair.seed for pair in some)
    runs = loss.tuned(some, "adam", 2)
    assert len(runs) == len(loss.SEEDS) and all(a["seed"] == b["seed"] for a, b in runs)
    assert loss.best(rows, "mean_squared_error")["num_layers"] == min(loss.DEPTHS)
    found = loss.duels(rows)
    assert [(duel.ours, duel.theirs, duel.images) for duel in found] == [(20, 0, 1000)] * len(loss.FRESH)
    assert found[0].gain[0] == pytest.approx(0.02) and found[0].probability == pytest.approx(2 / 2**20)


@pytest.mark.parametrize(("best", "rates"), [(3e-2, [3e-3, 3e-2, 3e-1]), (3.0, [3e-3, 3e-2, 3e-1, 3.0, 30.0])])
def test_learning_rates_go_on_until_the_best_is_not_the_last(best: float, rates: list[float]) -> None:
    def peaked(task: Mapping[str, Any]) -> dict[str, Any]:
        far = abs(np.log10(task["settings"]["learning_rate"] / best)) * (task["settings"]["loss"] != "cross_entropy")
        return {**task, "values": [0.8 - far / 100], "state": "finished"}

    rows: list[dict[str, Any]] = []
    for _ in range(4):
        wanted = seeded([arm for arm in loss.arms(rows) if arm["optimizer"] == "nag"], loss.SEEDS)
        rows += map(peaked, missing(rows, list(wanted)))
    assert loss.rates_of(rows, "nag", 2) == rates
    assert loss.curve(rows, "cross_entropy", "nag", 2) == {rate: 0.8 for rate in rates}


def test_a_lone_run_is_no_pair() -> None:
    rows = [row for row in all_rows() if row["settings"]["loss"] == "cross_entropy"]
    assert loss.pairs(rows) == [] and loss.tuned([], "adam", 2) == []


# Failures


def test_cases_change_one_setting_each() -> None:
    for case in failures.CASES:
        assert all(len(change) == 1 for change in case.changes)
        first, *others = ({**failures.BASE, **arm} for arm in case.arms)
        assert all(sum(first.get(name) != arm.get(name) for name in arm) == 1 for arm in others)


def test_figures_by_layer_are_averaged() -> None:
    rows = [{"looks": [{"gradients": [1.0, 4.0]}, {"gradients": [0.0, 0.0]}]}] * 2
    assert failures.average(rows, 0, "gradients") == [1.0, 4.0] and failures.average(rows, -1, "gradients") == [0, 0]


# Sections


def text_of(blocks: Sequence[Any]) -> str:
    return "\n".join(block if isinstance(block, str) else repr(getattr(block, "rows", "")) for block in blocks)


def test_the_verdict_on_the_losses_says_what_the_rows_say() -> None:

    from reports.questions import q08_loss

    rows = all_rows()
    some = loss.pairs(rows)
    cells = {(name, depth): loss.tuned(some, name, depth) for depth, name in product(loss.DEPTHS, loss.RATES)}
    told = text_of(q08_loss.verdict(cells, some, []))
    assert "cross entropy is better by accuracy: cross entropy less squared error +1.00 (+1.00 to +1.00)" in told
    assert "So: cross entropy: it is more accurate and faster in the first epoch." in told
    told = text_of(q08_loss.verdict(cells, some, loss.duels(rows)))
    assert "from fresh seeds, it is +2.00 (+2.00 to +2.00)" in told and "and ahead with its best recipe" in told
    assert "ahead in 5 of 5; in 5 of them" in text_of(q08_loss.best_pair(rows))


def result(preset: str, seed: int | None, test: float, settings: Any = None) -> dict[str, Any]:
    """Return a result as reports.quality records it, of a preset as it is now unless other settings are given."""
    from fnn.recipes import PRESETS
    from reports.recipes import differing, members_of

    own = differing(PRESETS[preset]) if preset in PRESETS else members_of(preset)
    row = {"preset": preset, "seed": seed, "settings": settings or own, "validation": 0.9, "test": test}
    return {**row, "seconds": 10.0, "command": f"python train.py --preset {preset} --seed {seed}"}


def test_what_of_mnist_is_beaten_is_what_the_worst_seed_beats() -> None:
    from reports.questions import approaching, q10_mnist

    rows = [result("mnist-1", 0, 0.981), result("mnist-1", 1, 0.9755), result("mnist-best", 0, 0.995)]
    found = approaching.recipes(rows, "mnist")
    assert approaching.recipes(rows, "fashion_mnist") == {}
    told = text_of(q10_mnist.chosen(found))
    assert "'97.55 %', '97.36 %'" in told and "0 of 1 configurations beat all" in told
    assert "leaves 50 of 10,000 digits wrong in the mean of its seeds: **99.50 %**" in text_of(
        q10_mnist.best_of_all(found)
    )


def test_recipes_are_those_of_the_settings_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    from reports.questions import approaching

    rows = [
        result("pixels-best", 0, 0.91),
        result("pixels-best", 1, 0.93),
        result("pixels-best", 0, 0.99, {"epochs": 1}),
        result("features-quick", 0, 0.93),
        result("pixels-ensemble", None, 0.94),
    ]
    found = approaching.recipes(rows, "fashion_mnist")
    assert {name: approaching.level(own) for name, own in found.items()} == pytest.approx(
        {"pixels-best": 0.92, "features-quick": 0.93, "pixels-ensemble": 0.94}
    )
    assert approaching.from_pixels("pixels-ensemble") and not approaching.from_pixels("features-quick")
    monkeypatch.setattr(approaching, "recorded", lambda: rows)
    told = text_of(approaching.blocks())
    assert "`python train.py --preset pixels-ensemble --seed None` (taught by `--preset features-best`, " in told
    assert "seconds are counted) reaches **94.00 %**" in told
    assert "1.00 points short of 95 %" in told and "2.00 points short of 95 %" in told
    monkeypatch.setattr(approaching, "recorded", lambda: [])
    assert approaching.blocks() == []


def test_the_published_best_is_only_beaten_by_every_seed() -> None:
    assert "each of them more" in published.against([0.91, 0.92])
    for ours in ([], [0.90, 0.92]):
        assert "not every seed of `default` has as much" in published.against(ours)


def test_a_published_conclusion_is_judged_by_its_interval() -> None:
    gains = {"a": (0.01, 0.005, 0.015), "b": (0.01, -0.005, 0.025), "c": None}
    words, table = published.others(
        [published.Conclusion(name, "by", lambda gain=gain: gain) for name, gain in gains.items()]
    )
    assert (
        "of their own: 1 supported, none contradicted and 1 undecided; what is undecided is at most 2.5 points by"
        in words
    )
    assert [row[3] for row in table.rows] == ["supported", "undecided"]
    assert published.others([published.Conclusion("c", "by", lambda: None)]) == []


def test_the_runs_of_two_sides_are_paired_by_seed() -> None:
    found = published.momentum_over_sgd(), published.claimed("batch_size", 16)()
    assert all(gain and gain[1] < gain[0] < gain[2] for gain in found)
    assert published.claimed("batch_size", 17)() is None, "never run"
