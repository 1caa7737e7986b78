"""Observations on the sweeps, each tested by an experiment of its own: ``python -m reports.claims [--run]``.

A claim compares two arms that differ in one setting. Each arm has the learning rate that is the best for it, found on
seeds of its own by climbing a ladder of rates until the best is not the last; then both arms are trained from fresh
seeds, the same for both: the split of the images, the order of an epoch and, where the shapes agree, the draws of the
weights are the same in a pair. What is compared is the mean validation accuracy of the last two epochs, since at a
constant learning rate that of a single epoch jumps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from attrs import frozen

from fnn.cli import guarded
from fnn.recipes import PRESETS
from reports.intervals import Interval, in_points, paired, sure
from reports.runs import Row, Settings, key, rows_asked_for, seeded, trained

RESULTS = Path(__file__).parent / "results" / "claims.jsonl"
LADDER = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)  # learning rates
TUNING, SEEDS = (11, 12), (1, 2, 3, 4, 5)
LAST = 2  # epochs that are averaged
BASE = {
    "preset": "assignment",
    "epochs": 5,
    "num_layers": 3,
    "hidden_size": 64,
    "batch_size": 64,
    "optimizer": "nadam",
    "activation": "ReLU",
    "weight_init": "He",
    "weight_decay": 0.0,
}
FROM = {"sgd": 1e-1, "momentum": 1e-1, "nag": 1e-1}  # where the ladder is begun; others at START
START = 1e-3


@frozen
class Claim:
    """Two arms, each by what it changes of BASE; ``setting`` and the values name them in the search's trials.

    ``words`` name a comparison that the search's space doesn't know.
    """

    setting: str
    ours: Settings
    theirs: Settings
    words: str = ""

    @property
    def names(self) -> tuple[str, str]:
        return tuple(
            f"{(PRESETS['assignment'].as_dict() | BASE | dict(arm))[self.setting]}" for arm in (self.ours, self.theirs)
        )  # type: ignore[return-value]


USUAL = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}  # constants of nadam
#: By worth: the first are run first.
CLAIMS = (
    Claim("batch_size", {"batch_size": 16}, {}),
    Claim("activation", {"activation": "tanh"}, {}),
    Claim("activation", {"activation": "sigmoid"}, {}),
    Claim("num_layers", {"num_layers": 5}, {}),
    Claim("optimizer", {"optimizer": "sgd"}, {}),
    Claim("optimizer", {"optimizer": "adam"}, {}),
    Claim("weight_decay", {"weight_decay": 0.0005}, {}),
    Claim("weight_init", {"weight_init": "random"}, {}),
    Claim("hidden_size", {"hidden_size": 128}, {}),
    Claim("weight_init", {"weight_init": "Xavier"}, {}),
    Claim("beta1", USUAL, {}, "nadam's usual constants than the assignment's"),
    Claim("optimizer", {"optimizer": "sgd"}, USUAL, "sgd than nadam with its usual constants"),
)


def arms() -> list[Settings]:
    """Return the arms of all claims, each once, in the order of the claims."""
    return list({key(arm): arm for claim in CLAIMS for arm in (claim.theirs, claim.ours)}.values())


def score(row: Row) -> float:
    """Return the mean accuracy of the last epochs; a network that has diverged knows nothing: one of ten classes."""
    return mean(row["values"][-LAST:]) if row["state"] == "finished" else 0.1


def rates_to_try(arm: Settings, tried: Mapping[float, float]) -> list[float]:
    """Return the learning rates that an arm is still to be tuned at, given the scores of those that have been.

    It begins with three of the ladder, and takes the next one as long as the best is at an end.

    >>> rates_to_try({}, {}), rates_to_try({}, {3e-4: 0.5, 1e-3: 0.6, 3e-3: 0.7})
    ([0.0003, 0.001, 0.003], [0.01])
    >>> rates_to_try({}, {3e-4: 0.5, 1e-3: 0.7, 3e-3: 0.6})
    []
    """
    middle = LADDER.index(FROM.get(arm.get("optimizer", ""), START))
    wanted = [rate for rate in LADDER[middle - 1 : middle + 2] if rate not in tried]
    if wanted:
        return wanted
    places, best = sorted(map(LADDER.index, tried)), LADDER.index(tuned_rate(tried))
    near = [best - 1, best + 1]
    return [LADDER[place] for place in near if 0 <= place < len(LADDER) and place not in places]


def tuned_rate(tried: Mapping[float, float]) -> float:
    """Return the learning rate of the best score."""
    return max(tried, key=lambda rate: tried[rate])


def tuning(rows: Sequence[Row], arm: Settings) -> dict[float, float]:
    """Return the mean score of an arm at each learning rate for which all runs of the tuning have ended."""
    found: dict[float, list[float]] = {}
    for row in rows:
        if row["seed"] in TUNING and row["state"] != "failed" and _arm(row) == key(arm):
            found.setdefault(row["settings"]["learning_rate"], []).append(score(row))
    return {rate: mean(scores) for rate, scores in found.items() if len(scores) == len(TUNING)}


def tasks(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the runs of one arm after the other: to tune it, then of the fresh seeds at its best learning rate."""
    for arm in arms():
        scores = tuning(rows, arm)
        if wanted := rates_to_try(arm, scores):
            yield from seeded([{**arm, "learning_rate": rate} for rate in wanted], TUNING)
        else:
            yield from seeded([{**arm, "learning_rate": tuned_rate(scores)}], SEEDS)


def measure(task: Row) -> dict[str, Any]:
    """Train as a task says."""
    return trained({**BASE, **task["settings"], "seed": task["seed"]})


@frozen
class Finding:
    """What a claim's experiment has come to."""

    claim: Claim
    rates: tuple[float, float]
    scores: tuple[float, float]  # means over the pairs
    gain: Interval
    pairs: int


def finding(rows: Sequence[Row], claim: Claim) -> Finding | None:
    """Return the comparison of a claim's arms over the seeds that both have; None with fewer than two."""
    rates, scores = [], []
    for arm in (claim.ours, claim.theirs):
        if not (tried := tuning(rows, arm)) or rates_to_try(arm, tried):
            return None
        rates.append(tuned_rate(tried))
        own = (r for r in rows if _arm(r) == key(arm) and r["settings"]["learning_rate"] == rates[-1])
        scores.append({row["seed"]: score(row) for row in own if row["seed"] in SEEDS and row["state"] != "failed"})
    seeds = sorted(scores[0].keys() & scores[1].keys())
    if len(seeds) < 2:
        return None
    ours, theirs = ([one[seed] for seed in seeds] for one in scores)
    means = (mean(ours), mean(theirs))
    return Finding(claim, (rates[0], rates[1]), means, paired(ours, theirs), len(seeds))


def _arm(row: Row) -> Any:
    return key({name: value for name, value in row["settings"].items() if name != "learning_rate"})


def main(arguments: Sequence[str]) -> int:
    rows = rows_asked_for("reports.claims", __doc__, RESULTS, tasks, measure, arguments)
    print(f"{len(rows)} runs")
    for found in filter(None, (finding(rows, claim) for claim in CLAIMS)):
        ours, theirs = found.claim.names
        words = f"{found.claim.setting} {ours} (rate {found.rates[0]:g}) less {theirs} ({found.rates[1]:g})"
        print(f"{words}: {in_points(found.gain)} of {found.pairs} pairs{' *' if sure(found.gain) else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.claims"))
