"""Training as a fold: pure, exact in pieces, the literal loop over batches, and it learns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnn import training
from fnn.activations import ACTIVATIONS
from fnn.arrays import freeze, map_arrays, rng, same
from fnn.augment import Augmentation, draw_masks, dropped_of_256, fill_mask, transform_of
from fnn.data import Dataset, dataset, epoch_order, targets
from fnn.errors import DivergenceError, UserError
from fnn.losses import LOSSES
from fnn.network import Params, Spec, design_matrix, folded, forward, gradient_pass, loss_and_grad
from fnn.optimizers import (
    OPTIMIZERS,
    averaged,
    with_averaging,
    with_clipping,
    with_decoupled_decay,
    with_l2,
    with_schedule,
)
from fnn.schedules import warmup_cosine
from fnn.training import Plan, TrainState, answer, initial_state, run_epoch, train
from fnn.updates import Optimizer, Signal

#: Everything that changes batches at random.
CHANGED = {"augmentation": Augmentation(True, 1, 10, 0.1, 5, 1.0, 0.3, 0.1, 0.1), "dropout": 0.2}
EVERY_OPTIMIZER = pytest.mark.parametrize("name", OPTIMIZERS)


@pytest.fixture(autouse=True)
def layouts(some_by_units: None) -> None:
    """The first layer stands unit by unit."""


def blobs(n: int, dtype: str = "float64", classes: int = 3) -> Dataset:
    """Return images of 4 x 4 that are bright where their class says."""
    labels = np.arange(n) % classes
    noise = np.random.default_rng(0).integers(0, 100, (n, 16), np.uint8)
    noise[np.arange(n), labels] += 155
    return dataset(noise.reshape(n, 4, 4), labels, classes, dtype)


def plan(optimizer: Optimizer, batch: int = 8, dtype: str = "float64", **changes: object) -> Plan:
    spec = Spec((16, 6, 5, 3), "tanh", dtype=dtype)
    return evolve(Plan(spec, optimizer, 0.01, batch, label_smoothing=0.1, seed=3), **changes)


def wrapped(name: str) -> Optimizer:
    inner = with_clipping(0.5)(with_l2(1e-3)(with_decoupled_decay(0.1)(OPTIMIZERS[name]())))
    return with_averaging(0.9)(with_schedule(warmup_cosine(30))(inner))


def literal_epoch(plan: Plan, data: Dataset, state: TrainState) -> tuple[TrainState, float, int]:
    """Return an epoch by the public functions of one batch: state, sum of losses, number of correct ones."""
    order, params, memory, step = epoch_order(len(data), plan.seed, state.epoch), state.params, state.optimizer_state, 0
    total, correct = 0.0, 0
    for start in range(0, len(data), plan.batch_size):
        rows = order[start : start + plan.batch_size]
        wanted = targets(data.labels[rows], data.classes, plan.label_smoothing, plan.spec.dtype).T
        loss, gradient = loss_and_grad(plan.spec, params, data.x[rows], wanted)
        a = data.design[rows]
        blocks = params.layers
        for k, (w, b) in enumerate(blocks):
            z = (a[:, :-1] if k == 0 else a) @ w + b
            a = np.tanh(z) if k < len(blocks) - 1 else z
        total, correct = total + loss * len(rows), correct + int((a.argmax(axis=1) == data.labels[rows]).sum())
        step += 1
        signal = Signal(gradient, plan.learning_rate, state.step + step, loss)
        params, memory = plan.optimizer.update(signal, memory, params)
    return evolve(state, params=params, optimizer_state=memory, step=state.step + step), total, correct


@EVERY_OPTIMIZER
@pytest.mark.parametrize("batch", [1, 7, 8, 40, 64])  # 40 samples: with and without a short last one, one too large
def test_an_epoch_is_the_literal_loop_over_its_batches(name: str, batch: int) -> None:
    data, the = blobs(40), plan(wrapped(name), batch)
    first = run_epoch(the, data, initial_state(the))
    for start in (initial_state(the), first):
        done, (literal, loss, correct) = run_epoch(the, data, start), literal_epoch(the, data, start)
        assert (done.step, done.epoch) == (literal.step, start.epoch + 1) and done.step % -(-40 // batch) == 0
        np.testing.assert_allclose(done.params.theta, literal.params.theta, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(done.tally.loss, loss, rtol=1e-12)
        assert (done.tally.correct, done.tally.samples) == (correct, 40)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_state_answers_by_the_running_mean_of_its_parameters(name: str) -> None:
    data, the = blobs(40), plan(wrapped(name))
    states = list(train(the, data, 2, steps=1))
    assert same(answer(the, data, states[0]), states[0].params) and same(answer(the, data, states[1]), states[1].params)
    weights = 0.9 ** np.arange(len(states) - 2, -1, -1)
    expected = weights @ np.array([state.params.theta for state in states[1:]]) / weights.sum()
    np.testing.assert_allclose(answer(the, data, states[-1]).theta, expected, rtol=1e-12, atol=1e-14)
    bare = evolve(the, optimizer=OPTIMIZERS[name]())
    assert all(answer(bare, data, state) is state.params for state in train(bare, data, 1))


def test_a_normalised_network_answers_as_a_plain_one_by_the_statistics_of_images_all_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "POPULATION", 13)  # of 40: every third
    data, the = blobs(40), plan(wrapped("adam"), normalizes=True)
    for state in train(the, data, 2, steps=3):
        mean = averaged(state.params, state.optimizer_state) if state.step else state.params
        assert same(answer(the, data, state), folded(the.spec, mean, data.design[::3]))
        assert not same(answer(the, data, state), answer(evolve(the, normalizes=False), data, state))
    pieces = list(train(the, data, 2, steps=2))
    assert same(pieces[-1], state) and same(list(train(the, data, 2, pieces[3], steps=1))[-1], state)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("batch", [3, 8, 300])  # windows of many steps, and batches larger than the data
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_epoch_in_pieces_is_bitwise_the_epoch_in_one(name: str, batch: int, dtype: str) -> None:
    data, the = blobs(100, dtype), plan(wrapped(name), batch, dtype)
    whole = list(train(the, data, 2))
    for steps in (1, 2, 5, 1000):
        pieces = list(train(the, data, 2, steps=steps))
        assert same(pieces[-1], whole[-1])
        middle = pieces[len(pieces) // 2]
        assert same(list(train(the, data, 2, middle, steps=3))[-1], whole[-1])


@pytest.mark.parametrize("batch", [1, 7, 40, 64])
def test_a_changed_epoch_is_the_literal_loop_too(batch: int) -> None:
    """Batch t of the run is changed by numbers of (seed, t), so are the masks of its units; the tally counts these."""
    data, the = blobs(40), plan(OPTIMIZERS["sgd"](), batch, **CHANGED)
    change = transform_of(the.augmentation, 16, the.seed)
    theta = np.array(initial_state(the).params.theta)
    step, total, correct = 0, 0.0, 0
    for epoch in range(2):
        total, correct, order = 0.0, 0, epoch_order(40, the.seed, epoch)
        for start in range(0, 40, batch):
            rows = order[start : start + batch]
            step, n = step + 1, len(rows)
            x, wanted = np.array(data.x[rows]), np.array(targets(data.labels[rows], 3, 0.1, "float64"))
            change(step, x, wanted)  # type: ignore[misc]
            masks = tuple(np.empty((width, n)) for width in (6, 5))
            draw_masks(0.2, rng(the.seed, "dropout", step), masks)
            gradient, z = np.empty_like(theta), np.empty((3, n))
            each = gradient_pass(the.spec, theta, gradient, n, masks)
            each.design[:] = design_matrix(x, "float64")
            each.run(wanted / n, z)
            total += the.spec.objective.value(z, wanted).sum()
            correct += int((z.argmax(axis=0) == data.labels[rows]).sum())
            theta -= 0.01 * gradient
    done = list(train(the, data, 2))[-1]
    np.testing.assert_allclose(done.params.theta, theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(done.tally.loss, total, rtol=1e-10)
    assert (done.tally.correct, done.tally.samples) == (correct, 40)


@pytest.mark.parametrize("batch", [3, 8, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_changed_epoch_in_pieces_is_bitwise_the_one_in_one(name: str, batch: int, dtype: str) -> None:
    data, the = blobs(100, dtype), plan(wrapped(name), batch, dtype, **CHANGED)
    design = data.design.copy()
    whole = list(train(the, data, 2))
    for steps in (1, 2, 5):
        pieces = list(train(the, data, 2, steps=steps))
        assert same(pieces[-1], whole[-1])
        assert same(list(train(the, data, 2, pieces[len(pieces) // 2], steps=3))[-1], whole[-1])
    assert (design == data.design).all() and not data.design.flags.writeable


def test_what_needs_square_images_is_refused_before_a_step_is_made() -> None:
    data = dataset(np.zeros((4, 15), np.uint8), np.arange(4) % 3, 3, "float64")
    the = evolve(plan(OPTIMIZERS["sgd"](), **CHANGED), spec=Spec((15, 3), dtype="float64"))
    with pytest.raises(UserError, match="--flip: expected images as wide as they are high, found 15 pixels"):
        run_epoch(the, data, initial_state(the))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_dropout_leaves_the_mean_of_what_a_linear_network_sees(seed: int, rate: float) -> None:
    """The mean over 256 masks that take every value of a byte once, for each unit, is the plain network's logits."""
    random = np.random.default_rng(seed)
    spec = Spec((4, 6, 3), "identity", dtype="float64")
    theta, x = random.normal(size=spec.parameters), random.normal(size=(1, 4))
    mask, z = np.empty((6, 1)), np.empty((3, 1))
    the = gradient_pass(spec, theta, np.empty_like(theta), 1, (mask,))
    the.design[:] = design_matrix(x, "float64")
    values, total = random.permuted(np.tile(np.arange(256, dtype=np.uint8), (6, 1)), axis=1), np.zeros((3, 1))
    for column in values.T:
        fill_mask(column, dropped_of_256(rate), mask)
        the.run(np.zeros((3, 1)), z)
        total += z
    expected = forward(spec, Params(spec.sizes, freeze(theta)), x).logits.T
    np.testing.assert_allclose(total / 256, expected, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 20), st.integers(1, 3))
def test_a_stream_ends_with_its_last_epoch_however_it_is_cut(n: int, batch: int, steps: int, epochs: int) -> None:
    data, the = blobs(n), plan(OPTIMIZERS["sgd"](), batch)
    states = list(train(the, data, epochs, steps=steps))
    per_epoch = -(-n // batch)
    assert (states[-1].step, states[-1].epoch, states[-1].tally.samples) == (epochs * per_epoch, epochs, n)
    assert len(states) == 1 + epochs * -(-per_epoch // min(steps, per_epoch))
    assert len(list(train(the, data, epochs, states[1], steps))) == len(states) - 1


@EVERY_OPTIMIZER
def test_two_runs_of_a_seed_are_bitwise_equal_and_of_two_seeds_are_not(name: str) -> None:
    data, the = blobs(50, "float32"), plan(wrapped(name), dtype="float32")
    assert all(map(same, train(the, data, 2), train(the, data, 2)))
    other = list(train(evolve(the, seed=4), data, 1))[-1]
    assert not same(other.params, list(train(the, data, 1))[-1].params)


@EVERY_OPTIMIZER
def test_what_goes_in_stays_as_it_is_and_what_comes_out_is_read_only(name: str) -> None:
    data, the = blobs(30), plan(wrapped(name))
    start = run_epoch(the, data, initial_state(the))
    before = map_arrays(np.array, start)
    design = data.design.copy()
    end = run_epoch(the, data, start)
    assert same(start, before) and (design == data.design).all()

    def check(array: np.ndarray) -> np.ndarray:
        assert not array.flags.writeable
        return array

    map_arrays(check, (start, end))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@EVERY_OPTIMIZER
def test_the_training_loss_goes_down(name: str, loss: str, activation: str) -> None:
    data = blobs(60)
    rate = {"rmsprop": 0.01, "adam": 0.02, "nadam": 0.02, "eve": 0.02, "sgd": 1.0}.get(name, 0.3)
    spec = Spec((16, 8, 3), activation, loss, "Xavier", "float64")
    losses = [now.tally.loss for now in train(Plan(spec, OPTIMIZERS[name](), rate, 10), data, 15)][1:]
    assert losses[-1] < 0.9 * losses[0]


def breaking(at: int) -> Callable[[Optimizer], Optimizer]:
    """Wrap an optimizer so that its step number ``at`` ruins the parameters."""

    def wrap(optimizer: Optimizer) -> Optimizer:
        def begin(signal: Signal, state: object) -> tuple[Signal, object]:
            return signal._replace(learning_rate=np.inf if signal.step == at else 0.1), state

        return evolve(optimizer, begin=begin)

    return wrap


@pytest.mark.parametrize("at", [1, 4, 5, 6, 13])  # 5 steps an epoch; found in the step that follows, in any epoch
@pytest.mark.parametrize("steps", [None, 2])
def test_divergence_names_the_step_at_which_the_loss_is_no_number(at: int, steps: int | None) -> None:
    the = plan(breaking(at)(OPTIMIZERS["sgd"]()), 8)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError) as error:
        list(train(the, blobs(40), 4, steps=steps))
    assert error.value.step == at + 1 and "0.01" in str(error.value) and str(at + 1) in str(error.value)


def test_a_step_s_multiply_adds_are_those_of_its_products_and_bound_the_pieces_of_an_epoch() -> None:
    sizes = (784, 512, 256, 10)
    plan = Plan(Spec(sizes), OPTIMIZERS["sgd"](), batch_size=64)
    assert plan.multiply_adds(6400) == pytest.approx(sum(3 * i * o for i, o in pairwise(sizes)) * 64, rel=0.01)
    assert plan.multiply_adds(10) == plan.multiply_adds(6400) * 10 / 64
    assert [plan.pieces(n) for n in (10, 6400, 75_000, 150_000, 1_500_000)] == [1, 1, 2, 4, 10]
