"""Losses and their gradients, by the plain formula and by complex steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import freeze
from fnn.losses import LOSSES, softmax
from tests import reference
from tests.strategies import generators

ROWS = pytest.mark.parametrize("name", LOSSES)
SIZES = st.tuples(st.integers(1, 6), st.integers(2, 10))


def draw(rng: np.random.Generator, n: int, classes: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and soft targets, (classes, n)."""
    return freeze(scale * rng.normal(size=(classes, n))), freeze(rng.dirichlet(np.ones(classes), n).T.copy())


def delta(name: str, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    out = np.empty_like(z)
    LOSSES[name].delta(1.0, out)(z, t)
    return out


@ROWS
@given(rng=generators(), sizes=SIZES, scale=st.floats(0, 20))
def test_value_and_gradient_are_those_of_the_plain_formula(
    name: str, rng: np.random.Generator, sizes: tuple[int, int], scale: float
) -> None:
    z, t = draw(rng, *sizes, scale)
    f = lambda flat: len(z.T) * reference.loss_of_logits(name, flat.reshape(z.T.shape), t.T)  # noqa: E731
    np.testing.assert_allclose(LOSSES[name].value(z, t).sum(), f(z.T), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(delta(name, z, t).T.ravel(), reference.gradient(f, z.T.ravel()), rtol=1e-11, atol=1e-13)


@ROWS
@given(rng=generators(), sizes=SIZES)
def test_gradients_of_logits_sum_to_zero(name: str, rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    assert np.abs(delta(name, *draw(rng, *sizes, 5.0)).sum(axis=0)).max() < 1e-14


@ROWS
@given(rng=generators(), sizes=SIZES)
def test_stacked_batches_are_the_single_batches(name: str, rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    pairs = [draw(rng, *sizes, 3.0) for _ in range(3)]
    z, t = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    for whole, (one_z, one_t) in zip(LOSSES[name].value(z, t), pairs, strict=True):
        assert whole.tobytes() == LOSSES[name].value(one_z, one_t).tobytes()


@ROWS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_ten_thousand_give_exact_limits(name: str, dtype: str) -> None:
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    right, wrong = np.eye(2, dtype=dtype), np.eye(2, dtype=dtype)[::-1]
    assert LOSSES[name].value(z, right).tolist() == [0, 0]
    assert LOSSES[name].value(z, wrong).tolist() == ([2e4, 2e4] if name == "cross_entropy" else [1, 1])
    assert np.isfinite(delta(name, z, wrong)).all()


@given(generators(), SIZES, st.floats(-1e4, 1e4))
def test_softmax_is_a_distribution_that_no_shift_changes(
    rng: np.random.Generator, sizes: tuple[int, int], shift: float
) -> None:
    z, _ = draw(rng, *sizes, 10.0)
    p = softmax(z)
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(softmax(z + shift), p, rtol=1e-10, atol=1e-15)  # z + shift is rounded to 1e-12


def test_squared_error_is_the_mean_over_the_classes() -> None:
    assert LOSSES["mean_squared_error"].value(np.zeros((2, 1)), np.array([[1.0], [0.0]])).tolist() == [0.25]
