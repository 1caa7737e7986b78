"""The network: its static specification, its parameters as one flat vector, and pure functions of both.

A batch ``x`` is ``(n, features)`` and logits are ``(n, classes)`` outside; inside, where ``fnn.passes`` takes a batch
through the layers and back, samples are columns.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, pairwise, repeat

import numpy as np
from attrs import frozen

from fnn.activations import ACTIVATIONS, Activation
from fnn.arrays import Array, freeze, freeze_all, rng, spans
from fnn.calls import call
from fnn.coded import Coded
from fnn.errors import UserError
from fnn.initializers import INITIALIZERS
from fnn.losses import LOSSES, Loss, softmax
from fnn.normalization import fold, normalized
from fnn.passes import Activations, activations, backward_pass, cotangents, forward_pass
from fnn.teams import SOLO, Team

LARGE = 1 << 17  # parameters of a first layer, from which it stands unit by unit: to move it outdates checkpoints
ROWS = 1000  # of a batch, where nothing is learned from it


@frozen
class Spec:
    """What a network is, without its numbers: hashable, comparable, printable.

    ``sizes`` are the widths of all layers, input and output included; ``()`` hidden layers make softmax regression.

    >>> Spec((784, 64, 10)).parameters
    50890
    """

    sizes: tuple[int, ...]
    activation: str = "ReLU"
    loss: str = "cross_entropy"
    initializer: str = "He"
    dtype: str = "float32"

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes ``(fan_in, fan_out)`` of the weight matrices."""
        return tuple(pairwise(self.sizes))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum((i + 1) * o for i, o in self.shapes)

    @property
    def nonlinearity(self) -> Activation:
        return ACTIVATIONS[self.activation]

    @property
    def objective(self) -> Loss:
        return LOSSES[self.loss]


@frozen(eq=False)
class Params:
    """All weights and biases as one contiguous read-only vector ``theta``; ``layers`` gives the matrices as views.

    In which order a layer's numbers stand in the vector is a matter of speed (``by_units``): ask ``layers``.
    """

    sizes: tuple[int, ...]
    theta: Array

    @property
    def layers(self) -> tuple[tuple[Array, Array], ...]:
        """Views ``(W, b)`` of each layer, shapes ``(fan_in, fan_out)`` and ``(fan_out,)``."""
        return tuple((block[:-1], block[-1]) for block in matrices(self.sizes, self.theta))


def by_units(sizes: tuple[int, ...]) -> bool:
    """Tell whether the first layer stands in the flat vector unit by unit: if it is large.

    Only the way forward takes its weights, and takes them faster where those of a unit lie together. Others are needed
    both ways, and stand input by input.

    >>> by_units((784, 166, 10)), by_units((784, 167, 10))
    (False, True)
    """
    return (sizes[0] + 1) * sizes[1] >= LARGE


def matrices(sizes: tuple[int, ...], theta: Array) -> tuple[Array, ...]:
    """Return the views ``[W; b]`` of shape ``(fan_in + 1, fan_out)`` into a flat vector, one a layer."""
    starts = np.cumsum([0, *((i + 1) * o for i, o in pairwise(sizes))]).tolist()
    first, *others = (theta[start:stop] for start, stop in pairwise(starts))
    shaped = first.reshape(sizes[1], -1).T if by_units(sizes) else first.reshape(-1, sizes[1])
    return shaped, *(flat.reshape(-1, fan_out) for flat, fan_out in zip(others, sizes[2:], strict=True))


def bias_spans(sizes: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where the biases of each layer stand in the flat vector.

    >>> bias_spans((2, 3, 1))
    (slice(6, 9, 1), slice(12, 13, 1))
    """
    stops = np.cumsum([(i + 1) * o for i, o in pairwise(sizes)]).tolist()
    first, *others = (slice(stop - o, stop, 1) for stop, o in zip(stops, sizes[1:], strict=True))
    return slice(sizes[0], first.stop, sizes[0] + 1) if by_units(sizes) else first, *others


def init_params(spec: Spec, seed: int) -> Params:
    """Draw the weights by the specification's initializer, biases zero: a pure function of (spec, seed)."""
    generator = rng(seed, "init")
    row = INITIALIZERS[spec.initializer]
    theta = np.zeros(spec.parameters, spec.dtype)
    draws = chain([row.first], repeat(row.draw))
    for block, shape in zip(matrices(spec.sizes, theta), spec.shapes, strict=True):
        block[:-1] = next(draws)(generator, *shape)
    return Params(spec.sizes, freeze(theta))


def design_matrix(x: Array, dtype: str) -> Array:
    """Return ``[x, 1]``, shape ``(n, features + 1)``: a batch with the column of ones that meets the biases."""
    out = np.empty((len(x), x.shape[1] + 1), dtype)
    out[:, :-1] = x
    out[:, -1] = 1
    return freeze(out)


def _design_of(spec: Spec, x: Array) -> Array:
    if x.ndim != 2 or x.shape[1] != spec.sizes[0]:
        raise UserError(f"x: expected shape (n, {spec.sizes[0]}), found {x.shape}")
    return design_matrix(x, spec.dtype)


@frozen(eq=False)
class Trace:
    """What the forward pass leaves for the backward pass, read-only: the batch, the activations and the logits."""

    design: Array  # [x; 1], (features + 1, n)
    layers: Activations

    @property
    def logits(self) -> Array:
        """Logits, shape ``(n, classes)``."""
        return self.layers.logits.T


def forward(spec: Spec, params: Params, x: Array) -> Trace:
    """Return the activations of a batch ``x`` of shape ``(n, features)``; ``.logits`` is ``(n, classes)``."""
    design, layers = _design_of(spec, x).T, activations(spec.sizes, spec.dtype, len(x))
    maps = [m.T for m in matrices(spec.sizes, params.theta)]
    with np.errstate(over="ignore"):
        forward_pass(spec.nonlinearity, maps, design, layers)(layers.logits)
    return freeze_all(Trace(design, layers))


def backward(spec: Spec, params: Params, trace: Trace, delta: Array) -> Array:
    """Return ``J^T delta`` for a cotangent ``delta`` of shape (n, classes), J the derivative of the logits."""
    to = cotangents(spec.sizes, spec.dtype, len(delta))
    to.output[:] = delta.T
    gradient = np.empty_like(params.theta)
    weights = [w for w, _ in params.layers]
    backward_pass(spec.nonlinearity, weights, trace.design, trace.layers, to, matrices(spec.sizes, gradient))()
    return freeze(gradient)


@frozen(eq=False)
class Pass:
    """A batch's way forward and back, bound to memory and views that are made once and serve every batch."""

    design: Array  # (n, features + 1): to be overwritten by each batch as ``[x, 1]``
    run: Callable[[Array, Array], None]


def gradient_pass(
    spec: Spec,
    theta: Array,
    gradient: Array,
    n: int,
    masks: tuple[Array, ...] = (),
    normalizes: bool = False,
    team: Team = SOLO,
) -> Pass:
    """Return the pass whose ``run(weighted, logits)`` overwrites ``gradient`` with that of a batch's mean loss.

    ``weighted`` are the targets over ``n`` and the ``logits`` are written, both (classes, n). It takes ``theta``, and
    ``masks`` of dropout, one (width, n) for each hidden layer, as they are then. A network that ``normalizes``
    standardises its hidden units over each batch. Of a ``team``, whose memory all these must be in but for targets and
    logits, which are the lead's, each process runs it.
    """
    blocks, gradients = matrices(spec.sizes, theta), matrices(spec.sizes, gradient)
    norms = tuple(normalized(block[-1], n, team.empty) for block in blocks[:-1]) if normalizes else ()
    at = activations(spec.sizes, spec.dtype, n, masks, norms, team.empty)
    to = cotangents(spec.sizes, spec.dtype, n, team.empty)
    f = spec.nonlinearity
    start_back = spec.objective.delta(1 / n, to.output)
    design = team.empty((n, spec.sizes[0] + 1), spec.dtype)
    propagate = forward_pass(f, [block.T for block in blocks], design.T, at, team)
    backpropagate = backward_pass(f, [block[:-1] for block in blocks], design.T, at, to, gradients, team)

    def run(weighted: Array, logits: Array) -> None:
        propagate(logits)
        if team.leads:
            start_back(logits, weighted)
        team.meet()
        backpropagate()

    return Pass(design, run)


def loss_and_grad(spec: Spec, params: Params, x: Array, targets: Array) -> tuple[float, Array]:
    """Return the mean loss of a batch and its gradient with respect to ``theta``.

    ``targets`` are distributions over the classes, shape ``(n, classes)``.

    >>> spec = Spec((2, 2))
    >>> params = Params((2, 2), np.zeros(6, np.float32))
    >>> loss_and_grad(spec, params, np.ones((1, 2)), np.eye(2)[:1])[1].tolist()
    [-0.5, 0.5, -0.5, 0.5, -0.5, 0.5]
    """
    if targets.shape != (len(x), spec.sizes[-1]):
        raise UserError(f"targets: expected shape {(len(x), spec.sizes[-1])}, found {targets.shape}")
    wanted = np.array(targets.T, spec.dtype, order="C")
    gradient, logits = np.empty_like(params.theta), np.empty_like(wanted)
    the = gradient_pass(spec, params.theta, gradient, len(x))
    the.design[:] = _design_of(spec, x)
    with np.errstate(over="ignore"):
        the.run(wanted / len(x), logits)
    return float(np.mean(spec.objective.value(logits, wanted))), freeze(gradient)


def folded(spec: Spec, params: Params, design: Array) -> Params:
    """Return the plain network that a normalised one is, given the images ``[x, 1]`` that its statistics are of.

    >>> spec = Spec((1, 1, 1), dtype="float64")
    >>> plain = folded(spec, Params((1, 1, 1), np.ones(4)), np.array([[1.0, 1], [3, 1]]))
    >>> plain.theta.round(3).tolist()
    [1.0, -1.0, 1.0, 1.0]
    """
    theta = np.array(params.theta)
    a = design.T
    with np.errstate(over="ignore", invalid="ignore"):  # the parameters may have diverged
        for block in matrices(spec.sizes, theta)[:-1]:
            a = fold(block, lambda z: call(spec.nonlinearity.apply(z)), a)
    return Params(spec.sizes, freeze(theta))


def logits_in_batches(spec: Spec, params: Params, design: Array | Coded, batch_size: int = ROWS) -> Array:
    """Return the logits, shape ``(classes, n)``, of a design matrix ``[x, 1]``, in batches of bounded memory."""
    maps = [m.T for m in matrices(spec.sizes, params.theta)]
    out = np.empty((spec.sizes[-1], len(design)), spec.dtype)
    at = activations(spec.sizes, spec.dtype, min(batch_size, len(design)))
    with np.errstate(over="ignore"):
        for span in spans(len(design), batch_size):
            batch = design[span].T
            at = at if at.logits.shape == out[:, span].shape else activations(spec.sizes, spec.dtype, batch.shape[1])
            forward_pass(spec.nonlinearity, maps, batch, at)(at.logits)
            out[:, span] = at.logits
    return freeze(out)


def predict(spec: Spec, params: Params, x: Array, batch_size: int = ROWS) -> Array:
    """Return the probabilities of the classes, shape ``(n, classes)``."""
    return softmax(logits_in_batches(spec, params, _design_of(spec, x), batch_size)).T
