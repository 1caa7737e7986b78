"""Ensembles: means of probabilities, in a file of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnn import cli
from fnn.arrays import same
from fnn.cli import guarded
from fnn.config import Config, configure, spec_of
from fnn.datasets import load
from fnn.ensembles import combine, load_members
from fnn.errors import UserError
from fnn.experiment import dataset_of
from fnn.features import FEATURES
from fnn.inference import _seen, classify
from fnn.metrics import evaluate, pooled
from fnn.network import init_params
from fnn.rundir import Model, save_model
from tests.shell import DATA

FASHION = load("fashion_mnist", DATA)
SOME = FASHION.test_images[:9]


def model(seed: int, features: str = "pixels", dataset: str = "fashion_mnist", loss: str = "cross_entropy") -> Model:
    config = Config(hidden_size=(6,), seed=seed, features=features, dataset=dataset, loss=loss)
    spec = spec_of(config, FEATURES[features].width((28, 28)), 10)
    return Model(spec, init_params(spec, seed), config, FASHION.class_names)


def files(folder: Path, *models: Model) -> list[Path]:
    for number, each in enumerate(models):
        save_model(folder / f"{number}.npz", each, {})
    return [folder / f"{number}.npz" for number in range(len(models))]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_an_ensemble_answers_by_the_mean(seeds: list[int]) -> None:
    members = [model(seed, ("pixels", "gradients")[seed % 2]) for seed in seeds]
    alone = [classify((member,), SOME).astype(float) for member in members]
    np.testing.assert_allclose(classify(members, SOME), np.mean(alone, axis=0), atol=1e-6)  # the mean in single


def test_an_ensemble_of_one_or_of_equals_is_the_model(tmp_path: Path) -> None:
    one = model(3)
    np.testing.assert_array_equal(classify((one, one), SOME), classify((one,), SOME))
    members = combine(tmp_path / "out.npz", files(tmp_path, one))
    assert len(members) == 1
    assert same(members[0].params, one.params)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_the_loss_is_that_of_the_mean(loss: str) -> None:
    members = [model(seed, loss=loss) for seed in range(3)]
    data = dataset_of(members[0].config, FASHION.test_images, FASHION.test_labels, 10)
    result = pooled(members[0].spec, [evaluate(m.spec, m.params, data) for m in members], data)
    p = classify(members, FASHION.test_images).astype(float)
    right = p[np.arange(len(p)), data.labels]
    squares = np.mean((p - np.eye(10)[data.labels]) ** 2)
    assert result.loss == pytest.approx(-np.log(right).mean() if loss == "cross_entropy" else squares, rel=1e-5)
    assert result.accuracy == np.mean(p.argmax(axis=1) == data.labels)


def test_a_file_holds_the_members_of_models_and_ensembles(tmp_path: Path) -> None:
    models = [model(1), model(2, "gradients"), model(3)]
    a, b, c = files(tmp_path, *models)
    combine(tmp_path / "two.npz", [a, b])
    combine(tmp_path / "three.npz", [tmp_path / "two.npz", c])
    for found, expected in zip(load_members(tmp_path / "three.npz"), models, strict=True):
        assert (found.spec, found.config, found.class_names) == (expected.spec, expected.config, expected.class_names)
        assert same(found.params, expected.params)
    assert same(load_members(a)[0].params, models[0].params)


def test_members_tell_the_same_classes_apart(tmp_path: Path) -> None:
    digits = evolve(model(1, dataset="mnist"), class_names=tuple("0123456789"))
    with pytest.raises(UserError, match=r"1\.npz: expected a model of fashion_mnist like .*, found one of mnist"):
        combine(tmp_path / "out.npz", files(tmp_path, model(0), digits))
    assert not (tmp_path / "out.npz").exists()


def test_commands_take_an_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = [model(1), model(2, "gradients")]
    out = str(tmp_path / "out.npz")
    assert cli.main(["ensemble", out, *map(str, files(tmp_path, *models))]) == 0
    assert "2 networks: 784-6-6-10, 1464-6-6-10" in capsys.readouterr().out
    assert cli.main(["evaluate", out, "--data_dir", str(DATA / "fashion_mnist")]) == 0
    correct = np.mean(classify(models, FASHION.test_images).argmax(axis=1) == FASHION.test_labels)
    assert f"accuracy {correct:.2%}" in capsys.readouterr().out
    images = str(DATA / "fashion_mnist" / "t10k-images-idx3-ubyte.gz")
    assert cli.main(["predict", out, images]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FASHION.test_images)


def test_members_that_see_the_same_share_its_computation() -> None:
    members = [model(1), model(2, "gradients"), model(3), model(4, "gradients")]
    seen = _seen(members, SOME, FASHION.test_labels[:9])
    assert seen[0] is seen[2] and seen[1] is seen[3]
    assert [data.features for data in seen] == ["pixels", "gradients"] * 2
    wide = evolve(members[0], config=configure(members[0].config, {"dtype": "float64"}))
    assert _seen([members[0], wide], SOME, FASHION.test_labels[:9])[1].design.dtype == "float64"


def test_a_file_without_models_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.npz").write_bytes(b"no model")
    assert guarded(cli.main, ["ensemble", str(tmp_path / "out.npz"), str(tmp_path / "x.npz")], "fnn") == 2
    assert "x.npz" in capsys.readouterr().err
