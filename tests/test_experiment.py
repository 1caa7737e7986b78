"""The stream of an experiment: its split, its reports, patience, and that it can be cut anywhere."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnn import experiment
from fnn.arrays import freeze, same
from fnn.config import Config
from fnn.data import split
from fnn.datasets import Images, load
from fnn.errors import DivergenceError, UserError
from fnn.experiment import Report, best_of, observe, out_of_patience, parts_of, plan_for
from fnn.metrics import evaluate
from fnn.training import answer
from tests.shell import DATA

CONFIG = Config(hidden_size=(8,), epochs=3, batch_size=50, dtype="float64", schedule="step")


@pytest.fixture(scope="module")
def images() -> Images:
    return load("fashion_mnist", DATA)


def report(epoch: int, accuracy: float) -> Report:
    return Report(
        epoch=epoch,
        step=epoch,
        train_loss=0,
        train_accuracy=0,
        val_loss=0,
        val_accuracy=accuracy,
        learning_rate=0,
        seconds=0,
    )


def test_the_parts_are_those_of_the_split(images: Images) -> None:
    parts = parts_of(CONFIG, images)
    train, validation = split(images.train_labels, 0.1, 0)
    for data, index in ((parts.train, train), (parts.validation, validation)):
        np.testing.assert_array_equal(data.x, images.train_images[index].reshape(len(index), -1) / 255)
        np.testing.assert_array_equal(data.labels, images.train_labels[index])
    assert np.bincount(parts.validation.labels).tolist() == [6] * 10


def test_the_reports_are_what_the_states_come_to(images: Images) -> None:
    parts = parts_of(CONFIG, images)
    plan = plan_for(CONFIG, parts)
    seen = [(now, report) for now, report in observe(CONFIG, parts, pieces=4) if report]
    assert [(report.epoch, report.step) for _, report in seen] == [(1, 11), (2, 22), (3, 33)]
    for now, report in seen:
        result = evaluate(plan.spec, now.params, parts.validation)
        assert (report.val_loss, report.val_accuracy) == (result.loss, result.accuracy)
        assert report.train_loss == now.tally.loss / 540 and report.train_accuracy == now.tally.correct / 540
        assert report.seconds > 0
    assert np.allclose([report.learning_rate for _, report in seen], [1e-3, 1e-4, 1e-5])


@pytest.mark.parametrize("cut", [1, 4, 7, 12])
def test_a_stream_that_goes_on_from_any_state_is_the_whole_one(images: Images, cut: int) -> None:
    parts = parts_of(CONFIG, images)
    whole = list(observe(CONFIG, parts, pieces=4))
    again = list(observe(CONFIG, parts, whole[cut - 1][0], pieces=4))
    assert len(whole) == 12 and len(again) == 12 - cut
    for (one, a), (two, b) in zip(whole[cut:], again, strict=True):
        assert same(one, two)
        assert (a and evolve(a, seconds=0)) == (b and evolve(b, seconds=0))


@pytest.mark.parametrize(
    ("accuracies", "patience", "stops"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.6], 1, False),
        ([0.5, 0.4, 0.45], 2, True),
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4, 0.4, 0.4], 0, False),
    ],
)
def test_patience_counts_the_epochs_since_the_best(accuracies: list[float], patience: int, stops: bool) -> None:
    reports = [report(epoch, accuracy) for epoch, accuracy in enumerate(accuracies, 1)]
    assert out_of_patience(Config(patience=patience), reports) is stops


def test_the_best_is_the_first_of_equals() -> None:
    assert best_of([report(1, 0.4), report(2, 0.6), report(3, 0.6)]).epoch == 2


def test_a_validation_loss_that_is_no_number_is_divergence(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = experiment.evaluate
    monkeypatch.setattr(experiment, "evaluate", lambda *given: evolve(plain(*given), loss=nan))
    with pytest.raises(DivergenceError, match=r"nan at step 11 \(learning rate 0\.001\)"):
        list(observe(CONFIG, parts_of(CONFIG, images)))


def test_without_images_held_out_all_are_trained_on_and_the_last_report_is_the_best(images: Images) -> None:
    config = evolve(CONFIG, validation_fraction=0.0)
    parts = parts_of(config, images)
    assert len(parts.train) == 600 and parts.validation is None
    reports = [report for _, report in observe(config, parts) if report]
    assert [(report.epoch, report.val_loss, report.val_accuracy) for report in reports] == [
        (epoch, None, None) for epoch in (1, 2, 3)
    ]
    assert best_of(reports) is reports[-1] and not out_of_patience(config, reports)


@pytest.mark.parametrize("changes", [{"averaging": 0.9}, {"averaging": 0.9, "normalization": "batch"}])
def test_what_is_validated_is_the_answer_not_what_is_trained(images: Images, changes: dict[str, Any]) -> None:
    config = evolve(CONFIG, **changes)
    parts = parts_of(config, images)
    plan = plan_for(config, parts)
    for (now, report), (raw, _) in zip(
        observe(config, parts), observe(evolve(config, averaging=0.0), parts), strict=True
    ):
        result = evaluate(plan.spec, answer(plan, parts.train, now), parts.validation)
        assert report and (report.val_loss, report.val_accuracy) == (result.loss, result.accuracy)
        assert same(now.params, raw.params) and not same(now.params, answer(plan, parts.train, now))


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        ([3] * 20, 0.5, "at least two classes, found only 3"),
        (list(range(10)) * 2, 0.1, "--validation_fraction: .* found 0.1, which splits 20 into 20 and 0"),
        (list(range(10)) * 2, 0.9, "--validation_fraction: .* found 0.9, which splits 20 into 0 and 20"),
    ],
)
def test_too_few_images_or_classes_are_refused(
    images: Images, labels: list[int], fraction: float, message: str
) -> None:
    few = evolve(images, train_images=images.train_images[:20], train_labels=freeze(np.array(labels, np.uint8)))
    with pytest.raises(UserError, match=message):
        parts_of(evolve(CONFIG, validation_fraction=fraction), few)


def test_a_last_batch_of_one_image_is_refused_where_a_batch_is_normalised_by_its_variance(images: Images) -> None:
    parts, config = parts_of(CONFIG, images), evolve(CONFIG, batch_size=49)  # 540 images
    plan_for(config, parts)
    with pytest.raises(UserError, match=r"--batch_size: .*found 49 for 540 images"):
        plan_for(evolve(config, normalization="batch"), parts)
