"""The trials of a sweep and their durable journal, trials.jsonl: what is on disk is all there is to know."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import define, evolve, frozen

from fnn.errors import UserError
from fnn.experiment import Report
from fnn.files import append_line, exclusive, plain, read_lines, write_atomically
from fnn.samplers import Past
from fnn.sweepfile import Sweep, checked_before

JOURNAL, DEFINITION = "trials.jsonl", "sweep.json"
OVER = ("finished", "stopped", "diverged", "failed", "died")


@frozen
class Trial:
    """What is known of a trial; ``state`` is unfinished or one of OVER."""

    number: int
    settings: Mapping[str, Any]
    reports: tuple[Mapping[str, Any], ...] = ()
    state: str = "unfinished"
    reason: str = ""

    @property
    def over(self) -> bool:
        return self.state != "unfinished"

    @property
    def good(self) -> bool:
        """Whether it has a result: finished, or stopped early."""
        return self.state in ("finished", "stopped")

    @property
    def seconds(self) -> float:
        return sum(report["seconds"] for report in self.reports)

    def best(self, sweep: Sweep) -> Mapping[str, Any] | None:
        """Return the first report of the best epoch by the sweep's metric."""
        sign = 1 if sweep.maximize else -1
        known = [report for report in self.reports if report.get(sweep.metric) is not None]
        return max(known, key=lambda report: sign * report[sweep.metric], default=None)

    def value(self, sweep: Sweep) -> float | None:
        """Return the best epoch's metric."""
        best = self.best(sweep)
        return None if best is None else best[sweep.metric]

    def past(self, metric: str) -> Past:
        """Return the trial as samplers see it."""
        state = "running" if not self.over else "finished" if self.good else "failed"
        values = tuple(report[metric] for report in self.reports if report.get(metric) is not None)
        return Past(self.settings, values, state)


Trials = dict[int, Trial]  # by number, which counts from 0


def applied(trials: Trials, event: Mapping[str, Any]) -> Trials:
    """Return the trials after an event of the journal; a trial that is started again begins anew.

    >>> applied({}, {"event": "start", "trial": 0, "settings": {"epochs": 1}})[0].state
    'unfinished'
    """
    return trials | {event["trial"]: _after(trials, event)}


def _after(trials: Trials, event: Mapping[str, Any]) -> Trial:
    number, kind = event["trial"], event["event"]
    if kind == "start":
        return Trial(number, event["settings"])
    trial = trials[number]
    if kind == "epoch":
        report = {key: value for key, value in event.items() if key not in ("event", "trial")}
        return evolve(trial, reports=(*trial.reports, report))
    if kind == "end":
        return evolve(trial, state="stopped" if event.get("stopped") else "finished")
    return evolve(trial, state=event["kind"], reason=event["reason"])


@define
class Journal:
    """The journal of a sweep, open to its only writer; ``trials`` is what its lines come to."""

    directory: Path
    trials: Trials

    def add(self, event: str, number: int, **details: Any) -> None:
        """Write an event as one flushed line, then let it count."""
        line = plain({"event": event, "trial": number, **details})
        append_line(self.directory / JOURNAL, line)
        self.trials[number] = _after(self.trials, line)

    @property
    def in_order(self) -> list[Trial]:
        return [self.trials[number] for number in sorted(self.trials)]


@contextmanager
def opened(directory: Path, sweep: Sweep, seed: int) -> Iterator[Journal]:
    """Make or enter the directory of a sweep, for this process alone, until the end of the block.

    Raises UserError where another process is at work, or where the directory belongs to another sweep.
    """
    with exclusive(directory, "--dir", "sweep"):
        definition = directory / DEFINITION
        if definition.exists():
            old, old_seed = read_definition(directory)
            if (old.identity, old_seed) != (sweep.identity, seed):
                differing = [
                    k for k in {**old.identity, **sweep.identity} if old.identity.get(k) != sweep.identity.get(k)
                ]
                raise UserError(
                    f"--dir: expected the sweep that {directory} was begun with, found another "
                    f"{', '.join(differing) or '--seed'}; name another directory by --dir"
                )
        content = json.dumps({"seed": seed, "file": plain(sweep.source)}, indent=2).encode() + b"\n"
        write_atomically(definition, content)
        yield Journal(directory, read_trials(directory))


def read_definition(directory: Path) -> tuple[Sweep, int]:
    """Return the sweep of a directory and its seed."""
    try:
        content = json.loads((directory / DEFINITION).read_bytes())
        return checked_before(content["file"]), int(content["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"expected the directory of a sweep, found no {DEFINITION} in {directory} ({error})") from None


def read_trials(directory: Path) -> Trials:
    """Return the trials of a sweep's directory, at work or not."""
    path = directory / JOURNAL
    trials: Trials = {}
    for number, event in enumerate(read_lines(path) if path.exists() else (), 1):
        try:
            trials[event["trial"]] = _after(trials, event)
        except (KeyError, TypeError):
            raise UserError(f"{path}: line {number}: expected an event of a started trial, found {event}") from None
    return trials


def ranked(sweep: Sweep, trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that have a result, the best first, the earlier first among equals."""
    sign = -1 if sweep.maximize else 1
    good = [(value, trial) for trial in trials if trial.good and (value := trial.value(sweep)) is not None]
    return [trial for _, trial in sorted(good, key=lambda pair: (sign * pair[0], pair[1].number))]


def table(sweep: Sweep, trials: Sequence[Trial], rows: int = 10) -> str:
    """Return the best trials as a table for people: the parameters that vary, and the best epoch's metric."""
    cells = [["trial", sweep.metric, "epoch", "seconds", *sweep.varying]]
    for trial in ranked(sweep, trials)[:rows]:
        best = trial.best(sweep)
        assert best is not None, "ranked trials have a result"
        settings = [_text(trial.settings.get(name)) for name in sweep.varying]
        value = best[sweep.metric]
        shown = f"{value:.2%}" if sweep.metric.endswith("accuracy") else f"{value:.4f}"
        cells.append([str(trial.number), shown, str(best["epoch"]), f"{trial.seconds:.1f}", *settings])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def to_csv(sweep: Sweep, trials: Iterable[Trial]) -> str:
    """Return all trials as CSV: number, state, settings, the best epoch's report, seconds in all and the reason."""
    figures = tuple(name for name in attrs.fields_dict(Report) if name != "seconds")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("trial", "state", *sweep.parameters, *(f"best_{name}" for name in figures), "seconds", "reason"))
    for trial in trials:
        best = trial.best(sweep) or {}
        settings = (_words(trial.settings.get(name)) for name in sweep.parameters)
        writer.writerow(
            (trial.number, trial.state, *settings, *map(best.get, figures), f"{trial.seconds:.3f}", trial.reason)
        )
    return out.getvalue()


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _words(value)


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
