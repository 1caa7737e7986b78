"""Cross entropy against squared error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.intervals import Interval, paired, sure
from reports.intervals import mean as mean_of
from reports.loss import (
    BASE,
    CHOOSING,
    DEPTHS,
    FRESH,
    LOSSES,
    PIECES,
    RATES,
    RESULTS,
    SEEDS,
    Duel,
    Pair,
    arms,
    best,
    compared,
    duels,
    first,
    last,
    pairs,
    tuned,
)
from reports.page import Block, Figure, Section, Table
from reports.runs import Row, recorded
from reports.style import Theme, canvas, dress, in_words, legend, listed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TITLE = "Cross entropy against squared error"
SCALED = ("rmsprop", "adam", "nadam")  # whose steps don't depend on the gradient's size
Both = tuple[Row, Row]  # by cross entropy and by squared error
Cells = Mapping[tuple[str, int], list[Both]]  # by optimizer and depth, each loss at its best learning rate


def section() -> Section:
    """Return the section, from as many pairs as there are."""
    rows = recorded(RESULTS)
    some = pairs(rows)
    cells = {(name, depth): tuned(some, name, depth) for depth, name in product(DEPTHS, RATES)}
    cells = {where: runs for where, runs in cells.items() if runs}
    blocks = [*design(rows, some)]
    if cells:
        blocks += [
            *verdict(cells, some, duels(rows)),
            *accuracies(cells),
            *same_rates(some),
            *early(cells),
            *best_pair(rows),
        ]
    return Section("8", TITLE, blocks)


def design(rows: Sequence[Row], some: Sequence[Pair]) -> list[Block]:
    """Say what was run."""
    wanted = len(arms(rows)) * len(SEEDS)
    ended = sum(row["seed"] in SEEDS and row["state"] != "failed" for row in rows)
    shape = f"{BASE['hidden_size']} units a layer, {BASE['activation']}, {BASE['weight_init']}'s weights"
    return [
        f"{len(some)} pairs of runs differ by the loss alone: {len(RATES)} optimizers, three learning rates of each "
        "and the next as long as either loss is the best at the last, "
        f"{listed([str(depth) for depth in DEPTHS])} hidden layers, {len(SEEDS)} seeds; {shape}, batch "
        f"{BASE['batch_size']}, {BASE['epochs']} epochs, the optimizers' usual constants. A pair shares the split, "
        "the initial weights and the order of the images. "
        f"{f'{ended} of {wanted} runs have ended. ' * (ended < wanted)}{lost(rows)} Squared error "
        "is the mean over the ten classes of the softmax outputs' squared errors, so that its gradient is small: at "
        f"the start, when all classes are equally likely, {1 / ratio_at_start():.0f} times as small as cross "
        "entropy's. Of this a factor of five is the mean's convention, which a learning rate makes good; the rest is "
        "the slope of the softmax.",
    ]


def lost(rows: Sequence[Row]) -> str:
    """Say how many runs diverged, and by which loss; they count as a guess among ten classes."""
    by = {loss: sum(r["state"] == "diverged" and r["settings"]["loss"] == loss for r in rows) for loss in LOSSES}
    if not any(by.values()):
        return "None diverged."
    parts = listed([f"{count} by {loss.replace('_', ' ')}" for loss, count in by.items() if count])
    return f"{sum(by.values())} diverged and count as a guess, 10 %: {parts}."


def ratio_at_start(classes: int = 10) -> float:
    """Return the size of squared error's gradient at the logits over cross entropy's, all classes equally likely.

    >>> round(ratio_at_start(), 3)
    0.02
    """
    p, t = np.full(classes, 1 / classes), np.eye(classes)[0]
    e = p - t
    squared = 2 / classes * p * (e - (p * e).sum())
    return float(np.linalg.norm(squared) / np.linalg.norm(e))


def gain(runs: Sequence[Both], score: Any) -> Interval:
    return paired([score(a) for a, _ in runs], [score(b) for _, b in runs])


def verdict(cells: Cells, some: Sequence[Pair], fresh: Sequence[Duel]) -> list[Block]:
    """Say which loss is better, and on what that depends."""
    runs = [pair for pairs_of_cell in cells.values() for pair in pairs_of_cell]
    accuracy, speed = gain(runs, last), gain(runs, first)
    fixed = paired([last(pair.ours) for pair in some], [last(pair.theirs) for pair in some])
    calibration, likelihood = compared(runs, "ece"), compared(runs, "cross_entropy")
    top = mean_of([duel.gain[0] for duel in fresh]) if fresh else None
    peak = f"Between the best recipe found of either, from fresh seeds, it is {in_words(top)}. " if top else ""
    seeds = sorted({a["seed"] for a, _ in runs})
    by_seed = mean_of([mean(last(a) - last(b) for a, b in runs if a["seed"] == seed) for seed in seeds])
    winner = "cross entropy" if accuracy[0] > 0 else "squared error"
    told = f"{winner} is better" if sure(accuracy) else "neither can be called better"
    scaled = {kind: [p for (name, _), own in cells.items() if (name in SCALED) == kind for p in own] for kind in (0, 1)}
    parts = [
        f"{words} {in_words(gain(scaled[kind], last))}"
        for kind, words in ((0, "with sgd, momentum and nag"), (1, "with rmsprop, adam and nadam"))
        if scaled[kind]
    ]
    return [
        f"**The verdict**: at the learning rate that is the best for it, {told} by accuracy: cross entropy less "
        f"squared error {in_words(accuracy)} points after {BASE['epochs']} epochs, over {len(runs)} pairs "
        f"taken as independent ({'; '.join(parts)}), and {in_words(by_seed)} over the {len(seeds)} seeds' means. "
        f"After the first epoch it is {in_words(speed)}. At equal learning rates it is "
        f"{in_words(fixed)}, which says how well the rates fit either loss, not which is better. {peak}The expected "
        f"calibration error differs by {in_words(calibration)} points and the cross entropy of the validation images "
        f"by {likelihood[0]:+.3f} ({likelihood[1]:+.3f} to {likelihood[2]:+.3f}). So: "
        f"{advice(accuracy, speed, calibration, likelihood, top)} The condition is the learning rate. "
        f"{wanted_rates(cells)}",
    ]


def advice(
    accuracy: Interval, speed: Interval, calibration: Interval, likelihood: Interval, top: Interval | None = None
) -> str:
    """Return what follows for a user, from what is sure; of calibration and likelihood lower is better.

    >>> unsure, more = (0.01, -0.01, 0.02), (0.02, 0.01, 0.03)
    >>> advice(more, more, unsure, unsure)
    'cross entropy: it is more accurate and faster in the first epoch.'
    >>> advice(unsure, unsure, unsure, unsure)
    'either will do: nothing of this differs surely.'
    """
    found = (
        (accuracy, 1, "more accurate"),
        (speed, 1, "faster in the first epoch"),
        (calibration, -1, "better calibrated"),
        (likelihood, -1, "better by the likelihood of the labels (its own aim)"),
        *([] if top is None else [(top, 1, "ahead with its best recipe")]),
    )
    reasons = {
        sign: [words for each, better, words in found if sure(each) and each[0] * better * sign > 0] for sign in (1, -1)
    }
    names = {1: "cross entropy", -1: "squared error"}
    if all(reasons.values()):
        return f"{' and '.join(f'{names[sign]} is {listed(own)}' for sign, own in reasons.items())}."
    for sign, own in reasons.items():
        if own:
            return f"{names[sign]}: it is {listed(own)}."
    return "either will do: nothing of this differs surely."


def accuracies(cells: Cells) -> list[Block]:
    """Show the pairs of each optimizer and depth, each loss at its best learning rate."""
    rows = []
    for (name, depth), runs in cells.items():
        ours, theirs = runs[0]
        rates = f"{ours['settings']['learning_rate']:g} / {theirs['settings']['learning_rate']:g}"
        means = " / ".join(percent(mean(last(pair[at]) for pair in runs)) for at in (0, 1))
        errors = " / ".join(f"{100 * mean(pair[at]['ece'] for pair in runs if 'ece' in pair[at]):.1f}" for at in (0, 1))
        rows.append((name, str(depth), rates, means, in_words(gain(runs, last)), in_words(gain(runs, first)), errors))
    return [
        Table(
            (
                "optimizer",
                "layers",
                "learning rates",
                "accuracy",
                "difference",
                "after one epoch",
                "calibration error, points",
            ),
            rows,
            "Each loss at the learning rate that is the best for it (cross entropy / squared error): validation "
            f"accuracy after {BASE['epochs']} epochs, and its difference in points with 95 % intervals (Student's t "
            f"over the seeds, {max(map(len, cells.values()))}: wide). The rates are chosen by the same seeds, which "
            "flatters both losses alike.",
        )
    ]


def same_rates(some: Sequence[Pair]) -> list[Block]:
    """Show the difference at equal learning rates."""
    return [
        Figure(
            "loss-rates",
            "Validation accuracy of either loss by the learning rate, means of the seeds. Where the scales differ, "
            "so do the best rates: a comparison at one common rate says little of the losses.",
            "Twelve small panels of two lines each by learning rate",
            partial(draw_rates, some),
        )
    ]


def wanted_rates(cells: Cells) -> str:
    """Say how much higher a learning rate squared error wants."""
    ratios = {
        kind: [
            runs[0][1]["settings"]["learning_rate"] / runs[0][0]["settings"]["learning_rate"]
            for (name, _), runs in cells.items()
            if (name in SCALED) == kind
        ]
        for kind in (False, True)
    }
    words = {
        False: "with sgd, momentum and nag, whose steps are as long as the gradient",
        True: "with rmsprop, adam and nadam, which scale the gradient's size away",
    }
    parts = [f"{np.exp(np.mean(np.log(own))):.2g} times as high {words[kind]}" for kind, own in ratios.items() if own]
    means = "in the geometric mean and on ladders of factors of ten and three"
    return f"The rate that is the best for squared error is, {means}, {' and '.join(parts)}."


def draw_rates(some: Sequence[Pair], theme: Theme) -> Drawing:
    """Draw the accuracy by the learning rate, a panel for each optimizer and depth."""
    from matplotlib.ticker import PercentFormatter

    drawing = canvas(theme, 9, 4.8)
    panels = drawing.subplots(len(DEPTHS), len(RATES), sharey=True)
    for (row, depth), (column, name) in product(enumerate(DEPTHS), enumerate(RATES)):
        labels = ("", "learning rate")[row], "" if column else f"{depth} hidden layers"
        axes = dress(panels[row, column], theme, "" if row else name, *labels)
        for at, loss in enumerate(LOSSES):
            means = {
                rate: [
                    last((pair.ours, pair.theirs)[at])
                    for pair in some
                    if (pair.settings["optimizer"], pair.settings["num_layers"], pair.settings["learning_rate"])
                    == (name, depth, rate)
                ]
                for rate in sorted({p.settings["learning_rate"] for p in some if p.settings["optimizer"] == name})
            }
            known = {rate: mean(values) for rate, values in means.items() if values}
            axes.plot(
                list(known), list(known.values()), ("-", "--")[at], marker="o", markersize=4,
                color=theme.series[at], label=loss.replace("_", " "),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2,
        edgecolor="none",
        facecolor=theme.paper,
        labelcolor=theme.ink,
    )
    return drawing


def early(cells: Cells) -> list[Block]:
    """Show the gradient's norm during the first epoch."""
    runs = [pair for own in cells.values() for pair in own]
    norms = [np.array([pair[at]["norms"] for pair in runs if len(pair[at]["norms"]) > PIECES]) for at in (0, 1)]
    (a, b), (c, d) = ((np.median(each[:, 0]), np.median(each[:, -1])) for each in norms)
    return [
        Figure(
            "loss-gradients",
            "Norms of the gradient over the first 1,000 training images in the first epoch, medians and quartiles over "
            f"optimizers and seeds, each loss at its best rate. At the start cross entropy's is {a / c:.0f} times as "
            f"large ({a:.2g} and {c:.2g}), at the epoch's end {b / d:.0f} times ({b:.2g} and {d:.2g}).",
            "Two panels of two lines on a logarithmic scale, from the start to the end of the first epoch",
            partial(draw_norms, cells),
        )
    ]


def draw_norms(cells: Cells, theme: Theme) -> Drawing:
    """Draw the norms by the share of the first epoch, a panel for each depth."""
    drawing = canvas(theme, 9, 3.6)
    for axes, depth in zip(drawing.subplots(1, len(DEPTHS), sharey=True), DEPTHS, strict=True):
        dress(axes, theme, f"{depth} hidden layers", "share of the first epoch", "norm of the gradient")
        own = [pair for (_, other), pairs_of_cell in cells.items() if other == depth for pair in pairs_of_cell]
        for at, loss in enumerate(LOSSES):
            curves = [pair[at]["norms"] for pair in own if len(pair[at]["norms"]) == PIECES + 1]
            if curves:
                x, (low, middle, high) = np.arange(PIECES + 1) / PIECES, np.quantile(curves, (0.25, 0.5, 0.75), axis=0)
                axes.fill_between(x, low, high, color=theme.series[at], alpha=0.16, linewidth=0)
                axes.plot(x, middle, ("-", "--")[at], color=theme.series[at], label=loss.replace("_", " "))
        axes.set_yscale("log")
        legend(axes, theme, loc="best")
    return drawing


def best_pair(rows: Sequence[Row]) -> list[Block]:
    """Compare each loss's best setting image by image."""
    found = duels(rows)
    if not found:
        return []
    settings = [best(rows, loss) for loss in LOSSES]
    words = [
        f"{one['optimizer']} at {one['learning_rate']:g} with {one['num_layers']} hidden layers" for one in settings
    ]
    significant = [duel for duel in found if duel.probability < 0.05]
    ahead = sum(duel.gain[0] > 0 for duel in found)
    return [
        f"**The best pair.** By the mean of the first {len(CHOOSING)} seeds, cross entropy's best is {words[0]}, "
        f"squared error's {words[1]}. Both were trained again from {len(found)} of {len(FRESH)} fresh seeds, and "
        f"compared on the {found[0].images:,} validation images of each: McNemar's test asks whether those images "
        f"that only one of two networks gets right are split as a fair coin would. Cross entropy is ahead in {ahead} "
        f"of {len(found)}; {f'in {len(significant)}' if significant else 'in none'} of them a coin would make such a "
        "split less than once in twenty.",
        Table(
            ("seed", "only cross entropy right", "only squared error right", "difference, points", "p, McNemar"),
            [
                (str(duel.seed), str(duel.ours), str(duel.theirs), in_words(duel.gain), f"{duel.probability:.2g}")
                for duel in found
            ],
            "Exact two-sided test; the validation images are those of the seed's own split.",
        ),
    ]
