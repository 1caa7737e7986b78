"""The cache of features is right or as good as absent, and nothing that is wrong with it stops a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from fnn import featurecache, features
from fnn.arrays import Array, same
from fnn.datasets import load
from fnn.featurecache import stored_codes
from fnn.features import codes
from fnn.idx import read_idx
from tests.shell import DATA

SOME = load("fashion_mnist", DATA).train_images[:40]


@pytest.fixture(autouse=True)
def _everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurecache, "WORTH", 0)
    monkeypatch.setattr(featurecache, "PIECE", 7)
    monkeypatch.setattr(features.patches, "SAMPLE", 3000)


def stored(root: Path, images: Array = SOME, name: str = "patches") -> Array:
    return stored_codes(name, "fashion_mnist", images, root)[1]


def file_in(root: Path) -> Path:
    (path,) = (root / "fashion_mnist").iterdir()
    return path


@pytest.mark.parametrize("name", ["patches", "pyramid"])
def test_features_are_computed_once_and_mapped(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, first = stored_codes(name, "fashion_mnist", SOME, tmp_path)
    assert same(first.copy(), codes(fitted, SOME).copy()) and not first.flags.writeable
    assert f"kept in {file_in(tmp_path)}" in capsys.readouterr().err
    monkeypatch.setattr(featurecache, "codes", None)
    assert same(stored(tmp_path, SOME, name).copy(), first.copy())
    assert not capsys.readouterr().err
    assert file_in(tmp_path).read_bytes()[12:-32] == first.tobytes()
    cut = tmp_path / "content"
    cut.write_bytes(file_in(tmp_path).read_bytes()[:-32])
    np.testing.assert_array_equal(read_idx(cut), first)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "longer", "header"])
def test_a_damaged_file_is_noticed_and_made_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = stored(tmp_path).copy()
    path = file_in(tmp_path)
    good = path.read_bytes()
    bad = {
        "flipped": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
        "cut": good[:-100],
        "empty": b"",
        "longer": good + b"x",
        "header": good[:4] + bytes([1]) + good[5:],
    }
    path.write_bytes(bad[damage])
    capsys.readouterr()
    assert same(stored(tmp_path).copy(), first)
    assert "the features are computed again" in capsys.readouterr().err
    assert path.read_bytes() == good


def test_other_images_and_another_code_have_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = stored(tmp_path), stored(tmp_path, SOME[::-1].copy())
    assert len(list((tmp_path / "fashion_mnist").iterdir())) == 2 and not np.array_equal(one, two)
    (tmp_path / "b").mkdir()
    stored(tmp_path / "b")
    before = file_in(tmp_path / "b").read_bytes()
    monkeypatch.setattr(featurecache, "VERSION", b"2")
    stored(tmp_path / "b")
    assert file_in(tmp_path / "b").read_bytes()[:-32] == before[:-32] != file_in(tmp_path / "b").read_bytes()


def test_a_place_that_cannot_be_written_costs_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fashion_mnist").write_bytes(b"a file where a directory should be")
    fitted, found = stored_codes("patches", "fashion_mnist", SOME, tmp_path)
    assert same(found.copy(), codes(fitted, SOME).copy())
    assert "the features are kept in memory" in capsys.readouterr().err


def test_a_full_disk_costs_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert len(stored(tmp_path)) == len(SOME)
    assert "(No space left on device); the features are kept in memory" in capsys.readouterr().err
    assert not list((tmp_path / "fashion_mnist").iterdir())


def test_few_features_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurecache, "WORTH", 2**26)
    assert len(stored(tmp_path)) == len(SOME)
    assert not list(tmp_path.iterdir())
