"""A run: what it leaves, when it stops, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import asdict, evolve
from PIL import Image

from fnn import checkpoint, runner, training
from fnn.arrays import same
from fnn.config import Config
from fnn.data import dataset
from fnn.datasets import load
from fnn.errors import DivergenceError, Interrupted, UserError
from fnn.experiment import observe, parts_of, plan_for
from fnn.features import FEATURES
from fnn.metrics import evaluate
from fnn.naming import name_of
from fnn.rundir import load_model, read_config, resumed_config
from fnn.runner import identity, run
from fnn.threads import limited
from fnn.training import answer, initial_state, train
from tests.shell import DATA

IMAGES = load("fashion_mnist", DATA)
Runs = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten an epoch, as of larger networks."""
    monkeypatch.setattr(training, "PIECE", 1.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        hidden_size=(12,),
        epochs=4,
        batch_size=20,
        wandb_mode="disabled",
        threads=1,
        data_dir=str(DATA),
        run_dir=str(tmp_path / "r"),
    )


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "show_confusion", lambda *_: None)
    for name in ("samples", "curves", "save"):
        monkeypatch.setattr(runner.figures, name, lambda *_: None)


def quiet(_: str) -> None:
    pass


def history(config: Config) -> list[dict]:
    return [json.loads(line) for line in (Path(config.run_dir) / "history.jsonl").read_text().splitlines()]


def left(config: Config) -> tuple[object, object, list[dict]]:
    """Return what a run leaves, apart from times: the last state, the best parameters, the history."""
    directory, plan = Path(config.run_dir), plan_for(config, parts_of(config, IMAGES))
    last = checkpoint.load(directory / "last.npz", {"data": runner.identity(IMAGES), "state": initial_state(plan)})
    lines = [{name: value for name, value in line.items() if name != "seconds"} for line in history(config)]
    return last["state"], load_model(directory / "best.npz").params, lines


def test_everything_a_run_leaves_is_there_and_right(config: Config) -> None:
    lines: list[str] = []
    summary = run(config, say=lines.append)
    directory, parts = Path(config.run_dir), parts_of(config, IMAGES)
    assert read_config(directory) == config
    with limited(1):
        expected = [asdict(report) for _, report in observe(config, parts) if report]
    assert [line | {"seconds": 0} for line in history(config)] == [line | {"seconds": 0} for line in expected]
    assert [line["epoch"] for line in history(config)] == [1, 2, 3, 4]

    assert json.loads((directory / "summary.json").read_text()) == summary
    best = load_model(directory / "best.npz")
    with limited(1):  # as the run had: with more threads BLAS may round otherwise
        validation = evaluate(best.spec, best.params, parts.validation)
        test = evaluate(best.spec, best.params, dataset(IMAGES.test_images, IMAGES.test_labels))
    assert (summary["best_val_accuracy"], summary["best_val_loss"]) == (validation.accuracy, validation.loss)
    assert (summary["test_accuracy"], summary["test_loss"]) == (test.accuracy, test.loss)
    assert summary["best_val_accuracy"] == max(line["val_accuracy"] for line in history(config))
    assert summary["best_epoch"] == 1 + int(np.argmax([line["val_accuracy"] for line in history(config)]))
    assert (summary["epochs"], summary["parameters"], summary["name"]) == (4, best.spec.parameters, "r")
    assert checkpoint.read_metadata(directory / "best.npz")["results"] == history(config)[summary["best_epoch"] - 1]
    for name in ("samples.png", "confusion.png", "curves.png"):
        with Image.open(directory / name) as picture:
            assert min(picture.size) > 100
    names = {path.name for path in directory.iterdir()} - {"last.npz.previous", "best.npz.previous"}
    assert names == {
        *("config.json", "history.jsonl", "summary.json", "best.npz", "last.npz", ".lock"),
        *("samples.png", "confusion.png", "curves.png"),
    }
    text = "\n".join(lines)
    assert f"{summary['test_accuracy']:.2%}" in text and f"{directory}/" in text and "epoch 4/4" in text


@pytest.mark.usefixtures("no_figures")
def test_the_first_image_of_each_class_is_shown_by_its_name(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple] = []
    monkeypatch.setattr(runner.Tracker, "images", lambda _tracker, *given: shown.append(given))
    labels = np.where(IMAGES.train_labels == 3, 7, IMAGES.train_labels)  # so that a class has none
    monkeypatch.setattr(runner, "load", lambda *_: evolve(IMAGES, train_labels=labels))
    run(config, say=quiet)
    ((key, pictures, names),) = shown
    there = [k for k in range(10) if k != 3]
    assert key == "samples" and names == [IMAGES.class_names[k] for k in there]
    for k, picture in zip(there, pictures, strict=True):
        np.testing.assert_array_equal(picture, IMAGES.train_images[labels == k][0])


@pytest.mark.usefixtures("no_figures")
def test_the_test_averages_over_views_and_the_validation_does_not(config: Config) -> None:
    plain = run(config, say=quiet)
    seen = run(evolve(config, views="both", run_dir=f"{config.run_dir}-both"), say=quiet)
    assert seen["best_val_loss"] == plain["best_val_loss"]
    best = load_model(Path(config.run_dir) / "best.npz")
    with limited(1):
        test = evaluate(best.spec, best.params, dataset(IMAGES.test_images, IMAGES.test_labels), "both")
    assert (seen["test_accuracy"], seen["test_loss"]) == (test.accuracy, test.loss)
    assert seen["test_loss"] != plain["test_loss"]


@pytest.mark.parametrize("resumed", [False, True])
def test_without_images_held_out_the_last_epoch_is_tested(
    config: Config, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = evolve(config, validation_fraction=0.0)
    lines: list[str] = []
    if resumed:
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(runner, "observe", lambda *given: _signalled_at(15, observe(*given)))
            run(config, say=quiet)
    summary = run(resumed_config(Path(config.run_dir), {}) if resumed else config, resumed, lines.append)
    plan, text = plan_for(config, parts_of(config, IMAGES)), "\n".join(lines)
    with limited(1):
        last = list(train(plan, parts_of(config, IMAGES).train, 4))[-1]
        test = evaluate(plan.spec, last.params, dataset(IMAGES.test_images, IMAGES.test_labels))
    assert (summary["test_loss"], summary["best_epoch"], summary["best_val_accuracy"]) == (test.loss, 4, None)
    assert same(load_model(Path(config.run_dir) / "best.npz").params, last.params)
    assert [line["val_accuracy"] for line in history(config)] == [None] * 4
    assert "600 images to train on, none held out" in text and "validation" not in text and "nan" not in text
    assert "epoch 4, the last: nothing was held out" in text


@pytest.mark.usefixtures("no_figures")
def test_a_taught_run_is_resumed_bitwise_and_by_its_teacher_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    teachers = [evolve(config, run_dir=str(tmp_path / views), views=views) for views in ("none", "flip")]
    for teacher in teachers:
        run(teacher, say=quiet)
    own, other = (Path(teacher.run_dir) / "best.npz" for teacher in teachers)
    config = evolve(config, teacher=str(own))
    whole, unlike = (
        evolve(config, run_dir=f"{config.run_dir}-{n}", teacher=str(t)) for n, t in enumerate((own, other))
    )
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(runner, "observe", lambda *given: _signalled_at(15, observe(*given)))
        run(config, say=quiet)
    with pytest.raises(UserError, match="data"):  # the same parameters, but its answers are of other views
        run(resumed_config(Path(config.run_dir), {"teacher": str(other)}), True, quiet)
    own = own.rename(tmp_path / "moved.npz")
    lines: list[str] = []
    run(resumed_config(Path(config.run_dir), {"teacher": str(own)}), True, lines.append)
    assert f"{own} answers to 540 images first" in lines
    run(evolve(whole, teacher=str(own)), say=quiet)
    run(unlike, say=quiet)
    found = [load_model(Path(one.run_dir) / "best.npz").params for one in (config, whole, unlike)]
    assert same(found[0], found[1]) and not same(found[0], found[2])
    kept = [[{**line, "seconds": 0} for line in history(one)] for one in (config, whole, unlike)]
    assert kept[0] == kept[1] != kept[2]


def _signalled_at(piece: int, stream: Any) -> Any:
    for number, seen in enumerate(stream, 1):
        if number == piece:
            os.kill(os.getpid(), signal.SIGTERM)
        yield seen


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_the_answer_is_kept_and_tested_and_resumed_bitwise(
    config: Config, monkeypatch: pytest.MonkeyPatch, normalization: str
) -> None:
    config = evolve(config, averaging=0.9, normalization=normalization)
    whole, plain = (evolve(config, run_dir=f"{config.run_dir}-{name}") for name in ("whole", "plain"))
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(runner, "observe", lambda *given: _signalled_at(15, observe(*given)))
        run(config, say=quiet)
    summary = run(resumed_config(Path(config.run_dir), {}), True, quiet)
    assert summary["test_loss"] == run(whole, say=quiet)["test_loss"]
    assert same(left(config)[:2], left(whole)[:2]) and left(config)[2] == left(whole)[2]
    last: Any = left(config)[0]
    parts = parts_of(config, IMAGES)
    answered = answer(plan_for(config, parts), parts.train, last)
    assert not same(answered, last.params)
    if summary["best_epoch"] == 4:
        assert same(left(config)[1], answered)
    run(plain := evolve(plain, averaging=0.0), say=quiet)
    raw: Any = left(plain)[0]
    assert same(raw.params, last.params)


@pytest.mark.usefixtures("no_figures")
def test_the_test_images_are_looked_at_once_at_the_end(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(runner, "load", lambda *_: evolve(IMAGES, test_images=255 - IMAGES.test_images))
    monkeypatch.setattr(runner, "evaluate", lambda *given: seen.append(given[2]) or evaluate(*given))
    summary = run(config, say=quiet)
    assert len(seen) == 1 and len(seen[0]) == 200
    flipped = Path(config.run_dir)
    monkeypatch.setattr(runner, "load", lambda *_: IMAGES)
    plain = run(evolve(config, run_dir=f"{flipped}2"), say=quiet)
    assert summary["best_val_loss"] == plain["best_val_loss"] and summary["test_loss"] != plain["test_loss"]


@pytest.mark.usefixtures("no_figures")
def test_patience_stops_and_resuming_stops_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = evolve(config, epochs=30, patience=2, learning_rate=1e-9)
    lines: list[str] = []
    assert run(patient, say=lines.append)["epochs"] == 3
    assert "stopped: no better validation accuracy in 2 epochs" in lines
    before = left(patient)
    assert run(resumed_config(Path(patient.run_dir), {}), True, quiet)["epochs"] == 3
    assert same(before[:2], left(patient)[:2]) and before[2] == left(patient)[2]


@pytest.mark.usefixtures("no_figures")
def test_runs_without_a_directory_are_named_by_what_they_are(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = evolve(config, run_dir="", epochs=1)
    assert [run(config, say=quiet)["name"] for _ in range(2)] == [name_of(config), f"{name_of(config)}-2"]
    assert read_config(Path("runs") / name_of(config)).run_dir == f"runs/{name_of(config)}"


@pytest.mark.usefixtures("no_figures")
def test_a_taken_directory_is_refused(config: Config) -> None:
    run(config, say=quiet)
    before = left(config)
    with pytest.raises(UserError, match="--run_dir: expected a directory without a run"):
        run(config, say=quiet)
    assert before[2] == left(config)[2]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("when", ["epoch 1/4", "epoch 3/4"])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    config: Config, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def stop(line: str) -> None:  # the line comes before anything of its epoch is on disk
        if line.startswith(when):
            raise Stop

    with pytest.raises(Stop):
        run(config, say=stop)
    run(resumed_config(Path(config.run_dir), {}), True, quiet)
    whole = evolve(config, run_dir=f"{config.run_dir}-whole")
    run(whole, say=quiet)
    assert same(left(config)[:2], left(whole)[:2]) and left(config)[2] == left(whole)[2]


@pytest.mark.usefixtures("no_figures")
def test_a_state_that_the_disk_refuses_finds_its_best_model_again(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = evolve(config, epochs=9, learning_rate=3e-4)  # so slow that nearly every epoch is the best so far
    whole = evolve(config, run_dir=f"{config.run_dir}-whole")
    save = checkpoint.save

    def refuse(path: Path, record: Any, *rest: Any) -> Path:
        if path.name == "last.npz" and record["state"].epoch > 2:
            raise OSError(28, "No space left on device", str(path))
        return save(path, record, *rest)

    monkeypatch.setattr(checkpoint, "save", refuse)
    run(config, say=quiet)
    monkeypatch.undo()
    assert "last.npz could not be written" in capsys.readouterr().err
    monkeypatch.setattr(runner, "show_confusion", lambda *_: None)
    monkeypatch.setattr(runner.figures, "save", lambda *_: None)
    run(resumed_config(Path(config.run_dir), {}), True, quiet)
    run(whole, say=quiet)
    assert same(left(config)[:2], left(whole)[:2]) and left(config)[2] == left(whole)[2]


@pytest.mark.usefixtures("no_figures")
def test_more_epochs_are_those_of_a_constant_schedule(config: Config) -> None:
    short, long = (
        evolve(config, schedule="constant"),
        evolve(config, schedule="constant", epochs=6, run_dir=f"{config.run_dir}6"),
    )
    run(short, say=quiet)
    more = resumed_config(Path(short.run_dir), {"epochs": 6})
    run(more, True, quiet)
    run(long, say=quiet)
    assert same(left(more)[:2], left(long)[:2]) and left(more)[2] == left(long)[2]
    assert read_config(Path(short.run_dir)).epochs == 6


@pytest.mark.usefixtures("no_figures")
def test_other_images_are_refused_when_a_run_is_resumed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    run(config, say=quiet)
    monkeypatch.setattr(runner, "load", lambda *_: load("mnist", DATA))
    with pytest.raises(UserError, match=r"last\.npz: data: expected '600 images, .*, found '600 images, "):
        run(resumed_config(Path(config.run_dir), {"epochs": 9}), True, quiet)


def test_a_state_belongs_to_what_its_features_have_learned() -> None:
    learned = [FEATURES["patches"].learn(IMAGES.train_images[:count]) for count in (20, 30)]
    assert len({identity(IMAGES), *(identity(IMAGES, one) for one in learned)}) == 3


@pytest.mark.usefixtures("no_figures")
def test_divergence_names_the_last_saved_state_and_what_helps(config: Config) -> None:
    with pytest.raises(DivergenceError) as error:
        run(evolve(config, activation="identity", optimizer="sgd", learning_rate=1e38), say=quiet)
    where, advice = error.value.__notes__
    assert where == "the last saved state: none, in the first epoch" and "--clip_norm" in advice
    run(config2 := evolve(config, run_dir=f"{config.run_dir}2"), say=quiet)

    def ruin(*_: object, **__: object) -> Any:
        raise DivergenceError(1, float("nan"), 1.0)
        yield

    with pytest.MonkeyPatch.context() as patch, pytest.raises(DivergenceError) as error:
        patch.setattr(runner, "observe", ruin)
        run(resumed_config(Path(config2.run_dir), {"epochs": 9}), True, quiet)
    assert error.value.__notes__[0].endswith("last.npz (epoch 4, step 108)")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("piece", [1, 3, 10, 14])
def test_a_signal_is_heard_between_two_pieces_of_an_epoch(
    config: Config, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*given: Any) -> Any:
        for number, seen in enumerate(observe(*given), 1):
            if number == piece:
                os.kill(os.getpid(), signal.SIGTERM)
            yield seen

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=f"go on by --resume {config.run_dir}"):
        patch.setattr(runner, "observe", signalled)
        run(config, say=quiet)
    last = checkpoint.load_newest(
        Path(config.run_dir) / "last.npz",
        {"data": runner.identity(IMAGES), "state": initial_state(plan_for(config, parts_of(config, IMAGES)))},
    )["state"]
    assert last.step == 27 * (piece // 9) + 3 * (piece % 9)  # of 27 steps an epoch, 3 a piece: the step it was at
    assert len(history(config) if (Path(config.run_dir) / "history.jsonl").exists() else []) == piece // 9
    run(resumed_config(Path(config.run_dir), {}), True, quiet)
    whole = evolve(config, run_dir=f"{config.run_dir}-whole")
    run(whole, say=quiet)
    assert same(left(config)[:2], left(whole)[:2]) and left(config)[2] == left(whole)[2]


@pytest.mark.usefixtures("no_figures")
def test_a_long_epoch_is_saved_within(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[int, int]] = []
    real = checkpoint.save

    def save(path: Path, record: dict, *rest: Any) -> Path:
        if path.name == "last.npz":
            saved.append((record["state"].epoch, record["state"].step))
        return real(path, record, *rest)

    monkeypatch.setattr(runner.checkpoint, "save", save)
    run(evolve(config, checkpoint_every=1e-9), say=quiet)
    total = plan_for(config, parts_of(config, IMAGES)).steps_per_epoch(len(parts_of(config, IMAGES).train))
    piece = -(-total // training.PIECES)
    assert [step for epoch, step in saved if epoch == 0] == list(range(piece, total, piece))
    saved.clear()
    run(evolve(config, run_dir=config.run_dir + "2"), say=quiet)
    assert [epoch for epoch, _ in saved] == list(range(1, config.epochs + 1))


@pytest.mark.usefixtures("no_figures")
def test_a_clock_that_goes_backwards_changes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evolve(config, run_dir=config.run_dir + "2")
    run(whole, say=quiet)
    now = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    run(config, say=quiet)
    assert same(left(config)[:2], left(whole)[:2]) and left(config)[2] == left(whole)[2]
    assert all(line["seconds"] >= 0 for line in history(config))


@pytest.mark.usefixtures("no_figures")
def test_tracking_changes_no_bit(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))
    tracked = evolve(config, run_dir=config.run_dir + "2", wandb_mode="offline", epochs=2)
    run(tracked, say=quiet)
    assert list((tmp_path / "wandb").rglob("*.wandb"))
    plain = evolve(config, epochs=2)
    run(plain, say=quiet)
    assert same(left(plain)[:2], left(tracked)[:2]) and left(plain)[2] == left(tracked)[2]
