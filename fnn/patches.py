"""Patch features: how much small pieces of an image resemble a dictionary of typical ones, learned without any label.

A single layer of an unsupervised network (Coates, Lee & Ng 2011, "An analysis of single-layer networks in unsupervised
feature learning"; Coates & Ng 2011, "The importance of encoding versus training with sparse coding and vector
quantization"). Each patch ``u`` of 6 by 6 pixels becomes a unit vector, is compared with all atoms, and what exceeds a
threshold to either side is averaged in the cells of a grid:

    z = (u - mean u) / sqrt(var u + 0.01),   v = W z / |W z|,   S = v . atom,   feature = sqrt(mean max(+-S - t, 0))

``W`` whitens (ZCA), the atoms are found by spherical k-means, and the mirror image of each is an atom, too. ``z``,
``W``, ``v`` and the atoms are rounded to whole numbers so small that every sum of their products is exact in single
precision. So the features are the same bits in any order of summation, in blocks of any size and with any BLAS, and a
mirrored image has exactly the same features elsewhere.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.lib.stride_tricks import sliding_window_view

from fnn.arrays import Array, empty, freeze, rng, spans

PATCH = 6  # pixels a side
MARGIN = 2  # zeros around an image
GRID = 4  # cells a side that the answers are averaged in, unless said otherwise
ATOMS = 200  # and as many mirror images
THRESHOLD = 0.25  # of the cosine of the angle between a patch and an atom
CONTRAST = 0.01  # variance, of pixels from 0 to 1, below which a patch counts as flat
RIDGE = 0.05  # of the mean eigenvalue: directions of less variance are not blown up
SAMPLE, ROUNDS = 100_000, 6  # patches that the dictionary is learned from, and rounds of k-means
LEVELS, FINE, UNIT = 2**10, 2**11, 2**9  # what is 1 in z, in W (its largest eigenvalue), in v and the atoms
BLOCK = 8  # images at a time
EXACT = 63  # answers, each below 2^18.02, whose sum is exact in single precision
LARGEST = 250  # pixels a side up to which all sums are exact


@frozen(eq=False)
class Patches:
    """What is learned from images: whole numbers, as they are multiplied."""

    whitening: Array  # W, (36, 36), symmetric
    atoms: Array  # (36, 2 ATOMS): the second half are the first half's mirror images


def width(grid: int = GRID) -> int:
    """Return the number of features, of images of any size."""
    return 2 * grid**2 * 2 * ATOMS


def blank() -> Patches:
    """Return a record of the right shapes."""
    pixels = PATCH**2
    return Patches(freeze(np.zeros((pixels, pixels), np.int16)), freeze(np.zeros((pixels, 2 * ATOMS), np.int16)))


def fit(images: Array, seed: int = 0) -> Patches:
    """Learn the whitening and the atoms from patches drawn from images of bytes ``(n, side, side)``.

    >>> learned = fit(np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
    >>> learned.atoms.shape
    (36, 400)
    """
    z = _contrasted(_drawn(images, seed))
    z = z[z.any(axis=1)]  # nothing is to be learned from flat ones
    whitening = _whitening(z)
    atoms = _spherical_means(_directions(z, whitening), seed)
    both = np.concatenate([atoms, atoms[:, _mirrored_pixels()]])
    return Patches(freeze(whitening.astype(np.int16)), freeze(np.ascontiguousarray(both.T, np.int16)))


def fill(learned: Patches, images: Array, out: Array, grid: int = GRID) -> None:
    """Write the features of images of bytes ``(n, side, side)`` into ``out``, ``(n, width(grid))``."""
    whitening, atoms = learned.whitening.astype(np.float32), learned.atoms.astype(np.float32)
    threshold = round(THRESHOLD * UNIT**2)
    positions = images.shape[1] + 2 * MARGIN - PATCH + 1
    cells = _cells(positions, grid)
    size = cells[0].stop - cells[0].start
    height = min(size, EXACT // size)  # rows of patches at a time, of a row of cells
    strips = tuple(spans(size, height))
    shape = height * positions, atoms.shape[1]
    similar, limited, above, below = (empty(shape, np.float32) for _ in range(4))
    above[:], below[:] = threshold, -threshold  # two arrays are compared by vector instructions
    inside = np.zeros((grid, height, positions), np.float32)  # of each cell: the products with it are sums
    for number, cell in enumerate(cells):
        inside[number, :, cell] = 1
    inside = inside.reshape(grid, -1)
    for span in spans(len(images), BLOCK):
        v = _directions(_contrasted(_cut(images[span])), whitening).reshape(-1, positions, positions, PATCH**2)
        parts = np.empty((len(strips), len(v), 2, grid, grid, atoms.shape[1]), np.float32)
        for image, row in np.ndindex(len(v), grid):
            for part, strip in zip(parts, strips, strict=True):
                rows = v[image, cells[row]][strip].reshape(-1, PATCH**2)
                n = len(rows)
                rows.dot(atoms, out=similar[:n])
                # What is nearer to zero than the threshold counts as it.
                np.maximum(similar[:n], above[:n], out=limited[:n])
                inside[:, :n].dot(limited[:n], out=part[image, 0, row])
                np.minimum(similar[:n], below[:n], out=similar[:n])
                inside[:, :n].dot(similar[:n], out=part[image, 1, row])
        sums = np.sum(parts, axis=0, dtype=float)
        mean = (np.abs(sums, out=sums) / size**2 - threshold) / UNIT**2
        out[span] = np.sqrt(mean, out=mean).reshape(len(v), -1)


def mirror(grid: int = GRID) -> Array:
    """Return the permutation that the features undergo when an image is mirrored, left to right.

    >>> index = mirror()
    >>> bool((index[index] == np.arange(len(index))).all())
    True
    """
    index = np.arange(width(grid)).reshape(2, grid, grid, 2, ATOMS)
    return freeze(index[:, :, ::-1, ::-1].ravel())


def _cut(images: Array) -> Array:
    """Return all patches of images, ``(n * positions^2, 36)``."""
    padded = np.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    windows = sliding_window_view(padded, (PATCH, PATCH), axis=(1, 2))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return windows.reshape(-1, PATCH**2)


def _drawn(images: Array, seed: int) -> Array:
    """Return SAMPLE patches drawn at random, ``(SAMPLE, 36)``."""
    positions = images.shape[1] + 2 * MARGIN - PATCH + 1
    generator = rng(seed, "patches")
    which = np.sort(generator.integers(0, len(images), SAMPLE))
    corner = generator.integers(0, positions, (2, SAMPLE))
    out = np.empty((SAMPLE, PATCH**2), np.uint8)
    for span in spans(SAMPLE, 10_000):
        padded = np.pad(images[which[span]], ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
        windows = sliding_window_view(padded, (PATCH, PATCH), axis=(1, 2))  # pyright: ignore[reportCallIssue, reportArgumentType]
        out[span] = windows[np.arange(len(padded)), *corner[:, span]].reshape(-1, PATCH**2)
    return out


def _contrasted(patches: Array) -> Array:
    """Return ``z``: patches of bytes of mean 0 and a variance of at most 1, in units of 1 / LEVELS."""
    z = patches.astype(np.float32)
    total, squares = z @ np.ones(PATCH**2, np.float32), np.einsum("ij,ij->i", z, z)  # exact: they are below 2^24
    mean = total / np.float32(PATCH**2)
    variance = squares.astype(float) / PATCH**2 - (total.astype(float) / PATCH**2) ** 2
    z -= mean[:, None]
    z *= (LEVELS / np.sqrt(variance + CONTRAST * 255**2)).astype(np.float32)[:, None]
    return np.rint(z, out=z)


def _directions(z: Array, whitening: Array) -> Array:
    """Return ``v``: the directions of the whitened patches, in units of 1 / UNIT; zero for flat ones."""
    v = np.dot(z, whitening)
    length = np.sqrt(np.einsum("ij,ij->i", v, v, dtype=float))
    v *= (UNIT / np.maximum(length, 1)).astype(np.float32)[:, None]
    return np.rint(v, out=v)


def _mirrored_pixels() -> Array:
    return np.arange(PATCH**2).reshape(PATCH, PATCH)[:, ::-1].ravel()


def _whitening(z: Array) -> Array:
    """Return the inverse root of the covariance of patches and their mirror images, in units of 1 / FINE."""
    turned, wide = _mirrored_pixels(), z.astype(float)
    covariance = wide.T @ wide
    covariance += covariance[turned][:, turned]
    values, vectors = np.linalg.eigh(covariance)
    spread = 1 / np.sqrt(np.maximum(values, 0) + RIDGE * values.mean() + 1e-9)
    matrix = (vectors * (spread / spread.max())) @ vectors.T
    matrix = matrix + matrix.T
    matrix = matrix + matrix[turned][:, turned]  # of which each pair of mirror images has the same bits
    return np.rint(matrix * ((FINE - PATCH**2) / 4)).astype(np.float32)


def _spherical_means(v: Array, seed: int) -> Array:
    """Return the directions ``(ATOMS, 36)`` about which those of patches gather, by k-means on the sphere."""
    if not len(v):
        return np.zeros((ATOMS, PATCH**2), np.float32)
    atoms = v[rng(seed, "atoms").integers(0, len(v), ATOMS)]
    for _ in range(ROUNDS):
        sums = np.zeros((ATOMS, PATCH**2))
        for span in spans(len(v), 4096):
            nearest = np.argmax(v[span] @ atoms.T, axis=1)
            hot = (nearest[:, None] == np.arange(ATOMS)).astype(np.float32)
            sums += hot.T @ v[span]
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        atoms = np.where(length > 0, np.rint(sums * (UNIT / np.maximum(length, 1))), atoms).astype(np.float32)
    return atoms


def _cells(positions: int, grid: int) -> tuple[slice, ...]:
    """Return the rows of each cell, equal in number and alike from both ends; neighbours may share one.

    >>> [(cell.start, cell.stop) for cell in _cells(27, 4)]
    [(0, 7), (7, 14), (13, 20), (20, 27)]
    """
    size = -(-positions // grid)
    size += (positions - size) % 2 if grid % 2 else 0  # so that there is a middle one
    starts = [(2 * k * (positions - size) + grid - 1) // (2 * (grid - 1)) for k in range((grid + 1) // 2)]
    starts += [positions - size - start for start in starts[: grid // 2][::-1]]
    return tuple(slice(start, start + size) for start in starts)
