"""A configured experiment without its edges: the stream of states and of what each epoch came to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np
from attrs import frozen

from fnn.arrays import Array, freeze
from fnn.coded import coded
from fnn.config import Config, augmentation_of, plan_of
from fnn.data import Dataset, check_labels, dataset, split, take
from fnn.datasets import Images
from fnn.errors import DivergenceError, UserError
from fnn.featurecache import stored_codes
from fnn.features import FEATURES, Fitted
from fnn.metrics import evaluate
from fnn.schedules import SCHEDULES
from fnn.training import Plan, TrainState, answer, train


@frozen(eq=False)
class Parts:
    """The training images of an experiment, split: a network is trained on one part and chosen by the other, if any."""

    train: Dataset
    validation: Dataset | None
    fitted: Fitted | None = None  # what their features have learned


@frozen(kw_only=True)
class Report:
    """What an epoch came to: a line of history.jsonl. Training figures are those of each batch before its update."""

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None  # None without images to validate on
    val_accuracy: float | None
    learning_rate: float  # at the epoch's last step
    seconds: float  # of training and validation


def dataset_of(config: Config, images: Array, labels: Array, classes: int, fitted: Fitted | None = None) -> Dataset:
    """Return images as a configuration's network takes them: the one way from images to samples."""
    return dataset(images, labels, classes, config.dtype, config.features, fitted)


def parts_of(config: Config, images: Images) -> Parts:
    """Split the training images by the configuration's seed, stratified by class.

    Raises UserError where either part would be empty, or where there is but one class to tell apart.
    """
    labels = images.train_labels
    if len(labels) and np.ptp(labels) == 0:
        raise UserError(f"{images.source}: expected images of at least two classes, found only {labels[0]}")
    chosen, held_out = split(labels, config.validation_fraction, config.seed)
    if not len(chosen) or (config.validation_fraction and not len(held_out)):
        raise UserError(
            f"--validation_fraction: expected one that leaves images for both parts, found "
            f"{config.validation_fraction:g}, which splits {len(labels)} into {len(chosen)} and {len(held_out)}"
        )
    classes, row = len(images.class_names), FEATURES[config.features]
    if row.fit:
        return _parts_of_codes(config, images, chosen, held_out)
    train, validation = (
        dataset_of(config, images.train_images[index], labels[index], classes) if len(index) else None
        for index in (chosen, held_out)
    )
    assert train is not None, "some images were chosen"
    return Parts(train, validation)


def _parts_of_codes(config: Config, images: Images, chosen: Array, held_out: Array) -> Parts:
    """Let the features learn from all training images, and share the codes of these among both parts."""
    augmentation_of(config, FEATURES[config.features].width(images.train_images.shape[1:]))  # refuses before the work
    fitted, codes = stored_codes(config.features, images.name, images.train_images)
    check_labels(codes, images.train_labels, len(images.class_names))
    design = coded(codes, fitted.scale, config.dtype)
    whole = Dataset(design, freeze(np.array(images.train_labels, np.int64)), len(images.class_names), config.features)
    return Parts(take(whole, chosen), take(whole, held_out) if len(held_out) else None, fitted)


def plan_for(config: Config, parts: Parts) -> Plan:
    """Return the plan of training that a configuration asks for."""
    if config.normalization == "batch" and len(parts.train) % config.batch_size == 1:
        raise UserError(
            "--batch_size: expected one that leaves no last batch of a single image, which has no variance to "
            f"normalise by, found {config.batch_size} for {len(parts.train)} images; another by one will do"
        )
    return plan_of(config, parts.train.width, parts.train.classes, len(parts.train))


def observe(
    config: Config, parts: Parts, state: TrainState | None = None, pieces: int = 1
) -> Iterator[tuple[TrainState, Report | None]]:
    """Train as configured: a lazy stream of states, each with its report if an epoch has ended there.

    What is validated is each state's ``answer``, the network that it would be used as.
    It goes on from ``state``, or begins; the state it begins with isn't repeated. There are ``pieces`` states an epoch.
    Like ``train`` it holds no state that it has passed on. Raises DivergenceError as soon as the loss of a training
    step or of the validation is NaN or infinite.
    """
    plan = plan_for(config, parts)
    total = plan.steps_per_epoch(len(parts.train))
    schedule = SCHEDULES[config.schedule](config.epochs * total)
    states = train(plan, parts.train, config.epochs, state, -(-total // pieces))
    del state
    began, epoch = time.perf_counter(), next(states).epoch
    for now in states:
        if now.epoch == epoch:
            yield now, None
            del now
            continue
        epoch, result = now.epoch, None
        if parts.validation:
            result = evaluate(plan.spec, answer(plan, parts.train, now), parts.validation)
        if result is not None and not isfinite(result.loss):
            raise DivergenceError(now.step, result.loss, config.learning_rate)
        report = Report(
            epoch=epoch,
            step=now.step,
            train_loss=now.tally.loss / now.tally.samples,
            train_accuracy=now.tally.correct / now.tally.samples,
            val_loss=result and result.loss,
            val_accuracy=result and result.accuracy,
            learning_rate=config.learning_rate * schedule(now.step),
            seconds=time.perf_counter() - began,
        )
        yield now, report
        del now
        began = time.perf_counter()


def best_of(reports: Sequence[Report]) -> Report:
    """Return the first report of the best validation accuracy; the last one if nothing was validated."""
    judged = [report for report in reports if report.val_accuracy is not None]
    return max(judged, key=lambda report: report.val_accuracy or 0.0) if judged else reports[-1]


def out_of_patience(config: Config, reports: Sequence[Report]) -> bool:
    """Tell whether the last ``patience`` epochs have brought nothing better."""
    return bool(reports) and 0 < config.patience <= reports[-1].epoch - best_of(reports).epoch
