"""The vocabulary of the property tests: networks, batches, parameters and gradients as hypothesis draws them."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from hypothesis import strategies as st

from fnn.activations import ACTIVATIONS
from fnn.arrays import CLASH, Array, freeze
from fnn.initializers import INITIALIZERS
from fnn.losses import LOSSES
from fnn.network import Params, Spec, init_params

seeds = st.integers(0, 2**32 - 1)
APART = CLASH // 4  # samples, in either precision
#: Pixels and oriented gradients of square images, by their side.
WIDTHS = {4: 16 + 8, 8: 64 + 8 * 5, 12: 144 + 8 * 13, 28: 784 + 8 * 85}


@frozen(eq=False)
class Case:
    """A network with a batch: everything a gradient depends on, read-only."""

    spec: Spec
    params: Params
    x: Array  # (n, features)
    targets: Array  # (n, classes), rows are distributions
    seed: int


def generators() -> st.SearchStrategy[np.random.Generator]:
    return seeds.map(np.random.default_rng)


@st.composite
def specs(
    draw: st.DrawFn, max_depth: int = 5, max_width: int = 40, activations: tuple[str, ...] = tuple(ACTIVATIONS)
) -> Spec:
    """Double-precision networks of 0 to ``max_depth`` hidden layers of unequal widths."""
    widths = st.integers(1, max_width)
    hidden = draw(st.lists(widths, max_size=max_depth))
    sizes = (draw(widths), *hidden, draw(st.integers(2, 10)))
    choose = [draw(st.sampled_from(sorted(rows))) for rows in (activations, LOSSES, INITIALIZERS)]
    return Spec(sizes, *choose, dtype="float64")


@st.composite
def cases(draw: st.DrawFn, max_batch: int = 50, **limits: object) -> Case:
    """A network with drawn biases, too, and a batch with soft targets: small, or one whose rows are kept apart."""
    spec = draw(specs(**limits))  # type: ignore[arg-type]
    n = draw(st.integers(1, max_batch + 1))
    return case_of(spec, n if n <= max_batch else APART, draw(seeds))


def case_of(spec: Spec, n: int, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    start = init_params(spec, seed % 1000)
    theta = start.theta + rng.normal(0, 0.1, start.theta.shape)
    x = rng.normal(0, 1, (n, spec.sizes[0]))
    t = rng.dirichlet(np.ones(spec.sizes[-1]), n)
    return Case(spec, Params(spec.sizes, freeze(theta.astype(spec.dtype))), freeze(x), freeze(t), seed)


@st.composite
def images(draw: st.DrawFn, least: int = 1, most: int = 4) -> Array:
    """Images of bytes with every kind of edge: noise, few levels, and blocks."""
    side = draw(st.sampled_from(sorted(WIDTHS)))
    n = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
    levels = draw(st.sampled_from([1, 2, 128, 255]))
    return freeze((noise // levels * levels).astype(np.uint8))
