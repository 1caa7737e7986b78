"""Run every experiment of the report anew: ``python -m reports.experiments``, or ``make experiments``.

Each command goes on with what it has recorded, so the whole may be stopped and started at will; to begin from nothing,
remove its file in reports/results first. ``--list`` prints the commands alone. ``python -m reports.best MODEL`` comes
last, by hand, with the model that is the best.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence

from attrs import frozen

from fnn.cli import guarded


@frozen
class Experiment:
    """A command, the file in reports/results that it writes or adds to, and what it finds out."""

    command: str
    results: str
    what: str


EXPERIMENTS = (
    Experiment("python -m reports.samples", "samples.json", "an image of each class, and the data sets' sizes"),
    Experiment("python -m reports.verification", "verification.jsonl", "how near the tests come to their oracles"),
    Experiment("python -m reports.optimizers", "optimizers.jsonl", "all optimizers at their own learning rates"),
    Experiment("python -m reports.strategies --run", "strategies.jsonl", "the sweeps' strategies at equal compute"),
    Experiment("python -m reports.strategies --reseed", "assignment-best.jsonl", "the best trials from fresh seeds"),
    Experiment("python -m reports.claims --run", "claims.jsonl", "observations, each by a comparison of its own"),
    Experiment("python -m reports.failures --run", "failures.jsonl", "what is wrong inside of networks that fail"),
    Experiment("python -m reports.loss --run", "loss.jsonl", "cross entropy against squared error in pairs"),
    Experiment("python -m reports.quality --run", "quality.jsonl", "what the named recipes reach, seeds and ensembles"),
    Experiment("python -m reports.retrained --run", "retrained.jsonl", "the printed commands, once more"),
    Experiment("python -m reports.ingredients --save", "ingredients.jsonl", "what a recipe's ingredients cost"),
    Experiment("python -m reports.throughput", "throughput.jsonl", "trials a second"),
    Experiment("python -m reports.scaling", "scaling.jsonl", "time and memory by width, depth, batch and samples"),
    Experiment(
        "python -m reports.profile --peers jax_scan,torch,keras --save", "profile.jsonl", "where a step's time goes"
    ),
    Experiment(
        "python -m reports.speed --peers jax_scan,torch,keras,sklearn --save", "speed.jsonl", "speed beside peers"
    ),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.experiments", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the commands, run none")
    given = parser.parse_args(arguments)
    for experiment in EXPERIMENTS:
        print(f"{experiment.command}  # {experiment.what}", flush=True)
        if not given.list:
            _, *words = shlex.split(experiment.command)
            subprocess.run([sys.executable, *words], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.experiments"))
