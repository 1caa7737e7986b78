"""Searches as pure functions of recorded trials: the best so far at equal compute, halving replayed, and who is better.

Compute is counted in seconds that settings cost, not in those that a trial happened to take on a busy machine: the
least time of an epoch in each trial is fitted by the settings that it depends on, over all trials of all strategies.
So equal settings cost the same, whoever tries them and whatever else was at work then.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

import numpy as np
from attrs import evolve, frozen

from fnn.arrays import Array, rng
from fnn.samplers import Past, given_up
from fnn.sweepfile import Sweep
from reports.intervals import difference, in_points
from reports.runs import key

NAMES = {"random": "random", "halving": "random + halving", "bayes": "bayes", "tpe": "TPE"}
PRICED = ("num_layers", "optimizer", "activation")  # what an epoch costs, besides width and batch


@frozen
class Tried:
    """A trial: the settings that vary, and of each epoch its validation accuracy and its seconds by the clock."""

    settings: Mapping[str, Any]
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    state: str
    price: float = 0.0  # of an epoch, in seconds, by the fit

    @property
    def cost(self) -> float:
        """What it has cost in seconds; an epoch that diverged counts as a whole one."""
        return self.price * (len(self.values) + (self.state == "diverged"))

    @property
    def best(self) -> float:
        """The best epoch's accuracy; 0 where the first epoch has diverged."""
        return max(self.values, default=0.0)

    def after(self, epochs: int) -> Tried:
        """Return the trial as if it had been stopped after so many epochs."""
        if epochs >= len(self.values):
            return self
        return evolve(self, values=self.values[:epochs], seconds=self.seconds[:epochs], state="stopped")

    def past(self) -> Past:
        return Past(self.settings, self.values, "finished" if self.state in ("finished", "stopped") else "failed")


Search = Sequence[Tried]  # in the order of the trials
Searches = dict[str, list[Search]]  # the repeats of each strategy


def priced(trials: Sequence[Tried]) -> list[Tried]:
    """Return the trials with the price of an epoch: a fit of its logarithm by the settings of PRICED and two jointly.

    What a matrix product costs depends on width and batch together, so these two have a level for each pair.
    """

    def levels(trial: Tried) -> list[tuple[Any, ...]]:
        own = trial.settings
        return [(), ("both", own["batch_size"], own["hidden_size"]), *((name, own[name]) for name in PRICED)]

    columns = {level: at for at, level in enumerate(dict.fromkeys(each for trial in trials for each in levels(trial)))}
    rows = np.zeros((len(trials), len(columns)))
    for row, trial in zip(rows, trials, strict=True):
        row[[columns[level] for level in levels(trial)]] = 1
    timed = [number for number, trial in enumerate(trials) if trial.seconds]
    times = np.log([min(trials[number].seconds) for number in timed])
    # The levels of a setting add up to the constant: of all solutions, which agree, lstsq takes the shortest.
    prices = np.exp(rows @ np.linalg.lstsq(rows[timed], times, rcond=None)[0])
    return [evolve(trial, price=float(price)) for trial, price in zip(trials, prices, strict=True)]


def best_so_far(trials: Search) -> tuple[Array, Array]:
    """Return the seconds spent by the end of each trial, and the best accuracy by then."""
    seconds = np.cumsum([trial.cost for trial in trials])
    return seconds, np.maximum.accumulate([trial.best for trial in trials])


def best_at(trials: Search, seconds: float) -> float:
    """Return the best accuracy of the trials that have ended within so many seconds, NaN before the first."""
    spent, best = best_so_far(trials)
    ended = int(np.searchsorted(spent, seconds, side="right"))
    return float(best[ended - 1]) if ended else float("nan")


def ended_by(trials: Search, seconds: float) -> int:
    """Return how many trials have ended within so many seconds."""
    return int(np.searchsorted(best_so_far(trials)[0], seconds, side="right"))


def equal_seconds(searches: Searches) -> float:
    """Return the largest budget that every repeat of every strategy has used up."""
    return min(float(best_so_far(trials)[0][-1]) for repeats in searches.values() for trials in repeats)


def band(rows: Sequence[Sequence[float]]) -> tuple[Array, Array, Array]:
    """Return the median, the least and the largest of repeats (rows) at each point (columns)."""
    values = np.asarray(rows, float)
    return np.median(values, axis=0), values.min(axis=0), values.max(axis=0)


def halved(sweep: Sweep, trials: Iterable[Tried], seconds: float) -> list[Tried]:
    """Replay trials one after the other under a sweep's early termination, until so many seconds are used up."""
    done: list[Tried] = []
    spent = 0.0
    for trial in trials:
        if spent >= seconds:
            break
        history = [each.past() for each in done]
        done.append(trial.after(_stopped_at(sweep, history, trial)))
        spent += done[-1].cost
    return done


def _stopped_at(sweep: Sweep, history: list[Past], trial: Tried) -> int:
    for epochs in range(1, len(trial.values)):
        if len(history) in given_up(sweep, [*history, Past(trial.settings, trial.values[:epochs], "running")]):
            return epochs
    return len(trial.values)


def order(count: int, repeats: int, repeat: int) -> list[int]:
    """Return the numbers of a pool's trials as a repeat of halving sees them: its own part, then the rest, shuffled.

    >>> order(6, 3, 1)[:2], sorted(order(6, 3, 1))
    ([2, 3], [0, 1, 2, 3, 4, 5])
    """
    size = count // repeats
    own = range(repeat * size, (repeat + 1) * size)
    rest = [number for number in range(count) if number not in own]
    return [*own, *map(int, rng(repeat, "halving", count).permutation(rest))]


def table(searches: Searches, shape: str = "text") -> str:
    """Return a row for each strategy: its trials in the equal seconds, and the best of them over the repeats."""
    cells = rows_of(searches)
    if shape == "markdown":
        return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], ["---"] * len(cells[0]), *cells[1:]])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in cells)


def rows_of(searches: Searches) -> list[list[str]]:
    """Return the cells of the table, its header first."""
    budget = equal_seconds(searches)
    cells = [["strategy", "trials", "seconds", "median best", "least", "largest"]]
    for name, repeats in searches.items():
        best = [best_at(trials, budget) for trials in repeats]
        numbers = statistics.median(ended_by(trials, budget) for trials in repeats)
        figures = (statistics.median(best), min(best), max(best))
        cells.append([NAMES[name], f"{numbers:.0f}", f"{budget:.0f}", *(f"{value:.2%}" for value in figures)])
    return cells


def verdict(searches: Searches) -> str:
    """Say what each strategy gains over random in the same seconds, and whether so few repeats can tell."""
    budget = equal_seconds(searches)
    best = {name: [best_at(trials, budget) for trials in repeats] for name, repeats in searches.items()}
    if not np.isfinite([value for values in best.values() for value in values]).all():
        return f"In {budget:.0f} seconds not every repeat has ended a trial: too few to compare."
    parts, sure = [], []
    for name in [name for name in searches if name != "random"]:
        mean, low, high = difference(best[name], best["random"], name == "halving")
        parts.append(f"{NAMES[name]} {in_points((mean, low, high))}")
        sure += [f"{NAMES[name]} is {'better' if mean > 0 else 'worse'}"] if low > 0 or high < 0 else []
    told = f"{' and '.join(sure)} than random" if sure else "none can be told from random"
    count = len(searches["random"])
    return (
        f"In the same {budget:.0f} seconds of training, the mean of the best over {count} repeats less random's, in "
        f"points with 95 % bootstrap intervals: {', '.join(parts)}. By these repeats {told}."
    )


def curve_by_trials(repeats: Sequence[Search]) -> tuple[Array, list[list[float]]]:
    """Return the numbers of trials that all repeats have come to, and each repeat's best by then."""
    count = min(map(len, repeats))
    return np.arange(1, count + 1), [list(best_so_far(trials)[1][:count]) for trials in repeats]


def curve_by_seconds(repeats: Sequence[Search], points: int = 400) -> tuple[Array, list[list[float]]]:
    """Return seconds from where all repeats have a trial to where one ends, and each repeat's best by then."""
    ends = [best_so_far(trials)[0] for trials in repeats]
    grid = np.linspace(max(each[0] for each in ends), min(each[-1] for each in ends), points)
    return grid, [[best_at(trials, at) for at in grid] for trials in repeats]


# The recorded trials


def load(rows: Iterable[Mapping[str, Any]], repeats: int, halving: Sweep) -> Searches:
    """Return the searches that recorded rows come to, halving replayed; a row without values was known before."""
    rows = list(rows)
    known = {key(trial.settings): trial for trial in priced([tried(row) for row in rows if "values" in row])}
    found: dict[tuple[str, int], dict[int, Tried]] = {}
    for row in rows:
        found.setdefault((row["strategy"], row["repeat"]), {})[row["number"]] = known[key(row["settings"])]
    lanes = {where: [trials[n] for n in takewhile(trials.__contains__, count())] for where, trials in found.items()}
    pool = lanes.pop(("random", 0), [])
    size = len(pool) // repeats
    parts = [pool[number * size : (number + 1) * size] for number in range(repeats)]
    searches: Searches = {"random": parts}
    lengths = [sum(trial.cost for trial in trials) for trials in [*parts, *lanes.values()]]
    searches["halving"] = [
        halved(halving, (pool[n] for n in order(len(pool), repeats, number)), max(lengths)) for number in range(repeats)
    ]
    for name in ("bayes", "tpe"):
        lanes_of = [trials for (strategy, _), trials in sorted(lanes.items()) if strategy == name]
        if lanes_of:
            shortest = min(map(len, lanes_of))  # what was cut off in the middle of a round
            searches[name] = [trials[:shortest] for trials in lanes_of]
    return searches


def tried(row: Mapping[str, Any]) -> Tried:
    return Tried(row["settings"], tuple(row["values"]), tuple(row["seconds"]), row["state"])


def top(rows: Iterable[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Return the settings of the best trials, whoever tried them, the earlier recorded first among equals."""
    found = sorted((row for row in rows if "values" in row), key=lambda row: -max(row["values"], default=0.0))
    return [row["settings"] for row in found[:count]]


def summaries(again: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean and standard deviation over the seeds of each configuration, the best mean first."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in again:
        if "seed" in row:
            groups.setdefault(key(row["settings"]), []).append(row)
    found = []
    for rows in groups.values():
        summary: dict[str, Any] = {"settings": rows[0]["settings"], "seeds": len(rows), "searched": rows[0]["searched"]}
        for name in ("best", "last"):
            values = [row[name] for row in rows]
            summary[f"{name}_mean"] = round(statistics.mean(values), 5)
            summary[f"{name}_sd"] = round(statistics.stdev(values), 5) if len(values) > 1 else None
        found.append(summary)
    return sorted(found, key=lambda one: -one["best_mean"])


def reseeded_words(again: Iterable[Mapping[str, Any]]) -> str:
    """Say which configuration is the best when its seed is another, and how good it is then."""
    found = summaries(again)
    best = found[0]
    words = " ".join(f"--{name} {value}" for name, value in best["settings"].items())
    return (
        f"{len(found)} configurations, each among the best of the trials recorded by then, trained again from "
        f"{best['seeds']} fresh seeds (each its own split, weights and order): the best by the mean is "
        f"`--preset assignment {words}` with "
        f"{best['best_mean']:.2%} (standard deviation {best['best_sd']:.2%}) of the validation images at the best "
        f"epoch, {best['last_mean']:.2%} ({best['last_sd']:.2%}) at the last; in the search, by which it was chosen, "
        f"it had {best['searched']:.2%}."
    )
