"""Matrix products in pieces that the BLAS multiplies where they are.

OpenBLAS first copies both factors of a product into an order of its own, which for batches of some dozens takes up to
half the time. Where the processor has AVX-512, it leaves that out for products of at most a million multiply-adds
(its ``interface/gemm.c`` and ``sgemm_small_kernel_permit_skylakex.c``). So larger ones are cut into such; one call of
``matmul`` multiplies a stack of them. Only long sums over a transposed first factor are cut, too, and what is left is
added up. What is copied all the same is copied sooner in some layouts than in others.

Which products are cut, or made from which layout, is what was fastest on one such machine; ``reports.products`` tells
what it gains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np

from fnn.arrays import LINE, Array, dealt, empty, pitched
from fnn.calls import Run, Runs

LIMIT = 1_000_000  # multiply-adds of a product that isn't copied
SHORT = 128  # terms of a sum, up to which a product may be cut at will ...
NARROW = 256  # ... and beyond, columns of one that is
WORTH_TURNING = 100_000  # multiply-adds, from which a second factor is better copied than taken transposed
WORTH_SWAPPING = 256  # rows of a product of two transposed factors, up to which it is made the other way round
WALK = 1 << 19  # bytes that the rows of a transposed factor may be spread over: beyond, they take too many pages
ROWS = 12  # of a piece, or a multiple: the kernels take 4 or 6 at a time ...
ROWS_OF_TRANSPOSED = 32  # ... and of two transposed factors 16 or more
LEAST_ROWS, ROUND = 4, 32  # ... or so many, of columns that are a multiple of 32
COLUMNS = 512, 256, 128, 64, 32  # of a piece, or as many as there are
AREA = 6144  # elements of a piece: with more rows, often far apart, it would not stay in a first-level cache
STRIPPED = 256, 128, 1 << 17  # rows, columns and elements of a product by strips: at least, at most and at most
TERMS = 512  # of a sum by strips: a strip of so many lines fills a first-level cache
KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names of the processors that have such kernels

Triple = tuple[Array, Array, Array]


def detected() -> bool:
    """Tell whether NumPy's BLAS multiplies small matrices where they are."""
    from threadpoolctl import threadpool_info

    found = [info.get("architecture") for info in threadpool_info() if info["user_api"] == "blas"]
    return bool(found) and KERNELS.issuperset(found)


available = lru_cache(detected)


def shape_of_pieces(m: int, k: int, n: int, walk: int = 0, walk_of_second: int = 0) -> tuple[int, int] | None:
    """Return rows and columns of the pieces of an (m, n) product of (m, k) and (k, n), or None to leave it whole.

    ``walk`` and ``walk_of_second`` are what the rows of a transposed factor are spread over, 0 of one that isn't.

    >>> shape_of_pieces(2049, 64, 1024), shape_of_pieces(2049, 64, 300), shape_of_pieces(129, 128, 64)
    ((12, 512), (24, 256), (96, 64))
    >>> shape_of_pieces(64, 64, 64), shape_of_pieces(785, 2048, 1024)
    (None, None)
    """
    both = walk > 0 < walk_of_second
    if m * k * n <= LIMIT or walk > WALK or (both and k <= SHORT) or walk_of_second > 0 == walk:
        return None
    step = ROWS_OF_TRANSPOSED if both else ROWS
    if k <= SHORT:
        options = [(step, columns) for columns in COLUMNS if columns <= n]
    elif walk or n > SHORT:
        options = [(step, columns) for columns in COLUMNS if n in (columns, 2 * columns) and n <= NARROW]
    else:
        options = [(step, n), *[(LEAST_ROWS, n)] * (n % ROUND == 0)]
    step, columns = next(((rows, columns) for rows, columns in options if rows * columns * k <= LIMIT), (0, 0))
    return (min(m, max(step, min(LIMIT // k, AREA) // columns // step * step)), columns) if step else None


def _walk(x: Array) -> int:
    """Return how many bytes the rows in memory of a transposed matrix are spread over, 0 of one that isn't."""
    return x.shape[1] * x.strides[1] if x.strides[0] < x.strides[1] else 0


def _shape(a: Array, b: Array) -> tuple[int, int] | None:
    if not available():
        return None
    return shape_of_pieces(len(a), len(b), b.shape[1], _walk(a), _walk(b))


def cut(a: Array, b: Array, out: Array) -> Iterator[Triple]:
    """Yield stacks of pieces whose products make up ``a b``: equal ones, and what is left at the edges."""
    m, n = len(a), b.shape[1]
    shape = _shape(a, b)
    if shape is None:
        yield a, b, out
        return
    for down in _runs(m, shape[0]):
        for across in _runs(n, shape[1]):
            yield _stacks(a, b, out, down, across)


def _runs(size: int, piece: int) -> list[tuple[int, int, int]]:
    """Return (start, stop, length of a piece) of the whole pieces, and of the rest if there is one."""
    whole = size // piece * piece
    return [(0, whole, piece)] * (whole > 0) + [(whole, size, size - whole)] * (size > whole)


def _stacks(a: Array, b: Array, out: Array, down: tuple[int, int, int], across: tuple[int, int, int]) -> Triple:
    (top, bottom, rows), (left, right, columns), k = down, across, len(b)
    return (
        a[top:bottom].reshape(-1, 1, rows, k),
        b[:, left:right].reshape(k, -1, columns).swapaxes(0, 1),
        out[top:bottom, left:right].reshape((bottom - top) // rows, rows, -1, columns).swapaxes(1, 2),
    )


def product(a: Array, b: Array, out: Array) -> Runs:
    """Return what overwrites ``out`` by ``a b`` whenever it is called, whatever the arrays hold by then.

    Where that takes less time, the product of a transposed factor, or of two, is made as the transpose of ``b^T a^T``,
    whose second factor lies in memory row by row.
    """
    if _walk(b) > 0 == _walk(a) and available() and shape_of_pieces(len(a), len(b), b.shape[1]):
        turn, b = _in_rows(b)
        return *turn, *product(a, b, out)
    stacks = tuple(cut(a, b, out))
    if stacks[0][0] is a and _walk(a) > 0 and _copied(a, b):
        least, most, largest = STRIPPED
        if least <= len(out) and out.shape[1] <= most and out.size <= largest:
            return _by_strips(a, b, out)
        if len(out) <= WORTH_SWAPPING and _walk(b) > 0:
            swapped = pitched(out.shape[1], len(out), out.dtype)
            return _whole(b.T, a.T, swapped), partial(np.copyto, out, swapped.T)
    return tuple(_whole(*stack) for stack in stacks)


def _by_strips(a: Array, b: Array, out: Array) -> Runs:
    """Return what makes ``b^T a^T`` by strips of ``a^T`` as wide as a line of the cache, and transposes it.

    Of wide rows, kilobytes apart, the kernels otherwise fetch each line several times.
    """
    (m, n), k, width = out.shape, len(b), LINE // out.itemsize
    turn, b = _in_rows(b)
    runs = [*turn]
    parts = dealt(k, -(-k // min(TERMS, LIMIT // (width * n))), 1)
    for top, bottom, units in _runs(m, width):
        total, terms = (empty(((bottom - top) // units, n, units), out.dtype) for _ in range(2))
        for number, part in enumerate(parts):
            strips = a[top:bottom, part].T.reshape(part.stop - part.start, -1, units).swapaxes(0, 1)
            runs.append(_whole(b[part].T, strips, terms if number else total))
            runs += [partial(np.add, total, terms, total)] if number else []
        runs.append(partial(np.copyto, out[top:bottom].reshape(-1, units, n), total.swapaxes(1, 2)))
    return tuple(runs)


def _in_rows(x: Array) -> tuple[Runs, Array]:
    """Return what copies a transposed matrix, and the copy, which lies in memory row by row; any other as it is."""
    if not _walk(x):
        return (), x
    turned = pitched(len(x), x.shape[1], x.dtype)
    return (partial(np.copyto, turned, x),), turned


def _copied(a: Array, b: Array) -> bool:
    """Tell whether kernels that copy nothing are at hand, but not for this product."""
    return a.size * b.shape[1] > LIMIT and available()


def product_with_transposed(a: Array, b: Array, out: Array) -> Runs:
    """Return what overwrites ``out`` by ``a b^T``: of kernels without a copy the one for that is slow.

    So ``b^T`` is copied into rows first where that gains; if it lies in rows already, the product is one of two such.
    """
    (m, k), n = a.shape, len(b)
    gains = k <= SHORT and m * k * n >= WORTH_TURNING and _walk(a) <= WALK and available()
    if not (gains or _walk(b)):
        return (_whole(a, b.T, out),)
    turn, second = _in_rows(b.T)
    return *turn, *product(a, second, out)


def _whole(a: Array, b: Array, out: Array) -> Run:
    return partial(multiplication(a, b) if out.flags.c_contiguous else partial(np.matmul, a), b, out)


def multiplication(a: Array, b: Array) -> Callable[[Array, Array], object]:
    """Return what is quickest to call to write ``a b`` into ``out``, contiguous: ``f(b, out)``.

    ``dot`` is, but copies what isn't contiguous, and doesn't know stacks.
    """
    return a.dot if a.ndim == b.ndim == 2 and a.flags.forc and b.flags.forc else partial(np.matmul, a)
