from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from fnn import datasets, fetch
from fnn.datacache import digest
from fnn.datasets import (
    FILES,
    NPZ_KEYS,
    OFFICIAL,
    SOURCES,
    DataUnavailable,
    Images,
    NotHere,
    Request,
    Source,
    from_cache,
    from_directory,
    from_download,
    from_keras,
    from_package,
    from_system,
    load,
    read_folder,
)
from fnn.errors import UserError
from fnn.idx import idx_header

DATA = Path(__file__).parent / "data"
NAMES = ("fashion_mnist", "mnist")


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the machine's own cache, directories or network."""
    monkeypatch.setenv("FNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("FNN_DATA_DIR", raising=False)
    monkeypatch.setattr(fetch, "unreachable", lambda _: "no network in tests")
    for name in NAMES:
        monkeypatch.setitem(OFFICIAL, name, evolve(OFFICIAL[name], system=tmp_path / "system" / name))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixtures count as the official content."""
    for name in NAMES:
        arrays = read_folder(DATA / name, name)
        assert arrays
        digests = {file: digest(array) for file, array in zip(FILES, arrays, strict=True)}
        monkeypatch.setitem(OFFICIAL, name, evolve(OFFICIAL[name], digests=digests))


def fill(folder: Path, name: str = "mnist") -> None:
    shutil.copytree(DATA / name, folder, dirs_exist_ok=True)


@pytest.fixture
def system(small: None) -> Path:
    fill(OFFICIAL["mnist"].system)
    return OFFICIAL["mnist"].system


def refuse(reason: str) -> Callable[[Request], Images]:
    def find(_: Request) -> Images:
        raise NotHere(reason)

    return find


def forbidden(_: Request) -> Images:
    raise AssertionError("a later source was asked")


@pytest.mark.parametrize("name", NAMES)
def test_fixtures_load_from_the_environment(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNN_DATA_DIR", str(DATA))
    found = load(name)
    assert found.train_images.shape == (600, 28, 28) and found.test_images.shape == (200, 28, 28)
    for labels, count in ((found.train_labels, 60), (found.test_labels, 20)):
        assert np.bincount(labels).tolist() == [count] * 10
    assert not found.verified and "unverified" in found.source and "FNN_DATA_DIR" in found.source
    assert len(found.class_names) == 10
    assert not (tmp_path / "cache").exists()
    assert not any(a.flags.writeable for a in (found.train_images, found.train_labels, found.test_images))


@pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("kind", ["idx", "gz", "npz"])
def test_directories_in_every_usual_form(tmp_path: Path, place: str, kind: str) -> None:
    arrays = read_folder(DATA / "mnist", "mnist")
    assert arrays
    folder = tmp_path / "mine" / place
    folder.mkdir(parents=True)
    if kind == "npz":
        np.savez(folder / "mnist.npz", **dict(zip(NPZ_KEYS, arrays, strict=True)))  # type: ignore[arg-type]
    elif kind == "gz":
        fill(folder)
    else:
        for file, array in zip(FILES, arrays, strict=True):
            (folder / file).write_bytes(idx_header(array.shape) + array.tobytes())
    found = load("mnist", data_dir=tmp_path / "mine")
    np.testing.assert_array_equal(found.test_images, arrays[2])
    assert "--data_dir" in found.source


def test_an_official_directory_is_called_verified(small: None) -> None:
    assert load("mnist", DATA).verified and "unverified" not in load("mnist", DATA).source


def test_another_official_data_set_is_refused(small: None) -> None:
    with pytest.raises(UserError, match="expected fashion_mnist, found the official mnist"):
        load("fashion_mnist", DATA / "mnist")


@pytest.mark.parametrize("by_argument", [True, False])
def test_a_directory_without_the_data_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_argument: bool
) -> None:
    monkeypatch.setenv("FNN_DATA_DIR", str(DATA if by_argument else tmp_path))
    sources = (SOURCES[0], Source("later", forbidden))
    with pytest.raises(UserError, match=r"found no mnist in .*; expected train-images") as caught:
        load("mnist", tmp_path if by_argument else None, sources=sources)
    assert str(caught.value).startswith("--data_dir" if by_argument else "FNN_DATA_DIR")


def remove(folder: Path) -> None:
    (folder / f"{FILES[3]}.gz").unlink()


def cut(folder: Path) -> None:
    path = folder / f"{FILES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-100])


def swap(folder: Path) -> None:
    shutil.copy(folder / f"{FILES[3]}.gz", folder / f"{FILES[1]}.gz")


@pytest.mark.parametrize(
    "spoil, complaint",
    [(remove, f"{FILES[3]} is missing"), (cut, "not a readable"), (swap, "600 images and 200 labels")],
)
def test_a_spoilt_directory_is_named(tmp_path: Path, spoil: Callable[[Path], None], complaint: str) -> None:
    fill(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=complaint) as caught:
        load("mnist", tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"y_test": np.full(2, 10)}, "labels in 0 .. 9, found 10"),
        ({"x_test": np.zeros((2, 8, 8), np.uint8)}, r"expected images of \(28, 28\), found \(8, 8\)"),
        ({"x_train": np.zeros((2, 28, 28))}, "float64"),
    ],
)
def test_a_wrong_npz_is_named(tmp_path: Path, change: dict[str, np.ndarray], complaint: str) -> None:
    images, labels = np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8)
    right = dict(zip(NPZ_KEYS, (images, labels, images, labels), strict=True))
    np.savez(tmp_path / "mnist.npz", **right)  # type: ignore[arg-type]
    assert load("mnist", tmp_path).train_labels.shape == (2,)
    np.savez(tmp_path / "mnist.npz", **{**right, **change})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=complaint):
        load("mnist", tmp_path)


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="'cifar' is not one of fashion_mnist, mnist"):
        load("cifar")


def test_sources_are_asked_in_order_until_one_has_it() -> None:
    order = (from_directory, from_cache, from_system, from_keras, from_download, from_package)
    assert tuple(source.find for source in SOURCES) == order
    asked = []

    def note(request: Request) -> Images:
        asked.append(request.name)
        raise NotHere("no")

    found = from_directory(Request("mnist", DATA))
    sources = (Source("a", note), Source("b", note), Source("c", lambda _: found), Source("d", forbidden))
    assert load("mnist", sources=sources) is found and asked == ["mnist", "mnist"]


def test_when_nothing_works_each_source_and_a_way_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({source.title for source in SOURCES}) == len(SOURCES)
    for source in SOURCES[3:]:
        monkeypatch.setattr(datasets, source.find.__name__, refuse(f"why {source.title} fails"))
    sources = tuple(Source(source.title, getattr(datasets, source.find.__name__)) for source in SOURCES)
    with pytest.raises(DataUnavailable) as caught:
        load("mnist", sources=sources)
    text = str(caught.value)
    lines = text.splitlines()
    assert len(lines) == 8 and lines[0] == "mnist: no source has it"
    for source, line in zip(SOURCES, lines[1:], strict=False):
        assert line.startswith(f"  {source.title}: ") and len(line) > len(source.title) + 10
    assert all(file in lines[-1] for file in FILES) and "--data_dir" in lines[-1]


def test_the_system_fills_the_cache_which_is_asked_first(system: Path, tmp_path: Path) -> None:
    first = load("mnist")
    assert first.verified and first.cache == tmp_path / "cache" / "mnist" and "system" in first.source
    shutil.rmtree(system)
    again = load("mnist", sources=(*SOURCES[:2], Source("later", forbidden)))
    assert again.verified and "cache" in again.source
    np.testing.assert_array_equal(first.train_images, again.train_images)
    assert sorted(file.name for file in first.cache.iterdir()) == sorted(FILES)
    assert load("mnist", data_dir=first.cache).verified  # the cache is itself a directory of the official files


def test_a_damaged_cache_is_reported_and_rebuilt(system: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache = load("mnist").cache
    assert cache and not capfd.readouterr().err
    path = cache / FILES[0]
    good = path.read_bytes()
    for content in (good[:-1] + bytes([good[-1] ^ 1]), good[:1000], None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        found = load("mnist")
        assert "system" in found.source and path.read_bytes() == good
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1 and FILES[0] in lines[0] and "again" in lines[0]


def test_an_unwritable_cache_is_a_warning(system: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    found = load("mnist")
    assert found.verified and found.cache is None and found.train_images.shape == (600, 28, 28)
    assert not found.train_images.flags.writeable
    lines = capfd.readouterr().err.splitlines()
    assert "warning: cannot keep mnist in the cache" in lines[-1]


def test_a_full_disk_is_a_warning(
    system: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path, data: object) -> None:
        raise OSError(28, "No space left", str(path))

    monkeypatch.setattr("fnn.datacache.write_atomically", write)
    assert load("mnist", sources=(SOURCES[2],)).cache is None
    assert "No space left" in capfd.readouterr().err


def test_unofficial_content_is_refused(tmp_path: Path) -> None:
    fill(OFFICIAL["mnist"].system)
    with pytest.raises(NotHere, match="not the official content"):
        from_system(Request("mnist"))
    assert not (tmp_path / "cache").exists()


def test_keras_fixture_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jax")
    fill(tmp_path / "datasets" / "fashion-mnist", "fashion_mnist")
    before = sorted((tmp_path / "datasets").rglob("*"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(NotHere, match=r"keras.datasets: not the official content \(train-images"):
        from_keras(Request("fashion_mnist"))
    assert sorted((tmp_path / "datasets").rglob("*")) == before
    assert "trying keras.datasets" in capfd.readouterr().err


def test_download_tries_each_address(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def download(address: str, files: list[str], folder: Path) -> None:
        tried.append(address)
        if len(tried) % 2:
            raise NotHere("cut off")
        fill(folder)

    monkeypatch.setattr(datasets, "download", download)
    found = from_download(Request("mnist"))
    assert tried == list(OFFICIAL["mnist"].addresses) and found.verified and found.source == tried[1]


def test_package_is_found_in_its_depths(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ("a package", lambda folder: fill(folder / "usr" / "share"))
    monkeypatch.setitem(OFFICIAL, "mnist", evolve(OFFICIAL["mnist"], package=package))
    assert from_package(Request("mnist")).source == "a package"
    monkeypatch.setitem(OFFICIAL, "mnist", evolve(OFFICIAL["mnist"], package=("an empty one", partial(str))))
    with pytest.raises(NotHere, match="nothing in"):
        from_package(Request("mnist"))
