"""A recommendation for approaching 95 %, and how far it really gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from fnn.files import read_lines
from fnn.recipes import ENSEMBLES, PRESETS
from reports.charts import Axis, Chart, Series, chart_figure
from reports.intervals import wilson
from reports.page import Block, Table
from reports.quality import worth_drawing
from reports.recipes import (
    TESTED,
    command_of_all,
    from_pixels,
    members,
    named,
    preset_of,
    recorded,
    sees,
    spread,
    teacher_of,
)
from reports.searches import summaries
from reports.strategies import RESEEDED
from reports.style import between, listed, percent

GOAL = 0.95
Row = Mapping[str, Any]


def recipes(rows: Sequence[Row], dataset: str) -> dict[str, list[Row]]:
    """Return the runs of each named recipe, and each ensemble, of a data set, as it is now."""
    names = [name for name in (*PRESETS, *ENSEMBLES) if preset_of(name).dataset == dataset]
    found = {name: [row for row in named(rows, name) if row["test"] is not None] for name in names}
    return {name: own for name, own in found.items() if own}


def blocks() -> list[Block]:
    """Return the recommendation with what it reaches, nothing before a recipe has been measured."""
    found = recipes(recorded(), "fashion_mnist")
    if not found:
        return []
    groups = {kind: [name for name in found if from_pixels(name) == kind] for kind in (True, False)}
    tops = {kind: max(names, key=lambda name: level(found[name])) for kind, names in groups.items() if names}
    return [
        "### Approaching 95 %",
        recommendation(found, tops),
        chart_figure(
            "compute", chart(found, groups), caption(found, tops), "Points of accuracy by seconds of training"
        ),
        recipe_table(found),
    ]


def learned(name: str) -> str:
    """Say by whom the networks of a recipe are taught, if they are.

    >>> learned("default"), learned("pixels-taught")
    ('', ' (taught by `--preset features-best`, which is trained first and whose seconds are counted)')
    """
    teachers = sorted({teacher_of(config) for config in members(name) if config.teacher})
    told = " and ".join(f"`--preset {teacher}`" for teacher in teachers)
    return f" (taught by {told}, which is trained first and whose seconds are counted)" if teachers else ""


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
                f"{words}, `{command_of_all(own)}`{learned(tops[kind])} reaches **{percent(level(own))}** of the test "
                f"images ({between(*interval(own))}), "
                f"{'' if gap < 0 else f'{100 * gap:.2f} points short of 95 %, '}after "
                f"{median(row['seconds'] for row in own):,.0f} seconds of training."
            )
    again = [one["best_mean"] for one in summaries(row for row in read_lines(RESEEDED) if "seed" in row)]
    return (
        "The sweeps' lesson is that in the assignment's space little is left to gain once a network learns: "
        f"{len(again)} of the best configurations reach {percent(min(again))} to {percent(max(again))} of the "
        "validation images from fresh seeds, and the differences tested above are as small. What lies beyond is "
        "outside the space: a "
        "wider network that trains longer at a learning rate that falls to zero, smoothed labels, hidden units "
        "normalised over the batch, images changed at random, and above all what the network sees, or what its teacher "
        "does; [what each is worth](quality.md). "
        f"{' '.join(ends)}"
    )


def interval(own: Sequence[Row]) -> tuple[float, float]:
    """Return Wilson's interval of one network whose accuracy is the recipe's mean."""
    _, low, high = wilson(round(level(own) * TESTED), TESTED)
    return low, high


def chart(found: Mapping[str, Sequence[Row]], groups: Mapping[bool, Sequence[str]]) -> Chart:
    """Return the mean test accuracy of each recipe that isn't far below the best against its seconds."""
    shown = worth_drawing({name: level(own) for name, own in found.items()})
    groups = {kind: [name for name in names if name in shown] for kind, names in groups.items()}
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
    shown = worth_drawing({name: level(own) for name, own in found.items()})
    below = [f"`{name}` ({percent(level(own))})" for name, own in found.items() if name not in shown]
    left = f" Far below, and not shown: {listed(below)}." if below else ""
    words = "more computing alone doesn't lead to 95 %" if level(found[best]) < GOAL else "the goal is reached"
    return (
        f"The accuracy that computing buys: {len(shown)} recipes, of which `{best}` is the best and `{slowest}` takes "
        f"the longest; {words}.{left}"
    )


def recipe_table(found: Mapping[str, Sequence[Row]]) -> Table:
    """Return each recipe's accuracies and cost, the best first."""
    ranked = sorted(found.items(), key=lambda item: -level(item[1]))
    return Table(
        ("recipe", "sees", "seeds", "validation", "test", "95 % interval of one", "seconds"),
        [
            (
                f"`{name}`",
                sees(name),
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
