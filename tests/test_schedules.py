"""Learning-rate schedules by their shape and by their formulas."""

from __future__ import annotations

from math import cos, isclose, pi

from hypothesis import given
from hypothesis import strategies as st

from fnn.schedules import SCHEDULES, constant, step_decay, warmup_cosine

totals = st.integers(1, 3000)


@given(totals)
def test_every_factor_is_in_zero_to_one_also_beyond_the_end(total: int) -> None:
    for make in SCHEDULES.values():
        factors = [make(total)(step) for step in range(1, total + 3)]
        assert all(0 <= factor <= 1 for factor in factors)


@given(totals)
def test_constant_is_one(total: int) -> None:
    assert {constant(total)(step) for step in (1, total, 2 * total)} == {1.0}


@given(st.integers(20, 3000))
def test_warmup_is_linear_up_to_one_then_half_a_cosine_to_zero(total: int) -> None:
    f, rise = warmup_cosine(total), round(0.1 * total)
    assert all(isclose(f(step), step / rise) for step in range(1, rise + 1))
    assert all(
        isclose(f(step), 0.5 + 0.5 * cos(pi * (step - rise) / (total - rise)), abs_tol=1e-15)
        for step in range(rise, total + 1)
    )
    assert f(rise) == max(map(f, range(1, total + 1))) == 1 and f(total) == f(total + 5) == 0


@given(totals)
def test_steps_drop_tenfold_after_a_half_and_after_three_quarters(total: int) -> None:
    f = step_decay(total)
    for step in range(1, total + 1):
        assert isclose(f(step), 1.0 if 2 * step <= total else 0.1 if 4 * step <= 3 * total else 0.01)
