"""Training as a fold: a frozen state goes in, a frozen state comes out, once an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import nan

import numpy as np
from attrs import frozen

from fnn import threads
from fnn.arrays import Array, Empty, dealt, freeze, freeze_all, rng, thaw_given
from fnn.augment import NOTHING, Augmentation, draw_masks, transform_of
from fnn.data import Dataset, desired, epoch_order
from fnn.errors import DivergenceError
from fnn.metrics import hits
from fnn.network import Params, Spec, folded, gradient_pass, init_params
from fnn.optimizers import averaged
from fnn.teams import Memory, Team
from fnn.updates import Optimizer, Signal, State, bind

POPULATION = 5000  # images at least, where there are so many, whose statistics stand for those of all
PIECES = 10  # of an epoch at most, between which a run may be shown, saved or stopped ...
PIECE = 5e10  # ... each of about so many multiply-adds at least, some half a second: some ms are lost to begin one
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
    threads: int = 1  # cores that train it: processes, or where there can't be teams threads of the BLAS
    augmentation: Augmentation = NOTHING
    dropout: float = 0.0  # share of the hidden units dropped in each step
    normalizes: bool = False  # hidden units are standardised over each batch while they learn

    def steps_per_epoch(self, n: int) -> int:
        """Steps in which ``n`` samples are visited once, a short last batch included."""
        return -(-n // self.batch_size)

    def multiply_adds(self, n: int) -> float:
        """About how many a step takes: one forward and two backward for each parameter and sample."""
        return 3.0 * min(self.batch_size, n) * self.spec.parameters

    def pieces(self, n: int) -> int:
        """Pieces of an epoch, between which a run looks around: ten, or fewer if they would be short."""
        return int(max(1, min(PIECES, self.steps_per_epoch(n) * self.multiply_adds(n) / PIECE)))


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
    held, memory = [state or initial_state(plan)], Memory()
    del state
    yield held[0]
    while held[0].epoch < epochs:
        held.append(_advance(plan, data, held, steps or None, memory))
        yield held[0]


def run_epoch(plan: Plan, data: Dataset, state: TrainState, steps: int | None = None) -> TrainState:
    """Train to the end of the epoch, or for at most ``steps`` steps of it, and return the new state.

    From outside it is pure; inside, one private copy of the parameters and of the optimizer's state is overwritten at
    each step. An epoch in several pieces is bitwise the epoch in one. Raises DivergenceError with the first step at
    which the loss is NaN or infinite, and ChildProcessError where one of several processes can't be started or ends.
    """
    given = [state]
    del state  # so that what the caller doesn't hold is freed, too
    return _advance(plan, data, given, steps, Memory())


def _advance(plan: Plan, data: Dataset, given: list[TrainState], steps: int | None, memory: Memory) -> TrainState:
    """Do what ``run_epoch`` does with the state that is given away in a list."""
    team = Team(plan.threads, memory)
    state = thaw_given(given, team.empty)  # our own copy, to be overwritten
    total = plan.steps_per_epoch(len(data))
    done = state.step - state.epoch * total
    end = total if steps is None else min(total, done + steps)
    work = _work(plan, data, state, range(done, end), team)
    # Sigmoid's exp overflows by design, and a diverging run may produce anything until the check after its window.
    blas = threads.limited(1 if team.parts > 1 else plan.threads)
    with blas, np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        optimizer_state, tally = team.run(work)
    params = Params(plan.spec.sizes, freeze(state.params.theta))
    step = state.step + end - done
    return TrainState(params, freeze_all(optimizer_state), step, state.epoch + (end == total), tally)


def _work(plan: Plan, data: Dataset, state: TrainState, steps: range, team: Team) -> Callable[[], tuple[State, Tally]]:
    """Return what takes steps of an epoch on a thawed state, in each process of a team, and adds up their losses."""
    spec, n, size = plan.spec, len(data), plan.batch_size
    order = epoch_order(n, plan.seed, state.epoch)
    theta = state.params.theta
    gradient, heard = team.empty(theta.shape, theta.dtype), team.empty((1,), float)  # the loss, where a rule hears it
    update = bind(plan.optimizer, spec.sizes, theta, gradient, state.optimizer_state, team=team)
    windows = tuple(_windows(size, max(1, WINDOW // size), n, steps.start, steps.stop))
    masks = {b: _masks(plan, b, team.empty) for b in {b for _, b, _ in windows}}
    passes = {b: gradient_pass(spec, theta, gradient, b, each, plan.normalizes, team) for b, each in masks.items()}
    change = transform_of(plan.augmentation, spec.sizes[0], plan.seed, data.features)

    def work() -> tuple[State, Tally]:
        memory, step, loss, leads = state.optimizer_state, state.step, nan, team.leads
        tally = state.tally if steps.start else Tally()
        for start, size, count in windows:
            rows = order[start : start + size * count].reshape(count, size)
            wanted = desired(data, rows, plan.label_smoothing, spec.dtype)
            if change:
                wanted = np.array(wanted)
            weighted, logits, the, drops = wanted / size, np.empty_like(wanted), passes[size], masks[size]
            share = dealt(size, team.parts, 1)[team.part]
            mine, design = rows[:, share], the.design[share]
            for k in range(count):
                step += 1
                data.design.take(mine[k], axis=0, out=design, mode="clip")
                team.meet()
                if change or drops:
                    if leads and change:
                        change(step, the.design[:, :-1], wanted[k])
                        np.divide(wanted[k], size, out=weighted[k])
                    if leads and drops:
                        draw_masks(plan.dropout, rng(plan.seed, "dropout", step), drops)
                    team.meet()
                the.run(weighted[k], logits[k])
                if plan.optimizer.uses_loss:
                    if leads:
                        heard[0] = _mean_loss(spec, logits[k], wanted[k])
                    team.meet()
                    loss = float(heard[0])
                memory = update(Signal(gradient, plan.learning_rate, step, loss), memory)
            if leads:
                tally = _count(plan, tally, step - count, logits, wanted, data.labels[rows].ravel())
        return memory, tally

    return work


def _masks(plan: Plan, n: int, empty: Empty) -> tuple[Array, ...]:
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
