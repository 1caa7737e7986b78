"""MNIST by what Fashion-MNIST has taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from reports.intervals import mean as mean_of
from reports.page import Block, Section, Table
from reports.questions.approaching import interval, level, recipes
from reports.recipes import TESTED, command_of_all, recorded, sees, spread
from reports.style import between, listed, percent

PUBLISHED = (0.9736, 0.9786, 0.9760)  # test accuracies of the published report's three configurations
CHOSEN = ("mnist-1", "mnist-2", "mnist-3")
#: Why each was chosen, before any was tried on MNIST.
REASONS = {
    "mnist-1": "the default's rule, rate and smoothing at half the width, since digits are easier than garments",
    "mnist-2": "small shifts and warps leave a digit what it is, and the test averages over shifts; no flip, since the "
    "mirror image of a digit is none",
    "mnist-3": "the quick recipe for fixed features: strokes are gradients by direction",
}
Row = Mapping[str, Any]


def section() -> Section:
    """Return the section, from the runs that are recorded."""
    found = recipes(recorded(), "mnist")
    return Section("10", "MNIST, by what Fashion-MNIST has taught", [*chosen(found), *best_of_all(found)])


def chosen(found: Mapping[str, Sequence[Row]]) -> list[Block]:
    """Tell of the three configurations that were fixed beforehand."""
    intro = (
        "Three configurations were fixed from Fashion-MNIST's lessons alone, before any network had seen a digit here: "
        "see their comments in [recipes.py](../fnn/recipes.py)."
    )
    reasons = "\n".join(f"- `{name}`: {REASONS[name]}" for name in CHOSEN)
    own = {name: found[name] for name in CHOSEN if name in found}
    if not own:
        return [intro, reasons]
    return [
        intro,
        reasons,
        Table(
            ("configuration", "seeds", "validation", "test", "95 % interval", "least", "beats"),
            [
                (
                    f"`--preset {name}`",
                    str(len(rows)),
                    spread([row["validation"] for row in rows if row["validation"] is not None]),
                    spread([row["test"] for row in rows]),
                    interval_of(rows),
                    percent(min(row["test"] for row in rows)),
                    beaten(min(row["test"] for row in rows)),
                )
                for name, rows in own.items()
            ],
            "Means ± standard deviations over the seeds, each with a split of its own and looked at by the test "
            "images once; the interval of the mean by Student's t; what is beaten even by the worst seed.",
        ),
        judged(own),
    ]


def interval_of(rows: Sequence[Row]) -> str:
    """Return the interval of the mean over seeds, or of the one run."""
    if len(rows) < 2:
        return between(*interval(rows))
    _, low, high = mean_of([row["test"] for row in rows])
    return between(low, min(high, 1.0))


def beaten(share: float) -> str:
    """Return which of the published accuracies are lower.

    >>> beaten(0.977)
    '97.36 and 97.60 %'
    """
    lower = [f"{100 * other:.2f}" for other in sorted(PUBLISHED) if other < share]
    return f"{listed(lower)} %" if lower else "none"


def judged(own: Mapping[str, Sequence[Row]]) -> str:
    """Say whether the published accuracies are beaten."""
    goals = sorted(PUBLISHED)
    all_of_them = [name for name, rows in own.items() if min(row["test"] for row in rows) > goals[-1]]
    best = max(own, key=lambda name: level(own[name]))
    others = listed([f"{100 * goal:.2f}" for goal in PUBLISHED])
    return (
        f"The published three have {others} %. {len(all_of_them)} of {len(own)} configurations beat all of these with "
        f"every seed; the best is `{best}` with {percent(level(own[best]))} in the mean, which is "
        f"{100 * (level(own[best]) - goals[-1]):.2f} points more than the best published."
    )


def best_of_all(found: Mapping[str, Sequence[Row]]) -> list[Block]:
    """Tell of the recipes that take longer."""
    longer = {name: rows for name, rows in found.items() if name not in CHOSEN}
    if not longer:
        return []
    best = max(longer, key=lambda name: level(longer[name]))
    errors = mean(1 - row["test"] for row in longer[best]) * TESTED
    return [
        Table(
            ("longer recipe", "sees", "seeds", "test", "95 % interval of one"),
            [
                (
                    f"`--preset {name}`",
                    sees(name),
                    str(len(rows)),
                    spread([row["test"] for row in rows]),
                    between(*interval(rows)),
                )
                for name, rows in sorted(longer.items(), key=lambda item: -level(item[1]))
            ],
        ),
        f"The best, `{command_of_all(longer[best])}`, leaves {errors:.0f} of {TESTED:,} digits wrong in the mean of "
        f"its seeds: **{percent(level(longer[best]))}**.",
    ]
