"""Calls that are bound to their arrays once and made at every step, by several processes where that pays.

Looking up an array's view or a layer's memory takes as long as a small operation. So a pass over a network is a tuple
of calls that know all that they read and write, and nothing is left to a step but to make them in order.
"""

from __future__ import annotations

from collections.abc import Callable

from fnn.arrays import dealt
from fnn.teams import Team

WORTH_SHARING = 300_000  # multiply-adds, from which two processes gain more than it takes them to meet
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


def by_rows(make: Callable[[slice], Runs], rows: int, work: int, team: Team) -> Runs:
    """Return what does a work of so many rows, of which ``make`` returns any share: dealt to a team, if it is large.

    ``work`` counts its multiply-adds. Each process does all that is to be done with its rows, and then all meet.

    >>> call(by_rows(lambda rows: (lambda: print(rows),), 50, WORTH_SHARING, Team(1)))
    slice(0, 50, None)
    """
    if team.parts == 1:
        return make(slice(0, rows))
    if work < WORTH_SHARING:
        return by_lead(make(slice(0, rows)), team)
    shares = [make(share) for share in dealt(rows, team.parts, ROWS)]
    return lambda: call(shares[team.part]), team.meet


def by_lead(runs: Runs, team: Team) -> Runs:
    """Return what makes these calls in the lead's process only, while the others wait.

    >>> call(by_lead((lambda: print("once"),), Team(1)))
    once
    """
    if team.parts == 1:
        return runs
    return lambda: call(runs) if team.leads else None, team.meet
