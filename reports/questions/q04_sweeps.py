"""The sweeps: which strategy, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from reports.charts import Axis, Chart, Series, chart_figure
from reports.importances import Space, grid, space_of
from reports.page import Block, Section, Table
from reports.runs import key
from reports.searches import (
    NAMES,
    Searches,
    Tried,
    band,
    curve_by_seconds,
    curve_by_trials,
    equal_seconds,
    load,
    priced,
    rows_of,
    tried,
    verdict,
)
from reports.strategies import recorded, sweep_of

REPEATS = 5


def section() -> Section:
    """Return the section, from the recorded trials."""
    rows = recorded()
    searches = load(rows, REPEATS, sweep_of("halving"))
    trials = priced([tried(row) for row in rows if "values" in row])
    return Section("4", "The sweeps", [*reasons(trials, space_of(sweep_of("random"))), *comparison(searches, rows)])


def reasons(trials: Sequence[Tried], space: Space) -> list[Block]:
    """Say what a grid would cost, and what random search gives that the others can't."""
    points, pool = len(grid(space)), [trial for trial in trials if trial.price]
    mean_cost = sum(trial.cost for trial in pool) / len(pool)
    values = ", ".join(f"{name} {{{', '.join(map(str, own))}}}" for name, own in space.items())
    assert points == prod(map(len, space.values())), "a grid has every point"
    return [
        f"The assignment's space has {points:,} points: {values}. A trial costs {mean_cost:.1f} seconds of one core on "
        f"average, so that a grid of all would take {points * mean_cost / 3600:.0f} hours of it.",
        """
        Three strategies share the work, since they are good at different things:

        - **random search first**: its trials are independent, so any number of workers gets the same ones, every
          setting is seen at all of its values whatever the others are, and only such trials allow an unbiased estimate
          of what a setting is worth ([section 6](#6-what-matters-and-why));
        - **Bayesian optimisation** (wandb's Gaussian process) and **TPE** (optuna's) next: they ask for trials where
          those before were good;
        - **early termination** (wandb's hyperband, by successive halving) for any of them: a poor trial is stopped
          after its second epoch.
        """,
    ]


def comparison(searches: Searches, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Compare the strategies at equal compute."""
    budget, (header, *cells) = equal_seconds(searches), rows_of(searches)
    distinct = len({key(row["settings"]) for row in rows if "values" in row})
    trained = sum("values" in row for row in rows)
    again = f", and {len(rows) - trained} that a strategy asked for again were answered from the record"
    again *= trained < len(rows)
    pool, repeats = sum(map(len, searches["random"])), len(searches["random"])
    return [
        f"Is the effort of the learning strategies worth it here? For this {trained} trials of {distinct} different "
        f"configurations were made{again}: {pool} random ones, which make {repeats} searches of {pool // repeats} "
        "each, "
        f"and {repeats} searches of each learning strategy from seeds of their own. Halving is replayed from the "
        "random "
        "trials, whose whole curves are known. Compute is what settings cost by a fit to all trials, not what a busy "
        "machine took.",
        chart_figure(
            "strategies-seconds",
            chart_of(searches, curve_by_seconds, "seconds of training on one core"),
            "The best validation accuracy so far by seconds of training: medians of the repeats, in bands of their "
            "whole range. Where the bands overlap, the choice of a strategy matters less than luck.",
            "Rising lines of four strategies in overlapping bands",
        ),
        chart_figure(
            "strategies-trials",
            chart_of(searches, curve_by_trials, "trials"),
            "The same by trials: halving needs more of them, since it stops most early, but they cost less.",
            "Rising lines of four strategies by the number of trials",
        ),
        Table(header, cells, f"The best of each search within the same {budget:.0f} seconds, over {repeats} repeats."),
        verdict(searches),
        "Bootstrap intervals of so few repeats are rather too narrow: what they leave open is open, what they call "
        "sure is a hint. So the sweeps serve two ends here: the random trials tell what matters, and the best of all "
        "strategies together are trained again from fresh seeds ([section 5](#5-the-best-of-all-trials)). How to run "
        "each: [sweeps](../sweeps/README.md).",
    ]


def chart_of(searches: Searches, curve: Callable[..., tuple[Any, Any]], unit: str) -> Chart:
    """Return the best so far of each strategy: the median of its repeats in a band of their range."""
    series = []
    for name, repeats in searches.items():
        x, best = curve(repeats)
        middle, low, high = band(best)
        series.append(Series(NAMES[name], list(x), list(middle), list(low), list(high), steps=True))
    floor = min(best for one in series for best in one.y[len(one.y) // 8 :])
    top = max(best for one in series for best in one.high)
    y = Axis("best validation accuracy so far", percent=True, low=floor - 0.02, high=top + 0.005)
    return Chart(Axis(unit), y, series)
