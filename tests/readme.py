"""The parts of README.md that are generated: ``python -m tests.readme`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from fnn.config import FIELDS

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- arguments: begin, by python -m tests.readme -->\n", "<!-- arguments: end -->\n"


def arguments() -> str:
    """Return a table of all settings."""
    rows = ["| argument | values | default | what |", "|---|---|---|---|"]
    for name, field in FIELDS.items():
        kind, flag = field.metadata["kind"], field.metadata["flag"]
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        flags = ", ".join(f"`{text}`" for text in (flag, f"--{name}") if text)
        expected = kind.expected.removeprefix("one of ")
        rows.append(f"| {flags} | {expected} | {default and f'`{default}`'} | {field.metadata['help']} |")
    return "\n".join(rows) + "\n"


def rewritten(text: str) -> str:
    head, rest = text.split(BEGIN)
    return head + BEGIN + arguments() + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text()))
