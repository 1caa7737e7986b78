"""Features that take minutes to compute, kept on disk beside the data and mapped from there.

A file is an IDX file of bytes, which any reader of IDX takes, with 32 bytes more at its end: the SHA-256 of a key and
of the content. The key tells of which images the features are, what they have learned and which code has computed
them, so that a file is right or as good as absent.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fnn import threads
from fnn.arrays import Array, freeze, spans
from fnn.datacache import cache_root, digest
from fnn.features import FEATURES, Fitted, codes
from fnn.files import write_atomically
from fnn.idx import idx_header

VERSION = b"1"  # of the code: a new one where the same images would have other features
WORTH = 2**26  # bytes: fewer are computed about as fast as their file is verified
PIECE = 256  # images that a thread does at a time


def stored_codes(name: str, data: str, images: Array, root: Path | None = None) -> tuple[Fitted, Array]:
    """Return what features learn from images, and the images' codes ``(n, width + 1)``: many are kept in the cache.

    What can't be read or written there costs a line on stderr and the time and memory to compute it.
    """
    with threads.limited(1):
        fitted = FEATURES[name].learn(images)
        assert fitted is not None, "features by rules alone have no codes"
        if len(images) * (len(fitted.scale.top) + 1) < WORTH:
            return fitted, codes(fitted, images)
        source = digest(images)
        path = (root or cache_root()) / data / f"{name}-{source[:8]}.idx"
        return fitted, _mapped_or_made(path, _key(source, fitted), fitted, images)


def _key(source: str, fitted: Fitted) -> bytes:
    arrays = [array for level in fitted.levels for array in (level.whitening, level.atoms)] + [fitted.scale.top]
    return hashlib.sha256(b"".join([VERSION, source.encode(), *(array.tobytes() for array in arrays)])).digest()


def _mapped_or_made(path: Path, key: bytes, fitted: Fitted, images: Array) -> Array:
    try:
        return read(path, key)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        print(f"warning: {error}; the features are computed again", file=sys.stderr)
    try:
        print(f"computing the features of {len(images):,} images, once: they are kept in {path}", file=sys.stderr)
        write(path, key, fitted, images)
        return read(path, key)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        print(f"warning: {path} could not be written ({reason}); the features are kept in memory", file=sys.stderr)
    return freeze(np.concatenate(list(_pieces(fitted, images))))


def read(path: Path, key: bytes) -> Array:
    """Map the codes in a file; raises OSError or, where they are others or damaged, ValueError."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    state = hashlib.sha256(key)
    state.update(memoryview(content)[:-32])
    if content[-32:] != state.digest():
        raise ValueError(f"{path} is damaged, or of other features")
    n, width = np.frombuffer(content, ">u4", 2, offset=4).tolist()
    return np.frombuffer(content, np.uint8, n * width, offset=12).reshape(n, width)


def write(path: Path, key: bytes, fitted: Fitted, images: Array) -> None:
    """Compute the codes of images and write them as they come, whole or not at all; raises OSError."""
    head = idx_header((len(images), len(fitted.scale.top) + 1))
    size = len(head) + len(images) * (len(fitted.scale.top) + 1) + 32

    def fill(file: BinaryIO) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # a disk too full is noticed before the work
        state = hashlib.sha256(key)
        for part in (head, *(piece.data for piece in _pieces(fitted, images))):
            state.update(part)
            file.write(part)
        file.write(state.digest())

    write_atomically(path, fill)


def _pieces(fitted: Fitted, images: Array) -> Iterator[Array]:
    """Compute codes by all cores, some images a piece, in order."""
    cores = threads.available()
    with ThreadPoolExecutor(cores) as pool:
        for span in spans(len(images), PIECE * cores):  # so that no more than this is done ahead
            some = images[span]
            yield from pool.map(partial(codes, fitted), [some[piece] for piece in spans(len(some), PIECE)])
