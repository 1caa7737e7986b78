"""Plain formulas, as a textbook has them, to hold the library against. Slow, and written without looking at it.

Those of the network take complex parameters, so that a derivative is an imaginary part: ``f'(x) = Im f(x + ih) / h`` is
free of cancellation, so h = 1e-30 is exact to rounding (Squire & Trapp 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from fnn import network
from fnn.arrays import Array
from fnn.network import Params, Spec

H = 1e-30
F = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "ReLU": lambda z: np.where(z.real > 0, z, 0),
}


def layers(sizes: tuple[int, ...], theta: Array) -> list[tuple[Array, Array]]:
    """Cut ``theta`` into weights and biases: all of a layer's weights row by row, then its biases.

    Of a large first layer these are columns, and each unit's bias follows its weights.
    """
    found, start = [], 0
    for i, o in pairwise(sizes):
        weights = theta[start : start + i * o].reshape(i, o)
        found.append((weights, theta[start + i * o : start + i * o + o]))
        start += i * o + o
    if sizes[1] * (sizes[0] + 1) >= network.LARGE:
        units = theta[: (sizes[0] + 1) * sizes[1]].reshape(sizes[1], sizes[0] + 1)
        found[0] = units[:, : sizes[0]].T, units[:, sizes[0]]
    return found


def normalized(z: Array) -> Array:
    """Return units (n, width) standardised over a batch, as Ioffe & Szegedy (2015) write it, without a scale."""
    mean = z.mean(axis=0)
    return (z - mean) / np.sqrt(((z - mean) ** 2).mean(axis=0) + 1e-5)


def logits(spec: Spec, theta: Array, x: Array, masks: Sequence[Array] = (), norm: bool = False) -> Array:
    """Return the logits; masks (n, width), if any, multiply the activations of the hidden layers."""
    *hidden, (weights, biases) = layers(spec.sizes, theta)
    a = x
    for k, (w, b) in enumerate(hidden):
        z = normalized(a @ w) + b if norm else a @ w + b
        a = F[spec.activation](z) * (masks[k] if masks else 1)
    return a @ weights + biases


def softmax(z: Array) -> Array:
    e = np.exp(z - z.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_of_logits(name: str, z: Array, t: Array) -> Array:
    p = softmax(z)
    per_sample = -(t * np.log(p)).sum(axis=1) if name == "cross_entropy" else ((p - t) ** 2).mean(axis=1)
    return per_sample.mean()


def loss(
    spec: Spec, theta: Array, x: Array, t: Array, l2: float = 0.0, masks: Sequence[Array] = (), norm: bool = False
) -> Array:
    penalty = sum((w**2).sum() for w, _ in layers(spec.sizes, theta))
    return loss_of_logits(spec.loss, logits(spec, theta, x, masks, norm), t) + l2 / 2 * penalty


def derivative(f: Callable[[Array], Array], theta: Array, direction: Array) -> Array:
    """Return the derivative of ``f`` along ``direction`` by the complex step."""
    return f(theta + 1j * H * direction).imag / H


def gradient(f: Callable[[Array], Array], theta: Array) -> Array:
    return np.array([derivative(f, theta, e) for e in np.eye(len(theta))])


def weights_only(params: Params) -> Array:
    """Return a mask of the flat vector: 1 for weights, 0 for biases."""
    mask = np.zeros(len(params.theta))
    for w, _ in layers(params.sizes, mask):
        w[...] = 1
    return mask


# Optimizers, as their papers write them: functions of theta, gradients, learning rate and losses that yield each theta


def sgd(theta, gradients, lr, _losses):  # type: ignore[no-untyped-def]
    for g in gradients:
        theta = theta - lr * g
        yield theta


def momentum(theta, gradients, lr, _losses, momentum):  # type: ignore[no-untyped-def]
    v = 0 * theta
    for g in gradients:
        v = momentum * v - lr * g
        theta = theta + v
        yield theta


def nag(theta, gradients, lr, _losses, momentum):  # type: ignore[no-untyped-def]
    """Sutskever's form: the gradient is taken at ``phi + mu v``, which is what is yielded."""
    v, phi = 0 * theta, theta
    for g in gradients:
        v = momentum * v - lr * g
        phi = phi + v
        yield phi + momentum * v


def rmsprop(theta, gradients, lr, _losses, beta, epsilon):  # type: ignore[no-untyped-def]
    r = 0 * theta
    for g in gradients:
        r = beta * r + (1 - beta) * g**2
        theta = theta - lr * g / (np.sqrt(r) + epsilon)
        yield theta


def adam(theta, gradients, lr, _losses, beta1, beta2, epsilon):  # type: ignore[no-untyped-def]
    m = v = 0 * theta
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        theta = theta - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield theta


def nadam(theta, gradients, lr, _losses, beta1, beta2, epsilon):  # type: ignore[no-untyped-def]
    m = v = 0 * theta
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        ahead = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
        theta = theta - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield theta


def eve(theta, gradients, lr, losses, beta1, beta2, epsilon, beta3, clip):  # type: ignore[no-untyped-def]
    m = v = 0 * theta
    d, before = 1.0, None
    for t, (g, f) in enumerate(zip(gradients, losses, strict=True), 1):
        if before is not None:
            d = beta3 * d + (1 - beta3) * np.clip(abs(f - before) / min(f, before), 1 / clip, clip)
        before = f
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        theta = theta - lr / d * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield theta


OPTIMIZERS: dict[str, Callable[..., Iterable[Array]]] = {
    row.__name__: row for row in (sgd, momentum, nag, rmsprop, adam, nadam, eve)
}
