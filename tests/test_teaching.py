"""A teacher: its answers are what is learned, its images are the pupil's, and a run that resumes has the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import same
from fnn.config import Config
from fnn.data import desired, take
from fnn.datasets import Images, load
from fnn.ensembles import combine
from fnn.errors import UserError
from fnn.experiment import Parts, dataset_of, parts_of, plan_for
from fnn.inference import classify
from fnn.naming import name_of
from fnn.network import init_params
from fnn.recipes import PRESETS
from fnn.rundir import Model, save_model
from fnn.teaching import prepared, teachers
from fnn.training import initial_state, run_epoch
from fnn.training import train as train_on
from tests.shell import DATA, refused, train

IMAGES = load("fashion_mnist", DATA)
CONFIG = Config(hidden_size=(6,), batch_size=50, threads=1)


def saved(path: Path, config: Config = CONFIG, images: Images = IMAGES) -> Model:
    """Save a model that has learned nothing, and return it."""
    plan = plan_for(config, parts_of(config, images))
    model = Model(plan.spec, init_params(plan.spec, config.seed + 7), config, images.class_names)
    save_model(path, model, {})
    return model


def test_the_answers_to_the_images_to_train_on_are_the_teachers(tmp_path: Path) -> None:
    model = saved(tmp_path / "teacher.npz")
    plain, parts = (prepared(evolve(CONFIG, teacher=name), IMAGES) for name in ("", str(tmp_path / "teacher.npz")))
    assert plain.train.taught is None and parts.train.taught is not None and parts.validation is not None
    assert same(parts.train.labels, plain.train.labels) and not parts.train.taught.flags.writeable
    rounded = np.rint(parts.train.x * 255).astype(np.uint8).reshape(-1, 28, 28)
    np.testing.assert_allclose(parts.train.taught, classify((model,), rounded), atol=1e-6)
    assert parts.validation.taught is None


def test_a_teacher_may_be_several_that_see_other_features(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    models = [
        saved(path, evolve(CONFIG, features=name)) for path, name in zip(paths, ("pixels", "gradients"), strict=True)
    ]
    combine(tmp_path / "both.npz", paths)
    config = evolve(CONFIG, teacher=str(tmp_path / "both.npz"), validation_fraction=0.0)
    taught = prepared(config, IMAGES).train.taught
    assert taught is not None
    np.testing.assert_allclose(taught, classify(models, IMAGES.train_images), atol=1e-6)


@given(st.permutations(range(12)), st.sampled_from(["float32", "float64"]))
def test_what_is_desired_goes_with_the_sample(rows: list[int], dtype: str) -> None:
    data = dataset_of(CONFIG, IMAGES.test_images[:12], IMAGES.test_labels[:12], 10)
    taught = np.random.default_rng(1).dirichlet(np.ones(10), 12)
    index = np.array(rows).reshape(3, 4)
    found = desired(evolve(data, taught=taught), index, 0.1, dtype)
    assert found.shape == (3, 10, 4) and found.dtype == dtype and not found.flags.writeable
    np.testing.assert_array_equal(found, taught[index].transpose(0, 2, 1).astype(dtype))
    np.testing.assert_array_equal(take(evolve(data, taught=taught), index[0]).taught, taught[index[0]])
    for step, labels in enumerate(data.labels[index]):
        assert (desired(data, index, 0.1, dtype)[step].argmax(axis=0) == labels).all()


def test_a_teacher_of_the_labels_teaches_what_they_do() -> None:
    """Bit for bit, smoothing included; and one of something else doesn't."""
    parts = parts_of(CONFIG, IMAGES)
    plan = plan_for(CONFIG, parts)
    answers = desired(parts.train, np.arange(len(parts.train)), CONFIG.label_smoothing).T
    begun = initial_state(plan)
    plain, taught, other = (
        run_epoch(plan, evolve(parts.train, taught=taught), begun) for taught in (None, answers, np.roll(answers, 1, 1))
    )
    assert same(plain, taught) and not same(plain.params, other.params)


def test_a_pupil_comes_to_answer_as_its_teacher_does(tmp_path: Path) -> None:
    """A teacher of wrong classes is followed nevertheless: its answers are what is learned."""
    config = evolve(CONFIG, hidden_size=(32,), learning_rate=0.01)

    def trained(config: Config, parts: Parts) -> Model:
        plan = plan_for(config, parts)
        *_, last = train_on(plan, parts.train, 20)
        return Model(plan.spec, last.params, config, IMAGES.class_names)

    parts = parts_of(config, IMAGES)
    wrong = evolve(parts, train=evolve(parts.train, labels=(parts.train.labels + 1) % 10))
    teacher = trained(config, wrong)
    save_model(tmp_path / "teacher.npz", teacher, {})
    config = evolve(config, teacher=str(tmp_path / "teacher.npz"))
    pupil = trained(config, prepared(config, IMAGES))
    told, said = (classify((one,), IMAGES.test_images).argmax(1) for one in (teacher, pupil))
    assert np.bincount(told, minlength=10).max() < 60  # of 200: not one answer to all
    assert (told == said).mean() > 0.8 > 0.2 > (IMAGES.test_labels == said).mean()


@pytest.mark.parametrize(
    ("teacher", "pupil", "fits"),
    [
        ({}, {}, True),
        ({"validation_fraction": 0.2}, {}, True),  # which holds out these images, and others
        ({"validation_fraction": 0.05}, {}, False),
        ({"validation_fraction": 0.0}, {}, False),
        ({"seed": 1}, {}, False),
        ({"seed": 1, "validation_fraction": 0.0}, {"validation_fraction": 0.0}, True),
    ],
)
def test_no_teacher_has_seen_what_is_held_out(tmp_path: Path, teacher: dict, pupil: dict, fits: bool) -> None:
    saved(tmp_path / "teacher.npz", evolve(CONFIG, **teacher))
    config = evolve(CONFIG, teacher=str(tmp_path / "teacher.npz"), **pupil)
    if fits:
        assert prepared(config, IMAGES).train.taught is not None
        return
    with pytest.raises(UserError, match="--teacher: expected one that has not learned from the images held out here"):
        prepared(config, IMAGES)


def test_a_teacher_of_something_else_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "digits.npz", evolve(CONFIG, dataset="mnist"), load("mnist", DATA))
    with pytest.raises(UserError, match="--teacher: expected a model of fashion_mnist, found one of mnist"):
        prepared(evolve(CONFIG, teacher=str(tmp_path / "digits.npz")), IMAGES)
    with pytest.raises(UserError, match=r"--teacher: expected a saved model, found none at nowhere/best\.npz"):
        teachers(evolve(CONFIG, teacher="nowhere/best.npz"), IMAGES)
    with pytest.raises(UserError, match=r"found a directory at .*; its best\.npz is one: .*best\.npz"):
        teachers(evolve(CONFIG, teacher=str(tmp_path)), IMAGES)
    small = evolve(IMAGES, train_images=IMAGES.train_images[:, ::2, ::2], test_images=IMAGES.test_images[:, ::2, ::2])
    saved(tmp_path / "small.npz", CONFIG, small)
    with pytest.raises(UserError, match="--teacher: expected images of 14 x 14 pixels, found 28 x 28"):
        prepared(evolve(CONFIG, teacher=str(tmp_path / "small.npz")), IMAGES)


def test_a_taught_run_is_resumed_with_its_teacher_only(tmp_path: Path) -> None:
    saved(tmp_path / "teacher.npz")
    taught = ("--teacher", "teacher.npz", "--run_dir", "r")
    whole = train(*taught, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert "teacher.npz answers to" in whole.stdout
    longer = train("--resume", "r", "-e", "3", cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr
    saved(tmp_path / "teacher.npz", evolve(CONFIG, seed=0, hidden_size=(7,)))
    refused(train("--resume", "r", "-e", "4", cwd=tmp_path), "last.npz", "data")


def test_each_seed_may_have_its_own_teacher(tmp_path: Path) -> None:
    for seed in (1, 2):
        saved(tmp_path / f"teacher-{seed}.npz", evolve(CONFIG, seed=seed))
        (found,) = teachers(evolve(CONFIG, teacher=str(tmp_path / "teacher-{seed}.npz"), seed=seed), IMAGES)
        assert found.config.seed == seed


def test_a_run_is_named_after_its_teacher() -> None:
    names = {
        path: name_of(Config(teacher=path)) for path in ("runs/a_b-{seed}/best.npz", "x/y.npz", "best.npz", "龍.npz")
    }
    told = ["a_b-0", "y", "it", "it"]
    assert all(f"_ce_taught_{word}_fashion" in name for word, name in zip(told, names.values(), strict=True))
    assert name_of(PRESETS["pixels-taught"]).endswith("_taught_features-best-0_views_both_val_0_fashion_mnist_seed_0")
