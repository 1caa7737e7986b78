"""All optimizers on equal terms: ``python -m reports.optimizers`` trains what is missing of the comparison.

Each optimizer trains the same network, from the same initial weights, on the same batches in the same order, with each
learning rate of one grid; then, with the rate whose last epoch is the best on the validation images, from fresh seeds.
Nothing else differs, and nothing is tuned but the rate. The losses of training are means over pieces of an epoch, each
batch before its update. A run that diverges is recorded as such.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import fnn
from fnn.data import Dataset
from fnn.errors import DivergenceError
from fnn.files import append_line, read_lines
from fnn.optimizers import OPTIMIZERS
from fnn.training import Plan, Tally
from reports.speed import machine

RESULTS = Path(__file__).parent / "results" / "optimizers.jsonl"
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
SEEDS = (1, 2, 3)  # of the chosen rates; the grid's own is 0
SPEC = fnn.Spec((784, 128, 128, 10), activation="ReLU", initializer="He")
EPOCHS, BATCH, PIECES = 8, 64, 4  # pieces: of an epoch, each with its own loss
FRACTION = 0.1  # held out to validate on


def losses(tallies: Sequence[Tally]) -> list[float]:
    """Return the mean training loss between each tally and the next; one that has not grown counts a new epoch.

    >>> losses([Tally(), Tally(2.0, 0, 4), Tally(3.0, 0, 8), Tally(1.0, 0, 4)])
    [0.5, 0.25, 0.25]
    """

    def mean(before: Tally, after: Tally) -> float:
        start = before if after.samples > before.samples else Tally()
        return (after.loss - start.loss) / (after.samples - start.samples)

    return [mean(before, after) for before, after in pairwise(tallies)]


def trial(name: str, rate: float, seed: int, train: Dataset, validation: Dataset) -> dict[str, Any]:
    """Train a network and return what came of it, up to the step at which it diverged."""
    plan = Plan(SPEC, OPTIMIZERS[name](), rate, BATCH, seed=seed)
    began, tallies, accuracies, ended = time.perf_counter(), list[Tally](), list[float](), "finished"
    try:
        for state in fnn.train(plan, train, EPOCHS, steps=-(-plan.steps_per_epoch(len(train)) // PIECES)):
            tallies.append(state.tally)
            if state.epoch == len(accuracies) + 1:
                accuracies.append(fnn.evaluate(SPEC, state.params, validation).accuracy)
    except DivergenceError:
        ended = "diverged"
    return {
        "optimizer": name, "rate": rate, "seed": seed, "state": ended,
        "losses": [float(f"{loss:.5g}") for loss in losses(tallies)],
        "accuracies": [round(accuracy, 5) for accuracy in accuracies],
        "seconds": round(time.perf_counter() - began, 2),
    }  # fmt: skip


def chosen(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return each optimizer's rate with the best last epoch on the grid, the smaller of equal ones."""
    grid = sorted((row for row in rows if row["seed"] == 0), key=lambda row: row["rate"])
    ended = [row for row in grid if row["state"] == "finished"]
    best = {name: max((row for row in ended if row["optimizer"] == name), key=last) for name in OPTIMIZERS}
    return {name: row["rate"] for name, row in best.items()}


def last(row: Mapping[str, Any]) -> float:
    """Return the validation accuracy after the last epoch."""
    return row["accuracies"][-1]


def missing(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    """Return what is not yet recorded: of the grid, or, once it is complete, of the chosen rates."""
    done = {(row["optimizer"], row["rate"], row["seed"]) for row in rows}
    grid = [(name, rate, 0) for rate in RATES for name in OPTIMIZERS if (name, rate, 0) not in done]
    if grid:
        return grid
    return [(*one, seed) for seed in SEEDS for one in chosen(rows).items() if (*one, seed) not in done]


def recorded() -> list[dict[str, Any]]:
    """Return the recorded trials."""
    return read_lines(RESULTS)[1:]


def main() -> int:
    if not RESULTS.exists():
        append_line(RESULTS, {"command": "python -m reports.optimizers", "machine": machine()})
    images = fnn.load("fashion_mnist")
    train, validation = (
        fnn.dataset(images.train_images[index], images.train_labels[index])
        for index in fnn.split(images.train_labels, FRACTION, seed=0)
    )
    while tasks := missing(recorded()):
        row = trial(*tasks[0], train, validation)
        append_line(RESULTS, row)
        print(
            f"{len(tasks)} to go; {row['optimizer']} {row['rate']:g} {row['seed']}: {row['accuracies'][-1:]}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
