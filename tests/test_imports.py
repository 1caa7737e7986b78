"""Imports go one way: each module of the library uses only modules above it in this list."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import fnn

PACKAGE = Path(fnn.__file__).parent
LAYERS = """
    errors arrays files teams calls
    gradients patches coded features
    activations initializers losses normalization products passes network schedules updates optimizers
    data augment views metrics threads training calibration
    idx datacache fetch datasets featurecache
    kinds config naming recipes experiment memory
    checkpoint rundir ensembles figures inference teaching tracking signals runner
    sweepfile samplers trials importance workers search
    __init__ cli __main__
"""
ORDER = LAYERS.split()


def imported(path: Path) -> set[str]:
    """Return the modules of the library that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fnn":
            assert node.level == 0, f"{path}: relative import"
            inside = (node.module or "").split(".")[1:]
            found |= {inside[0]} if inside else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("fnn.")}
    return found


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} <= set(ORDER)
    assert len(ORDER) == len(set(ORDER))


def test_imports_go_one_way() -> None:
    for path in PACKAGE.glob("*.py"):
        above = ORDER[: ORDER.index(path.stem)]
        assert imported(path) <= set(above), f"{path.name} imports {imported(path) - set(above)} from below it"


def test_every_module_has_a_test_module() -> None:
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "errors"} <= tests


def test_importing_the_library_is_cheap() -> None:
    """None of the packages that cost a second or more is loaded before it is needed."""
    code = "import sys, fnn, fnn.cli; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"wandb", "keras", "jax", "matplotlib", "scipy", "pooch", "tqdm", "PIL", "torch", "tensorflow"}
