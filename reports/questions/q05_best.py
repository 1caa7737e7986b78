"""The validation accuracy of all trials, and how good the best really is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

import numpy as np

from fnn.files import read_lines
from reports.charts import Axis, Chart, Series, chart_figure
from reports.intervals import Interval, paired, sure
from reports.page import Block, Section, Table
from reports.searches import NAMES, summaries
from reports.strategies import RESEEDED, recorded
from reports.style import listed, percent, points, spread

Row = Mapping[str, Any]
FAILED = 0.65  # below which a configuration counts as failed


def section() -> Section:
    """Return the section, from the recorded trials and the best of them trained again."""
    trials = [row for row in recorded() if "values" in row]
    again = [row for row in read_lines(RESEEDED)[1:] if "seed" in row]
    return Section("5", "The best of all trials", [*all_trials(trials), *trained_again(trials, again)])


def best(row: Row) -> float:
    """Return the accuracy that a trial counts by: that of its best epoch."""
    return max(row["values"], default=0.0)


def all_trials(trials: Sequence[Row]) -> list[Block]:
    """Show every trial in the order in which they were recorded, and the best so far."""
    found = [best(row) for row in trials]
    failed, diverged = sum(one < FAILED for one in found), sum(row["state"] == "diverged" for row in trials)
    series = [
        Series(NAMES[name], *zip(*own, strict=True), notes=notes, points=True)  # type: ignore[misc]
        for name, own, notes in grouped(trials)
    ]
    highest = Series("best so far", range(1, len(found) + 1), np.maximum.accumulate(found).tolist(), steps=True)
    top = int(np.argmax(found))
    return [
        f"{len(trials)} trials of the assignment's space were run, {diverged or 'none'} of which diverged; half of "
        f"them reach {percent(median(found))} of the validation images at their best epoch, {failed} "
        f"({percent(failed / len(found), 0)}) stay below {percent(FAILED, 0)}, and the best, number {top + 1}, has "
        f"{percent(found[top])}: `{flags(trials[top]['settings'])}`.",
        chart_figure(
            "trials",
            Chart(
                Axis("trial, in the order of recording"),
                Axis("validation accuracy of the best epoch", percent=True),
                [*series, highest],
            ),
            f"Each point is a trial. {crowds(trials)}",
            "Points in two horizontal crowds, near 87 % and near 10 %, and a rising line of the best so far",
        ),
    ]


def crowds(trials: Sequence[Row], low: float = 0.2, high: float = 0.8, early: int = 100) -> str:
    """Say where the trials lie, and what the later ones have brought."""
    found = np.array([best(row) for row in trials])
    learning = np.array([row["strategy"] != "random" for row in trials])
    late = np.arange(len(trials)) >= len(trials) // 2
    parts = [
        f"{percent(float((found < FAILED)[which].mean()), 0)} of {name}"
        for name, which in (
            ("the random ones", ~learning),
            ("the learning strategies' in the second half", learning & late),
        )
        if which.any()
    ]
    gained = 100 * (found.max() - found[:early].max())
    return (
        f"They gather in two crowds: {percent(float((found > high).mean()), 0)} are above {percent(high, 0)}, "
        f"{percent(float((found < low).mean()), 0)} below {percent(low, 0)}, the rest in between. Below "
        f"{percent(FAILED, 0)} are {' and '.join(parts)}. After the first {early} trials the best has risen by "
        f"{gained:.2f} points."
    )


def grouped(trials: Sequence[Row]) -> list[tuple[str, list[tuple[int, float]], list[str]]]:
    """Return each strategy's trials: their numbers with their accuracies, and their settings in words."""
    found: dict[str, tuple[list[tuple[int, float]], list[str]]] = {}
    for number, row in enumerate(trials, 1):
        places, notes = found.setdefault(row["strategy"], ([], []))
        places.append((number, best(row)))
        notes.append(words(row["settings"]))
    return [(name, *both) for name, both in found.items()]


def trained_again(trials: Sequence[Row], again: Sequence[Row]) -> list[Block]:
    """Say what the best are worth from fresh seeds, and by how much the maximum over trials is too high."""
    found = summaries(again)
    chosen = max(found, key=lambda one: one["searched"])
    gaps = {one["searched"]: optimism(again, one) for one in found}
    gap = gaps[chosen["searched"]]
    cells = [
        [
            f"`{words(one['settings'])}`",
            percent(one["searched"]),
            f"{percent(one['best_mean'])} ± {100 * one['best_sd']:.2f}",
            f"{percent(one['last_mean'])} ± {100 * one['last_sd']:.2f}",
            f"{points(-gaps[one['searched']][0])} ({spread(-gaps[one['searched']][2], -gaps[one['searched']][1])})",
        ]
        for one in found
    ]
    leader = found[0]
    return [
        "**The maximum over trials is optimistic.** A trial's accuracy is what its settings are worth plus luck with "
        "the initial weights and the order of the images, and the maximum over hundreds picks the luckiest; moreover "
        "each counts by its best epoch, on the very images that it is judged by. So some of the best, by now "
        f"{listed([ordinal(rank) for rank in ranks_of(trials, found)])} of {len(trials)}, are trained again from "
        f"{leader['seeds']} fresh seeds, each with a split of its own. All trials share one split: where it is easier "
        "or harder than others, that is in the differences, too.",
        Table(
            ("settings", "in the search", "best epoch, fresh seeds", "last epoch", "fresh less searched, points"),
            cells,
            "Means over the seeds ± standard deviation, and the difference with its 95 % interval (Student's t).",
        ),
        f"What the search found at {percent(chosen['searched'])} is {percent(chosen['best_mean'])} from fresh seeds: "
        f"the maximum was {100 * gap[0]:.2f} points ({100 * gap[1]:.2f} to {100 * gap[2]:.2f}) too high"
        f"{'' if sure(gap) else ', or not at all, by the interval'}; over all {len(found)} that were trained again "
        f"the mean is {100 * mean(one[0] for one in gaps.values()):.2f} points. The best by its mean is "
        f"`--preset assignment {flags(leader['settings'])}` with {percent(leader['best_mean'])}. Its seeds alone make "
        f"a standard deviation of {100 * leader['best_sd']:.2f} points, so differences of that size between single "
        "trials mean nothing. The weights of the last epoch, which are what a user gets who doesn't look, have "
        f"{percent(leader['last_mean'])}: at a constant learning rate the accuracy jumps from epoch to epoch.",
    ]


def ranks_of(trials: Sequence[Row], found: Sequence[Row]) -> list[int]:
    """Return the ranks in the search of what was trained again."""
    values = [best(row) for row in trials]
    return sorted(1 + sum(value > one["searched"] for value in values) for one in found)


def ordinal(number: int) -> str:
    """Return a rank in letters and digits.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def optimism(again: Sequence[Row], one: Row) -> Interval:
    """Return by how much a configuration had more in the search than from fresh seeds."""
    own = [row["best"] for row in again if row["settings"] == one["settings"]]
    return paired([one["searched"]] * len(own), own)


def words(settings: Mapping[str, Any]) -> str:
    """Return settings of the assignment's space in few words.

    >>> words({"activation": "tanh", "batch_size": 16, "epochs": 10, "hidden_size": 128, "learning_rate": 0.0001,
    ...        "num_layers": 5, "optimizer": "adam", "weight_decay": 0, "weight_init": "He"})
    'adam 0.0001, 5 x 128 tanh, He, batch 16, 10 epochs, decay 0'
    """
    s = settings
    return (
        f"{s['optimizer']} {s['learning_rate']:g}, {s['num_layers']} x {s['hidden_size']} {s['activation']}, "
        f"{s['weight_init']}, batch {s['batch_size']}, {s['epochs']} epochs, decay {s['weight_decay']:g}"
    )


def flags(settings: Mapping[str, Any]) -> str:
    """Return settings as the command line takes them.

    >>> flags({"epochs": 5, "activation": "tanh"})
    '--epochs 5 --activation tanh'
    """
    return " ".join(f"--{name} {value}" for name, value in settings.items())
