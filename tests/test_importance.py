"""Importance: known shares are found, and chance counts for nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import rng
from fnn.importance import importances


def test_an_additive_effect_gets_its_share() -> None:
    """y = 3 a + b + 0 c with balanced a, b, c in 0 .. 3: 9 / 10 and 1 / 10 of the variance, less 5 % for chance."""
    settings = [{"a": a, "b": b, "c": c} for a in range(4) for b in range(4) for c in range(4)]
    found = {one.name: one for one in importances(settings, [3 * s["a"] + s["b"] for s in settings], True)}
    assert 0.87 < found["a"].share < 0.93 and 0.03 < found["b"].share < 0.08 and found["c"].share == 0
    assert (found["a"].best, found["a"].median) == ("3", 10.5)
    worst = importances(settings, [3 * s["a"] + s["b"] for s in settings], False)
    assert (worst[0].name, worst[0].best) == ("a", "0")


def test_noise_is_not_important() -> None:
    """The share is unbiased but for its cut at 0: over many draws of nothing it stays near it."""
    shares = []
    for seed in range(50):
        here = rng(seed, "noise")
        settings = [{"a": int(here.integers(4))} for _ in range(60)]
        shares += [one.share for one in importances(settings, here.normal(size=60).tolist(), True)]
    assert np.mean(shares) < 0.04


def test_many_numbers_are_cut_into_ranges() -> None:
    here = rng(0, "numbers")
    settings = [{"rate": float(rate), "one": 1} for rate in 10 ** here.uniform(-4, 0, 100)]
    (found,) = importances(settings, [-abs(np.log10(s["rate"]) + 2) for s in settings], True)
    low, high = map(float, found.best.split(" to "))
    assert found.share > 0.7 and low < 0.01 < high


@given(st.lists(st.tuples(st.sampled_from([1, 2.5, "x", [1, 2]]), st.floats(0, 1)), max_size=12))
def test_shares_are_shares(pairs: list[tuple[object, float]]) -> None:
    found = importances([{"a": value} for value, _ in pairs], [value for _, value in pairs], True)
    assert all(0 <= one.share <= 1 for one in found) and len(found) <= (len(pairs) >= 5)
    flat = importances([{"a": value} for value, _ in pairs], [0.5] * len(pairs), True)
    assert all(one.share == 0 for one in flat)
