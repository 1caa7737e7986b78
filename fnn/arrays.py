"""Arrays and records of arrays: freezing, thawing, cutting flat vectors into blocks, and rows that caches like."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, TypeVar

import attrs
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
R = TypeVar("R")
LINE = 64  # bytes of a line of the cache
CLASH = 512  # bytes, a multiple of which rows should not be apart


def freeze(array: Array) -> Array:
    """Make a freshly allocated array read-only and return it.

    Only a base array is frozen for good, a writable alias taken earlier still writes: freeze before handing out views.

    >>> freeze(np.zeros(2)).flags.writeable
    False
    """
    array.flags.writeable = False
    return array


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an array of any content that begins where a line of the cache does.

    Vector instructions that straddle two lines take up to twice the time, and NumPy aligns to 16 bytes only. It is a
    view into a longer array that nobody else knows.

    >>> empty((3, 5), np.float32).ctypes.data % LINE
    0
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)


Empty = Callable[[tuple[int, ...], DTypeLike], Array]


def pitch(columns: int, dtype: DTypeLike) -> int:
    """Return how many elements from the beginning of a row to that of the next serve rows of so many best.

    Rows a multiple of 512 bytes apart share 8 of the 64 sets of a first-level cache, or fewer, where those that one
    walks down a column through displace each other; a line more between them, and they don't (Lam, Rothberg & Wolf
    1991, "The cache performance and optimizations of blocked algorithms").

    >>> pitch(128, np.float32), pitch(100, np.float32)
    (144, 100)
    """
    itemsize = np.dtype(dtype).itemsize
    return columns + LINE // itemsize if columns and columns * itemsize % CLASH == 0 else columns


def pitched(rows: int, columns: int, dtype: DTypeLike, empty: Empty = empty) -> Array:
    """Return an array of any content, a view whose rows are kept apart by as many zeros as ``pitch`` says.

    >>> x = pitched(2, 128, np.float32)
    >>> x.shape, x.strides
    ((2, 128), (576, 4))
    """
    out = empty((rows, pitch(columns, dtype)), dtype)
    out[:, columns:] = 0
    return out[:, :columns]


def with_gaps(x: Array) -> Array:
    """Return some rows of a pitched array with what keeps them apart: one contiguous piece of memory.

    >>> with_gaps(pitched(3, 128, np.float32)[1:]).shape
    (2, 144)
    """
    columns = pitch(x.shape[1], x.dtype)
    assert x.strides == (columns * x.itemsize, x.itemsize), "rows of a pitched array"
    return as_strided(x, (len(x), columns))


def copy(array: Array, empty: Empty = empty) -> Array:
    """Return a writable copy that begins where a line of the cache does."""
    out = empty(array.shape, array.dtype)
    out[...] = array
    return out


_EMPTY = freeze(np.empty(0))  # stands for an array that has been taken out of a record


def map_arrays(function: Callable[[Array], Array], record: R) -> R:
    """Apply ``function`` to every array of a nested record (attrs or tuple); all other fields are kept as they are."""
    if isinstance(record, np.ndarray):
        return function(record)  # type: ignore[return-value]
    if isinstance(record, tuple):
        return tuple(map_arrays(function, item) for item in record)  # type: ignore[return-value]
    if not attrs.has(type(record)):
        return record
    changed = {f.name: map_arrays(function, getattr(record, f.name)) for f in attrs.fields(type(record))}  # type: ignore[arg-type]
    return type(record)(**changed)


def thaw(record: R) -> R:
    """Copy a record's arrays into private, writable ones: the start of a transient, which ends with ``freeze_all``."""
    return map_arrays(copy, record)


def thaw_given(given: list[R], empty: Empty = empty) -> R:
    """Take the last record of a list and thaw it array by array: each is freed, if nobody else holds it, before the
    next is copied. ``empty`` allocates the copies.

    >>> held = [(np.zeros(1), np.ones(1))]
    >>> thaw_given(held), held
    ((array([0.]), array([1.])), [])
    """
    arrays: list[Array] = []
    hollow = map_arrays(lambda array: arrays.append(array) or _EMPTY, given.pop())
    arrays.reverse()
    return map_arrays(lambda _: copy(arrays.pop(), empty), hollow)


def freeze_all(record: R) -> R:
    """Make the arrays of a record that nobody else has seen read-only and return the record."""
    return map_arrays(freeze, record)


def same(a: object, b: object) -> bool:
    """Tell whether two records are of one type and bitwise equal, arrays (with dtype) included.

    >>> same(np.zeros(2), np.zeros(2)), same(np.zeros(2), np.zeros(2, np.float32))
    (True, False)
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if attrs.has(type(a)):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in attrs.fields(type(a)))  # type: ignore[arg-type]
    return bool(a == b) or (a != a and b != b)


def spans(size: int, block: int) -> Iterator[slice]:
    """Cut ``range(size)`` into consecutive slices of at most ``block`` elements.

    >>> [(s.start, s.stop) for s in spans(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return (slice(start, min(start + block, size)) for start in range(0, size, block))


def dealt(size: int, parts: int, unit: int) -> tuple[slice, ...]:
    """Cut ``range(size)`` into so many parts, as equal as can be if each begins at a whole unit; some may be empty.

    >>> [(s.start, s.stop) for s in dealt(63, 4, 8)]
    [(0, 8), (8, 24), (24, 40), (40, 63)]
    """
    starts = [size * part // parts // unit * unit for part in range(parts)]
    return tuple(slice(start, stop) for start, stop in zip(starts, [*starts[1:], size], strict=True))


def rng(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return the generator of a purpose: a pure function of its arguments, so randomness is no state to carry.

    A counter-based generator (Philox; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") is keyed by
    the seed, the purpose and e.g. the epoch. Streams with different keys are independent.

    >>> rng(0, "shuffle", 3).random() == rng(0, "shuffle", 3).random()
    True
    """
    # The number of counters is in the key since SeedSequence ignores trailing zeros.
    key = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), len(counters), *counters])
    return np.random.Generator(np.random.Philox(key))
