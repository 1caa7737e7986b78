"""Random search, Bayesian optimisation, TPE and successive halving at equal compute: ``python -m reports.strategies``.

It draws the figure and the table from recorded trials, and writes them into sweeps/README.md; ``--run`` runs the trials
that are missing, ``--reseed`` trains the best configurations again from fresh seeds. All in the assignment's space.

Random's repeats are consecutive parts of one sweep: its trials are independent, so each part is a search of its own.
Halving is replayed from the same trials, whose whole curves are known: it is asked after each epoch as in a sweep, and
sees the repeat's own trials first, then others of the pool in an order drawn for the repeat, until the seconds are used
up; so its repeats share configurations. Bayes and TPE ask for one trial after the other; where one of them asks for
settings that have been tried, whoever by, it gets the recorded result, since a trial depends on its settings alone.

Compute is counted in seconds that settings cost, not in those that a trial happened to take on a busy machine: the
least time of an epoch in each trial is fitted by the settings that it depends on, over all trials of all strategies.
So equal settings cost the same, whoever tries them and whatever else was at work then.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen

from fnn import threads
from fnn.arrays import Array, rng
from fnn.cli import guarded
from fnn.errors import UserError
from fnn.figures import save
from fnn.files import append_line, read_lines, write_atomically
from fnn.samplers import Past, given_up, propose
from fnn.sweepfile import Sweep, parse, read
from fnn.trials import read_trials
from fnn.workers import Job, LocalPool
from reports.speed import machine

HERE = Path(__file__).parent
RESULTS, FIGURE = HERE / "results" / "strategies.jsonl", HERE / "figures" / "strategies.png"
RESEEDED = HERE / "results" / "assignment-best.jsonl"
SWEEPS = HERE.parent / "sweeps"
README = SWEEPS / "README.md"
MARKS = "<!-- strategies: begin, by python -m reports.strategies -->\n", "<!-- strategies: end -->\n"
NAMES = {"random": "random", "halving": "random + halving", "bayes": "bayes", "tpe": "TPE"}
STYLES = {
    "random": ("#7b838d", ":"),
    "halving": ("#c2500a", "--"),
    "bayes": ("#3b74a8", "-"),
    "tpe": ("#111111", "-."),
}
SEEDS = (1, 2, 3, 4, 5)  # of the configurations that are trained again; the search's own is 0
PRICED = ("num_layers", "optimizer", "activation")  # what an epoch costs, besides width and batch
DRAWS = 10_000  # of the bootstrap


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


def key(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return what two trials have in common that come to the same.

    >>> key({"b": 0.0, "a": "ReLU"}) == key({"a": "ReLU", "b": 0})
    True
    """
    return tuple(sorted(settings.items()))


# What the trials come to: pure functions of them


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


def difference(ours: Sequence[float], theirs: Sequence[float], paired: bool) -> tuple[float, float, float]:
    """Return the difference of the means and its 95 % bootstrap interval: pairs drawn together, or both apart."""
    a, b = np.asarray(ours), np.asarray(theirs)
    generator = rng(0, "bootstrap", 0)
    first = generator.integers(len(a), size=(DRAWS, len(a)))
    second = first if paired else generator.integers(len(b), size=(DRAWS, len(b)))
    low, high = np.quantile(a[first].mean(axis=1) - b[second].mean(axis=1), (0.025, 0.975))
    return float(a.mean() - b.mean()), float(low), float(high)


def table(searches: Searches, shape: str = "text") -> str:
    """Return a row for each strategy: its trials in the equal seconds, and the best of them over the repeats."""
    budget = equal_seconds(searches)
    cells = [["strategy", "trials", "seconds", "median best", "least", "largest"]]
    for name, repeats in searches.items():
        best = [best_at(trials, budget) for trials in repeats]
        numbers = statistics.median(ended_by(trials, budget) for trials in repeats)
        figures = (statistics.median(best), min(best), max(best))
        cells.append([NAMES[name], f"{numbers:.0f}", f"{budget:.0f}", *(f"{value:.2%}" for value in figures)])
    if shape == "markdown":
        return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], ["---"] * len(cells[0]), *cells[1:]])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in cells)


def verdict(searches: Searches) -> str:
    """Say what each strategy gains over random in the same seconds, and whether so few repeats can tell."""
    budget = equal_seconds(searches)
    best = {name: [best_at(trials, budget) for trials in repeats] for name, repeats in searches.items()}
    if not np.isfinite([value for values in best.values() for value in values]).all():
        return f"In {budget:.0f} seconds not every repeat has ended a trial: too few to compare."
    parts, sure = [], []
    for name in [name for name in searches if name != "random"]:
        mean, low, high = difference(best[name], best["random"], name == "halving")
        parts.append(f"{NAMES[name]} {100 * mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})")
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


def figure_of(searches: Searches) -> Any:
    """Return a figure: the best so far by trials and by seconds, the median of the repeats within their whole range."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    from fnn.figures import DPI, FAINT, INK, LINE, PAPER

    figure = Figure(figsize=(11, 4.6), dpi=DPI, facecolor=PAPER, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    budget = equal_seconds(searches)
    for axes, curve, title, unit in zip(
        panels,
        (curve_by_trials, curve_by_seconds),
        ("best validation accuracy by trials", "by seconds of training"),
        ("trials; halving stops the poor early", "seconds; the line marks the equal compute of the table"),
        strict=True,
    ):
        axes.set_title(title, loc="left", color=INK, fontsize=13, fontweight="bold")
        axes.set_xlabel(unit, color=FAINT)
        axes.tick_params(colors=FAINT, length=0)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        for name, repeats in searches.items():
            x, rows = curve(repeats)
            middle, low, high = band(rows)
            colour, style = STYLES[name]
            axes.fill_between(x, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
            axes.plot(x, middle, style, drawstyle="steps-post", color=colour, linewidth=1.9, label=NAMES[name])
    panels[1].axvline(budget, color=FAINT, linewidth=0.8)
    best = [best_at(trials, budget) for repeats in searches.values() for trials in repeats]
    panels[0].set_ylim(min(best) - 0.04, max(best) + 0.01)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panels[0].legend(edgecolor="none", labelcolor=INK, fontsize=10, loc="lower right")
    return figure


def section(searches: Searches, again: Sequence[Mapping[str, Any]]) -> str:
    """Return the generated part of sweeps/README.md."""
    parts = [
        "![The best validation accuracy so far, by trials and by seconds](../reports/figures/strategies.png)",
        table(searches, "markdown"),
        verdict(searches),
    ]
    return "\n\n".join([*parts, *([reseeded_words(again)] if again else [])])


def rewritten(text: str, content: str) -> str:
    """Return a text with the part between MARKS replaced."""
    head, rest = text.split(MARKS[0])
    return head + MARKS[0] + content + "\n" + MARKS[1] + rest.split(MARKS[1])[1]


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
        f"The {len(found)} best configurations of all trials, trained again from {best['seeds']} fresh seeds (each its "
        f"own split, weights and order): the best by the mean is `--preset assignment {words}` with "
        f"{best['best_mean']:.2%} (standard deviation {best['best_sd']:.2%}) of the validation images at the best "
        f"epoch, {best['last_mean']:.2%} ({best['last_sd']:.2%}) at the last; in the search, by which it was chosen, "
        f"it had {best['searched']:.2%}."
    )


# The recorded trials


def load(rows: Iterable[Mapping[str, Any]], repeats: int, halving: Sweep) -> Searches:
    """Return the searches that recorded rows come to, halving replayed; a row without values was known before."""
    rows = list(rows)
    known = {key(trial.settings): trial for trial in priced([_tried(row) for row in rows if "values" in row])}
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


def _tried(row: Mapping[str, Any]) -> Tried:
    return Tried(row["settings"], tuple(row["values"]), tuple(row["seconds"]), row["state"])


def _row(sweep: Sweep, strategy: str, repeat: int, number: int, trial: Tried | None, settings: Any) -> dict[str, Any]:
    row = {"strategy": strategy, "repeat": repeat, "number": number}
    row["settings"] = {name: settings[name] for name in sweep.varying}
    if trial is not None:
        row |= {"values": [round(value, 5) for value in trial.values]}
        row |= {"seconds": [round(value, 2) for value in trial.seconds], "state": trial.state}
    return row


def recorded() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        append_line(RESULTS, {"command": "python -m reports.strategies --run", "machine": machine()})
    return read_lines(RESULTS)[1:]


def sweep_of(strategy: str) -> Sweep:
    """Return the sweep of a strategy in the assignment's space: its file's, bayes without early termination.

    Halving is random with the early termination of the file of bayes.
    """
    bayes = read(SWEEPS / "assignment-bayes.yaml")
    if strategy == "bayes":
        return parse({name: value for name, value in bayes.source.items() if name != "early_terminate"})
    if strategy == "halving":
        return parse({**bayes.source, "method": "random"})
    return read(SWEEPS / f"assignment-{strategy}.yaml")


# Running what is missing


def run_random(directory: Path, count: int) -> None:
    """Bring the sweep of random trials to its count by the command that everybody runs."""
    file = str(SWEEPS / "assignment-random.yaml")
    command = [sys.executable, "-m", "fnn", "sweep", file, "--count", str(count), "--dir", str(directory)]
    subprocess.run(command, check=True)


def take_in(directory: Path) -> None:
    """Record the ended trials of the random sweep that aren't yet, up to the first that hasn't ended.

    To leave out the slow ones among the last would make the pool a choice.
    """
    here = {row["number"] for row in recorded() if row["strategy"] == "random"}
    sweep = sweep_of("random")
    trials = read_trials(directory) if directory.exists() else {}
    for _, trial in sorted(trials.items()):
        if trial.state not in ("finished", "diverged"):
            break  # unfinished, failed or died: the sweep's --retry runs it again
        if trial.number not in here:
            values = tuple(report["val_accuracy"] for report in trial.reports)
            tried = Tried(trial.settings, values, tuple(report["seconds"] for report in trial.reports), trial.state)
            append_line(RESULTS, _row(sweep, "random", 0, trial.number, tried, trial.settings))


def run_sequential(strategies: Sequence[str], repeats: int, count: int, workers: int) -> None:
    """Run the repeats of samplers that learn, the shortest first, so that all are as long whenever it ends."""
    sweeps = {name: sweep_of(name) for name in strategies}
    rows = recorded()
    known = {key(row["settings"]): _tried(row) for row in rows if "values" in row}
    lanes: dict[tuple[str, int], list[Tried]] = {(name, r): [] for r in range(repeats) for name in strategies}
    for row in rows:
        if (where := (row["strategy"], row["repeat"])) in lanes:
            lanes[where].append(known[key(row["settings"])])
    waiting = dict.fromkeys(lanes)  # where a sampler is to be asked

    def ask() -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
        for where in sorted(waiting, key=lambda where: len(lanes[where])):
            while len(lanes[where]) < count:
                sweep = sweeps[where[0]]
                settings = propose(sweep, [trial.past() for trial in lanes[where]], where[1])
                assert settings is not None
                varied = {name: settings[name] for name in sweep.varying}
                if key(varied) not in known:
                    yield where, settings
                    break
                append_line(RESULTS, _row(sweep, *where, len(lanes[where]), None, settings))
                lanes[where].append(known[key(varied)])

    def end(where: tuple[str, int], settings: dict[str, Any], trial: Tried) -> None:
        row = _row(sweeps[where[0]], *where, len(lanes[where]), trial, settings)
        append_line(RESULTS, row)
        known[key(row["settings"])] = _tried(row)
        lanes[where].append(known[key(row["settings"])])
        waiting[where] = None
        name, repeat = where
        print(f"{name} {repeat} trial {len(lanes[where])} of {count}: {trial.best:.4f} {trial.state}", flush=True)

    busy: set[tuple[tuple[str, Any], ...]] = set()

    def jobs() -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
        for where, settings in ask():
            if key(settings) not in busy:  # else another repeat is at it: ask again when that has ended
                busy.add(key(settings))
                waiting.pop(where)
                yield where, settings
                return

    work(jobs, end, workers)


def run_reseeded(count: int, workers: int) -> None:
    """Train the best configurations of all trials again, each from SEEDS, and record what is missing and the means."""
    rows = recorded()
    known = {key(row["settings"]): max(row["values"], default=0.0) for row in rows if "values" in row}
    command = {"command": "python -m reports.strategies --reseed", "machine": machine()}
    before = [row for row in (read_lines(RESEEDED) if RESEEDED.exists() else []) if "seed" in row]
    done = {(key(row["settings"]), row["seed"]) for row in before}
    tasks = iter(
        [(s, seed) for s in top(rows, count) for seed in SEEDS if (key(s), seed) not in done]
    )  # fmt: skip
    write_atomically(RESEEDED, _lines([command, *before]))

    def jobs() -> Iterator[tuple[Any, dict[str, Any]]]:
        for settings, seed in tasks:
            yield (settings, seed), {"preset": "assignment", **settings, "seed": seed}

    def end(where: tuple[Mapping[str, Any], int], _settings: dict[str, Any], trial: Tried) -> None:
        settings, seed = where
        row = {"settings": settings, "searched": known[key(settings)], "seed": seed, "best": round(trial.best, 5)}
        row |= {"best_epoch": trial.values.index(trial.best) + 1, "last": round(trial.values[-1], 5)}
        append_line(RESEEDED, {**row, "epochs": len(trial.values), "seconds": round(sum(trial.seconds), 1)})
        print(f"{settings} seed {seed}: {trial.best:.4f}", flush=True)

    work(jobs, end, workers)
    again = [row for row in read_lines(RESEEDED) if "seed" in row]
    write_atomically(RESEEDED, _lines([command, *again, *summaries(again)]))


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def work(jobs: Any, end: Any, workers: int) -> None:
    """Run the jobs that an iterator yields each time it is asked, in processes, until it yields none."""
    pool, running = LocalPool(workers), dict[int, tuple[Any, dict[str, Any], list[Mapping[str, Any]]]]()
    number = 0
    try:
        with threads.limited(1):
            while True:
                while pool.free() and (job := next(iter(jobs()), None)) is not None:
                    running[number] = (*job, [])
                    pool.start(Job(number, job[1]))
                    number += 1
                if not running:
                    return
                for at, kind, details in pool.events(1.0):
                    if kind == "epoch":
                        running[at][2].append(details)
                        continue
                    where, settings, reports = running.pop(at)
                    state = "finished" if kind == "end" else details["kind"]
                    if state in ("failed", "died"):
                        raise UserError(f"expected a trial to end, found it {state}: {details['reason']}")
                    values = tuple(report["val_accuracy"] for report in reports)
                    seconds = tuple(report["seconds"] for report in reports)
                    end(where, settings, Tried(settings, values, seconds, state))
    finally:
        pool.close()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.strategies", description=__doc__)
    parser.add_argument("--run", nargs="*", choices=("random", "bayes", "tpe"), help="run missing trials; all if bare")
    parser.add_argument("--trials", type=int, default=40, help="of each repeat (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of each strategy (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--dir", type=Path, default=Path("runs/sweeps/strategies"), help="of the random sweep")
    parser.add_argument("--reseed", nargs="?", type=int, const=3, help="train the best again (bare: the best 3)")
    given = parser.parse_args(arguments)
    if given.run is not None:
        strategies = given.run or ["random", "bayes", "tpe"]
        if "random" in strategies:
            run_random(given.dir, given.repeats * given.trials)
        take_in(given.dir)
        run_sequential([name for name in strategies if name != "random"], given.repeats, given.trials, given.workers)
    if given.reseed:
        run_reseeded(given.reseed, given.workers)
    searches = load(recorded(), given.repeats, sweep_of("halving"))
    again = [row for row in read_lines(RESEEDED) if "seed" in row] if RESEEDED.exists() else []
    save(figure_of(searches), FIGURE)
    write_atomically(README, rewritten(README.read_text(), section(searches, again)).encode())
    print(f"{table(searches)}\n\n{verdict(searches)}")
    if again:
        print(f"\n{reseeded_words(again)}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.strategies"))
