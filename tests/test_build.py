"""The report in the repository is the one that its scripts make of the recorded results."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from reports import build
from reports.page import Page, figures_of, html, markdown
from reports.style import LIGHT, THEMES, png

HERE = build.HERE
LIMIT = 8_000_000


@lru_cache
def page() -> Page:
    return build.page()


def test_the_sections_are_numbered_in_their_order() -> None:
    numbers = [section.number for section in page().sections]
    assert [int(number.split("-")[0]) for number in numbers] == sorted(int(n.split("-")[0]) for n in numbers)


def test_no_text_is_stale() -> None:
    """Every number of the text is made by a script, so a changed script or result changes the text."""
    assert (HERE / "README.md").read_text() == markdown(page()), "run make report"


def test_the_page_for_browsers_is_not_stale_and_small() -> None:
    names = [figure.name for figure in figures_of(page())]
    pictures = {
        name: {theme.name: (HERE / "figures" / f"{name}-{theme.name}.png").read_bytes() for theme in THEMES}
        for name in names
    }
    text = html(page(), pictures)
    assert (HERE / "report.html").read_text() == text, "run make report"
    assert len(text.encode()) < LIMIT


@pytest.mark.parametrize("number", range(len(figures_of(page()))))
def test_no_figure_is_stale(number: int) -> None:
    """Another version of a font or of a library may move an edge by a pixel, not more."""
    figure = figures_of(page())[number]
    drawn, kept = (
        np.asarray(Image.open(BytesIO(content)).convert("RGB"), float)
        for content in (png(figure.draw(LIGHT)), (HERE / "figures" / f"{figure.name}-light.png").read_bytes())
    )
    assert drawn.shape == kept.shape and np.abs(drawn - kept).mean() < 2, f"{figure.name}: run make report"


def test_every_figure_says_what_to_see_and_what_is_drawn() -> None:
    for figure in figures_of(page()):
        assert len(figure.caption.split()) > 8 and figure.caption.rstrip().endswith("."), figure.name
        assert len(figure.alt.split()) > 3, figure.name
