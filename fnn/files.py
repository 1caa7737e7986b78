"""Files that a crash or a full disk cannot spoil: written whole or not at all, or grown by whole lines."""

from __future__ import annotations

import fcntl
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fnn.errors import UserError

PathLike = str | os.PathLike[str]


def write_atomically(
    path: PathLike, data: bytes | Callable[[BinaryIO], None], check: Callable[[Path], None] | None = None
) -> Path:
    """Write a file, whole or not at all, so that a reader or a crash finds the older file or the new one.

    ``data`` is the content or a function that writes it. ``check`` sees the new file before it takes its name, and may
    raise to refuse it. Missing directories are made. Raises OSError, with the path, where the disk is full or the
    directory cannot be written; the older file is then still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        # Not tempfile: its files are for their owner alone, while open() obeys the umask.
        with open(temporary, "xb") as file:
            data(file) if callable(data) else file.write(data)
            _flush(file)
        if check:
            check(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    sync_directory(path.parent)
    return path


def temporary_name(path: Path) -> Path:
    """Return an unused hidden name beside ``path``, which ``temporaries(path)`` finds."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def temporaries(path: Path) -> list[Path]:
    """Return what killed writers of ``path`` left behind."""
    head, tail = f".{path.name}.", ".tmp"
    left = []
    for other in path.parent.iterdir() if path.parent.is_dir() else ():
        token = other.name[len(head) : -len(tail)]
        if other.name == f"{head}{token}{tail}" and len(token) == 12 and token.isalnum():
            left.append(other)
    return left


def remove_temporaries(path: Path) -> None:
    """Remove what killed writers of ``path`` left behind; nobody else may be writing it now."""
    for left in temporaries(path):
        left.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def exclusive(directory: Path, flag: str, what: str) -> Iterator[None]:
    """Make a directory and hold it for this process alone until the end of the block.

    Raises UserError, which names the flag that chose it, where it can't be written or another ``what`` is at work.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = open(directory / ".lock", "wb")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"{flag}: expected a directory to write to, found {directory}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{flag}: expected a directory of its own, found a {what} at work in {directory}") from None
        yield


def append_line(path: PathLike, record: Mapping[str, Any]) -> None:
    """Append a record as one durable line of JSON; a torn last line, which a kill or a full disk left, goes first.

    NaN and infinities, which JSON lacks, become null. A line that cannot be written whole is taken back, and OSError is
    raised.
    """
    path = Path(path)
    line = json.dumps(plain(record), allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "ab+", buffering=0) as file:
            end = _end_of_lines(file)
            file.truncate(end)
            try:
                rest = memoryview(line)
                while rest:  # an unbuffered write may stop short
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(end)
                raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    if end == 0:
        sync_directory(path.parent)


def read_lines(path: PathLike) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines; a torn last line is no record yet.

    Raises UserError with the line's number where a line is no JSON object, OSError where the file cannot be read.
    """
    *lines, _torn = Path(path).read_bytes().split(b"\n")
    return [_record(path, number, line) for number, line in enumerate(lines, 1)]


def plain(value: Any) -> Any:
    """Return a value made of what strict JSON holds: tuples as lists, NumPy's scalars as Python's, no NaN or infinity.

    >>> plain({"loss": float("nan"), "sizes": (2, 1)})
    {'loss': None, 'sizes': [2, 1]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _end_of_lines(file: Any, block: int = 1 << 16) -> int:
    """Return the position after the last newline, 0 without one."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _record(path: PathLike, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UserError(f"{os.fspath(path)}: line {number}: expected a JSON object, found {line[:40]!r}")
    return record
