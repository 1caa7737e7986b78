"""Features in a byte apiece are read as numbers near to those they stand for, like the rows of an array."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fnn import coded
from fnn.arrays import Array, freeze, same
from fnn.coded import FLOOR, MOST, Coded


@st.composite
def features(draw: st.DrawFn) -> Array:
    """Features of images, none negative: of very different sizes, some always zero, some rarely not."""
    n, width = draw(st.integers(1, 20)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = rng.random((n, width)) * 10.0 ** rng.integers(-6, 6, width) * (rng.random((n, width)) < rng.random(width))
    return freeze(found.astype(draw(st.sampled_from(["float32", "float64"]))))


def turned(width: int) -> Array:
    return np.arange(width)[::-1]


def rows_of(x: Array, dtype: str = "float64") -> Coded:
    scale = coded.fit(x, turned(x.shape[1]))
    return coded.coded(freeze(coded.encode(scale.top, x)), scale, dtype)


@given(features())
def test_a_code_is_off_by_at_most_half_a_step(x: Array) -> None:
    scale, found = coded.fit(x, turned(x.shape[1])), rows_of(x)[:]
    spread, mean = 1 / (scale.step[:-1] * MOST), -scale.offset[:-1] / scale.step[:-1] / MOST
    back = (found[:, :-1] * spread + mean) * scale.top
    assert (np.abs(back - x) <= scale.top / MOST * 0.5001).all()
    assert (found[:, -1] == 1).all()


@given(features())
def test_they_are_standardised_but_for_what_hardly_varies(x: Array) -> None:
    index = turned(x.shape[1])
    both = rows_of(np.concatenate([x, x[:, index]]))
    found = both[:][:, :-1]
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    shares = found / both.step[:-1] / MOST
    np.testing.assert_allclose(found.std(axis=0), shares.std(axis=0) / np.hypot(shares.std(axis=0), FLOOR), atol=1e-9)
    assert same(both.step[:-1], both.step[:-1][index].copy()) and same(both.offset[:-1], both.offset[:-1][index].copy())


@given(features(), st.data(), st.sampled_from(["float32", "float64"]))
def test_it_is_used_like_an_array(x: Array, data: st.DataObject, dtype: str) -> None:
    rows = rows_of(x, dtype)
    plain = rows[:]
    assert rows.shape == plain.shape and len(rows) == len(x) and plain.dtype == dtype
    assert same(plain, freeze((rows.codes * rows.step + rows.offset).astype(dtype)))
    index = np.array(data.draw(st.lists(st.integers(0, len(x) - 1), max_size=30)), int)
    out = np.full((len(index), plain.shape[1]), np.nan, dtype)
    assert rows.take(index, axis=0, out=out, mode="clip") is out
    assert same(out, plain[index]) and same(rows.take(index), plain[index]) and same(rows.at(index)[:].copy(), out)
    span = slice(*sorted(data.draw(st.tuples(st.integers(0, 25), st.integers(0, 25)))))
    assert same(rows[span].copy(), plain[span].copy())
    again = rows.at(index).at(np.arange(len(index))[::-1])
    assert same(again[:].copy(), out[::-1].copy())


@given(features())
def test_what_exceeds_all_that_was_seen_counts_as_the_most(x: Array) -> None:
    scale = coded.fit(x, turned(x.shape[1]))
    assert (coded.encode(scale.top, x * 1000)[:, :-1] <= MOST).all()
    assert (coded.encode(scale.top, np.full_like(x, 1e9))[:, :-1] == MOST).all()
    assert (coded.encode(scale.top, np.zeros_like(x))[:, :-1] == 0).all()
