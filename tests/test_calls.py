"""Bound calls: made in order, and dealt to threads by rows without leaving one out or doing one twice."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from fnn.calls import LEAD, ROWS, WORTH_SHARING, Runs, by_rows, call


@given(st.integers(1, 500), st.integers(0, 2 * WORTH_SHARING), st.integers(1, 4))
def test_every_row_is_done_once_by_at_most_so_many_threads(rows: int, work: int, threads: int) -> None:
    done, doers = [0] * rows, []

    def make(share: slice) -> Runs:
        def first() -> None:
            doers.append(threading.current_thread())
            for row in range(*share.indices(rows)):
                done[row] += 1

        def second() -> None:
            for row in range(*share.indices(rows)):
                done[row] *= 10

        return first, second

    runs = by_rows(make, rows, work, threads)
    call(runs)
    call(runs)
    assert done == [110] * rows
    shares = len(doers) // 2
    assert shares <= threads and len(set(doers)) == shares
    fits = work >= WORTH_SHARING and (rows - rows * LEAD // work) * (threads - 1) // threads >= ROWS
    assert (shares > 1) == fits  # never with one thread
    assert shares == 1 or threading.current_thread() in doers
