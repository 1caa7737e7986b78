"""Records of arrays."""

from __future__ import annotations

from itertools import chain

import numpy as np
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import CLASH, LINE, Array, dealt, freeze_all, map_arrays, pitched, rng, same, spans, thaw, with_gaps


@frozen(eq=False)
class Inner:
    pair: tuple[Array, Array]
    name: str = "inner"


@frozen(eq=False)
class Outer:
    array: Array
    inner: Inner
    number: float = float("nan")


def record() -> Outer:
    return Outer(np.arange(3.0), Inner((np.zeros(2, np.float32), np.ones((2, 2)))))


def arrays(value: Outer) -> tuple[Array, ...]:
    return (value.array, *value.inner.pair)


def test_freezing_and_thawing_reach_every_array() -> None:
    cold = freeze_all(record())
    assert not any(a.flags.writeable for a in arrays(cold))
    warm = thaw(cold)
    assert all(a.flags.writeable for a in arrays(warm))
    assert not any(np.may_share_memory(a, b) for a, b in zip(arrays(cold), arrays(warm), strict=True))
    assert same(cold, warm)
    assert all(a.ctypes.data % LINE == 0 for a in arrays(warm))


def test_same_is_bitwise_and_sees_every_field() -> None:
    assert same(record(), record())
    assert not same(record(), map_arrays(lambda a: a + 1, record()))
    assert not same(record(), map_arrays(lambda a: a.astype(np.float16), record()))
    assert not same(np.array([0.0]), np.array([-0.0]))
    assert not same((1, 2), (1, 2, 3))
    assert not same(Inner((np.zeros(1),) * 2), Inner((np.zeros(1),) * 2, "other"))


@given(st.integers(1, 1000), st.integers(1, 20), st.integers(1, 70))
def test_parts_are_dealt_evenly(size: int, parts: int, unit: int) -> None:
    found = dealt(size, parts, unit)
    assert [i for part in found for i in range(size)[part]] == list(range(size))
    assert len(found) == parts and all(part.start % unit == 0 for part in found)
    assert all(abs(part.stop - part.start - size / parts) <= unit + 1 for part in found)


@given(st.integers(0, 200), st.integers(1, 50))
def test_spans_cut_a_range_into_consecutive_blocks(size: int, block: int) -> None:
    pieces = [list(range(s.start, s.stop)) for s in spans(size, block)]
    assert list(chain.from_iterable(pieces)) == list(range(size))
    assert all(len(piece) == block for piece in pieces[:-1]) and all(0 < len(piece) <= block for piece in pieces)


@given(st.integers(0, 2**63), st.integers(0, 100))
def test_streams_are_functions_of_their_key_and_differ_between_keys(seed: int, counter: int) -> None:
    def draw(*key: object) -> bytes:
        return rng(*key).bytes(16)  # type: ignore[arg-type]

    keys = [(seed, "a", counter), (seed, "b", counter), (seed, "a", counter + 1), (seed + 1, "a", counter), (seed, "a")]
    assert draw(*keys[0]) == draw(*keys[0])
    assert len({draw(*key) for key in keys}) == len(keys)


@given(
    st.integers(1, 5), st.integers(1, 300) | st.sampled_from([64, 128, 256]), st.sampled_from(["float32", "float64"])
)
def test_rows_are_kept_apart_by_columns_of_zeros(rows: int, columns: int, dtype: str) -> None:
    found = pitched(rows, columns, dtype, lambda shape, dtype: np.full(shape, np.nan, dtype))
    assert found.shape == (rows, columns) and np.isnan(found).all()
    between = with_gaps(found)[:, columns:]
    assert between.nbytes == rows * (0 if columns * found.itemsize % CLASH else LINE) and not between.any()
    assert found.strides[0] % CLASH and with_gaps(found).flags.c_contiguous
    some = with_gaps(found[1:])
    assert len(some) == rows - 1 and np.shares_memory(some, found) == (rows > 1)
