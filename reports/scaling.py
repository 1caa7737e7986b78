"""How the cost of a step and the peak memory grow with width, depth, batch and samples: ``python -m reports.scaling``.

Each point is trained by the public path in a process of its own, one thread on one core, on random images.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import fnn
from fnn.cli import guarded
from reports.speed import NEUTRAL, machine

HERE = Path(__file__).parent
RESULTS, FIGURE = HERE / "results" / "scaling.jsonl", HERE / "figures" / "scaling.png"
BASE = {"width": 256, "depth": 2, "batch": 64, "samples": 20_000}
AXES = {
    "width": (16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
    "depth": (1, 2, 4, 8, 16),
    "batch": (1, 4, 16, 64, 256, 1024, 4096),
    "samples": (1_000, 10_000, 100_000, 1_000_000),
}
SECONDS = 2.0


def point(width: int, depth: int, batch: int, samples: int) -> dict[str, Any]:
    """Train Adam on random images and return microseconds a step and the peak memory, early and late."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (samples, 28, 28), np.uint8), rng.integers(0, 10, samples)
    data = fnn.dataset(images, labels)
    del images
    spec = fnn.Spec((784, *(width,) * depth, 10))
    plan = fnn.Plan(spec, fnn.OPTIMIZERS["adam"](), 1e-4, batch)
    held = [next(fnn.train(plan, data, 0))]
    piece = max(2, min(plan.steps_per_epoch(samples), 100))
    held.append(fnn.run_epoch(plan, data, held.pop(), piece))
    early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, began = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - began < SECONDS and len(times) < 50):
        before, start = held[0].step, time.perf_counter()
        held.append(fnn.run_epoch(plan, data, held.pop(), piece))
        times.append((time.perf_counter() - start) / (held[0].step - before))
    return {
        "us_per_step": round(statistics.median(times) * 1e6, 1),
        "parameters": spec.parameters,
        "data_mib": round(data.design.nbytes / 2**20, 1),
        "early_mib": round(early / 2**10, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
    }


def measure(settings: dict[str, int]) -> dict[str, Any]:
    command = [sys.executable, "-m", "reports.scaling", "--point", json.dumps(settings)]
    core = max(os.sched_getaffinity(0))
    done = subprocess.run(
        command,
        env=NEUTRAL | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return {**settings, **json.loads(done.stdout)}


def draw(rows: list[dict[str, Any]]) -> None:
    """Save a figure: cost a step (a sample, for the batch) against each quantity, and the memory beside it."""
    from matplotlib.figure import Figure

    from fnn.figures import save

    figure = Figure(figsize=(12, 6), dpi=110, facecolor="white", layout="constrained")
    for column, name in enumerate(AXES):
        found = [row for row in rows if row["axis"] == name]
        x = [row[name] for row in found]
        for line, (key, label) in enumerate((("us_per_step", "us a step"), ("peak_mib", "peak MiB"))):
            axes = figure.add_subplot(2, len(AXES), 1 + line * len(AXES) + column)
            axes.plot(x, [row[key] for row in found], "o-", color="#c2500a", markersize=4)
            axes.set(xscale="log", yscale="log", xlabel=name)
            low, high = axes.get_ylim()
            axes.set_ylim(low / 3, max(high, 10 * low))  # what is flat looks flat
            axes.set_title(f"{label} by {name}", loc="left", fontsize=10)
            axes.grid(color="#d9dde2", linewidth=0.8)
            axes.spines[["top", "right"]].set_visible(False)
    save(figure, FIGURE)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--point"]:
        print(json.dumps(point(**json.loads(arguments[1]))))
        return 0
    rows = []
    for axis, values in AXES.items():
        for value in values:
            rows.append({"axis": axis, **measure({**BASE, axis: value})})
            row = rows[-1]
            print(f"{axis:<8}{value:>9,}{row['us_per_step']:>12,.1f} us a step{row['peak_mib']:>9,.0f} MiB", flush=True)
    about = {"command": "python -m reports.scaling", "machine": machine()}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text("\n".join(json.dumps(row) for row in [about, *rows]) + "\n")
    draw(rows)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.scaling"))
