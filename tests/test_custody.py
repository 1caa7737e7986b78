"""The test images are used for no choice: by the source, and by what a run is without them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from fnn import runner
from fnn.arrays import freeze
from fnn.config import Config
from fnn.datasets import Images, load
from fnn.rundir import load_model
from fnn.runner import run
from reports.custody import PLACES, naming, readers
from tests.shell import DATA


def test_the_places_that_name_the_test_images_are_the_known_ones() -> None:
    assert set(readers()) == set(PLACES)


@pytest.mark.parametrize(
    "code",
    [
        "x = images.test_images",
        "getattr(images, 'test_labels')",
        "def f(images): return g(test_images=images)",
        "class A:\n    test_labels: int",
        "match images:\n    case Images(test_images=x): pass",
    ],
)
def test_no_way_of_naming_them_is_overlooked(code: str) -> None:
    import ast

    assert list(naming(ast.parse(code)))


def with_noise(images: Images) -> Images:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, images.test_images.shape, np.uint8)
    labels = generator.integers(0, 10, images.test_labels.shape, np.uint8)
    return evolve(images, test_images=freeze(noise), test_labels=freeze(labels))


def test_a_run_on_other_test_images_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was chosen is the same, bit for bit; only the test at the end differs."""
    real = load("fashion_mnist", DATA)
    left = []
    for name, images in (("real", real), ("noise", with_noise(real))):
        monkeypatch.setattr(runner, "load", lambda *_, images=images: images)
        where = tmp_path / name
        config = Config(
            hidden_size=(8,), epochs=3, batch_size=20, wandb_mode="disabled", threads=1, run_dir=str(where)
        )  # fmt: skip
        summary = run(config, say=lambda _: None)
        lines = [json.loads(line) for line in (where / "history.jsonl").read_text().splitlines()]
        kept = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
        theta = load_model(where / "best.npz").params.theta.tobytes()
        left.append((kept, theta, summary["best_epoch"], summary["test_accuracy"]))
    (kept, theta, epoch, tested), (*others, tested_on_noise) = left
    assert [kept, theta, epoch] == others
    assert tested != tested_on_noise
