"""Several views of an image at prediction: the probabilities of it, its mirror image and its shifts are averaged.

Images known by other features than pixels can be mirrored, too, but not shifted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import isqrt

import numpy as np
from toolz import compose

from fnn.arrays import Array, freeze, spans
from fnn.augment import shifted
from fnn.coded import Coded
from fnn.errors import UserError
from fnn.features import mirror_of
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


def check(views: str, features: int, of: str = "pixels") -> None:
    """Raise UserError for views of images whose ``features`` are no square number, but for those known by features."""
    known = views == "none" or (views == "flip" and of != "pixels")
    if not known and (of != "pixels" or isqrt(features) ** 2 != features):
        raise UserError(f"--views: expected images as wide as they are high, found {features} pixels")


def seen(x: Array, views: str, of: str = "pixels") -> Iterator[Array]:
    """Return the views of images ``(n, features)``, each of the same shape; a mirrored one's features are permuted."""
    if views == "none":
        return iter((x,))
    if of != "pixels":
        return iter((x, x[:, mirror_of(of, x.shape[1])]))
    images = x.reshape(len(x), isqrt(x.shape[1]), -1)
    return (view(images).reshape(len(x), -1) for view in VIEWS[views])


def predict_views(
    spec: Spec, params: Params, x: Array | Coded, views: str, batch_size: int = 1000, of: str = "pixels"
) -> Array:
    """Return the probabilities of the classes, shape ``(n, classes)``, averaged over the views of each image.

    ``x`` are features ``(n, features)``, or a design matrix, whose column of ones is left out.
    """
    check(views, spec.sizes[0], of)
    out = np.empty((len(x), spec.sizes[-1]), spec.dtype)
    for span in spans(len(x), batch_size):
        images = x[span][:, : spec.sizes[0]]
        out[span] = sum(predict(spec, params, view) for view in seen(images, views, of)) / len(VIEWS[views])
    return freeze(out)
