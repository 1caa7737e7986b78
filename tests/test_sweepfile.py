"""Sweep files: what is accepted, and that each mistake is named with its place and its remedy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fnn.cli import train_parser
from fnn.config import FIELDS, configure
from fnn.errors import UserError
from fnn.recipes import PRESETS
from fnn.samplers import propose
from fnn.sweepfile import config_of, engine, images_of, parse, read
from tests.shell import ROOT

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
GOOD: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {
        "preset": {"value": "assignment"},
        "optimizer": {"values": ["sgd", "adam"]},
        "learning_rate": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return GOOD with another value at a dotted path."""
    content = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    at = content
    for key in parents:
        at = at[key]
    at[last] = value
    return content


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_of_the_project_is_valid(path: Path) -> None:
    sweep = read(path)
    content = yaml.safe_load(path.read_text())
    assert content["program"] == "train.py" and content["metric"] == {"name": "val_accuracy", "goal": "maximize"}
    assert not engine().schema_violations_from_proposed_config({k: v for k, v in content.items() if k != "scheduler"})
    assert set(sweep.parameters) <= {*FIELDS, "preset"}
    assert path.read_text().startswith("# "), "a comment on the strategy"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_train_understands_the_flags_of_wandbs_agent(path: Path) -> None:
    """The agent runs ``train.py --key=value ...``: the same configuration as a trial of ours."""
    settings = propose(read(path), [], 0)
    assert settings is not None
    given = vars(train_parser("train.py").parse_args([f"--{name}={value}" for name, value in settings.items()]))
    assert configure(PRESETS[given.pop("preset", "default")], given) == config_of(settings)


@pytest.mark.parametrize("name", ["random", "bayes", "tpe", "grid"])
def test_the_assignments_space_is_whole(name: str) -> None:
    space = read(ROOT / "sweeps" / f"assignment-{name}.yaml").parameters
    values = {key: spec["values"] for key, spec in space.items() if "values" in spec}
    assert values == {
        "epochs": [5, 10],
        "num_layers": [3, 4, 5],
        "hidden_size": [32, 64, 128],
        "weight_decay": [0, 0.0005, 0.5],
        "learning_rate": [1e-3, 1e-4],
        "optimizer": ["sgd", "momentum", "nag", "rmsprop", "adam", "nadam"],
        "batch_size": [16, 32, 64],
        "weight_init": ["He", "Xavier", "random"],
        "activation": ["sigmoid", "tanh", "ReLU"],
    }


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("paramters", {}, "found 'paramters'; did you mean 'parameters'?"),
        ("parameters.learning_rat", {"value": 1}, "found 'learning_rat'; did you mean 'learning_rate'?"),
        ("parameters.optimizer", {"valeus": ["sgd"]}, "found 'valeus'; did you mean 'values'?"),
        ("parameters.optimizer", {"values": ["sgd", "adm"]}, "parameters.optimizer: --optimizer: expected one of"),
        ("parameters.preset", {"value": "assingment"}, "preset: expected one of default, assignment"),
        ("parameters.preset", {"values": [["default"]]}, "preset: expected one of default, assignment"),
        ("parameters.preset", {"value": "mnist-best"}, "training without images to validate on, found val_acc"),
        ("parameters.batch_size", {"parameters": {"a": {"value": 1}}}, "expected no nested parameters"),
        (
            "parameters.learning_rate",
            {"distribution": "log_uniform_value", "min": 1, "max": 2},
            "'log_uniform_values'?",
        ),
        ("parameters.learning_rate", {"distribution": "log_uniform", "min": -3, "max": -1}, "Use log_uniform_values"),
        (
            "parameters.learning_rate",
            {"min": "1e-4", "max": 0.1},
            "learning_rate.min: expected a number, found the text",
        ),
        ("parameters.learning_rate", {"min": 0.2, "max": 0.1}, "min 0.2 is not less than max 0.1"),
        ("parameters.learning_rate", {"distribution": "normal"}, "may draw -3.09"),
        ("parameters.learning_rate", {"distribution": "uniform"}, "expected min, max, distribution with numbers"),
        ("parameters.num_layers", {"min": 1.0, "max": 3.0}, "expected a whole number"),
        ("parameters.epochs", 5, "parameters.epochs: expected keys with values, found 5"),
        ("parameters.run_dir", {"value": "x"}, "parameters.run_dir: expected a setting of the training"),
        ("parameters.optimizer", {"values": ["sgd"], "probabilities": [0.5]}, "do not sum to 1"),
        ("method", "baves", "method: expected one of grid, random, bayes, custom, found 'baves'"),
        ("method", "grid", "parameters.learning_rate: expected values to make a grid of"),
        ("method", "custom", "scheduler: expected {engine: optuna}"),
        ("metric.name", "accuracy", "did you mean 'val_accuracy'?"),
        ("metric", {"name": "val_accuracy"}, "expected goal: maximize for val_accuracy, found none, which is minimize"),
        ("metric", {"name": "val_loss", "goal": "maximize"}, "expected goal: minimize"),
        (
            "parameters.validation_fraction",
            {"values": [0.1, 0]},
            "training without images to validate on, found val_acc",
        ),
        ("early_terminate", {"type": "hyperband"}, "not valid under any"),
        ("program", "other.py", "program: expected train.py, found 'other.py'"),
        ("run_cap", 0, "run_cap: expected a whole number"),
        ("parameters", {}, "parameters: expected keys with values"),
        ("parameters", {"epochs": {"value": 1}}, "expected at least one that isn't constant"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(changed(path, value))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_constants_are_checked_together() -> None:
    content = changed("parameters.hidden_size", {"value": [8, 8]})
    content["parameters"]["num_layers"] = {"value": 3}
    with pytest.raises(UserError, match="expected one width or 3"):
        parse(content)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "a.yaml"
    broken.write_text("method: [grid\n")
    for path, words in ((broken, "expected YAML"), (tmp_path / "none.yaml", "No such file")):
        with pytest.raises(UserError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_every_distribution_of_wandb_is_read() -> None:
    bounds = {"min": 2, "max": 64}
    for spec in (
        bounds,
        {"distribution": "int_uniform", **bounds},
        {"distribution": "q_uniform", **bounds, "q": 2},
        {"distribution": "q_log_uniform_values", **bounds, "q": 2},
        {"distribution": "q_normal", "mu": 64, "sigma": 8, "q": 1},
        {"distribution": "q_log_normal", "mu": 4, "sigma": 0.1, "q": 1},
        {"values": [2, 4], "probabilities": [0.25, 0.75]},
    ):
        assert "batch_size" in parse(changed("parameters.batch_size", spec)).varying
    for spec in (
        {"distribution": "uniform", "min": 1, "max": 2},
        {"distribution": "inv_log_uniform_values", "min": 0.1, "max": 2},
        {"distribution": "normal", "mu": 5},
        {"distribution": "log_normal"},
        {"distribution": "beta"},
        {"distribution": "q_beta", "q": 0.25},
    ):
        assert "weight_decay" in parse(changed("parameters.weight_decay", spec)).varying


def test_a_preset_is_what_trials_start_from() -> None:
    config = config_of({"preset": "assignment", "hidden_size": "[16, 8]"})
    assert (config.momentum, config.widths) == (0.5, (16, 8))


def test_images_that_are_needed() -> None:
    assert images_of(parse(GOOD)) == (("fashion_mnist", ""),)
    both = changed("parameters.dataset", {"values": ["mnist", "fashion_mnist"]})
    assert images_of(parse(both)) == (("fashion_mnist", ""), ("mnist", ""))


TEXTS = [path.read_bytes() for path in FILES]


@given(
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=3), st.integers(0, 40)), max_size=4),
)
def test_a_damaged_file_is_a_sweep_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    for place, inserted, removed in changes:
        at = place % (len(text) + 1)
        text = text[:at] + inserted + text[at + removed :]
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text)
    try:
        read(path)
    except UserError as error:
        assert "\n" not in str(error)
