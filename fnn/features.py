"""What a network sees of an image: features that are fixed before it is trained, and know no label.

All of them begin with the pixels. ``gradients`` adds those of ``fnn.gradients``, by rules. ``patches`` adds to these
the ones of ``fnn.patches``, whose dictionary is learned from the training images; ``pyramid`` sees the patches of the
images at half their size, too (Burt & Adelson 1983, "The Laplacian pyramid as a compact image code"), by a dictionary
of their own and in fewer cells. Patches' features are thousands, and so kept as codes and standardised (``fnn.coded``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from math import isqrt

import numpy as np
from attrs import frozen

from fnn import coded, gradients, patches
from fnn.arrays import Array, freeze, rng, spans
from fnn.coded import Coded, Scale
from fnn.errors import UserError
from fnn.patches import Patches

BLOCK = 128  # images at a time: their planes of whole numbers fit the second-level cache or nearly so
SCALED_BY = 4096  # images whose features tell how they are scaled
GRIDS = (patches.GRID, 3)  # cells a side, at each size of the image


@frozen(eq=False)
class Fitted:
    """What features have learned from training images, without a label; it is saved with a model."""

    patches: Patches
    scale: Scale

    @property
    def levels(self) -> tuple[Patches, ...]:
        """What is compared with the image's patches, and with those of the image at half its size, and so on."""
        return (self.patches,)


@frozen(eq=False)
class FittedPyramid(Fitted):
    """What features of two sizes have learned."""

    coarse: Patches

    @property
    def levels(self) -> tuple[Patches, ...]:
        return self.patches, self.coarse


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


def _width(levels: int, shape: tuple[int, ...]) -> int:
    return gradients.width(shape) + sum(map(patches.width, GRIDS[:levels]))


def _mirror(levels: int, side: int) -> Array:
    parts, start = [gradients.mirror(side)], gradients.width((side, side))
    for grid in GRIDS[:levels]:
        parts.append(patches.mirror(grid) + start)
        start += patches.width(grid)
    return freeze(np.concatenate(parts))


def _fill(learned: Sequence[Patches], images: Array, out: Array) -> None:
    start = gradients.width(images.shape[1:])
    gradients.fill(images, out[:, :start])
    for number, level in enumerate(learned):
        images = _halved(images) if number else images
        stop = start + patches.width(GRIDS[number])
        patches.fill(level, images, out[:, start:stop], GRIDS[number])
        start = stop


def _halved(images: Array) -> Array:
    """Return images of bytes at half their size: the means of squares of two by two, rounded."""
    sums = gradients.summed(images.astype(np.uint16).transpose(1, 2, 0)[None])[0].transpose(2, 0, 1)
    return freeze(((sums + 2) // 4).astype(np.uint8))


def _fit(levels: int, images: Array) -> Fitted:
    """Learn the dictionaries from some patches, and the scale of all features from some images."""
    sizes = accumulate(range(1, levels), lambda larger, _: _halved(larger), initial=images)
    learned = [patches.fit(size) for size in sizes]
    some = images[np.sort(rng(0, "scale").permutation(len(images))[:SCALED_BY])]
    found = np.empty((len(some), _width(levels, images.shape[1:])), np.float32)
    for span in spans(len(some), BLOCK):
        _fill(learned, some[span], found[span])
    return _fitted(learned, coded.fit(found, _mirror(levels, images.shape[1])))


def _fitted(learned: Sequence[Patches], scale: Scale) -> Fitted:
    first, *coarse = learned
    return FittedPyramid(first, scale, *coarse) if coarse else Fitted(first, scale)


def _blank(levels: int, inputs: int) -> Fitted:
    return _fitted([patches.blank()] * levels, coded.blank(inputs))


def codes(fitted: Fitted, images: Array) -> Array:
    """Return the codes of the features of images with a last column of ones: bytes of shape ``(n, width + 1)``."""
    width = len(fitted.scale.top)
    out = np.empty((len(images), width + 1), np.uint8)
    for span in spans(len(images), BLOCK):
        found = np.empty((len(images[span]), width), np.float32)
        _fill(fitted.levels, images[span], found)
        out[span] = coded.encode(fitted.scale.top, found)
    return freeze(out)


def _learned(name: str, levels: int) -> FeatureMap:
    """Return the row of the features that see patches at so many sizes of the image."""
    return FeatureMap(
        name,
        partial(_width, levels),
        partial(_mirror, levels),
        fit=partial(_fit, levels),
        blank=partial(_blank, levels),
        cell=gradients.CELL,
        sides=(8, patches.LARGEST),
    )


FEATURES: Mapping[str, FeatureMap] = {
    row.name: row
    for row in (
        FeatureMap("pixels", gradients.size, gradients.mirror_pixels, gradients.fill_pixels),
        FeatureMap("gradients", gradients.width, gradients.mirror, gradients.fill, cell=gradients.CELL),
        _learned("patches", 1),
        _learned("pyramid", 2),
    )
}


def mirror_of(features: str, inputs: int) -> Array:
    """Return the permutation that so many features undergo when an image is mirrored, by a row's name.

    >>> mirror_of("pixels", 4).tolist()
    [1, 0, 3, 2]
    """
    row = FEATURES[features]
    return row.mirror(row.side(inputs))
