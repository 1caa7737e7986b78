"""The best model on the test images, once: ``python -m reports.best MODEL...`` writes what section 7 is drawn from.

Several models, or the file of an ensemble, answer by the mean of their probabilities. What is kept is small: the
probabilities of all test images to 16 bits, the images that were mistaken, the classes' mean images, where covering an
image hurts the telling of shirts from T-shirts, and the labels of each confident mistake's nearest training images.
The temperature is fitted to the validation images; it is left out where members have split the images differently.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

import fnn
from fnn.arrays import Array
from fnn.cli import guarded
from fnn.config import FIELDS, OUTSIDE, Config
from fnn.datasets import Images
from fnn.ensembles import load_members
from fnn.errors import UserError
from fnn.files import write_atomically
from fnn.inference import classify
from fnn.recipes import PRESETS
from fnn.rundir import Model
from reports.speed import machine

ARRAYS, FACTS = (Path(__file__).parent / "results" / name for name in ("best.npz", "best.json"))
LEVELS = 65535  # of a stored probability
PAIR = ("T-shirt/top", "Shirt")
PATCH, STRIDE, COVERED = 7, 3, 100  # pixels; images of each class of the pair
NEIGHBOURS, EXAMINED = 10, 40  # nearest training images of so many confident mistakes
BINS = 15


@frozen(eq=False)
class Best:
    """What is kept of a model's answers to the test images; `n` images, `k` classes."""

    probabilities: Array  # (n, k), of the classes
    labels: Array  # (n,)
    class_names: tuple[str, ...]
    wrong_images: dict[int, Array]  # the mistaken ones by their number, (28, 28) bytes each
    means: Array  # (k, 28, 28), of the test images
    cost: Array  # (p, p), of covering a patch: the loss of log odds between the two of PAIR
    neighbours: dict[int, Array]  # labels of the nearest training images of the most confident mistakes
    facts: dict[str, Any]

    @property
    def predictions(self) -> Array:
        return np.argmax(self.probabilities, axis=1)


# Pure functions of probabilities and labels


def wilson(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a share: it holds at small counts, too (Wilson 1927).

    >>> low, high = wilson(9000, 10000)
    >>> round(low, 4), round(high, 4)
    (0.894, 0.9057)
    """
    share, weight = right / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * np.sqrt(share * (1 - share) / total + weight / (4 * total))
    return float(middle - half), float(middle + half)


def reliability(confidence: Array, right: Array, bins: int = BINS) -> tuple[Array, Array, Array]:
    """Return mean confidence, accuracy and count of bins that hold equally many images (Nguyen & O'Connor 2015).

    >>> reliability(np.array([0.5, 0.6, 0.9, 1.0]), np.array([0, 1, 1, 1]), 2)
    (array([0.55, 0.95]), array([0.5, 1. ]), array([2, 2]))
    """
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    told, true, size = zip(*((confidence[part].mean(), right[part].mean(), len(part)) for part in parts), strict=True)
    return np.array(told), np.array(true), np.array(size)


def calibration_error(confidence: Array, right: Array, bins: int = BINS) -> float:
    """Return the expected calibration error, the mean of |confidence - accuracy| over such bins (Naeini et al. 2015).

    >>> round(calibration_error(np.array([0.5, 0.6, 0.9, 1.0]), np.array([0, 1, 1, 1]), 2), 6)
    0.05
    """
    told, true, size = reliability(confidence, right, bins)
    return float(np.abs(told - true) @ size / size.sum())


def tempered(probabilities: Array, temperature: float) -> Array:
    """Return the softmax of the logarithms over a temperature (Guo et al. 2017).

    >>> tempered(np.array([[0.8, 0.2]]), 0.5).round(3).tolist()
    [[0.941, 0.059]]
    """
    powers = np.maximum(probabilities, 1e-12) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def temperature_of(probabilities: Array, labels: Array) -> float:
    """Return the temperature, of a grid by hundredths, with the least cross entropy."""
    rows = np.arange(len(labels))
    grid = np.arange(20, 301) / 100
    return float(min(grid, key=lambda t: -np.log(tempered(probabilities, t)[rows, labels]).mean()))


def confident_mistakes(probabilities: Array, labels: Array) -> Array:
    """Return the numbers of the mistaken images, those with the likeliest wrong class first.

    >>> confident_mistakes(np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]]), np.array([1, 1, 1])).tolist()
    [1, 0]
    """
    wrong = np.flatnonzero(np.argmax(probabilities, axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


# What is made of the models


def cost_of_covering(members: Sequence[Model], images: Array, labels: Array, pair: tuple[int, int]) -> Array:
    """Return by how much covering each patch of an image lowers the log odds of the right one of two classes.

    A patch is covered by the mean of both classes' images there, which speaks for neither.
    """
    chosen = np.concatenate([np.flatnonzero(labels == label)[:COVERED] for label in pair])
    own, side = images[chosen], np.where(labels[chosen] == pair[0], 1, -1)
    neutral = np.mean([images[labels == label].mean(axis=0) for label in pair], axis=0).round().astype(np.uint8)
    plain, starts = _log_odds(members, own, pair), range(0, images.shape[1] - PATCH + 1, STRIDE)
    cost = np.empty((len(starts), len(starts)))
    for i, top in enumerate(starts):
        covered = np.tile(own, (len(starts), 1, 1))
        for j, left in enumerate(starts):
            window = slice(top, top + PATCH), slice(left, left + PATCH)
            covered[j * len(own) : (j + 1) * len(own), *window] = neutral[window]
        odds = _log_odds(members, covered, pair).reshape(len(starts), len(own))
        cost[i] = np.mean(side * (plain - odds), axis=1)
    return cost


def _log_odds(members: Sequence[Model], images: Array, pair: tuple[int, int]) -> Array:
    p = np.maximum(classify(members, images)[:, pair], 1e-6)
    return np.log(p[:, 0]) - np.log(p[:, 1])


def nearest(images: Array, others: Array, count: int = NEIGHBOURS) -> Array:
    """Return the numbers of the others with the least squared distance to each image, the nearest first.

    >>> nearest(np.array([[[9]]], np.uint8), np.array([[[0]], [[8]], [[7]]], np.uint8), 2).tolist()
    [[1, 2]]
    """
    a, b = (x.reshape(len(x), -1).astype(np.float32) for x in (images, others))
    squares = np.einsum("ij,ij->i", b, b)
    return np.array([np.argsort(squares - 2 * b @ row, kind="stable")[:count] for row in a])


def command_of(config: Config) -> str:
    """Return the command that trains a model: the nearest preset, and what differs from it.

    >>> command_of(Config(epochs=3, hidden_size=(512, 256)))
    'python train.py --hidden_size 512 256 --epochs 3'
    """
    ours = config.as_dict()

    def changed(name: str) -> list[str]:
        usual = PRESETS[name].as_dict()
        return [field for field in FIELDS if field not in OUTSIDE and ours[field] != usual[field]]

    preset = min(PRESETS, key=lambda name: len(changed(name)))
    words = [f"--{name} {' '.join(map(str, np.atleast_1d(ours[name])))}" for name in changed(preset)]
    return " ".join(("python train.py", *([] if preset == "default" else [f"--preset {preset}"]), *words))


def examine(members: Sequence[Model], images: Images) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the facts that are kept of some models."""
    names, labels = list(images.class_names), np.array(images.test_labels, np.int64)
    probabilities = classify(members, images.test_images)
    stored = np.round(probabilities.astype(float) * LEVELS).astype(np.uint16)
    wrong = np.flatnonzero(np.argmax(stored, axis=1) != labels)
    examined = confident_mistakes(stored / LEVELS, labels)[:EXAMINED]
    near = nearest(images.test_images[examined], images.train_images)
    pair = names.index(PAIR[0]), names.index(PAIR[1])
    arrays = {
        "probabilities": stored,
        "labels": labels.astype(np.uint8),
        "wrong": wrong.astype(np.uint16),
        "wrong_images": images.test_images[wrong],
        "means": np.array([images.test_images[labels == k].mean(axis=0) for k in range(len(names))]).astype(np.float32),
        "cost": cost_of_covering(members, images.test_images, labels, pair).astype(np.float32),
        "examined": examined.astype(np.uint16),
        "neighbours": images.train_labels[near],
    }
    commands = dict.fromkeys(command_of(member.config) for member in members)
    return arrays, {
        "machine": machine(), "class_names": names, "members": len(members), "commands": list(commands),
        "parameters": sum(member.params.theta.size for member in members),         **_validated(members, images),
    }  # fmt: skip


def _validated(members: Sequence[Model], images: Images) -> dict[str, Any]:
    """Return accuracy and temperature on the validation images, if there are any that no member was trained on."""
    splits = {(member.config.seed, member.config.validation_fraction) for member in members}
    if len(splits) > 1:
        return {}
    ((seed, fraction),) = splits
    if not fraction:
        return {"all_images": True}
    _, held_out = fnn.split(images.train_labels, fraction, seed)
    labels = images.train_labels[held_out]
    probabilities = classify(members, images.train_images[held_out])
    accuracy = float(np.mean(np.argmax(probabilities, axis=1) == labels))
    return {"validation_accuracy": round(accuracy, 5), "temperature": temperature_of(probabilities, labels)}


def read() -> Best:
    """Return what is kept of the best model."""
    facts = json.loads(FACTS.read_text())
    with np.load(ARRAYS) as kept:
        return Best(
            kept["probabilities"] / LEVELS,
            kept["labels"].astype(np.int64),
            tuple(facts["class_names"]),
            dict(zip(kept["wrong"].tolist(), kept["wrong_images"], strict=True)),
            kept["means"],
            kept["cost"],
            dict(zip(kept["examined"].tolist(), kept["neighbours"], strict=True)),
            facts,
        )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.best", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="best.npz of a run, or an ensemble")
    given = parser.parse_args(arguments)
    members = [member for path in given.models for member in load_members(path)]
    if {member.config.dataset for member in members} != {"fashion_mnist"}:
        raise UserError("expected models of fashion_mnist, found others")
    arrays, facts = examine(members, fnn.load("fashion_mnist"))
    file = BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_atomically(ARRAYS, file.getvalue())
    write_atomically(FACTS, json.dumps(facts, indent=1).encode() + b"\n")
    accuracy = np.mean(np.argmax(arrays["probabilities"], axis=1) == arrays["labels"])
    print(f"{len(members)} members, test accuracy {accuracy:.2%}; {ARRAYS} has {len(file.getvalue()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.best"))
