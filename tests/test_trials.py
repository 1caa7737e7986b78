"""The journal: what its lines come to, whatever has cut them short, and who may write them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.errors import UserError
from fnn.sweepfile import Sweep, parse
from fnn.trials import JOURNAL, Trial, applied, opened, ranked, read_definition, read_trials, table, to_csv

CONTENT: dict[str, Any] = {"method": "random", "parameters": {"batch_size": {"values": [1, 2]}, "seed": {"value": 3}}}
SWEEP = parse(CONTENT)


def report(epoch: int, accuracy: float | None) -> dict[str, Any]:
    return {"epoch": epoch, "val_accuracy": accuracy, "seconds": 0.5}


def trial(number: int, *accuracies: float, state: str = "finished") -> Trial:
    reports = tuple(report(epoch, value) for epoch, value in enumerate(accuracies, 1))
    return Trial(number, {"batch_size": 1, "seed": 3}, reports, state)


def test_the_journal_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with opened(tmp_path, SWEEP, 5) as journal:
        for number in range(4):
            journal.add("start", number, settings={"batch_size": 1})
            journal.add("epoch", number, **report(1, 0.5))
        journal.add("end", 0, stopped=False)
        journal.add("end", 1, stopped=True)
        journal.add("error", 2, kind="diverged", reason="the loss is nan")
        journal.add("start", 3, settings={"batch_size": 1})
        states = [one.state for one in journal.in_order]
    assert states == ["finished", "stopped", "diverged", "unfinished"]
    found = read_trials(tmp_path)
    assert found == journal.trials and found[2].reason == "the loss is nan" and found[3].reports == ()
    assert {json.loads(line)["event"] for line in (tmp_path / JOURNAL).read_text().splitlines()} == {
        *("start", "epoch", "end", "error")
    }
    sweep, seed = read_definition(tmp_path)
    assert (sweep.identity, seed) == (SWEEP.identity, 5)


@given(data=st.data())
def test_any_beginning_of_a_journal_is_one(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cut at any byte, it holds the trials of its whole lines, and is gone on with."""
    events = [
        {"event": "start", "trial": 0, "settings": {"batch_size": 2}},
        {"event": "epoch", "trial": 0, **report(1, 0.25)},
        {"event": "start", "trial": 1, "settings": {"batch_size": 1}},
        {"event": "end", "trial": 0, "stopped": False},
    ]
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    cut = data.draw(st.integers(0, len(lines)))
    directory = tmp_path_factory.mktemp("sweep")
    (directory / JOURNAL).write_bytes(lines[:cut])
    expected: dict[int, Trial] = {}
    for event in events[: lines[:cut].count(b"\n")]:
        expected = applied(expected, event)
    with opened(directory, SWEEP, 0) as journal:
        assert journal.trials == expected
        journal.add("start", 7, settings={})
    assert read_trials(directory) == expected | {7: Trial(7, {})}


def test_a_directory_is_for_one_process_and_one_sweep(tmp_path: Path) -> None:
    other = parse(CONTENT | {"parameters": {"batch_size": {"values": [1, 4]}}})
    more = parse(CONTENT | {"run_cap": 9, "description": "the same search, but longer"})
    with opened(tmp_path, SWEEP, 0), pytest.raises(UserError, match="a sweep at work"), opened(tmp_path, SWEEP, 0):
        pass
    with pytest.raises(UserError, match="found another parameters"), opened(tmp_path, other, 0):
        pass
    with pytest.raises(UserError, match="found another --seed"), opened(tmp_path, SWEEP, 1):
        pass
    with opened(tmp_path, more, 0) as journal:
        assert journal.trials == {}


@pytest.mark.parametrize("line", ['{"event": "epoch", "trial": 9}', '{"event": "start"}', "[]", "nonsense"])
def test_foreign_lines_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / JOURNAL).write_text(f"{line}\n")
    with pytest.raises(UserError, match="line 1: expected"):
        read_trials(tmp_path)


def test_directories_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the directory of a sweep"):
        read_definition(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--dir: expected a directory to write to"), opened(tmp_path / "file", SWEEP, 0):
        pass


def test_the_best_epoch_counts_and_failures_do_not() -> None:
    trials = [trial(0, 0.5, 0.25), trial(1, 0.75, state="stopped"), trial(2, 0.9, state="diverged"), trial(3, 0.5)]
    assert [one.number for one in ranked(SWEEP, trials)] == [1, 0, 3]
    assert [row.split()[:3] for row in table(SWEEP, trials, 2).splitlines()[1:]] == [
        ["1", "75.00%", "1"],
        ["0", "50.00%", "1"],
    ]
    losses = parse(CONTENT | {"metric": {"name": "val_loss", "goal": "minimize"}})
    low = [Trial(k, {}, ({"epoch": 1, "val_loss": loss, "seconds": 1},), "finished") for k, loss in enumerate((2, 1))]
    assert [one.number for one in ranked(losses, low)] == [1, 0]


def test_csv_has_all_trials_in_full(tmp_path: Path) -> None:
    sweep: Sweep = SWEEP
    rows = list(csv.DictReader(io.StringIO(to_csv(sweep, [trial(0, 1 / 3), trial(1, state="failed")]))))
    assert [row["state"] for row in rows] == ["finished", "failed"]
    assert float(rows[0]["best_val_accuracy"]) == 1 / 3 and rows[1]["best_val_accuracy"] == ""
    assert rows[0]["seed"] == "3" and rows[0]["best_epoch"] == "1"
