"""The bugs that tests.mutants plants."""

from __future__ import annotations

from tests.mutants import MUTANTS, ROOT


def test_the_text_that_a_bug_replaces_stands_exactly_once_where_it_is_said_to_be() -> None:
    astray = [(module, old) for module, old, _ in MUTANTS if (ROOT / f"fnn/{module}.py").read_text().count(old) != 1]
    assert astray == []
    assert all(old != new for _, old, new in MUTANTS)
