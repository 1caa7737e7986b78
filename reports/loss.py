"""Cross entropy against squared error: ``python -m reports.loss [--run]``.

Pairs of runs that differ by the loss alone: six optimizers, three learning rates of each, two depths, three seeds. Each
loss's best setting, by the mean validation accuracy of the first two seeds, is trained from fresh ones, and the two
networks of a seed are compared image by image.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from attrs import frozen

from fnn.cli import guarded
from fnn.data import Dataset
from fnn.errors import DivergenceError
from fnn.experiment import observe, plan_for
from fnn.metrics import evaluate
from fnn.network import Params, Spec
from fnn.training import initial_state
from reports.intervals import Interval, in_points, mcnemar, paired, paired_shares
from reports.probes import calibration_error, cross_entropy, gradient_norm, look, packed, unpacked
from reports.runs import Row, Settings, config_for, key, missing, parts_for, rows_asked_for, seeded

RESULTS = Path(__file__).parent / "results" / "loss.jsonl"
LOSSES = ("cross_entropy", "mean_squared_error")
#: Each optimizer by its usual constants, and the learning rates that it begins with, steps of the ladder apart.
RATES = {
    "sgd": (0.03, 0.3, 3.0),
    "momentum": (0.003, 0.03, 0.3),
    "nag": (0.003, 0.03, 0.3),
    "rmsprop": (0.0003, 0.001, 0.003),
    "adam": (0.0003, 0.001, 0.003),
    "nadam": (0.0003, 0.001, 0.003),
}
LADDER = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0)
STEP = {"sgd": 2, "momentum": 2, "nag": 2}  # rungs; one for rules that scale the gradient's size away
DEPTHS = (2, 5)
SEEDS, FRESH = (1, 2, 3), (4, 5, 6, 7, 8)
CHOOSING = SEEDS[:2]  # by which the best settings are chosen
BASE = {
    "preset": "assignment",
    "epochs": 5,
    "hidden_size": 64,
    "batch_size": 64,
    "activation": "ReLU",
    "weight_init": "He",
    "momentum": 0.9,
    "beta": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
}
PIECES = 8  # of an epoch, after each of which the gradient is looked at in the first


def arms(rows: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """Return the settings of the pairs' runs, as far as the rows tell, the loss innermost: pairs stand together.

    >>> len(arms())
    72
    """
    return [
        {"optimizer": optimizer, "learning_rate": rate, "num_layers": depth, "loss": loss}
        for depth, optimizer in product(DEPTHS, RATES)
        for rate, loss in product(rates_of(rows, optimizer, depth), LOSSES)
    ]


def rates_of(rows: Sequence[Row], optimizer: str, depth: int) -> list[float]:
    """Return an optimizer's learning rates at a depth: those to begin with, and the next as long as an end is the best.

    Both losses are run at all of them, so either loss's best end asks for more.
    """
    rates, step = list(RATES[optimizer]), STEP.get(optimizer, 1)
    for _ in LADDER:
        curves = [curve(rows, loss, optimizer, depth) for loss in LOSSES]
        if not all(rate in own for own in curves for rate in rates):
            break
        low, high = (
            any(own[end] > max(own[rate] for rate in rates if rate != end) for own in curves)
            for end in (rates[0], rates[-1])
        )
        first, last = LADDER.index(rates[0]) - step, LADDER.index(rates[-1]) + step
        below = [LADDER[first]] if low and first >= 0 else []
        above = [LADDER[last]] if high and last < len(LADDER) else []
        rates = below + rates + above
    return rates


def curve(rows: Sequence[Row], loss: str, optimizer: str, depth: int) -> dict[float, float]:
    """Return the mean accuracy over the seeds by the learning rate, of those rates that all seeds have been run at."""
    found: dict[float, list[float]] = {}
    for row in rows:
        cell = tuple(row["settings"][name] for name in ("loss", "optimizer", "num_layers"))
        if cell == (loss, optimizer, depth) and row["seed"] in SEEDS and row["state"] != "failed":
            found.setdefault(row["settings"]["learning_rate"], []).append(last(row))
    return {rate: mean(values) for rate, values in sorted(found.items()) if len(values) == len(SEEDS)}


def tasks(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the runs of the pairs, and once these have ended those of each loss's best setting from fresh seeds."""
    pairs_wanted = list(seeded(arms(rows), SEEDS))
    yield from pairs_wanted
    if not list(missing(rows, pairs_wanted)):
        yield from seeded([best(rows, loss) for loss in LOSSES], FRESH)


def measure(task: Row) -> dict[str, Any]:
    """Train, looking at the gradient as the first epoch goes on, and judge the network by the validation images."""
    config = config_for(task, **BASE)
    parts = parts_for(config)
    plan = plan_for(config, parts)
    start = initial_state(plan).params
    values: list[float] = []
    row: dict[str, Any] = {"values": values, "norms": [_norm(plan.spec, start, parts.train)]}
    row["by_layer"] = [_digits(norm) for norm in look(plan.spec, start, parts.train).gradients]
    state = None
    try:
        for state, report in observe(config, parts, pieces=PIECES):
            if not values:
                row["norms"].append(_norm(plan.spec, state.params, parts.train))
            if report:
                values.append(round(report.val_accuracy, 5))
    except DivergenceError as error:
        return {"state": "diverged", "reason": str(error), **row}
    assert state is not None, "there is an epoch"
    found = evaluate(plan.spec, state.params, parts.validation)
    labels = parts.validation.labels
    row |= {"ece": round(calibration_error(found.probabilities, labels), 5)}
    row |= {"cross_entropy": round(cross_entropy(found.probabilities, labels), 5)}
    if task["seed"] in FRESH:
        row |= {"images": len(labels), "right": packed(found.predictions == labels)}
    return {"state": "finished", **row}


def _norm(spec: Spec, params: Params, data: Dataset) -> float:
    return _digits(gradient_norm(spec, params, data))


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


# What the runs come to: pure functions of them


def last(row: Row) -> float:
    """Return the last epoch's accuracy; a network that has diverged knows nothing: one of ten classes."""
    return row["values"][-1] if row["state"] == "finished" else 0.1


def first(row: Row) -> float:
    """Return the first epoch's accuracy."""
    return row["values"][0] if row["values"] else 0.1


def best(rows: Iterable[Row], loss: str) -> Settings:
    """Return the settings with the best mean accuracy over the seeds that choose, of those with a loss."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        if row["seed"] in CHOOSING and row["settings"]["loss"] == loss and row["state"] != "failed":
            groups.setdefault(key(row["settings"]), []).append(row)
    return max(groups.values(), key=lambda group: (mean(map(last, group)), -group[0]["settings"]["num_layers"]))[0][
        "settings"
    ]


@frozen
class Pair:
    """Two runs that differ by the loss alone."""

    settings: Settings  # without the loss
    seed: int
    ours: Row  # by cross entropy
    theirs: Row  # by squared error


def pairs(rows: Iterable[Row]) -> list[Pair]:
    """Return the complete pairs of the comparison."""
    found: dict[Any, dict[str, Row]] = {}
    for row in rows:
        if row["seed"] in SEEDS and row["state"] != "failed":
            rest = {name: value for name, value in row["settings"].items() if name != "loss"}
            found.setdefault((key(rest), row["seed"]), {})[row["settings"]["loss"]] = row
    return [
        Pair(dict(rest), seed, *(both[loss] for loss in LOSSES))
        for (rest, seed), both in found.items()
        if len(both) == len(LOSSES)
    ]


def tuned(some: Sequence[Pair], optimizer: str, depth: int) -> list[tuple[Row, Row]]:
    """Return the runs of an optimizer and a depth, each loss at the learning rate that is the best for it, by seed.

    They are of the seeds for which every learning rate has been run.
    """
    own = [p for p in some if (p.settings["optimizer"], p.settings["num_layers"]) == (optimizer, depth)]
    tried = sorted({pair.settings["learning_rate"] for pair in own})
    seeds = [seed for seed in SEEDS if sum(pair.seed == seed for pair in own) == len(tried)]
    if not own or not seeds:
        return []
    rates = {
        rate: [pair for pair in own if pair.settings["learning_rate"] == rate and pair.seed in seeds] for rate in tried
    }
    ours = max(rates, key=lambda rate: mean(last(pair.ours) for pair in rates[rate]))
    theirs = max(rates, key=lambda rate: mean(last(pair.theirs) for pair in rates[rate]))
    return [(a.ours, b.theirs) for a in rates[ours] for b in rates[theirs] if a.seed == b.seed]


@frozen
class Duel:
    """Two networks of a seed compared on the images of its validation."""

    seed: int
    ours: int  # images that only cross entropy's got right
    theirs: int
    images: int
    gain: Interval
    probability: float  # by McNemar's test


def duels(rows: Sequence[Row]) -> list[Duel]:
    """Return the comparison of each loss's best setting for each fresh seed."""
    fresh = {(row["seed"], key(row["settings"])): row for row in rows if "right" in row}
    if not fresh:
        return []
    settings, found = [key(best(rows, loss)) for loss in LOSSES], []
    for seed in FRESH:
        both = [fresh.get((seed, each)) for each in settings]
        if both[0] and both[1]:
            a, b = (unpacked(row["right"], row["images"]) for row in both if row)
            ours, theirs, count = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
            gain = paired_shares(ours, theirs, count)
            found.append(Duel(seed, ours, theirs, count, gain, mcnemar(ours, theirs)))
    return found


def compared(runs: Sequence[tuple[Row, Row]], name: str) -> Interval:
    """Return the mean difference of a figure over pairs of finished runs."""
    both = [(a[name], b[name]) for a, b in runs if name in a and name in b]
    return paired([a for a, _ in both], [b for _, b in both])


def main(arguments: Sequence[str]) -> int:
    rows = rows_asked_for("reports.loss", __doc__, RESULTS, tasks, measure, arguments)
    some = pairs(rows)
    print(f"{len(rows)} runs, {len(some)} pairs")
    for optimizer, depth in product(RATES, DEPTHS):
        if runs := tuned(some, optimizer, depth):
            (a, b), gain = runs[0], paired([last(a) for a, _ in runs], [last(b) for _, b in runs])
            rates = f"{a['settings']['learning_rate']:g} and {b['settings']['learning_rate']:g}"
            print(f"{optimizer}, {depth} layers, rates {rates}: {in_points(gain)}")
    for duel in duels(rows):
        split = f"{duel.ours} to {duel.theirs} of {duel.images}"
        print(f"best against best, seed {duel.seed}: {split}, {in_points(duel.gain)}, p {duel.probability:.2g}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.loss"))
