"""Experiments as files: each missing run is run once, whatever came before, and how it ended is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.errors import DivergenceError, UserError
from fnn.files import append_line, read_lines
from reports import runs
from tests.shell import DATA, environment

tasks = st.builds(lambda a, seed: {"settings": {"a": a}, "seed": seed}, st.integers(0, 3), st.integers(0, 2))


@given(wanted=st.lists(tasks), rows=st.lists(tasks), failed=st.lists(tasks))
def test_what_is_missing_is_each_task_that_no_ended_row_has_once(wanted: Any, rows: Any, failed: Any) -> None:
    found = list(runs.missing([*rows, *({**row, "state": "failed"} for row in failed)], wanted))
    assert len({runs.name_of(task) for task in found}) == len(found)
    assert {runs.name_of(t) for t in found} == {runs.name_of(t) for t in wanted} - {runs.name_of(t) for t in rows}


def test_seeds_are_paired_and_the_outer_loop() -> None:
    arms = [{"a": 1}, {"a": 2}]
    found = [(task["settings"]["a"], task["seed"]) for task in runs.seeded(arms, [5, 6])]
    assert found == [(1, 5), (2, 5), (1, 6), (2, 6)]


def measure(task: Mapping[str, Any]) -> dict[str, Any]:
    """What processes of the tests run: settings say how it ends."""
    if task["settings"]["a"] == 1:
        raise DivergenceError(3, float("nan"), 0.5)
    if task["settings"]["a"] == 2:
        raise UserError("expected more")
    if task["settings"]["a"] == 3:
        os._exit(1)
    return {"state": "finished", "process": os.getpid(), "value": task["seed"]}


def test_runs_are_recorded_as_they_end_and_only_the_failed_are_run_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"

    def wanted(rows: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
        """The second seed only where the first has finished: what is run depends on what is recorded."""
        first = list(runs.seeded([{"a": a} for a in range(3)], [0]))
        good = [row["settings"] for row in rows if row["state"] == "finished"]
        return [*first, *runs.seeded(good, [1])]

    found = runs.run(path, "command", wanted, measure, workers=2)
    about, *rows = read_lines(path)
    assert about["command"] == "command" and about["machine"]
    assert rows == found == runs.recorded(path)
    states = {runs.name_of(row): row["state"] for row in rows}
    assert sorted(states.values()) == ["diverged", "failed", "finished", "finished"]
    assert os.getpid() not in {row.get("process") for row in rows}
    assert [row["value"] for row in rows if row["state"] == "finished"] == [0, 1]
    again = runs.run(path, "command", wanted, measure)
    assert again[:4] == found and [row["state"] for row in again[4:]] == ["failed"]


def test_a_dead_process_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with pytest.raises(UserError, match="found one dead"):
        runs.run(path, "command", lambda _: runs.seeded([{"a": 0}, {"a": 3}], [0]), measure)
    assert [row["settings"]["a"] for row in runs.recorded(path)] == [0]


def test_a_file_that_is_missing_has_no_runs_and_is_not_made(tmp_path: Path) -> None:
    assert runs.recorded(tmp_path / "runs.jsonl") == [] and not list(tmp_path.iterdir())


def sleep(task: Mapping[str, Any]) -> dict[str, Any]:
    append_line(task["settings"]["path"], {"process": os.getpid()})
    time.sleep(60)
    return {"state": "finished"}


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    path = tmp_path / "process"
    task = {"settings": {"path": str(path)}, "seed": 0}
    script = tmp_path / "script.py"
    script.write_text(
        f"""from pathlib import Path
from reports import runs
from tests.test_runs import sleep
if __name__ == "__main__":
    runs.run(Path({str(tmp_path / "runs")!r}), "command", lambda _: [{task!r}], sleep)
"""
    )
    parent = subprocess.Popen([sys.executable, str(script)], env=environment())
    deadline = time.monotonic() + 60
    while not (path.exists() and read_lines(path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = read_lines(path)[0]["process"]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().split(")")[-1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def test_a_run_reports_each_epoch_and_how_it_ended() -> None:
    settings = {"preset": "assignment", "epochs": 2, "data_dir": str(DATA), "hidden_size": 4}
    found = runs.trained(settings)
    assert found["state"] == "finished" and len(found["values"]) == len(found["seconds"]) == 2
    diverged = runs.trained({**settings, "learning_rate": 1e30, "activation": "identity"})
    assert diverged["state"] == "diverged" and "reason" not in diverged
    failed = runs.trained({**settings, "data_dir": "nowhere"})
    assert failed["state"] == "failed" and failed["reason"]
