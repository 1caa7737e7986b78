"""What each named recipe reaches, and what of it counts: ``python -m reports.quality``.

It draws the table of README.md, reports/quality.md and the figure from the recorded results. ``--run`` trains the
presets whose results are missing, by the command that everybody runs, and goes on with what was interrupted;
``--ablate`` trains a small copy of a recipe without each of its ingredients; ``--take`` records runs made elsewhere.

Each line of results/quality.jsonl is one look at the test images: of one run at its end, or of one ensemble.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnn.cli import guarded
from fnn.config import FIELDS, OUTSIDE, Config, configure
from fnn.errors import UserError
from fnn.figures import save
from fnn.files import append_line, read_lines, write_atomically
from fnn.recipes import ENSEMBLES, PRESETS
from fnn.rundir import read_config
from reports.intervals import wilson
from reports.speed import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS, FIGURE, PAGE = HERE / "results" / "quality.jsonl", HERE / "figures" / "quality.png", HERE / "quality.md"
AGAIN = HERE / "results" / "retrained.jsonl"  # of reports.retrained: looks at the test images, too
README = ROOT / "README.md"
MARKS = "<!-- quality: begin, by python -m reports.quality -->\n", "<!-- quality: end -->\n"
TESTED = 10_000  # images, of both data sets
SHOWN = 0.1  # below the best accuracy, at most, is what figures show
SMALL = {"hidden_size": 256, "epochs": 15, "validation_fraction": 0.1}  # what a recipe is taken apart at
#: What is off of a recipe to find out what it's worth, where it is on.
OFF: Mapping[str, Any] = {
    "flip": "no",
    "shift": 0,
    "rotation": 0,
    "scaling": 0,
    "shear": 0,
    "elastic": 0,
    "mixup": 0,
    "dropout": 0,
    "label_smoothing": 0,
    "decoupled_weight_decay": 0,
    "schedule": "constant",
    "features": "pixels",
}
#: Recipes whose names stand left of their points, since others lie to the right.
LEFT = ("default", "features-best", "mnist-best", "mnist-features", "mnist-3")
Row = Mapping[str, Any]


# What the results come to: pure functions of the rows


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
    """
    words = (
        f" --{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in changed(config, PRESETS[preset]).items()
    )
    return f"python train.py --preset {preset} --seed {config.seed}{''.join(words)}"


def command_now(row: Row) -> str:
    """Return the command of a result, which may be of a preset that has changed since."""
    if row["preset"] not in PRESETS:
        return row["command"]
    return command_of(row["preset"], configure(Config(), {**row["settings"], "seed": row["seed"]}))


def named(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the results of a preset as it is now, or of an ensemble of such, a row for each seed."""
    wanted = differing(PRESETS[name]) if name in PRESETS else members_of(name)
    return [row for row in rows if row["preset"] == name and row["settings"] == wanted]


def preset_of(name: str) -> Config:
    """Return the configuration of a recipe, of an ensemble that of its first member."""
    return PRESETS[name if name in PRESETS else next(iter(ENSEMBLES[name]))]


def sees(name: str) -> str:
    """Return what of an image the networks of a recipe see.

    >>> sees("default"), sees("frontier")
    ('pixels', 'patches and gradients')
    """
    members = ENSEMBLES.get(name, {name: 1})
    return " and ".join(dict.fromkeys(PRESETS[preset].features for preset in members))


def worth_drawing(means: Mapping[str, float]) -> list[str]:
    """Return which recipes' mean accuracies a figure shows: what lies far below the best would press all others flat.

    >>> worth_drawing({"a": 0.71, "b": 0.88, "c": 0.94})
    ['b', 'c']
    """
    return [name for name, mean in means.items() if mean > max(means.values()) - SHOWN]


def members_of(name: str) -> dict[str, Any]:
    """Return what an ensemble is made of, as its row has it: the settings and the number of each preset."""
    return {preset: [count, differing(PRESETS[preset])] for preset, count in ENSEMBLES[name].items()}


def known(rows: Iterable[Row], key: str) -> list[float]:
    """Return what is known of some results under a key."""
    return [row[key] for row in rows if row[key] is not None]


def table(rows: Sequence[Row]) -> str:
    """Return a row for each preset and ensemble: its accuracies over the seeds and what they cost."""
    lines = [
        "| recipe | seeds | validation | test | 95 % interval of one | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name in (*PRESETS, *ENSEMBLES):
        own = named(rows, name)
        test = known(own, "test")
        _, low, high = wilson(round(statistics.mean(test) * TESTED), TESTED) if test else (0, 0, 0)
        interval = f"{100 * low:.2f} - {100 * high:.2f} %" if test else "-"
        seconds = f"{statistics.median(known(own, 'seconds')):,.0f}" if own else "-"
        cells = [f"`{name}`", str(len(own)), spread(known(own, "validation")), spread(test), interval, seconds]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def without(rows: Iterable[Row], preset: str) -> dict[str, list[Row]]:
    """Return the results of the small copy of a preset, whole ("") and without each of its ingredients."""
    configs = {"": small(preset)} | {name: configure(small(preset), {name: OFF[name]}) for name in ingredients(preset)}
    rows = list(rows)
    return {
        name: [row for row in rows if row["settings"] == differing(config) and row["preset"] == preset]
        for name, config in configs.items()
    }


def small(preset: str) -> Config:
    return configure(PRESETS[preset], SMALL)


def ingredients(preset: str) -> list[str]:
    """Return what of a preset can be switched off."""
    return [name for name, off in OFF.items() if getattr(PRESETS[preset], name) != off]


def ablation(rows: Sequence[Row], preset: str) -> str:
    """Return a table of what the validation accuracy loses without each ingredient, seed by seed, the worst loss first.

    Seeds are paired: they share the split, the initial weights and the order of the images.
    """
    found = without(rows, preset)
    whole = {row["seed"]: row["validation"] for row in found.pop("")}
    lines = ["| without | seeds | validation | difference in points |", "|---|---|---|---|"]
    lines.append(f"| nothing | {len(whole)} | {spread(list(whole.values()))} | |")
    pairs = {
        name: [(row["validation"], whole[row["seed"]]) for row in own if row["seed"] in whole]
        for name, own in found.items()
    }
    losses = {name: [100 * (a - b) for a, b in both] for name, both in pairs.items() if both}
    for name, points in sorted(losses.items(), key=lambda item: statistics.mean(item[1])):
        sd = f" ± {statistics.stdev(points):.2f}" if len(points) > 1 else ""
        cells = [
            f"`{name}`",
            str(len(points)),
            spread([a for a, _ in pairs[name]]),
            f"{statistics.mean(points):+.2f}{sd}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def others(rows: Sequence[Row]) -> str:
    """Return a table of the validation accuracy of what is neither a recipe nor a part of one taken apart."""
    shown = [row for name in (*PRESETS, *ENSEMBLES) for row in named(rows, name)]
    shown += [row for name in PRESETS for own in without(rows, name).values() for row in own]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["validation"] is not None and not any(row is other for other in shown):
            groups.setdefault(re.sub(r" --seed \d+", "", command_now(row)), []).append(row)
    cells = ((f"`{command}`", str(len(own)), spread(known(own, "validation"))) for command, own in groups.items())
    return "\n".join(
        ["| command | seeds | validation |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in cells)]
    )


def log(rows: Iterable[Row]) -> str:
    """Return every look at the test images in the order of time."""
    lines = ["| date | recipe | seed | commit | test | command |", "|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["date"]):
        seed = "" if row["seed"] is None else row["seed"]
        cells = [row["date"], row["preset"], seed, row["commit"], f"{row['test']:.2%}", f"`{command_now(row)}`"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def section(rows: Sequence[Row]) -> str:
    """Return the generated part of README.md."""
    machines = ", ".join(dict.fromkeys(row["machine"] for row in rows))
    threads = ", ".join(dict.fromkeys(str(row["threads"]) for row in rows if row["threads"]))
    about = (
        f"`python -m reports.quality --run`, {machines}; threads of a run: {threads}. Each recipe is `python train.py "
        "--preset NAME --seed N`, seeds from 0 on: mean ± standard deviation of the best epoch's validation and of the "
        "one look at the test images; Wilson's interval of one network whose test accuracy is that mean; the median of "
        "the seconds of training, which are the median epoch's times their number. Without a validation figure a "
        "recipe is trained on all training images, and its last epoch is tested. An ensemble is the mean of its "
        "members' probabilities."
    )
    return f"{about}\n\n{table(rows)}\n\n![Test accuracy against seconds of training](reports/figures/quality.png)"


def page(rows: Sequence[Row]) -> str:
    """Return reports/quality.md."""
    parts = ["# What of a recipe counts, and every look at the test images", "Written by `python -m reports.quality`."]
    for preset in (name for name in PRESETS if without(rows, name)[""]):
        changes = " ".join(f"--{name} {value}" for name, value in SMALL.items())
        parts += [
            f"## {preset}, taken apart",
            f"`python -m reports.quality --ablate {preset}`: `--preset {preset} {changes}`, one ingredient off at a "
            "time, seeds paired. In so short a training of so small a network what slows learning costs more, and what "
            "keeps from learning by heart brings less, than in the recipe itself.",
            ablation(rows, preset),
        ]
    again = read_lines(AGAIN) if AGAIN.exists() else []
    return "\n\n".join([*parts, "## Other runs", others(rows), "## The test images", log([*rows, *again])]) + "\n"


def rewritten(text: str, content: str) -> str:
    """Return a text with the part between MARKS replaced."""
    head, rest = text.split(MARKS[0])
    return head + MARKS[0] + content + "\n" + MARKS[1] + rest.split(MARKS[1])[1]


def points(rows: Sequence[Row]) -> dict[str, list[tuple[str, float, float, float]]]:
    """Return by data set each recipe's median seconds, mean test accuracy and its standard deviation."""
    found: dict[str, list[tuple[str, float, float, float]]] = {}
    for name in (*PRESETS, *ENSEMBLES):
        own = named(rows, name)
        if own:
            test = known(own, "test")
            sd = statistics.stdev(test) if len(test) > 1 else 0.0
            at = (name, statistics.median(known(own, "seconds")), statistics.mean(test), sd)
            found.setdefault(preset_of(name).dataset, []).append(at)
    for dataset, own in found.items():
        shown = worth_drawing({name: mean for name, _, mean, _ in own})
        found[dataset] = [point for point in own if point[0] in shown]
    return found


def figure_of(rows: Sequence[Row]) -> Any:
    """Return a figure: test accuracy against the seconds of training, a panel for each data set."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter

    from fnn.figures import DPI, FAINT, INK, LINE, PAPER, RIGHT, WRONG

    found = points(rows)
    figure = Figure(figsize=(11, 4.6), dpi=DPI, facecolor=PAPER, layout="constrained")
    for axes, (dataset, own) in zip(
        figure.subplots(1, max(1, len(found)), squeeze=False)[0], found.items(), strict=False
    ):
        axes.set_title(f"{dataset}: test accuracy by seconds of training", loc="left", color=INK, fontsize=13)
        axes.set_xlabel("seconds; bars: standard deviation over seeds", color=FAINT)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(colors=FAINT, length=0)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.margins(x=0.22, y=0.12)
        for name, seconds, mean, sd in own:
            colour = RIGHT if sees(name) == "pixels" else WRONG[0]
            axes.errorbar(seconds, mean, sd, fmt="o", color=colour, markersize=6, capsize=3)
            aside = {"xytext": (-7, 0), "ha": "right"} if name in LEFT else {"xytext": (7, 0), "ha": "left"}
            at = (seconds, mean)
            axes.annotate(name, at, textcoords="offset points", va="center", color=INK, fontsize=9, **aside)
    if found:
        handles = [figure.axes[0].plot([], [], "o", color=colour)[0] for colour in (RIGHT, WRONG[0])]
        figure.axes[0].legend(
            handles, ["from pixels", "from fixed features"], edgecolor="none", labelcolor=INK, loc="lower right"
        )
    return figure


# Making and recording results


def recorded() -> list[dict[str, Any]]:
    return read_lines(RESULTS) if RESULTS.exists() else []


def revision() -> str:
    """Return the commit of the code that is at work, with a + if the code differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(git("status", "--porcelain", "fnn"))


def row_of(directory: Path, commit: str, preset: str = "") -> dict[str, Any]:
    """Return what is recorded of the finished run in a directory, whose preset is the nearest, if not said.

    Its seconds are those of the median epoch times their number: a pause of the machine is no training.
    """
    config = read_config(directory)
    path = directory / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise UserError(f"--take: expected a finished run, found no readable {path}") from None
    epochs = [report["seconds"] for report in read_lines(directory / "history.jsonl")]
    preset = preset or nearest(config)
    return {
        "preset": preset,
        "seed": config.seed,
        "settings": differing(config),
        "validation": summary["best_val_accuracy"],
        "test": summary["test_accuracy"],
        "seconds": round(statistics.median(epochs) * len(epochs), 1),
        "threads": summary["threads"],
        "parameters": summary["parameters"],
        "machine": machine(),
        "commit": commit,
        "date": datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M"),
        "command": command_of(preset, config),
    }


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
    where = directory / "-".join([preset, *(f"{name}-{value}" for name, value in changes.items()), str(seed)])
    train(preset, seed, changes, where, threads)
    record(row_of(where, revision(), preset))


def train(preset: str, seed: int, changes: Mapping[str, Any], where: Path, threads: str) -> None:
    """Train a preset with changes in a directory as everybody does, or go on with it; nothing if it is finished."""
    if not (where / "summary.json").exists():
        options = ["--resume", str(where)]
        if not (where / "config.json").exists():
            options = ["--preset", preset, "--seed", str(seed), "--run_dir", str(where), "--threads", threads]
            options += ["--wandb_mode", "disabled"]
            options += [text for name, value in changes.items() for text in (f"--{name}", str(value))]
        subprocess.run([sys.executable, str(ROOT / "train.py"), *options], check=True)


def run_ensemble(name: str, directory: Path) -> None:
    """Make one model of the members' runs, evaluate it, and record the result."""
    where = [directory / f"{preset}-{seed}" for preset, count in ENSEMBLES[name].items() for seed in range(count)]
    models, out = [str(path / "best.npz") for path in where], directory / f"{name}.npz"
    members = [row_of(path, "") for path in where]
    fnn = [sys.executable, "-m", "fnn"]
    subprocess.run([*fnn, "ensemble", str(out), *models], check=True)
    told = subprocess.run([*fnn, "evaluate", str(out)], check=True, capture_output=True, text=True).stdout
    print(told.split("\n", 1)[0], flush=True)
    record(
        {
            "preset": name,
            "seed": None,
            "settings": members_of(name),
            "validation": None,
            "test": accuracy_in(told),
            "seconds": round(sum(member["seconds"] for member in members), 1),
            "threads": members[0]["threads"],
            "parameters": sum(member["parameters"] for member in members),
            "machine": machine(),
            "commit": revision(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            "command": f"python -m fnn ensemble {out.name} {' '.join(f'{path.name}/best.npz' for path in where)}",
        }
    )


def accuracy_in(text: str) -> float:
    """Return the accuracy that ``python -m fnn evaluate`` tells: exact, since it is of 10,000 images.

    >>> accuracy_in("fashion_mnist, test: 10,000 images, loss 0.2500, accuracy 92.31%")
    0.9231
    """
    (percent,) = re.findall(r"accuracy ([\d.]+)%", text)
    return round(float(percent) / 100, 6)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.quality", description=__doc__)
    parser.add_argument("--run", nargs="*", metavar="PRESET", help="train what is missing of these; bare: of all")
    parser.add_argument("--ablate", nargs="+", default=[], metavar="PRESET", help="take these recipes apart")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--dir", type=Path, default=Path("runs/quality"), help="of the runs (default: %(default)s)")
    parser.add_argument("--threads", default="auto", help="of each run (default: %(default)s)")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="DIR", help="record finished runs")
    parser.add_argument("--commit", help="of the code that made the runs of --take (default: this one)")
    given = parser.parse_args(arguments)
    wanted = [] if given.run is None else given.run or [*PRESETS, *ENSEMBLES]
    for name in (*wanted, *given.ablate):
        if name not in PRESETS and (name not in ENSEMBLES or name in given.ablate):
            raise UserError(f"expected one of {', '.join((*PRESETS, *ENSEMBLES))}, found {name!r}")
    for directory in given.take:
        record(row_of(directory, given.commit or revision()))
    for name in wanted:
        if name in ENSEMBLES:
            run_ensemble(name, given.dir)
            continue
        for seed in given.seeds:
            run(name, seed, {}, given.dir, given.threads)
    for preset in given.ablate:
        for seed in given.seeds:
            for changes in ({}, *({name: OFF[name]} for name in ingredients(preset))):
                run(preset, seed, SMALL | changes, given.dir, given.threads)
    rows = recorded()
    save(figure_of(rows), FIGURE)
    write_atomically(PAGE, page(rows).encode())
    write_atomically(README, rewritten(README.read_text(), section(rows)).encode())
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.quality"))
