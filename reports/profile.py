"""Where a step's time goes, and so what NumPy can't win: ``python -m reports.profile [--peers jax_scan,...] [--save]``.

The step is timed in turns with its parts alone: the matrix *products*, which are the BLAS's; the optimizer's *update*,
the hidden *units*' activations and cotangents, and the *gather* of the batch, which are passes over arrays; and with
all of these at widths of 1, where nothing is left but the interpreter, NumPy's *calls* and the loss. What a step takes
besides is the *rest*: in its place each part finds its arrays in farther caches than alone, and memory is new now and
then.

Over the whole step of a peer, *bound* is what products and calls alone take: no faster pass over memory goes below that
ratio. *least* adds the passes, each of them one function of NumPy over blocks that stay in the cache: NumPy has none
that does two of them at once, so it is the ratio if all the rest were free.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from fnn.cli import guarded
from reports.cells import CELLS, cell_of
from reports.peers import OWN
from reports.speed import add_choices, chosen, in_turns, machine, medians, trial

RESULTS = Path(__file__).parent / "results" / "profile.jsonl"
PASSES = ("update", "units", "gather")
SHOWN = ("products", "calls", *PASSES, "rest")


def measure(cell: str, peers: list[str], count: int) -> dict[str, Any]:
    """Return the profile of a cell, from medians of rounds taken in turns with the peers."""
    steps, cores = trial(cell, count)
    return profile(medians(in_turns((*OWN, *peers), cell, steps, count, cores)))


def profile(us: dict[str, float]) -> dict[str, Any]:
    """Return a step's parts from what was timed, and the ratios to whoever else was.

    >>> us = {"fnn": 100, "calls": 15, "floor": 50, "update": 30, "units": 8, "gather": 6}
    >>> found = profile(us | {"floor1": 5, "update1": 10, "units1": 2, "gather1": 1, "peer": 80})
    >>> {name: found[name] for name in SHOWN}
    {'products': 50, 'calls': 10, 'update': 20, 'units': 6, 'gather': 5, 'rest': 9}
    >>> found["over"]
    {'peer': {'us': 80, 'ratio': 1.25, 'bound': 0.75, 'least': 1.14}}
    """
    parts = {"products": us["floor"], "calls": us["calls"] - us["floor1"]}
    parts |= {name: max(0, us[name] - us[f"{name}1"]) for name in PASSES}
    least = sum(parts.values())
    parts = {"step": us["fnn"], **parts, "rest": us["fnn"] - least}
    over = {
        peer: {
            "us": round(time, 1),
            "ratio": round(us["fnn"] / time, 2),
            "bound": round((parts["products"] + parts["calls"]) / time, 2),
            "least": round(least / time, 2),
        }
        for peer, time in us.items()
        if peer not in OWN
    }
    return {name: round(value, 1) for name, value in parts.items()} | ({"over": over} if over else {})


def rate(row: dict[str, Any]) -> float:
    """Return at how many GFLOP/s a step's products run: what a faster BLAS could win.

    >>> round(rate({"cell": "mnist512", "products": 3200.0}))
    104
    """
    cell = cell_of(row["cell"])
    (first, *others) = (i * o for i, o in pairwise(cell.sizes))
    return 2 * cell.batch * (2 * first + 3 * sum(others)) / row["products"] / 1e3


def show(row: dict[str, Any]) -> str:
    """Return a cell's profile as lines."""
    shares = "".join(f"  {name}{row[name]:>10,.1f}{row[name] / row['step']:>5.0%}" for name in SHOWN)
    lines = [
        f"{row['cell']:<9}{row['threads']} {row['step']:>10,.1f} us{shares}",
        f"{'':<11}products at {rate(row):.0f} GFLOP/s",
    ]
    lines += [
        f"{'':<11}over {peer} {found['ratio']:.2f}, bound {found['bound']:.2f}, least {found['least']:.2f}"
        for peer, found in row.get("over", {}).items()
    ]
    return "\n".join(lines)


def keep(row: dict[str, Any]) -> None:
    """Save a cell's profile in the place of an older one of this machine; of another machine none is kept."""
    about, *rows = map(json.loads, RESULTS.read_text().splitlines()) if RESULTS.exists() else ({},)
    place = lambda one: (one["threads"], list(CELLS).index(one["cell"]) if one["cell"] in CELLS else len(CELLS))  # noqa: E731
    others = [one for one in rows if about == {"machine": machine()} and place(one) != place(row)]
    RESULTS.write_text("\n".join(map(json.dumps, [{"machine": machine()}, *sorted([*others, row], key=place)])) + "\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.profile", description=__doc__.split("\n\n")[0])
    add_choices(parser)
    parser.add_argument("--save", action="store_true", help=f"save results/{RESULTS.name}")
    given = parser.parse_args(arguments)
    peers, cells, counts = chosen(given)
    command = " ".join(["python -m reports.profile", *arguments])
    for count in counts:
        for cell in cells:
            row = {"cell": cell, "threads": count, **measure(cell, peers, count), "command": command}
            print(show(row), flush=True)
            if given.save:
                keep(row)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.profile"))
