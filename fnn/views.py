"""Several views of an image at prediction: the probabilities of it, its mirror image and its shifts are averaged.

Features by rules alone are computed anew for each view; any others can be mirrored, but not shifted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from toolz import compose

from fnn.arrays import Array, freeze, spans
from fnn.augment import shifted
from fnn.coded import Coded
from fnn.features import FEATURES, mirror_of
from fnn.network import ROWS, Params, Spec, predict

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
    """Raise UserError for views that so many features ``of`` an image don't allow."""
    if views != "none" and not _permuted(views, of):
        FEATURES[of].check_renewable("--views", features)


def _permuted(views: str, of: str) -> bool:
    """Tell whether the views are permutations of the features."""
    return views == "flip" and of != "pixels"


def seen(x: Array, views: str, of: str = "pixels") -> Iterator[Array]:
    """Return the views of images with features ``x``, (n, features), each of the same shape."""
    if views == "none":
        return iter((x,))
    if _permuted(views, of):
        return iter((x, freeze(x[:, mirror_of(of, x.shape[1])])))
    row = FEATURES[of]
    side = row.side(x.shape[1])
    images = x[:, : side**2].reshape(len(x), side, side)

    def renewed(view: View) -> Array:
        out = x.copy()
        out[:, : side**2] = view(images).reshape(len(x), -1)
        row.renew(out)
        return freeze(out)

    return map(renewed, VIEWS[views])


def predict_views(
    spec: Spec, params: Params, x: Array | Coded, views: str, batch_size: int = ROWS, of: str = "pixels"
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
