"""Images and labels from files that nobody vouches for: IDX (the format of MNIST), gzipped or not, and NumPy's npz.

An IDX file is a big-endian header (two zero bytes, a type code, the number of axes, the length of each axis) and then
the elements in row-major order. LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, cast

import numpy as np

from fnn.arrays import Array, freeze
from fnn.errors import UserError

LIMIT = 2**28  # bytes of an array that had to be decompressed: five times the largest of MNIST
DEFLATE_RATIO = 1032  # no deflate stream expands further (zlib's technical notes)
BYTE = 8  # the type code of unsigned bytes
IMAGE_KEYS = ("images", "x", "x_test")


def read_images(path: str | Path) -> Array:
    """Return the images of an IDX, IDX.gz or npz file (under the first of IMAGE_KEYS that it has).

    Shape ``(n, h, w)``, uint8, read-only. Raises UserError in one line for any other file: unreadable, damaged,
    truncated, empty, too large, of another dtype.
    """
    return images_only(_read_either(Path(path), IMAGE_KEYS), path)


def read_idx(path: Path) -> Array:
    """Return the array of an IDX or IDX.gz file of unsigned bytes, read-only; UserError if it is not exactly that.

    The size that the header claims is held against the file's length before anything of that size is allocated.
    """
    with _opened(path) as (file, length):
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file as stream:
            shape = _read_shape(stream, path)
            size, most = math.prod(shape), min(LIMIT, DEFLATE_RATIO * length) if zipped else length
            if size > most:
                raise UserError(f"{path}: header claims {size} bytes {shape}, more than fit; is the file truncated?")
            content = stream.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise UserError(f"{path}: header claims {size} bytes {shape}, found {found}; get the file again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    """Return those of the keys that an npz file holds, with their arrays, read-only; UserError if it is damaged.

    Never unpickles; bounded like ``read_idx``.
    """
    with _opened(path) as (file, length), zipfile.ZipFile(file) as archive:
        held = set(archive.namelist())
        return {
            key: _read_member(archive, f"{key}.npy", min(LIMIT, DEFLATE_RATIO * length), path)
            for key in keys
            if f"{key}.npy" in held
        }


def images_only(array: Array, where: object) -> Array:
    """Return the array if it is a non-empty ``(n, h, w)`` of uint8, else raise a UserError that names ``where``."""
    if array.ndim != 3 or array.dtype != np.uint8 or not array.size:
        raise UserError(f"{where}: expected images (n, height, width) of uint8, found {_kind(array)}")
    return array


def labels_only(array: Array, where: object) -> Array:
    """Return a non-empty ``(n,)`` of integers in 0 .. 255 as uint8, else raise a UserError that names ``where``."""
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise UserError(f"{where}: expected labels (n,) of integers, found {_kind(array)}")
    if array.min() < 0 or array.max() > 255:
        raise UserError(f"{where}: expected labels in 0 .. 255, found {array.min()} .. {array.max()}")
    return array if array.dtype == np.uint8 else freeze(array.astype(np.uint8))


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Return what an IDX file of unsigned bytes has before its elements.

    >>> idx_header((2, 3)).hex()
    '000008020000000200000003'
    """
    return struct.pack(f">HBB{len(shape)}I", 0, BYTE, len(shape), *shape)


def _read_either(path: Path, keys: tuple[str, ...]) -> Array:
    with _opened(path) as (file, _):
        is_zip = file.read(2) == b"PK"
    if not is_zip:
        return read_idx(path)
    held = read_npz(path, keys)
    if not held:
        raise UserError(f"{path}: expected an npz file with one of the keys {', '.join(keys)}")
    return next(iter(held.values()))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file, give its length too, and turn whatever goes wrong while it is read into a UserError."""
    try:
        # Non-blocking: a pipe that nobody writes to must not hang here.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: expected a file of images or labels, found something else")
            yield file, status.st_size
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # damaged bytes make zipfile, gzip and numpy raise a dozen kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path}: not a readable IDX, IDX.gz or npz file ({reason})") from None


def _read_shape(stream: IO[bytes], path: Path) -> tuple[int, ...]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[3] not in (1, 2, 3):
        found = f"one that begins with {head.hex(' ')}" if head else "an empty one"
        raise UserError(f"{path}: expected an IDX, IDX.gz or npz file, found {found}")
    if head[2] != BYTE:
        raise UserError(f"{path}: expected an IDX file of unsigned bytes (type 0x08), found type 0x{head[2]:02x}")
    lengths = stream.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise UserError(f"{path}: the IDX header is truncated; get the file again")
    return struct.unpack(f">{head[3]}I", lengths)


def _read_member(archive: zipfile.ZipFile, name: str, most: int, path: Path) -> Array:
    with archive.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path}: {name} is larger than {most} bytes")
    stream = BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of headers that it has to repair
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
    size = math.prod(shape) * dtype.itemsize
    if size != len(content) - stream.tell():
        raise UserError(f"{path}: {name} claims {shape} of {dtype}, found {len(content) - stream.tell()} bytes")
    array = np.frombuffer(content, dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def _kind(array: Array) -> str:
    return f"{array.shape} of {array.dtype}"
