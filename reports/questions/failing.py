"""Why configurations below 65 % fail: how often, looked at inside, and what saves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Any

from reports.failures import CASES, RESULTS, SEEDS, Case, accuracy, average, of
from reports.intervals import wilson
from reports.page import Block, Figure, Table
from reports.questions.q05_best import FAILED, best
from reports.runs import recorded
from reports.style import Theme, between, canvas, dress, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Row = Mapping[str, Any]
Settings = Mapping[str, Any]
PLAIN = ("sgd", "momentum", "nag")  # whose step is as long as the gradient

#: Kinds of configurations, each without those before it.
KINDS: Mapping[str, Callable[[Settings], bool]] = {
    "weight decay 0.5": lambda s: s["weight_decay"] == 0.5,
    "sigmoid, with sgd, momentum or nag": lambda s: s["activation"] == "sigmoid" and s["optimizer"] in PLAIN,
    "sgd, momentum or nag at 0.0001": lambda s: s["optimizer"] in PLAIN and s["learning_rate"] == 0.0001,
    "sigmoid, random weights": lambda s: s["activation"] == "sigmoid" and s["weight_init"] == "random",
    "all others": lambda s: True,
}


def blocks(trials: Sequence[Row]) -> list[Block]:
    """Return the blocks of the section on failures."""
    pool = [row for row in trials if row["strategy"] == "random"]
    rows = recorded(RESULTS)
    rest = [row for row in trials if row["strategy"] != "random"]
    return ["### Why configurations fail", *counted(pool), foreseen(rest), *(inside(rows) if complete(rows) else [])]


def complete(rows: Sequence[Row]) -> bool:
    return all(of(rows, arm) for case in CASES for arm in case.arms)


def kinds(pool: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the trials of each kind, each trial in the first that fits."""
    found: dict[str, list[Row]] = {name: [] for name in KINDS}
    for row in pool:
        found[next(name for name, fits in KINDS.items() if fits(row["settings"]))].append(row)
    return found


def counted(pool: Sequence[Row]) -> list[Block]:
    """Say how many trials of each kind fail."""
    failed = {name: (sum(best(row) < FAILED for row in own), len(own)) for name, own in kinds(pool).items()}
    total = sum(count for count, _ in failed.values())
    others = failed["all others"]
    return [
        f"{total} of {len(pool)} random trials stay below {percent(FAILED, 0)}. {total - others[0]} of them are of "
        f"four kinds; of the {others[1]} others {others[0] or 'none'} {'does' if others[0] == 1 else 'do'}.",
        Table(
            ("configurations, each row without those above", "fail", "of", "share", "95 % interval"),
            [
                (name, str(count), str(size), percent(count / size, 0), between(*wilson(count, size)[1:], 0))
                for name, (count, size) in failed.items()
                if size
            ],
            "Wilson's intervals.",
        ),
    ]


def foreseen(rest: Sequence[Row]) -> str:
    """Say how the kinds, which were made by looking at the random trials, fare with the others."""
    groups = kinds(rest)
    failed = {name: sum(best(row) < FAILED for row in own) for name, own in groups.items()}
    four, others = sum(failed.values()) - failed["all others"], groups["all others"]
    return (
        f"The kinds were made by looking at these trials. Of the {len(rest)} trials of the learning strategies "
        f"{sum(failed.values())} fail, {four} of them of the same four kinds; of the {len(others)} others "
        f"{failed['all others'] or 'none'} {'does' if failed['all others'] == 1 else 'do'}."
    )


def inside(rows: Sequence[Row]) -> list[Block]:
    """Look inside the networks of each kind, and change one thing."""
    return [
        f"What goes wrong is looked at inside: a failing configuration of each kind, and the same with **one** setting "
        f"changed, {len(SEEDS)} seeds each. `--hidden_size 64 --batch_size 32 --epochs 5`; layers are counted from the "
        "input.",
        Figure(
            "gradients",
            "Norms of the gradients by layer, before the first step and after the first epoch, of the failing network "
            "and of the change that helps most. Decay: gradients vanish in the first epoch, since the weights do. A "
            "small rate: nothing is wrong with the gradients. Sigmoids: from the start the first layers get a small "
            "part of what the last one gets; with tanh all get alike.",
            "Four panels of lines of gradient norms by layer, on a logarithmic scale",
            partial(draw, rows),
        ),
        table(rows),
        *reasons(rows),
    ]


def helper(rows: Sequence[Row], case: Case) -> int:
    """Return the number of the arm, from 1, that helps a case the most."""
    return max(range(1, len(case.arms)), key=lambda arm: accuracy(rows, case.arms[arm]))


def change(settings: Settings) -> str:
    """Return a change in words.

    >>> change({"learning_rate": 0.1}), change({})
    ('learning rate 0.1', 'as it was')
    """
    words = (f"{name.replace('_', ' ')} {value:g}" if _real(value) else str(value) for name, value in settings.items())
    return ", ".join(words) or "as it was"


def _real(value: Any) -> bool:
    return isinstance(value, (int, float))


def table(rows: Sequence[Row]) -> Table:
    """Return what each change of each case comes to."""
    cells = []
    for case in CASES:
        for number, (arm, changed) in enumerate(zip(case.arms, ({}, *case.changes), strict=True)):
            own = of(rows, arm)
            gradients, spread = average(own, 0, "gradients"), average(own, -1, "spread")
            cells.append(
                (
                    "" if number else case.name,
                    change(changed),
                    percent(accuracy(rows, arm), 1),
                    f"{gradients[0]:.2g} / {gradients[-1]:.2g}",
                    f"{spread[-1]:.2g}",
                    f"{mean(row['moved'] for row in own):.2g}",
                )
            )
    return Table(
        ("case", "changed", "accuracy", "gradient, first / last layer", "spread of the last hidden layer", "moved"),
        cells,
        "Validation accuracy of the last epoch; norms of the gradient of the first and the last layer before the first "
        "step; the standard deviation of the last hidden layer's activations over images at the end; how far the "
        "parameters have moved, over their norm at the start.",
    )


def reasons(rows: Sequence[Row]) -> list[Block]:
    """Say in words why each case fails, with what was seen."""
    decay, slow, deep, random = (case for case in CASES[:4])
    first = {case.name: of(rows, case.arms[0]) for case in CASES}
    weights = [sum(average(first[decay.name], at, "weights")[:-1]) for at in (0, 1)]
    ratios = [average(first[case.name], 0, "gradients") for case in (deep, random)]
    saturated = average(first[random.name], 0, "saturated")
    slow_moved, fast_moved = (mean(row["moved"] for row in of(rows, slow.arms[at])) for at in (0, 2))
    xavier = accuracy(rows, random.arms[1])
    return [
        f"""
- **Weight decay 0.5** spares no configuration. The penalty's gradient, 0.5 W, has a norm of
  {0.5 * average(first[decay.name], 0, "weights")[0]:.1f} in the first layer at the start, the loss's
  {average(first[decay.name], 0, "gradients")[0]:.1f}: after one epoch the hidden layers' weights have
  {percent(weights[1] / weights[0], 1)} of their norm, the activations are the same for all images, and what is left
  to learn is one distribution of classes for all. Without decay: {percent(accuracy(rows, decay.arms[2]), 1)}.
- **sgd at 0.0001** is healthy inside and only slow: in five epochs the parameters move by {percent(slow_moved, 1)} of
  their norm, at 0.1 by {percent(fast_moved, 0)}. The rate is what is wrong: {percent(accuracy(rows, slow.arms[0]), 1)}
  become {percent(accuracy(rows, slow.arms[2]), 1)}.
- **Five sigmoids under sgd**: each layer passes on a fraction of the gradient, since a sigmoid's slope is at most a
  quarter, and the first layer is left with 1/{ratios[0][-1] / ratios[0][0]:.0f} of what the last one gets. A rate a
  hundred times as high saves it only in part ({percent(accuracy(rows, deep.arms[1]), 1)}); steps that are scaled by
  coordinate (nadam, {percent(accuracy(rows, deep.arms[2]), 1)}) or another activation (tanh,
  {percent(accuracy(rows, deep.arms[3]), 1)}) do.
- **Sigmoids with random weights** under nadam at 0.0001: it isn't saturation. Before the first step
  {percent(saturated[0], 1)} of the first layer's units and {percent(max(saturated[1:]), 1)} of the others' pass on less
  than a twentieth of the steepest slope. It is the same shrinking, 1/{ratios[1][-1] / ratios[1][0]:.0f} here, and
  Xavier's weights, the textbook's cure, {"don't cure it" if xavier < FAILED else "help"} ({percent(xavier, 1)}): a rate
  of 0.001 ({percent(accuracy(rows, random.arms[2]), 1)}), fewer layers ({percent(accuracy(rows, random.arms[4]), 1)})
  and tanh ({percent(accuracy(rows, random.arms[3]), 1)}) do.
""",
    ]


def draw(rows: Sequence[Row], theme: Theme) -> Drawing:
    """Draw the gradients' norms by layer of the first four cases and of what helps them most."""
    drawing = canvas(theme, 9, 6.4)
    panels = drawing.subplots(2, 2, sharey=True)
    for axes, case in zip(panels.ravel(), CASES[:4], strict=True):
        arm = helper(rows, case)
        changed = change(case.changes[arm - 1])
        dress(axes, theme, "", "layer", "norm of the gradient")
        axes.set_title(f"{case.name}\nchanged: {changed}", loc="left", color=theme.ink, fontsize=10.5)
        for which, name, colour in ((0, "fails", theme.series[1]), (arm, "changed", theme.series[0])):
            own = of(rows, case.arms[which])
            for at, dashes, when in ((0, ":", "at the start"), (1, "-", "after an epoch")):
                norms = average(own, at, "gradients")
                layers = range(1, len(norms) + 1)
                axes.plot(layers, norms, dashes, marker="o", markersize=4, color=colour, label=f"{name}, {when}")
        axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        edgecolor="none",
        facecolor=theme.paper,
        labelcolor=theme.ink,
    )
    return drawing
