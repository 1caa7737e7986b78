"""One image of each class, of both data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fnn.arrays import Array
from reports.page import Figure, Section
from reports.samples import ARRAYS, FACTS
from reports.style import Theme, picture, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


def section() -> Section:
    """Return the section, from kept images."""
    facts = json.loads(FACTS.read_text())
    with np.load(ARRAYS) as kept:
        images = {name: kept[name] for name in kept.files}
    fashion = facts["fashion_mnist"]
    return Section(
        "1",
        "One image of each class",
        (
            f"Fashion-MNIST and MNIST hold {fashion['train']:,} training images each and {fashion['test']:,} test "
            f"images, {fashion['side']} by {fashion['side']} pixels of 256 greys, in {len(fashion['class_names'])} "
            "classes. Every copy that is used is checked by its SHA-256.",
            Figure(
                "samples",
                "The first training image of each class. Many garments differ by details of few pixels (Pullover, Coat "
                "and Shirt), while most digits differ by their whole shape: Fashion-MNIST is the harder of the two.",
                "Two rows of ten small images: ten garments from T-shirt to ankle boot, and the digits from 0 to 9",
                lambda theme: draw(images, facts, theme),
            ),
        ),
    )


def draw(images: Mapping[str, Array], facts: Mapping[str, Any], theme: Theme) -> Drawing:
    """Draw a row of each data set's classes."""
    cell, height = 0.9, 1.08
    drawing, axes = sheet(theme, 10 * cell, height * len(images))
    for row, (dataset, own) in enumerate(images.items()):
        for label, name in enumerate(facts[dataset]["class_names"]):
            x, y = label * cell, row * height
            axes.text(x + cell / 2, y + 0.14, name, ha="center", va="center", color=theme.ink, fontsize=8.5)
            picture(axes, theme, own[label], x + 0.07, y + 0.26, 4)
    return drawing
