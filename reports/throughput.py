"""Trials a second of a sweep with one worker and with two: ``python -m reports.throughput [--rounds N]``.

Both run the same trials through ``python -m fnn sweep``, on as many cores as workers, in turns, each in a directory of
its own. A trial's overhead is the time of its worker that isn't training: the start of the command, the parameters' and
the journal's share, and what the last worker waits for at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fnn import threads
from fnn.cli import guarded
from fnn.errors import UserError
from fnn.files import append_line
from fnn.trials import read_trials
from reports.speed import NEUTRAL, machine

RESULTS = Path(__file__).parent / "results" / "throughput.jsonl"
ROUNDS, TRIALS, EPOCHS = 3, 16, 5
WORKERS = (1, 2)


def content_of(trials: int, epochs: int) -> dict[str, Any]:
    """Return a sweep of so many trials of equal cost: one network, a grid of learning rates."""
    settings = {
        "preset": "assignment",
        "epochs": epochs,
        "num_layers": 3,
        "hidden_size": 64,
        "optimizer": "adam",
        "batch_size": 64,
        "weight_init": "He",
        "activation": "ReLU",
    }
    rates = [round(1e-4 * (1 + number / trials), 8) for number in range(trials)]
    parameters = {name: {"value": value} for name, value in settings.items()} | {"learning_rate": {"values": rates}}
    metric = {"name": "val_accuracy", "goal": "maximize"}
    return {"program": "train.py", "method": "grid", "metric": metric, "parameters": parameters}


def summary(workers: int, wall: float, ends: Sequence[float], training: float) -> dict[str, Any]:
    """Return what a sweep came to: ``ends`` are the seconds at which trials ended, ``training`` is theirs in all.

    The steady rate counts from where each worker has ended its first trial, so without the start of the command.

    >>> summary(1, 9.0, [3.0, 5.0, 7.0, 9.0], 8.0)["steady_per_second"]
    0.5
    """
    trials = len(ends)
    steady = (trials - workers) / (ends[-1] - ends[workers - 1])
    return {
        "workers": workers,
        "trials": trials,
        "wall": round(wall, 3),
        "per_second": round(trials / wall, 4),
        "steady_per_second": round(steady, 4),
        "training": round(training, 3),
        "overhead_per_trial": round((wall * workers - training) / trials, 4),
        "steady_overhead_per_trial": round(workers / steady - training / trials, 4),
    }


def measure(workers: int, trials: int, epochs: int) -> dict[str, Any]:
    """Run the sweep once and return its summary."""
    cores = sorted(os.sched_getaffinity(0))[-workers:]
    with tempfile.TemporaryDirectory() as folder:
        file, directory = Path(folder, "sweep.yaml"), Path(folder, "sweep")
        file.write_text(yaml.safe_dump(content_of(trials, epochs)))
        words = ["-u", "-m", "fnn", "sweep", str(file), "--workers", str(workers), "--dir", str(directory)]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            text=True,
            env=NEUTRAL | {"OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        assert process.stdout is not None
        ends = [time.perf_counter() - began for line in process.stdout if " finished: " in line]
        code, wall = process.wait(), time.perf_counter() - began
        if code or len(ends) != trials:
            raise UserError(f"expected {trials} trials to end, found {len(ends)} and code {code}")
        return summary(workers, wall, ends, sum(trial.seconds for trial in read_trials(directory).values()))


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Return the medians over the rounds and the ratio of the rates of two workers and one.

    >>> print(conclusion([summary(1, 8.5, [2.5, 4.5, 6.5, 8.5], 7.9), summary(2, 4.4, [2.4, 2.4, 4.4, 4.4], 7.9)]))
    1 worker: 0.471 trials/s (steady 0.500), 150 ms overhead a trial (steady 25 ms)
    2 workers: 0.909 trials/s (steady 1.000), 225 ms overhead a trial (steady 25 ms)
    two over one: 1.93 (steady 2.00)
    """
    lines, rates = [], {}
    for workers in WORKERS:
        own = [row for row in rows if row["workers"] == workers]

        def median(name: str, own: Sequence[dict[str, Any]] = own) -> float:
            return statistics.median(row[name] for row in own)

        rates[workers] = median("per_second"), median("steady_per_second")
        lines.append(
            f"{workers} worker{'s' * (workers > 1)}: {rates[workers][0]:.3f} trials/s "
            f"(steady {rates[workers][1]:.3f}), {1000 * median('overhead_per_trial'):.0f} ms overhead a trial "
            f"(steady {1000 * median('steady_overhead_per_trial'):.0f} ms)"
        )
    whole, steady = (two / one for one, two in zip(rates[1], rates[2], strict=True))
    return "\n".join([*lines, f"two over one: {whole:.2f} (steady {steady:.2f})"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.throughput", description="Measure trials a second.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of both, in turns (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of a sweep (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of a trial (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write (default: reports/results)")
    given = parser.parse_args(arguments)
    if threads.available() < max(WORKERS):
        raise UserError(f"expected {max(WORKERS)} cores, found {threads.available()}")
    if given.trials <= max(WORKERS):
        raise UserError(f"--trials: expected more than {max(WORKERS)}, found {given.trials}")
    given.results.unlink(missing_ok=True)
    append_line(given.results, {"command": "python -m reports.throughput", "machine": machine()})
    rows = []
    for turn in range(given.rounds):
        for workers in WORKERS:
            rows.append({"round": turn, **measure(workers, given.trials, given.epochs)})
            append_line(given.results, rows[-1])
            print(f"{workers} worker(s): {rows[-1]['wall']:.1f} s, {rows[-1]['per_second']:.3f} trials/s", flush=True)
    print(conclusion(rows))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.throughput"))
