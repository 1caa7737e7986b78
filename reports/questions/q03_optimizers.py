"""The optimizers: what is implemented, what another one takes, and all of them on equal terms."""

from __future__ import annotations

import difflib
import inspect
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fnn import optimizers as library
from fnn.files import read_lines
from fnn.optimizers import OPTIMIZERS
from reports.charts import Axis, Chart, Series, chart_figure
from reports.intervals import in_points, paired
from reports.optimizers import BATCH, EPOCHS, PIECES, RATES, RESULTS, SEEDS, SPEC, chosen, last
from reports.page import Block, Section, Table
from reports.style import percent

Row = Mapping[str, Any]


def section() -> Section:
    """Return the section."""
    about, *rows = read_lines(RESULTS)
    return Section("3", "The optimizers", (*implemented(), *another(), *compared(about, rows)))


# What is implemented


def implemented() -> tuple[Block, ...]:
    """Return the table of the registry, from the docstrings that stand beside the rules."""
    rows = tuple((f"`{name}`", *summary(make)) for name, make in OPTIMIZERS.items())
    return (
        f"""
        {len(OPTIMIZERS)} optimizers, each a pair of pure functions: `init(params)` gives a state,
        `update(signal, state, params)` new parameters and a new state. Learning rate schedules, L2 regularisation,
        decoupled weight decay and clipping are functions from an optimizer to an optimizer. The rules stand once each,
        beside their formula and source:
        """,
        Table(("optimizer", "rule and source"), rows),
    )


def summary(make: Any) -> tuple[str]:
    """Return the first paragraph of an optimizer's docstring, which names the rule and its source."""
    paragraph = (inspect.getdoc(make) or "").split("\n\n")[0]
    return (" ".join(paragraph.replace("``", "`").split()),)


# What another one takes


def another() -> tuple[Block, ...]:
    """Show what Eve adds to the library's source."""
    return (
        """
        ### What another one takes

        A record for its state, a rule, a row. This is all of Eve, taken from the source as it is now: the command line,
        the sweeps, the tables here and every shared property test know it from its row.
        """,
        f"```diff\n{difference('eve')}\n```",
    )


def difference(name: str) -> str:
    """Return what the source of the optimizers has for one of them, as a difference to the source without it."""
    source = inspect.getsource(library)
    make: Any = getattr(library, name)
    record: Any = getattr(library, name.title())
    without = source
    parts = f"{inspect.getsource(record)}\n\n", f"{inspect.getsource(make)}\n\n", f'    "{name}": {name},\n'
    for part in parts:
        assert part in without, f"{name}: expected its parts in fnn/optimizers.py"
        without = without.replace(part, "")
    lines = difflib.unified_diff(
        without.splitlines(), source.splitlines(), "a/fnn/optimizers.py", "b/fnn/optimizers.py", n=0, lineterm=""
    )
    return "\n".join(line.rstrip() for line in lines)


# On equal terms


def compared(about: Row, rows: Sequence[Row]) -> tuple[Block, ...]:
    """Compare all optimizers at their own learning rates."""
    rates = chosen(rows)
    fresh = {
        name: [r for r in rows if r["optimizer"] == name and r["rate"] == rate and r["seed"] in SEEDS]
        for name, rate in rates.items()
    }
    ends = {name: [last(row) for row in runs] for name, runs in fresh.items()}
    ranked = sorted(ends, key=lambda name: -statistics.mean(ends[name]))
    best, worst = ranked[0], ranked[-1]
    apart = statistics.mean(ends[best]) - statistics.mean(ends[worst])
    noise = statistics.mean(statistics.stdev(values) for values in ends.values())
    pair = in_points(paired(ends[best], ends[worst]))
    lowest, highest = min(rates, key=lambda name: rates[name]), max(rates, key=lambda name: rates[name])
    table = tuple(
        (f"`{name}`", f"{rates[name]:g}", percent(statistics.mean(ends[name])), percent(statistics.stdev(ends[name])),
         f"{statistics.mean(row['losses'][-1] for row in fresh[name]):.3f}")
        for name in ranked
    )  # fmt: skip
    return (
        f"""
        ### All on equal terms

        `{about["command"]}`: a network of {"-".join(map(str, SPEC.sizes))} units with {SPEC.activation} and
        {SPEC.initializer} weights, batches of {BATCH}, {EPOCHS} epochs, a constant rate, no regularisation. Every
        optimizer starts from the same weights and sees the same batches. The learning rate of each is the best of
        {len(RATES)} on the validation images, from {RATES[0]:g} to {RATES[-1]:g} (seed 0); then it is trained at this
        rate from {len(SEEDS)} fresh seeds of weights and order; the split stays.
        """,
        Table(
            ("optimizer", "learning rate", "validation accuracy", "standard deviation", "last training loss"), table,
            f"Means over {len(SEEDS)} seeds after the last epoch, the best first.",
        ),
        f"""
        At its own learning rate each is good: from `{best}`, the best, to `{worst}` it is {100 * apart:.2f} points, by
        pairs of seeds {pair}, where seeds alone make a standard deviation of {100 * noise:.2f}. What differs is where
        the rate has to be: `{lowest}` is at its best with {rates[lowest]:g}, `{highest}` with {rates[highest]:g},
        {rates[highest] / rates[lowest]:,.0f} times as much.
        """,
        chart_figure("optimizer-losses", loss_chart(fresh), LOSSES, "Falling lines of the training loss, one for each"),
        chart_figure("optimizer-rates", rate_chart(rows), PLATEAUS, "Humps of accuracy against the learning rate"),
    )  # fmt: skip


LOSSES = (
    "The training loss, in quarters of an epoch, each optimizer at its own best rate: mean and range over "
    f"{len(SEEDS)} seeds. What is left between the lines is small beside what a wrong rate costs in the next figure."
)
PLATEAUS = (
    "Validation accuracy after the last epoch against the learning rate, a line an optimizer. The hills stand at "
    "different rates, those of the adaptive optimizers far to the left of plain SGD's: a comparison at one common rate "
    "would be one of learning rates, not of optimizers."
)


def loss_chart(fresh: Mapping[str, Sequence[Row]]) -> Chart:
    """Return the chart of training losses, the mean and the range of the seeds."""
    at = [(piece + 1) / PIECES for piece in range(EPOCHS * PIECES)]
    series = []
    for name, runs in fresh.items():
        pieces = list(zip(*(row["losses"] for row in runs), strict=True))
        middle = [statistics.mean(piece) for piece in pieces]
        series.append(Series(name, at, middle, [min(piece) for piece in pieces], [max(piece) for piece in pieces]))
    return Chart(Axis("epoch"), Axis("training loss", log=True), series)


def rate_chart(rows: Sequence[Row]) -> Chart:
    """Return the chart of accuracies against learning rates; a run that diverged leaves a gap."""
    series = []
    for name in OPTIMIZERS:
        by_rate = {r["rate"]: r for r in rows if r["optimizer"] == name and r["seed"] == 0}
        ends = [last(by_rate[rate]) if by_rate[rate]["state"] == "finished" else None for rate in RATES]
        series.append(Series(name, RATES, ends))
    low = 0.7
    return Chart(Axis("learning rate", log=True), Axis("validation accuracy", percent=True, low=low), series)
