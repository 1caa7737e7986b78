from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fnn.datacache import cache_root, digest, read_cache, write_cache, write_idx

ARRAYS = (np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.arange(3, dtype=np.uint8))
NAMES = ("images", "labels")
DIGESTS = {name: digest(array) for name, array in zip(NAMES, ARRAYS, strict=True)}


def test_maps_what_was_written_read_only(tmp_path: Path) -> None:
    for found in (write_cache(tmp_path / "new", DIGESTS, ARRAYS), read_cache(tmp_path / "new", DIGESTS)):
        for array, expected in zip(found, ARRAYS, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert type(array) is np.ndarray and array.dtype == np.uint8
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True


def test_the_files_are_those_of_the_digests(tmp_path: Path) -> None:
    write_cache(tmp_path, DIGESTS, ARRAYS)
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in tmp_path.iterdir()} == DIGESTS


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_found(tmp_path: Path, name: str, damage: str) -> None:
    write_cache(tmp_path, DIGESTS, ARRAYS)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage != "delete":
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        (tmp_path / name).write_bytes({"flip": flipped, "truncate": content[:-1], "empty": b""}[damage])
    with pytest.raises(ValueError, match=f"{name} is (damaged|missing)|empty file"):
        read_cache(tmp_path, DIGESTS)


def test_nothing_there_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_cache(tmp_path / "none", DIGESTS)


def test_an_open_map_outlives_a_replacement(tmp_path: Path) -> None:
    images, _ = write_cache(tmp_path, DIGESTS, ARRAYS)
    write_idx(tmp_path / "images", np.zeros((1, 1, 1), np.uint8))
    np.testing.assert_array_equal(images, ARRAYS[0])


def test_builders_at_the_same_time_leave_one_sound_cache(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: write_cache(tmp_path, DIGESTS, ARRAYS), range(40)):
            np.testing.assert_array_equal(found[0], ARRAYS[0])
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(NAMES)


def test_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNN_CACHE_DIR", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/home/c")
    assert cache_root(Path("/d")) == Path("/d") and cache_root() == Path("/a")
    monkeypatch.setenv("FNN_CACHE_DIR", "")
    assert cache_root() == Path("/b/fnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification says to ignore
    assert cache_root() == Path("/home/c/.cache/fnn")
