"""One style for all figures of the report, in two themes, and one way to put numbers into words.

The colours are told apart by every kind of colour vision, and as greys; lines differ by their dashes, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150  # of the files; a page shows 96 pixels an inch
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))


@frozen
class Theme:
    """Colours of figures on a page: light or dark."""

    name: str
    paper: str
    ink: str
    faint: str
    line: str
    series: tuple[str, ...]  # of lines and groups, in the order of use
    right: str  # what a network got right
    wrong: tuple[str, ...]  # what it got wrong, the commonest first
    rest: str
    ramp: tuple[str, ...]  # from low to high
    ink_of_images: tuple[str, str]  # the colours of a pixel of 0 and of one of 255


LIGHT = Theme(
    "light", "#ffffff", "#22272e", "#68717c", "#d9dde2",
    ("#3b74a8", "#c2500a", "#1b8a72", "#8a4f9e", "#a87b00", "#22272e", "#7b838d"),
    "#3b74a8", ("#c2500a", "#ec8a3c", "#f6bd8b"), "#efe7df",
    ("#f3d9b8", "#e29a55", "#c2500a", "#7d5a86", "#2f6aa3", "#123a63"), ("#ffffff", "#111111"),
)  # fmt: skip
DARK = Theme(
    "dark", "#0d1117", "#e6e9ed", "#9aa3ad", "#30363d",
    ("#6fa8dc", "#f0944d", "#4fc3a5", "#c193d3", "#e0be4a", "#e6e9ed", "#8b949e"),
    "#6fa8dc", ("#f0944d", "#b96a2c", "#7a4a24"), "#3a332c",
    ("#5b3413", "#b4611b", "#f0944d", "#b79acb", "#7fb4e6", "#cfe6ff"), ("#0d1117", "#f2f2f2"),
)  # fmt: skip
THEMES = (LIGHT, DARK)


# Figures


def canvas(theme: Theme, width: float = 9, height: float = 3.8) -> Figure:
    """Return an empty figure of so many inches, laid out so that nothing overlaps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.04)  # type: ignore[union-attr]
    return figure


def dress(axes: Axes, theme: Theme, title: str = "", x: str = "", y: str = "", grid: str = "y") -> Axes:
    """Give axes the style of the report, a title and labels; return them."""
    axes.set_facecolor(theme.paper)
    axes.set_title(title, loc="left", color=theme.ink, fontsize=12, fontweight="bold")
    axes.set_xlabel(x, color=theme.faint, fontsize=10)
    axes.set_ylabel(y, color=theme.faint, fontsize=10)
    axes.tick_params(colors=theme.faint, which="both", length=0, labelsize=9)
    if grid:
        axes.grid(axis=grid, color=theme.line, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(theme.line)
    return axes


def legend(axes: Axes, theme: Theme, **where: object) -> None:
    """Add a legend in the style of the report."""
    axes.legend(edgecolor="none", facecolor=theme.paper, labelcolor=theme.ink, fontsize=9, **where)  # type: ignore[arg-type]


def sheet(theme: Theme, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure and axes whose unit is the inch, y downwards, for images and texts at their places."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure, axes


def picture(axes: Axes, theme: Theme, image: np.ndarray, x: float, y: float, scale: int, bare: bool = False) -> float:
    """Draw an image on a sheet, each of its pixels as a square of `scale` pixels, and return its width in inches.

    Intensities go from 0, the paper, to the image's own maximum; `bare` lets what is below shine through instead.
    """
    from matplotlib.colors import to_rgb

    size = scale * len(image) / DPI
    left, top = round(x * DPI) / DPI, round(y * DPI) / DPI  # whole pixels: sharp, and small files
    share = image / (float(image.max(initial=0)) or 1.0)
    paper, ink = (np.array(to_rgb(colour)) for colour in theme.ink_of_images)
    colours = (
        np.dstack([np.broadcast_to(ink, (*image.shape, 3)), share])
        if bare
        else paper + share[..., None] * (ink - paper)
    )
    axes.imshow(
        colours, extent=(left, left + size, top + size, top), aspect="auto", interpolation="nearest", zorder=2
    )  # fmt: skip
    return size


def box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    """Draw a filled box on a sheet."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="none"))


def mixed(one: str, other: str, share: float) -> str:
    """Return a colour between two, `share` of the way.

    >>> mixed("#000000", "#ffffff", 0.5)
    '#808080'
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = ((1 - share) * a + share * b for a, b in zip(to_rgb(one), to_rgb(other), strict=True))
    return to_hex((red, green, blue))


def colour_map(theme: Theme) -> object:
    """Return the theme's ramp as a colour map of matplotlib."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ramp", theme.ramp)


def png(figure: Figure) -> bytes:
    """Return a figure as a small PNG: a palette of 256 colours, no date, no name of a program."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    agg = FigureCanvasAgg(figure)
    agg.draw()
    picture = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    file = BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


# Numbers in words


def percent(share: float, digits: int = 2) -> str:
    """Return a share as a percentage.

    >>> percent(0.90214), percent(0.5, 0)
    ('90.21 %', '50 %')
    """
    return f"{100 * share:.{digits}f} %"


def points(difference: float, digits: int = 2) -> str:
    """Return a difference of shares in percentage points, with its sign.

    >>> points(0.0123), points(-0.004, 1)
    ('+1.23', '-0.4')
    """
    return f"{100 * difference:+.{digits}f}"


def spread(low: float, high: float, digits: int = 2) -> str:
    """Return an interval of differences in percentage points.

    >>> spread(-0.001, 0.02)
    '-0.10 to +2.00'
    """
    return f"{points(low, digits)} to {points(high, digits)}"


def in_words(found: tuple[float, float, float]) -> str:
    """Return a difference in percentage points, with its interval where more than one pair gives one.

    >>> in_words((0.01, -0.001, 0.02)), in_words((0.01, float("-inf"), float("inf")))
    ('+1.00 (-0.10 to +2.00)', '+1.00')
    """
    return f"{points(found[0])}{f' ({spread(found[1], found[2])})' if isfinite(found[1]) else ''}"


def between(low: float, high: float, digits: int = 2) -> str:
    """Return an interval of shares.

    >>> between(0.9, 0.912)
    '90.00 to 91.20 %'
    """
    return f"{100 * low:.{digits}f} to {percent(high, digits)}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
