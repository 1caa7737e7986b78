from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fnn import figures

NAMES = ("cat", "dog", "bird")


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def pictures(figure: Any) -> list[np.ndarray]:
    return [image.get_array() for axes in figure.axes for image in axes.images]


def example() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images that show their own number, labels, predictions and the matrix of counts; no bird at all."""
    labels, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 1, 1, 1])
    images = np.arange(1, 7, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix, images, labels, predictions


def test_samples_show_the_first_image_of_each_class() -> None:
    _, images, labels, _ = example()
    figure = figures.samples(images, labels, NAMES)
    assert [int(p.max()) for p in pictures(figure)] == [1, 5]
    assert texts(figure) == ["cat", "dog", "no image", "bird"]


def test_many_classes_take_rows_of_ten() -> None:
    images, labels = np.zeros((12, 4, 4), np.uint8), np.arange(12)
    wide, tall = (figures.samples(images, labels, [str(i) for i in range(n)]) for n in (10, 12))
    assert wide.get_figwidth() == tall.get_figwidth() and tall.get_figheight() == 2 * wide.get_figheight()


def test_confusion_shows_counts_shares_and_the_very_images() -> None:
    matrix, images, labels, predictions = example()
    figure = figures.confusion(matrix, images, labels, predictions, NAMES, "pets")
    shown = texts(figure)
    assert {"pets", "50.00% of 6 images right, 3 wrong", "25.0%", "100.0%"} <= set(shown)
    assert {"dog  50.0%", "bird  25.0%", "no mistakes", "no images"} <= set(shown)
    # The mean cat, the cats taken for dogs, the one taken for a bird; the mean dog.
    assert [float(p.max()) for p in pictures(figure)] == [2.5, 2, 4, 3, 5.5]


def test_nothing_at_all_is_drawn_too(tmp_path: Path) -> None:
    none = np.zeros(0, int)
    images = np.zeros((0, 4, 4), np.uint8)
    figure = figures.confusion(np.zeros((3, 3), int), images, none, none, NAMES, "empty")
    assert texts(figure).count("no images") == 4
    for name, drawn in (("a", figure), ("b", figures.samples(images, none, NAMES)), ("c", figures.curves([]))):
        with Image.open(figures.save(drawn, tmp_path / f"{name}.png")) as picture:
            assert picture.width > 300


def test_curves_ring_the_best_epoch_and_leave_gaps() -> None:
    nan = float("nan")
    values = [(0.9, 0.5), (nan, None), (0.4, 0.8), (0.6, 0.7)]
    history = [{"epoch": e, "val_loss": loss, "val_accuracy": acc} for e, (loss, acc) in enumerate(values, 1)]
    loss, accuracy = figures.curves(history).axes
    lines = {line.get_label(): line for line in [*loss.lines, *accuracy.lines]}
    assert {"best: 0.4000, epoch 3", "best: 80.00%, epoch 3"} <= set(lines)
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), [0.9, nan, 0.4, 0.6])
    np.testing.assert_array_equal(accuracy.lines[1].get_ydata(), [0.5, nan, 0.8, 0.7])


@pytest.mark.parametrize("value", [float("nan"), None, float("inf")])
def test_curves_without_a_finite_value_have_no_best(value: float | None, tmp_path: Path) -> None:
    figure = figures.curves([{"epoch": 1, "val_loss": value, "val_accuracy": value}])
    assert not [line for axes in figure.axes for line in axes.lines if str(line.get_label()).startswith("best")]
    figures.save(figure, tmp_path / "curves.png")


def test_the_same_figure_is_the_same_file_and_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, images, labels, _ = example()
    one, two = (figures.save(figures.samples(images, labels, NAMES), tmp_path / "new" / n) for n in ("1.png", "2.png"))
    assert one.read_bytes() == two.read_bytes()
    with Image.open(one) as picture:
        assert picture.format == "PNG"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        figures.save(figures.curves([]), one)
    assert one.read_bytes() == two.read_bytes() and sorted(os.listdir(one.parent)) == ["1.png", "2.png"]


def test_neither_pyplot_nor_matplotlib_is_imported_too_early(tmp_path: Path) -> None:
    script = """
import sys
from fnn import figures
assert "matplotlib" not in sys.modules
figures.save(figures.curves([{"epoch": 1, "val_loss": 1.0}]), sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    root = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "c.png")], env=root, check=True)
