"""Intervals cover what they say they cover, and agree with scipy where that has them."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import intervals

counts = st.integers(1, 60)


def test_the_examples_of_docstrings_are_true() -> None:
    result = doctest.testmod(intervals)
    assert result.attempted and not result.failed


@given(count=counts, data=st.data())
def test_wilsons_interval_is_scipys(count: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    hits = data.draw(st.integers(0, count))
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert intervals.wilson(hits, count) == pytest.approx((hits / count, expected.low, expected.high), abs=1e-12)


@given(freedom=st.integers(1, 300), level=st.floats(0.5, 0.999))
def test_the_quantile_of_t_is_scipys(freedom: int, level: float) -> None:
    from scipy.stats import t

    assert intervals.t_quantile(freedom, level) == pytest.approx(t.ppf((1 + level) / 2, freedom), rel=1e-6)


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=9), shift=st.floats(-1, 1))
def test_the_paired_interval_is_that_of_the_differences(values: list[float], shift: float) -> None:
    from scipy.stats import sem, t

    zeros = [0.0] * len(values)
    middle, low, high = intervals.paired(values, zeros)
    half = t.ppf(0.975, len(values) - 1) * sem(values)
    assert (middle, low, high) == pytest.approx((np.mean(values), middle - half, middle + half), abs=1e-6)
    assert intervals.paired([v + shift for v in values], values) == pytest.approx((shift,) * 3, abs=1e-6)


def test_one_pair_says_nothing() -> None:
    assert not intervals.sure(intervals.paired([0.9], [0.1]))


@given(ours=st.integers(0, 60), theirs=st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_discordant(ours: int, theirs: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
    assert intervals.mcnemar(ours, theirs) == pytest.approx(expected)
    assert intervals.mcnemar(ours, theirs) == intervals.mcnemar(theirs, ours)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_interval_of_paired_shares_is_that_of_the_mean_of_differences(seed: int) -> None:
    first, second = np.random.default_rng(seed).random((2, 500)) < [[0.9], [0.8]]
    only = int((first & ~second).sum()), int((second & ~first).sum())
    gap = first.astype(float) - second
    middle, low, high = intervals.paired_shares(*only, 500)
    assert middle == pytest.approx(gap.mean())
    assert (high - low) / 2 == pytest.approx(1.959964 * gap.std() / 500**0.5, abs=1e-6)


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(size=400)
    middle, low, high = intervals.bootstrap(lambda rows: values[rows].mean(), 400, 2000)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=0.15 * half)


def test_a_difference_that_is_the_same_in_all_pairs_is_sure_when_paired() -> None:
    theirs = [0.1, 0.5, 0.9]
    assert intervals.difference([x + 0.1 for x in theirs], theirs, True) == pytest.approx((0.1, 0.1, 0.1))
    mean, low, high = intervals.difference([x + 0.1 for x in theirs], theirs, False)
    assert mean == pytest.approx(0.1) and low < 0 < high
