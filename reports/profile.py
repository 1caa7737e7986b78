"""Where a step's time goes, and so what NumPy can't win: ``python -m reports.profile [--peer jax_scan] [--save]``.

One thread on one core. The step, its matrix products alone and its optimizer's update alone are timed in turns with
the same three at widths of 1, where nothing is left but the interpreter and NumPy's calls. So a step is *products*,
*calls* other than the products' and, the rest, *passes* over arrays: activations, the gather of the batch and the
*update*, whose passes stand beside them, too.

*bound* is what the products and the calls alone take over the peer's whole step: the ratio that no faster pass over
memory can go below. *least* adds the update's passes, each of them one function of NumPy over blocks that stay in the
cache: NumPy has none that does two of them at once, so it is what is left where all else is free.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fnn.cli import guarded
from fnn.errors import UserError
from reports.cells import CELLS, cell_of
from reports.speed import PEERS, ROUNDS, Child, machine, steps_of_a_block

RESULTS = Path(__file__).parent / "results" / "profile.jsonl"
PARTS = ("fnn", "floor", "update", "calls", "dots", "rules")


def measure(cell: str, peer: str) -> dict[str, Any]:
    """Return the microseconds a step of each part of a cell, and of the peer: medians of rounds taken in turns."""
    steps = steps_of_a_block(cell, 1)
    with ExitStack() as stack:
        children = [stack.enter_context(Child(name, cell, steps, 1)) for name in (*PARTS, *filter(None, [peer]))]
        turns = [[child.run()[0] for child in children] for _ in range(ROUNDS)]
    return profile({child.name: statistics.median(turn[i] for turn in turns) for i, child in enumerate(children)}, peer)


def profile(us: dict[str, float], peer: str) -> dict[str, Any]:
    """Return a step's parts from what was timed.

    >>> us = {"fnn": 100, "floor": 50, "update": 30, "calls": 15, "dots": 5, "rules": 10, "peer": 80}
    >>> found = profile(us, "peer")
    >>> found["passes"], found["update"], found["bound"], found["least"]
    (40, 20, 0.75, 1.0)
    """
    calls, update = us["calls"] - us["dots"], us["update"] - us["rules"]
    parts = {"step": us["fnn"], "products": us["floor"], "calls": calls}
    parts |= {"passes": us["fnn"] - us["floor"] - calls, "update": update}
    found: dict[str, Any] = {name: round(value, 1) for name, value in parts.items()}
    if peer:
        found |= {
            "peer": peer,
            "peer_us": round(us[peer], 1),
            "ratio": round(us["fnn"] / us[peer], 2),
            "bound": round((us["floor"] + calls) / us[peer], 2),
            "least": round((us["floor"] + calls + update) / us[peer], 2),
        }
    return found


def show(row: dict[str, Any]) -> str:
    """Return a cell's profile as a line."""
    shares = "".join(
        f"{name:>10}{row[name]:>11,.1f}{row[name] / row['step']:>5.0%}"
        for name in ("products", "calls", "passes", "update")
    )
    ratio = (
        f"   over {row['peer']} {row['ratio']:.2f}, bound {row['bound']:.2f}, least {row['least']:.2f}"
        if "peer" in row
        else ""
    )
    return f"{row['cell']:<10}{row['step']:>10,.1f} us{shares}{ratio}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.profile", description=__doc__.split("\n\n")[0])
    parser.add_argument("--peer", default="", help=f"one of {', '.join(PEERS)} to hold the bound against")
    parser.add_argument("--cells", default=",".join(CELLS), help="comma-separated, as in reports.speed")
    parser.add_argument("--save", action="store_true", help=f"save results/{RESULTS.name}")
    given = parser.parse_args(arguments)
    if given.peer and given.peer not in PEERS:
        raise UserError(f"--peer: expected one of {', '.join(PEERS)}, found {given.peer!r}")
    cells = given.cells.split(",")
    for cell in cells:
        cell_of(cell)
    rows = []
    for cell in cells:
        rows.append({"cell": cell, **measure(cell, given.peer)})
        print(show(rows[-1]), flush=True)
    if given.save:
        about = {"command": " ".join(["python -m reports.profile", *arguments]), "machine": machine()}
        RESULTS.write_text("\n".join(json.dumps(row) for row in [about, *rows]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.profile"))
