"""Oriented gradients against a plain transcription, pixel by pixel, and the symmetries that they have exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import Array
from fnn.errors import UserError
from fnn.features import FEATURES
from fnn.gradients import mirror
from tests.strategies import WIDTHS, images

GRADIENTS = FEATURES["gradients"]


def transcribed(image: Array) -> Array:
    """Return the features of one image as the documentation says them, one pixel and one cell at a time."""
    side = len(image)
    values = [[int(value) for value in row] for row in image]

    def at(i: int, j: int) -> int:
        return values[min(max(i, 0), side - 1)][min(max(j, 0), side - 1)]

    def histogram(top: int, left: int) -> list[float]:
        found = [0.0] * 8
        for i in range(top, top + 4):
            for j in range(left, left + 4):
                dx, dy = at(i, j + 1) - at(i, j - 1), at(i + 1, j) - at(i - 1, j)
                a, b = max(abs(dx), abs(dy)), min(abs(dx), abs(dy))
                axis = (0 if dx > 0 else 4) if abs(dx) > abs(dy) else (2 if dy > 0 else 6)
                diagonal = {(1, 1): 1, (-1, 1): 3, (-1, -1): 5, (1, -1): 7}[1 if dx > 0 else -1, 1 if dy > 0 else -1]
                found[axis] += a - b
                found[diagonal] += 2**0.5 * b
        return found

    rows = [values[i][j] / 255 for i in range(side) for j in range(side)]
    for first in (0, 2):
        corners = range(first, side - 3, 4)
        cells = [[histogram(top, left) for left in corners] for top in corners]
        rows += [3 * (cell[k] / 16 / 255) ** 0.5 for k in range(8) for line in cells for cell in line]
    return np.array(rows)


def vectors(image: Array) -> tuple[Array, Array]:
    """Return the gradients of an image's pixels."""
    x = np.pad(image.astype(float), 1, "edge")
    return x[1:-1, 2:] - x[1:-1, :-2], x[2:, 1:-1] - x[:-2, 1:-1]


@given(images())
def test_the_features_are_those_of_a_plain_transcription(x: Array) -> None:
    """The sums are of whole numbers and exact: what is left are a handful of roundings, each of half an epsilon."""
    wanted = np.array([transcribed(image) for image in x])
    for dtype in ("float64", "float32"):
        found = GRADIENTS.extract(x, dtype)
        assert found.dtype == dtype and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(dtype).eps, atol=0)


@given(images())
def test_the_split_keeps_every_vector(x: Array) -> None:
    """The squares of a grid's features, each times its direction, sum to the image's gradient, but for a constant."""
    side = x.shape[1]
    cells = (side // 4) ** 2
    squares = GRADIENTS.extract(x, "float64")[:, side**2 : side**2 + 8 * cells].reshape(len(x), 8, cells) ** 2
    turns = np.arange(8) * np.pi / 4
    for image, weights in zip(x, squares.sum(axis=2) * 16 * 255 / 9, strict=True):
        dx, dy = vectors(image)
        found = weights @ np.cos(turns), weights @ np.sin(turns)
        np.testing.assert_allclose(found, (dx.sum(), dy.sum()), rtol=0, atol=1e-12 * (1 + weights.sum()))


@given(images())
def test_a_mirrored_image_has_the_same_features_elsewhere(x: Array) -> None:
    index, found = mirror(x.shape[1]), GRADIENTS.extract(x)
    assert sorted(index) == list(range(found.shape[1]))
    np.testing.assert_array_equal(GRADIENTS.extract(x[:, :, ::-1]), found[:, index])
    np.testing.assert_array_equal(found[:, index][:, index], found)


@given(images())
def test_a_turned_image_has_the_same_features_elsewhere(x: Array) -> None:
    one, two = (GRADIENTS.extract(each) for each in (x, np.rot90(x, axes=(1, 2))))
    np.testing.assert_array_equal(np.sort(one, axis=1), np.sort(two, axis=1))


@given(st.integers(0, 255), st.sampled_from(sorted(WIDTHS)))
def test_a_constant_image_has_no_gradient(level: int, side: int) -> None:
    found = GRADIENTS.extract(np.full((1, side, side), level, np.uint8), "float64")
    np.testing.assert_array_equal(found[0, : side**2], level / 255)
    assert not found[0, side**2 :].any()


@given(images(), st.integers(1, 255))
def test_brightness_adds_nothing_and_contrast_scales_by_its_root(x: Array, factor: int) -> None:
    side = x.shape[1]
    faint = x // 2 // factor
    plain = GRADIENTS.extract(faint, "float64")[:, side**2 :]
    brighter = GRADIENTS.extract(faint + np.uint8(128), "float64")[:, side**2 :]
    stronger = GRADIENTS.extract(faint * np.uint8(factor), "float64")[:, side**2 :]
    np.testing.assert_array_equal(brighter, plain)
    np.testing.assert_allclose(stronger, np.sqrt(factor) * plain, rtol=1e-14, atol=0)
    inverted = GRADIENTS.extract(255 - x)[:, side**2 :]  # the opposite directions
    assert inverted.sum() == pytest.approx(GRADIENTS.extract(x)[:, side**2 :].sum(), rel=1e-5)


@pytest.mark.parametrize("shape", [(), (9,), (28, 24), (27, 27), (30, 30), (2, 2), (0, 0), (28, 28, 1)])
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="--features gradients: expected square images whose side is a multiple of 4"):
        GRADIENTS.extract(np.zeros((2, *shape), np.uint8))
