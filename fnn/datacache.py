"""A verified cache of official files: plain IDX, memory-mapped, so that many processes share one copy in memory.

The content is pinned by its SHA-256, which makes everything else simple: a file is right or it is as good as absent,
processes that build it at the same time write the same bytes, and `sha256sum` or any reader of IDX can look at it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fnn.arrays import Array
from fnn.files import write_atomically
from fnn.idx import idx_header

Digests = Mapping[str, str]  # file name -> SHA-256 of the IDX file, decompressed


def cache_root(cache_dir: Path | None = None) -> Path:
    """Return the cache's directory: the argument, else FNN_CACHE_DIR, else XDG_CACHE_HOME/fnn, else ~/.cache/fnn."""
    if cache_dir or os.environ.get("FNN_CACHE_DIR"):
        return Path(cache_dir or os.environ["FNN_CACHE_DIR"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "fnn"


def digest(array: Array) -> str:
    """Return the SHA-256 of an array of bytes as an IDX file, whatever format it came in."""
    state = hashlib.sha256(idx_header(array.shape))
    state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def map_idx(path: Path, sha256: str) -> Array:
    """Return the elements of an IDX file as a read-only memory map.

    All of the content is verified (35 ms for the 55 MB of MNIST). Raises ValueError when it differs and OSError when it
    cannot be read. An open map outlives the file's replacement.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path.name} is damaged")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def write_idx(path: Path, array: Array) -> None:
    """Write an array of bytes as an IDX file, whole or not at all; raises OSError."""

    def write(file: BinaryIO) -> None:
        file.write(idx_header(array.shape))
        file.write(np.ascontiguousarray(array).data)

    write_atomically(path, write)


def read_cache(folder: Path, digests: Digests) -> tuple[Array, ...]:
    """Return the arrays of all files in order, memory-mapped and verified.

    Raises FileNotFoundError if the folder holds none of them, ValueError if one is missing or damaged, else OSError.
    """
    held = [name for name in digests if (folder / name).is_file()]
    if not held:
        raise FileNotFoundError(f"nothing in {folder}")
    missing = [name for name in digests if name not in held]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    return tuple(map_idx(folder / name, sha256) for name, sha256 in digests.items())


def write_cache(folder: Path, digests: Digests, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Write the files and return them read back, so that even a disk that fails in silence is noticed.

    Raises OSError or ValueError when the folder cannot be written or the files cannot be read back.
    """
    for name, array in zip(digests, arrays, strict=True):
        write_idx(folder / name, array)
    return read_cache(folder, digests)
