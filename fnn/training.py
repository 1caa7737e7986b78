"""Training as a fold: a frozen state goes in, a frozen state comes out, once an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from math import nan

import numpy as np
from attrs import frozen

from fnn import threads
from fnn.arrays import Array, empty, freeze, freeze_all, rng, thaw_given
from fnn.augment import NOTHING, Augmentation, draw_masks, transform_of
from fnn.data import Dataset, desired, epoch_order
from fnn.errors import DivergenceError
from fnn.helpers import at_once
from fnn.metrics import hits
from fnn.network import Params, Spec, folded, gradient_pass, init_params
from fnn.optimizers import averaged
from fnn.updates import BLOCK, Optimizer, Signal, State, Step, bind, in_turn

SHARED_FROM = 1 << 17  # parameters: smaller updates gain less by a second thread than it takes to wake it
POPULATION = 5000  # images at least, where there are so many, whose statistics stand for those of all
WINDOW = 1 << 12  # samples whose targets are made, and whose logits are counted, at a time


@frozen
class Plan:
    """All that is fixed while a network trains, but for the data."""

    spec: Spec
    optimizer: Optimizer
    learning_rate: float = 1e-3
    batch_size: int = 64
    label_smoothing: float = 0.0
    seed: int = 0
    threads: int = 1  # that share large layers and updates; the BLAS is held to one where there are more
    augmentation: Augmentation = NOTHING
    dropout: float = 0.0  # share of the hidden units dropped in each step
    normalizes: bool = False  # hidden units are standardised over each batch while they learn

    def steps_per_epoch(self, n: int) -> int:
        """Steps in which ``n`` samples are visited once, a short last batch included."""
        return -(-n // self.batch_size)


@frozen
class Tally:
    """Sums over the batches of an epoch so far, each batch as the network saw it before its update."""

    loss: float = 0.0
    correct: int = 0
    samples: int = 0


@frozen(eq=False)
class TrainState:
    """Everything that training changes. Randomness is no state: it is a function of the plan's seed and the step."""

    params: Params
    optimizer_state: State
    step: int = 0  # updates so far
    epoch: int = 0  # whole epochs so far
    tally: Tally = Tally()


def initial_state(plan: Plan) -> TrainState:
    """Return the state before the first step, a pure function of the plan."""
    params = init_params(plan.spec, plan.seed)
    return TrainState(params, plan.optimizer.init(params))


def answer(plan: Plan, data: Dataset, state: TrainState) -> Params:
    """Return the parameters to predict with, those of a plain network.

    They are the running mean of those that are trained, where there is one; where the plan normalises, statistics of
    images spread over ``data``, the training images, are folded in.
    """
    params = averaged(state.params, state.optimizer_state) if state.step else state.params
    if not plan.normalizes or len(plan.spec.sizes) == 2:
        return params
    return folded(plan.spec, params, data.design[:: stride(len(data))])


def stride(n: int) -> int:
    """Return which each of ``n`` images counts among those whose statistics stand for all.

    >>> stride(60_000), stride(100)
    (12, 1)
    """
    return max(1, n // POPULATION)


def train(
    plan: Plan, data: Dataset, epochs: int, state: TrainState | None = None, steps: int | None = None
) -> Iterator[TrainState]:
    """Return the lazy stream of states from ``state``, or the initial one, to the end of epoch ``epochs``.

    There is one state an epoch, or, with ``steps``, one after at most so many steps: the same states and more of them.
    The stream holds no state that it has passed on: where its reader drops each before asking for the next, no vector
    is there twice while the network trains.
    """
    held = [state or initial_state(plan)]
    del state
    yield held[0]
    while held[0].epoch < epochs:
        held.append(_advance(plan, data, held, steps or None))
        yield held[0]


def run_epoch(plan: Plan, data: Dataset, state: TrainState, steps: int | None = None) -> TrainState:
    """Train to the end of the epoch, or for at most ``steps`` steps of it, and return the new state.

    From outside it is pure; inside, one private copy of the parameters and of the optimizer's state is overwritten at
    each step. An epoch in several pieces is bitwise the epoch in one. Raises DivergenceError with the first step at
    which the loss is NaN or infinite.
    """
    given = [state]
    del state  # so that what the caller doesn't hold is freed, too
    return _advance(plan, data, given, steps)


def _advance(plan: Plan, data: Dataset, given: list[TrainState], steps: int | None) -> TrainState:
    """Do what ``run_epoch`` does with the state that is given away in a list."""
    state = thaw_given(given)  # our own copy, to be overwritten
    spec, n, size = plan.spec, len(data), plan.batch_size
    total = plan.steps_per_epoch(n)
    done = state.step - state.epoch * total
    end = total if steps is None else min(total, done + steps)
    order = epoch_order(n, plan.seed, state.epoch)
    theta, memory = state.params.theta, state.optimizer_state
    gradient = empty(theta.shape, theta.dtype)
    update = bound_update(plan, theta, gradient, memory)
    windows = tuple(_windows(size, max(1, WINDOW // size), n, done, end))
    masks = {b: masks_of(plan, b) for b in {b for _, b, _ in windows}}
    passes = {
        b: gradient_pass(spec, theta, gradient, b, each, plan.normalizes, plan.threads) for b, each in masks.items()
    }
    change = transform_of(plan.augmentation, spec.sizes[0], plan.seed, data.features)
    tally, step = state.tally if done else Tally(), state.step

    # Sigmoid's exp overflows by design, and a diverging run may produce anything until the check after its window.
    alone = threads.limited(1) if plan.threads > 1 else nullcontext()
    with alone, np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for start, size, count in windows:
            rows = order[start : start + size * count].reshape(count, size)
            wanted = desired(data, rows, plan.label_smoothing, spec.dtype)
            if change:
                wanted = np.array(wanted)
            weighted, logits, the, drops = wanted / size, np.empty_like(wanted), passes[size], masks[size]
            for k in range(count):
                step += 1
                data.design.take(rows[k], axis=0, out=the.design, mode="clip")
                if change:
                    change(step, the.design[:, :-1], wanted[k])
                    np.divide(wanted[k], size, out=weighted[k])
                if drops:
                    draw_masks(plan.dropout, rng(plan.seed, "dropout", step), drops)
                the.run(weighted[k], logits[k])
                loss = _mean_loss(spec, logits[k], wanted[k]) if plan.optimizer.uses_loss else nan
                memory = update(Signal(gradient, plan.learning_rate, step, loss), memory)
            tally = _count(plan, tally, step - count, logits, wanted, data.labels[rows].ravel())

    params = Params(spec.sizes, freeze(theta))
    return TrainState(params, freeze_all(memory), step, state.epoch + (end == total), tally)


def bound_update(plan: Plan, theta: Array, gradient: Array, memory: State) -> Step:
    """Return the plan's update of these arrays, to be overwritten, by as many threads as pay."""
    parts = plan.threads if theta.size >= SHARED_FROM else 1
    apply = at_once if parts > 1 else in_turn
    return bind(plan.optimizer, plan.spec.sizes, theta, gradient, memory, BLOCK * parts, parts, apply)


def masks_of(plan: Plan, n: int) -> tuple[Array, ...]:
    """Allocate the masks of dropout, one for each hidden layer and overwritten at each step; none without dropout."""
    hidden = plan.spec.sizes[1:-1] if plan.dropout else ()
    return tuple(empty((width, n), plan.spec.dtype) for width in hidden)


def _windows(size: int, most: int, n: int, first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Cut an epoch's steps ``first .. end`` into windows of at most so many: (first sample, batch size, batches)."""
    whole = min(end, n // size)
    for step in range(first, whole, most):
        yield step * size, size, min(most, whole - step)
    if end > n // size:
        yield n // size * size, n % size, 1


def _mean_loss(spec: Spec, logits: Array, wanted: Array) -> float:
    return float(np.mean(spec.objective.value(logits, wanted), dtype=float))


def _count(plan: Plan, tally: Tally, before: int, logits: Array, wanted: Array, labels: Array) -> Tally:
    """Add the batches of a window, logits (steps, classes, size), to a tally in order: windows leave no trace."""
    steps, _, size = logits.shape
    logits, wanted = _in_one(logits), _in_one(wanted)
    losses = np.add.reduce(plan.spec.objective.value(logits, wanted)[: steps * size].reshape(steps, size), 1, float)
    wrong = np.flatnonzero(~np.isfinite(losses))
    if wrong.size:
        raise DivergenceError(before + int(wrong[0]) + 1, float(losses[wrong[0]]), plan.learning_rate)
    correct = hits(logits[:, :-1], labels)
    return Tally(sum(losses.tolist(), tally.loss), tally.correct + correct, tally.samples + len(labels))


def _in_one(batches: Array) -> Array:
    """Copy batches (steps, classes, size) into one of shape (classes, steps size + 1): long rows add up faster.

    The last column is of zeros: NumPy adds up a single column in another order than several, which would leave a trace
    of a window with a single sample.
    """
    steps, classes, size = batches.shape
    out = np.empty((classes, steps * size + 1), batches.dtype)
    out[:, -1] = 0
    out[:, :-1].reshape(classes, steps, size)[...] = batches.swapaxes(0, 1)
    return out
