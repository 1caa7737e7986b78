"""The report in the repository is the one that its scripts make of the recorded results."""

from __future__ import annotations

import importlib
import json
import shlex
from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from reports import build, experiments
from reports.experiments import EXPERIMENTS
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


def test_the_page_made_again_is_the_same() -> None:
    """No order of a set, no clock and no random number gets into it; of the figures, every sixth is drawn twice."""
    again = build.page()
    assert again is not page() and markdown(again) == markdown(page())
    for first, second in list(zip(figures_of(page()), figures_of(again), strict=True))[::6]:
        assert png(first.draw(LIGHT)) == png(second.draw(LIGHT)), first.name


def test_every_figure_says_what_to_see_and_what_is_drawn() -> None:
    for figure in figures_of(page()):
        assert len(figure.caption.split()) > 8 and figure.caption.rstrip().endswith("."), figure.name
        assert len(figure.alt.split()) > 3, figure.name


def test_every_result_is_made_by_a_listed_experiment() -> None:
    """The file's own first line says by which command; the recipes' lines say each by which it was trained."""
    listed = {experiment.results: experiment.command for experiment in EXPERIMENTS}
    for path in sorted((HERE / "results").glob("*.jsonl")):
        about = json.loads(path.read_text().split("\n", 1)[0])
        assert path.name in listed, f"{path.name}: expected its command in reports/experiments.py"
        if about.keys() == {"command", "machine"}:
            assert about["command"].startswith(listed[path.name].split(" --")[0])


def test_a_listed_experiment_can_be_called() -> None:
    for experiment in EXPERIMENTS:
        module = importlib.import_module(shlex.split(experiment.command)[2])
        assert callable(module.main), experiment.command


def test_the_list_runs_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments.subprocess, "run", lambda *_, **__: pytest.fail("something was run"))
    assert experiments.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(EXPERIMENTS)
