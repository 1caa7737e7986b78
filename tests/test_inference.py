"""Using a trained model: on other data sets and on pictures, good ones and hostile ones."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnn import cli
from fnn.cli import guarded
from fnn.config import Config, spec_of
from fnn.datasets import load
from fnn.errors import UserError
from fnn.idx import idx_header
from fnn.inference import assess, classify, read_pictures
from fnn.metrics import precision_and_recall
from fnn.network import init_params, predict
from fnn.rundir import Model, load_model, save_model
from tests.shell import DATA

CONFIG = Config(hidden_size=(6,), seed=1)
SPEC = spec_of(CONFIG, 784, 10)
FASHION = load("fashion_mnist", DATA)
MODEL = Model(SPEC, init_params(SPEC, 1), CONFIG, FASHION.class_names)
PICTURE = FASHION.test_images[3]


@pytest.fixture
def best(tmp_path: Path) -> Path:
    save_model(tmp_path / "best.npz", MODEL, {})
    return tmp_path / "best.npz"


def png(array: np.ndarray = PICTURE, form: str = "PNG") -> bytes:
    stream = BytesIO()
    Image.fromarray(array).save(stream, form)
    return stream.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_classifying_is_predicting_shares_of_255() -> None:
    p = classify((MODEL,), FASHION.test_images[:7])
    np.testing.assert_array_equal(
        p, predict(SPEC, MODEL.params, FASHION.test_images[:7].reshape(7, -1) / np.float32(255))
    )


def test_a_model_takes_the_views_it_was_configured_with() -> None:
    images, model = FASHION.test_images[:7], evolve(MODEL, config=evolve(CONFIG, views="flip"))
    each = [classify((MODEL,), pictures) for pictures in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(classify((model,), images), np.mean(each, axis=0), rtol=1e-6)
    data = evolve(CONFIG, data_dir=str(DATA))
    heads = [assess((each,), data, "test")[0] for each in (MODEL, model)]
    assert heads[0] != heads[1]


def test_every_kind_of_file_gives_the_same_images(tmp_path: Path) -> None:
    idx = idx_header((1, 28, 28)) + PICTURE.tobytes()
    np.savez(tmp_path / "x.npz", images=PICTURE[None])
    files = [
        tmp_path / "x.npz",
        written(tmp_path / "x.idx", idx),
        written(tmp_path / "x-ubyte", idx),
        written(tmp_path / "x.png", png()),
        written(tmp_path / "x.bmp", png(form="BMP")),
        written(tmp_path / "rgb.png", png(np.stack([PICTURE] * 3, axis=-1))),
    ]
    for path in files:
        np.testing.assert_array_equal(read_pictures(path, (MODEL,)), PICTURE[None])
    np.testing.assert_array_equal(read_pictures(files[3], (MODEL,), invert=True), 255 - PICTURE[None])
    large = written(tmp_path / "large.png", png(PICTURE.repeat(3, 0).repeat(3, 1)))
    assert read_pictures(large, (MODEL,), resize=True).shape == (1, 28, 28)
    whole = read_pictures(DATA / "mnist" / "t10k-images-idx3-ubyte.gz", (MODEL,))
    np.testing.assert_array_equal(whole, load("mnist", DATA).test_images)


def test_wrong_sizes_are_refused_with_both_and_a_way_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 28, 27), np.uint8))
    for path, found in (
        (written(tmp_path / "x.png", png(PICTURE[:, :20].copy())), "28 x 20; try --resize"),
        (written(tmp_path / "x.idx", idx_header((1, 2, 3)) + bytes(6)), "2 x 3"),
        (tmp_path / "x.npz", "28 x 27"),
    ):
        with pytest.raises(UserError, match=rf"expected images of 28 x 28 pixels, found {found}$"):
            read_pictures(path, (MODEL,))


def test_a_picture_is_read_as_it_is_seen(tmp_path: Path) -> None:
    def read(picture: Image.Image, **how: Any) -> Any:
        picture.save(tmp_path / "x.png", **how)
        return read_pictures(tmp_path / "x.png", (MODEL,))[0]

    deep = np.arange(784, dtype=np.uint16).reshape(28, 28) * 80
    assert read(Image.fromarray(deep)).tolist() == (deep // 257).tolist(), "16 bits a pixel"
    drawn = np.zeros((28, 28, 4), np.uint8)
    drawn[:14, :, 3] = 255  # black above, transparent below
    assert read(Image.fromarray(drawn)).tolist() == [[0] * 28] * 14 + [[255] * 28] * 14, "before white"
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    assert read(Image.fromarray(PICTURE), exif=exif).tolist() == PICTURE[::-1, ::-1].tolist()


@given(
    st.sampled_from(["x.png", "x.gz", "x.npz", "x.idx", "x-ubyte", "x.jpg", "x"]),
    st.binary(max_size=200)
    | st.builds(
        lambda form, at, byte, cut: (
            (good := png(form=form))[: at % len(good)] + bytes([byte]) + good[at % len(good) + 1 :][:cut]
        ),
        st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "TGA", "WEBP", "ICO"]),
        st.integers(0, 5000),
        st.integers(0, 255),
        st.just(None) | st.integers(0, 3000),
    ),
)
def test_any_bytes_are_images_or_a_line(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    path = written(tmp_path_factory.mktemp("fuzz") / name, content)
    try:
        assert read_pictures(path, (MODEL,)).shape[1:] == (28, 28)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.gz")
    for name in ("pipe.png", "pipe.gz", "none.png", "none.gz", "."):
        with pytest.raises(UserError):
            read_pictures(tmp_path / name, (MODEL,))


def test_predicting_prints_a_line_an_image(best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = written(tmp_path / "x.png", png())
    batch = DATA / "fashion_mnist" / "t10k-images-idx3-ubyte.gz"
    assert guarded(cli.main, ["predict", str(best), str(picture), str(batch), "--json"], "fnn") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = classify((MODEL,), FASHION.test_images)
    assert len(lines) == 201 and lines[0]["image"] == str(picture) and lines[4]["image"] == f"{batch}[3]"
    assert lines[0]["probabilities"] == pytest.approx(lines[4]["probabilities"], abs=1e-6)
    for line, p in zip(lines[1:], expected, strict=True):
        assert line["class"] == MODEL.class_names[p.argmax()]
        assert sum(line["probabilities"].values()) == pytest.approx(1)
    assert guarded(cli.main, ["predict", str(best), str(picture)], "fnn") == 0
    name = MODEL.class_names[expected[3].argmax()]
    assert capsys.readouterr().out.startswith(f"{picture}: {name} {expected[3].max():.1%}, ")


def test_one_bad_file_among_good_ones_prints_nothing_else(
    best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = written(tmp_path / "x.png", png()), written(tmp_path / "y.png", b"\x89PNG")
    assert guarded(cli.main, ["predict", str(best), str(good), str(bad)], "fnn") == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "y.png" in err


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_evaluating_tells_loss_accuracy_and_each_class(
    best: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(cli.main, ["evaluate", str(best), "--dataset", name, "--data_dir", str(DATA)], "fnn") == 0
    head, _, _, *rows = capsys.readouterr().out.splitlines()
    images = load(name, DATA)
    predictions = classify((MODEL,), images.test_images).argmax(axis=1)
    assert head.startswith(f"{name}, test: 200 images, loss ")
    assert f"accuracy {np.mean(predictions == images.test_labels):.2%}" in head
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (images.test_labels, predictions), 1)
    for k, (precision, recall) in enumerate(zip(*precision_and_recall(counts), strict=True)):
        shares = ["-" if np.isnan(value) else f"{value:.2%}" for value in (precision, recall)]
        assert rows[k].startswith(images.class_names[k]) and rows[k].split()[-3:] == ["20", *shares]
    assert (best.parent / f"confusion-{name}-test.png").stat().st_size > 10_000


@given(st.binary(max_size=300))
def test_any_bytes_are_no_model_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    with pytest.raises(UserError) as error:
        load_model(written(tmp_path_factory.mktemp("fuzz") / "best.npz", content))
    assert "\n" not in str(error.value)
