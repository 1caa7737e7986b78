"""What a network sees of an image: features that are fixed before it is trained, and know no label.

All of them begin with the pixels. ``gradients`` adds histograms of oriented gradients, by hand-written rules (Dalal &
Triggs 2005, "Histograms of oriented gradients for human detection"). The gradient of each pixel is split between its
two nearest of eight directions; what is split is the vector, which takes no angle:

    (dx, dy) = (a - b) axis + sqrt(2) b diagonal,    a = max(|dx|, |dy|),  b = min(|dx|, |dy|)

So all sums are of whole numbers, exact in any order, and turning or mirroring an image permutes its features exactly.

``patches`` adds those of ``fnn.patches``, whose dictionary is learned from the training images. They are thousands, and
so kept as codes and standardised (``fnn.coded``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np
from attrs import frozen

from fnn import coded, patches
from fnn.arrays import Array, freeze, rng, spans
from fnn.coded import Coded, Scale
from fnn.errors import UserError
from fnn.patches import Patches

BLOCK = 128  # images at a time: their planes of whole numbers fit the second-level cache or nearly so
SCALE = 3  # of the gradients' features: they are spread about as widely as the pixels then
CELL = 4  # pixels a side of the cells that gradients are summed in
SCALED_BY = 4096  # images whose features tell how they are scaled
DIRECTIONS = 8  # at 45 degrees from each other, clockwise from the right; the odd ones are the diagonals


@frozen(eq=False)
class Fitted:
    """What features have learned from training images, without a label; it is saved with a model."""

    patches: Patches
    scale: Scale


@frozen
class FeatureMap:
    """A row of FEATURES. ``fill`` writes the features of images of bytes ``(n, h, w)`` to an array ``(n, width)``.

    Those that learn have a function ``fit`` in its place, of training images; ``blank`` has the shapes of its result.
    """

    name: str
    width: Callable[[tuple[int, ...]], int]  # number of features, by the shape of an image
    mirror: Callable[[int], Array]  # the permutation they undergo when a square image is mirrored, by its side
    fill: Callable[[Array, Array], None] | None = None
    fit: Callable[[Array], Fitted] | None = None
    blank: Callable[[int], Fitted] | None = None  # by the number of features
    cell: int = 0  # images are squares whose side is a multiple of this; 0: they are of any shape
    sides: tuple[int, int] = (1, 10**9)  # the least and the largest of these squares

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Tell whether images of a shape have these features."""
        if not self.cell:
            return True
        least, most = self.sides
        return len(shape) == 2 and shape[0] == shape[1] and least <= shape[0] <= most and shape[0] % self.cell == 0

    def side(self, inputs: int) -> int:
        """Return the side of the square images that have so many features, or of the next smaller ones.

        >>> FEATURES["pixels"].side(784), FEATURES["gradients"].side(1464)
        (28, 28)
        """
        step = self.cell or 1
        sides = range(max(step, self.sides[0]), min(isqrt(max(inputs, 0)), self.sides[1]) + 1, step)
        return max((side for side in sides if self.width((side, side)) <= inputs), default=max(step, self.sides[0]))

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise UserError for a shape whose images have no such features."""
        if self.takes(shape):
            return
        found, (least, most) = " x ".join(map(str, shape)) or "none", self.sides
        limits = f" from {least} to {most}" if self.fit else ""
        raise UserError(
            f"--features {self.name}: expected square images whose side is a multiple of {self.cell}{limits}, "
            f"found {found}"
        )

    def renewable(self, inputs: int) -> bool:
        """Tell whether so many features follow by rules from pixels of a square image, which come first among them.

        >>> FEATURES["pixels"].renewable(784), FEATURES["gradients"].renewable(1464), FEATURES["pixels"].renewable(783)
        (True, True, False)
        """
        side = self.side(inputs)
        return self.fit is None and self.width((side, side)) == inputs

    def check_renewable(self, option: str, inputs: int) -> None:
        """Raise UserError, by an option's name, unless so many features can be computed anew from a changed image."""
        if self.fit:
            raise UserError(
                f"{option}: expected features by rules alone, which can follow a changed image, found {self.name}"
            )
        if not self.renewable(inputs):
            raise UserError(f"{option}: expected images as wide as they are high, found {inputs} {self.name}")

    def renew(self, x: Array) -> None:
        """Overwrite features ``(n, width)``, after a change of the pixels among them, by those of the changed images.

        Pixels alone stay as they are; before others are computed, they are rounded to bytes.
        """
        assert self.fill, f"{self.name}: they don't follow from pixels by rules"
        side = self.side(x.shape[1])
        if side**2 == x.shape[1]:
            return
        for span in spans(len(x), BLOCK):
            images = np.rint(255 * x[span, : side**2]).astype(np.uint8)
            self.fill(images.reshape(-1, side, side), x[span])

    def learn(self, images: Array) -> Fitted | None:
        """Return what there is to be learned from training images; None for features by rules alone."""
        if not self.fit:
            return None
        self.check(images.shape[1:])
        return self.fit(images)

    def extract(self, images: Array, dtype: str = "float32", fitted: Fitted | None = None) -> Array:
        """Return the features of images of bytes ``(n, h, w)``, shape ``(n, width)``, each row by its image alone.

        Raises UserError for images of a shape that has no such features.

        >>> FEATURES["gradients"].extract(np.zeros((2, 28, 28), np.uint8)).shape
        (2, 1464)
        """
        return freeze(self.design(images, dtype, fitted)[:][:, :-1].copy())

    def design(self, images: Array, dtype: str, fitted: Fitted | None = None) -> Array | Coded:
        """Return the features with a last column of ones, ``[x, 1]``: a new and writable array, or one in codes."""
        self.check(images.shape[1:])
        if fitted is not None:
            return coded.coded(codes(fitted, images), fitted.scale, dtype)
        assert self.fill, f"{self.name}: expected what they have learned"
        out = np.empty((len(images), self.width(images.shape[1:]) + 1), dtype)
        for span in spans(len(images), BLOCK):
            self.fill(images[span], out[span, :-1])
        out[:, -1] = 1
        return out


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _fill_pixels(images: Array, out: Array) -> None:
    """Write the pixels as shares of the largest byte, 0 to 1."""
    out[:] = images.reshape(out.shape)
    out /= 255


def _grids(side: int) -> tuple[int, int]:
    """Return the numbers of cells a side: of the grid from the corner, and of the one shifted by half a cell."""
    return side // CELL, side // CELL - 1


def _width(shape: tuple[int, ...]) -> int:
    return _size(shape) + DIRECTIONS * sum(cells**2 for cells in _grids(shape[0]))


def _fill_gradients(images: Array, out: Array) -> None:
    """Write the pixels, then the roots of the mean gradients by direction and cell, of one grid and of the other."""
    pixels = _size(images.shape[1:])
    _fill_pixels(images, out[:, :pixels])
    halves = _summed(_half_waves(images))  # in squares of half a cell, of which both grids are made
    lengths = np.array([1, np.sqrt(2)], out.dtype)[np.arange(DIRECTIONS) % 2, None, None, None]
    start = pixels
    for grid in (halves, halves[:, 1:-1, 1:-1]):
        mean = _parts(_summed(grid)) * lengths / (255 * CELL**2)
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


def _summed(planes: Array) -> Array:
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
    """Return the permutation that ``gradients`` undergo when an image is mirrored, left to right.

    >>> x = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) ** 2
    >>> extract = FEATURES["gradients"].extract
    >>> bool((extract(x[:, :, ::-1]) == extract(x)[:, mirror(8)]).all())
    True
    """
    index = np.arange(_width((side, side)))
    parts, start = [index[: side**2].reshape(side, side)[:, ::-1]], side**2
    for cells in _grids(side):
        grid = index[start : start + DIRECTIONS * cells**2].reshape(DIRECTIONS, cells, cells)
        turned = (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS
        parts.append(grid[turned, :, ::-1])
        start += grid.size
    return freeze(np.concatenate([part.ravel() for part in parts]))


def _width_with_patches(shape: tuple[int, ...]) -> int:
    return _width(shape) + patches.width()


def _mirror_with_patches(side: int) -> Array:
    return freeze(np.concatenate([mirror(side), patches.mirror() + _width((side, side))]))


def _fill_with_patches(learned: Patches, images: Array, out: Array) -> None:
    rules = _width(images.shape[1:])
    _fill_gradients(images, out[:, :rules])
    patches.fill(learned, images, out[:, rules:])


def _fit_patches(images: Array) -> Fitted:
    """Learn the dictionary from some patches, and the scale of all features from some images."""
    learned = patches.fit(images)
    some = images[np.sort(rng(0, "scale").permutation(len(images))[:SCALED_BY])]
    found = np.empty((len(some), _width_with_patches(images.shape[1:])), np.float32)
    for span in spans(len(some), BLOCK):
        _fill_with_patches(learned, some[span], found[span])
    return Fitted(learned, coded.fit(found, _mirror_with_patches(images.shape[1])))


def _blank_patches(inputs: int) -> Fitted:
    return Fitted(patches.blank(), coded.blank(inputs))


def codes(fitted: Fitted, images: Array) -> Array:
    """Return the codes of the features of images with a last column of ones: bytes of shape ``(n, width + 1)``."""
    width = len(fitted.scale.top)
    out = np.empty((len(images), width + 1), np.uint8)
    for span in spans(len(images), BLOCK):
        found = np.empty((len(images[span]), width), np.float32)
        _fill_with_patches(fitted.patches, images[span], found)
        out[span] = coded.encode(fitted.scale.top, found)
    return freeze(out)


FEATURES: Mapping[str, FeatureMap] = {
    row.name: row
    for row in (
        FeatureMap("pixels", _size, mirror_pixels, _fill_pixels),
        FeatureMap("gradients", _width, mirror, _fill_gradients, cell=CELL),
        FeatureMap(
            "patches",
            _width_with_patches,
            _mirror_with_patches,
            fit=_fit_patches,
            blank=_blank_patches,
            cell=CELL,
            sides=(8, patches.LARGEST),
        ),
    )
}


def mirror_of(features: str, inputs: int) -> Array:
    """Return the permutation that so many features undergo when an image is mirrored, by a row's name.

    >>> mirror_of("pixels", 4).tolist()
    [1, 0, 3, 2]
    """
    row = FEATURES[features]
    return row.mirror(row.side(inputs))
