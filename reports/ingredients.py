"""What each ingredient of a recipe costs: ``python -m reports.ingredients [--save]``.

A step of a [1024, 1024] network with Adam at batches of 256, with one ingredient on, over the same step with none,
timed in turns on one thread; and what the features of an image take. On real images; medians of rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fnn import threads
from fnn.cli import guarded
from fnn.config import Config
from fnn.datasets import Images, load
from fnn.experiment import parts_of, plan_for
from fnn.features import FEATURES
from fnn.training import initial_state, run_epoch
from reports.speed import machine

RESULTS = Path(__file__).parent / "results" / "ingredients.jsonl"
BASE = {"num_layers": 2, "hidden_size": 1024, "batch_size": 256}
INGREDIENTS: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "flip": {"flip": "yes"},
    "shift": {"shift": 2},
    "rotation, scaling, shear": {"rotation": 10, "scaling": 0.1, "shear": 8},
    "elastic": {"elastic": 0.5},
    "all of these": {"flip": "yes", "shift": 1, "rotation": 10, "scaling": 0.1, "elastic": 0.5},
    "mixup": {"mixup": 0.2},
    "input noise": {"input_noise": 0.3},
    "input dropout": {"input_dropout": 0.2},
    "dropout": {"dropout": 0.3},
    "running mean of the weights": {"averaging": 0.99},
    "normalization": {"normalization": "batch"},
}
ROUNDS, STEPS, IMAGES = 9, 8, 1024


def steps_of(images: Images, settings: Mapping[str, Any]) -> Callable[[], float]:
    """Return a function that trains for STEPS more steps and returns the microseconds of one."""
    config = Config(**BASE, **settings, threads=1)
    parts = parts_of(config, images)
    plan = plan_for(config, parts)
    held = [initial_state(plan)]

    def run() -> float:
        began, state = time.perf_counter(), held.pop()
        goal = state.step + STEPS
        while state.step < goal:
            state = run_epoch(plan, parts.train, state, goal - state.step)
        held.append(state)
        return (time.perf_counter() - began) / STEPS * 1e6

    return run


def in_turns(tasks: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Return the microseconds of each task over the rounds, in which they take turns; a first round warms up."""
    rounds = [{name: run() for name, run in tasks.items()} for _ in range(ROUNDS + 1)][1:]
    return {name: [each[name] for each in rounds] for name in tasks}


def shares(us: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """Return what each task takes, and by what share of the first it exceeds that: medians over the rounds.

    >>> shares({"nothing": [10.0, 20.0], "more": [11.0, 23.0]})[1]
    {'ingredient': 'more', 'us_per_step': 17.0, 'added': 0.125}
    """
    first = next(iter(us.values()))
    added = {
        name: statistics.median(a / b - 1 for a, b in zip(taken, first, strict=True)) for name, taken in us.items()
    }
    return [
        {"ingredient": name, "us_per_step": round(statistics.median(taken), 1), "added": round(added[name], 3)}
        for name, taken in us.items()
    ]


def extraction(images: Images, name: str) -> Callable[[], float]:
    """Return a function that computes some images' features and returns the microseconds an image."""
    fitted = FEATURES[name].learn(images.train_images)

    def run() -> float:
        began = time.perf_counter()
        FEATURES[name].extract(images.train_images[:IMAGES], fitted=fitted)
        return (time.perf_counter() - began) / IMAGES * 1e6

    return run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.ingredients", description=__doc__.split("\n\n")[0])
    parser.add_argument("--save", action="store_true", help=f"save results/{RESULTS.name}")
    given = parser.parse_args(arguments)
    images = load("fashion_mnist")
    with threads.limited(1):
        rows = shares(in_turns({name: steps_of(images, settings) for name, settings in INGREDIENTS.items()}))
        features = in_turns({name: extraction(images, name) for name in FEATURES})
    rows += [{"features": name, "us_per_image": round(statistics.median(taken), 1)} for name, taken in features.items()]
    for row in rows:
        if "ingredient" in row:
            print(f"{row['ingredient']:<20}{row['us_per_step']:>12,.0f} us a step{row['added']:>+8.1%}")
        else:
            print(f"{row['features']:<20}{row['us_per_image']:>12,.1f} us an image")
    if given.save:
        about = {"command": " ".join(["python -m reports.ingredients", *arguments]), "machine": machine()}
        RESULTS.write_text("\n".join(map(json.dumps, [about, *rows])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.ingredients"))
