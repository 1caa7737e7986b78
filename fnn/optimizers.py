"""Optimizers: pure functions from a signal, a state and parameters to new parameters and a new state.

The rule of each stands here once, next to its formula and its source: the numbers of a step, and an elementwise
function of one block of the flat vectors. Adding an optimizer is adding a record for its state, a rule and a row of
``OPTIMIZERS``.

Running averages are kept as discounted sums ``S_t = beta S_{t-1} + x_t``, two passes over memory instead of three. The
average that papers call bias-corrected is ``S_t`` over the sum of its weights, ``1 + beta + ... + beta^{t-1}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf, isfinite, log, sqrt

import numpy as np
from attrs import evolve, frozen

from fnn.arrays import Array, freeze
from fnn.network import Params
from fnn.schedules import Schedule
from fnn.updates import Block, OnBlock, Optimizer, Signal, State

FLUSH_EVERY = 64  # steps: four passes over memory, made rare


def total_weight(beta: float, t: int) -> float:
    """Return ``1 + beta + ... + beta^{t-1}``, the sum of the weights in a discounted sum of ``t`` terms."""
    return (1 - beta**t) / (1 - beta)


def flush(beta: float, step: int, *sums: Array) -> None:
    """Round discounted sums near the smallest normal number to zero, at least every FLUSH_EVERY steps.

    A sum that is fed no more decays into the subnormal range, where a product costs 40 to 80 times as much. Adding and
    subtracting 2^-90 (2^-956 in double precision) rounds it to a multiple of 2^-113 (2^-1008), which takes no step
    into that range for another 12 halvings. The error is at most 2^-114 per flush, about 5e-35.
    """
    if step % _flush_interval(beta):
        return
    for array in sums:
        bias = 2.0**-90 if array.dtype == np.float32 else 2.0**-956
        array += bias
        array -= bias


@lru_cache
def _flush_interval(beta: float) -> int:
    return max(1, min(FLUSH_EVERY, int(12 * log(0.5) / log(beta)))) if beta > 0 else FLUSH_EVERY


def zeros(params: Params) -> Array:
    return freeze(np.zeros_like(params.theta))


def discount(total: Array, beta: Array, term: Array) -> None:
    """Update the discounted sum ``S = beta S + x`` in place."""
    total *= beta
    total += term


@frozen
class Stateless:
    """The state of an optimizer that remembers nothing."""


def sgd() -> Optimizer:
    """Stochastic gradient descent: ``theta -= lr g`` (Robbins & Monro 1951)."""

    def rule(signal: Signal) -> OnBlock:
        (rate,) = signal.numbers(signal.learning_rate)

        def on_block(block: Block, _state: Stateless) -> None:
            theta, g, s = block.arrays
            np.multiply(g, rate, out=s)
            theta -= s

        return on_block

    return Optimizer(lambda _params: Stateless(), rule)


@frozen(eq=False)
class Momentum:
    u: Array  # discounted sum of gradients


def momentum(momentum: float = 0.9) -> Optimizer:
    """Heavy ball: ``u = mu u + g``, ``theta -= lr u`` (Polyak 1964).

    At a constant learning rate the velocity of Sutskever et al. 2013 is ``-lr u``.
    """

    def rule(signal: Signal) -> OnBlock:
        rate, mu = signal.numbers(signal.learning_rate, momentum)

        def on_block(block: Block, state: Momentum) -> None:
            (theta, g, s), u = block.arrays, state.u
            discount(u, mu, g)
            np.multiply(u, rate, out=s)
            theta -= s
            flush(momentum, signal.step, u)

        return on_block

    return Optimizer(lambda params: Momentum(zeros(params)), rule)


@frozen(eq=False)
class Nesterov:
    ahead: Array  # discounted sum of gradients, discounted for the next step already


def nag(momentum: float = 0.9) -> Optimizer:
    """Nesterov's accelerated gradient: ``u = mu u + g``, ``theta -= lr (g + mu u)`` (Nesterov 1983).

    The form of Bengio et al. 2013 (eq. 7): stored as ``theta`` is the look-ahead point, where the gradient is taken.
    The state holds ``mu u``, which both formulas need.
    """

    def rule(signal: Signal) -> OnBlock:
        rate, mu = signal.numbers(signal.learning_rate, momentum)

        def on_block(block: Block, state: Nesterov) -> None:
            (theta, g, s), ahead = block.arrays, state.ahead
            ahead += g
            ahead *= mu
            np.add(ahead, g, out=s)
            s *= rate
            theta -= s
            flush(momentum, signal.step, ahead)

        return on_block

    return Optimizer(lambda params: Nesterov(zeros(params)), rule)


@frozen(eq=False)
class RMSProp:
    v: Array  # discounted sum of squared gradients


def rmsprop(beta: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """RMSProp: ``r = beta r + (1 - beta) g^2``, ``theta -= lr g / (sqrt(r) + epsilon)`` (Tieleman & Hinton 2012).

    The state holds ``v = r / (1 - beta)``, so both terms of the quotient are divided by ``sqrt(1 - beta)``.
    """
    root = sqrt(1 / (1 - beta))

    def rule(signal: Signal) -> OnBlock:
        decay, least, rate = signal.numbers(beta, epsilon * root, signal.learning_rate * root)

        def on_block(block: Block, state: RMSProp) -> None:
            (theta, g, s), v = block.arrays, state.v
            discount(v, decay, np.square(g, out=s))
            np.sqrt(v, out=s)
            s += least
            np.divide(g, s, out=s)
            s *= rate
            theta -= s
            flush(beta, signal.step, v)

        return on_block

    return Optimizer(lambda params: RMSProp(zeros(params)), rule)


@frozen(eq=False)
class Adam:
    m: Array  # discounted sum of gradients
    v: Array  # discounted sum of squared gradients


def adam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam: ``theta -= lr m^ / (sqrt(v^) + epsilon)`` with bias-corrected averages (Kingma & Ba 2015, algorithm 1).

    With the total weights ``W_i = 1 + beta_i + ... + beta_i^{t-1}``, ``m^ = m / W_1`` and ``v^ = v / W_2``, the step is
    ``lr sqrt(W_2) / W_1 * m / (sqrt(v) + epsilon sqrt(W_2))``.
    """

    def rule(signal: Signal) -> OnBlock:
        t = signal.step
        root = sqrt(total_weight(beta2, t))
        decay1, decay2, least = signal.numbers(beta1, beta2, epsilon * root)
        (rate,) = signal.numbers(signal.learning_rate * root / total_weight(beta1, t))

        def on_block(block: Block, state: Adam | Eve) -> None:
            (theta, g, _s), m, v = block.arrays, state.m, state.v
            discount(m, decay1, g)
            discount(v, decay2, np.square(g, out=g))  # the gradient is used up: its memory serves as scratch
            np.sqrt(v, out=g)
            g += least
            np.divide(m, g, out=g)
            g *= rate
            theta -= g
            flush(beta1, t, m)
            flush(beta2, t, v)

        return on_block

    return Optimizer(lambda params: Adam(zeros(params), zeros(params)), rule)


@frozen(eq=False)
class NAdam:
    ahead: Array  # discounted sum of gradients, discounted for the next step already
    v: Array  # discounted sum of squared gradients


def nadam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam with Nesterov's momentum (Dozat 2016, "Incorporating Nesterov momentum into Adam", with constant mu).

    ``theta -= lr m- / (sqrt(v^) + epsilon)``, where ``m- = beta1 m / W_1(t+1) + g / W_1(t)`` looks one step ahead: the
    sum of gradients over the *next* step's total weight. Dozat's extra factor beta2 on ``v^`` is left out, as in optax,
    since it would bias the first steps. The state holds ``beta1 m``.
    """

    def rule(signal: Signal) -> OnBlock:
        t = signal.step
        root, weight = sqrt(total_weight(beta2, t)), total_weight(beta1, t)
        decay1, decay2, least = signal.numbers(beta1, beta2, epsilon * root)
        growth, rate = signal.numbers(weight / total_weight(beta1, t + 1), signal.learning_rate * root / weight)
        grows = bool(growth != 1)  # until some 150 steps, in single precision: a pass more

        def on_block(block: Block, state: NAdam) -> None:
            (theta, g, s), ahead, v = block.arrays, state.ahead, state.v
            ahead += g
            ahead *= decay1
            discount(v, decay2, np.square(g, out=s))
            if grows:
                np.multiply(ahead, growth, out=s)
                s += g
            else:
                np.add(ahead, g, out=s)
            np.sqrt(v, out=g)  # the gradient is used up: its memory serves as a second scratch
            g += least
            s /= g
            s *= rate
            theta -= s
            flush(beta1, t, ahead)
            flush(beta2, t, v)

        return on_block

    return Optimizer(lambda params: NAdam(zeros(params), zeros(params)), rule)


@frozen(eq=False)
class Eve:
    m: Array
    v: Array
    d: float  # running average of the loss's relative change
    loss: float  # of the step before


def eve(
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, beta3: float = 0.999, clip: float = 10.0
) -> Optimizer:
    """Eve: Adam whose learning rate is divided by ``d``, a running average of the loss's relative change.

    ``d = beta3 d + (1 - beta3) clip(|f_t - f_{t-1}| / min(f_t, f_{t-1}), 1/c, c)``, 1 at the first step, for losses
    whose minimum is 0 (Hayashi, Koushik & Neubig 2018, "Eve: a gradient based optimization method with locally and
    globally adaptive learning rates", algorithm 1).
    """

    def begin(signal: Signal, state: Eve) -> tuple[Signal, Eve]:
        d = 1.0
        if signal.step > 1:
            low = min(signal.loss, state.loss)
            change = abs(signal.loss - state.loss) / low if low > 0 else clip
            d = beta3 * state.d + (1 - beta3) * min(max(change, 1 / clip), clip)
        rate = signal.learning_rate / d
        return signal._replace(learning_rate=rate), evolve(state, d=d, loss=signal.loss)

    init = lambda params: Eve(zeros(params), zeros(params), 1.0, float("nan"))  # noqa: E731
    return Optimizer(init, adam(beta1, beta2, epsilon).rule, begin, uses_loss=True)


def with_l2(strength: float) -> Callable[[Optimizer], Optimizer]:
    """L2 regularisation: add ``strength W``, the gradient of ``strength/2 |W|^2``, to the gradient; not for biases."""

    def wrap(optimizer: Optimizer) -> Optimizer:
        def rule(signal: Signal) -> OnBlock:
            then, (factor,) = optimizer.rule(signal), signal.numbers(strength)

            def on_block(block: Block, state: State) -> None:
                theta, g, s = block.arrays
                np.multiply(theta, factor, out=s)
                for biases in block.biases:
                    s[biases] = 0
                g += s
                then(block, state)

            return on_block

        return evolve(optimizer, rule=rule) if strength else optimizer

    return wrap


def with_decoupled_decay(strength: float) -> Callable[[Optimizer], Optimizer]:
    """Decoupled weight decay: ``W -= lr strength W`` before each step, not for biases (Loshchilov & Hutter 2019)."""

    def wrap(optimizer: Optimizer) -> Optimizer:
        def rule(signal: Signal) -> OnBlock:
            then, (rest,) = optimizer.rule(signal), signal.numbers(1 - signal.learning_rate * strength)

            def on_block(block: Block, state: State) -> None:
                theta = block.arrays[0]
                kept = [theta[biases].copy() for biases in block.biases]
                theta *= rest
                for biases, values in zip(block.biases, kept, strict=True):
                    theta[biases] = values
                then(block, state)

            return on_block

        return evolve(optimizer, rule=rule) if strength else optimizer

    return wrap


def with_clipping(limit: float) -> Callable[[Optimizer], Optimizer]:
    """Clip by norm: ``g *= min(1, limit / |g|)`` (Pascanu et al. 2013, algorithm 1)."""

    def wrap(optimizer: Optimizer) -> Optimizer:
        def begin(signal: Signal, state: State) -> tuple[Signal, State]:
            norm = float(np.linalg.norm(signal.grad))
            if not isfinite(norm):  # its square overflows from 1.8e19 on in single precision
                norm = float(np.linalg.norm(signal.grad.astype(float)))
            return optimizer.begin(signal._replace(scale=limit / norm) if norm > limit else signal, state)

        def rule(signal: Signal) -> OnBlock:
            then, (scale,) = optimizer.rule(signal), signal.numbers(signal.scale)

            def on_block(block: Block, state: State) -> None:
                block.arrays[1][:] *= scale
                then(block, state)

            return then if signal.scale == 1 else on_block

        return evolve(optimizer, begin=begin, rule=rule) if limit < inf else optimizer

    return wrap


def with_schedule(schedule: Schedule) -> Callable[[Optimizer], Optimizer]:
    """Multiply the learning rate by a schedule's factor of the step."""

    def wrap(optimizer: Optimizer) -> Optimizer:
        def begin(signal: Signal, state: State) -> tuple[Signal, State]:
            rate = signal.learning_rate * schedule(signal.step)
            return optimizer.begin(signal._replace(learning_rate=rate), state)

        return evolve(optimizer, begin=begin)

    return wrap


@frozen(eq=False)
class Averaged:
    inner: State
    mean: Array  # running mean of the parameters


def with_averaging(decay: float) -> Callable[[Optimizer], Optimizer]:
    """Keep a running mean of the parameters beside them: ``mean_t = sum_k decay^{t-k} theta_k / W_t``.

    It is what ``averaged`` returns; training doesn't see it (Polyak & Juditsky 1992, "Acceleration of stochastic
    approximation by averaging", with weights that decay). With ``W_t = 1 + decay + ... + decay^{t-1}`` it is
    a mean from the first step on; its update is ``mean += (theta - mean) / W_t``.
    """

    def wrap(optimizer: Optimizer) -> Optimizer:
        def begin(signal: Signal, state: Averaged) -> tuple[Signal, Averaged]:
            signal, inner = optimizer.begin(signal, state.inner)
            return signal, Averaged(inner, state.mean)

        def rule(signal: Signal) -> OnBlock:
            first, (weight,) = optimizer.rule(signal), signal.numbers(total_weight(decay, signal.step))

            def on_block(block: Block, state: Averaged) -> None:
                first(block, state.inner)
                (theta, _g, s), mean = block.arrays, state.mean
                np.subtract(theta, mean, out=s)
                s /= weight
                mean += s

            return on_block

        init = lambda params: Averaged(optimizer.init(params), zeros(params))  # noqa: E731
        return evolve(optimizer, init=init, begin=begin, rule=rule) if decay else optimizer

    return wrap


def averaged(params: Params, state: State) -> Params:
    """Return the parameters to predict with: their running mean where the optimizer's state has one."""
    return evolve(params, theta=state.mean) if isinstance(state, Averaged) else params


#: Every optimizer by its name on the command line; its parameters' names are those of the command line's options.
OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nag": nag,
    "rmsprop": rmsprop,
    "adam": adam,
    "nadam": nadam,
    "eve": eve,
}
