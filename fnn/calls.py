"""Calls that are bound to their arrays once and made at every step, by several threads where that pays.

Looking up an array's view or a layer's memory takes as long as a small operation. So a pass over a network is a tuple
of calls that know all that they read and write, and nothing is left to a step but to make them in order.
"""

from __future__ import annotations

from collections.abc import Callable

from fnn.arrays import dealt
from fnn.helpers import at_once

WORTH_SHARING = 5_000_000  # multiply-adds, from which a second thread gains more than it takes to wake it
LEAD = 500_000  # multiply-adds that the caller does before a helper has woken
ROWS = 8  # of a share, or a multiple: the kernels of a product take 4, 6 or 8 at a time

Run = Callable[[], object]
Runs = tuple[Run, ...]


def call(runs: Runs) -> None:
    """Make calls in order.

    >>> found = []
    >>> call((lambda: found.append(1), lambda: found.append(2)))
    >>> found
    [1, 2]
    """
    for run in runs:
        run()


def by_rows(make: Callable[[slice], Runs], rows: int, work: int, threads: int) -> Runs:
    """Return what does a work of so many rows, of which ``make`` returns any share: as one, or dealt to threads.

    ``work`` counts its multiply-adds. Each thread does all that is to be done with its rows, products in one thread of
    the BLAS: OpenBLAS's own threads are as fast at best, and while they watch out for work, up to 20 ms after a
    product, they take the core from whoever else needs it.

    >>> found = []
    >>> call(by_rows(lambda rows: (lambda: found.append(rows),), 50, WORTH_SHARING, 2))
    >>> sorted(found, key=str)
    [slice(0, 16, None), slice(16, 50, None)]
    """
    if work < WORTH_SHARING:
        return make(slice(0, rows))
    parts = [make(share) for share in dealt(rows, threads, ROWS, rows * LEAD // work)]
    return (lambda: at_once(lambda part: call(parts[part]), len(parts)),) if len(parts) > 1 else parts[0]
