"""Publish the report to wandb: ``python -m reports.publish --wandb_entity E --wandb_project P``.

It uploads the recorded trials as runs, each under an identifier of its own, so that a second call uploads what is
missing; then the figures, as one run's images; and then the report, block for block the page's. Needs an account, its
key in the usual place, and the extra: ``pip install -e ".[publish]"``. What is to be published is plain data, made
without either; ``--dry_run`` prints it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from fnn.cli import guarded
from fnn.errors import UserError
from fnn.files import read_lines
from reports.build import page
from reports.page import Block, Figure, Page, Table, markdown_of
from reports.style import LIGHT, png

TRIALS = Path(__file__).parent / "results" / "strategies.jsonl"
FIGURES = "figures"  # the name of the run that holds them, and the prefix of their keys
SEARCH = "search"  # the prefix of the names of trials
ACCURACY = "val_accuracy"

Spec = list[dict[str, Any]]


@frozen
class Trial:
    """A recorded trial as a run of wandb: its name, its settings and its validation accuracy by epoch."""

    name: str
    settings: Mapping[str, Any]
    values: Sequence[float]

    @property
    def identifier(self) -> str:
        """A name in eight letters that the trial will have again tomorrow."""
        return sha256(json.dumps([self.name, dict(self.settings)], sort_keys=True).encode()).hexdigest()[:8]


def trials(rows: Iterable[Mapping[str, Any]]) -> Iterator[Trial]:
    """Yield the recorded trials that were run; a row without values stands for one that was known already.

    >>> [t.name for t in trials([{"strategy": "tpe", "repeat": 1, "number": 2, "settings": {}, "values": [0.5]}])]
    ['search-tpe-1-2']
    """
    for row in rows:
        if row.get("values"):
            name = f"{SEARCH}-{row['strategy']}-{row['repeat']}-{row['number']}"
            yield Trial(name, row["settings"], tuple(row["values"]))


# What is to be published: pure data


def specification(page: Page, settings: Sequence[str]) -> Spec:
    """Return the blocks of the wandb Report of a page, and the panels of the settings of its trials.

    A figure becomes the image that the figures' run holds under its key. After the first figure that is drawn as
    parallel coordinates, wandb's own panels of the trials follow, which can be brushed there.
    """
    blocks: Spec = [{"kind": "contents"}, *(_described(block) for block in page.introduction)]
    for section in page.sections:
        blocks.append({"kind": "heading", "text": section.heading})
        for block in section.blocks:
            blocks.append(_described(block))
            if isinstance(block, Figure) and block.widget and block.widget["kind"] == "parallel":
                blocks.append({"kind": "trials", "settings": list(settings), "query": f"{SEARCH}-"})
    return blocks


def _described(block: Block) -> dict[str, Any]:
    if isinstance(block, Figure):
        return {"kind": "figure", "key": f"{FIGURES}/{block.name}", "caption": block.caption}
    return {"kind": "table" if isinstance(block, Table) else "text", "text": markdown_of(block)}


def settings_of(found: Iterable[Trial]) -> list[str]:
    """Return the names of the settings that differ among trials.

    >>> settings_of([Trial("a", {"x": 1, "y": 2}, ()), Trial("b", {"x": 1, "y": 3}, ())])
    ['y']
    """
    values: dict[str, set[str]] = {}
    for trial in found:
        for name, value in trial.settings.items():
            values.setdefault(name, set()).add(json.dumps(value))
    return [name for name, seen in values.items() if len(seen) > 1]


# wandb's own objects


def report(spec: Spec, title: str, entity: str, project: str) -> Any:
    """Return the wandb Report of a specification; it is sent by its `save`."""
    wr: Any = import_module("wandb_workspaces.reports.v2")

    def runs(query: str) -> Any:
        return wr.Runset(entity=entity, project=project, query=query)

    def build(block: Mapping[str, Any]) -> list[Any]:
        if block["kind"] == "contents":
            return [wr.TableOfContents()]
        if block["kind"] == "heading":
            return [wr.H1(block["text"])]
        if block["kind"] == "figure":
            panel = wr.MediaBrowser(media_keys=[block["key"]], num_columns=1, layout=wr.Layout(w=24, h=12))
            grid = wr.PanelGrid(runsets=[runs(FIGURES)], panels=[panel], hide_run_sets=True)
            return [grid, wr.MarkdownBlock(f"*{block['caption']}*")]
        if block["kind"] == "trials":
            return [wr.PanelGrid(runsets=[runs(block["query"])], panels=panels(block["settings"]))]
        return [wr.MarkdownBlock(block["text"])]

    def panels(settings: Sequence[str]) -> list[Any]:
        columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(name)) for name in settings]
        columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(ACCURACY)))
        layouts = wr.Layout(w=24, h=10), wr.Layout(y=10, w=24, h=8)
        return [
            wr.ParallelCoordinatesPlot(columns=columns, layout=layouts[0]),
            wr.ParameterImportancePlot(with_respect_to=ACCURACY, layout=layouts[1]),
        ]

    blocks = [built for block in spec for built in build(block)]
    return wr.Report(entity=entity, project=project, title=title, blocks=blocks, width="readable")


# Uploading


def upload(found: Iterable[Trial], there: set[str], open_run: Callable[..., Any]) -> int:
    """Upload the trials that aren't there yet, each as a run with its best accuracy as a summary; return how many."""
    sent = 0
    for trial in found:
        if trial.identifier in there:
            continue
        run = open_run(id=trial.identifier, name=trial.name, group=SEARCH, config=dict(trial.settings))
        run.define_metric(ACCURACY, summary="max")
        for epoch, value in enumerate(trial.values, 1):
            run.log({"epoch": epoch, ACCURACY: value}, step=epoch)
        run.finish()
        sent += 1
    return sent


def upload_figures(figures: Iterable[Figure], open_run: Callable[..., Any]) -> None:
    """Upload the figures as images of one run, in the light theme; a later call adds a newer version of each."""
    import wandb
    from PIL import Image

    run = open_run(id=FIGURES, name=FIGURES, group=FIGURES, resume="allow")
    for figure in figures:
        picture = np.asarray(Image.open(BytesIO(png(figure.draw(LIGHT)))).convert("RGB"))
        run.log({f"{FIGURES}/{figure.name}": wandb.Image(picture, caption=figure.alt)})
    run.finish()


def publish(entity: str, project: str) -> str:
    """Upload runs and figures, save the report, and return its address."""
    import wandb

    from reports.page import figures_of

    whole, found = page(), list(trials(read_lines(TRIALS)[1:]))
    try:
        there = {run.id for run in wandb.Api().runs(f"{entity}/{project}")}
    except ValueError:  # there is no such project yet
        there = set()

    def open_run(**more: Any) -> Any:
        return wandb.init(entity=entity, project=project, settings={"silent": True, "console": "off"}, **more)

    print(f"uploaded {upload(found, there, open_run)} of {len(found)} trials", flush=True)
    upload_figures(figures_of(whole), open_run)
    made = report(specification(whole, settings_of(found)), whole.title, entity, project)
    made.save()
    return made.url


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.publish", description=__doc__)
    parser.add_argument("--wandb_entity", "-we", required=True, metavar="E")
    parser.add_argument("--wandb_project", "-wp", required=True, metavar="P")
    parser.add_argument("--dry_run", action="store_true", help="print what would be published, as JSON")
    given = parser.parse_args(arguments)
    if given.dry_run:
        found = list(trials(read_lines(TRIALS)[1:]))
        print(json.dumps(specification(page(), settings_of(found)), indent=1))
        return 0
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        raise UserError('expected wandb-workspaces, found none: pip install -e ".[publish]"') from None
    print(publish(given.wandb_entity, given.wandb_project))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.publish"))
