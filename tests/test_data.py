"""Data sets as arrays: scaling, splitting, targets and order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.config import Config
from fnn.data import dataset, epoch_order, split, take, targets, twins
from fnn.datasets import load
from fnn.errors import UserError
from fnn.experiment import parts_of
from tests.shell import DATA
from tests.strategies import seeds

labels_of = st.lists(st.integers(0, 9), min_size=1, max_size=300).map(np.array)


@given(labels_of, st.floats(0.001, 0.999), seeds)
def test_a_split_is_disjoint_exhaustive_and_stratified(labels: np.ndarray, fraction: float, seed: int) -> None:
    train, validation = split(labels, fraction, seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    for label in np.unique(labels):
        assert np.sum(labels[validation] == label) == round(fraction * np.sum(labels == label))


def test_a_split_is_a_function_of_the_seed_alone() -> None:
    labels = np.arange(200) % 10
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    one, two, other = (split(labels, 0.1, seed)[1].tolist() for seed in (3, 3, 4))
    assert one == two != other
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]


@given(st.integers(1, 500), seeds, st.integers(0, 100))
def test_an_epoch_visits_each_sample_once(n: int, seed: int, epoch: int) -> None:
    order = epoch_order(n, seed, epoch)
    assert sorted(order) == list(range(n)) and not order.flags.writeable
    assert (order == epoch_order(n, seed, epoch)).all()


def test_each_epoch_and_seed_has_its_own_order() -> None:
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(labels_of, st.floats(0, 0.99), st.sampled_from(["float32", "float64"]))
def test_targets_are_distributions_that_peak_at_the_label(labels: np.ndarray, smoothing: float, dtype: str) -> None:
    t = targets(labels, 10, smoothing, dtype)
    assert t.shape == (10, len(labels)) and t.dtype == dtype and not t.flags.writeable
    np.testing.assert_allclose(t.sum(axis=0), 1, rtol=1e-6)
    assert (t.argmax(axis=0) == labels).all()
    np.testing.assert_allclose(np.sort(t, axis=0)[:-1], smoothing / 10, rtol=1e-6, atol=np.finfo(dtype).tiny)


def test_images_become_rows_of_shares_with_a_column_of_ones() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
    data = dataset(images, np.array([1, 0], np.uint8), 2, "float64")
    np.testing.assert_array_equal(data.x, images.reshape(2, 12) / 255)
    assert (data.design[:, -1] == 1).all() and not data.design.flags.writeable and not data.labels.flags.writeable
    part = take(data, np.array([1]))
    assert (part.x == data.x[1:]).all() and part.labels.tolist() == [0] and len(part) == 1


def test_a_data_set_keeps_nothing_of_what_it_is_made_from() -> None:
    images, labels = np.zeros((2, 2, 2), np.uint8), np.array([0, 1])
    data = dataset(images, labels)
    images[:], labels[:] = 255, 9
    assert data.x.max() == 0 and data.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("n", "labels", "message"),
    [
        (2, [0], "labels: expected one for each of 2 images, found 1"),
        (0, [], "images: expected at least one, found none"),
        (2, [0, 10], "labels: expected 0 to 9, found 0 to 10"),
        (2, [-1, 3], "labels: expected 0 to 9, found -1 to 3"),
    ],
)
def test_labels_that_do_not_fit_are_refused(n: int, labels: list[int], message: str) -> None:
    with pytest.raises(UserError) as error:
        dataset(np.zeros((n, 2, 2), np.uint8), np.array(labels, np.int64))
    assert str(error.value) == message


def test_no_test_image_reaches_training() -> None:
    """Byte for byte: what is trained and validated on is the training images, each once, and none of the test's."""
    images = load("fashion_mnist", DATA)
    parts = parts_of(Config(), images)
    used = np.concatenate([part.x for part in (parts.train, parts.validation)])
    assert len(twins(images.test_images, images.train_images)) == 0  # in the sample; python -m fnn data tells of all
    bytes_used = np.rint(used * 255).astype(np.uint8)
    assert len(bytes_used) == len(images.train_images)
    assert sorted(row.tobytes() for row in bytes_used) == sorted(image.tobytes() for image in images.train_images)
    assert len(twins(images.test_images, bytes_used.reshape(-1, 28, 28))) == 0
