"""What matters in the sweeps: looked at, measured with its uncertainty, and tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from fnn.recipes import PRESETS
from reports.charts import Axis, Parallel, parallel_figure
from reports.claims import BASE, CLAIMS, LAST, TUNING, Claim, Finding, finding
from reports.claims import RESULTS as TESTED
from reports.importances import Correlation, Effect, Space, correlations, effects, predictive, space_of
from reports.intervals import Interval, difference, sure
from reports.page import Block, Figure, Section, Table
from reports.questions import approaching, failing, published
from reports.questions.q05_best import best
from reports.runs import recorded as runs_of
from reports.strategies import recorded, sweep_of
from reports.style import Theme, canvas, dress, in_words, legend, listed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Row = Mapping[str, Any]
ORDER = (
    "optimizer", "learning_rate", "activation", "weight_init", "num_layers", "hidden_size", "batch_size", "epochs",
    "weight_decay",
)  # fmt: skip
WORDS = {
    "batch_size": "batch of {}",
    "activation": "{}",
    "num_layers": "{} hidden layers",
    "optimizer": "{}",
    "weight_decay": "weight decay of {}",
    "weight_init": "{} initial weights",
    "hidden_size": "width of {}",
    "epochs": "{} epochs",
}
#: Where everything learns: what matters among the good.
GOOD: Space = {
    "optimizer": ("rmsprop", "adam", "nadam"),
    "activation": ("tanh", "ReLU"),
    "weight_decay": (0, 0.0005),
}


def section() -> Section:
    """Return the section, from the trials and the experiments."""
    trials = [row for row in recorded() if "values" in row]
    parts = (looked_at(trials), measured(trials), tested(trials), failing.blocks(trials))
    blocks = [block for part in (*parts, published.blocks(), approaching.blocks()) for block in part]
    return Section("6", "What matters, and why", blocks)


# Looked at


def looked_at(trials: Sequence[Row]) -> list[Block]:
    """Show all trials in parallel coordinates."""
    space = space_of(sweep_of("random"))
    axes = [axis_of(name, space[name]) for name in ORDER]
    rows = [[*(place(name, row["settings"][name], space[name]) for name in ORDER), best(row)] for row in trials]
    accuracy = Axis("accuracy", percent=True, low=0.1, high=0.9)
    return [
        parallel_figure(
            "parallel",
            Parallel([*axes, accuracy], rows),
            f"Each line is a trial, coloured by its validation accuracy. {brushed(trials)}",
            "Lines through nine settings to the accuracy of each trial",
        ),
    ]


def brushed(trials: Sequence[Row]) -> str:
    """Say what brushing either end of the accuracy's axis shows."""
    ranked = sorted(trials, key=best)
    quarter = len(ranked) // 4
    lower, upper = ranked[:quarter], ranked[-quarter:]

    def share(rows: Sequence[Row], name: str, *values: Any) -> str:
        return percent(mean(row["settings"][name] in values for row in rows), 0)

    return (
        f"Brush the upper end of the last axis, above {percent(best(upper[0]), 1)}: of the best quarter "
        f"{share(upper, 'weight_decay', 0.5)} have a weight decay of 0.5, {share(upper, 'activation', 'sigmoid')} "
        f"sigmoids and {share(upper, 'optimizer', 'sgd', 'momentum', 'nag')} sgd, momentum or nag. Of the lowest "
        f"quarter, below {percent(best(lower[-1]), 0)}, it is {share(lower, 'weight_decay', 0.5)}, "
        f"{share(lower, 'activation', 'sigmoid')} and {share(lower, 'optimizer', 'sgd', 'momentum', 'nag')}."
    )


def axis_of(name: str, values: Sequence[Any]) -> Axis:
    """Return the axis of a setting: learning rates by their logarithm, all others by their values in order."""
    label = name.replace("_", " ")
    if name == "learning_rate":
        return Axis(label, log=True, low=min(values), high=max(values))
    return Axis(label, categories=tuple(map(str, ordered(values))))


def ordered(values: Sequence[Any]) -> list[Any]:
    return list(values) if isinstance(values[0], str) else sorted(values)


def place(name: str, value: Any, values: Sequence[Any]) -> float:
    return value if name == "learning_rate" else ordered(values).index(value)


# Measured


def measured(trials: Sequence[Row]) -> list[Block]:
    """Divide the variance of the accuracy among the settings, and give the correlations."""
    space = space_of(sweep_of("random"))
    pool = [row for row in trials if row["strategy"] == "random"]
    rest = [row for row in trials if row["strategy"] != "random"]
    settings, values = [row["settings"] for row in pool], list(map(best, pool))
    whole = effects(space, settings, values)
    good = [row for row in pool if all(row["settings"][name] in values for name, values in GOOD.items())]
    part = {name: list(GOOD.get(name, own)) for name, own in space.items()}
    among = effects(part, [row["settings"] for row in good], list(map(best, good)))
    agreement = predictive(space, settings, values, [row["settings"] for row in rest], list(map(best, rest)))
    found = correlations(space, settings, values)
    return [
        "### What each setting explains",
        f"Parallel coordinates show, but don't measure. A random forest learns the accuracy from the {len(pool)} "
        "random trials, predicts it for every point of the space, and the variance of the predictions is divided "
        "among the settings exactly: what each explains alone, and what with all its interactions. Trials that the "
        f"forest has never seen, the {len(rest)} of the learning strategies, it ranks with a correlation of "
        f"{agreement:.2f}.",
        Figure(
            "importance",
            explained(whole, among),
            "Two panels of bars by setting, with intervals",
            partial(draw_effects, (whole, among), (f"{len(pool)} random trials", f"{len(good)} of them that learn")),
        ),
        f"The right panel is of the {len(good)} random trials with {' or '.join(GOOD['optimizer'])}, with "
        f"{' or '.join(GOOD['activation'])} and without the weight decay of 0.5, which reach from "
        f"{percent(min(map(best, good)))} to {percent(max(map(best, good)))}. The learning strategies' trials are left "
        "out: these strategies ask where it was good before, so their trials are no sample of the space. "
        "Correlations, which see neither interactions nor anything but a monotonous trend, point the same way:",
        correlation_table(found),
    ]


def explained(whole: Sequence[Effect], among: Sequence[Effect]) -> str:
    """Say what the figure of the effects shows."""
    first, second = whole[:2]
    mixed = max(whole, key=lambda one: one.total[0] - one.alone[0])
    return (
        f"The share of the variance that each setting explains alone and with its interactions; 95 % intervals by "
        f"bootstrapped trials. Over the whole space `{first.name}` ({percent(first.total[0], 0)}) and `{second.name}` "
        f"({percent(second.total[0], 0)}) decide whether a network learns at all; `{mixed.name}` acts the most through "
        f"interactions ({percent(mixed.alone[0], 0)} alone). Among networks that learn "
        f"{listed([f'`{one.name}` ({percent(one.total[0], 0)})' for one in among[:3]])} come first; "
        f"{ordered_surely(among)}."
    )


def ordered_surely(among: Sequence[Effect]) -> str:
    """Say whether the first of some effects is surely larger than the next."""
    first, second = among[:2]
    overlap = first.total[1] < second.total[2]
    return "their intervals overlap, so that the order is open" if overlap else "the first surely"


def draw_effects(groups: Sequence[Sequence[Effect]], titles: Sequence[str], theme: Theme) -> Drawing:
    """Draw the effects of each group as bars: alone, and with interactions."""
    from matplotlib.ticker import PercentFormatter

    drawing = canvas(theme, 9, 4.2)
    for axes, found, title in zip(drawing.subplots(1, len(groups)), groups, titles, strict=True):
        dress(axes, theme, title, "share of the variance", "", grid="x")
        names = [one.name for one in reversed(found)]
        for shift, kind, colour in ((0.19, "alone", theme.series[0]), (-0.19, "total", theme.series[1])):
            intervals = [getattr(one, kind) for one in reversed(found)]
            at = [number + shift for number in range(len(names))]
            low, high = ([abs(one[0] - one[end]) for one in intervals] for end in (1, 2))
            axes.barh(
                at, [one[0] for one in intervals], 0.36, color=colour, xerr=(low, high),
                label={"alone": "alone", "total": "with interactions"}[kind],
                error_kw={"ecolor": theme.ink, "elinewidth": 0.9},
            )  # fmt: skip
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], color=theme.ink)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        legend(axes, theme, loc="lower right")
    return drawing


def correlation_table(found: Sequence[Correlation]) -> Table:
    """Return the correlations whose interval leaves zero out."""
    sure_ones = [one for one in found if sure(one.coefficient)]
    cells = [
        (f"`{one.name}`{f' is {one.value}' if one.value else ''}", f"{one.coefficient[0]:+.2f}", interval(one))
        for one in sure_ones
    ]
    return Table(
        ("setting", "rank correlation", "95 % interval"),
        cells,
        f"Spearman's, with bootstrap intervals; of {len(found)} values and numbers those whose interval leaves 0 out. "
        "One in twenty would by chance.",
    )


def interval(one: Correlation) -> str:
    return f"{one.coefficient[1]:+.2f} to {one.coefficient[2]:+.2f}"


# Tested


def tested(trials: Sequence[Row]) -> list[Block]:
    """Test each observation by an experiment of its own."""
    rows = runs_of(TESTED)
    found = [one for one in (finding(rows, claim) for claim in CLAIMS) if one]
    if not found:
        return []
    pool = [row for row in trials if row["strategy"] == "random"]
    apparent = [observed(pool, one.claim) for one in found]
    base = ", ".join(f"{name} {value}" for name, value in BASE.items() if name != "preset")
    given = PRESETS["assignment"]
    constants = f"beta1 and beta2 {given.beta1:g}, epsilon {given.epsilon:g}"
    open_ones = len(CLAIMS) - len(found)
    return [
        "### What is true of it",
        "What a sweep shows is an average over everything else, failures included, and at two learning rates that may "
        f"suit one value and not another. So each observation is tested by an experiment of its own on `{base}` and "
        f"the assignment's constants, {constants}: two arms that differ in one setting, each at the learning rate "
        f"that is the best for it (by {len(TUNING)} seeds "
        "that aren't used again), the same fresh seeds for both. Compared is the mean validation accuracy of the last "
        f"{LAST} epochs.",
        Figure(
            "claims",
            told_apart(found, apparent),
            "Two columns of differences with intervals, a row for each comparison",
            partial(draw_claims, found, apparent),
        ),
        Table(
            ("is it better?", "the sweep says", "tested", "learning rates", "verdict"),
            [row_of(one, seen) for one, seen in zip(found, apparent, strict=True)],
            "Differences in points of validation accuracy with 95 % intervals: of the means of all random trials of "
            "either value (bootstrap), and of pairs (Student's t). Of so many comparisons one may be sure by chance.",
        ),
        f"This rests on {len(rows)} runs, those of the tuning included"
        f"{f'; {open_ones} of {len(CLAIMS)} planned comparisons have still to be run' if open_ones else ''}.",
        *conclusions(found, apparent),
    ]


def observed(pool: Sequence[Row], claim: Claim) -> Interval | None:
    """Return the difference of the mean accuracies of random trials of a claim's two values, if the space has them."""
    if claim.words:
        return None
    arms = [
        [best(row) for row in pool if str(row["settings"].get(claim.setting)) == name]
        for name in (_as_recorded(claim, name) for name in claim.names)
    ]
    return difference(*arms, paired=False) if all(arms) else None


def _as_recorded(claim: Claim, name: str) -> str:
    return "0" if name == "0.0" else name


def question(claim: Claim) -> str:
    """Return a comparison in words.

    >>> question(CLAIMS[0])
    'batch of 16 than of 64'
    """
    if claim.words:
        return claim.words
    ours, theirs = claim.names
    words = WORDS[claim.setting]
    ours, theirs = (str(float(name)).removesuffix(".0") if _number(name) else name for name in (ours, theirs))
    first = words.format(ours)
    return f"{first} than {f'of {theirs}' if words.endswith('of {}') else theirs}"


def _number(name: str) -> bool:
    return name.replace(".", "").replace("e-", "").isdigit()


def row_of(one: Finding, seen: Interval | None) -> tuple[str, ...]:
    return (
        question(one.claim),
        in_words(seen) if seen else "-",
        in_words(one.gain),
        " and ".join(f"{rate:g}" for rate in one.rates),
        judged(one.gain, seen),
    )


def judged(gain: Interval, seen: Interval | None) -> str:
    """Say what a test makes of an observation.

    >>> judged((0.01, 0.005, 0.015), (0.02, 0.01, 0.03)), judged((0.01, 0.005, 0.015), (-0.02, -0.03, -0.01))
    ('yes', 'yes; the sweep says the opposite')
    """
    verdict = ("yes" if gain[0] > 0 else "no, worse") if sure(gain) else "can't be told"
    if seen is None or not sure(seen):
        return verdict
    if sure(gain) and (gain[0] > 0) != (seen[0] > 0):
        return f"{verdict}; the sweep says the opposite"
    return verdict if sure(gain) else f"{verdict}; the sweep is sure"


def told_apart(found: Sequence[Finding], apparent: Sequence[Interval | None]) -> str:
    """Say what the figure of the claims shows."""
    shrunk = [(abs(seen[0]), abs(one.gain[0])) for one, seen in zip(found, apparent, strict=True) if seen is not None]
    sweep, test = (100 * mean(pair[at] for pair in shrunk) for at in (0, 1))
    return (
        "What the sweep says (left) and what is left of it when each arm has its own learning rate (right, another "
        f"scale; {min(one.pairs for one in found)} pairs each): the mean size of a difference falls from {sweep:.1f} "
        f"to {test:.1f} points."
    )


def draw_claims(found: Sequence[Finding], apparent: Sequence[Interval | None], theme: Theme) -> Drawing:
    """Draw the differences of the sweep and of the tests with their intervals."""
    drawing = canvas(theme, 9, 0.9 + 0.36 * len(found))
    panels = drawing.subplots(1, 2, sharey=True)
    columns = (apparent, [one.gain for one in found])
    for axes, column, title, colour in zip(
        panels, columns, ("the sweep says", "tested"), (theme.series[6], theme.series[0]), strict=True
    ):
        dress(axes, theme, title, "difference in points", "", grid="x")
        axes.axvline(0, color=theme.faint, linewidth=1)
        for at, one in enumerate(reversed(column)):
            if one is not None:
                axes.plot([100 * one[1], 100 * one[2]], [at, at], color=colour, linewidth=2, solid_capstyle="round")
                axes.plot(100 * one[0], at, "o", color=colour, markersize=6)
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.set_yticks(range(len(found)), [question(one.claim) for one in reversed(found)], color=theme.ink)
    return drawing


def conclusions(found: Sequence[Finding], apparent: Sequence[Interval | None]) -> list[Block]:
    """Say in sentences what holds and what doesn't."""
    holds = [question(one.claim) for one in found if sure(one.gain) and one.gain[0] > 0]
    worse = [question(one.claim) for one in found if sure(one.gain) and one.gain[0] < 0]
    pairs = list(zip(found, apparent, strict=True))
    artefacts = [question(one.claim) for one, seen in pairs if seen and sure(seen) and not sure(one.gain)]
    lines = []
    if holds:
        lines.append(f"- **better**, each at its own learning rate: {'; '.join(holds)}")
    if worse:
        lines.append(f"- **worse**: {'; '.join(worse)}")
    if artefacts:
        lines.append(
            f"- **sure in the sweep, but not to be told when both arms have their own learning rate**: "
            f"{'; '.join(artefacts)}"
        )
    size, half = max(abs(one.gain[0]) for one in found), median((one.gain[2] - one.gain[1]) / 2 for one in found)
    lines.append(
        f"- none of the settings compared is estimated at more than {100 * size:.2f} points once the learning rate "
        f"fits; an interval reaches {100 * half:.2f} points to either side in the median, so smaller differences stay "
        "open"
    )
    return ["\n".join(lines)]
