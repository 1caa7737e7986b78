"""One image of each class, of both data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import fnn
from fnn.datasets import Images
from reports.page import Figure, Section
from reports.style import Theme, picture, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


def section() -> Section:
    """Return the section, from the training images alone."""
    fashion, digits = fnn.load("fashion_mnist"), fnn.load("mnist")
    count, side = len(fashion.train_labels), fashion.train_images.shape[1]
    return Section(
        "1",
        "One image of each class",
        (
            f"Fashion-MNIST and MNIST hold {count:,} training images each and {len(fashion.test_labels):,} test "
            f"images, {side} by {side} pixels of {fashion.train_images.dtype} grey, in {len(fashion.class_names)} "
            "classes.",
            Figure(
                "samples",
                "The first training image of each class. Many garments differ by details of few pixels (Pullover, Coat "
                "and Shirt), while most digits differ by their whole shape: Fashion-MNIST is the harder of the two.",
                "Two rows of ten small images: ten garments from T-shirt to ankle boot, and the digits from 0 to 9",
                lambda theme: draw((fashion, digits), theme),
            ),
        ),
    )


def draw(sets: tuple[Images, ...], theme: Theme) -> Drawing:
    """Draw a row of each data set's classes."""
    cell, height = 0.9, 1.08
    drawing, axes = sheet(theme, 10 * cell, height * len(sets))
    for row, images in enumerate(sets):
        for label, name in enumerate(images.class_names):
            first, x = np.flatnonzero(images.train_labels == label)[0], label * cell
            axes.text(x + cell / 2, row * height + 0.14, name, ha="center", va="center", color=theme.ink, fontsize=8.5)
            picture(axes, theme, images.train_images[first], x + 0.07, row * height + 0.26, 4)
    return drawing
