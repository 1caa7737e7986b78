"""Values against plain formulas, slopes against complex steps, for every row of the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fnn.activations import ACTIVATIONS
from fnn.arrays import freeze
from fnn.calls import call
from tests import reference

ROWS = pytest.mark.parametrize("name", ACTIVATIONS)
NUMBERS = arrays(np.float64, st.integers(1, 20), elements=st.floats(-30, 30))


def slope_of(name: str, a: np.ndarray) -> np.ndarray:
    out = np.ones_like(a)
    call(ACTIVATIONS[name].pull_back(a, out, np.full_like(a, np.nan)))
    return out


@ROWS
@given(z=NUMBERS)
def test_the_value_is_that_of_the_formula(name: str, z: np.ndarray) -> None:
    np.testing.assert_allclose(ACTIVATIONS[name].value(freeze(z)), reference.F[name](z), rtol=1e-15, atol=1e-300)


@ROWS
@given(z=NUMBERS)
def test_the_slope_of_the_output_is_the_derivative(name: str, z: np.ndarray) -> None:
    a = ACTIVATIONS[name].value(z)
    slope = slope_of(name, a)
    # 1 - a^2 and (1 - a) a lose what a's own rounding, 2^-53, has lost.
    expected = reference.derivative(reference.F[name], z, np.ones_like(z))
    np.testing.assert_allclose(slope, expected, rtol=1e-14, atol=1e-15)


@ROWS
@given(z=NUMBERS, factor=st.floats(-10, 10))
def test_a_cotangent_is_multiplied_by_the_slope_and_the_output_left(name: str, z: np.ndarray, factor: float) -> None:
    a = ACTIVATIONS[name].value(z)
    delta = np.full_like(a, factor)
    call(ACTIVATIONS[name].pull_back(a, delta, np.empty_like(a)))
    np.testing.assert_array_equal(delta, slope_of(name, a) * factor)


@ROWS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_give_limits_without_a_warning(name: str, dtype: str) -> None:
    z = np.array([-1e4, -0.0, 0.0, 1e4], dtype)
    a = ACTIVATIONS[name].value(z)
    limits = {
        "identity": z,
        "sigmoid": [0, 0.5, 0.5, 1],
        "tanh": [-1, 0, 0, 1],
        "ReLU": [0, 0, 0, 1e4],
    }
    assert a.dtype == dtype
    if name in limits:
        np.testing.assert_array_equal(a, np.asarray(limits[name], dtype))
    assert np.isfinite(slope_of(name, a)).all()


def test_the_slope_of_relu_at_its_kink_is_zero() -> None:
    assert not slope_of("ReLU", np.zeros(2)).any()


@ROWS
def test_what_is_applied_to_zeros_for_ever_stays_a_normal_number_or_zero(name: str) -> None:
    """The columns that keep rows apart are activated at every step, and pulled back."""
    a, delta, scratch = np.zeros((3, 3), np.float32)
    for _ in range(10_000):
        call(ACTIVATIONS[name].apply(a))
        call(ACTIVATIONS[name].pull_back(a, delta, scratch))
        assert not delta.any() and np.all((a == 0) | ((np.abs(a) > 1e-30) & (np.abs(a) < 1e6)))
