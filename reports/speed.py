"""How fast training is, beside other frameworks: ``python -m reports.speed [--peers ...] [--cells ...]``.

Each implementation trains in a process of its own; the processes take turns, so that a drift of the machine hits all of
them. With two cores they are started anew after some rounds, others first, so that no luck of a process lasts. The
figure for a cell is the median over all rounds. Peers need the extra: ``pip install -e ".[peers]"``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fnn import threads
from fnn.cli import guarded
from fnn.errors import UserError
from reports.cells import CELLS, cell_of
from reports.peers import PEERS

STARTS, ROUNDS = {1: 1, 2: 3}, 9  # of the processes, by their cores; all rounds of a cell
PAUSE = 0.25  # seconds before each block: until threads that wait for more of another's work have gone to sleep
STEPS, LONGEST, SHORTEST = 2000, 10.0, 3.0  # of ours a cell: so many steps, but within so many seconds
FIGURE, RESULTS = (Path(__file__).parent / name for name in ("figures/speed.png", "results/speed.jsonl"))


#: The environment without what would bind NumPy's BLAS, but no peer, to the kernels of an older processor.
NEUTRAL = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


class Child:
    """An implementation at work in its own process, on so many cores, of which ours uses ``cores`` or chooses."""

    def __init__(self, name: str, cell: str, steps: int, count: int, cores: str) -> None:
        self.name, self.steps = name, steps
        settings = {
            f"{library}_NUM_THREADS": str(count) for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
        }
        if count == 1:
            settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        places = sorted(os.sched_getaffinity(0))[-count:]
        command = [sys.executable, "-m", "reports.peers", name, cell, str(steps), cores]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=NEUTRAL | settings,
        )
        os.sched_setaffinity(self.process.pid, places)  # long before it has other threads
        self.cores = self._line() if cores == "auto" else cores
        if self._line() != "ready":
            raise UserError(f"{name} doesn't run here: {self.error()}")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def error(self) -> str:
        assert self.process.stderr is not None
        return (self.process.stderr.read().strip().splitlines() or ["ended without a word"])[-1]

    def run(self) -> tuple[float, float]:
        """Return the microseconds a step of one block, and the peak memory so far in bytes."""
        assert self.process.stdin is not None
        time.sleep(PAUSE)
        print(file=self.process.stdin, flush=True)
        answer = self._line().split()
        if len(answer) != 2:
            raise UserError(f"{self.name} failed: {self.error()}")
        return float(answer[0]) / self.steps * 1e6, float(answer[1])

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def trial(cell: str, count: int) -> tuple[int, str]:
    """Return how many steps make a block, from a short trial of ours, and how many of the cores it chose."""
    with Child("fnn", cell, 20, count, "auto") as trial:
        us = statistics.median(trial.run()[0] for _ in range(3))
    steps = min(max(STEPS, SHORTEST / us * 1e6), LONGEST / us * 1e6)
    return max(2, round(steps / ROUNDS)), trial.cores


def in_turns(
    names: Iterable[str], cell: str, steps: int, count: int, cores: str
) -> list[dict[str, tuple[float, float]]]:
    """Return what each round found: by implementation, the microseconds a step and the peak memory."""
    rounds, names = [], list(names)
    for start in range(STARTS[count]):
        first = start * len(names) // STARTS[count]
        order = names[first:] + names[:first]
        with ExitStack() as stack:
            children = [stack.enter_context(Child(name, cell, steps, count, cores)) for name in order]
            rounds += [{child.name: child.run() for child in children} for _ in range(ROUNDS // STARTS[count])]
    return rounds


def medians(rounds: list[dict[str, tuple[float, float]]]) -> dict[str, float]:
    """Return each implementation's median microseconds a step.

    >>> medians([{"fnn": (1.0, 0)}, {"fnn": (3.0, 0)}, {"fnn": (2.0, 0)}])
    {'fnn': 2.0}
    """
    return {name: statistics.median(found[name][0] for found in rounds) for name in rounds[0]}


def measure(cell: str, names: list[str], count: int) -> Iterator[dict[str, Any]]:
    """Yield the result of each implementation for a cell, the floor's in each of them."""
    steps, cores = trial(cell, count)
    rounds = in_turns(("floor", "fnn", *names), cell, steps, count, cores)
    us = medians(rounds)
    for name in ("fnn", *names):
        yield {
            "cell": cell,
            "threads": count,
            "impl": name,
            "us_per_step": round(us[name], 2),
            "samples_per_s": round(cell_of(cell).batch / us[name] * 1e6),
            "gemm_floor_us": round(us["floor"], 2),
            "spread": [round(f(found[name][0] for found in rounds), 2) for f in (min, max)],
            "peak_mib": round(max(found[name][1] for found in rounds) / 2**20),
            "steps": steps * ROUNDS,
        }


def show(rows: list[dict[str, Any]]) -> str:
    """Return a cell's results as lines of a table."""
    own = next(row["us_per_step"] for row in rows if row["impl"] == "fnn")
    return "\n".join(
        f"{row['cell']:<24}{row['threads']:>2}  {row['impl']:<9}{row['us_per_step']:>12.1f}"
        f"{row['samples_per_s']:>12,}{row['us_per_step'] / row['gemm_floor_us']:>8.2f}"
        f"{own / row['us_per_step']:>8.2f}{row['peak_mib']:>9,}"
        for row in rows
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Save a figure: time a step over that of the matrix products alone, for each cell and implementation."""
    from matplotlib.figure import Figure

    from fnn.figures import save

    counts = sorted({row["threads"] for row in rows})
    names = list(dict.fromkeys(row["impl"] for row in rows))
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    colours = dict(zip(names, ("#c2500a", "#3b74a8", "#7b838d", "#8fb6d9", "#b9bec4"), strict=False))
    figure = Figure(figsize=(11, 3.6 * len(counts)), dpi=110, facecolor="white", layout="constrained")
    for axes, count in zip(figure.subplots(len(counts), 1, squeeze=False)[:, 0], counts, strict=True):
        for i, name in enumerate(names):
            found = {
                r["cell"]: r["us_per_step"] / r["gemm_floor_us"]
                for r in rows
                if (r["impl"], r["threads"]) == (name, count)
            }
            at = [k + (i - (len(names) - 1) / 2) * 0.8 / len(names) for k, c in enumerate(cells) if c in found]
            bars = axes.bar(at, list(found.values()), 0.8 / len(names), color=colours.get(name), label=name)
            axes.bar_label(bars, fmt="%.3g", fontsize=7, color="#22272e")
        axes.axhline(1, color="#22272e", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_xticks(range(len(cells)), cells)
        axes.set_title(
            f"time a step over that of its matrix products alone, {count} thread{'s' * (count > 1)}", loc="left"
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, ncols=len(names), fontsize=9)
    save(figure, path)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is timed."""
    parser.add_argument("--peers", default="", help=f"comma-separated, of {', '.join(PEERS)} (default: none)")
    parser.add_argument(
        "--cells", default=",".join(CELLS), help="comma-separated names, or hidden:batch:optimizer:activation"
    )
    parser.add_argument("--threads", type=int, choices=(1, 2), action="append", help="default: both")


def chosen(given: argparse.Namespace) -> tuple[list[str], list[str], list[int]]:
    """Return the peers, cells and numbers of threads that were asked for."""
    names = [name for name in given.peers.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise UserError(f"--peers: expected some of {', '.join(PEERS)}, found {name!r}")
    cells = given.cells.split(",")
    for cell in cells:
        cell_of(cell)
    counts = given.threads or [count for count in (1, 2) if count <= threads.available()]
    if max(counts) > threads.available():
        raise UserError(f"--threads: expected at most {threads.available()} cores, found {max(counts)}")
    return names, cells, counts


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.speed", description=__doc__.split("\n\n")[0])
    add_choices(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line and save no figure")
    parser.add_argument(
        "--save", action="store_true", help="save results/speed.jsonl and figures/speed.png of the report"
    )
    given = parser.parse_args(arguments)
    names, cells, counts = chosen(given)
    rows: list[dict[str, Any]] = []
    if not given.json:
        print(
            f"{'cell':<22}threads  {'':<7}{'us a step':>12}{'samples/s':>12}{'/floor':>8}{'fnn/it':>8}{'peak MiB':>9}"
        )
    for count in counts:
        for cell in cells:
            found = list(measure(cell, names, count))
            rows += found
            print("\n".join(map(json.dumps, found)) if given.json else show(found), flush=True)
    if given.save:
        about = {"command": " ".join(["python -m reports.speed", *arguments]), "machine": machine()}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text("\n".join(json.dumps(row) for row in [about, *rows]) + "\n")
        draw(rows, FIGURE)
        print(f"saved {RESULTS.name} and {FIGURE.name}")
    return 0


def machine() -> str:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor())}, {threads.available()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.speed"))
