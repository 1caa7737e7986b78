"""A page of sections, rendered twice: as Markdown with figures beside it, and as one HTML file that needs nothing else.

A question of the report is a module in `reports/questions` with a function `section() -> Section` that reads committed
results and composes blocks; `reports.build` puts the sections together:

    def section() -> Section:
        runs = read_lines(RESULTS)
        gain = mean(run["ours"] - run["theirs"] for run in runs)
        return Section("8", "Cross entropy against squared error", (
            f"Cross entropy is better by {points(gain)} points.",  # Markdown: a paragraph, a list, code
            Table(("loss", "accuracy"), (("cross entropy", percent(0.9)),), "Means over 5 seeds."),
            Figure("losses", "What to see in it.", "What is drawn.", draw),  # draw(theme) -> matplotlib Figure
            chart_figure("curves", chart, "What to see in it.", "What is drawn."),  # reports.charts: interactive, too
        ))

Text is Markdown without HTML: tags in it are shown, not obeyed. Every number in it is formatted from data. Names of
figures are unique in the page. Links are relative to the directory `reports`.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from attrs import frozen

from reports.style import DPI, THEMES, Theme, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

HERE = Path(__file__).parent
NOTICE = "<!-- Made by python -m reports.build; edit the scripts, not this file. -->"
NUMBER = re.compile(r"[-+±<>≥≤~()/%.,eE\s\d]*")
UNITS = re.compile(r"\b(to|s|min|points|x)\b")


@frozen(eq=False)
class Figure:
    """A figure: its files' name, a sentence that says what to see in it, a text for who can't see it, how it is drawn.

    `widget` is what widgets.js draws in a browser instead; reports.charts makes it.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[Theme], Drawing]
    widget: Mapping[str, Any] | None = None


@frozen
class Table:
    """A table of Markdown texts; columns of numbers are set flush right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __attrs_post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"{row!r}: expected {len(self.header)} cells, found {len(row)}")


Block = str | Figure | Table


@frozen
class Section:
    """A numbered part of the page."""

    number: str
    title: str
    blocks: Sequence[Block]

    @property
    def heading(self) -> str:
        return f"{self.number}. {self.title}"

    @property
    def anchor(self) -> str:
        return slug(self.heading)


@frozen
class Page:
    """A title, what comes before the first section, and the sections."""

    title: str
    introduction: Sequence[Block]
    sections: Sequence[Section]

    def __attrs_post_init__(self) -> None:
        names = [figure.name for figure in figures_of(self)]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"figures: expected names that differ, found {', '.join(twice)} twice")


def figures_of(page: Page) -> list[Figure]:
    """Return the figures of a page in their order."""
    blocks = [*page.introduction, *(block for section in page.sections for block in section.blocks)]
    return [block for block in blocks if isinstance(block, Figure)]


def slug(heading: str) -> str:
    """Return the anchor that code hosts give a heading.

    >>> slug("8. Cross entropy, or not?")
    '8-cross-entropy-or-not'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# Files


def rendered(page: Page) -> dict[str, bytes]:
    """Return the content of every file of a page by its path: README.md, report.html and the figures."""
    pictures = {figure.name: {theme.name: png(figure.draw(theme)) for theme in THEMES} for figure in figures_of(page)}
    files = {
        f"figures/{name}-{theme}.png": content for name, themes in pictures.items() for theme, content in themes.items()
    }
    return {"README.md": markdown(page).encode(), "report.html": html(page, pictures).encode(), **files}


# Markdown


def markdown(page: Page) -> str:
    """Return the page as Markdown that reads well on a code host, by day and by night."""
    contents = "\n".join(f"- [{section.heading}](#{section.anchor})" for section in page.sections)
    parts = [NOTICE, f"# {page.title}", *map(markdown_of, page.introduction), contents]
    for section in page.sections:
        parts += [f"## {section.heading}", *map(markdown_of, section.blocks)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def markdown_of(block: Block) -> str:
    """Return a block as Markdown."""
    if isinstance(block, Figure):
        return _markdown_figure(block)
    if isinstance(block, Table):
        return _markdown_table(block)
    return _unindented(block)


def _markdown_figure(figure: Figure) -> str:
    light, dark = (f"figures/{figure.name}-{theme.name}.png" for theme in THEMES)
    return (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'  <img alt="{escape(figure.alt)}" src="{light}">\n</picture>\n\n*{figure.caption}*'
    )


def _markdown_table(table: Table) -> str:
    rules = ["---:" if _is_numeric(table, column) else "---" for column in range(len(table.header))]
    lines = [_row(table.header), _row(rules), *map(_row, table.rows)]
    return "\n".join(lines) + (f"\n\n*{table.caption}*" if table.caption else "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column].strip("*` ") for row in table.rows]
    numbers = all(NUMBER.fullmatch(UNITS.sub("", cell)) for cell in cells)
    return numbers and any(character.isdigit() for cell in cells for character in cell)


def _unindented(text: str) -> str:
    """Return a text without the indentation that a triple-quoted string has in its function.

    >>> _unindented("\\n    Text\\n\\n        code\\n    ")
    'Text\\n\\n    code'
    """
    return dedent(text).strip("\n ") if text.startswith("\n") else text.rstrip()


# HTML


def html(page: Page, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return the page as one HTML file, given each figure's PNG by its name and theme."""
    links = "".join(f'<li><a href="#{each.anchor}">{escape(each.heading)}</a></li>' for each in page.sections)
    parts = [
        f"<h1>{escape(page.title)}</h1>",
        *(_html_block(block, pictures) for block in page.introduction),
        f'<nav aria-label="sections"><ul>{links}</ul></nav>',
    ]
    for section in page.sections:
        blocks = "\n".join(_html_block(block, pictures) for block in section.blocks)
        parts.append(f'<section id="{section.anchor}">\n<h2>{escape(section.heading)}</h2>\n{blocks}\n</section>')
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n{NOTICE}\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(page.title)}</title>\n<style>\n{_stylesheet()}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"<script>\n{(HERE / 'widgets.js').read_text()}</script>\n</body>\n</html>\n"
    )


def _html_block(block: Block, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    if isinstance(block, Figure):
        return _html_figure(block, pictures[block.name])
    if isinstance(block, Table):
        return _html_table(block)
    return _parser().render(_unindented(block)).strip()


def _html_figure(figure: Figure, picture: Mapping[str, bytes]) -> str:
    light, dark = (f"data:image/png;base64,{b64encode(picture[theme.name]).decode()}" for theme in THEMES)
    width = round(_width(picture[THEMES[0].name]) * 96 / DPI)
    image = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{escape(figure.alt)}" src="{light}" width="{width}"></picture>'
    )
    if figure.widget is None:
        inner = f'<div class="wide">{image}</div>'
    else:
        # Inside a script element only "<" could end it early.
        spec = json.dumps(figure.widget, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        inner = (
            f'<div class="widget" role="group" aria-label="{escape(figure.alt)}">'
            f'<script type="application/json">{spec}</script><noscript><div class="wide">{image}</div></noscript></div>'
        )
    return f'<figure id="{figure.name}">{inner}<figcaption>{_inline(figure.caption)}</figcaption></figure>'


def _html_table(table: Table) -> str:
    styles = [' class="number"' if _is_numeric(table, column) else "" for column in range(len(table.header))]
    head = "".join(f"<th{style}>{_inline(cell)}</th>" for cell, style in zip(table.header, styles, strict=True))
    rows = "\n".join(
        f"<tr>{''.join(f'<td{style}>{_inline(cell)}</td>' for cell, style in zip(row, styles, strict=True))}</tr>"
        for row in table.rows
    )
    caption = f"<figcaption>{_inline(table.caption)}</figcaption>" if table.caption else ""
    return (
        f'<figure><div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
        f"{caption}</figure>"
    )


def _inline(text: str) -> str:
    return _parser().renderInline(text)


@lru_cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _stylesheet() -> str:
    """Return page.css with the colours of the themes before it, as variables."""
    light, dark = (_variables(theme) for theme in THEMES)
    return (
        f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{(HERE / 'page.css').read_text()}"
    )


def _variables(theme: Theme) -> str:
    plain = {"paper": theme.paper, "ink": theme.ink, "faint": theme.faint, "line": theme.line}
    series = {f"series-{number}": colour for number, colour in enumerate(theme.series)}
    ramp = {f"ramp-{number}": colour for number, colour in enumerate(theme.ramp)}
    return " ".join(f"--{name}: {colour};" for name, colour in {**plain, **series, **ramp}.items())


def _width(content: bytes) -> int:
    return int.from_bytes(content[16:20], "big")  # of the PNG's header
