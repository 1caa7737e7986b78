"""The parts of README.md that are generated: ``python -m tests.readme`` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fnn.config import FIELDS
from reports.profile import SHOWN, rate

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def arguments() -> str:
    """Return a table of all settings."""
    rows = ["| argument | values | default | what |", "|---|---|---|---|"]
    for name, field in FIELDS.items():
        kind, flag = field.metadata["kind"], field.metadata["flag"]
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        flags = ", ".join(f"`{text}`" for text in (flag, f"--{name}") if text)
        expected = kind.expected.removeprefix("one of ")
        rows.append(f"| {flags} | {expected} | {default and f'`{default}`'} | {field.metadata['help']} |")
    return "\n".join(rows)


def speed() -> str:
    """Return a table of our time a step over that of the peers, from the results of reports/speed.py."""
    about, *rows = map(json.loads, (ROOT / "reports" / "results" / "speed.jsonl").read_text().splitlines())
    names = list(dict.fromkeys(row["impl"] for row in rows if row["impl"] != "fnn"))
    lines = [
        f"`{about['command']}`, {about['machine']}: our time a step over theirs, below 1 where we are faster.",
        "",
        f"| cell | threads | us a step | over matrix products alone | {' | '.join(f'over {name}' for name in names)} |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    for own in (row for row in rows if row["impl"] == "fnn"):
        here = {row["impl"]: row for row in rows if (row["cell"], row["threads"]) == (own["cell"], own["threads"])}
        ratios = (f"{own['us_per_step'] / here[name]['us_per_step']:.2f}" for name in names)
        floor = own["us_per_step"] / own["gemm_floor_us"]
        first = f"| {own['cell']} | {own['threads']} | {own['us_per_step']:,.0f} | {floor:.2f} |"
        lines.append(f"{first} {' | '.join(ratios)} |")
    return "\n".join(lines)


def profile() -> str:
    """Return a table of where a step's time goes, from the results of reports/profile.py."""
    about, *rows = map(json.loads, (ROOT / "reports" / "results" / "profile.jsonl").read_text().splitlines())
    peers = list(rows[0].get("over", {}))
    over = (f"over {name}, least" for name in peers)
    commands = "; ".join(dict.fromkeys(f"`{row['command']}`" for row in rows))
    lines = [
        f"{commands}, {about['machine']}: shares of a step; our time over a peer's, and the least of it.",
        "",
        f"| cell | threads | us a step | {' | '.join(SHOWN)} | products, GFLOP/s | {' | '.join(over)} |",
        "|---|---|---|" + "---|" * (len(SHOWN) + 1 + len(peers)),
    ]
    for row in rows:
        shares = (f"{round(100 * row[name] / row['step'])} %" for name in SHOWN)
        ratios = (f"{row['over'][name]['ratio']:.2f}, {row['over'][name]['least']:.2f}" for name in peers)
        first = f"| {row['cell']} | {row['threads']} | {row['step']:,.0f} |"
        lines.append(f"{first} {' | '.join(shares)} | {rate(row):.0f} | {' | '.join(ratios)} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {"arguments": arguments, "speed": speed, "profile": profile}


def rewritten(text: str) -> str:
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: begin, by python -m tests.readme -->\n", f"<!-- {name}: end -->\n"
        head, rest = text.split(begin)
        text = head + begin + make() + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text()))
