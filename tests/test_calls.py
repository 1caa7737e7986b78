"""Bound calls: made in order, and dealt to a team by rows without leaving one out or doing one twice."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn import teams
from fnn.calls import ROWS, WORTH_SHARING, Runs, by_lead, by_rows, call
from fnn.teams import Team

pytestmark = pytest.mark.skipif(not teams.AVAILABLE, reason="a system where there are no teams")


@settings(max_examples=settings().max_examples // 4)  # each of which starts processes
@given(st.integers(1, 500), st.integers(0, 2 * WORTH_SHARING), st.integers(1, 4))
def test_every_row_is_done_once_by_at_most_so_many_processes(rows: int, work: int, parts: int) -> None:
    team = Team(parts)
    done, doers, behind = (team.empty((rows,), np.int64) for _ in range(3))

    def make(share: slice) -> Runs:
        def first() -> None:
            doers[share] = os.getpid()
            done[share] += 1

        def second() -> None:
            done[share] *= 10

        return first, second

    runs = by_rows(make, rows, work, team)

    def twice() -> None:
        call(runs)
        if team.leads:
            behind[:] = done  # they have met
        team.meet()
        call(runs)

    done[:] = 0
    team.run(twice)
    assert behind.tolist() == [10] * rows and done.tolist() == [110] * rows
    shares = len({rows * part // parts // ROWS for part in range(parts)}) if work >= WORTH_SHARING else 1
    assert len(set(doers.tolist())) == shares
    assert doers[-1] == os.getpid()  # the last rows are the lead's, or all


def test_what_the_lead_does_is_done_once_and_seen_by_all() -> None:
    team = Team(3)
    done, seen = team.empty((1,), np.int64), team.empty((3,), np.int64)
    runs = by_lead((lambda: done.__iadd__(1), lambda: done.__imul__(10)), team)

    def work() -> None:
        call(runs)
        seen[team.part] = done[0]

    done[:] = 0
    team.run(work)
    assert seen.tolist() == [10] * 3
