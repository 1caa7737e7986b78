"""Several views of an image at prediction: the probabilities of it, its mirror image and its shifts are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt

import numpy as np
from toolz import compose

from fnn.arrays import Array, freeze, spans
from fnn.augment import shifted
from fnn.errors import UserError
from fnn.network import Params, Spec, predict

#: A view takes images ``(n, side, side)`` to images of the same shape.
View = Callable[[Array], Array]


def plain(images: Array) -> Array:
    return images


def mirrored(images: Array) -> Array:
    return images[:, :, ::-1]


def moved(offset: tuple[int, int], images: Array) -> Array:
    """Return images moved down and to the right by whole pixels."""
    return shifted(images, np.tile(offset, (len(images), 1)))


_SHIFTS = (plain, *(partial(moved, offset) for offset in ((-1, 0), (1, 0), (0, -1), (0, 1))))

#: Every choice of views by its name on the command line.
VIEWS: Mapping[str, tuple[View, ...]] = {
    "none": (plain,),
    "flip": (plain, mirrored),
    "shifts": _SHIFTS,
    "both": (*_SHIFTS, *(compose(shift, mirrored) for shift in _SHIFTS)),
}


def check(views: str, features: int) -> None:
    """Raise UserError for views of images whose ``features`` are no square number."""
    if views != "none" and isqrt(features) ** 2 != features:
        raise UserError(f"--views: expected images as wide as they are high, found {features} pixels")


def predict_views(spec: Spec, params: Params, x: Array, views: str, batch_size: int = 1000) -> Array:
    """Return the probabilities of the classes, shape ``(n, classes)``, averaged over the views of each image."""
    if views == "none":
        return predict(spec, params, x, batch_size)
    check(views, spec.sizes[0])
    side, out = isqrt(spec.sizes[0]), np.empty((len(x), spec.sizes[-1]), spec.dtype)
    for span in spans(len(x), batch_size):
        images = x[span].reshape(-1, side, side)
        seen = (predict(spec, params, view(images).reshape(len(images), -1)) for view in VIEWS[views])
        out[span] = sum(seen) / len(VIEWS[views])
    return freeze(out)
