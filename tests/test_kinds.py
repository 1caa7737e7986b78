"""What options take: the same value however it is written, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn import kinds
from fnn.config import Config
from fnn.kinds import LARGEST, SHARE, WIDTHS, Kind, one_of, real, whole


def refuses(kind: Kind, value: Any) -> bool:
    try:
        kind.parse(value)
    except ValueError:
        return True
    return False


@given(st.integers(0, LARGEST), st.integers(0, LARGEST), st.integers(-5, LARGEST + 5))
def test_whole_numbers_have_bounds_and_may_be_written_in_any_way(one: int, other: int, value: int) -> None:
    low, high = sorted((one, other))
    for written in (value, str(value), float(value)):
        if low <= value <= high:
            assert whole(low, high).parse(written) == value
        else:
            assert refuses(whole(low, high), written)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_real_numbers_are_finite_and_valid(value: float) -> None:
    """As text, too: what JSON and YAML write is read back."""
    kind = real("a number below 1", lambda x: x < 1)
    for written in (value, repr(value)):
        if value < 1 and value != float("-inf"):
            assert kind.parse(written) == value
        else:
            assert refuses(kind, written)


@given(st.lists(st.integers(1, LARGEST), min_size=1, max_size=6))
def test_widths_are_the_same_from_flags_sweeps_and_files(widths: list[int]) -> None:
    texts = [str(width) for width in widths]
    for written in (widths, tuple(widths), texts, " ".join(texts), ",".join(texts), str(widths), json.dumps(widths)):
        assert WIDTHS.parse(written) == tuple(widths)
    if len(widths) == 1:
        assert WIDTHS.parse(widths[0]) == tuple(widths)


@pytest.mark.parametrize("value", ["yes", "no", True, False, 1, 0, "True", "false", "1"])  # as flags, YAML or wandb say
def test_yes_and_no_may_be_said_in_other_words(value: Any) -> None:
    assert Config(flip=value).flip == ("yes" if value in ("yes", True, 1, "True", "1") else "no")


def test_a_choice_is_one_of_its_names() -> None:
    kind = one_of(["a", "b"])
    assert kind.parse("b") == "b" and kind.expected == "one of a, b" and kind.metavar == "{a,b}"
    for wrong in ("c", "A", "", None):
        assert refuses(kind, wrong)


def test_what_is_expected_says_where_it_ends() -> None:
    assert (whole(1).expected, whole(0, 9).expected) == ("a whole number from 1 to 10^9", "a whole number from 0 to 9")
    assert [SHARE.parse(text) for text in ("0", "0.5")] == [0, 0.5]
    assert all(kind.expected for kind in vars(kinds).values() if isinstance(kind, Kind))
