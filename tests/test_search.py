"""Sweeps as a whole: killed and resumed, on any number of workers, with failing trials, to their last words."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import define, evolve, field

from fnn import search, trials
from fnn.samplers import size
from fnn.search import Options, Search
from fnn.signals import Request
from fnn.sweepfile import Sweep, parse, read
from fnn.trials import Trial, opened, read_trials
from fnn.workers import Event, Job
from tests import shell
from tests.shell import DATA, ROOT

CONTENT: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {
        "preset": {"value": "assignment"},
        "batch_size": {"value": 32},
        "epochs": {"values": [3, 12]},
        "optimizer": {"values": ["sgd", "adam"]},
        "learning_rate": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1},
    },
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNN_DATA_DIR", str(DATA))


def results(directory: Path) -> dict[int, tuple[Any, ...]]:
    """Return each trial's settings and the accuracies of its epochs."""
    found = read_trials(directory)
    return {k: (one.settings, [r["val_accuracy"] for r in one.reports], one.state) for k, one in found.items()}


def ends(directory: Path) -> Counter[int]:
    lines = (directory / trials.JOURNAL).read_text().splitlines()
    return Counter(event["trial"] for event in map(json.loads, lines) if event["event"] in ("end", "error"))


def test_killed_at_any_moment_and_resumed_each_trial_ends_once(tmp_path: Path, small: None) -> None:
    """The resumed sweep is the uninterrupted one, which one worker ran, line for line of its results."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(CONTENT))
    command = [sys.executable, "-m", "fnn", "sweep", "s.yaml", "--count", "14", "--workers", "2"]
    directory = tmp_path / "runs" / "sweeps" / "s"
    journal = directory / trials.JOURNAL
    for lines in (1, 16, 47):
        process = subprocess.Popen(command, cwd=tmp_path, env=shell.environment(), stdout=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < lines):
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was at work"
    assert 0 < sum(ends(directory).values()) < 14
    said: list[str] = []
    search.run(parse(CONTENT), directory, 0, Options(count=14, workers=2), said.append)
    assert said[0].startswith("going on with")
    assert ends(directory) == {number: 1 for number in range(14)}
    search.run(parse(CONTENT), tmp_path / "other", 0, Options(count=14, workers=1), lambda _: None)
    assert results(directory) == results(tmp_path / "other")
    before = journal.read_bytes()
    search.run(parse(CONTENT), directory, 0, Options(count=14), said.append)
    assert journal.read_bytes() == before, "nothing is left to do"


def test_a_signal_ends_a_sweep_that_goes_on_later(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(CONTENT))
    command = [sys.executable, "-m", "fnn", "sweep", "s.yaml", "--count", "1000"]
    process = subprocess.Popen(command, cwd=tmp_path, env=shell.environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and "trial" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM and "the same command goes on" in out
    assert "Traceback" not in out and "to train the best: python train.py --" in out


def test_what_fails_or_diverges_is_recorded_and_stops_nothing(tmp_path: Path, small: None) -> None:
    parameters = {
        "preset": {"value": "assignment"},
        "activation": {"value": "ReLU"},
        "learning_rate": {"values": [0.1, 1e30]},
        "num_layers": {"values": [2, 3]},
        "hidden_size": {"values": [[8, 8]]},
        "batch_size": {"value": 64},
    }
    said: list[str] = []
    sweep = parse({"method": "grid", "parameters": parameters})
    assert search.run(sweep, tmp_path, 0, Options(workers=2), said.append) == 0
    found = read_trials(tmp_path)
    assert Counter(one.state for one in found.values()) == {"finished": 1, "diverged": 1, "failed": 2}
    text = "\n".join(said)
    assert "3 without a result" in text and "training diverged: the loss is" in text and "found 2" in text
    before = (tmp_path / trials.JOURNAL).read_text()
    search.run(sweep, tmp_path, 0, Options(workers=1, retry=True), said.append)
    lines = (tmp_path / trials.JOURNAL).read_text().removeprefix(before).splitlines()
    retried = {event["trial"] for event in map(json.loads, lines)}
    assert retried == {number for number, one in found.items() if one.state == "failed"}


def test_a_sweep_without_any_success_says_so(tmp_path: Path, small: None) -> None:
    content = CONTENT | {
        "parameters": CONTENT["parameters"] | {"num_layers": {"values": [3]}, "hidden_size": {"values": [[8, 4]]}}
    }
    said: list[str] = []
    assert search.run(parse(content), tmp_path / "s", 0, Options(count=2, workers=1), said.append) == 1
    assert said[-1] == "no trial has succeeded"


def test_the_best_is_retrained_to_the_bit_by_the_command_that_is_shown(tmp_path: Path, small: None) -> None:
    said: list[str] = []
    content = CONTENT | {"parameters": CONTENT["parameters"] | {"hidden_size": {"values": [[16, 8], 8]}}}
    search.run(parse(content), tmp_path / "s", 3, Options(count=6, workers=2), said.append)
    (text,) = (text for text in said if "to train the best" in text)
    (command,) = (line.split("python train.py ")[1] for line in text.splitlines() if "to train the best" in line)
    done = shell.run(str(ROOT / "train.py"), *command.split(), "--wandb_mode", "disabled", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "runs").glob("*/summary.json")
    best = max(accuracy for _, accuracies, _ in results(tmp_path / "s").values() for accuracy in accuracies)
    assert json.loads(summary.read_text())["best_val_accuracy"] == best


def test_show_and_csv(tmp_path: Path, small: None) -> None:
    search.run(parse(CONTENT), tmp_path / "s", 0, Options(count=8, workers=1), lambda _: None)
    shown = shell.fnn("sweep", "--show", "s", cwd=tmp_path)
    assert shown.returncode == 0 and "to train the best" in shown.stdout and "explains alone" in shown.stdout
    rows = shell.fnn("sweep", "--show", "s", "--csv", cwd=tmp_path).stdout.splitlines()
    assert len(rows) == 9 and rows[0].startswith("trial,state,preset,") and rows[1].startswith("0,finished,assignment")
    shell.refused(shell.fnn("sweep", "--show", "nowhere", cwd=tmp_path), "expected the directory of a sweep")
    shell.refused(shell.fnn("sweep", cwd=tmp_path), "expected a sweep file")


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_file_of_the_project_runs(path: Path, tmp_path: Path, small: None) -> None:
    """Two trials of each, a minimum of epochs on the small data, in the loop but without processes."""
    sweep = read(path)
    short = {**sweep.parameters, "epochs": {"value": 1}}
    sweep = evolve(sweep, parameters=short, source={**sweep.source, "parameters": short})
    with opened(tmp_path, sweep, 0) as journal:
        Search(sweep, journal, Inline(), 0, Options(count=2)).go(Request(), lambda _: None)
    assert [one.state for one in journal.in_order] == ["finished"] * 2


@define
class Inline:
    """A pool without processes: a job is run where its events are asked for."""

    waiting: list[Job] = field(factory=list)

    def free(self) -> int:
        return 1 - len(self.waiting)

    def start(self, job: Job) -> None:
        self.waiting.append(job)

    def events(self, seconds: float) -> list[Event]:
        from fnn.workers import attempt

        job, found = self.waiting.pop(), []
        ended = attempt(job, lambda report: not found.append((job.number, "epoch", report)))
        return [*found, (job.number, *ended)]

    def answer(self, number: int, go_on: bool) -> None: ...

    def close(self) -> None: ...


@define
class Scripted:
    """A pool of four whose trials' accuracy after epoch e is e * momentum / 10, one epoch of each at a time."""

    running: dict[int, list[float]] = field(factory=dict)
    stopped: list[int] = field(factory=list)

    def free(self) -> int:
        return 4 - len(self.running)

    def start(self, job: Job) -> None:
        self.running[job.number] = [0, job.settings["momentum"]]

    def events(self, seconds: float) -> list[Event]:
        found: list[Event] = []
        for number in list(self.running):
            self.running[number][0] += 1
            epoch, momentum = self.running[number]
            if epoch > 10 or number in self.stopped:
                del self.running[number]
                found.append((number, "end", {"stopped": number in self.stopped}))
            else:
                found.append((number, "epoch", {"epoch": epoch, "val_accuracy": epoch * momentum / 10, "seconds": 1.0}))
        return found

    def answer(self, number: int, go_on: bool) -> None:
        self.stopped += [] if go_on else [number]

    def close(self) -> None: ...


def scripted(tmp_path: Path, count: int, **more: Any) -> tuple[Sweep, list[Trial], list[str]]:
    parameters = {"momentum": {"distribution": "uniform", "min": 0.0, "max": 0.99}}
    sweep = parse(CONTENT | {"parameters": parameters} | more)
    said: list[str] = []
    with opened(tmp_path, sweep, 0) as journal:
        loop = Search(sweep, journal, Scripted(), 0, Options(count=count))
        with search.Screen(loop, said.append) as screen:
            loop.go(Request(), screen.show)
    return sweep, journal.in_order, said


def test_hyperband_saves_epochs_and_keeps_the_best(tmp_path: Path) -> None:
    early = {"type": "hyperband", "min_iter": 2, "eta": 3}
    sweep, found, said = scripted(tmp_path, 30, early_terminate=early)
    states = Counter(one.state for one in found)
    assert states["stopped"] > 12 and states.total() == len(said) == 30
    best = max(found, key=lambda one: one.settings["momentum"])
    assert best.state == "finished" and trials.ranked(sweep, found)[0] is best
    assert sum(len(one.reports) for one in found) < 0.7 * 300
    assert sum("stopped (early, epoch" in line for line in said) == states["stopped"]


def test_the_target_ends_the_search(tmp_path: Path) -> None:
    metric = {"name": "val_accuracy", "goal": "maximize", "target": 0.9}
    sweep, found, _ = scripted(tmp_path, 200, metric=metric)
    values = [one.value(sweep) or 0 for one in found]
    assert max(values) >= 0.9 and len(found) < 100 and all(one.state == "finished" for one in found)


@pytest.mark.parametrize("method", ["bayes", "custom"])
def test_a_resumed_search_learns_from_the_journal(tmp_path: Path, method: str) -> None:
    more = {"method": method} | ({"scheduler": {"engine": "optuna"}} if method == "custom" else {})
    scripted(tmp_path / "two", 12, **more)
    _, resumed, _ = scripted(tmp_path / "two", 24, **more)
    late = sorted(one.settings["momentum"] for one in resumed[12:])
    assert len(resumed) == 24 and late[6] > 0.75


def test_count_is_the_users_the_files_the_grids_or_the_default(tmp_path: Path) -> None:
    grid = parse({"method": "grid", "parameters": {"epochs": {"values": [1, 2, 3]}}})
    assert size(grid) == 3
    for number, (sweep, count, wanted) in enumerate(
        [
            (grid, None, 3),
            (grid, 2, 2),
            (grid, 9, 3),
            (parse(CONTENT), None, 100),
            (parse(CONTENT | {"run_cap": 7}), None, 7),
            (parse(CONTENT | {"run_cap": 7}), 8, 8),
        ]
    ):
        with opened(tmp_path / str(number), sweep, 0) as journal:
            assert Search(sweep, journal, Scripted(), 0, Options(count=count)).count == wanted


def test_the_live_table_stays_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = parse(CONTENT)
    with opened(tmp_path, sweep, 0) as journal:
        loop = Search(sweep, journal, Scripted(), 0, Options(count=9))
        with search.Screen(loop, print, live=True) as screen:
            for number, accuracy in enumerate((0.5, 0.75)):
                journal.add("start", number, settings={"optimizer": "sgd"})
                journal.add("epoch", number, epoch=1, val_accuracy=accuracy, seconds=1.0)
                journal.add("end", number)
                loop.ended += 1
                screen.show(journal.trials[number])
    first, second, last = capsys.readouterr().out.split("\x1b[J")
    assert first.splitlines()[0].startswith("1 finished of 9") and first.endswith("\x1b[3F")
    assert "75.00%" in second and "min left" in second and second.endswith("\x1b[4F") and last == ""
