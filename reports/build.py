"""Make the report from committed results: ``python -m reports.build``, or ``make report``.

It needs no network and no data set beyond the cached ones, computes no experiment, and makes the same bytes each time.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from fnn.files import write_atomically
from reports.page import Page, Section, rendered

HERE = Path(__file__).parent

#: Where the sections are made, in their order.
QUESTIONS: tuple[str, ...] = (
    "q01_samples", "q02_network", "q03_optimizers", "q04_sweeps", "q05_best", "q06_matters", "q07_best", "q08_loss",
    "q09_method", "q10_mnist",
)  # fmt: skip

INTRODUCTION = (
    """
    Every number and every figure here is made by `make report` from the results in [results](results), which
    `make experiments` makes anew. The same page, with figures that answer to a pointer, is
    [report.html](report.html): one file, to be opened in a browser.
    """,
)


def page() -> Page:
    """Return the whole report."""
    return Page("A feed-forward network, measured", INTRODUCTION, tuple(map(section, QUESTIONS)))


def section(name: str) -> Section:
    """Return the section that a module of reports/questions makes."""
    return import_module(f"reports.questions.{name}").section()


def main() -> None:
    """Write all files of the report."""
    for name, content in rendered(page()).items():
        write_atomically(HERE / name, content)


if __name__ == "__main__":
    main()
