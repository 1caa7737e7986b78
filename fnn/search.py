"""A sweep from its file to its results: samplers propose, workers try, the journal remembers, the terminal shows."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from fnn import threads
from fnn.datasets import load
from fnn.importance import importances
from fnn.samplers import given_up, propose, size
from fnn.signals import Request, deferred
from fnn.sweepfile import Sweep, images_of
from fnn.trials import OVER, Journal, Trial, opened, ranked, table
from fnn.workers import DaskPool, Event, Job, LocalPool, Pool

SWEEPS = Path("runs") / "sweeps"
DEFAULT_COUNT = 100  # where neither the file nor the user says
PATIENCE = 0.5  # seconds that the loop waits for news before it looks at signals and draws the table again

Say = Callable[[str], None]


@frozen(kw_only=True)
class Options:
    """How a sweep is run: none of it is part of its results."""

    count: int | None = None
    workers: int | None = None
    dask: str = ""
    wandb_mode: str = "disabled"
    wandb_entity: str = ""
    wandb_project: str = "fnn"
    retry: bool = False  # run those that failed or died again


def run(sweep: Sweep, directory: Path, seed: int = 0, options: Options | None = None, say: Say = print) -> int:
    """Run a sweep to its count of trials, going on from its journal.

    Each trial is run once: finished ones are kept, those that were under way when a process was killed run again with
    the same settings. Returns 0, 1 if no trial has succeeded, or 128 + n if signal n has ended it. Raises UserError for
    a directory that is another's.
    """
    options = options or Options()
    with ExitStack() as stack:
        journal = stack.enter_context(opened(directory, sweep, seed))
        request = stack.enter_context(deferred())
        stack.enter_context(threads.limited(1))  # samplers compute too, beside workers that have all cores
        if not options.dask:
            for name, folder in images_of(sweep):
                load(name, Path(folder) if folder else None)  # once, before many processes do
        pool: Pool = DaskPool(options.dask) if options.dask else LocalPool(options.workers or threads.available())
        stack.callback(pool.close)
        search = Search(sweep, journal, pool, seed, options)
        if journal.trials:
            say(f"going on with {directory}: {search.counts()}")
        with Screen(search, say) as screen:
            search.go(request, screen.show)
    say(f"\n{conclusion(sweep, journal.in_order)}")
    say(f"\n{directory}/")
    if request:
        search.running.clear()  # their workers are gone
        say(f"stopped by a signal after {search.counts()}; the same command goes on")
        return 128 + request.number
    if journal.trials and not ranked(sweep, journal.in_order):
        say("no trial has succeeded")
        return 1
    return 0


@define(eq=False)
class Search:
    """The loop of a sweep: one writer of the journal, one thread."""

    sweep: Sweep
    journal: Journal
    pool: Pool
    seed: int
    options: Options
    count: int = field(init=False)  # of trials, those of earlier processes included
    running: set[int] = field(factory=set)
    ended: int = 0  # in this process
    began: float = field(factory=time.perf_counter)

    def __attrs_post_init__(self) -> None:
        wanted, points = self.options.count or self.sweep.run_cap, size(self.sweep)
        self.count = wanted or points or DEFAULT_COUNT
        if points is not None:
            self.count = min(self.count, points)

    def go(self, request: Request, show: Callable[[Trial | None], None]) -> None:
        """Start trials while workers are free and take in their news, until all are over or a signal has come."""
        again = [trial.number for trial in self.journal.in_order if self._again(trial)]
        while not request:
            while self.pool.free() > 0 and (number := self._next(again)) is not None:
                self._start(number)
                del again[:1]
            if not self.running:
                if self._next(again) is None:
                    return
                time.sleep(PATIENCE)  # a cluster that has no worker at the moment
            for event in self.pool.events(PATIENCE) if self.running else ():
                show(self._take(event))
            show(None)

    def counts(self) -> str:
        """Say how many trials are in which state."""
        trials = self.journal.trials.values()
        waiting = sum(not trial.over for trial in trials) - len(self.running)
        numbers = {state: sum(trial.state == state for trial in trials) for state in OVER}
        numbers |= {"running": len(self.running), "to run again": waiting}
        return ", ".join(f"{number} {state}" for state, number in numbers.items() if number) or "no trials yet"

    def _again(self, trial: Trial) -> bool:
        return not trial.over or (self.options.retry and trial.state in ("failed", "died"))

    def _next(self, again: list[int]) -> int | None:
        """Return the number of the next trial, whose settings may be known from an earlier start, or None."""
        if again:
            return again[0]
        number = len(self.journal.trials)
        return number if number < self.count and not self._reached() else None

    def _reached(self) -> bool:
        """Tell whether a trial has come to the metric's target, if there is one."""
        target = self.sweep.target
        values = (trial.value(self.sweep) for trial in self.journal.in_order if trial.good)
        return target is not None and any(v is not None and not self.sweep.better(target, v) for v in values)

    def _start(self, number: int) -> None:
        known = self.journal.trials.get(number)
        settings = known.settings if known else propose(self.sweep, self._history(), self.seed)
        assert settings is not None, "a grid's count is its size at most"
        self.journal.add("start", number, settings=settings)
        self.running.add(number)
        options = self.options
        self.pool.start(
            Job(
                number,
                self.journal.trials[number].settings,
                self.sweep.early is not None,
                options.wandb_mode,
                options.wandb_entity,
                options.wandb_project,
                self.journal.directory.name,
                str(self.journal.directory),
            )
        )

    def _take(self, event: Event) -> Trial | None:
        """Write an event down, and answer it if early termination is asked; returns the trial that it ends."""
        number, kind, details = event
        self.journal.add(kind, number, **details)
        if kind == "epoch":
            if self.sweep.early is not None:
                self.pool.answer(number, number not in given_up(self.sweep, self._history()))
            return None
        self.running.discard(number)
        self.ended += 1
        return self.journal.trials[number]

    def _history(self) -> list[Any]:
        return [trial.past(self.sweep.metric) for trial in self.journal.in_order]


@define(eq=False)
class Screen:
    """What is seen while a sweep runs: a table that stays in place on a terminal, else a line for each ended trial."""

    search: Search
    say: Say
    _lines: int = 0  # of the table that is on the screen
    _drawn: float = 0.0
    live: bool = field(factory=sys.stdout.isatty)

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    def show(self, ended: Trial | None) -> None:
        if ended is not None and not self.live:
            self.say(line(self.search.sweep, ended, self.search.count))
        if self.live and (ended is not None or time.perf_counter() - self._drawn > PATIENCE):
            from shutil import get_terminal_size

            width = get_terminal_size().columns
            lines = [text[: width - 1] for text in self._table()]
            self._erase()
            print("\n".join(lines), flush=True)
            self._lines, self._drawn = len(lines), time.perf_counter()

    def _erase(self) -> None:
        if self._lines:
            print(f"\x1b[{self._lines}F\x1b[J", end="", flush=True)
            self._lines = 0

    def _table(self) -> Iterable[str]:
        search = self.search
        minutes = (time.perf_counter() - search.began) / 60
        rate = search.ended / minutes
        over = sum(trial.over for trial in search.journal.trials.values())
        left = f", {(search.count - over) / rate:.1f} min left" if rate else ""
        yield f"{search.counts()} of {search.count}; {rate:.1f} trials/min{left}"
        yield from table(search.sweep, search.journal.in_order, 5).splitlines()
        for number in sorted(search.running):
            trial = search.journal.trials[number]
            value = trial.value(search.sweep)
            so_far = f"epoch {len(trial.reports)}, {value:.4f}" if value is not None else "begun"
            yield f"{number:>5}  {so_far}  {_varied(search.sweep, trial)}"


def line(sweep: Sweep, trial: Trial, count: int) -> str:
    """Return what an ended trial came to, in a line."""
    value = trial.value(sweep)
    result = f"{sweep.metric} {value:.4f}" if value is not None and trial.good else trial.reason
    early = f" (early, epoch {len(trial.reports)})" if trial.state == "stopped" else ""
    return f"trial {trial.number} of {count} {trial.state}{early}: {result}  {_varied(sweep, trial)}"


def conclusion(sweep: Sweep, trials: list[Trial]) -> str:
    """Return the best configurations, the command that retrains the best, and what each parameter matters."""
    good = ranked(sweep, trials)
    bad = [trial for trial in trials if trial.over and not trial.good]
    parts = [f"{len(trials)} trials, {sum(trial.seconds for trial in trials):.0f} s of training"]
    if good:
        parts += [table(sweep, trials), f"to train the best: {command(good[0])}"]
    if bad:
        parts.append(
            "\n".join([f"{len(bad)} without a result:", *(f"  {t.number} {t.state}: {t.reason}" for t in bad[:5])])
        )
    finished = [trial for trial in good if trial.state == "finished"]  # what was stopped early had fewer epochs
    varied = [{name: trial.settings.get(name) for name in sweep.varying} for trial in finished]
    found = importances(varied, [trial.value(sweep) or 0.0 for trial in finished], sweep.maximize)
    if found:
        width = max(len(one.name) for one in found)
        rows = (f"  {one.name:<{width}}{one.share:6.0%}   best {one.best} (median {one.median:.4f})" for one in found)
        parts.append("\n".join(["share of the ranks' variance that each parameter explains alone:", *rows]))
    return "\n\n".join(parts)


def command(trial: Trial) -> str:
    """Return the command that trains a trial's configuration again, to the bit, as a run that also tests."""
    words = ["python", "train.py"]
    for name, value in trial.settings.items():
        if name == "threads":
            continue
        values = value if isinstance(value, (list, tuple)) else str(value).split() if name == "hidden_size" else [value]
        words += [f"--{name}", *map(str, values)]
    return shlex.join([*words, "--threads", "1"])


def _varied(sweep: Sweep, trial: Trial) -> str:
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value := trial.settings.get(name), float) else f"{name}={value}"
        for name in sweep.varying
    )
