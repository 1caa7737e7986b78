"""Changes of a batch: the laws of each, and that what is drawn is a function of the seed and the step."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import Array, same
from fnn.augment import (
    BLOCK,
    FIELDS,
    NOTHING,
    Augmentation,
    affine,
    dropped_of_256,
    elastic_fields,
    fill_mask,
    flipped,
    mixed,
    shifted,
    transform_of,
    warped,
)
from fnn.errors import UserError
from fnn.features import FEATURES
from tests.strategies import generators, seeds

#: Each change alone, and all at once.
CHANGES = {
    "flip": Augmentation(flip=True),
    "shift": Augmentation(shift=2),
    "rotation": Augmentation(rotation=15),
    "scaling": Augmentation(scaling=0.2),
    "shear": Augmentation(shear=15),
    "elastic": Augmentation(elastic=1.5),
    "mixup": Augmentation(mixup=0.4),
    "input_noise": Augmentation(input_noise=0.1),
    "input_dropout": Augmentation(input_dropout=0.2),
    "all": Augmentation(True, 2, 15, 0.2, 15, 1.5, 0.4, 0.1, 0.2),
}
EACH = pytest.mark.parametrize("name", CHANGES)
dtypes = st.sampled_from(["float32", "float64"])


@st.composite
def batches(draw: st.DrawFn, most: int = 9, smallest: int = 1) -> Array:
    """Square images of random pixels."""
    n, side = draw(st.integers(1, most)), draw(st.integers(smallest, 12))
    return np.random.default_rng(draw(seeds)).random((n, side, side)).astype(draw(dtypes))


def changed(
    change: Augmentation, seed: int = 0, step: int = 1, n: int = 2 * BLOCK + 5, dtype: str = "float32"
) -> tuple[Array, ...]:
    """Return a batch of 8 x 8 before and after: x, targets, x, targets; as in training, rows are cut from longer."""
    design = np.random.default_rng(9).random((n, 65)).astype(dtype)
    x = design[:, :-1].copy()
    targets = np.eye(10, dtype=dtype)[:, np.arange(n) % 10].copy()
    after, wanted, ones = design[:, :-1], targets.copy(), design[:, -1].copy()
    run = transform_of(change, 64, seed)
    assert run is not None
    run(step, after, wanted)
    assert np.array_equal(ones, design[:, -1])
    return x, targets, after.copy(), wanted


@given(batches(), generators())
def test_a_flip_turns_the_chosen_images_and_undoes_itself(images: Array, rng: np.random.Generator) -> None:
    chosen = rng.random(len(images)) < 0.5
    once = flipped(images, chosen)
    for image, after, turned in zip(images, once, chosen, strict=True):
        assert np.array_equal(after, np.fliplr(image) if turned else image)
    assert same(flipped(once, chosen), images)


@given(batches(), st.data())
def test_a_shift_moves_every_pixel_and_zeros_move_in(images: Array, data: st.DataObject) -> None:
    side = images.shape[-1]
    offsets = np.array([data.draw(st.tuples(*[st.integers(-side - 2, side + 2)] * 2)) for _ in images])
    for image, after, (down, right) in zip(images, shifted(images, offsets), offsets, strict=True):
        for (i, j), pixel in np.ndenumerate(after):
            inside = 0 <= i - down < side and 0 <= j - right < side
            assert pixel == (image[i - down, j - right] if inside else 0)


@given(batches(smallest=5), generators())
def test_a_shift_within_the_margin_keeps_the_mass_exactly(images: Array, rng: np.random.Generator) -> None:
    whole = np.zeros_like(images)
    whole[:, 2:-2, 2:-2] = np.round(64 * images[:, 2:-2, 2:-2])  # sums of small whole numbers are exact in any order
    after = shifted(whole, rng.integers(-2, 3, (len(images), 2)))
    assert np.array_equal(after.sum(axis=(1, 2)), whole.sum(axis=(1, 2)))


@given(batches(), st.booleans())
def test_the_identity_and_no_displacement_leave_every_bit(images: Array, elastic: bool) -> None:
    n, side = len(images), images.shape[-1]
    matrices = affine(np.zeros(n), np.ones(n), np.zeros(n)).astype(images.dtype)
    zero = np.zeros((n, 2, side * side), images.dtype)
    assert same(warped(images, matrices, zero if elastic else None), images)


@given(batches(), generators(), st.floats(-720, 720), st.floats(0.2, 3), st.floats(-60, 60))
def test_a_warp_is_the_plain_bilinear_formula(
    images: Array, rng: np.random.Generator, degrees: float, scale: float, slant: float
) -> None:
    """Each resampled pixel is interpolated between four; its error is a few roundings of the point it is taken at."""
    images = images.astype(float)
    n, side = len(images), images.shape[-1]
    matrices = affine(*(np.full(n, value) for value in (degrees, scale, slant))) + rng.normal(0, 0.1, (n, 2, 2))
    moved = rng.normal(0, 2, (n, 2, side * side))
    found, c = warped(images, matrices, moved), (side - 1) / 2
    for k, i, j in np.ndindex(images.shape):
        u, v = matrices[k] @ (i - c, j - c) + c + moved[k, :, i * side + j]
        total = 0.0
        for a in range(side):
            for b in range(side):
                total += images[k, a, b] * max(0, 1 - abs(u - a)) * max(0, 1 - abs(v - b))
        assert abs(found[k, i, j] - total) <= 1e-12 * (1 + abs(u) + abs(v))


@given(batches())
def test_a_quarter_turn_is_exact_up_to_rounding_and_against_the_clock(images: Array) -> None:
    n = len(images)
    after = warped(images, affine(np.full(n, 90.0), np.ones(n), np.zeros(n)).astype(images.dtype))
    tolerance = 50 * np.finfo(images.dtype).eps  # of points up to 12 pixels away, and of the cosine that isn't 0
    np.testing.assert_allclose(after, np.rot90(images, axes=(1, 2)), atol=tolerance)


def test_a_scale_above_one_enlarges() -> None:
    image = np.zeros((1, 9, 9))
    image[0, 3:6, 3:6] = 1
    larger, smaller = (warped(image, affine(np.zeros(1), np.array([s]), np.zeros(1))).sum() for s in (1.5, 0.6))
    assert abs(larger / image.sum() - 1.5**2) < 0.4 and abs(smaller / image.sum() - 0.6**2) < 0.2


@given(generators(), st.floats(-180, 180), st.floats(0.2, 3), st.floats(-60, 60))
def test_the_map_undoes_a_slant_then_a_turn_then_a_growth(
    rng: np.random.Generator, degrees: float, scale: float, slant: float
) -> None:
    """Forward, of (right, up): what is higher moves right by the slant's tangent, then all turns against the clock."""
    x, y = point = rng.normal(size=2)
    slanted = complex(x + np.tan(np.radians(slant)) * y, y)
    turned = slanted * scale * np.exp(1j * np.radians(degrees))
    (inverse,) = affine(*(np.array([value]) for value in (degrees, scale, slant)))
    down, right = inverse @ (-turned.imag, turned.real)
    np.testing.assert_allclose((right, -down), point, atol=1e-12 * (1 + 1 / scale))


def test_what_stood_upright_leans_to_the_right() -> None:
    image = np.zeros((1, 9, 9))
    image[0, 1:8, 4] = 1
    columns = warped(image, affine(np.zeros(1), np.ones(1), np.array([45.0])))[0].argmax(axis=1)
    assert columns[1:8].tolist() == [7, 6, 5, 4, 3, 2, 1]


def test_elastic_fields_are_smooth_and_of_variance_one_everywhere() -> None:
    """A mean of 256 squares of N(0, 1) has the standard deviation sqrt(2 / 256): six of them for the worst of 784.

    Neighbours correlate by exp(-1 / (4 sigma^2)) = 0.984, whose mean over the field's pixels hardly varies.
    """
    fields = elastic_fields(28, 3)
    assert fields.dtype == np.float32 and not fields.flags.writeable and elastic_fields(28, 3) is fields
    assert not same(fields, elastic_fields(28, 4))
    assert np.abs((fields**2).mean(axis=0) - 1).max() < 6 * np.sqrt(2 / FIELDS)
    square = fields.reshape(-1, 28, 28)
    assert abs((square[:, 10, 1:] * square[:, 10, :-1]).mean() - np.exp(-1 / 64)) < 0.1
    assert ((square[:, 1:] - square[:, :-1]) ** 2).mean() < 3 * (1 - np.exp(-1 / 64))


@given(st.integers(1, 40), st.integers(2, 10), seeds, st.floats(0, 1))
def test_mixed_targets_are_distributions_between_the_two(n: int, classes: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    targets, other = rng.dirichlet(np.ones(classes), n), rng.permutation(n)
    after = mixed(targets, other, share)
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=1e-14)
    low, high = np.minimum(targets, targets[other]), np.maximum(targets, targets[other])
    assert (after >= low - 1e-15).all() and (after <= high + 1e-15).all()
    np.testing.assert_allclose(after, (1 - share) * targets + share * targets[other], atol=1e-15)


@given(seeds, st.integers(0, 10**6), st.floats(0.01, 100))
def test_mixup_mixes_images_as_their_targets_and_keeps_the_larger_share(seed: int, step: int, alpha: float) -> None:
    n = 12
    x, wanted = np.eye(n), np.eye(n)
    transform_of(Augmentation(mixup=alpha), n, seed)(step, x, wanted)  # type: ignore[misc]
    np.testing.assert_array_equal(x, wanted.T)
    np.testing.assert_allclose(x.sum(axis=0), 1, rtol=1e-14)  # a permutation: each image is once the other
    assert (np.diag(x) >= 0.5 - 1e-15).all() and len(set(np.round(np.diag(x), 12)) - {1.0}) <= 1


@given(st.integers(0, 255), dtypes)
def test_the_mean_of_a_mask_over_all_bytes_is_one(dropped: int, dtype: str) -> None:
    mask = np.empty((4, 64), dtype)
    fill_mask(np.arange(256, dtype=np.uint8), dropped, mask)
    assert np.count_nonzero(mask) == 256 - dropped and len(np.unique(mask[mask > 0])) == 1
    assert abs(fsum(mask.ravel().tolist()) / 256 - 1) <= np.finfo(dtype).eps


@given(st.floats(0, 1, exclude_max=True))
def test_a_rate_of_dropout_is_the_nearest_that_bytes_allow(rate: float) -> None:
    assert abs(dropped_of_256(rate) / 256 - rate) <= 1 / 512 + (rate > 255.5 / 256) / 512 and dropped_of_256(rate) < 256


def test_what_is_drawn_has_the_shares_asked_for() -> None:
    """Of n draws of probability p the share varies by sqrt(p (1 - p) / n): within five such."""
    n = 4000
    x, _, flips, _ = changed(CHANGES["flip"], n=n)
    assert abs((flips != x).any(axis=1).mean() - 0.5) < 5 * np.sqrt(0.25 / n)
    dropped = (changed(CHANGES["input_dropout"], n=n)[2] == 0).mean()
    assert abs(dropped - 51 / 256) < 5 * np.sqrt(0.16 / (64 * n))
    x, _, noisy, _ = changed(CHANGES["input_noise"], n=n)
    assert abs((noisy - x).std() - 0.1) < 5 * 0.1 / np.sqrt(2 * 64 * n) and abs((noisy - x).mean()) < 5e-4


def test_all_shifts_up_to_the_largest_are_drawn_and_none_beyond() -> None:
    x = np.zeros((500, 64), np.float32)
    x[:, 3 * 8 + 3] = 1
    transform_of(CHANGES["shift"], 64, 0)(1, x, np.zeros((1, 500)))  # type: ignore[misc]
    places = {tuple(place) for place in np.argwhere(x.reshape(-1, 8, 8))[:, 1:] - 3}
    assert places == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_change_is_a_function_of_seed_and_step(name: str, dtype: str) -> None:
    *_, x, targets = changed(CHANGES[name], dtype=dtype)
    assert (x.dtype, targets.dtype) == (dtype, dtype) and np.isfinite(x).all()
    assert same((x, targets), changed(CHANGES[name], dtype=dtype)[2:])
    for other in ({"seed": 1}, {"step": 2}):
        assert not np.array_equal(x, changed(CHANGES[name], dtype=dtype, **other)[2])


@EACH
def test_a_change_moves_images_but_only_mixup_touches_targets(name: str) -> None:
    x, targets, after, wanted = changed(CHANGES[name])
    assert not np.array_equal(x, after)
    assert np.array_equal(targets, wanted) is (name not in ("mixup", "all"))


def test_each_change_draws_for_itself() -> None:
    """Switching one on leaves the numbers of another as they were: a flip commutes with masks of pixels."""
    x, _, flips, _ = changed(CHANGES["flip"])
    _, _, drops, _ = changed(CHANGES["input_dropout"])
    _, _, both, _ = changed(Augmentation(flip=True, input_dropout=0.2))
    mask = np.where(x == 0, 0, drops / x)
    np.testing.assert_allclose(both, flips * mask, rtol=1e-6)


@pytest.mark.parametrize("name", ["flip", "shift", "rotation", "scaling", "shear", "elastic"])
def test_what_moves_pixels_needs_square_images(name: str) -> None:
    with pytest.raises(UserError, match=f"--{name}: expected images as wide as they are high, found 63 pixels"):
        transform_of(CHANGES[name], 63, 0)


@given(seeds, st.integers(1, 10**6))
def test_features_are_flipped_like_the_images_they_are_of(seed: int, step: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (9, 8, 8), dtype=np.uint8)
    found, flips = (
        (np.array(FEATURES[name].extract(images)) for name in ("gradients", "pixels")),
        Augmentation(flip=True),
    )
    x, pixels = found
    for name, rows in (("gradients", x), ("pixels", pixels)):
        change = transform_of(flips, rows.shape[1], seed, name)
        assert change is not None
        change(step, rows, np.ones((1, 9)))
    turned = np.rint(pixels * 255).astype(np.uint8).reshape(images.shape)
    np.testing.assert_array_equal(FEATURES["gradients"].extract(turned), x)


@given(seeds, st.integers(1, 10**6), st.sampled_from(["shift", "rotation", "scaling", "shear", "elastic", "moved"]))
def test_features_follow_the_changed_image(seed: int, step: int, name: str) -> None:
    """They are those of the image that the same change makes of the pixels, rounded to bytes."""
    moved = evolve(CHANGES["all"], flip=False, mixup=0, input_noise=0, input_dropout=0)
    images = np.random.default_rng(seed).integers(0, 256, (9, 8, 8), dtype=np.uint8)
    found = {}
    for of in ("gradients", "pixels"):
        found[of] = np.array(FEATURES[of].extract(images))
        change = transform_of(moved if name == "moved" else CHANGES[name], found[of].shape[1], seed, of)
        assert change is not None
        change(step, found[of], np.ones((1, 9)))
    after = np.rint(found["pixels"] * 255).astype(np.uint8).reshape(images.shape)
    assert (after != images).any(axis=(1, 2)).sum() >= 5, "most images are changed"
    np.testing.assert_array_equal(found["gradients"], FEATURES["gradients"].extract(after))


def test_features_follow_an_image_before_they_are_mixed_and_dropped() -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8)
    x = np.array(FEATURES["gradients"].extract(images))
    change = transform_of(Augmentation(shift=1, input_dropout=0.5), x.shape[1], 0, "gradients")
    assert change is not None
    change(1, x, np.ones((1, 64)))
    assert 0.4 < np.mean(x[:, 64:] == 0) < 0.9, "half of the features are dropped, histograms too"


@pytest.mark.parametrize(("features", "width"), [("patches", 14264), ("pyramid", 14264 + 800 * 9)])
def test_features_with_a_dictionary_are_only_mirrored(features: str, width: int) -> None:
    assert transform_of(Augmentation(flip=True), width, 0, features)
    for name in ("shift", "rotation", "scaling", "shear", "elastic"):
        with pytest.raises(UserError, match=rf"--{name}: expected features by rules alone.*found {features}"):
            transform_of(CHANGES[name], width, 0, features)


def test_nothing_is_no_transform_and_noise_takes_any_shape() -> None:
    assert transform_of(NOTHING, 63, 0) is None
    assert transform_of(evolve(CHANGES["input_noise"], input_dropout=0.5, mixup=1), 63, 0) is not None
