"""Random search, Bayesian optimisation, TPE and successive halving at equal compute: ``python -m reports.strategies``.

It draws the figure and the table from recorded trials, and writes them into sweeps/README.md; ``--run`` runs the trials
that are missing, ``--reseed`` trains the best configurations again from fresh seeds. All in the assignment's space.

Random's repeats are consecutive parts of one sweep: its trials are independent, so each part is a search of its own.
Halving is replayed from the same trials, whose whole curves are known: it is asked after each epoch as in a sweep, and
sees the repeat's own trials first, then others of the pool in an order drawn for the repeat, until the seconds are used
up; so its repeats share configurations. Bayes and TPE ask for one trial after the other; where one of them asks for
settings that have been tried, whoever by, it gets the recorded result, since a trial depends on its settings alone.

What is run is here, what it comes to are pure functions in ``reports.searches``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fnn.cli import guarded
from fnn.errors import UserError
from fnn.figures import save
from fnn.files import append_line, read_lines, write_atomically
from fnn.samplers import propose
from fnn.sweepfile import Sweep, parse, read
from fnn.trials import read_trials
from reports.runs import key, run, trained, work
from reports.searches import (
    NAMES,
    Searches,
    Tried,
    band,
    best_at,
    curve_by_seconds,
    curve_by_trials,
    equal_seconds,
    load,
    reseeded_words,
    summaries,
    table,
    top,
    tried,
    verdict,
)
from reports.speed import machine

HERE = Path(__file__).parent
RESULTS, FIGURE = HERE / "results" / "strategies.jsonl", HERE / "figures" / "strategies.png"
RESEEDED, RESEED = HERE / "results" / "assignment-best.jsonl", "python -m reports.strategies --reseed"
SWEEPS = HERE.parent / "sweeps"
README = SWEEPS / "README.md"
MARKS = "<!-- strategies: begin, by python -m reports.strategies -->\n", "<!-- strategies: end -->\n"
STYLES = {
    "random": ("#7b838d", ":"),
    "halving": ("#c2500a", "--"),
    "bayes": ("#3b74a8", "-"),
    "tpe": ("#111111", "-."),
}
Asked = tuple[tuple[str, int], dict[str, Any]]  # the strategy and repeat, and the settings
SEEDS = (1, 2, 3, 4, 5)  # of the configurations that are trained again; the search's own is 0


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


# The recorded trials


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
            one = Tried(trial.settings, values, tuple(report["seconds"] for report in trial.reports), trial.state)
            append_line(RESULTS, _row(sweep, "random", 0, trial.number, one, trial.settings))


def run_sequential(strategies: Sequence[str], repeats: int, count: int, workers: int) -> None:
    """Run the repeats of samplers that learn, the shortest first, so that all are as long whenever it ends."""
    sweeps = {name: sweep_of(name) for name in strategies}
    rows = recorded()
    known = {key(row["settings"]): tried(row) for row in rows if "values" in row}
    lanes: dict[tuple[str, int], list[Tried]] = {(name, r): [] for r in range(repeats) for name in strategies}
    for row in rows:
        if (where := (row["strategy"], row["repeat"])) in lanes:
            lanes[where].append(known[key(row["settings"])])
    waiting = dict.fromkeys(lanes)  # where a sampler is to be asked

    busy: set[tuple[tuple[str, Any], ...]] = set()

    def ask() -> Asked | None:
        for where in sorted(waiting, key=lambda where: len(lanes[where])):
            while len(lanes[where]) < count:
                sweep = sweeps[where[0]]
                settings = propose(sweep, [trial.past() for trial in lanes[where]], where[1])
                assert settings is not None
                varied = {name: settings[name] for name in sweep.varying}
                if key(varied) in known:
                    append_line(RESULTS, _row(sweep, *where, len(lanes[where]), None, settings))
                    lanes[where].append(known[key(varied)])
                elif key(varied) in busy:
                    break  # another repeat is at it: ask again when that has ended
                else:
                    busy.add(key(varied))
                    waiting.pop(where)
                    return where, settings
        return None

    def end(asked: Asked, found: dict[str, Any]) -> None:
        where, settings = asked
        if found["state"] == "failed":
            raise UserError(f"expected a trial to end, found it failed: {found['reason']}")
        trial = tried({"settings": settings, **found})
        row = _row(sweeps[where[0]], *where, len(lanes[where]), trial, settings)
        append_line(RESULTS, row)
        known[key(row["settings"])] = tried(row)
        lanes[where].append(known[key(row["settings"])])
        waiting[where] = None
        name, repeat = where
        print(f"{name} {repeat} trial {len(lanes[where])} of {count}: {trial.best:.4f} {trial.state}", flush=True)

    work(ask, trained_for, end, workers)


def trained_for(asked: Asked) -> dict[str, Any]:
    """Run the trial that a repeat of a strategy has asked for."""
    return trained(asked[1])


def run_reseeded(count: int, workers: int) -> None:
    """Train the best configurations of all trials again, each from SEEDS, and record what is missing and the means."""
    rows = recorded()
    known = {key(row["settings"]): max(row["values"], default=0.0) for row in rows if "values" in row}
    about = {"command": RESEED, "machine": machine()}
    before = [row for row in (read_lines(RESEEDED) if RESEEDED.exists() else []) if "seed" in row]
    write_atomically(RESEEDED, _lines([about, *before]))
    tasks = [
        {"settings": settings, "searched": known[key(settings)], "seed": seed}
        for settings in top(rows, count)
        for seed in SEEDS
    ]
    again = [row for row in run(RESEEDED, RESEED, lambda _: tasks, reseeded, workers) if "best" in row]
    write_atomically(RESEEDED, _lines([about, *again, *summaries(again)]))


def reseeded(task: Mapping[str, Any]) -> dict[str, Any]:
    """Train settings of the assignment's space from a seed."""
    found = trained({"preset": "assignment", **task["settings"], "seed": task["seed"]})
    if found["state"] != "finished":
        raise UserError(f"expected a trial to finish, found it {found['state']}")
    values, best = found["values"], max(found["values"])
    row = {"best": best, "best_epoch": values.index(best) + 1, "last": values[-1]}
    return {**row, "epochs": len(values), "seconds": round(sum(found["seconds"]), 1)}


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


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
