"""One image of each class, of both data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import fnn
from fnn.datasets import Images
from reports.page import Figure, Section
from reports.style import Theme, canvas

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
    from matplotlib.colors import LinearSegmentedColormap

    drawing = canvas(theme, 9, 1.22 * len(sets))
    ink = LinearSegmentedColormap.from_list("ink", theme.ink_of_images)
    for row, images in zip(drawing.subplots(len(sets), 10, squeeze=False), sets, strict=True):
        for label, (axes, name) in enumerate(zip(row, images.class_names, strict=True)):
            first = np.flatnonzero(images.train_labels == label)[0]
            axes.imshow(images.train_images[first], cmap=ink, interpolation="antialiased")
            axes.set_title(name, fontsize=8.5, color=theme.ink, pad=3)
            axes.set_axis_off()
    return drawing
