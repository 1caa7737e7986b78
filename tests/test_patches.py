"""Patch features against their definition, their exact symmetry, and what they learn."""

from __future__ import annotations

import inspect
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn import cli, features, patches
from fnn.arrays import Array, freeze, same
from fnn.config import Config, configure
from fnn.data import dataset
from fnn.datasets import load
from fnn.ensembles import load_members
from fnn.experiment import observe, parts_of
from fnn.features import FEATURES, codes, mirror_of
from fnn.inference import classify
from fnn.metrics import evaluate
from fnn.patches import ATOMS, GRID, LEVELS, UNIT, Patches
from tests.shell import DATA

LEARNED = pytest.mark.parametrize("kind", ["patches", "pyramid"])
SMALL = load("fashion_mnist", DATA)
FEW = evolve(SMALL, train_images=SMALL.train_images[:150], train_labels=SMALL.train_labels[:150])


@pytest.fixture(autouse=True)
def _quickly_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SAMPLE", 5000)
    monkeypatch.setattr(features, "SCALED_BY", 100)


@lru_cache
def learned() -> Patches:
    """A dictionary of small data: it serves images of every size."""
    return patches.fit(SMALL.train_images)


@st.composite
def images(draw: st.DrawFn, most: int = 3) -> Array:
    """Images of bytes: noise, few levels, faint ones, and pieces of clothing."""
    side, n = draw(st.integers(8, 17)), draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        return freeze(SMALL.train_images[rng.integers(0, len(SMALL.train_images), n), 4 : 4 + side, 6 : 6 + side])
    noise = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
    levels = draw(st.sampled_from([1, 2, 128, 255]))
    return freeze((noise // levels * levels // draw(st.sampled_from([1, 40]))).astype(np.uint8))


def extract(x: Array, grid: int = GRID) -> Array:
    out = np.full((len(x), patches.width(grid)), np.nan, np.float32)
    patches.fill(learned(), x, out, grid)
    return out


def vectors(image: Array) -> Array:
    """Return the directions of an image's patches, (positions, positions, 36), as their definition says, in double."""
    x = np.pad(image / 255, 2)
    positions = len(x) - 5
    out = np.zeros((positions, positions, 36))
    for i, j in np.ndindex(positions, positions):
        u = x[i : i + 6, j : j + 6].ravel()
        v = learned().whitening.astype(float) @ ((u - u.mean()) / np.sqrt(u.var() + 0.01))
        out[i, j] = v / max(np.linalg.norm(v), 1e-9)
    return out


@settings(max_examples=15)
@given(images(most=1))
def test_the_directions_are_those_of_the_definition(x: Array) -> None:
    """Rounding shows in patches of little contrast: in those of one level out of 255 by a tenth."""
    cut = patches._cut(x)
    v = patches._directions(patches._contrasted(cut), learned().whitening.astype(np.float32)) / UNIT
    wanted, contrast = vectors(x[0]).reshape(len(v), -1), cut.std(axis=1, keepdims=True)
    assert (np.abs(v - wanted) <= 0.003 + 0.02 / np.maximum(contrast, 1e-9)).all()
    assert not v[contrast[:, 0] == 0].any()


@given(images(), st.sampled_from(features.GRIDS))
def test_every_sum_is_of_whole_numbers_and_exact(x: Array, grid: int) -> None:
    z = patches._contrasted(patches._cut(x))
    v = patches._directions(z, learned().whitening.astype(np.float32))
    by_long = z.astype(np.int64) @ learned().whitening.astype(np.int64)
    np.testing.assert_array_equal(by_long, z @ learned().whitening.astype(np.float32))
    assert np.abs(by_long).max() < 2**24 and np.abs(z).max() <= 6 * LEVELS
    positions = x.shape[1] - 1
    similar = v.astype(np.int64) @ learned().atoms.astype(np.int64)
    assert np.abs(similar).max() < 2 * UNIT**2
    similar = similar.reshape(len(x), positions, positions, -1)
    cells, found = patches._cells(positions, grid), extract(x, grid).reshape(len(x), 2, grid, grid, -1)
    for k, half in enumerate((similar, -similar)):
        excess = np.maximum(half - UNIT**2 // 4, 0)
        for i, j in np.ndindex(grid, grid):
            mean = excess[:, cells[i], cells[j]].mean(axis=(1, 2)) / UNIT**2
            np.testing.assert_allclose(found[:, k, i, j], np.sqrt(mean), rtol=3e-7, atol=1e-7)


@given(images())
def test_a_mirrored_image_has_exactly_the_same_features_elsewhere(x: Array) -> None:
    index, found = patches.mirror(), extract(x)
    assert sorted(index) == list(range(patches.width()))
    np.testing.assert_array_equal(extract(x[:, :, ::-1]), found[:, index])


@given(images(most=5), st.integers(1, 4))
def test_rows_are_pure_and_blocks_leave_no_trace(x: Array, block: int) -> None:
    before, found = x.copy(), extract(x)
    assert np.array_equal(x, before) and found.min() >= 0 and found.max() <= np.sqrt(0.77)
    for image, row in zip(x, found, strict=True):
        np.testing.assert_array_equal(extract(image[None])[0], row)
    old, patches.BLOCK = patches.BLOCK, block
    try:
        np.testing.assert_array_equal(extract(x), found)
    finally:
        patches.BLOCK = old


def test_large_images_with_the_sharpest_edges_are_exact_too() -> None:
    side = patches.LARGEST
    x = np.random.default_rng(0).integers(0, 2, (1, side, side), np.uint8) * np.uint8(255)
    x[:, : side // 2] = np.tile([0, 255], side // 2)
    np.testing.assert_array_equal(extract(x[:, :, ::-1]), extract(x)[:, patches.mirror()])


@pytest.mark.parametrize("grid", [2, 3, 4, 5])
def test_cells_cover_all_alike_from_both_ends(grid: int) -> None:
    for positions in range(grid + 1, 80):
        cells = [range(positions)[cell] for cell in patches._cells(positions, grid)]
        assert len(cells) == grid and {len(cell) for cell in cells} == {len(cells[0])}
        assert {i for cell in cells for i in cell} == set(range(positions))
        assert [[positions - 1 - i for i in cell][::-1] for cell in cells[::-1]] == [list(cell) for cell in cells]


def test_what_is_learned_is_a_pure_function_of_the_images() -> None:
    again = patches.fit(SMALL.train_images.copy())
    assert same(again, learned())
    assert not same(patches.fit(SMALL.train_images, seed=1), again)
    assert not same(patches.fit(SMALL.test_images), again)
    assert list(inspect.signature(patches.fit).parameters) == ["images", "seed"]


def test_the_dictionary_is_of_unit_vectors_and_their_mirror_images() -> None:
    atoms, turned = learned().atoms.astype(float), np.arange(36).reshape(6, 6)[:, ::-1].ravel()
    np.testing.assert_array_equal(atoms[turned, :ATOMS], atoms[:, ATOMS:])
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=0), UNIT, rtol=0.01)
    whitening = learned().whitening.astype(int)
    np.testing.assert_array_equal(whitening, whitening.T)
    np.testing.assert_array_equal(whitening[turned][:, turned], whitening)


def test_whitening_evens_the_variances_out() -> None:
    z = patches._contrasted(patches._drawn(SMALL.train_images, 1)).astype(float)
    before, after = (np.linalg.eigvalsh(each.T @ each) for each in (z, z @ learned().whitening))
    assert before[-1] > 100 * before[5] and after[-1] < 20 * after[5]


def test_atoms_are_nearer_to_patches_after_more_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def nearness() -> float:
        found = patches.fit(SMALL.train_images)
        z = patches._contrasted(patches._drawn(SMALL.train_images, 2))
        v = patches._directions(z[z.any(axis=1)], found.whitening.astype(np.float32))
        return float((v @ found.atoms[:, :ATOMS].astype(np.float32)).max(axis=1).mean()) / UNIT**2

    many = nearness()
    monkeypatch.setattr(patches, "ROUNDS", 0)
    assert many > nearness() + 0.05


@pytest.mark.parametrize("level", [0, 7, 255])
def test_flat_images_teach_nothing_and_have_no_features(level: int) -> None:
    flat = np.full((2, 64, 64), level, np.uint8)
    z = patches._contrasted(patches._cut(flat)).reshape(2, 63, 63, 36)
    assert not z[:, 2:-2, 2:-2].any() and z.any() == (level > 0)
    if not level:
        out = np.ones((2, patches.width()), np.float32)
        patches.fill(patches.fit(flat), flat, out)
        assert not out.any()
        assert not extract(flat).any()


@given(images())
def test_halved_images_are_the_rounded_means_of_squares(x: Array) -> None:
    side = len(x[0]) // 2 * 2
    x = x[:, :side, :side]
    exact = x.astype(float).reshape(len(x), side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(features._halved(x), np.floor(exact + 0.5))
    assert features._halved(x).dtype == np.uint8


def test_a_pyramid_is_the_patches_of_an_image_and_those_of_it_halved() -> None:
    x = SMALL.test_images[:7]
    fitted = FEATURES["pyramid"].learn(SMALL.train_images)
    assert fitted is not None and same(fitted.levels[0], learned())
    small = features._halved(x)
    assert same(fitted.levels[1], patches.fit(features._halved(SMALL.train_images)))
    fine, coarse = np.empty((7, patches.width()), np.float32), np.empty((7, patches.width(3)), np.float32)
    patches.fill(fitted.levels[0], x, fine)
    patches.fill(fitted.levels[1], small, coarse, 3)
    found = np.empty((7, 1464 + patches.width() + patches.width(3)), np.float32)
    features._fill(fitted.levels, x, found)
    np.testing.assert_array_equal(found, np.hstack([FEATURES["gradients"].extract(x), fine, coarse]))


@LEARNED
def test_labels_and_test_images_have_no_part_in_what_is_learned(kind: str) -> None:
    config = Config(features=kind, hidden_size=(5,))  # type: ignore[arg-type]
    other = evolve(FEW, train_labels=FEW.train_labels[::-1].copy(), test_images=SMALL.train_images)
    one, two = parts_of(config, FEW), parts_of(configure(config, {"seed": 3}), other)
    assert same(one.fitted, two.fitted) and one.fitted is not None
    index = mirror_of(kind, one.train.width)
    for array in (one.fitted.scale.top, one.fitted.scale.step[:-1], one.fitted.scale.offset[:-1]):
        np.testing.assert_array_equal(array, array[index])
    mirrored = codes(one.fitted, SMALL.test_images[:9, :, ::-1])
    np.testing.assert_array_equal(mirrored[:, :-1], codes(one.fitted, SMALL.test_images[:9])[:, index])
    x = one.train.x
    assert abs(x.mean()) < 0.02 and 0.5 < x.std() < 1.1
    assert same(FEATURES[kind].extract(SMALL.test_images[:2], "float32", one.fitted).shape, (2, one.train.width))


@LEARNED
def test_a_run_with_flips_is_gone_on_with_bitwise_and_its_model_takes_plain_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    settings = ["--features", kind, "-nhl", "1", "-sz", "16", "-b", "32", "--flip", "yes", "--views", "flip"]
    more = ["--input_dropout", "0.2", "--dropout", "0.2", "--mixup", "0.2", "--input_noise", "0.1"]
    where = ["--data_dir", str(DATA), "--wandb_mode", "disabled", "--threads", "1"]
    assert cli.train([*settings, *more, *where, "-e", "3", "--run_dir", str(tmp_path / "whole")]) == 0
    config = configure(Config(), json.loads((tmp_path / "whole" / "config.json").read_text()))
    parts = parts_of(config, SMALL)
    *_, (last, _) = observe(config, parts)
    (model,) = load_members(tmp_path / "whole" / "best.npz")
    assert same(model.fitted, parts.fitted)
    data = dataset(SMALL.test_images, SMALL.test_labels, 10, "float32", kind, parts.fitted)
    inside = evaluate(model.spec, model.params, data, "flip").probabilities
    np.testing.assert_array_equal(classify((model,), SMALL.test_images).argmax(axis=1), inside.argmax(axis=1))
    np.testing.assert_allclose(classify((model,), SMALL.test_images), inside, atol=1e-6)
    mirrored = classify((model,), SMALL.test_images[:, :, ::-1])
    np.testing.assert_array_equal(mirrored, classify((model,), SMALL.test_images))
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    capsys.readouterr()
    assert cli.evaluate([str(tmp_path / "whole" / "best.npz"), "--data_dir", str(DATA)]) == 0
    assert f"accuracy {summary['test_accuracy']:.2%}" in capsys.readouterr().out
    states = [state for state, _ in observe(config, parts, pieces=4)]
    again = parts_of(config, SMALL)
    for middle in states[2:5]:
        *_, (end, _) = observe(config, again, middle)
        assert same(end, last)


NAMES = ("pixels", "patches", "pyramid")


def test_members_with_and_without_patches_answer_as_one(tmp_path: Path) -> None:
    where = ["-nhl", "1", "-sz", "8", "-e", "1", "--data_dir", str(DATA), "--wandb_mode", "disabled"]
    for name in NAMES:
        assert cli.train(["--features", name, *where, "--run_dir", str(tmp_path / name)]) == 0
    files = [str(tmp_path / name / "best.npz") for name in NAMES]
    assert cli.ensemble([str(tmp_path / "both.npz"), *files]) == 0
    both = load_members(tmp_path / "both.npz")
    alone = [classify(load_members(Path(file)), SMALL.test_images) for file in files]
    np.testing.assert_allclose(classify(both, SMALL.test_images), np.mean(alone, axis=0), atol=1e-6)
    assert both[0].fitted is None
    assert all(same(both[k].fitted, load_members(Path(files[k]))[0].fitted) for k in (1, 2))


def test_what_cannot_be_done_to_features_is_refused_before_they_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.patches, "fit", None)
    for changes in ({"shift": 1}, {"elastic": 1}, {"views": "both"}, {"views": "shifts"}):
        with pytest.raises(features.UserError, match=f"--{next(iter(changes))}: expected features by rules"):
            parts_of(configure(Config(features="patches"), changes), SMALL)
