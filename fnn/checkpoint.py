"""Checkpoints: records of arrays as a plain .npz file, saved so that no kill loses them, loaded so that no file lies.

The file is an uncompressed zip that ``numpy.load`` reads too: ``params.theta.npy`` for each array, by its path in the
record, and ``metadata.json`` for all the rest. The SHA-256 of each array stands in the metadata, whose own digest
covers them. The same record and metadata make the same bytes.

A file is untrusted: it holds no pickle, no more is allocated than the file has bytes, array headers are rebuilt and
compared instead of parsed, and whatever is wrong is a CheckpointError of one line.

The newest checkpoint but one is kept as ``<name>.previous``: twice the space, so that a rotten sector costs an epoch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import attrs
import numpy as np

from fnn.arrays import Array, freeze
from fnn.errors import UserError
from fnn.files import PathLike, plain, remove_temporaries, sync_directory, temporary_name, write_atomically

R = TypeVar("R")
FORMAT, VERSION = "fnn checkpoint", 2
METADATA = "metadata.json"
NAME = re.compile(r"\w[\w-]*")
PATH = re.compile(r"\w[\w-]*(\.\w[\w-]*)*")
DTYPE = re.compile(r"[<>|][biufc]\d{1,2}")
# What zipfile and json raise on bytes made by chance or malice; no code of ours runs on them before a check.
DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, EOFError, struct.error)


class CheckpointError(UserError):
    """A checkpoint that cannot be used; the text says in one line which file, what was expected and what was found."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is missing, cut short, changed or none at all, so that an older copy may do instead."""


@attrs.frozen(eq=False)
class _Content:
    """A record taken apart, by path: its arrays, its scalars, and the names of the records that it nests."""

    arrays: Mapping[str, Array]
    scalars: Mapping[str, Any]
    records: Mapping[str, str]


def save(path: PathLike, record: Any, metadata: Mapping[str, Any], displace: bool = True) -> Path:
    """Save a (nested) attrs record or dict of arrays and scalars, with JSON-able metadata such as the whole Config.

    The new file is read back and compared with its digests before it takes the name; the one it replaces becomes
    ``<name>.previous``, unless ``displace`` is False and the one there is to be kept. At every instant a kill leaves a
    good checkpoint under one of the two names. A checkpoint has one writer: what a killed one left behind is removed.
    Raises OSError where the disk is full or fails, with the older files as they were; TypeError for a record that holds
    anything else.
    """
    path = Path(path)
    content = _take_apart(record)
    text = _describe(content, metadata)
    remove_temporaries(path)
    held = temporary_name(path)

    def check(new: Path) -> None:
        _prove(new)
        with suppress(OSError):  # no older file, or a file system without hard links: then only one is kept
            if displace:
                os.link(path, held)

    try:
        write_atomically(path, lambda file: _write(file, content.arrays, text), check)
        # Only now: had the replaced file been rotten, the previous one was the last that is good.
        with suppress(FileNotFoundError):
            os.replace(held, previous(path))
            sync_directory(path.parent)
    finally:
        held.unlink(missing_ok=True)
    return path


def previous(path: PathLike) -> Path:
    """Return where the checkpoint before the newest is kept.

    >>> previous("last.npz").name
    'last.npz.previous'
    """
    path = Path(path)
    return path.with_name(f"{path.name}.previous")


def read_metadata(path: PathLike) -> dict[str, Any]:
    """Return the metadata given to ``save``, tuples as lists; no array is read. Raises CheckpointError."""
    with _opened(path) as (_archive, head):
        return head["metadata"]


def load_arrays(path: PathLike) -> dict[str, Array]:
    """Return all arrays of a checkpoint by path, read-only and verified. Raises CheckpointError."""
    with _opened(path) as (archive, head):
        return dict(_read_arrays(archive, head))


def load(path: PathLike, skeleton: R) -> R:
    """Return the saved record, read-only and bitwise, if it is of the skeleton's structure.

    The skeleton is a record such as ``initial_state(plan)``: its types, paths, shapes and dtypes must be those of the
    file. So must its strings and tuples, which say what a record is; numbers are state and come from the file. Raises
    CheckpointError, with the field, what was expected and what was found, before any array is read.
    """
    expected = _take_apart(skeleton)
    with _opened(path) as (archive, head):
        leaves = {key: _unpack(value) for key, value in head["scalars"].items()}
        _compare(expected, head, leaves)
        leaves.update(_read_arrays(archive, head))
    return _put_together(skeleton, leaves)


def load_newest(path: PathLike, skeleton: R) -> R:
    """Load a checkpoint, or ``<name>.previous`` with one line of warning on stderr where the newest is damaged.

    Raises CheckpointError where neither will do, or where the newest is whole but not of the skeleton's structure.
    """
    return newest(Path(path), lambda either: load(either, skeleton))


def newest(path: Path, read: Callable[[Path], R]) -> R:
    """Read a checkpoint by a function, or ``<name>.previous`` with a warning on stderr where the newest is damaged."""
    try:
        return read(path)
    except DamagedCheckpointError as error:
        try:
            found = read(previous(path))
        except UserError:
            raise error from None
        print(f"warning: {error}; going on from {previous(path)}", file=sys.stderr)
        return found


def _children(node: Any) -> Mapping[str, Any] | None:
    if attrs.has(type(node)):
        return {field.name: getattr(node, field.name) for field in attrs.fields(type(node))}
    return node if isinstance(node, dict) else None


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk a record depth first: every node with its path, the record itself first with the empty one."""
    yield path, node
    for name, child in (_children(node) or {}).items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise TypeError(f"{path or 'record'}: expected keys of letters, digits, _ and -, found {name!r}")
        yield from _nodes(child, f"{path}.{name}" if path else name)


def _take_apart(record: Any) -> _Content:
    if _children(record) is None:
        raise TypeError(f"a checkpoint holds an attrs record or a dict, not a {type(record).__name__}")
    arrays, scalars, records = {}, {}, {}
    for path, node in _nodes(record):
        if _children(node) is not None:
            records[path] = type(node).__name__
        elif not isinstance(node, np.ndarray):
            scalars[path] = node
        elif DTYPE.fullmatch(node.dtype.str):
            arrays[path] = node
        else:
            raise TypeError(f"{path}: expected an array of numbers, found dtype {node.dtype}")
    return _Content(arrays, scalars, records)


def _put_together(skeleton: Any, leaves: Mapping[str, Any], path: str = "") -> Any:
    children = _children(skeleton)
    if children is None:
        return leaves[path]
    made = {n: _put_together(child, leaves, f"{path}.{n}" if path else n) for n, child in children.items()}
    if isinstance(skeleton, dict):
        return made
    return attrs.evolve(skeleton, **{f.alias: made[f.name] for f in attrs.fields(type(skeleton))})  # type: ignore[misc]


def _pack(path: str, value: Any) -> Any:
    """Return a scalar as strict JSON: tuples are lists, and the floats that JSON lacks are ``{"float": "nan"}``."""
    if type(value) is tuple:
        return [_pack(path, item) for item in value]
    if type(value) is float and not isfinite(value):
        return {"float": repr(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{path}: expected an array, int, float, str, bool, None or tuple, found a {type(value).__name__}")


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_unpack(item) for item in value)
    return float(value["float"]) if isinstance(value, dict) else value


def _compare(expected: _Content, head: Mapping[str, Any], scalars: Mapping[str, Any]) -> None:
    """Raise where the file's structure is not the skeleton's, naming the first field that differs."""
    arrays = {path: _shown(entry["dtype"], entry["shape"]) for path, entry in head["arrays"].items()}
    found = {**head["records"], **arrays, **{path: repr(value) for path, value in scalars.items()}}
    if len(found) != len(head["records"]) + len(arrays) + len(scalars):
        raise DamagedCheckpointError("expected one value for each field, found two")
    wanted = {**expected.records, **{path: _shown(a.dtype.str, a.shape) for path, a in expected.arrays.items()}}
    for path, value in expected.scalars.items():
        static = isinstance(value, (str, tuple))
        fits = path in scalars and (type(value) is type(scalars[path]) or None in (value, scalars[path]))
        wanted[path] = found[path] if fits and not static else repr(value) if static else f"a {type(value).__name__}"
    for path in [*wanted, *found]:
        if wanted.get(path) != found.get(path):
            want, have = wanted.get(path, "no such field"), found.get(path, "nothing")
            raise CheckpointError(f"{path or 'record'}: expected {want}, found {have}")


def _shown(dtype: str, shape: Any) -> str:
    order = {">": " (big-endian)", "<": ""}.get(dtype[0], "")
    return f"{np.dtype(dtype).newbyteorder('=')}{order} of shape {tuple(shape)}"


def _describe(content: _Content, metadata: Mapping[str, Any]) -> bytes:
    """Return the text of the metadata member: all but the arrays themselves."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "metadata": plain(metadata),
        "records": dict(content.records),
        "scalars": {path: _pack(path, value) for path, value in content.scalars.items()},
        "arrays": {
            path: {"dtype": a.dtype.str, "shape": list(a.shape), "sha256": hashlib.sha256(_bytes(a)).hexdigest()}
            for path, a in content.arrays.items()
        },
    }
    return json.dumps({**head, "sha256": _digest(head)}, indent=1, allow_nan=False).encode() + b"\n"


def _digest(head: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in head.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _bytes(array: Array) -> memoryview:
    """Return an array's elements in C order as bytes, without a copy where they are so already."""
    return np.asarray(array, order="C").reshape(-1).view(np.uint8).data


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of NumPy's format 1.0; NumPy's own differs between its versions, and this one is compared."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _write(file: BinaryIO, arrays: Mapping[str, Array], text: bytes) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, METADATA, text)
        for path, array in arrays.items():
            _write_member(archive, f"{path}.npy", _npy_header(array.dtype.str, array.shape), _bytes(array))


def _write_member(archive: zipfile.ZipFile, name: str, *parts: bytes | memoryview) -> None:
    info = zipfile.ZipInfo(name)  # dated 1980: the same content makes the same bytes
    info.create_system, info.external_attr = 3, 0o644 << 16
    info.file_size = sum(len(part) for part in parts)
    with archive.open(info, "w") as member:
        for part in parts:
            member.write(part)


def _prove(path: Path) -> None:
    try:
        with _opened(path) as (archive, head):
            for _ in _read_arrays(archive, head):
                pass
    except CheckpointError as error:
        raise OSError(errno.EIO, f"what was written does not read back ({error})") from error


@contextmanager
def _opened(path: PathLike) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """Open a checkpoint and its verified metadata; whatever the file does wrong inside is a CheckpointError."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            _check_members(archive, os.fstat(file.fileno()).st_size)
            yield archive, _read_head(archive)
    except CheckpointError as error:
        raise type(error)(f"{name}: {error}") from None
    except FileNotFoundError:
        raise DamagedCheckpointError(f"{name}: expected a checkpoint, found no such file") from None
    except OSError as error:
        raise DamagedCheckpointError(f"{name}: the checkpoint cannot be read: {error.strerror or error}") from None
    except zipfile.BadZipFile as error:
        found = "a file that is cut short or no zip" if "not a zip" in str(error) else f"a damaged one ({error})"
        raise DamagedCheckpointError(f"{name}: expected a checkpoint (.npz), found {found}") from None
    except DAMAGE as e:
        detail = " ".join(str(e).split())[:80]
        raise DamagedCheckpointError(f"{name}: the checkpoint is damaged: {type(e).__name__}: {detail}") from None


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse members that are packed or promise more bytes than the file has, before anything is read or allocated."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise DamagedCheckpointError(f"member {member.filename!r}: expected stored bytes, found compressed ones")
    if (total := sum(member.file_size for member in archive.infolist())) > size:
        raise DamagedCheckpointError(f"expected at most {size} bytes of content, found {total} promised")
    if METADATA not in archive.namelist():
        raise DamagedCheckpointError(f"expected a checkpoint with a member {METADATA}, found none")


def _read_head(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the metadata member; its format, its digest and the names of all members are verified."""
    head = json.loads(archive.read(METADATA))
    if head.get("format") != FORMAT:
        raise DamagedCheckpointError(f"expected the format {FORMAT!r}, found {str(head.get('format'))[:40]!r}")
    if head.get("version") != VERSION:
        raise CheckpointError(f"expected format version {VERSION}, found {str(head.get('version'))[:40]}: train anew")
    if head.get("sha256") != _digest(head):
        raise DamagedCheckpointError("the digest of its metadata differs: the file was changed after it was saved")
    for key in ("metadata", "records", "scalars", "arrays"):
        head[key] = dict(head[key])
    for path, entry in head["arrays"].items():
        sizes = all(type(n) is int and n >= 0 for n in entry["shape"])
        if not PATH.fullmatch(path) or not DTYPE.fullmatch(entry["dtype"]) or not sizes:
            raise DamagedCheckpointError(f"{path[:60]!r}: expected numbers, found {str(entry)[:80]}")
    names, expected = sorted(archive.namelist()), sorted([METADATA, *(f"{path}.npy" for path in head["arrays"])])
    if names != expected:
        odd = sorted({*names} ^ {*expected}) or ["two of one name"]
        raise DamagedCheckpointError(f"expected {len(expected)} members, found {len(names)}: see {odd[0][:60]!r}")
    return head


def _read_arrays(archive: zipfile.ZipFile, head: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    for path, entry in head["arrays"].items():
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        header = _npy_header(dtype, shape)
        wanted, found = len(header) + prod(shape) * np.dtype(dtype).itemsize, archive.getinfo(f"{path}.npy").file_size
        if wanted != found:
            raise DamagedCheckpointError(f"{path}: expected {wanted} bytes, found {found}")
        data = archive.read(f"{path}.npy")
        digest = hashlib.sha256(memoryview(data)[len(header) :]).hexdigest()
        if not data.startswith(header) or digest != entry["sha256"]:
            raise DamagedCheckpointError(f"{path}: its digest differs: the file was changed after it was saved")
        yield path, freeze(np.frombuffer(data, dtype, offset=len(header)).reshape(shape))
