"""Runs of the named recipes: which recipe a run is of, how it is made, and how it is recorded.

Each line of results/quality.jsonl is one look at the test images: of one run at its end, or of one ensemble.
"""

from __future__ import annotations

import json
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnn.config import FIELDS, OUTSIDE, Config, configure
from fnn.errors import UserError
from fnn.files import append_line, read_lines
from fnn.recipes import ENSEMBLES, PRESETS
from fnn.rundir import read_config
from reports.speed import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "quality.jsonl"
AGAIN = HERE / "results" / "retrained.jsonl"  # of reports.retrained: looks at the test images, too
TESTED = 10_000  # images, of both data sets
#: The seed of the search's trial by which a recipe was chosen: the luckiest of hundreds, and so no fresh one.
CHOSEN_BY = {"assignment-best": 0}
#: What networks see, where the option's word doesn't say it.
SEES = {"pyramid": "patches at two sizes"}
Row = Mapping[str, Any]


# Of which recipe


def differing(config: Config) -> dict[str, Any]:
    """Return the settings in which a configuration differs from the default, but for the seed.

    >>> differing(Config(flip="yes", seed=3, run_dir="x"))
    {'flip': 'yes'}
    """
    return changed(config, Config())


def nearest(config: Config) -> str:
    """Return the name of the preset that a configuration is the least unlike.

    >>> nearest(configure(PRESETS["assignment"], {"epochs": 2}))
    'assignment'
    """
    return min(PRESETS, key=lambda name: len(changed(config, PRESETS[name])))


def changed(config: Config, base: Config) -> dict[str, Any]:
    """Return the settings in which a configuration differs from another, but for the seed."""
    own, other = config.as_dict(), base.as_dict()
    return {name: own[name] for name in FIELDS if name not in OUTSIDE | {"seed"} and own[name] != other[name]}


def spread(values: Sequence[float]) -> str:
    """Return the mean of accuracies and their standard deviation, in words.

    >>> spread([0.91, 0.92]), spread([0.9]), spread([])
    ('91.50 ± 0.71 %', '90.00 %', '-')
    """
    if len(values) < 2:
        return f"{100 * values[0]:.2f} %" if values else "-"
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f} %"


def command_of(preset: str, config: Config) -> str:
    """Return the command that trains a configuration, by the preset as it is now.

    >>> command_of("default", Config(hidden_size=(64, 32), seed=2))
    'python train.py --preset default --seed 2 --hidden_size 64 32'
    >>> command_of("pixels-taught", configure(PRESETS["pixels-taught"], {"teacher": ""}))
    "python train.py --preset pixels-taught --seed 0 --teacher ''"
    """
    words = (
        f" --{name} {' '.join(map(str, value)) if isinstance(value, list) else shlex.quote(str(value))}"
        for name, value in changed(config, PRESETS[preset]).items()
    )
    return f"python train.py --preset {preset} --seed {config.seed}{''.join(words)}"


def command_now(row: Row) -> str:
    """Return the command of a result, which may be of a preset that has changed since."""
    if row["preset"] not in PRESETS:
        return row["command"]
    return command_of(row["preset"], configure(Config(), {**row["settings"], "seed": row["seed"]}))


def command_of_all(own: Sequence[Row]) -> str:
    """Return the command of a recipe's runs, without a seed where there are several.

    >>> command_of_all([{"command": "python train.py --seed 0"}, {"command": "python train.py --seed 1"}])
    'python train.py'
    """
    command = own[-1]["command"]
    return re.sub(r" --seed \d+", "", command) if len(own) > 1 else command


def named(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the results of a preset as it is now, or of an ensemble of such, a row for each fresh seed."""
    wanted = differing(PRESETS[name]) if name in PRESETS else members_of(name)
    own = (row for row in rows if row["preset"] == name and row["settings"] == wanted)
    return [row for row in own if row["seed"] is None or row["seed"] != CHOSEN_BY.get(name)]


def preset_of(name: str) -> Config:
    """Return the configuration of a recipe, of an ensemble that of its first member."""
    return members(name)[0]


def members(name: str) -> list[Config]:
    """Return the configurations of a recipe's networks, one for each preset."""
    return [PRESETS[preset] for preset in ENSEMBLES.get(name, {name: 1})]


def sees(name: str) -> str:
    """Return what of an image the networks of a recipe see.

    >>> sees("default"), sees("frontier")
    ('pixels', 'patches and gradients')
    """
    return " and ".join(dict.fromkeys(map(_sees, members(name))))


def _sees(config: Config) -> str:
    words = SEES.get(config.features, config.features)
    return f"{words}, taught by {teacher_of(config)}" if config.teacher else words


def teacher_of(config: Config) -> str:
    """Return the preset that teaches a recipe: what the directory of its model is called, but for the seed."""
    return Path(config.teacher).parent.name.removesuffix("-{seed}")


def from_pixels(name: str) -> bool:
    """Tell whether the networks of a recipe see the pixels alone, whatever their teachers see.

    >>> from_pixels("pixels-ensemble"), from_pixels("frontier")
    (True, False)
    """
    return all(config.features == "pixels" for config in members(name))


def members_of(name: str) -> dict[str, Any]:
    """Return what an ensemble is made of, as its row has it: the settings and the number of each preset."""
    return {preset: [count, differing(PRESETS[preset])] for preset, count in ENSEMBLES[name].items()}


def known(rows: Iterable[Row], key: str) -> list[float]:
    """Return what is known of some results under a key."""
    return [row[key] for row in rows if row[key] is not None]


# Making and recording


def recorded() -> list[dict[str, Any]]:
    return read_lines(RESULTS) if RESULTS.exists() else []


def revision() -> str:
    """Return the commit of the code that is at work, with a + if the code differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(git("status", "--porcelain", "fnn"))


def row_of(directory: Path, commit: str, preset: str = "") -> dict[str, Any]:
    """Return what is recorded of the finished run in a directory, whose preset is the nearest, if not said."""
    config = read_config(directory)
    path = directory / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise UserError(f"--take: expected a finished run, found no readable {path}") from None
    preset = preset or nearest(config)
    return {
        "preset": preset,
        "seed": config.seed,
        "settings": differing(config),
        "validation": summary["best_val_accuracy"],
        "test": summary["test_accuracy"],
        "seconds": round(seconds_of(directory, config), 1),
        "threads": summary["threads"],
        "parameters": summary["parameters"],
        "machine": machine(),
        "commit": commit,
        "date": datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M"),
        "command": command_of(preset, config),
    }


def seconds_of(directory: Path, config: Config) -> float:
    """Return the seconds of a run's median epoch times their number, a teacher's on top: a pause is no training."""
    path = directory / "history.jsonl"
    if not path.exists():
        raise UserError(f"--take: expected the history of the run and of its teacher's, found none in {directory}")
    epochs = [report["seconds"] for report in read_lines(path)]
    home = config.teacher_path and config.teacher_path.parent
    return statistics.median(epochs) * len(epochs) + (seconds_of(home, read_config(home)) if home else 0)


def record(row: Row) -> None:
    """Append a result, unless it is recorded already."""
    if not any(same_run(row, other) for other in recorded()):
        append_line(RESULTS, row)
        print(f"{row['command']}: validation {row['validation'] or '-'}, test {row['test']}", flush=True)


def same_run(a: Row, b: Row) -> bool:
    return all(a[key] == b[key] for key in ("preset", "seed", "settings"))


def run(preset: str, seed: int, changes: Mapping[str, Any], directory: Path, threads: str) -> None:
    """Train a preset with changes as everybody does, or go on with it, and record the result, unless it is there."""
    config = configure(PRESETS[preset], {**changes, "seed": seed})
    done = {"preset": preset, "seed": seed, "settings": differing(config)}
    if any(same_run(done, row) for row in recorded()):
        return
    words = (f"{name}-{value}".replace("/", "-") for name, value in changes.items())
    where = directory / "-".join([preset, *words, str(seed)])
    train(preset, seed, changes, where, threads)
    record(row_of(where, revision(), preset))


def train(preset: str, seed: int, changes: Mapping[str, Any], where: Path, threads: str) -> None:
    """Train a preset with changes in a directory as everybody does, or go on with it; nothing if it is finished.

    Its teacher is trained before, or gone on with.
    """
    if not (where / "summary.json").exists():
        _teach(configure(PRESETS[preset], {**changes, "seed": seed}), where.parent, threads)
        options = ["--resume", str(where)]
        if not (where / "config.json").exists():
            options = ["--preset", preset, "--seed", str(seed), "--run_dir", str(where), "--threads", threads]
            options += ["--wandb_mode", "disabled"]
            options += [text for name, value in changes.items() for text in (f"--{name}", str(value))]
        subprocess.run([sys.executable, str(ROOT / "train.py"), *options], check=True)


def _teach(config: Config, directory: Path, threads: str) -> None:
    """Train the teacher of a recipe, the preset that its directory is called after, if it isn't finished.

    It is a run beside the others in ``directory``, and a link leads there from where the recipe looks for it.
    """
    path = config.teacher_path
    if path is None:
        return
    home, name = path.parent, teacher_of(config)
    if not home.exists():
        own = directory / f"{name}-{config.seed}"
        for made in (own, home.parent):
            made.mkdir(parents=True, exist_ok=True)
        home.symlink_to(own.resolve())
    if not path.exists() or (home / "config.json").exists():  # else it came from elsewhere
        train(name, config.seed, {}, home, threads)


def ensemble(name: str, directory: Path) -> Row:
    """Make one model of the members' runs, evaluate it, and return what is recorded of it."""
    where = [directory / f"{preset}-{seed}" for preset, count in ENSEMBLES[name].items() for seed in range(count)]
    models, out = [str(path / "best.npz") for path in where], directory / f"{name}.npz"
    own = [row_of(path, "") for path in where]
    fnn = [sys.executable, "-m", "fnn"]
    subprocess.run([*fnn, "ensemble", str(out), *models], check=True)
    told = subprocess.run([*fnn, "evaluate", str(out)], check=True, capture_output=True, text=True).stdout
    return {
        "preset": name,
        "seed": None,
        "settings": members_of(name),
        "validation": None,
        "test": accuracy_in(told),
        "seconds": round(sum(row["seconds"] for row in own), 1),
        "threads": own[0]["threads"],
        "parameters": sum(row["parameters"] for row in own),
        "machine": machine(),
        "commit": revision(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "command": f"python -m fnn ensemble {out.name} {' '.join(f'{path.name}/best.npz' for path in where)}",
    }


def accuracy_in(text: str) -> float:
    """Return the accuracy that ``python -m fnn evaluate`` tells: exact, since it is of 10,000 images.

    >>> accuracy_in("fashion_mnist, test: 10,000 images, loss 0.2500, accuracy 92.31%")
    0.9231
    """
    (percent,) = re.findall(r"accuracy ([\d.]+)%", text)
    return round(float(percent) / 100, 6)
