"""Do the printed commands reach what is reported? ``python -m reports.retrained --run`` runs them once more.

The three configurations for MNIST and the best model of Fashion-MNIST, all its members, by the commands that the report
prints. Where sums are rounded otherwise, on another machine or by the kernels of another (``OPENBLAS_CORETYPE``), the
same seed leads to another network: what is asked is whether its test accuracy lies in the interval that is reported for
one network of the recipe, and that of the ensemble in its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fnn.cli import guarded
from fnn.files import append_line, read_lines
from fnn.recipes import ENSEMBLES
from reports.page import Block, Table
from reports.questions.approaching import interval
from reports.questions.q10_mnist import CHOSEN
from reports.recipes import AGAIN, Row, ensemble, named, revision, row_of, spread, train
from reports.style import between, percent

BEST = "frontier"
MEMBERS = tuple((name, seed) for name, count in ENSEMBLES[BEST].items() for seed in range(count))
WANTED = (*((name, 0) for name in CHOSEN), *MEMBERS, (BEST, None))  # the recipes and the seeds of the commands
NAMES = tuple(dict.fromkeys(name for name, _ in WANTED))


def recorded() -> list[dict[str, Any]]:
    return read_lines(AGAIN) if AGAIN.exists() else []


def within(row: Row, reported: Sequence[Row]) -> bool:
    """Tell whether a network's test accuracy lies in the interval of one network of the recipe.

    >>> runs = [{"test": 0.98}, {"test": 0.982}]
    >>> within({"test": 0.979}, runs), within({"test": 0.97}, runs)
    (True, False)
    """
    low, high = interval(reported)
    return low <= row["test"] <= high


def blocks(again: Iterable[Row], reported: Sequence[Row]) -> list[Block]:
    """Return what was trained once more beside what is reported of its recipe, nothing before anything was."""
    pairs = [(row, own) for name in NAMES for row in named(again, name) if (own := named(reported, name))]
    if not pairs:
        return []
    inside = sum(within(row, own) for row, own in pairs)
    return [
        "### The printed commands, once more",
        f"Run again with sums in another order, on another machine or by the kernels of another, {inside} of "
        f"{len(pairs)} printed commands end within the interval that is reported for one model of their recipe.",
        Table(
            ("command", "reported", "95 % interval of one", "once more", "within", "machine"),
            [
                (
                    f"`{row['command']}`",
                    spread([one["test"] for one in own]),
                    between(*interval(own)),
                    percent(row["test"]),
                    "yes" if within(row, own) else "no",
                    row["machine"] + (f", {row['kernels']} kernels" if "kernels" in row else ""),
                )
                for row, own in pairs
            ],
            "Test accuracy. Sums in another order are rounded otherwise, so the same seed leads to another network. "
            f"Once more `{BEST}` is made of those of its members that the same kernels have trained; the networks of "
            "`features-patches` without a name of kernels are members of the one that is reported.",
        ),
    ]


def kernels() -> str:
    """Return whose kernels multiply matrices here."""
    from threadpoolctl import threadpool_info

    return next((found["architecture"] for found in threadpool_info() if found["user_api"] == "blas"), "unknown")


def run(name: str, seed: int | None, directory: Path, threads: str) -> None:
    """Run a printed command, or go on with it, and record the result, unless these kernels have made it before."""
    by = kernels()
    if any((row["seed"], row.get("kernels")) == (seed, by) for row in named(recorded(), name)):
        return
    where = directory / f"{name}-{seed}"
    if seed is not None:
        train(name, seed, {}, where, threads)
    row = ensemble(name, directory) if seed is None else row_of(where, revision(), name)
    append_line(AGAIN, {**row, "kernels": by})


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.retrained", description=__doc__)
    parser.add_argument("--run", nargs="*", choices=NAMES, metavar="PRESET", help="run these; bare: all that miss")
    parser.add_argument("--dir", type=Path, default=Path("runs/retrained"), help="of the runs (default: %(default)s)")
    parser.add_argument("--threads", default="auto", help="of each run (default: %(default)s)")
    given = parser.parse_args(arguments)
    names = () if given.run is None else given.run or NAMES
    for name, seed in WANTED:
        if name in names:
            run(name, seed, given.dir, given.threads)
    for row in recorded():
        print(f"{row['command']}: test {row['test']:.2%} on {row['machine']}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.retrained"))
