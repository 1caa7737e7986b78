"""Make tests/data: the first stratified samples of both data sets as gzipped IDX files, the same bytes each time."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from fnn.arrays import Array
from fnn.datasets import FILES, OFFICIAL, load
from fnn.idx import idx_header

DATA = Path(__file__).parent / "data"
TRAIN, TEST = 600, 200  # images, the same number of each class


def first_of_each_class(labels: Array, count: int) -> Array:
    """Return the sorted indices of the first ``count / 10`` samples of each of the ten classes."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[: count // 10] for label in range(10)]))


def main() -> None:
    for name in OFFICIAL:
        found = load(name)
        assert found.verified, found.source
        train = first_of_each_class(found.train_labels, TRAIN)
        test = first_of_each_class(found.test_labels, TEST)
        samples = (
            found.train_images[train],
            found.train_labels[train],
            found.test_images[test],
            found.test_labels[test],
        )
        (DATA / name).mkdir(parents=True, exist_ok=True)
        for file, array in zip(FILES, samples, strict=True):
            content = idx_header(array.shape) + array.tobytes()
            (DATA / name / f"{file}.gz").write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    main()
