"""The record of the recipes: what is made of its rows, and that the page says what they say."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fnn.config import Config, configure
from fnn.errors import UserError
from fnn.recipes import ENSEMBLES, PRESETS
from reports import quality, recipes
from reports.quality import README, ablation, ingredients, log, off, others, points, rewritten, section, small, table
from reports.recipes import differing, members_of, named, nearest, row_of, same_run
from tests.shell import DATA


def row(preset: str, seed: int | None, test: float, validation: float | None = None, **changes: Any) -> dict[str, Any]:
    config = configure(PRESETS[preset], changes) if preset in PRESETS else None
    return {
        "preset": preset,
        "seed": seed,
        "settings": differing(config) if config else members_of(preset),
        "validation": validation,
        "test": test,
        "seconds": 60.0 + (seed or 0),
        "threads": 1,
        "parameters": 9,
        "machine": "a machine",
        "commit": "abc",
        "date": f"2026-11-2{seed or 0} 10:00",
        "command": "python train.py",
    }


@pytest.mark.parametrize("module", [quality, recipes])
def test_the_examples_of_docstrings_are_true(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", PRESETS)
def test_the_settings_of_a_preset_bring_it_back_whatever_the_seed(name: str) -> None:
    config = configure(PRESETS[name], {"seed": 5, "threads": 2})
    assert configure(Config(), differing(config)) == configure(PRESETS[name], {"wandb_project": "fnn"})
    assert nearest(config) == name == nearest(configure(config, {"epochs": 77}))


def test_the_table_has_the_current_recipes_only() -> None:
    rows = [row("default", 0, 0.90, 0.92), row("default", 1, 0.91, 0.93), row("default", 2, 0.1, 0.1, epochs=2)]
    rows += [row("pixels-best", 0, 0.92), row("pixels-ensemble", None, 0.93)]
    lines = {line.split("`")[1]: line for line in table(rows).splitlines()[2:]}
    assert lines.keys() == {*PRESETS, *ENSEMBLES}
    assert lines["default"] == "| `default` | 2 | 92.50 ± 0.71 % | 90.50 ± 0.71 % | 89.91 - 91.06 % | 60 |"
    assert lines["pixels-best"].startswith("| `pixels-best` | 1 | - | 92.00 % |")
    assert lines["mnist-1"] == "| `mnist-1` | 0 | - | - | - | - |"
    assert named([row("assignment-best", 0, 0.9), rows[0]], "assignment-best") == [], "the trial that chose it"
    stale = row("pixels-ensemble", None, 0.5) | {"settings": {"pixels-best": [2, {}]}}
    assert named([*rows, stale], "pixels-ensemble") == [rows[-1]]
    shown = points(rows)["fashion_mnist"]
    assert [(name, round(mean, 4)) for name, _, mean, _ in shown] == [
        ("default", 0.905),
        ("pixels-best", 0.92),
        ("pixels-ensemble", 0.93),
    ]


def test_an_ingredient_is_worth_what_is_lost_without_it_seed_by_seed() -> None:
    whole = {name: getattr(small("mnist-best"), name) for name in ("hidden_size", "epochs", "validation_fraction")}
    rows = [row("mnist-best", seed, 0.5, value, **whole) for seed, value in ((0, 0.90), (1, 0.92))]
    rows += [row("mnist-best", seed, 0.5, value, **whole, shear=0) for seed, value in ((0, 0.89), (1, 0.90), (2, 0.1))]
    rows += [row("mnist-best", 0, 0.5, 0.91, **whole, elastic=0)]
    lines = ablation(rows, "mnist-best").splitlines()[2:]
    assert lines == [
        "| nothing | 2 | 91.00 ± 1.41 % | |",
        "| `shear` | 2 | 89.50 ± 0.71 % | -1.50 ± 0.71 |",
        "| `elastic` | 1 | 91.00 % | +1.00 |",
    ]


def test_what_is_no_recipe_is_told_by_its_command() -> None:
    rows = [row("default", 0, 0.9, 0.92), row("pixels-ensemble", None, 0.93)]
    rows += [row("default", seed, 0.9, 0.9 + seed / 100, epochs=2) for seed in (0, 1)]
    assert others(rows).splitlines()[2:] == ["| `python train.py --preset default --epochs 2` | 2 | 90.50 ± 0.71 % |"]
    before = row("features-quick", 0, 0.93, 0.94) | {"settings": differing(Config(features="gradients"))}
    assert "--preset features-quick --seed 0 --validation_fraction 0.1 --hidden_size 1024 --epochs" in log([before]), (
        "as it was, by what is now"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_switched_off_was_on_and_leaves_the_rest(name: str) -> None:
    for one in ingredients(name):
        changed = configure(small(name), off(name, one))
        back = {each: getattr(small(name), each) for each in off(name, one)}
        assert changed != small(name) and configure(changed, back) == small(name)


def test_a_run_is_recorded_with_the_command_that_makes_it_again(tmp_path: Path) -> None:
    config = configure(PRESETS["mnist-1"], {"seed": 2, "hidden_size": "64 32", "run_dir": str(tmp_path)})
    (tmp_path / "config.json").write_text(json.dumps(config.as_dict()))
    with pytest.raises(UserError, match="expected a finished run"):
        row_of(tmp_path, "abc")
    (tmp_path / "history.jsonl").write_text("".join(f'{{"seconds": {seconds}}}\n' for seconds in (1.0, 1.07, 60)))
    summary = {"best_val_accuracy": None, "test_accuracy": 0.97, "seconds": 62.07, "threads": 1, "parameters": 8}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    found = row_of(tmp_path, "abc")
    assert (found["validation"], found["test"], found["seconds"], found["seed"]) == (None, 0.97, 3.2, 2)
    assert found["command"] == "python train.py --preset mnist-1 --seed 2 --hidden_size 64 32"
    assert configure(Config(), {**found["settings"], "seed": 2, "run_dir": str(tmp_path)}) == config
    assert same_run(found, found | {"date": "later"}) and not same_run(found, found | {"seed": 3})


def test_the_page_says_what_was_recorded() -> None:
    rows, text = recipes.recorded(), README.read_text()
    assert rewritten(text, section(rows)) == text, "run python -m reports.quality"
    assert quality.PAGE.read_text() == quality.page(rows), "run python -m reports.quality"


def test_no_look_at_the_test_images_is_recorded_twice() -> None:
    rows = recipes.recorded()
    assert not any(same_run(a, b) for at, a in enumerate(rows) for b in rows[:at])
    assert all(0 < one["test"] < 1 and one["commit"] and one["date"] for one in rows)


def test_what_is_missing_is_run_resumed_or_only_recorded_and_ensembles_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FNN_DATA_DIR": str(DATA), "OPENBLAS_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recipes, "RESULTS", tmp_path / "quality.jsonl")
    monkeypatch.setattr(recipes, "ENSEMBLES", {"pair": {"assignment": 2}})
    for seed in (0, 1):
        recipes.run("assignment", seed, {}, tmp_path, "1")
    first, second = recipes.recorded()
    assert (first["preset"], first["seed"], second["seed"]) == ("assignment", 0, 1)
    (tmp_path / "assignment-1" / "summary.json").unlink()
    recipes.RESULTS.unlink()
    for _ in range(2):
        recipes.run("assignment", 1, {}, tmp_path, "1")  # resumed at its end, then known
        recipes.run("assignment", 0, {}, tmp_path, "1")  # there already
    again = recipes.recorded()
    assert [(row["seed"], row["test"]) for row in again] == [(1, second["test"]), (0, first["test"])]
    both = recipes.ensemble("pair", tmp_path)
    assert both["preset"] == "pair" and both["parameters"] == 2 * first["parameters"]
    assert both["settings"] == {"assignment": [2, first["settings"]]}
    assert both["test"] * 200 == pytest.approx(round(both["test"] * 200)) and both["command"].startswith(
        "python -m fnn"
    )


def test_a_teacher_is_trained_before_its_pupil_or_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    home, runs = tmp_path / "runs" / "mnist-1-2", tmp_path / "all"
    pupil = configure(PRESETS["default"], {"teacher": str(tmp_path / "runs" / "mnist-1-{seed}" / "best.npz")})
    monkeypatch.setattr(recipes, "PRESETS", {**PRESETS, "pupil": pupil})
    monkeypatch.setattr(recipes.subprocess, "run", lambda command, **_: asked.append(command[2:]))

    def train() -> list[list[str]]:
        asked.clear()
        recipes.train("pupil", 2, {}, runs / "pupil-2", "1")
        return list(asked)

    rest = ["--threads", "1", "--wandb_mode", "disabled"]
    first = ["--preset", "mnist-1", "--seed", "2", "--run_dir", str(home), *rest]
    second = ["--preset", "pupil", "--seed", "2", "--run_dir", str(runs / "pupil-2"), *rest]
    assert train() == [first, second] and home.resolve() == (runs / "mnist-1-2").resolve()
    (home / "best.npz").touch()
    assert train() == [second]  # a model from elsewhere
    (home / "config.json").touch()
    assert train() == [["--resume", str(home)], second]  # a run that was interrupted
    (home / "summary.json").touch()
    assert train() == [second]
    (runs / "pupil-2").mkdir()
    (runs / "pupil-2" / "summary.json").touch()
    assert train() == []
    assert recipes.sees("pupil") == "pixels, taught by mnist-1" and recipes.from_pixels("pupil")
