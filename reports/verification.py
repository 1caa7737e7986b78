"""How near the code comes to its oracles: ``python -m reports.verification`` runs the tests and notes their errors.

The tests themselves are run, on the examples that the suite draws; in place of their comparisons stand ones that note
the error in the very terms that the test bounds, and then compare. So the table that the report makes of it can't claim
a check that no test does, nor a tolerance that none uses. Needs the extra `test`.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from attrs import asdict, evolve, frozen

from fnn.files import append_line
from reports.speed import machine

RESULTS = Path(__file__).parent / "results" / "verification.jsonl"


@frozen
class Check:
    """A test: what it checks, against what, and the names of its module, its function and its parameters."""

    what: str
    against: str
    module: str
    test: str
    names: str = ""  # of the table in the test's module whose keys are the parameters


CHECKS = (
    Check("gradient, every coordinate", "complex steps through a plain transcription of the network", "test_network",
          "test_every_coordinate_is_the_complex_step_derivative"),
    Check("gradient with dropout, given the masks", "the same", "test_network",
          "test_with_dropout_the_gradient_is_the_complex_step_derivative_given_the_masks"),
    Check("gradient with batch normalisation", "the same", "test_normalization",
          "test_every_coordinate_is_the_complex_step_derivative"),
    Check("logits of a network with its statistics folded in", "those of the normalised batch", "test_normalization",
          "test_folded_statistics_of_a_batch_leave_the_logits_of_that_batch"),
    Check("logits", "the plain transcription", "test_network",
          "test_logits_and_loss_are_those_of_the_plain_formula"),
    Check("gradient of a batch", "the mean over its samples", "test_network",
          "test_the_gradient_of_a_batch_is_the_mean_of_its_samples"),
    Check("gradient and logits with hidden units permuted", "the permuted ones", "test_network",
          "test_permuting_hidden_units_permutes_gradients_and_leaves_logits"),
    Check("updates of {}", "the papers' formulas, transcribed", "test_optimizers",
          "test_trajectories_are_those_of_the_papers", "OPTIMIZERS"),
    Check("updates of {}", "optax", "test_optimizers", "test_trajectories_are_those_of_optax", "OPTAX"),
    Check("updates of {}", "Keras", "test_optimizers", "test_trajectories_are_those_of_keras", "KERAS"),
    Check("updates of {}", "PyTorch", "test_optimizers",
          "test_trajectories_are_those_of_pytorch_where_it_is_installed", "TORCH"),
)  # fmt: skip


@frozen
class Found:
    """What a test came to: the comparisons made, the largest error of them and the tolerance that bounds it."""

    what: str
    against: str
    test: str
    comparisons: int
    largest: float
    tolerance: float


@contextmanager
def noted(module: ModuleType) -> Iterator[list[tuple[float, float]]]:
    """Note (error, tolerance) of each comparison that the tests of a module make, as they define it."""
    name, error_of = COMPARISONS[module.__name__.split(".")[-1]]
    compare: Callable[..., Any] = getattr(module, name)
    usual = inspect.signature(compare).parameters["tolerance"].default
    notes: list[tuple[float, float]] = []

    def noting(found: np.ndarray, expected: np.ndarray, tolerance: float = usual) -> Any:
        notes.append((error_of(found, expected), tolerance))
        return compare(found, expected, tolerance)

    setattr(module, name, noting)
    try:
        yield notes
    finally:
        setattr(module, name, compare)


def of_largest_entry(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the error as tests.test_network.close sees it: relative to the largest entry."""
    return float(np.abs(found - expected).max(initial=0)) / max(1e-3, float(np.abs(expected).max(initial=0)))


def of_the_way(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the error as tests.test_optimizers.agree sees it: relative to the way that the parameters have gone."""
    way = np.abs(np.diff(expected, axis=0, prepend=expected[:1])).cumsum(axis=0).max()
    return float(np.abs(found - expected).max() / (way + np.abs(expected[0]).max()))


COMPARISONS = {
    "test_network": ("close", of_largest_entry),
    "test_normalization": ("close", of_largest_entry),
    "test_optimizers": ("agree", of_the_way),
}


def run(check: Check) -> Iterator[Found]:
    """Run the test of a check, once for each of its parameters."""
    from importlib import import_module

    module = import_module(f"tests.{check.module}")
    test: Any = getattr(module, check.test)
    for name in getattr(module, check.names) if check.names else ("",):
        with noted(module) as notes:
            test(**({"name": name} if name else {}))
        errors, tolerances = zip(*notes, strict=True)
        what = check.what.format(name)
        yield Found(what, check.against, f"{check.module}.{check.test}", len(notes), max(errors), max(tolerances))


def merged(found: Sequence[Found]) -> list[Found]:
    """Return one row for each test of several parameters: the largest error and the sum of the comparisons."""
    rows: dict[str, Found] = {}
    for one in found:
        row = rows.get(one.test, evolve(one, what="", comparisons=0, largest=0.0))
        what = one.what if not row.what else f"{row.what}, {one.what.removeprefix('updates of ')}"
        total, largest = row.comparisons + one.comparisons, max(row.largest, one.largest)
        rows[one.test] = evolve(row, what=what, comparisons=total, largest=largest)
    return list(rows.values())


def main() -> int:
    import tests.conftest  # noqa: F401, the suite's own number of examples

    with warnings.catch_warnings(action="ignore"):
        rows = [asdict(found) for check in CHECKS for found in run(check)]
    RESULTS.unlink(missing_ok=True)
    append_line(RESULTS, {"command": "python -m reports.verification", "machine": machine()})
    for row in rows:
        append_line(RESULTS, {**row, "largest": float(f"{row['largest']:.2g}")})
        print(f"{row['what']}, {row['against']}: {row['largest']:.1e} of {row['tolerance']:.0e}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
