"""The page: both renderings hold every block, nothing is obeyed that should be shown, and nothing is fetched."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure as Drawing
from PIL import Image

from reports.charts import Axis, Chart, Parallel, Series, chart_figure, chart_spec, parallel_figure, parallel_spec
from reports.page import Figure, Page, Section, Table, html, markdown, rendered, slug
from reports.style import DARK, LIGHT, THEMES, Theme, canvas, png

DOT = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x03\xc0\0\0\x01\0"  # all that the page reads of a PNG: its width
words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")), min_size=1)
plain = st.text("abcdefghijk xyz", min_size=1).map(str.strip).filter(bool)
LOADING = {"src", "srcset", "poster", "data", "background"}


def small(theme: Theme) -> Drawing:
    drawing = canvas(theme, 3, 2)
    drawing.subplots().plot([1, 2], color=theme.series[0])
    return drawing


def figure(name: str = "dot", caption: str = "A line.", alt: str = "rises", **more: Any) -> Figure:
    return Figure(name, caption, alt, small, **more)


def page_of(*blocks: Any) -> Page:
    return Page("Title", ("Before.",), (Section("1", "Part", blocks),))


def html_of(page: Page) -> str:
    from reports.page import figures_of

    return html(page, {each.name: {theme.name: DOT for theme in THEMES} for each in figures_of(page)})


class Elements(HTMLParser):
    """All elements with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self.inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.text += "" if self.inside else data


@pytest.mark.parametrize("name", ["page", "style", "charts", "best", "optimizers", "custody", "publish"])
def test_the_examples_of_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"reports.{name}"))
    assert result.attempted and not result.failed


@given(plain, plain, plain, plain)
def test_both_renderings_hold_every_block(text: str, cell: str, caption: str, alt: str) -> None:
    table = Table(("head", "number"), ((cell, "1.5 %"),), caption)
    page = page_of(text, table, figure(caption=caption, alt=alt))
    told, shown = markdown(page), Elements(html_of(page))
    for one in (text, cell, caption, alt):
        assert one in told
    for one in (text, cell, caption, "Part", "Title", "Before."):
        assert " ".join(one.split()) in " ".join(shown.text.split())
    assert {"figures/dot-light.png", "figures/dot-dark.png"} <= set(re.findall(r"figures/[\w-]+\.png", told))
    assert [each["alt"] for tag, each in shown.tags if tag == "img"] == [alt]


@given(words, words, words)
def test_tags_in_texts_are_shown_and_not_obeyed(text: str, cell: str, alt: str) -> None:
    hostile = f"<script>alert(1)</script> <img src=x onerror=y> {text}"
    page = page_of(
        hostile, Table((hostile,), ((cell + hostile,),), hostile), figure(caption=hostile, alt=alt + hostile)
    )
    elements = Elements(html_of(page))
    assert sum(tag == "script" for tag, _ in elements.tags) == 1  # the page's own
    assert all("onerror" not in each for _, each in elements.tags)
    assert elements.text.count("<script>alert(1)</script>") >= 4


def test_a_description_cannot_end_its_script_early() -> None:
    chart = Chart(Axis("</script><script>alert(1)"), Axis("y"), (Series("<!--", (1, 2), (1, 2)),))
    text = html_of(page_of(chart_figure("c", chart, "c", "c")))
    (description,) = re.findall(r'<script type="application/json">(.*?)</script>', text)
    assert json.loads(description)["x"]["label"] == "</script><script>alert(1)"
    assert [each.get("type") for tag, each in Elements(text).tags if tag == "script"] == ["application/json", None]


@given(st.lists(st.lists(plain, min_size=2, max_size=2), min_size=1, max_size=4))
def test_a_table_has_a_row_for_each_row_and_pipes_stay_in_their_cells(rows: list[list[str]]) -> None:
    rows = [[f"{a}|{a}", b] for a, b in rows]
    table = Table(("a", "b"), tuple(tuple(row) for row in rows))
    lines = markdown(page_of(table)).strip().splitlines()[-len(rows) - 2 :]
    assert all(len(re.split(r"(?<!\\)\|", line)) == 4 for line in lines)
    tags = Elements(html_of(page_of(table))).tags
    assert sum(tag == "td" for tag, _ in tags) == 2 * len(rows)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 cells, found 1"):
        Table(("a", "b"), (("x",),))


def test_two_figures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="found dot twice"):
        page_of(figure(), figure())


def test_headings_are_linked_to() -> None:
    page = Page("T", (), (Section("8", "Cross entropy, or not?", ("x",)),))
    assert "](#8-cross-entropy-or-not)" in markdown(page)
    elements = Elements(html_of(page))
    assert [each["id"] for tag, each in elements.tags if tag == "section"] == [slug("8. Cross entropy, or not?")]
    assert "#8-cross-entropy-or-not" in [each.get("href") for tag, each in elements.tags if tag == "a"]


def test_nothing_is_fetched() -> None:
    elements = Elements(text := html_of(page_of("See [this](https://example.org/x).", figure())))
    for tag, each in elements.tags:
        assert tag not in ("iframe", "object", "embed", "base")
        for name in LOADING & set(each):
            assert each[name].startswith("data:")
        if tag == "link":
            assert each["href"] == "data:,"
    style, script = re.findall(r"<style>(.*?)</style>", text, re.S)[0], text.rsplit("<script>", 1)[1]
    assert not re.search(r"@import|url\(|@font-face", style)
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon|\.src\b|localStorage", script)
    assert "http" not in script.replace("http://www.w3.org/2000/svg", "")


def test_the_same_page_is_the_same_bytes_in_both_themes() -> None:
    chart = Chart(Axis("x", log=True), Axis("y", percent=True), (Series("a", (1, 10), (0.1, None), (0, 0), (1, 1)),))
    parallel = Parallel((Axis("c", categories=("u", "v")), Axis("n", low=0, high=1)), ((0, 0.5), (1, None)))
    page = page_of(figure(), chart_figure("c", chart, "c", "c"), parallel_figure("p", parallel, "p", "p"))
    first, second = rendered(page), rendered(page)
    assert first == second
    assert set(first) == {"README.md", "report.html"} | {f"figures/{n}-{t.name}.png" for n in "cp" for t in THEMES} | {
        f"figures/dot-{theme.name}.png" for theme in THEMES
    }
    for theme in THEMES:
        pixels = np.asarray(Image.open(BytesIO(first[f"figures/c-{theme.name}.png"])).convert("RGB"))
        assert "#{:02x}{:02x}{:02x}".format(*pixels[0, 0]) == theme.paper


# Colours


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    values = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_texts_and_lines_stand_out_from_the_paper(theme: Theme) -> None:
    def contrast(colour: str) -> float:
        low, high = sorted((luminance(colour), luminance(theme.paper)))
        return (high + 0.05) / (low + 0.05)

    assert contrast(theme.ink) > 7 and contrast(theme.faint) > 4.5
    assert min(map(contrast, theme.series)) > 3
    assert len(set(theme.series)) == len(theme.series)


def test_a_picture_is_small_and_says_nothing_of_its_maker() -> None:
    content = png(small(LIGHT))
    assert b"matplotlib" not in content.lower() and b"tIME" not in content
    assert png(small(DARK)) != content


# Charts


numbers = st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(float("nan")))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
@settings(max_examples=20)
def test_what_a_browser_gets_is_json_and_what_it_lacks_is_null(points: list[tuple[Any, Any]]) -> None:
    x, y = zip(*points, strict=True)
    spec = chart_spec(Chart(Axis("x"), Axis("y"), (Series("a", x, y),)))
    (series,) = json.loads(json.dumps(spec, allow_nan=False))["series"]
    for given_, got in ((x, series["x"]), (y, series["y"])):
        for a, b in zip(given_, got, strict=True):
            assert (b is None) == (a is None or a != a)
            assert b is None or b == pytest.approx(a, rel=1e-5)


def test_parallel_coordinates_know_their_ends() -> None:
    axes = Axis("rate", log=True, low=1e-4, high=1e-2), Axis("kind", categories=("a", "b")), Axis("y", low=0, high=1)
    spec = parallel_spec(Parallel(axes, ((1e-3, 1, 0.5),)))
    assert spec["colour"] == 2
    assert [(axis["low"], axis["high"]) for axis in spec["axes"]] == [(1e-4, 1e-2), (-0.5, 1.5), (0, 1)]
    assert [text for _, text in spec["axes"][0]["ticks"]] == ["0.0001", "0.001", "0.01"]
    with pytest.raises(ValueError, match="y: expected low and high"):
        parallel_spec(Parallel((Axis("y"),), ((1,),)))


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (("1,000", "2"), True),
        (("89.07 % ± 0.39", "-"), True),
        (("-0.62 (-1.11 to -0.13)", "1.3e-15"), True),
        (("adam", "1"), False),
        (("x", "to"), False),
        (("", ""), False),
    ],
)
def test_columns_of_numbers_are_set_flush_right(cells: tuple[str, str], right: bool) -> None:
    page = page_of(Table(("head",), tuple((cell,) for cell in cells)))
    assert ("| ---: |" in markdown(page)) == right
    assert [each.get("class") == "number" for tag, each in Elements(html_of(page)).tags if tag == "td"] == [right] * 2
