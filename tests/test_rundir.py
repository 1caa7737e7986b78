"""The directory of a run: whose it is, and what is read back from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import asdict

from fnn import checkpoint
from fnn.arrays import same
from fnn.config import Config, spec_of
from fnn.errors import UserError
from fnn.experiment import Report
from fnn.files import append_line
from fnn.naming import name_of
from fnn.network import init_params
from fnn.rundir import (
    Model,
    best_model,
    claimed,
    load_model,
    read_config,
    read_reports,
    resumed_config,
    save_model,
    write_json,
)

CONFIG = Config(hidden_size=(5, 4), epochs=4)
SPEC = spec_of(CONFIG, 784, 2)


def model(seed: int) -> Model:
    return Model(SPEC, init_params(SPEC, seed), CONFIG, ("a", "b"))


def report(epoch: int) -> Report:
    names = ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
    return Report(epoch=epoch, **dict.fromkeys(names, 1))  # type: ignore[arg-type]


def test_directories_without_a_name_are_the_first_free_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ending in ("", "-2", "-3"):
        with claimed(CONFIG, resume=False) as directory:
            assert directory == Path("runs") / f"{name_of(CONFIG)}{ending}" and directory.is_dir()


def test_a_directory_belongs_to_one_run(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path / "a" / "b"))
    with claimed(config, resume=False) as directory:
        for resume in (False, True):
            with (
                pytest.raises(UserError, match="--run_dir: expected a directory of its own, found a run at work"),
                claimed(config, resume),
            ):
                pass
        (directory / "config.json").touch()
    with pytest.raises(UserError, match=r"expected a directory without a run.*go on with it by --resume"):
        claimed(config, resume=False).__enter__()
    with claimed(config, resume=True) as again:
        assert again == directory


@pytest.mark.parametrize("where", ["file", "file/below", "/sys/fnn", "/sys"])
def test_where_nothing_can_be_written_is_no_directory_for_a_run(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--run_dir: expected a directory to write to, found "):
        claimed(Config(run_dir=str(tmp_path / where)), resume=False).__enter__()


def test_what_may_change_when_a_run_is_resumed(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", CONFIG.as_dict())
    assert read_config(tmp_path) == CONFIG
    new = resumed_config(tmp_path, {"epochs": "9", "patience": 2, "threads": 1, "hidden_size": "5 4", "seed": "0"})
    assert (new.epochs, new.patience, new.threads, new.run_dir) == (9, 2, 1, str(tmp_path))
    changes = {
        "seed": 1,
        "dataset": "mnist",
        "hidden_size": "5 5",
        "activation": "tanh",
        "learning_rate": 1,
        "batch_size": 9,
        "validation_fraction": 0.2,
        "dtype": "float64",
        "optimizer": "sgd",
        "schedule": "step",
    }
    for name, value in changes.items():
        with pytest.raises(UserError, match=f"^--{name}: expected .* as in the run that is resumed, found "):
            resumed_config(tmp_path, {name: value})
    with pytest.raises(UserError, match="--epochs: expected at least 4"):
        resumed_config(tmp_path, {"epochs": 3})
    with pytest.raises(UserError, match="--hidden_size: expected"):
        resumed_config(tmp_path, {"num_layers": 2})  # which implies that all are as wide as the first


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"3", b'{"sed": 1}', b'{"seed": -1}', b"\xff", b'{"hidden_size": {}}']
)
def test_a_damaged_config_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_config(tmp_path)
    assert "config.json" in str(error.value) and "\n" not in str(error.value)


def test_reports_are_read_up_to_an_epoch_and_the_rest_is_cut(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        append_line(tmp_path / "history.jsonl", asdict(report(epoch)))
    assert read_reports(tmp_path, 2) == (report(1), report(2))
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
    with pytest.raises(UserError, match=r"expected epochs 1 to 3, as last.npz has it, found 2"):
        read_reports(tmp_path, 3)
    assert read_reports(tmp_path / "empty", 0) == ()
    append_line(tmp_path / "history.jsonl", {"epoch": 3})
    with pytest.raises(UserError, match=r"history.jsonl: expected epoch, step, train_loss"):
        read_reports(tmp_path, 3)


def test_a_model_comes_back_with_all_that_it_takes(tmp_path: Path) -> None:
    save_model(tmp_path / "best.npz", model(3), asdict(report(1)))
    back = load_model(tmp_path / "best.npz")
    assert same(back.params, model(3).params) and back.spec == SPEC
    assert (back.config, back.class_names) == (CONFIG, ("a", "b"))


def test_the_best_model_of_an_epoch_that_is_to_come_again_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "best.npz"
    for epoch in (2, 5):
        save_model(path, model(epoch), asdict(report(epoch)))
    assert same(best_model(path, 5).params, model(5).params)
    assert same(best_model(path, 2).params, model(2).params)
    assert same(load_model(path).params, model(2).params)
    save_model(path, model(5), asdict(report(5)))  # the second time: killed here, it is taken back again
    assert same(best_model(path, 2).params, model(2).params)


def die_in_each_call(path: Path) -> int:
    """Save a model in a child that dies at its first call, its second, ...; return the number of calls."""
    for number in range(100):
        for left in path.parent.iterdir():
            left.unlink()
        for epoch in (1, 2):
            save_model(path, model(epoch), asdict(report(epoch)))
        if not (child := os.fork()):
            calls = iter(range(100))
            watched = ("open", "os.rename", "os.link", "os.remove")
            sys.addaudithook(lambda event, _: os._exit(9) if event in watched and next(calls) == number else None)  # noqa: B023
            save_model(path, model(5), asdict(report(5)))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert same(best_model(path, 2).params, model(2).params), f"killed at call {number}"
        assert same(load_model(path).params, model(2).params)
        save_model(path, model(5), asdict(report(5)))
        assert sorted(os.listdir(path.parent)) == ["best.npz", "best.npz.previous"]
        if code == 0:
            return number
    raise AssertionError("a save has more than 100 calls")


def test_a_kill_at_any_call_of_a_save_leaves_the_model_that_the_state_wants(tmp_path: Path) -> None:
    """In a process of its own: others may have threads, which a fork leaves behind."""
    code = f"import tests.test_rundir as t; print(t.die_in_each_call(t.Path({str(tmp_path / 'best.npz')!r})))"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8


def test_no_other_model_passes_for_the_best_and_a_damaged_one_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "best.npz"
    with pytest.raises(UserError, match="expected the model of epoch 2"):
        best_model(path, 2)
    for epoch in (2, 5):
        save_model(path, model(epoch), asdict(report(epoch)))
    with pytest.raises(UserError, match=r"expected the model of epoch 3, the best .* train anew"):
        best_model(path, 3)
    save_model(path, model(7), asdict(report(7)), displace=False)
    assert same(best_model(path, 7).params, model(7).params), "beside the one that was to be kept"
    whole = path.read_bytes()
    for damaged in (whole[:-2000], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]):
        path.write_bytes(damaged)
        assert same(load_model(path).params, model(2).params), "the one before, with a warning"
        with pytest.raises(UserError, match="expected the model of epoch 7"):
            best_model(path, 7)
    assert same(best_model(path, 2).params, model(2).params)
    assert same(load_model(path).params, model(2).params), "the damaged one has been replaced"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"config": {}, "features": "784", "class_names": []},
        {"config": {"sizes": 3}, "features": 784, "class_names": ["a", "b"]},
        {"config": [], "features": 784, "class_names": ["a", "b"]},
        {"config": CONFIG.as_dict(), "features": 783, "class_names": ["a", "b"]},
        {"config": CONFIG.as_dict(), "features": 784, "class_names": ["a"]},
        {"config": CONFIG.as_dict(), "features": -784, "class_names": ["a", "b"]},
        {"config": CONFIG.as_dict(), "features": 10**12, "class_names": ["a", "b"]},
        {"config": CONFIG.as_dict() | {"hidden_size": 10**9}, "features": 784, "class_names": ["a", "b"]},
    ],
)
def test_a_checkpoint_of_something_else_is_one_line(tmp_path: Path, metadata: dict) -> None:
    path = checkpoint.save(tmp_path / "best.npz", model(0).params, metadata)
    with pytest.raises(UserError) as error:
        load_model(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_json_files_are_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": (1, 2)})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": None, "b": [1, 2]} and text.count("\n") == 7
