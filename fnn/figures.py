"""Pictures of data and results: pure functions of arrays that return a figure, and one that saves it.

Figures are built through matplotlib's objects, never through pyplot, so that no global state is touched and any
thread may draw. Blue is right, orange is wrong: a pair that every kind of colour vision tells apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fnn.files import PathLike, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, FAINT, LINE = "#ffffff", "#22272e", "#7b838d", "#d9dde2"
RIGHT, WRONG = "#3b74a8", ("#c2500a", "#ec8a3c", "#f6bd8b")
REST = "#efe7df"
THUMBNAILS = 5
DPI = 110


def samples(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw the first image of each class in a labelled grid, at most ten in a row.

    `images` is `(n, height, width)`, `labels` is `(n,)` in `0 .. len(class_names) - 1`. A class without an image keeps
    its place, with an empty frame.
    """
    columns = min(len(class_names), 10)
    rows = -(-len(class_names) // columns)
    cell, caption, gap = 1.2, 0.34, 0.14
    width, height = columns * (cell + gap) + gap, rows * (cell + caption + gap)
    figure, axes = _canvas(width, height)
    for index, name in enumerate(class_names):
        row, column = divmod(index, columns)
        x, y = gap + column * (cell + gap), gap + row * (cell + caption + gap)
        own = np.flatnonzero(labels == index)[:1]
        _frame(axes, x, y, cell)
        if own.size:
            _picture(axes, images[own[0]], x, y, cell)
        else:
            axes.text(x + cell / 2, y + cell / 2, "no image", ha="center", va="center", color=FAINT, fontsize=9)
        axes.text(x + cell / 2, y + cell + 0.2, _short(name, 14), ha="center", va="center", color=INK, fontsize=11)
    return figure


def confusion(
    matrix: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw what is confused with what, with the images themselves: one row for each true class.

    A row shows the mean image of the class, its recall, the counts of its predictions (shaded by their logarithm, the
    diagonal muted), and the three commonest mistakes with images that were mistaken so.

    `matrix` is `(k, k)`, counts by `[true, predicted]`; `images` is `(n, height, width)`, `labels` and `predictions`
    are `(n,)`. A class without images or without mistakes keeps its row, which says so.
    """
    count, counts = len(class_names), np.asarray(matrix)
    cell, row_height, top, margin = 0.52, 0.88, 1.96, 0.3
    x_name, x_recall, recall_width = margin + 0.95, margin + 2.1, 1.75
    x_grid = x_recall + recall_width + 0.85
    x_mistakes = x_grid + count * cell + 0.45
    mistake_width = THUMBNAILS * 0.52 + 0.3
    width = x_mistakes + len(WRONG) * mistake_width + margin
    figure, axes = _canvas(width, top + count * row_height + margin)

    means = [_mean_image(images, labels == index) for index in range(count)]
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.text(margin, 0.42, title, va="center", color=INK, fontsize=20, fontweight="bold")
    axes.text(margin, 0.84, _headline(right, total), va="center", color=FAINT, fontsize=12)

    for x, text in (
        (margin, "true class"),
        (x_recall, "recall"),
        (x_mistakes, "commonest mistakes"),
    ):
        axes.text(x, top - 0.2, text, va="center", color=FAINT, fontsize=11)
    axes.text(x_grid, top - 1.12, "predicted as", va="center", color=FAINT, fontsize=11)
    for index, name in enumerate(class_names):
        axes.text(
            x_grid + (index + 0.5) * cell, top - 0.12, _short(name, 11), ha="center", va="bottom", rotation=90,
            color=INK, fontsize=10,
        )  # fmt: skip

    shade = _log_shade(counts)
    for index, name in enumerate(class_names):
        y = top + index * row_height
        middle = y + row_height / 2
        axes.plot((margin, width - margin), (y, y), color=LINE, linewidth=0.8, solid_capstyle="butt")
        _mean(axes, means[index], margin, middle - 0.37, 0.74)
        axes.text(x_name, middle, _short(name, 11), va="center", color=INK, fontsize=12)
        _recall_bar(axes, counts[index], index, x_recall, middle, recall_width)
        _grid_row(axes, counts[index], shade[index], index, x_grid, middle, cell)
        _mistakes_row(
            axes, _mistakes(counts[index], index), images, predictions, labels == index, class_names,
            x_mistakes, y, mistake_width, int(counts[index].sum()),
        )  # fmt: skip
    return figure


def curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss and accuracy, of training and validation, against the epoch.

    Each report of `history` holds `epoch`, `train_loss`, `train_accuracy`, `val_loss` and `val_accuracy`; a value that
    is missing or not finite leaves a gap. The best epoch of each validation curve is ringed and named.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(11, 4.2), dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.16, h_pad=0.14, wspace=0.04)  # type: ignore[union-attr]
    panels = figure.subplots(1, 2)
    for axes, measure, best in zip(panels, ("loss", "accuracy"), (np.nanargmin, np.nanargmax), strict=True):
        _style(axes, measure)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))
        for part, colour, name in (("train", RIGHT, "training"), ("val", WRONG[0], "validation")):
            epochs, values = _series(history, f"{part}_{measure}")
            if part == "val" and len(epochs) and not np.isfinite(values).any():
                continue  # nothing was validated
            marker = "o" if len(epochs) <= 30 else None
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3.5, linewidth=1.8, label=name)
            if part == "val" and np.isfinite(values).any():
                at = int(best(values))
                text = f"{values[at]:.2%}" if measure == "accuracy" else f"{values[at]:.4f}"
                axes.plot(
                    epochs[at], values[at], "o", markersize=10, markerfacecolor="none", color=colour,
                    label=f"best: {text}, epoch {epochs[at]:g}",
                )  # fmt: skip
        if not len(history):
            axes.text(0.5, 0.5, "no epoch yet", transform=axes.transAxes, ha="center", va="center", color=FAINT)
            axes.set_xticks([])
            axes.set_yticks([])
            continue
        if measure == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(edgecolor="none", labelcolor=INK, fontsize=10)
    return figure


def save(figure: Figure, path: PathLike) -> Path:
    """Write a figure as a PNG, whole or not at all: a reader never sees half a file. Returns the path.

    Raises `OSError` where the directory cannot be written; the older file, if any, is then still there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    return write_atomically(path, lambda file: FigureCanvasAgg(figure).print_png(file, metadata={"Software": None}))


# The rows of the confusion figure


def _recall_bar(axes: Axes, row: np.ndarray, true: int, x: float, y: float, width: float) -> None:
    """One bar as long as the class: right in blue, each of the commonest mistakes in its orange, the rest pale."""
    total = int(row.sum())
    if not total:
        axes.text(x, y, "no images", va="center", color=FAINT, fontsize=11)
        return
    mistakes = _mistakes(row, true)
    parts = [(int(row[true]), RIGHT), *((number, WRONG[rank]) for rank, (_, number) in enumerate(mistakes))]
    parts.append((total - sum(number for number, _ in parts), REST))
    start = x
    for number, colour in parts:
        _box(axes, start, y - 0.13, width * number / total, 0.26, colour)
        start += width * number / total
    axes.text(x + width + 0.08, y, f"{row[true] / total:.1%}", va="center", color=INK, fontsize=11)


def _grid_row(axes: Axes, row: np.ndarray, shade: np.ndarray, true: int, x: float, y: float, cell: float) -> None:
    """The counts of one true class; zeros stay blank, so that the eye finds the mistakes."""
    for predicted, number in enumerate(row):
        left, right = x + predicted * cell, predicted == true
        colour = "#e4ebf2" if right else _mix(PAPER, WRONG[0], 0.85 * float(shade[predicted]))
        _box(axes, left + 0.02, y - cell / 2 + 0.02, cell - 0.04, cell - 0.04, colour)
        if number:
            ink = FAINT if right else PAPER if shade[predicted] > 0.9 else INK
            text = f"{number}" if number < 100_000 else f"{number / 1000:.0f}k"
            axes.text(
                left + cell / 2, y, text, ha="center", va="center", color=ink, fontsize=9.5 if number < 10_000 else 7.5
            )
        elif not right:
            axes.text(left + cell / 2, y, "·", ha="center", va="center", color=LINE, fontsize=9)


def _mistakes_row(
    axes: Axes,
    mistakes: list[tuple[int, int]],
    images: np.ndarray,
    predictions: np.ndarray,
    own: np.ndarray,
    class_names: Sequence[str],
    x: float,
    y: float,
    width: float,
    total: int,
) -> None:
    """The commonest mistakes of one class, each with its share and a few of the very images."""
    if not mistakes:
        axes.text(
            x, y + 0.44, "no mistakes" if total else "", va="center", color=FAINT, fontsize=11, fontstyle="italic"
        )
    for rank, (predicted, number) in enumerate(mistakes):
        left = x + rank * width
        _box(axes, left, y + 0.11, 0.13, 0.13, WRONG[rank])
        share = f"{number / total:.1%}"
        axes.text(
            left + 0.2, y + 0.175, f"{_short(class_names[predicted], 14)}  {share}",
            va="center", color=INK, fontsize=10,
        )  # fmt: skip
        for place, index in enumerate(np.flatnonzero(own & (predictions == predicted))[:THUMBNAILS]):
            _picture(axes, images[index], left + place * 0.52, y + 0.32, 0.5)


def _mistakes(row: np.ndarray, true: int) -> list[tuple[int, int]]:
    """The commonest wrong predictions of a class as `(predicted, count)`, at most three, ties in class order.

    >>> _mistakes(np.array([50, 2, 0, 7, 7, 1]), 0)
    [(3, 7), (4, 7), (1, 2)]
    """
    ranked = sorted((-int(number), predicted) for predicted, number in enumerate(row) if predicted != true and number)
    return [(predicted, -number) for number, predicted in ranked[: len(WRONG)]]


def _log_shade(counts: np.ndarray) -> np.ndarray:
    """Off-diagonal counts on a logarithmic scale from 0 (none) to 1 (the commonest mistake of all)."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    return np.log1p(wrong) / np.log1p(max(int(wrong.max(initial=0)), 1))


def _headline(right: int, total: int) -> str:
    if not total:
        return "no images"
    return f"{right / total:.2%} of {total:,} images right, {total - right:,} wrong"


def _mean_image(images: np.ndarray, chosen: np.ndarray) -> np.ndarray | None:
    return images[chosen].mean(axis=0) if chosen.any() else None


# Primitives on an axes whose unit is the inch, y downwards


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure, axes


def _picture(axes: Axes, image: np.ndarray, x: float, y: float, size: float) -> None:
    """One image, dark on light, its intensities from 0 to the image's own maximum."""
    high = float(image.max(initial=0)) or 1.0
    axes.imshow(
        image, cmap="gray_r", vmin=0, vmax=high, extent=(x, x + size, y + size, y), aspect="auto",
        interpolation="antialiased",
    )  # fmt: skip


def _mean(axes: Axes, image: np.ndarray | None, x: float, y: float, size: float) -> None:
    if image is None:
        _frame(axes, x, y, size)
    else:
        _picture(axes, image, x, y, size)


def _frame(axes: Axes, x: float, y: float, size: float) -> None:
    _box(axes, x, y, size, size, "none", edge=LINE)


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, edge: str = "none") -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, linewidth=0.8))


def _mix(one: str, other: str, share: float) -> str:
    """A colour between two, `share` of the way.

    >>> _mix("#000000", "#ffffff", 0.5)
    '#808080'
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = ((1 - share) * a + share * b for a, b in zip(to_rgb(one), to_rgb(other), strict=True))
    return to_hex((red, green, blue))


def _short(name: str, limit: int) -> str:
    """A name that fits its place.

    >>> _short("T-shirt/top", 11), _short("A very long class name", 11)
    ('T-shirt/top', 'A very lon…')
    """
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


# The panels of the curves


def _style(axes: Axes, measure: str) -> None:
    axes.set_title(measure, loc="left", color=INK, fontsize=13, fontweight="bold")
    axes.set_xlabel("epoch", color=FAINT)
    axes.tick_params(colors=FAINT, length=0)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    epochs = np.array([float(report["epoch"]) for report in history])
    values = np.array([float("nan") if report.get(key) is None else float(report[key]) for report in history])
    return epochs, np.where(np.isfinite(values), values, np.nan)
