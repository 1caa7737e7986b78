from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import fnn.idx
from fnn.errors import UserError
from fnn.idx import idx_header, labels_only, read_idx, read_images, read_npz

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
IDX = idx_header(IMAGES.shape) + IMAGES.tobytes()


def npz(**arrays: np.ndarray) -> bytes:
    stream = BytesIO()
    np.savez(stream, allow_pickle=True, **arrays)
    return stream.getvalue()


VALID = {"idx": IDX, "gz": gzip.compress(IDX, mtime=0), "npz": npz(images=IMAGES, labels=np.arange(2))}


@given(nps.arrays(np.uint8, nps.array_shapes(min_dims=1, max_dims=3)), st.booleans())
def test_idx_round_trip(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, zipped: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip"
    content = idx_header(array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.uint8 and not found.flags.writeable


@pytest.mark.parametrize("kind", VALID)
def test_images_of_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"  # the format is told by the content, not by the name
    path.write_bytes(VALID[kind])
    found = read_images(path)
    np.testing.assert_array_equal(found, IMAGES)
    assert not found.flags.writeable


def test_labels_become_bytes() -> None:
    assert labels_only(np.array([3, 9]), "y").dtype == np.uint8
    with pytest.raises(UserError, match=r"labels in 0 \.\. 255, found 3 \.\. 256"):
        labels_only(np.array([3, 256]), "y")


def test_fortran_order_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(npz(x=np.asfortranarray(IMAGES)))
    np.testing.assert_array_equal(read_images(tmp_path / "x.npz"), IMAGES)


HUGE = idx_header((2**31, 28, 28))
WRONG = {
    "empty": (b"", "an empty one"),
    "text": (b"hello world", "begins with 68 65 6c 6c"),
    "doubles": (b"\0\0\x0e\3" + IDX[4:], "type 0x0e"),
    "cut header": (IDX[:10], "header is truncated"),
    "cut": (IDX[:-1], "found 23"),
    "cut, gzipped": (gzip.compress(IDX[:-1]), "found 23"),
    "cut gzip": (VALID["gz"][:-12], "not a readable"),
    "too long": (IDX + b"x", "found more"),
    "huge": (HUGE, "truncated"),
    "huge, gzipped": (gzip.compress(HUGE), "truncated"),
    "wraps to 0 in 64 bits": (idx_header((2**31, 2**31, 4)), "truncated"),
    "labels": (idx_header((2,)) + b"ab", "expected images"),
    "no image": (idx_header((0, 28, 28)), r"\(0, 28, 28\)"),
    "npz of floats": (npz(x=IMAGES / 255), "float64"),
    "npz without": (npz(z=IMAGES), "keys images, x, x_test"),
    "npz of objects": (npz(x=np.array([{}], object)), "object"),
    "zip of nothing": (b"PK\5\6" + bytes(18), "keys"),
    "not a zip": (b"PK" + bytes(50), "not a readable"),
}


@pytest.mark.parametrize("content, complaint", WRONG.values(), ids=WRONG)
def test_wrong_files_are_named_in_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        read_images(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, complaint in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "."),
        (tmp_path / "pipe", "something else"),
    ):
        with pytest.raises(UserError, match=complaint):
            read_images(path)


def bombs() -> dict[str, bytes]:
    size = 1 << 25
    member = BytesIO()
    np.savez_compressed(member, x=np.zeros(size, np.uint8))
    return {
        "more than claimed": gzip.compress(IDX + bytes(size), 1),
        "as claimed": gzip.compress(idx_header((1, 1, size)) + bytes(size), 1),
        "npz": member.getvalue(),
    }


@pytest.mark.parametrize("kind, content", bombs().items())
def test_bombs_do_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, content: bytes) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(content)
    monkeypatch.setattr(fnn.idx, "LIMIT", 1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


def test_npz_claiming_a_huge_shape_is_refused(tmp_path: Path) -> None:
    member = BytesIO()
    np.lib.format.write_array(member, IMAGES)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:  # the lengths of header and text stay as they were
        archive.writestr("x.npy", member.getvalue().replace(b"(2, 3, 4)", b"(999999,)"))
    with pytest.raises(UserError, match=r"\(999999,\) of uint8, found 24 bytes"):
        read_npz(tmp_path / "x.npz", ("x",))


mutations = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(VALID)), mutations, st.integers(0, 40))
@example("npz", [], 1)
def test_damaged_files_give_images_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(VALID[kind])
    for place, value in changes:
        content[place % len(content)] = value
    _gives_images_or_one_line(tmp_path_factory.getbasetemp() / "damaged", bytes(content[: len(content) - cut]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"PK", b"PK\3\4", b"\x1f\x8b\x08", b"\0\0\x08\3", b"\0\0\x08"]), st.binary(max_size=200))
def test_random_bytes_give_images_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, tail: bytes
) -> None:
    _gives_images_or_one_line(tmp_path_factory.getbasetemp() / "random", head + tail)


def _gives_images_or_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_images(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert found.ndim == 3 and found.size and found.dtype == np.uint8


def test_struct_of_the_header() -> None:
    assert idx_header((60000, 28, 28)) == struct.pack(">IIII", 2051, 60000, 28, 28)
