"""The way through a network, forward and back, as calls that are bound to the arrays they read and write.

Activations are *features-major*, shape ``(features, n)``, and carry a last row of ones, so that a layer's weights and
biases are one matrix: ``[W; b]`` of shape ``(fan_in + 1, fan_out)``. Then each layer is one matrix product forward,
``z = [W; b]^T [a; 1]``, and two backward, with no separate sum for biases; nothing is copied but where
``fnn.products`` gains by it. A layer's work is bound by rows, one for each unit, which a team may share.

Rows are kept apart where caches want it (``arrays.pitch``). What an activation does is done to rows and gaps, as one
piece of memory: nobody looks at the numbers in the gaps, and they begin as zeros, of which no activation makes infinite
or tiny ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import numpy as np
from attrs import frozen

from fnn.activations import Activation
from fnn.arrays import Array, Empty, empty, map_arrays, pitched, with_gaps
from fnn.calls import Runs, by_rows, call
from fnn.normalization import Normalized
from fnn.products import multiplication, product, product_with_transposed
from fnn.teams import SOLO, Team


@frozen(eq=False)
class Units:
    """What a forward pass writes of a hidden layer: a row for each unit, a column for each sample."""

    output: Array  # (width, n)
    following: Array  # [a; 1], (width + 1, n): what the next layer takes; without a mask ``output`` is a view into it
    mask: Array | None = None  # of dropout, (width, n)
    norm: Normalized | None = None  # what normalises the units before their activation, where anything does

    def of(self, rows: slice) -> Units:
        """Return some of the units: views."""
        return map_arrays(lambda array: array[rows], self)

    def masked(self, x: Array, out: Array) -> Runs:
        """Return what writes ``x`` times the mask into ``out``, if there is one."""
        return () if self.mask is None else (partial(np.multiply, x, self.mask, out),)


@frozen(eq=False)
class Activations:
    """What a forward pass writes: allocated once for batches of ``n`` samples, overwritten by every pass."""

    hidden: tuple[Units, ...]
    logits: Array  # (classes, n)


@frozen(eq=False)
class Cotangents:
    """What a backward pass writes: the loss's derivatives with respect to each layer's ``z``."""

    hidden: tuple[Array, ...]  # (width, n)
    scratch: Array  # for the widest of these
    output: Array  # (classes, n)


def activations(
    sizes: tuple[int, ...],
    dtype: str,
    n: int,
    masks: tuple[Array, ...] = (),
    norms: tuple[Normalized, ...] = (),
    empty: Empty = empty,
) -> Activations:
    """Allocate, by ``empty``, the activations of a batch of ``n`` samples in a network of these widths.

    ``masks``, if any, multiply the hidden layers' outputs; ``norms``, if any, normalise what they are made of.
    """
    *hidden, classes = sizes[1:]

    def units(width: int, mask: Array | None, norm: Normalized | None) -> Units:
        following = pitched(width + 1, n, dtype, empty)
        following[-1] = 1
        return Units(following[:-1] if mask is None else pitched(width, n, dtype, empty), following, mask, norm)

    none = (None,) * len(hidden)
    layers = tuple(map(units, hidden, masks or none, norms or none))
    return Activations(layers, np.empty((classes, n), dtype))


def cotangents(sizes: tuple[int, ...], dtype: str, n: int, empty: Empty = empty) -> Cotangents:
    """Allocate, by ``empty``, the cotangents of a batch of ``n`` samples."""
    *hidden, classes = sizes[1:]
    below = tuple(pitched(width, n, dtype, empty) for width in hidden)
    return Cotangents(below, pitched(max(hidden, default=0), n, dtype, empty), empty((classes, n), dtype))


def forward_pass(
    f: Activation, maps: Sequence[Array], design: Array, to: Activations, team: Team = SOLO
) -> Callable[[Array], None]:
    """Return ``run(logits)``, which writes the activations ``a = f([W; b]^T [a; 1])`` layer by layer, and last ``z``.

    ``maps`` are the transposed matrices ``[W; b]^T``, ``design`` is the batch as ``[x; 1]``, (features + 1, n). With
    masks of dropout ``m`` the next layer takes ``m * a`` instead. Of a team the lead writes the logits, which are
    contiguous.
    """
    inputs = (design, *(units.following for units in to.hidden))

    def layer(k: int) -> Runs:
        def of(rows: slice) -> Runs:
            units = to.hidden[k].of(rows)
            z = units.output
            return (
                *product(maps[k][rows], inputs[k], z),
                *(() if units.norm is None else (partial(units.norm.apply, z),)),
                *f.apply(with_gaps(z)),
                *units.masked(z, units.following[: len(z)]),
            )

        return by_rows(of, len(maps[k]), maps[k].size * design.shape[1], team)

    runs = tuple(chain.from_iterable(map(layer, range(len(to.hidden)))))
    last = multiplication(maps[-1], inputs[-1])

    def run(logits: Array) -> None:
        call(runs)
        if team.leads:
            last(inputs[-1], logits)

    return run


def backward_pass(
    f: Activation,
    weights: Sequence[Array],
    design: Array,
    at: Activations,
    to: Cotangents,
    gradients: Sequence[Array],
    team: Team = SOLO,
) -> Callable[[], None]:
    """Return what turns ``to.output``, the cotangent of the logits, into the gradients of all ``[W; b]``.

    ``dL/d[W; b] = [a; 1] delta^T`` and, a layer down, ``delta = f'(z) * W delta``, times the mask if there is one
    (Rumelhart, Hinton & Williams 1986).
    """
    inputs, deltas = (design, *(units.following for units in at.hidden)), (*to.hidden, to.output)

    def layer(k: int) -> Runs:
        def of_units(rows: slice) -> Runs:
            return product_with_transposed(deltas[k][rows], inputs[k], gradients[k].T[rows])

        def of_inputs(rows: slice) -> Runs:
            add_up = product_with_transposed(inputs[k][rows], deltas[k], gradients[k][rows])
            if not k:
                return add_up
            units, delta = at.hidden[k - 1].of(rows), deltas[k - 1][rows]
            scratch = to.scratch[rows][: len(delta)]
            return (
                *add_up,
                *product(weights[k][rows], deltas[k], delta),
                *f.pull_back(with_gaps(units.output), with_gaps(delta), with_gaps(scratch)),
                *units.masked(delta, delta),
                *(() if units.norm is None else (partial(units.norm.pull_back, delta),)),
            )

        work = (2 if k else 1) * gradients[k].size * design.shape[1]
        if gradients[k].strides[0] < gradients[k].strides[1]:  # a first layer that stands unit by unit
            return by_rows(of_units, len(deltas[k]), work, team)
        return by_rows(of_inputs, len(inputs[k]), work, team)

    def bias(k: int) -> Runs:
        # What the product has found is 0: a bias before the mean has no effect.
        norm = at.hidden[k].norm
        return () if norm is None else (partial(np.copyto, gradients[k][-1], norm.total[:, 0]),)

    downwards = map(layer, reversed(range(len(weights))))
    biases = map(bias, range(len(at.hidden)))  # the same, whoever of a team writes it
    return partial(call, tuple(chain(*downwards, *biases)))
