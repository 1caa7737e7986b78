"""The best model on the test images: how good, what it confuses, whether it knows when it is wrong."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fnn.arrays import Array
from fnn.metrics import confusion_matrix, precision_and_recall
from fnn.recipes import PRESETS
from reports.best import (
    PAIR,
    PATCH,
    STRIDE,
    Best,
    calibration_error,
    confident_mistakes,
    read,
    reliability,
    tempered,
    wilson,
)
from reports.charts import Axis, Chart, Series, chart_figure
from reports.page import Block, Figure, Section, Table
from reports.recipes import known, named, recorded, spread
from reports.style import DPI, Theme, between, box, canvas, dress, listed, mixed, percent, picture, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

JUDGED = Path(__file__).parents[1] / "results" / "judged.json"
PAIRS, IMAGES = 6, 10  # pairs of classes, and images of each direction
GALLERY, COLUMNS = 24, 8


def section() -> Section:
    """Return the section."""
    best = read()
    counts = confusion_matrix(best.labels, best.predictions, len(best.class_names))
    return Section(
        "7",
        "The best model on the test images",
        (*accuracy(best), *confusion(best, counts), *pair(best, counts), *by_class(best, counts),
         *calibration(best), *mistakes(best)),
    )  # fmt: skip


# How good it is


def accuracy(best: Best) -> tuple[Block, ...]:
    """Say what the model is and how many of the test images it gets right."""
    right, total = int(np.sum(best.predictions == best.labels)), len(best.labels)
    many, validated = best.facts["members"], best.facts.get("validation_accuracy")
    what = f"the mean of {many} networks' probabilities" if many > 1 else "one network"
    commands = best.facts["commands"]
    kind = "was best" if validated or not best.facts.get("all_images") else "comes of the recipe that was best"
    which = f"that {kind} on the validation images"
    if best.facts["members"] > 1:  # each has a split of its own, so none of the images is new to all of them
        which = "whose members' mean was best on the validation images of one seed, by a member of each recipe,"
    chosen_by = f", and {percent(validated)} of the validation images, by which it was chosen" if validated else ""
    return (
        f"""
        The model {which} is {what}, of {best.facts["parameters"]:,} parameters in all.
        It gets **{percent(right / total)}** of the {total:,} test images right, with a 95 % interval of
        {between(*wilson(right, total))} (Wilson's){chosen_by}.{of_its_recipe(commands)}
        """,
        "It is trained by\n\n" + "\n".join(f"    {command}" for command in commands),
    )


def of_its_recipe(commands: Sequence[str]) -> str:
    """Say what all seeds of the model's recipe come to, since the best of them by validation is one of these."""
    words = shlex.split(commands[0]) if len(commands) == 1 else []
    preset = words[words.index("--preset") + 1] if "--preset" in words else ""
    tested = known(named(recorded(), preset), "test") if preset in PRESETS else []
    return f" All {len(tested)} seeds of its recipe: {spread(tested)}." if len(tested) > 1 else ""


# What it confuses


def confusion(best: Best, counts: Array) -> tuple[Block, ...]:
    """Show the confusion matrix as images, and images of the pairs that are confused the most."""
    pairs = commonest_pairs(counts)[:PAIRS]
    wrong = int(counts.sum() - np.trace(counts))
    share = sum(counts[a, b] + counts[b, a] for a, b in pairs) / wrong
    names = [f"{best.class_names[a]} with {best.class_names[b]}" for a, b in pairs[:2]]
    return (
        Figure(
            "confusion-atlas",
            "Rows are the true class, columns the prediction. Each cell shows the mean of the images that went there, "
            "and their number; the more, the stronger the orange. What is confused looks alike in the mean: a "
            "Sneaker that is taken for an Ankle boot is a high one.",
            "A ten by ten grid of blurred mean images of garments with counts; the diagonal holds the right ones",
            lambda theme: draw_atlas(best, counts, theme),
        ),
        f"{len(pairs)} pairs of classes hold {percent(share, 0)} of the {wrong} mistakes; "
        f"{listed(names)} are confused the most.",
        Figure(
            "confused-pairs",
            "The pairs of classes that are confused the most, each in both directions, with the images that the model "
            "was the surest of first. Sleeves, fronts and lengths that make the difference are often not in the image.",
            "Rows of small images of garments, two for each pair of classes",
            lambda theme: draw_pairs(best, counts, theme),
        ),
    )


def commonest_pairs(counts: Array) -> list[tuple[int, int]]:
    """Return pairs of classes, the most often confused first, ties in class order.

    >>> commonest_pairs(np.array([[5, 1, 0], [2, 5, 9], [0, 0, 5]]))[:2]
    [(1, 2), (0, 1)]
    """
    both = counts + counts.T
    pairs = [(a, b) for a in range(len(counts)) for b in range(a + 1, len(counts))]
    return sorted(pairs, key=lambda pair: -both[pair])


def mistaken(best: Best) -> dict[tuple[int, int], list[int]]:
    """Return the numbers of the images of each (true class, prediction) that are mistaken so, the surest first."""
    found: dict[tuple[int, int], list[int]] = {}
    for number in confident_mistakes(best.probabilities, best.labels):
        found.setdefault((int(best.labels[number]), int(best.predictions[number])), []).append(int(number))
    return found


def draw_atlas(best: Best, counts: Array, theme: Theme) -> Drawing:
    """Draw the mean image and the count of each cell of the confusion matrix."""
    cell, left, top = 0.77, 1.05, 0.95
    size, went = len(counts), mistaken(best)
    drawing, axes = sheet(theme, left + size * cell + 0.1, top + size * cell + 0.1)
    axes.text(left, 0.16, "predicted as", va="center", color=theme.faint, fontsize=9)
    axes.text(0.1, top - 0.12, "true class", va="center", color=theme.faint, fontsize=9)
    most = max(int(counts[~np.eye(size, dtype=bool)].max()), 1)
    for row, name in enumerate(best.class_names):
        y = top + row * cell
        axes.text(left - 0.08, y + cell / 2, name, ha="right", va="center", color=theme.ink, fontsize=9)
        axes.text(
            left + (row + 0.5) * cell,
            top - 0.08,
            name,
            ha="center",
            va="bottom",
            rotation=30,
            color=theme.ink,
            fontsize=9,
        )
        for column, number in enumerate(counts[row]):
            x, own = left + column * cell, row == column
            shade = 0.0 if own else 0.75 * np.log1p(number) / np.log1p(most)
            back = mixed(theme.paper, theme.right if own else theme.wrong[0], 0.18 if own else shade)
            box(axes, x + 0.02, y + 0.02, cell - 0.04, cell - 0.04, back)
            if number:
                mean = best.means[row] if own else np.mean([best.wrong_images[n] for n in went[row, column]], axis=0)
                picture(axes, theme, mean, x + 0.07, y + 0.05, 3, bare=True)
                axes.text(x + cell - 0.06, y + cell - 0.07, f"{number}", ha="right", color=theme.ink, fontsize=8)
    return drawing


def draw_pairs(best: Best, counts: Array, theme: Theme) -> Drawing:
    """Draw images of the most confused pairs, in two columns of pairs, a row for each direction."""
    pairs, went = commonest_pairs(counts)[:PAIRS], mistaken(best)
    size, column = 2 * len(best.means[0]) / DPI, 4.5
    height = 2 * (size + 0.28) + 0.22
    drawing, axes = sheet(theme, 2 * column, -(-len(pairs) // 2) * height)
    for at, (a, b) in enumerate(pairs):
        x, y = at % 2 * column + 0.08, at // 2 * height + 0.1
        for row, (true, predicted) in enumerate(((a, b), (b, a))):
            top = y + row * (size + 0.28)
            text = f"{best.class_names[true]} taken for {best.class_names[predicted]}: {counts[true, predicted]}"
            axes.text(x, top + 0.04, text, va="center", color=theme.ink, fontsize=9)
            for place, number in enumerate(went.get((true, predicted), [])[:IMAGES]):
                picture(axes, theme, best.wrong_images[number], x + place * (size + 0.06), top + 0.15, 2)
    return drawing


def pair(best: Best, counts: Array) -> tuple[Block, ...]:
    """Tell what separates shirts from T-shirts."""
    recalls = {name: counts[k, k] / counts[k].sum() for k, name in enumerate(best.class_names)}
    one, other = PAIR
    fewest = ", the fewest of any class" if recalls[other] == min(recalls.values()) else ""
    zones = sorted(zones_of(best.cost).items(), key=lambda zone: -zone[1])
    (first, most), (second, next_), *_, (last, least) = zones
    return (
        f"""
        ### What separates a {other} from a {one}

        Of the {one} images {percent(recalls[one], 1)} are found, of the {other} images
        {percent(recalls[other], 1)}{fewest}. Where does the model look? A square of {PATCH} by {PATCH} pixels is
        covered by the mean of both classes, which speaks for neither, and the log odds of the right class against the
        other are read again. By thirds of the image, covering costs the most at the {first} ({most:.2f}) and the
        {second} ({next_:.2f}), the least at the {last} ({least:.2f}).
        """,
        Figure(
            "shirt-or-t-shirt",
            f"The mean {one}, the mean {other}, their difference (orange: stronger in the {other}, blue: in the "
            f"{one}), and what covering a place costs in log odds: the more, the more the model relies on it. Sleeves "
            "are the plain difference.",
            "Four panels: two blurred mean images, their difference and a heat map",
            lambda theme: draw_pair(best, theme),
        ),
    )


def zones_of(cost: Array) -> dict[str, float]:
    """Return the mean cost of covering by thirds of the image.

    >>> zones_of(np.arange(9).reshape(3, 3))["bottom right"]
    8.0
    """
    rows, columns = (np.array_split(np.arange(size), 3) for size in cost.shape)
    return {
        f"{down} {across}".removeprefix("middle "): float(cost[np.ix_(row, column)].mean())
        for down, row in zip(("top", "middle", "bottom"), rows, strict=True)
        for across, column in zip(("left", "centre", "right"), columns, strict=True)
    }


def draw_pair(best: Best, theme: Theme) -> Drawing:
    """Draw the mean images of the pair, their difference and the cost of covering."""
    from matplotlib.colors import LinearSegmentedColormap

    one, other = (best.means[best.class_names.index(name)] for name in PAIR)
    drawing = canvas(theme, 9, 2.7)
    panels = drawing.subplots(1, 4)
    ink = LinearSegmentedColormap.from_list("ink", theme.ink_of_images)
    heat = LinearSegmentedColormap.from_list("heat", (theme.paper, theme.wrong[0]))
    poles = LinearSegmentedColormap.from_list("poles", (theme.right, theme.paper, theme.wrong[0]))
    far = float(np.abs(other - one).max())
    side = best.means.shape[1]
    middle = (PATCH - 1) / 2
    edge = middle - STRIDE / 2, middle + STRIDE * (len(best.cost) - 0.5)
    for axes, title in zip(panels, (*(f"mean {name}" for name in PAIR), "difference", "cost of covering"), strict=True):
        dress(axes, theme, grid="")
        axes.set_title(title, loc="left", color=theme.ink, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)
    panels[0].imshow(one, cmap=ink)
    panels[1].imshow(other, cmap=ink)
    panels[2].imshow(other - one, cmap=poles, vmin=-far, vmax=far)
    shown = panels[3].imshow(best.cost, cmap=heat, extent=(*edge, *reversed(edge)))  # type: ignore[arg-type]
    panels[3].contour(other + one, levels=[0.35 * float((one + other).max())], colors=theme.ink, linewidths=0.8)
    panels[3].set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
    bar = drawing.colorbar(shown, ax=panels[3], shrink=0.8)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=theme.faint, labelsize=8, length=0)
    return drawing


def by_class(best: Best, counts: Array) -> tuple[Block, ...]:
    """Return precision and recall of each class."""
    precision, recall = precision_and_recall(counts)
    rows = tuple(
        (name, f"{counts[k].sum():,}", percent(precision[k], 1), percent(recall[k], 1),
         between(*wilson(int(counts[k, k]), int(counts[k].sum())), 1))
        for k, name in enumerate(best.class_names)
    )  # fmt: skip
    worst = [best.class_names[k] for k in np.argsort(recall)[:2]]
    return (
        Table(
            ("class", "images", "precision", "recall", "95 % interval of recall"), rows,
            f"Precision and recall by class, with Wilson's intervals: {listed(worst)} are found the least.",
        ),
    )  # fmt: skip


# Whether it knows


def calibration(best: Best) -> tuple[Block, ...]:
    """Show whether the model is as often right as it says."""
    right = best.predictions == best.labels
    forms = {"as trained": best.probabilities}
    if "temperature" in best.facts:
        temperature = best.facts["temperature"]
        forms[f"at temperature {temperature:g}"] = tempered(best.probabilities, temperature)
    errors = {name: calibration_error(p.max(axis=1), right) for name, p in forms.items()}
    curves = {name: reliability(p.max(axis=1), right) for name, p in forms.items()}
    series = [Series("as sure as right", (0.4, 1), (0.4, 1), colour=5)]
    for number, (name, (told, true, size)) in enumerate(curves.items()):
        low, high = zip(*(wilson(round(t * n), n) for t, n in zip(true, size, strict=True)), strict=True)
        series.append(Series(name, told.tolist(), true.tolist(), low, high, colour=number))
    mean = float(best.probabilities.max(axis=1).mean())
    side = "too modest" if mean < right.mean() else "too sure"
    after = (
        " Dividing the logits by one number, the temperature that fits the validation images best, changes no "
        f"prediction and leaves {percent(list(errors.values())[1])}."
        if len(errors) > 1
        else ""
    )
    return (
        f"""
        ### Does it know when it is wrong?

        The model is on average {percent(mean, 1)} sure and {percent(float(right.mean()), 1)} right: {side}, as label
        smoothing and averages make it. The expected calibration error is {percent(errors["as trained"])}.{after}
        """,
        chart_figure(
            "reliability",
            Chart(
                Axis("mean confidence of a group of images", percent=True),
                Axis("share of them that is right", percent=True),
                series,
            ),
            f"Each point is one of {len(curves['as trained'][2])} groups of equally many test images, by confidence, "
            "with Wilson's 95 % band. On the diagonal the model is as often right as it says; above it is too modest.",
            "A curve of accuracy against confidence above the diagonal, another near it",
        ),
    )


def mistakes(best: Best) -> tuple[Block, ...]:
    """Show the most confident mistakes, and say which of them look mislabelled."""
    shown = [int(n) for n in confident_mistakes(best.probabilities, best.labels)[:GALLERY]]
    verdicts = judged()
    said = [verdicts.get(n, "not judged") for n in shown]
    kinds = {kind: said.count(kind) for kind in ("label", "unclear", "model", "not judged") if kind in said}
    words = {
        "label": "the label looks wrong in {}",
        "unclear": "{} could be either",
        "model": "the model is plainly wrong in {}",
        "not judged": "{} nobody has judged",
    }
    told = listed([words[kind].format(number) for kind, number in kinds.items()])
    near = {kind: _near(best, [n for n, s in zip(shown, said, strict=True) if s == kind]) for kind in kinds}
    known = [n for n in shown if n in best.neighbours]
    agree = sum(_votes(best, n, int(best.predictions[n])) > _votes(best, n, int(best.labels[n])) for n in known)
    per = len(next(iter(best.neighbours.values())))
    details = "; ".join(f"{near[kind]:.1f} where {WHERE[kind]}" for kind in kinds if near[kind] == near[kind])
    return (
        f"""
        ### The most confident mistakes

        Of the {len(shown)} mistakes that the model is the surest of, to my eye {told}. Such a
        judgement of 28 by 28 pixels, made with label, prediction and neighbours in view, is no measurement. A witness
        that knows nothing of the model: among the
        {per} nearest training images by plain distance, more are labelled as the model says than as the test label says
        in {agree} of {len(known)} cases. Of the {per}, so many side with the model on average: {details}.
        """,
        Figure(
            "confident-mistakes",
            "The test images that are mistaken with the most confidence: the label, and below what the model says and "
            "how sure it is. A square marks those whose label looks wrong to the eye, a circle "
            "those that could be either.",
            "Three rows of eight small images of garments with the label and the prediction of each",
            lambda theme: draw_mistakes(best, shown, said, theme),
        ),
    )


WHERE = {
    "label": "the label looks wrong",
    "unclear": "it could be either",
    "model": "the model is wrong",
    "not judged": "nobody has judged",
}


def judged() -> dict[int, str]:
    """Return what an eye has said of test images by their number: label (it looks wrong), unclear or model."""
    return {int(number): verdict for number, verdict in json.loads(JUDGED.read_text())["verdicts"].items()}


def _votes(best: Best, number: int, label: int) -> int:
    return int(np.sum(best.neighbours[number] == label))


def _near(best: Best, numbers: list[int]) -> float:
    votes = [_votes(best, n, int(best.predictions[n])) for n in numbers if n in best.neighbours]
    return float(np.mean(votes)) if votes else float("nan")


def draw_mistakes(best: Best, shown: list[int], said: list[str], theme: Theme) -> Drawing:
    """Draw images with label, prediction and confidence."""
    cell, height = 1.12, 1.42
    drawing, axes = sheet(theme, COLUMNS * cell + 0.04, -(-len(shown) // COLUMNS) * height + 0.04)
    for at, (number, verdict) in enumerate(zip(shown, said, strict=True)):
        x, y = at % COLUMNS * cell + 0.08, at // COLUMNS * height + 0.06
        picture(axes, theme, best.wrong_images[number], x + 0.15, y, 4)
        texts = (best.class_names[best.labels[number]], best.class_names[best.predictions[number]])
        axes.text(x + 0.52, y + 0.9, texts[0], ha="center", va="center", color=theme.ink, fontsize=8.5)
        sure = percent(best.probabilities[number].max(), 0)
        axes.text(
            x + 0.52, y + 1.08, f"{texts[1]} {sure}", ha="center", va="center", color=theme.wrong[0], fontsize=8.5
        )
        if verdict in MARKERS:
            axes.plot(x + 0.06, y + 0.08, MARKERS[verdict], color=theme.right, markersize=6)
    return drawing


MARKERS = {"label": "s", "unclear": "o"}
