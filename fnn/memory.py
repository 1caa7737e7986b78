"""How much memory a run takes, and how much there is: better told before than found out by a kill."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

import numpy as np

from fnn.arrays import map_arrays, pitch
from fnn.config import Config, optimizer_of
from fnn.datasets import Images
from fnn.errors import UserError
from fnn.features import FEATURES
from fnn.network import ROWS, Params
from fnn.products import STRIPPED
from fnn.training import stride

MIB = 2**20


def check(config: Config, images: Images) -> None:
    """Raise UserError if a run would take more memory than there is."""
    needed, there = estimate(config, images), available()
    if there is not None and needed > there:
        raise UserError(
            f"--hidden_size: expected a run that fits into the {there // MIB:,} MiB of free memory, found one of about "
            f"{needed // MIB:,} MiB with {parameters(config, images):,} parameters; "
            "fewer or narrower layers or a smaller --batch_size need less"
        )


def estimate(config: Config, images: Images) -> int:
    """Return about how many bytes a run allocates at its peak, beyond the interpreter and its libraries.

    While it trains there are the parameters, the gradient, what the optimizer remembers and the best parameters. A run
    that is resumed reads its state beside an empty one.
    """
    rows, features = len(images.train_images), _features(config, images)
    vectors = max(3 + slots(config), 2 * (1 + slots(config)))
    hidden = sum(config.hidden_size) * (config.num_layers if len(config.hidden_size) == 1 else 1)
    batch = min(config.batch_size, rows)
    both = sum(pitch(n, config.dtype) for n in (batch, rows % batch))  # a short last one has arrays of its own
    # Of a unit and sample the output, the cotangent, scratch memory, and copies for products.
    copies = 3 if batch <= STRIPPED[1] else 1
    each = 3 + copies + 2 * bool(config.dropout) + 2 * (config.normalization != "none")
    values = (
        parameters(config, images) * vectors
        + 3 * batch * (features + 1)  # turned for a product in each of two processes
        + max(each * both, ROWS) * hidden
    )
    if config.normalization != "none":  # statistics of many images at once
        values += rows // stride(rows) * (hidden + (features + 1) * bool(FEATURES[config.features].fit))
    itemsize = np.dtype(config.dtype).itemsize
    # Codes take a byte each, if they can't be mapped from a file.
    return values * itemsize + rows * (features + 1) * (1 if FEATURES[config.features].fit else itemsize)


def parameters(config: Config, images: Images) -> int:
    """Return the number of parameters; of a million equal layers, too, without making a list of them."""
    features, classes = _features(config, images), len(images.class_names)
    if not config.num_layers:
        return (features + 1) * classes
    first, *_, last = config.hidden_size * 2 if len(config.hidden_size) == 1 else config.hidden_size
    equal = (config.num_layers - 1) * (first + 1) * first
    between = equal if len(config.hidden_size) == 1 else sum((i + 1) * o for i, o in pairwise(config.hidden_size))
    return (features + 1) * first + between + (last + 1) * classes


def slots(config: Config) -> int:
    """Return how many vectors of the parameters' length the optimizer remembers."""
    found: list[object] = []
    tiny = Params((1, 1), np.zeros(2))
    map_arrays(lambda array: found.append(array) or array, optimizer_of(config, 1).init(tiny))
    return len(found)


def available() -> int | None:
    """Return how many bytes this process may still allocate: what the system has left, and what its limit leaves.

    None where the system doesn't tell.
    """
    left = _kibibytes(Path("/proc/meminfo"), "MemAvailable")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _kibibytes(Path("/proc/self/status"), "VmSize") or 0
    return min((n for n in (left, None if limit == resource.RLIM_INFINITY else limit - used) if n), default=None)


def _kibibytes(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _features(config: Config, images: Images) -> int:
    return FEATURES[config.features].width(images.train_images.shape[1:])
