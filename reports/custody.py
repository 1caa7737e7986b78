"""Who reads the test images: every place in the source, found by parsing it.

The attributes `test_images` and `test_labels` of a data set are the only way to them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECRET = {"test_images", "test_labels"}

#: What each place does with them. tests/test_custody.py holds the source against it.
PLACES: Mapping[str, str] = {
    "fnn.datasets.Images": "the record that holds them",
    "fnn.runner._for_the_end": "copies them before training, so that a file that is cut short costs nothing",
    "fnn.runner._conclude": "tests the model that the validation images have chosen, once, after training",
    "fnn.inference.assess": "tests a finished model for `python -m fnn evaluate`",
    "fnn.cli.data": "counts those that are training images, too, for `python -m fnn data`",
    "reports.samples.facts_of": "counts the same for this report",
    "reports.best.examine": "keeps the best model's answers for section 7, once",
}


def readers(root: Path = ROOT) -> dict[str, list[int]]:
    """Return the lines that name the test images, by the function that they stand in, outside of tests."""
    found: dict[str, list[int]] = {}
    paths = {root / "train.py", *(root / "fnn").rglob("*.py"), *(root / "reports").rglob("*.py")}
    for path in sorted(paths - {Path(__file__)}):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for function, line in naming(ast.parse(path.read_text())):
            found.setdefault(f"{module}.{function}" if function else module, []).append(line)
    return found


def naming(tree: ast.AST, function: str = "") -> Iterator[tuple[str, int]]:
    """Yield the outermost function and the line of each expression, keyword or text that names the test images.

    >>> list(naming(ast.parse("def f(images):\\n    return images.test_images")))
    [('f', 2)]
    """
    for node in ast.iter_child_nodes(tree):
        inside = function or (node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else "")
        if any(_names(value) for _, value in ast.iter_fields(node)):
            yield function, getattr(node, "lineno", 0)
        yield from naming(node, inside)


def _names(value: object) -> bool:
    """Tell whether a field of a node is one of the names, or holds one."""
    return (
        any(_names(item) for item in value) if isinstance(value, list) else isinstance(value, str) and value in SECRET
    )
