"""Why configurations of the assignment's space fail, and what saves them: ``python -m reports.failures [--run]``.

Each case is a configuration as the search has found them failing, and changes of one setting. The networks are looked
at by layer before the first step, after the first epoch and at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from attrs import asdict, frozen

from fnn.cli import guarded
from fnn.errors import DivergenceError
from fnn.experiment import observe, plan_for
from fnn.training import initial_state
from reports.probes import look, moved
from reports.runs import Row, Settings, config_for, key, parts_for, rows_asked_for, seeded

RESULTS = Path(__file__).parent / "results" / "failures.jsonl"
SEEDS = (1, 2, 3)
BASE = {
    "preset": "assignment",
    "epochs": 5,
    "hidden_size": 64,
    "batch_size": 32,
    "num_layers": 3,
    "activation": "ReLU",
    "weight_init": "He",
    "optimizer": "nadam",
    "learning_rate": 0.001,
}


@frozen
class Case:
    """What fails, and changes of one setting each."""

    name: str
    settings: Settings  # over BASE
    changes: Sequence[Settings]

    @property
    def arms(self) -> list[dict[str, Any]]:
        """The settings of the failing configuration, then those of each change."""
        return [{**self.settings, **change} for change in ({}, *self.changes)]


CASES = (
    Case("weight decay 0.5", {"weight_decay": 0.5}, ({"weight_decay": 0.0005}, {"weight_decay": 0.0})),
    Case(
        "sgd at a learning rate of 0.0001",
        {"optimizer": "sgd", "learning_rate": 0.0001},
        ({"learning_rate": 0.001}, {"learning_rate": 0.1}, {"optimizer": "nadam"}),
    ),
    Case(
        "five layers of sigmoids under sgd",
        {"activation": "sigmoid", "num_layers": 5, "optimizer": "sgd", "weight_init": "Xavier"},
        ({"learning_rate": 0.1}, {"optimizer": "nadam"}, {"activation": "tanh"}, {"num_layers": 1}),
    ),
    Case(
        "five layers of sigmoids, random weights",
        {"activation": "sigmoid", "num_layers": 5, "weight_init": "random", "learning_rate": 0.0001},
        ({"weight_init": "Xavier"}, {"learning_rate": 0.001}, {"activation": "tanh"}, {"num_layers": 3}),
    ),
    # Momentum that applies a rate of 0.001 twice, v = m v + rate g and theta -= rate v, is momentum with its square.
    Case(
        "momentum that applies the learning rate of 0.001 twice",
        {"optimizer": "momentum", "learning_rate": 1e-6},
        ({"learning_rate": 0.001}, {"learning_rate": 0.1}),
    ),
)


def tasks(_rows: Sequence[Row] = ()) -> Iterator[dict[str, Any]]:
    """Yield all runs."""
    return seeded([arm for case in CASES for arm in case.arms], SEEDS)


def measure(task: Row) -> dict[str, Any]:
    """Train, looking inside before the first step, after the first epoch and after the last."""
    config = config_for(task, **BASE)
    parts = parts_for(config)
    plan = plan_for(config, parts)
    start = initial_state(plan).params
    values: list[float] = []
    looks = [_look(look(plan.spec, start, parts.train))]
    row: dict[str, Any] = {"values": values, "looks": looks}
    try:
        for state, report in observe(config, parts):
            assert report is not None, "an epoch is one piece"
            values.append(round(report.val_accuracy, 5))
            if report.epoch in (1, config.epochs):
                looks.append(_look(look(plan.spec, state.params, parts.train)))
                row["moved"] = _digits(moved(state.params, start))
    except DivergenceError as error:
        return {"state": "diverged", "reason": str(error), **row}
    return {"state": "finished", **row}


def _look(found: Any) -> dict[str, list[float]]:
    return {name: [_digits(value) for value in values] for name, values in asdict(found).items()}


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


# What the runs come to


def of(rows: Sequence[Row], settings: Settings) -> list[Row]:
    """Return the runs of settings, by seed."""
    return sorted((r for r in rows if key(r["settings"]) == key(settings)), key=lambda row: row["seed"])


def accuracy(rows: Sequence[Row], settings: Settings) -> float:
    """Return the mean accuracy of the last epoch over the seeds."""
    return mean(row["values"][-1] for row in of(rows, settings))


def average(rows: Sequence[Row], at: int, name: str) -> list[float]:
    """Return the mean over runs of a figure by layer: at the start (0), after the first epoch (1), at the end (-1)."""
    return [mean(layer) for layer in zip(*(row["looks"][at][name] for row in rows), strict=True)]


def main(arguments: Sequence[str]) -> int:
    rows = rows_asked_for("reports.failures", __doc__, RESULTS, tasks, measure, arguments)
    for case in CASES:
        print(case.name)
        for arm, change in zip(case.arms, ({}, *case.changes), strict=True):
            if found := of(rows, arm):
                gradients = " ".join(f"{norm:.2g}" for norm in average(found, 0, "gradients"))
                print(f"  {change or 'as it was'}: {accuracy(rows, arm):.2%} gradients at the start: {gradients}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.failures"))
