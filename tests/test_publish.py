"""What would be published, without an account and without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from matplotlib.figure import Figure as Drawing

from reports import build, publish
from reports.charts import Axis, Parallel, parallel_figure
from reports.page import Figure, Page, Section, Table
from reports.publish import Trial, report, settings_of, specification, trials, upload

PARALLEL = Parallel((Axis("width", low=0, high=9), Axis("accuracy", low=0, high=1)), ((8, 0.5),))
PAGE = Page(
    "Title",
    ("Before.",),
    (
        Section(
            "1",
            "Part",
            (
                "Text with `code`.",
                Table(("a", "b"), (("x", "1"),), "A table."),
                Figure("dot", "A dot.", "a dot", lambda theme: Drawing()),
                parallel_figure("lines", PARALLEL, "Lines.", "lines"),
            ),
        ),
    ),
)

SNAPSHOT = [
    {"kind": "contents"},
    {"kind": "text", "text": "Before."},
    {"kind": "heading", "text": "1. Part"},
    {"kind": "text", "text": "Text with `code`."},
    {"kind": "table", "text": "| a | b |\n| --- | ---: |\n| x | 1 |\n\n*A table.*"},
    {"kind": "figure", "key": "figures/dot", "caption": "A dot."},
    {"kind": "figure", "key": "figures/lines", "caption": "Lines."},
    {"kind": "trials", "settings": ["width"], "query": "search-"},
]


def test_the_specification_is_the_page_block_for_block() -> None:
    assert specification(PAGE, ["width"]) == SNAPSHOT


def test_the_whole_report_has_a_specification() -> None:
    page = build.page()
    found = specification(page, ["optimizer"])
    assert json.loads(json.dumps(found)) == found
    assert [block["text"] for block in found if block["kind"] == "heading"] == [s.heading for s in page.sections]
    own = [block for block in found if block["kind"] not in ("contents", "heading", "trials")]
    assert len(own) == len(page.introduction) + sum(len(section.blocks) for section in page.sections)


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_wandbs_own_report_is_built_of_it() -> None:
    wr = pytest.importorskip("wandb_workspaces.reports.v2")
    made = report(SNAPSHOT, "Title", "someone", "project")
    kinds = [type(block).__name__ for block in made.blocks]
    assert kinds == [
        "TableOfContents", "MarkdownBlock", "H1", "MarkdownBlock", "MarkdownBlock", "PanelGrid", "MarkdownBlock",
        "PanelGrid", "MarkdownBlock", "PanelGrid",
    ]  # fmt: skip
    figure, trials_ = made.blocks[5], made.blocks[9]
    assert figure.panels[0].media_keys == ["figures/dot"] and figure.runsets[0].query == "figures"
    assert trials_.runsets[0].entity == "someone" and trials_.runsets[0].query == "search-"
    parallel, importance = trials_.panels
    assert [column.metric for column in parallel.columns] == [wr.Config("width"), wr.SummaryMetric("val_accuracy")]
    assert importance.with_respect_to == "val_accuracy"
    assert made.title == "Title" and made.project == "project"


# The runs


class Run:
    """A run of wandb that keeps what it is told."""

    def __init__(self, **opened: Any) -> None:
        self.opened, self.logged, self.ended = opened, list[dict[str, Any]](), False

    def define_metric(self, name: str, summary: str) -> None:
        assert (name, summary) == ("val_accuracy", "max")

    def log(self, values: dict[str, Any], step: int) -> None:
        assert step == values["epoch"]
        self.logged.append(values)

    def finish(self) -> None:
        self.ended = True


ROWS = [
    {"strategy": "tpe", "repeat": 0, "number": 1, "settings": {"width": 8, "kind": "a"}, "values": [0.5, 0.6]},
    {"strategy": "tpe", "repeat": 0, "number": 2, "settings": {"width": 8, "kind": "a"}},
    {"strategy": "random", "repeat": 0, "number": 3, "settings": {"width": 9, "kind": "a"}, "values": [0.4]},
]


def test_each_trial_is_uploaded_once() -> None:
    opened: list[Run] = []

    def open_run(**settings: Any) -> Run:
        opened.append(Run(**settings))
        return opened[-1]

    found = list(trials(ROWS))
    assert upload(found, set(), open_run) == 2
    assert [run.opened["name"] for run in opened] == ["search-tpe-0-1", "search-random-0-3"]
    assert [run.opened["config"] for run in opened] == [row["settings"] for row in (ROWS[0], ROWS[2])]
    assert opened[0].logged == [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": 0.6}]
    assert all(run.ended for run in opened)
    there = {run.opened["id"] for run in opened}
    assert len(there) == 2 and upload(found, there, open_run) == 0
    assert settings_of(found) == ["width"]


def test_a_trial_has_the_same_identifier_again_and_another_trial_another() -> None:
    one, same, other = Trial("a", {"x": 1, "y": 2}, ()), Trial("a", {"y": 2, "x": 1}, (0.5,)), Trial("a", {"x": 2}, ())
    assert one.identifier == same.identifier != other.identifier
    assert len(one.identifier) == 8


def test_without_an_account_it_can_be_seen_what_would_be_published(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "page", lambda: PAGE)
    assert publish.main(["-we", "someone", "-wp", "project", "--dry_run"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[:-1] == SNAPSHOT[:-1]
    assert "optimizer" in found[-1]["settings"]
