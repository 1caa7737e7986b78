from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn.errors import UserError
from fnn.files import append_line, plain, read_lines, remove_temporaries, temporary_name, write_atomically

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_writes_whole_files_with_the_rights_of_open(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = write_atomically(tmp_path / "new" / "file", lambda file: file.write(b"one") and None)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"one" and path.stat().st_mode & 0o777 == 0o640
    assert write_atomically(path, b"two").read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "file", b"old")

    def stop(file: object) -> None:
        raise KeyboardInterrupt

    def refuse(new: Path) -> None:
        assert new.read_bytes() == b"new" and path.read_bytes() == b"old"
        raise UserError("no")

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, stop)
    with pytest.raises(UserError):
        write_atomically(path, b"new", check=refuse)
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_temporaries_of_one_path_only_are_removed(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    stale, foreign = temporary_name(tmp_path / "file"), temporary_name(tmp_path / "file.npz")
    stale.touch()
    foreign.touch()
    remove_temporaries(tmp_path / "file")
    assert {p.name for p in tmp_path.iterdir()} == {"other", foreign.name}
    remove_temporaries(tmp_path / "no directory" / "file")


def test_a_full_disk_names_the_file_and_takes_back_the_torn_line(tmp_path: Path) -> None:
    script = """
import resource
from fnn.files import append_line, write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for action in (lambda: append_line("lines", {"long": "x" * 2000}), lambda: write_atomically("file", b"x" * 2000)):
    try:
        action()
    except OSError as error:
        print(error.filename, error.strerror)
append_line("lines", {"short": 1})
"""
    append_line(tmp_path / "lines", {"first": 0})
    root = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("lines File too large\nfile File too large\n", "")
    assert read_lines(tmp_path / "lines") == [{"first": 0}, {"short": 1}]
    assert os.listdir(tmp_path) == ["lines"]


@settings(max_examples=50, deadline=None)
@given(records=st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=4))
def test_lines_come_back(tmp_path_factory: pytest.TempPathFactory, records: list[dict]) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    for record in records:
        append_line(path, record)
    assert read_lines(path) == records if records else not path.exists()


@pytest.mark.parametrize("torn", [b"", b'{"b": 2', b"x" * 200_000])
def test_a_torn_line_is_ignored_then_repaired(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "file"
    append_line(path, {"a": 1})
    with path.open("ab") as file:
        file.write(torn)
    assert read_lines(path) == [{"a": 1}]
    append_line(path, {"c": float("inf"), "d": (1, 2)})
    assert path.read_bytes() == b'{"a": 1}\n{"c": null, "d": [1, 2]}\n'


def test_a_file_of_one_torn_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"a"')
    assert read_lines(path) == []
    append_line(path, {})
    assert read_lines(path) == [{}]


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff", b"", b"[" * 100_000])
def test_a_broken_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"{}\n" + line + b"\n{}\n")
    with pytest.raises(UserError, match=r"file: line 2: expected a JSON object, found"):
        read_lines(path)


def test_plain_knows_scalars_of_numpy() -> None:
    import numpy as np

    value = plain({"f": np.float32(0.5), "i": np.int64(3), "n": [np.float64("nan")]})
    assert value == {"f": 0.5, "i": 3, "n": [None]} and type(value["f"]) is float and type(value["i"]) is int
