"""The first image of each class and what the data sets count: ``python -m reports.samples``.

They are kept, since the report is made where the data sets themselves need not be.
"""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

import fnn
from fnn.arrays import Array
from fnn.config import Config
from fnn.data import twins
from fnn.datasets import OFFICIAL, Images
from fnn.files import write_atomically

ARRAYS, FACTS = (Path(__file__).parent / "results" / name for name in ("samples.npz", "samples.json"))


def first_of_each(images: Images) -> Array:
    """Return the first training image of each class."""
    labels = images.train_labels
    return np.array([images.train_images[np.argmax(labels == k)] for k in range(len(images.class_names))])


def facts_of(images: Images) -> dict[str, Any]:
    """Return what a data set counts, and its default split: sizes in all and of the smallest and largest class."""
    config = Config(dataset=images.name)
    parts = fnn.split(images.train_labels, config.validation_fraction, config.seed)
    counts = [np.bincount(images.train_labels[part], minlength=len(images.class_names)) for part in parts]
    return {
        "class_names": list(images.class_names),
        "side": images.train_images.shape[1],
        "train": len(images.train_labels),
        "test": len(images.test_labels),
        "test_also_in_train": len(twins(images.test_images, images.train_images)),
        "split": [int(count.sum()) for count in counts],
        "of_a_class": [[int(count.min()), int(count.max())] for count in counts],
        "verified": images.verified,
    }


def main() -> int:
    sets = {name: fnn.load(name) for name in OFFICIAL}
    file = BytesIO()
    np.savez_compressed(file, **{name: first_of_each(images) for name, images in sets.items()})  # type: ignore[arg-type]
    write_atomically(ARRAYS, file.getvalue())
    facts = {name: facts_of(images) for name, images in sets.items()}
    write_atomically(FACTS, json.dumps({"command": "python -m reports.samples", **facts}, indent=1).encode() + b"\n")
    print(f"wrote {ARRAYS} and {FACTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
