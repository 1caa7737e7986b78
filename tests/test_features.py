"""The table of features: their widths, their rows, their memory, and runs that see them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnn import cli, memory
from fnn.arrays import Array, same
from fnn.config import Config, spec_of
from fnn.data import dataset
from fnn.datasets import load
from fnn.errors import UserError
from fnn.experiment import parts_of
from fnn.features import BLOCK, FEATURES, mirror_of
from fnn.inference import classify, read_pictures
from fnn.network import init_params
from fnn.rundir import Model
from fnn.workers import SPLIT
from tests.shell import DATA
from tests.strategies import WIDTHS, images

GRADIENTS = FEATURES["gradients"]
BY_RULES = sorted(name for name, row in FEATURES.items() if not row.fit)


@given(images(), st.sampled_from(BY_RULES))
def test_rows_are_independent_pure_finite_and_not_negative(x: Array, name: str) -> None:
    before = x.copy()
    found = FEATURES[name].extract(x)
    assert not found.flags.writeable and np.array_equal(x, before)
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 3 * 2**0.25
    for image, row in zip(x, found, strict=True):
        assert same(FEATURES[name].extract(image[None])[0].copy(), row.copy())


@pytest.mark.parametrize("name", BY_RULES)
def test_blocks_leave_no_trace(name: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2 * BLOCK + 3, 8, 8), dtype=np.uint8)
    found = FEATURES[name].extract(x)
    for cut in (1, BLOCK - 1, BLOCK, BLOCK + 1):
        parts = [FEATURES[name].extract(part) for part in (x[:cut], x[cut:])]
        np.testing.assert_array_equal(np.concatenate(parts), found)


@pytest.mark.parametrize("name", BY_RULES)
def test_the_memory_beside_the_result_is_that_of_a_block(name: str) -> None:
    def beside(blocks: int) -> int:
        x = np.zeros((blocks * BLOCK, 28, 28), np.uint8)
        tracemalloc.start()
        size = FEATURES[name].design(x, "float32").nbytes
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - size

    few, many = beside(2), beside(12)
    assert many < few + 2**16 and many < 2**23


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_the_side_is_that_of_the_width(name: str) -> None:
    row = FEATURES[name]
    by_rules = {"pixels": lambda side: side**2 - WIDTHS[side], "gradients": lambda side: 0}
    more = by_rules.get(name, lambda side: {"patches": 800 * 16, "pyramid": 800 * (16 + 9)}[name])
    for side in (side for side in WIDTHS if row.takes((side, side))):
        width = row.width((side, side))
        assert width == WIDTHS[side] + more(side)
        assert [row.side(width + extra) for extra in (0, 1)] == [side, side]
    assert row.side(-1) == row.side(0) == {"pixels": 1, "gradients": 4}.get(name, 8)


def test_pixels_are_what_they_were() -> None:
    x = np.random.default_rng(0).integers(0, 256, (300, 5, 7), dtype=np.uint8)
    for dtype in ("float32", "float64"):
        data = dataset(x, np.zeros(300, int), dtype=dtype)
        wanted = np.ones((300, 36), dtype)
        wanted[:, :-1] = x.reshape(300, 35).astype(dtype) / np.array(255, dtype)
        assert same(data.design.copy(), wanted)


@pytest.mark.parametrize("name", ["pixels", "gradients"])
def test_mirrored_images_have_permuted_features(name: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 12, 12), dtype=np.uint8)
    row = FEATURES[name]
    found = row.extract(x)
    index = mirror_of(name, found.shape[1])
    np.testing.assert_array_equal(row.extract(x[:, :, ::-1]), found[:, index])


@pytest.mark.parametrize("shape", [(), (28, 24), (27, 27), (4, 4), (252, 252)])
def test_features_that_learn_refuse_shapes_before_any_work(shape: tuple[int, ...]) -> None:
    for name in ("patches", "pyramid"):
        with pytest.raises(UserError, match=f"--features {name}: .* multiple of 4 from 8 to 250, found"):
            FEATURES[name].learn(np.zeros((2, *shape), np.uint8))


def test_the_settings_that_parts_depend_on_are_in_the_key_of_a_worker() -> None:
    """Whatever else is changed, the parts are the same."""
    small = load("fashion_mnist", DATA)
    given_ = Config(features="gradients", dtype="float64", seed=3, validation_fraction=0.2, data_dir=str(DATA))
    kept = Config(**{name: getattr(given_, name) for name in SPLIT})
    assert same(parts_of(given_, small), parts_of(kept, small))
    assert parts_of(given_, small).train.x.shape[1] == 1464


def test_the_memory_of_features_is_counted() -> None:
    small = load("fashion_mnist", DATA)
    plain, rich = (Config(features=name) for name in ("pixels", "gradients"))
    assert memory.parameters(rich, small) - memory.parameters(plain, small) == 680 * 1024
    assert memory.estimate(rich, small) > memory.estimate(plain, small) + 680 * 1024 * 4


def test_a_model_takes_plain_images_and_names_the_size(tmp_path: Path) -> None:
    config = Config(features="gradients", hidden_size=(5,))  # type: ignore[arg-type]
    spec = spec_of(config, 1464, 10)
    model = Model(spec, init_params(spec, 0), config, tuple("abcdefghij"))
    picture = load("fashion_mnist", DATA).test_images[0]
    for name, array in (("right.png", picture), ("wide.png", picture[:, :20]), ("large.png", picture.repeat(2, 0))):
        Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / name)
    assert classify((model,), read_pictures(tmp_path / "right.png", (model,))).shape == (1, 10)
    assert read_pictures(tmp_path / "large.png", (model,), resize=True).shape == (1, 28, 28)
    for name, found in (("wide.png", "28 x 20"), ("large.png", "56 x 28")):
        with pytest.raises(UserError, match=f"expected images of 28 x 28 pixels, found {found}"):
            read_pictures(tmp_path / name, (model,))


def test_a_run_with_gradients_can_be_gone_on_with_evaluated_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, small = tmp_path / "run", load("fashion_mnist", DATA)
    settings = ["--features", "gradients", "-sz", "32", "-e", "1", "-b", "20", "--wandb_mode", "disabled"]
    where = ["--run_dir", str(run), "--data_dir", str(DATA)]
    assert cli.train([*settings, *where]) == 0
    assert "network 1464-32-32-10" in capsys.readouterr().out
    assert cli.train(["--resume", str(run), "-e", "3"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    best = str(run / "best.npz")
    capsys.readouterr()
    assert cli.evaluate([best, "--data_dir", str(DATA)]) == 0
    assert f"loss {summary['test_loss']:.4f}, accuracy {summary['test_accuracy']:.2%}" in capsys.readouterr().out
    assert summary["best_val_accuracy"] > 0.4
    Image.fromarray(small.test_images[0]).save(tmp_path / "one.png")
    assert cli.predict([best, str(tmp_path / "one.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class"] in small.class_names
