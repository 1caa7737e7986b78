"""Random changes of a training batch, drawn by (seed, purpose, step) alone: of its images, its targets and its units.

The kernels are pure: they take the numbers that were drawn. ``transform_of`` draws them and writes into the batch;
``draw_masks`` draws those of dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import isqrt

import attrs
import numpy as np
from attrs import frozen
from numpy.lib.stride_tricks import sliding_window_view
from toolz import juxt

from fnn.arrays import Array, freeze, rng, spans
from fnn.features import FEATURES, mirror_of

#: ``transform(step, x, targets)`` overwrites a batch, (n, features) and (classes, n), that nobody else sees.
Transform = Callable[[int, Array, Array], object]

SMOOTHNESS = 4.0  # pixels: the elastic fields' sigma of Simard et al. (2003)
FIELDS = 256  # elastic fields in the pool, of which each image takes two, each with either sign
BLOCK = 32  # images warped at a time, so that all of their coordinates stay in cache


@frozen
class Augmentation:
    """How far a batch is changed; the defaults leave it as it is."""

    flip: bool = False  # half of the images, left to right
    shift: int = 0  # largest shift down, up, right or left, in pixels
    rotation: float = 0.0  # largest angle, in degrees
    scaling: float = 0.0  # largest relative change of size
    shear: float = 0.0  # largest angle of what stood upright, in degrees
    elastic: float = 0.0  # root mean square of the displacement along each axis, in pixels
    mixup: float = 0.0  # parameter of Beta(mixup, mixup), of which the share of the other image is drawn
    input_noise: float = 0.0  # standard deviation, of pixels from 0 to 1
    input_dropout: float = 0.0  # share of the pixels set to zero


NOTHING = Augmentation()


def flipped(images: Array, chosen: Array) -> Array:
    """Return images ``(n, h, w)``, the ``chosen`` ones left to right.

    >>> flipped(np.array([[[1, 2]], [[3, 4]]]), np.array([True, False])).tolist()
    [[[2, 1]], [[3, 4]]]
    """
    return freeze(np.where(chosen[:, None, None], images[:, :, ::-1], images))


def shifted(images: Array, offsets: Array) -> Array:
    """Return images ``(n, h, w)`` moved by whole ``offsets`` ``(n, 2)``, down and to the right; zeros move in.

    >>> shifted(np.array([[[1, 2], [3, 4]]]), np.array([[0, 1]])).tolist()
    [[[0, 1], [0, 3]]]
    """
    offsets = np.clip(offsets, *np.multiply([[-1], [1]], images.shape[1:]))  # nothing is left of what moves farther
    reach = int(np.abs(offsets).max(initial=0))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    down, right = (reach - offsets).T
    return freeze(sliding_window_view(padded, images.shape[1:], axis=(1, 2))[np.arange(len(images)), down, right])  # pyright: ignore[reportCallIssue, reportArgumentType]


def warped(images: Array, matrices: Array, displacements: Array | None = None) -> Array:
    """Return square images ``(n, side, side)`` resampled once, bilinearly, at ``A (p - c) + c + d(p)``; zero outside.

    ``matrices`` are ``A``, (n, 2, 2), ``c`` is the centre, ``displacements`` are ``d``, (n, 2, side * side); points are
    (down, right).

    >>> warped(np.array([[[1.0, 2], [3, 4]]]), np.array([[[0.0, 1], [-1, 0]]])).tolist()
    [[[2.0, 4.0], [1.0, 3.0]]]
    """
    n, side = len(images), images.shape[-1]
    wide = side + 3  # zeros: one before, and two after for the taps of a point just outside
    padded = np.zeros((n, wide, wide), images.dtype)
    padded[:, 1:-2, 1:-2] = images
    at = (matrices.reshape(-1, 2) @ _grid(side, images.dtype.char)).reshape(n, 2, -1)
    at += (side + 1) / 2
    if displacements is not None:
        at += displacements
    np.minimum(np.maximum(at, 0, out=at), side + 1, out=at)
    corner = np.floor(at)
    at -= corner
    first = (corner[:, 0] * wide + corner[:, 1]).astype(np.intp)
    first += np.arange(n)[:, None] * wide**2
    down, right = at[:, 0], at[:, 1]
    flat = padded.reshape(-1)
    above, below = (
        _between(flat[row:].take(first, mode="clip"), flat[row + 1 :].take(first, mode="clip"), right)
        for row in (0, wide)
    )
    return freeze(_between(above, below, down).reshape(images.shape))


def _between(a: Array, b: Array, share: Array) -> Array:
    """Return ``a + share (b - a)``, exact where the share is zero, in the memory of ``b``."""
    b -= a
    b *= share
    b += a
    return b


@lru_cache(maxsize=4)
def _grid(side: int, dtype: str) -> Array:
    """Return the pixels of an image as points about its centre, (2, side * side)."""
    return freeze((np.indices((side, side)).reshape(2, -1) - (side - 1) / 2).astype(dtype))


@lru_cache(maxsize=2)
def elastic_fields(side: int, seed: int, dtype: str = "float32") -> Array:
    """Return smooth random fields, (FIELDS, side * side), whose every entry is drawn from N(0, 1).

    White noise is smoothed by a Gaussian of SMOOTHNESS pixels (Simard et al. 2003, "Best practices for convolutional
    neural networks"). Rows of unit length keep the variance at 1 up to the border, where the paper's would shrink.
    """
    place = np.arange(side)
    smoothing = np.exp(-((place[:, None] - place) ** 2) / (2 * SMOOTHNESS**2))
    smoothing /= np.linalg.norm(smoothing, axis=1, keepdims=True)
    noise = rng(seed, "elastic fields").standard_normal((FIELDS, side, side))
    return freeze((smoothing @ noise @ smoothing.T).reshape(FIELDS, -1).astype(dtype))


def affine(degrees: Array, scales: Array, slants: Array) -> Array:
    """Return ``A``, (n, 2, 2), of images slanted, turned by ``degrees`` against the clock and enlarged by ``scales``.

    ``slants`` are the angles, in degrees, by which what stood upright leans to the right. The matrices are the inverse:
    they map a point of the result to where it comes from.

    >>> affine(np.array([0.0]), np.array([2.0]), np.array([0.0])).tolist()
    [[[0.5, 0.0], [0.0, 0.5]]]
    """
    cos, sin = np.cos(np.radians(degrees)) / scales, np.sin(np.radians(degrees)) / scales
    lean = np.tan(np.radians(slants))  # of what is a pixel higher, to the right: undone after the turn is
    return freeze(np.array([[cos, sin], [lean * cos - sin, lean * sin + cos]])).transpose(2, 0, 1)


def mixed(array: Array, other: Array, share: float) -> Array:
    """Return each row mixed with that of index ``other``: ``(1 - share) x_i + share x_other(i)`` (Zhang et al. 2018).

    >>> mixed(np.array([[0.0], [4.0]]), np.array([1, 0]), 0.25).tolist()
    [[1.0], [3.0]]
    """
    return freeze(array + share * (array[other] - array))


def dropped_of_256(rate: float) -> int:
    """Return of how many among the 256 values of a byte a unit is dropped: the rate is rounded to a multiple of 1/256.

    >>> dropped_of_256(0.2), dropped_of_256(0.5), dropped_of_256(0.9999)
    (51, 128, 255)
    """
    return min(round(256 * rate), 255)


def fill_mask(bits: Array, dropped: int, out: Array) -> None:
    """Write the mask of inverted dropout: 0 where the byte is below ``dropped``, else the inverse of the share kept.

    Over all values of a byte its mean is one (Srivastava et al. 2014; theirs scales the weights at the test instead).
    """
    scale = out.dtype.type(256 / (256 - dropped))
    np.multiply(np.greater_equal(bits, dropped).reshape(out.shape), scale, out=out)


def draw_masks(rate: float, generator: np.random.Generator, masks: tuple[Array, ...]) -> None:
    """Overwrite masks of inverted dropout by fresh ones."""
    for mask in masks:
        fill_mask(np.frombuffer(generator.bytes(mask.size), np.uint8), dropped_of_256(rate), mask)


def check(augmentation: Augmentation, features: int, of: str = "pixels") -> None:
    """Raise UserError, by its name, for a change that so many features ``of`` an image don't allow.

    Those by rules alone follow a square image wherever it goes. Any others allow what permutes them, a mirror image.
    """
    for name in ("flip", "shift", "rotation", "scaling", "shear", "elastic"):
        mirrored = name == "flip" and of != "pixels"
        if getattr(augmentation, name) and not mirrored:
            FEATURES[of].check_renewable(f"--{name}", features)


def transform_of(augmentation: Augmentation, features: int, seed: int, of: str = "pixels") -> Transform | None:
    """Return the change of a batch that an augmentation asks for, a function of (seed, step); None if it is none."""
    check(augmentation, features, of)
    on = {name for name, value in attrs.asdict(augmentation).items() if value}

    def asked_for(*rows: tuple[set[str], Callable[[Augmentation, int], Transform]]) -> list[Transform]:
        return [make(augmentation, seed) for names, make in rows if names & on]

    mirror = _flip if of == "pixels" else partial(_permute, mirror_of(of, features))
    moves = asked_for(({"shift"}, _shift), ({"rotation", "scaling", "shear", "elastic"}, _warp))
    steps = [
        *asked_for(({"flip"}, mirror)),
        *([_renewing(of, features, juxt(*moves))] if moves else []),
        *asked_for(({"mixup"}, _mix), ({"input_noise"}, _add_noise), ({"input_dropout"}, _drop)),
    ]
    return juxt(*steps) if steps else None


def _renewing(of: str, features: int, move: Transform) -> Transform:
    """Change the pixels that features begin with, then the features by what the images are now."""
    row = FEATURES[of]
    pixels = row.side(features) ** 2

    def run(step: int, x: Array, targets: Array) -> None:
        move(step, x[:, :pixels], targets)
        row.renew(x)

    return run


def _images(x: Array) -> Array:
    side = isqrt(x.shape[1])
    return x.reshape(-1, side, side)  # a view: rows of a larger array are cut, not moved


def _flip(_: Augmentation, seed: int) -> Transform:
    def run(step: int, x: Array, _targets: Array) -> None:
        images = _images(x)
        images[:] = flipped(images, rng(seed, "flip", step).random(len(x)) < 0.5)

    return run


def _permute(index: Array, _: Augmentation, seed: int) -> Transform:
    """Mirror images of which only features are known, the same as are flipped."""

    def run(step: int, x: Array, _targets: Array) -> None:
        chosen = np.flatnonzero(rng(seed, "flip", step).random(len(x)) < 0.5)
        x[chosen] = x[chosen[:, None], index]

    return run


def _shift(most: Augmentation, seed: int) -> Transform:
    def run(step: int, x: Array, _targets: Array) -> None:
        images = _images(x)
        images[:] = shifted(images, rng(seed, "shift", step).integers(-most.shift, most.shift + 1, (len(x), 2)))

    return run


def _warp(most: Augmentation, seed: int) -> Transform:
    def run(step: int, x: Array, _targets: Array) -> None:
        images, generator = _images(x), rng(seed, "warp", step)
        degrees, change = generator.uniform(-1, 1, (2, len(x)))
        chosen = generator.integers(0, FIELDS, (len(x), 2))
        sizes = most.elastic * generator.choice([-1.0, 1.0], (len(x), 2, 1)).astype(x.dtype)
        slants = most.shear * generator.uniform(-1, 1, len(x))
        matrices = affine(most.rotation * degrees, 1 + most.scaling * change, slants).astype(x.dtype)
        fields = elastic_fields(images.shape[-1], seed, x.dtype.char) if most.elastic else None
        for span in spans(len(x), BLOCK):
            moved = fields.take(chosen[span], axis=0) * sizes[span] if fields is not None else None
            images[span] = warped(images[span], matrices[span], moved)

    return run


def _mix(most: Augmentation, seed: int) -> Transform:
    def run(step: int, x: Array, targets: Array) -> None:
        generator = rng(seed, "mixup", step)
        share = generator.beta(most.mixup, most.mixup)
        share = min(share, 1 - share)  # the same batches, as pairs swap roles; an image stays mostly of its own label
        other = generator.permutation(len(x))
        x[:] = mixed(x, other, share)
        targets[:] = mixed(targets.T, other, share).T

    return run


def _add_noise(most: Augmentation, seed: int) -> Transform:
    def run(step: int, x: Array, _targets: Array) -> None:
        noise = rng(seed, "noise", step).standard_normal(x.shape, x.dtype)
        noise *= most.input_noise
        x += noise

    return run


def _drop(most: Augmentation, seed: int) -> Transform:
    def run(step: int, x: Array, _targets: Array) -> None:
        mask = np.empty(x.shape, x.dtype)
        draw_masks(most.input_dropout, rng(seed, "input dropout", step), (mask,))
        x *= mask

    return run
