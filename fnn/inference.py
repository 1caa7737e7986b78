"""What is done with a trained model: assessing it on a data set and classifying pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fnn.arrays import Array, freeze, same
from fnn.config import Config
from fnn.data import Dataset
from fnn.datasets import load
from fnn.errors import UserError
from fnn.experiment import dataset_of
from fnn.features import FEATURES
from fnn.figures import confusion as confusion_figure
from fnn.idx import read_images
from fnn.metrics import Evaluation, confusion_matrix, evaluate, mean_of, pooled, precision_and_recall
from fnn.rundir import Model
from fnn.views import predict_views


def assess(members: Sequence[Model], config: Config, part: str) -> tuple[str, Any]:
    """Return loss, accuracy, per-class precision and recall as a text, and the figure of what is confused with what.

    They are those of the mean of the members' probabilities.
    """
    model = members[0]
    images = load(config.dataset, Path(config.data_dir) if config.data_dir else None)
    pictures, labels = (
        (images.test_images, images.test_labels) if part == "test" else (images.train_images, images.train_labels)
    )
    for member in members:
        check_size(pictures, member, config.dataset)
    seen = _seen(members, pictures, labels)
    data = seen[0]
    results = [evaluate(m.spec, m.params, d, m.config.views) for m, d in zip(members, seen, strict=True)]
    result = pooled(model.spec, results, data)
    confusion = confusion_matrix(data.labels, result.predictions, data.classes)
    title = f"{config.dataset}, {part}"
    head = f"{title}: {len(data):,} images, loss {result.loss:.4f}, accuracy {result.accuracy:.2%}"
    return f"{head}\n\n{_table(images.class_names, confusion)}\n", show_confusion(
        result, data, pictures, images.class_names, title
    )


def show_confusion(result: Evaluation, data: Dataset, images: Array, names: Sequence[str], title: str) -> Any:
    """Return the figure of what is confused with what."""
    confusion = confusion_matrix(data.labels, result.predictions, data.classes)
    return confusion_figure(confusion, images, data.labels, result.predictions, names, title)


def _table(names: Sequence[str], confusion: Array) -> str:
    precision, recall = precision_and_recall(confusion)
    rows = zip(names, confusion.sum(axis=1).tolist(), precision.tolist(), recall.tolist(), strict=True)
    lines = (f"{name:<14}{n:>7,}{_share(p):>12}{_share(r):>10}" for name, n, p, r in rows)
    return "\n".join((f"{'class':<14}{'images':>7}{'precision':>12}{'recall':>10}", *lines))


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2%}"


def classify(members: Sequence[Model], images: Array) -> Array:
    """Return the probabilities of the classes ``(n, classes)`` of images of bytes ``(n, h, w)``: the members' mean."""
    seen = _seen(members, images, np.zeros(len(images), np.int64))
    return mean_of(
        [
            predict_views(m.spec, m.params, data.design, m.config.views, of=data.features)
            for m, data in zip(members, seen, strict=True)
        ]
    )


def _seen(members: Sequence[Model], images: Array, labels: Array) -> list[Dataset]:
    """Return images as each member takes them, computed once for those that take the same."""
    found: list[Dataset] = []
    for number, member in enumerate(members):
        same_features = (
            data
            for other, data in zip(members[:number], found, strict=True)
            if (other.config.features, other.config.dtype) == (member.config.features, member.config.dtype)
            and same(other.fitted, member.fitted)
        )
        data = next(same_features, None)
        found.append(data or dataset_of(member.config, images, labels, len(member.class_names), member.fitted))
    return found


def read_pictures(path: Path, members: Sequence[Model], resize: bool = False, invert: bool = False) -> Array:
    """Return the images ``(n, h, w)`` of an IDX, IDX.gz, npz or image file; UserError if a member can't take them."""
    several = path.suffix.lower() in (".npz", ".gz") or path.name.endswith("ubyte") or path.suffix == ".idx"
    images = read_images(path) if several else _read_picture(path, _side(members[0]) if resize else None)
    for member in members:
        check_size(images, member, path, "" if several else "; try --resize")
    return freeze(255 - images) if invert else images


def _read_picture(path: Path, side: int | None) -> Array:
    from PIL import Image, ImageOps

    if not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path}: expected a file, found {'something else' if path.exists() else 'none'}")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            grey = _grey(ImageOps.exif_transpose(picture))
            return np.asarray(grey.resize((side, side)) if side else grey)[None]
    except Exception as error:  # damaged bytes make Pillow raise a dozen kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path}: expected an IDX, npz or image file, found something else ({reason})") from None


def _grey(picture: Any) -> Any:
    """Return a picture in 256 greys: of 16 bits a pixel the upper half, and what is transparent before white."""
    from PIL import Image

    if picture.mode.startswith("I"):
        return Image.fromarray(np.minimum(np.asarray(picture) // 257, 255).astype(np.uint8))
    if picture.has_transparency_data:
        whole = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    return picture.convert("L")


def _side(model: Model) -> int:
    return FEATURES[model.config.features].side(model.spec.sizes[0])


def check_size(images: Array, model: Model, where: object, advice: str = "") -> None:
    features, shape = FEATURES[model.config.features], images.shape[1:]
    if not features.takes(shape) or features.width(shape) != model.spec.sizes[0]:
        side = _side(model)
        found = " x ".join(map(str, shape))
        raise UserError(f"{where}: expected images of {side} x {side} pixels, found {found}{advice}")
