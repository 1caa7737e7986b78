"""What is said of the best model: intervals, calibration, mistakes, and where it looks."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import freeze
from fnn.cli import train_parser
from fnn.config import Config, configure
from fnn.data import dataset
from fnn.datasets import Images
from fnn.inference import classify
from fnn.network import Params, Spec, init_params
from fnn.recipes import ASSIGNMENT, FEATURES_QUICK, PRESETS
from fnn.rundir import Model
from reports import best
from reports.best import calibration_error, confident_mistakes, nearest, reliability, temperature_of, tempered, wilson
from reports.questions.q07_best import commonest_pairs, zones_of
from tests.strategies import generators


@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilsons_interval_solves_its_equation(total: int, share: float) -> None:
    """Its ends are the p with (share - p)^2 = z^2 p (1 - p) / n: where the score test just rejects."""
    right = round(share * total)
    for end in wilson(right, total):
        assert (right / total - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / total, abs=1e-12)


@given(generators(), st.integers(20, 200), st.integers(1, 15))
def test_bins_hold_every_image_once_and_equally_many(rng: np.random.Generator, n: int, bins: int) -> None:
    confidence, right = rng.uniform(size=n), rng.uniform(size=n) < 0.5
    told, true, size = reliability(confidence, right, bins)
    assert size.sum() == n and np.ptp(size) <= 1
    assert told @ size == pytest.approx(confidence.sum()) and true @ size == pytest.approx(right.sum())
    assert np.all(np.diff(told) >= 0)


@given(generators())
def test_a_model_that_is_as_sure_as_right_has_no_error_of_calibration(rng: np.random.Generator) -> None:
    confidence = np.repeat([0.25, 0.5, 0.75, 1.0], 100)
    right = np.concatenate([np.arange(100) < 100 * share for share in (0.25, 0.5, 0.75, 1.0)])
    order = rng.permutation(400)
    assert calibration_error(confidence[order], right[order], 4) == pytest.approx(0, abs=1e-12)
    assert calibration_error(confidence[order], ~right[order], 1) == pytest.approx(abs(0.625 - 0.375))


@given(generators(), st.floats(0.3, 3))
def test_a_temperature_changes_no_prediction_and_is_found_again(rng: np.random.Generator, wanted: float) -> None:
    logits = rng.normal(size=(300, 5))
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    warmer = tempered(p, wanted)
    assert warmer.sum(1) == pytest.approx(np.ones(300))
    assert np.array_equal(warmer.argmax(1), p.argmax(1))
    assert tempered(tempered(p, wanted), 1 / wanted) == pytest.approx(p, abs=1e-6)
    labels = np.array([rng.choice(5, p=row) for row in p])
    found = temperature_of(warmer, labels)
    loss = lambda t: -np.log(tempered(warmer, t)[np.arange(300), labels]).mean()  # noqa: E731
    assert all(loss(found) <= loss(min(max(found + step, 0.2), 3.0)) + 1e-12 for step in (-0.01, 0.01))


@given(generators(), st.integers(1, 30))
def test_mistakes_are_all_there_and_the_surest_first(rng: np.random.Generator, n: int) -> None:
    p, labels = rng.dirichlet(np.ones(4), n), rng.integers(4, size=n)
    found = confident_mistakes(p, labels)
    assert set(found) == {i for i in range(n) if p[i].argmax() != labels[i]}
    assert np.all(np.diff(p[found].max(1)) <= 0)


@given(generators())
def test_the_nearest_are_those_of_the_plain_formula(rng: np.random.Generator) -> None:
    images, others = (rng.integers(0, 256, (n, 3, 3), np.uint8) for n in (2, 9))
    distance = ((images[:, None].astype(float) - others[None]) ** 2).sum((2, 3))
    found = nearest(images, others, 4)
    assert np.take_along_axis(distance, found, 1).tolist() == np.sort(distance, axis=1)[:, :4].tolist()


@pytest.mark.parametrize(
    "config", [Config(), FEATURES_QUICK, evolve(FEATURES_QUICK, seed=3, hidden_size=(512, 128)), ASSIGNMENT]
)
def test_a_command_trains_what_it_says(config: Config) -> None:
    given_ = vars(train_parser("x").parse_args(shlex.split(best.command_of(config))[2:]))
    settings = {name: value for name, value in given_.items() if name in best.FIELDS and value is not None}
    trained = configure(PRESETS[given_.get("preset") or "default"], settings)
    assert all(getattr(trained, name) == getattr(config, name) for name in best.FIELDS if name not in best.OUTSIDE)


def little(seed: int) -> Model:
    spec = Spec((784, 6, 10))
    names = tuple(["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"])
    return Model(spec, init_params(spec, seed), Config(num_layers=1, hidden_size=(6,), seed=0), names)


def images_of(rng: np.random.Generator, n: int) -> Images:
    pictures = [freeze(rng.integers(0, 256, (n, 28, 28), np.uint8)) for _ in range(2)]
    labels = [freeze(np.arange(n, dtype=np.uint8) % 10) for _ in range(2)]
    return Images("fashion_mnist", pictures[0], labels[0], pictures[1], labels[1], little(0).class_names, "drawn")


def test_what_is_kept_of_a_model_is_what_it_answers(tmp_path, monkeypatch) -> None:
    members = [little(1), little(2)]
    images = images_of(np.random.default_rng(0), 60)
    arrays, facts = best.examine(members, images)
    expected = classify(members, images.test_images)
    assert np.abs(arrays["probabilities"] / best.LEVELS - expected).max() <= 0.5 / best.LEVELS + 1e-7
    assert set(arrays["wrong"]) == {i for i in range(60) if arrays["probabilities"][i].argmax() != i % 10}
    assert facts["members"] == 2 and facts["commands"] == [best.command_of(members[0].config)]
    assert 0 <= facts["validation_accuracy"] <= 1


def test_members_of_different_splits_have_no_common_validation() -> None:
    other = evolve(little(1), config=evolve(little(1).config, seed=5))
    _, facts = best.examine([little(1), other], images_of(np.random.default_rng(0), 60))
    assert "validation_accuracy" not in facts and "temperature" not in facts


def test_covering_costs_where_the_network_looks() -> None:
    """A network that tells the two by one pixel alone: only patches over that pixel cost anything."""
    pair, pixel = (0, 6), 9 * 28 + 9
    spec = Spec((784, 10))
    theta = np.zeros(spec.parameters, np.float32)
    theta[: 784 * 10].reshape(784, 10)[pixel, list(pair)] = 4, -4
    model = Model(spec, Params(spec.sizes, freeze(theta)), Config(num_layers=0), little(0).class_names)
    labels = np.array([0, 6] * 5)
    images = np.zeros((10, 28, 28), np.uint8)
    images[labels == 0, 9, 9] = 255
    cost = best.cost_of_covering([model], images, labels, pair)
    starts = range(0, 28 - best.PATCH + 1, best.STRIDE)
    over = np.array(
        [[top <= 9 < top + best.PATCH and left <= 9 < left + best.PATCH for left in starts] for top in starts]
    )
    assert np.all((np.abs(cost) > 1e-3) == over)
    assert dataset(images, labels).design.shape == (10, 785)


@given(generators(), st.integers(2, 6))
def test_pairs_are_all_there_and_the_commonest_first(rng: np.random.Generator, k: int) -> None:
    counts = rng.integers(0, 50, (k, k))
    pairs = commonest_pairs(counts)
    both = [counts[a, b] + counts[b, a] for a, b in pairs]
    assert len(set(pairs)) == k * (k - 1) // 2 and both == sorted(both, reverse=True)


@given(generators(), st.integers(3, 9))
def test_zones_share_the_whole(rng: np.random.Generator, size: int) -> None:
    cost = rng.normal(size=(3 * size, 3 * size))
    zones = zones_of(cost)
    assert len(zones) == 9 and np.mean(list(zones.values())) == pytest.approx(cost.mean())


def test_what_is_committed_can_be_read_and_is_whole() -> None:
    kept = best.read()
    n, k = kept.probabilities.shape
    assert n == len(kept.labels) == 10_000 and k == len(kept.class_names)
    assert kept.probabilities.sum(axis=1) == pytest.approx(np.ones(n), abs=1e-3)
    assert set(kept.wrong_images) == set(np.flatnonzero(kept.predictions != kept.labels).tolist())
    assert best.ARRAYS.stat().st_size < 1_000_000
