"""The README says what is true: its arguments, its example, its diff and the files that it names."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

import fnn
from fnn.cli import train_parser
from fnn.config import configure
from fnn.recipes import PRESETS
from tests.readme import README, rewritten

TEXT = README.read_text()
ROOT = README.parent


def test_the_arguments_are_those_of_the_parser() -> None:
    assert rewritten(TEXT) == TEXT, "run python -m tests.readme"


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNN_DATA_DIR", str(Path(__file__).parent / "data"))
    example = doctest.DocTestParser().get_doctest(TEXT, {}, "README", str(README), 0)
    assert 5 < sum(len(each.source.splitlines()) for each in example.examples) < 15
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example)
    assert runner.tries > 5 and not runner.failures


def test_the_diff_of_eve_is_the_code_that_stands_there() -> None:
    code = (Path(fnn.__file__).parent / "optimizers.py").read_text()
    (diff,) = re.findall(r"```diff\n(.*?)```", TEXT, re.DOTALL)
    for block in diff.split("@@\n")[1:]:
        added = "\n".join(line[1:] for line in block.splitlines() if line.startswith("+"))
        assert added.strip("\n") in code


def test_commands_of_the_readme_are_understood() -> None:
    commands = [line for line in re.findall(r"^    (python .*)$", TEXT, re.MULTILINE) if "train.py" in line]
    assert commands
    for command in commands:
        given = vars(train_parser("train.py").parse_args(shlex.split(command, comments=True)[2:]))
        given.pop("resume", None)
        configure(PRESETS[given.pop("preset", "default")], given)


def test_the_files_that_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
