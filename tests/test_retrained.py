"""What was trained once more is held against what is reported of its recipe as it is now."""

from __future__ import annotations

import doctest
import os
from collections import Counter
from pathlib import Path

import pytest

from fnn.files import append_line
from fnn.recipes import ENSEMBLES
from reports import recipes, retrained
from reports.page import Table
from reports.recipes import named, preset_of
from reports.retrained import BEST, MEMBERS, WANTED, blocks, kernels, main
from tests.test_quality import row


def test_the_examples_of_docstrings_are_true() -> None:
    result = doctest.testmod(retrained)
    assert result.attempted and not result.failed


def test_nothing_is_told_before_both_sides_are_known() -> None:
    assert not blocks([], [row("mnist-1", 0, 0.98)])
    assert not blocks([row("mnist-1", 0, 0.98)], [])
    assert not blocks([row("mnist-1", 0, 0.98, epochs=3)], [row("mnist-1", 0, 0.98)]), "a recipe that is no more"


def test_each_command_is_judged_by_the_interval_of_its_own_recipe() -> None:
    reported = [row("mnist-1", 0, 0.98), row("mnist-1", 1, 0.982), row("mnist-2", 0, 0.99)]
    _, words, table = blocks([row("mnist-1", 0, 0.983), row("mnist-2", 0, 0.983)], reported)
    assert isinstance(words, str) and "1 of 2 printed commands" in words
    assert isinstance(table, Table)
    assert [line[3:5] for line in table.rows] == [("98.30 %", "yes"), ("98.30 %", "no")]


def test_other_recipes_are_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--run", "assignment"])


def test_all_of_the_best_model_is_wanted_once_more() -> None:
    rows = [one for one in recipes.recorded() if preset_of(one["preset"]).dataset == "fashion_mnist"]
    best = max(rows, key=lambda one: one["test"])
    assert best in named(rows, BEST), "the best figure of all is of the model that is trained once more"
    assert Counter(name for name, _ in MEMBERS) == ENSEMBLES[BEST] and (BEST, None) in WANTED


def test_what_is_known_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrained, "AGAIN", tmp_path / "again.jsonl")
    for one in (row("mnist-1", 0, 0.98), row(BEST, None, 0.94)):
        append_line(retrained.AGAIN, one | {"kernels": kernels()})
        retrained.run(one["preset"], one["seed"], tmp_path, "1")
    assert len(retrained.recorded()) == 2 and os.listdir(tmp_path) == ["again.jsonl"]
