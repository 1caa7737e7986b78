"""Histograms of oriented gradients beside the pixels, by hand-written rules without any that is learned.

Dalal & Triggs 2005, "Histograms of oriented gradients for human detection". The gradient of each pixel is split between
its two nearest of eight directions; what is split is the vector, which takes no angle:

    (dx, dy) = (a - b) axis + sqrt(2) b diagonal,    a = max(|dx|, |dy|),  b = min(|dx|, |dy|)

So all sums are of whole numbers, exact in any order, and turning or mirroring an image permutes its features exactly.
"""

from __future__ import annotations

import numpy as np

from fnn.arrays import Array, freeze

SCALE = 3  # of the gradients' features: they are spread about as widely as the pixels then
CELL = 4  # pixels a side of the cells that gradients are summed in
DIRECTIONS = 8  # at 45 degrees from each other, clockwise from the right; the odd ones are the diagonals


def size(shape: tuple[int, ...]) -> int:
    """Return the number of pixels of an image of a shape."""
    return int(np.prod(shape))


def fill_pixels(images: Array, out: Array) -> None:
    """Write the pixels as shares of the largest byte, 0 to 1."""
    out[:] = images.reshape(out.shape)
    out /= 255


def _grids(side: int) -> tuple[int, int]:
    """Return the numbers of cells a side: of the grid from the corner, and of the one shifted by half a cell."""
    return side // CELL, side // CELL - 1


def width(shape: tuple[int, ...]) -> int:
    """Return the number of pixels and gradients of an image of a shape."""
    return size(shape) + DIRECTIONS * sum(cells**2 for cells in _grids(shape[0]))


def fill(images: Array, out: Array) -> None:
    """Write the pixels, then the roots of the mean gradients by direction and cell, of one grid and of the other."""
    pixels = size(images.shape[1:])
    fill_pixels(images, out[:, :pixels])
    halves = summed(_half_waves(images))  # in squares of half a cell, of which both grids are made
    lengths = np.array([1, np.sqrt(2)], out.dtype)[np.arange(DIRECTIONS) % 2, None, None, None]
    start = pixels
    for grid in (halves, halves[:, 1:-1, 1:-1]):
        mean = _parts(summed(grid)) * lengths / (255 * CELL**2)
        rows = SCALE * np.sqrt(mean, out=mean).reshape(-1, len(images))
        out[:, start : start + len(rows)] = rows.T
        start += len(rows)


def _half_waves(images: Array) -> Array:
    """Return what is positive of the central differences to the right, down, left and up, and the lesser of each two
    neighbours between them: shape ``(8, h, w, n)``, images last, so that each operation is one over many.
    """
    inside = np.ascontiguousarray(images.transpose(1, 2, 0), np.int16)
    x = np.pad(inside, ((1, 1), (1, 1), (0, 0)), "edge")  # beyond its edges an image goes on as it ends
    out = np.empty((DIRECTIONS, *inside.shape), np.int16)  # which holds the sum of a cell, at most 16 * 255, too
    np.subtract(x[1:-1, 2:], x[1:-1, :-2], out=out[0])
    np.subtract(x[2:, 1:-1], x[:-2, 1:-1], out=out[2])
    np.negative(out[:4:2], out=out[4::2])
    np.maximum(out[::2], 0, out=out[::2])
    for k in range(1, DIRECTIONS, 2):
        np.minimum(out[k - 1], out[(k + 1) % DIRECTIONS], out=out[k])
    return out


def summed(planes: Array) -> Array:
    """Return the sums over squares of two by two: ``(k, h, w, n)`` to ``(k, h / 2, w / 2, n)``."""
    rows = planes[:, ::2] + planes[:, 1::2]
    return rows[:, :, ::2] + rows[:, :, 1::2]


def _parts(sums: Array) -> Array:
    """Return sums in which each axis has given to the diagonals beside it: max(a - b, 0) = a - min(a, b)."""
    out = sums.copy()
    out[::2] -= sums[1::2]
    out[::2] -= np.roll(sums[1::2], 1, axis=0)
    return out


def mirror_pixels(side: int) -> Array:
    """Return the permutation that the pixels of a square image undergo when it is mirrored, left to right."""
    return freeze(np.arange(side**2).reshape(side, side)[:, ::-1].ravel())


def mirror(side: int) -> Array:
    """Return the permutation that pixels and gradients undergo when an image is mirrored, left to right.

    >>> x = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) ** 2
    >>> found, turned = np.empty((2, 1, width((8, 8))))
    >>> fill(x, found), fill(x[:, :, ::-1], turned)
    (None, None)
    >>> bool((turned == found[:, mirror(8)]).all())
    True
    """
    index = np.arange(width((side, side)))
    parts, start = [index[: side**2].reshape(side, side)[:, ::-1]], side**2
    for cells in _grids(side):
        grid = index[start : start + DIRECTIONS * cells**2].reshape(DIRECTIONS, cells, cells)
        turned = (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS
        parts.append(grid[turned, :, ::-1])
        start += grid.size
    return freeze(np.concatenate([part.ravel() for part in parts]))
