"""The network: its static specification, its parameters as one flat vector, and the forward and backward pass.

Inside, activations are *features-major*, shape ``(features, n)``, and carry a last row of ones, so that a layer's weights
and biases are one matrix: ``[W; b]`` of shape ``(fan_in + 1, fan_out)``. Then each layer is one matrix product forward,
``z = [W; b]^T [a; 1]``, and two backward, with no copy, no transposition in memory and no separate sum for biases.
Outside, a batch ``x`` is ``(n, features)`` and logits are ``(n, classes)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from attrs import evolve, frozen

from fnn.activations import ACTIVATIONS, Activation
from fnn.arrays import Array, freeze, freeze_all, rng, spans
from fnn.errors import UserError
from fnn.initializers import INITIALIZERS
from fnn.losses import LOSSES, Loss, softmax


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
    """All weights and biases as one contiguous read-only vector ``theta``; ``layers`` gives the matrices as views."""

    sizes: tuple[int, ...]
    theta: Array

    @property
    def layers(self) -> tuple[tuple[Array, Array], ...]:
        """Views ``(W, b)`` of each layer, shapes ``(fan_in, fan_out)`` and ``(fan_out,)``."""
        return tuple((block[:-1], block[-1]) for block in matrices(self.sizes, self.theta))


def matrices(sizes: tuple[int, ...], theta: Array) -> tuple[Array, ...]:
    """Return the views ``[W; b]`` of shape ``(fan_in + 1, fan_out)`` into a flat vector, one a layer."""
    spans = weight_spans(sizes)
    return tuple(
        theta[w.start : w.stop + fan_out].reshape(-1, fan_out) for w, fan_out in zip(spans, sizes[1:], strict=True)
    )


def weight_spans(sizes: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where the weights of each layer stand in the flat vector; its biases follow them.

    >>> weight_spans((2, 3, 1))
    (slice(0, 6, None), slice(9, 12, None))
    """
    starts = np.cumsum([0, *((i + 1) * o for i, o in pairwise(sizes))]).tolist()
    return tuple(slice(start, start + i * o) for start, (i, o) in zip(starts, pairwise(sizes), strict=False))


def init_params(spec: Spec, seed: int) -> Params:
    """Draw the weights by the specification's initializer, biases zero: a pure function of (spec, seed)."""
    generator = rng(seed, "init")
    draw = INITIALIZERS[spec.initializer].draw
    theta = np.zeros(spec.parameters, spec.dtype)
    for block, (fan_in, fan_out) in zip(matrices(spec.sizes, theta), spec.shapes, strict=True):
        block[:-1] = draw(generator, fan_in, fan_out)
    return Params(spec.sizes, freeze(theta))


@frozen(eq=False)
class Workspace:
    """Private arrays for one pass over a batch of ``n`` samples: allocated once, written at every step."""

    inputs: tuple[Array, ...]  # [a; 1] of each hidden layer, (width + 1, n)
    outputs: tuple[Array, ...]  # the same memory without the row of ones: what a layer writes
    deltas: tuple[Array, ...]  # dL/dz of each hidden layer, (width, n)
    scratch: tuple[Array, ...]  # of the same shapes
    delta: Array  # dL/dz of the output layer, (classes, n)
    logits: Array  # (classes, n)


def workspace(spec: Spec, n: int) -> Workspace:
    """Allocate a workspace for batches of ``n`` samples."""
    *hidden, classes = spec.sizes[1:]
    inputs = tuple(np.ones((width + 1, n), spec.dtype) for width in hidden)
    deltas, scratch = (tuple(np.empty((width, n), spec.dtype) for width in hidden) for _ in range(2))
    delta, logits = (np.empty((classes, n), spec.dtype) for _ in range(2))
    return Workspace(inputs, tuple(a[:-1] for a in inputs), deltas, scratch, delta, logits)


def propagate(
    activation: Activation, maps: Sequence[Array], design: Array, w: Workspace, logits: Array
) -> None:
    """Write the activations ``a = f([W; b]^T [a; 1])`` layer by layer into ``w`` and the last layer's ``z`` into ``logits``.

    ``maps`` are the transposed matrices ``[W; b]^T``, ``design`` the batch as ``[x; 1]``, (features + 1, n).
    """
    a = design
    for matrix, z, following in zip(maps, w.outputs, w.inputs, strict=False):
        np.dot(matrix, a, out=z)
        activation.apply(z)
        a = following
    np.dot(maps[-1], a, out=logits)


def backpropagate(
    activation: Activation, weights: Sequence[Array], design: Array, w: Workspace, gradients: Sequence[Array]
) -> None:
    """Turn ``w.delta = dL/dz`` of the output layer into the gradients of all ``[W; b]`` (Rumelhart et al. 1986).

    ``dL/d[W; b] = [a; 1] delta^T`` and, a layer down, ``delta = f'(z) * W delta``.
    """
    delta = w.delta
    for k in range(len(weights) - 1, 0, -1):
        np.dot(w.inputs[k - 1], delta.T, out=gradients[k])
        below = w.deltas[k - 1]
        np.dot(weights[k], delta, out=below)
        np.multiply(below, activation.slope(w.outputs[k - 1], w.scratch[k - 1]), out=below)
        delta = below
    np.dot(design, delta.T, out=gradients[0])


def design_matrix(x: Array, dtype: str) -> Array:
    """Return ``[x, 1]``, shape ``(n, features + 1)``: a batch with the column of ones that meets the biases."""
    out = np.empty((len(x), x.shape[1] + 1), dtype)
    out[:, :-1] = x
    out[:, -1] = 1
    return out


@frozen(eq=False)
class Trace:
    """What the forward pass leaves for the backward pass: the batch, the activations and the logits, all read-only."""

    design: Array  # [x; 1], (features + 1, n)
    work: Workspace

    @property
    def logits(self) -> Array:
        """Logits, shape ``(n, classes)``."""
        return self.work.logits.T


def forward(spec: Spec, params: Params, x: Array) -> Trace:
    """Return the activations of a batch ``x`` of shape ``(n, features)``; ``.logits`` is ``(n, classes)``."""
    if x.ndim != 2 or x.shape[1] != spec.sizes[0]:
        raise UserError(f"x: expected shape (n, {spec.sizes[0]}), found {x.shape}")
    design = freeze(design_matrix(x, spec.dtype)).T
    work = workspace(spec, len(x))
    maps = [m.T for m in matrices(spec.sizes, params.theta)]
    with np.errstate(over="ignore"):
        propagate(spec.nonlinearity, maps, design, work, work.logits)
    return freeze_all(Trace(design, work))


def backward(spec: Spec, params: Params, trace: Trace, delta: Array) -> Array:
    """Return ``J^T delta``, the gradient with respect to ``theta``, of logits whose cotangent is ``delta`` (n, classes)."""
    hidden = workspace(spec, len(delta))
    work = evolve(trace.work, deltas=hidden.deltas, scratch=hidden.scratch, delta=np.ascontiguousarray(delta.T))
    gradient = np.empty_like(params.theta)
    weights = [w for w, _ in params.layers]
    backpropagate(spec.nonlinearity, weights, trace.design, work, matrices(spec.sizes, gradient))
    return freeze(gradient)


def loss_and_grad(spec: Spec, params: Params, x: Array, targets: Array) -> tuple[float, Array]:
    """Return the mean loss of a batch and its gradient with respect to ``theta``.

    ``targets`` are distributions over the classes, shape ``(n, classes)``.

    >>> spec = Spec((2, 2))
    >>> params = Params((2, 2), np.zeros(6, np.float32))
    >>> loss_and_grad(spec, params, np.ones((1, 2)), np.eye(2)[:1])[1].tolist()
    [-0.5, 0.5, -0.5, 0.5, -0.5, 0.5]
    """
    trace = forward(spec, params, x)
    objective, logits = spec.objective, trace.work.logits
    delta = np.empty_like(logits)
    objective.delta(logits, targets.T, delta)
    delta /= len(x)
    return float(np.mean(objective.value(logits, targets.T))), backward(spec, params, trace, delta.T)


def predict(spec: Spec, params: Params, x: Array, batch_size: int = 1000) -> Array:
    """Return the probabilities of the classes, shape ``(n, classes)``, computed in batches of bounded memory."""
    batches = (forward(spec, params, x[s]).work.logits for s in spans(len(x), batch_size))
    return freeze(np.concatenate([softmax(logits).T for logits in batches] or [np.empty((0, spec.sizes[-1]))]))
