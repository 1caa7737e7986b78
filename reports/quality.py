"""What each named recipe reaches, and what of it counts: ``python -m reports.quality``.

It draws the table of README.md, reports/quality.md and the figure from the recorded results. ``--run`` trains the
presets whose results are missing, by the command that everybody runs, and goes on with what was interrupted;
``--ablate`` trains a small copy of a recipe without each of its ingredients; ``--take`` records runs made elsewhere.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fnn.cli import guarded
from fnn.config import Config, configure
from fnn.errors import UserError
from fnn.figures import save
from fnn.files import read_lines, write_atomically
from fnn.recipes import ENSEMBLES, PRESETS
from reports.intervals import wilson
from reports.recipes import (
    AGAIN,
    HERE,
    ROOT,
    TESTED,
    Row,
    command_now,
    differing,
    ensemble,
    from_pixels,
    known,
    named,
    preset_of,
    record,
    recorded,
    revision,
    row_of,
    run,
    spread,
)

FIGURE, PAGE = HERE / "figures" / "quality.png", HERE / "quality.md"
README = ROOT / "README.md"
MARKS = "<!-- quality: begin, by python -m reports.quality -->\n", "<!-- quality: end -->\n"
SHOWN = 0.1  # below the best accuracy, at most, is what figures show
SMALL = {"hidden_size": 256, "epochs": 15, "validation_fraction": 0.1}  # what a recipe is taken apart at
TEACHER = {"teacher": "runs/features-patches-{seed}/best.npz"}  # for such a small copy: one that holds out the same
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
    "normalization": "none",
    "weight_init": "He",
    "teacher": "",
}
#: The views that are left where a network has never seen the others in training.
FEWER = {"flip": {"flip": "none", "both": "shifts"}, "shift": {"shifts": "none", "both": "flip"}}
#: Recipes whose names stand left of their points, since others lie to the right.
LEFT = (
    "default",
    "features-best",
    "pixels-best",
    "features-quick",
    "features-patches",
    "mnist-best",
    "mnist-features",
    "mnist-3",
)
ABOVE = ("pixels-taught",)  # and those above theirs


def worth_drawing(means: Mapping[str, float]) -> list[str]:
    """Return which recipes' mean accuracies a figure shows: what lies far below the best would press all others flat.

    >>> worth_drawing({"a": 0.71, "b": 0.88, "c": 0.94})
    ['b', 'c']
    """
    return [name for name, mean in means.items() if mean > max(means.values()) - SHOWN]


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
    configs = {"": small(preset)} | {name: configure(small(preset), off(preset, name)) for name in ingredients(preset)}
    rows = list(rows)
    return {
        name: [row for row in rows if row["settings"] == differing(config) and row["preset"] == preset]
        for name, config in configs.items()
    }


def small(preset: str) -> Config:
    return configure(PRESETS[preset], smaller(preset))


def smaller(preset: str) -> dict[str, Any]:
    """Return the changes that make the small copy of a preset."""
    return SMALL | (TEACHER if PRESETS[preset].teacher else {})


def off(preset: str, name: str) -> dict[str, Any]:
    """Return the changes that switch an ingredient of a preset off.

    >>> off("features-quick", "flip")
    {'flip': 'no', 'views': 'none'}
    """
    views = FEWER.get(name, {}).get(PRESETS[preset].views)
    return {name: OFF[name]} | ({"views": views} if views else {})


def ingredients(preset: str) -> list[str]:
    """Return what of a preset can be switched off; labels that aren't learned can't be smoothed.

    >>> ingredients("features-patches")
    ['flip', 'dropout', 'label_smoothing', 'decoupled_weight_decay', 'schedule', 'features']
    """
    config = PRESETS[preset]
    return [
        name
        for name, off in OFF.items()
        if getattr(config, name) != off and not (config.teacher and name == "label_smoothing")
    ]


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
        "the seconds of training, which are the median epoch's times their number, most with another run on the "
        "machine. Without a validation figure a "
        "recipe is trained on all training images, and its last epoch is tested. An ensemble is the mean of its "
        "members' probabilities. A recipe that is taught learns what its teacher answers, which is trained before by "
        "its own command; the seconds of both are counted."
    )
    return f"{about}\n\n{table(rows)}\n\n![Test accuracy against seconds of training](reports/figures/quality.png)"


def page(rows: Sequence[Row]) -> str:
    """Return reports/quality.md."""
    parts = ["# What of a recipe counts, and every look at the test images", "Written by `python -m reports.quality`."]
    for preset in (name for name in PRESETS if without(rows, name)[""]):
        changes = " ".join(f"--{name} {value}" for name, value in smaller(preset).items())
        parts += [
            f"## {preset}, taken apart",
            f"`python -m reports.quality --ablate {preset}`: `--preset {preset} {changes}`, one ingredient off at a "
            "time, seeds paired, ± the standard deviation over them. In so short a training of so small a network "
            "what slows learning costs more, and what "
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
        axes.tick_params(colors=FAINT, length=0, labelsize=9)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.margins(x=0.36, y=0.12)
        for name, seconds, mean, sd in own:
            colour = RIGHT if from_pixels(name) else WRONG[0]
            axes.errorbar(seconds, mean, sd, fmt="o", color=colour, markersize=6, capsize=3)
            aside = {"xytext": (-7, 0), "ha": "right"} if name in LEFT else {"xytext": (7, 0), "ha": "left"}
            aside = {"xytext": (0, 13), "ha": "center"} if name in ABOVE else aside
            at = (seconds, mean)
            axes.annotate(name, at, textcoords="offset points", va="center", color=INK, fontsize=9, **aside)
    if found:
        handles = [figure.axes[0].plot([], [], "o", color=colour)[0] for colour in (RIGHT, WRONG[0])]
        figure.axes[0].legend(
            handles, ["from pixels", "from fixed features"], edgecolor="none", labelcolor=INK, loc="lower right"
        )
    return figure


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.quality", description=__doc__)
    parser.add_argument("--run", nargs="*", metavar="PRESET", help="train what is missing of these; bare: of all")
    parser.add_argument("--ablate", nargs="+", default=[], metavar="PRESET", help="take these recipes apart")
    parser.add_argument("--only", nargs="+", choices=tuple(OFF), metavar="OPTION", help="take out these alone")
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
            record(ensemble(name, given.dir))
            continue
        for seed in given.seeds:
            run(name, seed, {}, given.dir, given.threads)
    for preset in given.ablate:
        for seed in given.seeds:
            names = [name for name in ingredients(preset) if name in (given.only or OFF)]
            for changes in ({}, *(off(preset, name) for name in names)):
                run(preset, seed, smaller(preset) | changes, given.dir, given.threads)
    rows = recorded()
    save(figure_of(rows), FIGURE)
    write_atomically(PAGE, page(rows).encode())
    write_atomically(README, rewritten(README.read_text(), section(rows)).encode())
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.quality"))
