"""Charts as data: drawn by matplotlib for the Markdown page, and by widgets.js, with the same numbers, in a browser.

    chart = Chart(
        x=Axis("epoch"),
        y=Axis("training loss", log=True),
        series=(Series("sgd", x=(1, 2, 3), y=(0.9, 0.7, 0.6)),),
    )
    chart_figure("losses", chart, "What to see in it.", "Three falling lines.")     # a Figure for a Section

A value that is None or not finite leaves a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from reports.page import Figure
from reports.style import DASHES, Theme, canvas, colour_map, dress, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Number = float | int | None


@frozen
class Axis:
    """What an axis shows. With `categories`, values are the numbers of categories from 0."""

    label: str
    log: bool = False
    percent: bool = False  # values are shares, shown as percentages
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()


@frozen
class Series:
    """Points or a line, perhaps within a band from `low` to `high`; `notes` are shown for each point in a browser."""

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()
    notes: Sequence[str] = ()
    points: bool = False  # points, not a line
    steps: bool = False  # a line that holds its value until the next
    colour: int | None = None  # of the theme's series; by default in order


@frozen
class Chart:
    """One panel of series. In a browser each can be hidden, and the nearest point tells its numbers."""

    x: Axis
    y: Axis
    series: Sequence[Series]
    title: str = ""


@frozen
class Parallel:
    """Parallel coordinates: a line for each row, through its value on each axis, coloured by its rank on `colour`.

    In a browser a range is brushed by dragging along an axis, and axes change places by dragging their names.
    """

    axes: Sequence[Axis]
    rows: Sequence[Sequence[Number]]
    colour: int = -1


def chart_figure(name: str, chart: Chart, caption: str, alt: str, height: float = 4.2) -> Figure:
    """Return the figure of a chart, with its interactive twin."""
    return Figure(name, caption, alt, partial(draw_chart, chart, height=height), chart_spec(chart))


def parallel_figure(name: str, parallel: Parallel, caption: str, alt: str) -> Figure:
    """Return the figure of parallel coordinates, with its interactive twin."""
    return Figure(name, caption, alt, partial(draw_parallel, parallel), parallel_spec(parallel))


# Drawn by matplotlib


def draw_chart(chart: Chart, theme: Theme, height: float = 4.2) -> Drawing:
    """Draw a chart with a legend."""
    drawing = canvas(theme, 9, height)
    draw_series(drawing.subplots(), chart, theme)
    return drawing


def draw_series(axes: Axes, chart: Chart, theme: Theme) -> Axes:
    """Draw a chart on axes, for figures of several panels; return the axes."""
    dress(axes, theme, chart.title, chart.x.label, chart.y.label)
    for number, series in enumerate(chart.series):
        place = number if series.colour is None else series.colour
        colour, dashes = theme.series[place % len(theme.series)], DASHES[place % len(DASHES)]
        x, y = _array(series.x), _array(series.y)
        step = "steps-post" if series.steps else "default"
        if len(series.low):
            fill = "post" if series.steps else None
            low, high = _array(series.low), _array(series.high)
            axes.fill_between(x, low, high, step=fill, color=colour, alpha=0.16, linewidth=0)
        if series.points:
            axes.plot(x, y, "o", color=colour, markersize=3, alpha=0.65, markeredgewidth=0, label=series.name)
        else:
            axes.plot(x, y, linestyle=dashes, drawstyle=step, color=colour, linewidth=1.8, label=series.name)
    _scale(axes, chart.x, "x")
    _scale(axes, chart.y, "y")
    if len(chart.series) > 1:
        legend(axes, theme, loc="best", ncols=1 + (len(chart.series) > 6))
    return axes


def draw_parallel(parallel: Parallel, theme: Theme) -> Drawing:
    """Draw parallel coordinates, the lines of the highest values last, above the others."""
    drawing = canvas(theme, 9, 4.6)
    axes = drawing.subplots()
    axes.set_facecolor(theme.paper)
    exact = np.array([[_place(axis, row[at]) for at, axis in enumerate(parallel.axes)] for row in parallel.rows])
    shares = exact + np.array([[_aside(axis, row) for axis in parallel.axes] for row in range(len(parallel.rows))])
    ramp: Any = colour_map(theme)
    shade = _ranks(exact[:, parallel.colour])
    for row in np.argsort(np.nan_to_num(shade, nan=-1.0), kind="stable"):
        axes.plot(shares[row], color=ramp(np.nan_to_num(shade[row])), linewidth=0.8, alpha=0.55)
    for at, axis in enumerate(parallel.axes):
        axes.axvline(at, color=theme.faint, linewidth=0.8)
        for value, text in _ticks(axis):
            axes.text(
                at, _place(axis, value), f" {text}", va="center", color=theme.ink, fontsize=8,
                bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.7, "pad": 0.6},
            )  # fmt: skip
    axes.set_xticks(range(len(parallel.axes)), [axis.label.replace(" ", "\n") for axis in parallel.axes])
    axes.tick_params(colors=theme.ink, length=0, labelsize=9)
    axes.set_yticks([])
    axes.set(xlim=(-0.1, len(parallel.axes) - 0.45), ylim=(-0.05, 1.05))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return drawing


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the share of the values that are less than each, so that each colour has as many lines.

    >>> _ranks(np.array([0.5, 0.1, 0.5, np.nan])).round(2).tolist()
    [0.33, 0.0, 0.33, nan]
    """
    known = np.sort(values[~np.isnan(values)])
    return np.where(np.isnan(values), np.nan, np.searchsorted(known, values) / max(len(known), 1))


def _array(values: Sequence[Number]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _scale(axes: Axes, axis: Axis, which: str) -> None:
    from matplotlib.ticker import PercentFormatter

    scale, limits = getattr(axes, f"set_{which}scale"), getattr(axes, f"set_{which}lim")
    ruler = axes.xaxis if which == "x" else axes.yaxis
    if axis.categories:
        ruler.set_ticks(range(len(axis.categories)), list(axis.categories))
    elif axis.log:
        scale("log")
    elif axis.percent:
        ruler.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    if axis.low is not None or axis.high is not None:
        limits(axis.low, axis.high)


def _range(axis: Axis) -> tuple[float, float]:
    if axis.categories:
        return -0.5, len(axis.categories) - 0.5
    if axis.low is None or axis.high is None:
        raise ValueError(f"{axis.label}: expected low and high of an axis of parallel coordinates, found none")
    return axis.low, axis.high


def _place(axis: Axis, value: Number) -> float:
    """Return where a value lies between the axis' low (0) and high (1)."""
    if value is None or not isfinite(value):
        return float("nan")
    low, high = _range(axis)
    own: float = value
    if axis.log:
        low, high, own = np.log((low, high, own))
    return float((own - low) / (high - low))


def _aside(axis: Axis, row: int) -> float:
    """Return by how much a line passes beside its category, so that lines through the same one can be told apart.

    The golden ratio spreads any number of rows evenly.
    """
    return ((row * 0.618034) % 1 - 0.5) * 0.5 / len(axis.categories) if axis.categories else 0.0


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    low, high = _range(axis)
    if axis.categories:
        return [(float(at), name) for at, name in enumerate(axis.categories)]
    if axis.log:
        powers = range(int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9)) + 1)
        return [(10.0**power, f"{10.0**power:g}") for power in powers]
    values = np.linspace(low, high, 5)
    return [(float(value), f"{100 * value:.4g} %" if axis.percent else f"{value:.4g}") for value in values]


# Described for widgets.js


def chart_spec(chart: Chart) -> dict[str, Any]:
    """Return what widgets.js draws a chart from."""
    return {
        "kind": "chart",
        "title": chart.title,
        "x": _axis_spec(chart.x),
        "y": _axis_spec(chart.y),
        "series": [_series_spec(series, number) for number, series in enumerate(chart.series)],
    }


def parallel_spec(parallel: Parallel) -> dict[str, Any]:
    """Return what widgets.js draws parallel coordinates from."""
    axes = [
        {**_axis_spec(axis), "low": _range(axis)[0], "high": _range(axis)[1], "ticks": _ticks(axis)}
        for axis in parallel.axes
    ]
    rows = [[_rounded(value) for value in row] for row in parallel.rows]
    return {"kind": "parallel", "axes": axes, "rows": rows, "colour": parallel.colour % len(parallel.axes)}


def _axis_spec(axis: Axis) -> dict[str, Any]:
    return {
        "label": axis.label, "log": axis.log, "percent": axis.percent, "low": axis.low, "high": axis.high,
        "categories": list(axis.categories),
    }  # fmt: skip


def _series_spec(series: Series, number: int) -> dict[str, Any]:
    return {
        "name": series.name,
        "x": [_rounded(value) for value in series.x],
        "y": [_rounded(value) for value in series.y],
        "low": [_rounded(value) for value in series.low],
        "high": [_rounded(value) for value in series.high],
        "notes": list(series.notes),
        "points": series.points,
        "steps": series.steps,
        "colour": number if series.colour is None else series.colour,
    }


def _rounded(value: Number) -> float | None:
    """Return a number to six significant digits, which no screen exceeds, and None for what is none.

    >>> _rounded(1 / 3), _rounded(float("nan"))
    (0.333333, None)
    """
    return float(f"{value:.6g}") if value is not None and isfinite(value) else None
