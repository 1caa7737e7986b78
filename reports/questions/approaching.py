"""A recommendation for approaching 95 %, and how far it really gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from fnn.files import read_lines
from fnn.recipes import PRESETS
from reports.charts import Axis, Chart, Series, chart_figure
from reports.intervals import wilson
from reports.page import Block, Table
from reports.style import between, percent

RESULTS = Path(__file__).parent.parent / "results" / "quality.jsonl"
TESTED = 10_000  # images
GOAL = 0.95
Row = Mapping[str, Any]


def recipes(rows: Sequence[Row], dataset: str) -> dict[str, list[Row]]:
    """Return the runs of each recipe for a data set that have looked at the test images, the newest settings only."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("test") is not None and dataset_of(row) == dataset and whole(row):
            found.setdefault(row["preset"], []).append(row)
    newest = {name: own[-1]["settings"] for name, own in found.items()}
    return {name: [row for row in own if row["settings"] == newest[name]] for name, own in found.items()}


def whole(row: Row) -> bool:
    """Tell whether a row is a recipe's own result, not that of a small copy without an ingredient."""
    return row.get("seed") is None or " --hidden_size " not in row["command"]


def dataset_of(row: Row) -> str:
    """Return the data set of a run, or of an ensemble's members."""
    settings: Any = row["settings"]
    if row.get("seed") is None and settings:
        settings = next(iter(settings.values()))[1]
    return settings.get("dataset", PRESETS["default"].dataset)


def from_pixels(own: Sequence[Row]) -> bool:
    """Tell whether the network sees the pixels alone."""
    settings: Any = own[0]["settings"]
    if own[0].get("seed") is None and settings:
        settings = next(iter(settings.values()))[1]
    return settings.get("features", "pixels") == "pixels"


def blocks() -> list[Block]:
    """Return the recommendation with what it reaches, nothing before a recipe has been measured."""
    found = recipes(read_lines(RESULTS) if RESULTS.exists() else [], "fashion_mnist")
    if not found:
        return []
    groups = {kind: [name for name, own in found.items() if from_pixels(own) == kind] for kind in (True, False)}
    tops = {kind: max(names, key=lambda name: level(found[name])) for kind, names in groups.items() if names}
    return [
        "### Approaching 95 %",
        recommendation(found, tops),
        chart_figure(
            "compute", chart(found, groups), caption(found, tops), "Points of accuracy by seconds of training"
        ),
        recipe_table(found),
    ]


def level(own: Sequence[Row]) -> float:
    """Return the mean test accuracy of a recipe over its seeds."""
    return mean(row["test"] for row in own)


def recommendation(found: Mapping[str, Sequence[Row]], tops: Mapping[bool, str]) -> str:
    """Say what to train and how far it is from the goal."""
    ends = []
    for kind, words in ((True, "From pixels"), (False, "With fixed features beside the pixels")):
        if kind in tops:
            own = found[tops[kind]]
            gap = GOAL - level(own)
            ends.append(
                f"{words}, `{own[-1]['command']}` reaches **{percent(level(own))}** of the test images "
                f"({between(*interval(own))}), {'' if gap < 0 else f'{100 * gap:.2f} points short of 95 %, '}after "
                f"{median(row['seconds'] for row in own):,.0f} seconds of training."
            )
    return (
        "The sweeps' lesson is that in the assignment's space little is left to gain once a network learns: its best "
        "configurations end within a point of each other. What lies beyond is outside the space: a wider network, a "
        "learning rate that falls to zero, decoupled weight decay, smoothed labels, images changed at random, and what "
        f"the network sees. {' '.join(ends)}"
    )


def interval(own: Sequence[Row]) -> tuple[float, float]:
    """Return Wilson's interval of one network whose accuracy is the recipe's mean."""
    _, low, high = wilson(round(level(own) * TESTED), TESTED)
    return low, high


def chart(found: Mapping[str, Sequence[Row]], groups: Mapping[bool, Sequence[str]]) -> Chart:
    """Return the mean test accuracy of each recipe against its seconds."""
    series = [
        Series(
            {True: "from pixels", False: "from fixed features, too"}[kind],
            [median(row["seconds"] for row in found[name]) for name in names],
            [level(found[name]) for name in names],
            notes=names,
            points=True,
        )
        for kind, names in groups.items()
        if names
    ]
    return Chart(Axis("seconds of training", log=True), Axis("test accuracy, mean of seeds", percent=True), series)


def caption(found: Mapping[str, Sequence[Row]], tops: Mapping[bool, str]) -> str:
    """Say what the figure shows."""
    best = max(tops.values(), key=lambda name: level(found[name]))
    slowest = max(found, key=lambda name: median(row["seconds"] for row in found[name]))
    words = "more computing alone doesn't lead to 95 %" if level(found[best]) < GOAL else "the goal is reached"
    return (
        f"The accuracy that computing buys: {len(found)} recipes, of which `{best}` is the best and `{slowest}` takes "
        f"the longest; {words}."
    )


def recipe_table(found: Mapping[str, Sequence[Row]]) -> Table:
    """Return each recipe's accuracies and cost, the best first."""
    ranked = sorted(found.items(), key=lambda item: -level(item[1]))
    return Table(
        ("recipe", "sees", "seeds", "validation", "test", "95 % interval of one", "seconds"),
        [
            (
                f"`{name}`",
                "pixels" if from_pixels(own) else "features",
                str(len(own)),
                spread([row["validation"] for row in own if row["validation"] is not None]),
                spread([row["test"] for row in own]),
                between(*interval(own)),
                f"{median(row['seconds'] for row in own):,.0f}",
            )
            for name, own in ranked
        ],
        "Means ± standard deviations over the seeds. A recipe without a validation figure is trained on all training "
        "images, by settings that were chosen before.",
    )


def spread(values: Sequence[float]) -> str:
    """Return a mean with its standard deviation.

    >>> spread([0.9, 0.9]), spread([0.9]), spread([])
    ('90.00 ± 0.00 %', '90.00 %', '-')
    """
    if len(values) > 1:
        return f"{100 * mean(values):.2f} ± {100 * stdev(values):.2f} %"
    return percent(values[0]) if values else "-"
