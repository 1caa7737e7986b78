"""The updates, against other libraries, against the papers' formulas and by the laws they obey.

The tests run over the registry: a new row is under test without a line here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn import network
from fnn.arrays import freeze, freeze_all, map_arrays, thaw
from fnn.network import Params, bias_spans
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
from fnn.updates import Optimizer, Signal, bind
from tests import reference
from tests.strategies import generators

ROWS = pytest.mark.parametrize("name", OPTIMIZERS)
STEPS = 50
SIZES = (3, 4, 2)
N = 26  # parameters of SIZES


@pytest.fixture(autouse=True)
def layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first layer stands unit by unit, the second input by input."""
    monkeypatch.setattr(network, "LARGE", 16)


decays = st.one_of(st.just(0.0), st.floats(0.5, 0.999))
hyper_parameters = {
    "momentum": decays,
    "beta": decays,
    "beta1": decays,
    "beta2": decays,
    "beta3": decays,
    "epsilon": st.floats(1e-10, 1e-1),
    "clip": st.floats(1.1, 100),
}


def drawn(name: str) -> st.SearchStrategy[dict[str, float]]:
    """Draw hyper-parameters for an optimizer by the names of its parameters."""
    return st.fixed_dictionaries({p: hyper_parameters[p] for p in inspect.signature(OPTIMIZERS[name]).parameters})


def gradients(rng: np.random.Generator, steps: int = STEPS, size: int = N) -> np.ndarray:
    """Draw gradients over several orders of magnitude, none of them so small that epsilon hides the rest."""
    return rng.normal(size=(steps, size)) * 10 ** rng.uniform(-3, 1, (steps, 1))


def trajectory(
    optimizer: Optimizer, theta: np.ndarray, grads: np.ndarray, lr: float, losses: Sequence[float] = ()
) -> np.ndarray:
    """Return the parameters after each step, computed by the public, pure form."""
    params = Params(SIZES if theta.size == N else (theta.size - 1, 1), freeze(np.array(theta)))
    state, found = optimizer.init(params), []
    for step, grad in enumerate(grads, 1):
        loss = losses[step - 1] if len(losses) else 1.0
        params, state = optimizer.update(Signal(freeze(np.array(grad)), lr, step, loss), state, params)
        found.append(params.theta)
    return np.array(found)


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    """Compare trajectories against how far they have gone: rounding errors add up over the way."""
    way = np.abs(np.diff(expected, axis=0, prepend=expected[:1])).cumsum(axis=0).max()
    assert np.abs(found - expected).max() <= tolerance * (way + np.abs(expected[0]).max())


@ROWS
@given(data=st.data(), rng=generators(), lr=st.floats(1e-4, 1))
def test_trajectories_are_those_of_the_papers(
    name: str, data: st.DataObject, rng: np.random.Generator, lr: float
) -> None:
    chosen = data.draw(drawn(name))
    theta, grads, losses = rng.normal(size=N), gradients(rng), rng.uniform(0.1, 3, STEPS)
    if name == "nag":  # stored is the look-ahead point, which at the start is the parameters themselves
        assert chosen.keys() == {"momentum"}
    expected = np.array(list(reference.OPTIMIZERS[name](theta, grads, lr, losses, **chosen)))
    agree(trajectory(OPTIMIZERS[name](**chosen), theta, grads, lr, losses), expected)


OPTAX: dict[str, Callable[..., Any]] = {
    "sgd": lambda optax, lr: optax.sgd(lr),
    "momentum": lambda optax, lr, momentum: optax.sgd(lr, momentum),
    "nag": lambda optax, lr, momentum: optax.sgd(lr, momentum, nesterov=True),
    "rmsprop": lambda optax, lr, beta, epsilon: optax.rmsprop(lr, beta, epsilon, eps_in_sqrt=False),
    "adam": lambda optax, lr, beta1, beta2, epsilon: optax.adam(lr, beta1, beta2, epsilon),
    "nadam": lambda optax, lr, beta1, beta2, epsilon: optax.nadam(lr, beta1, beta2, epsilon),
}


@pytest.mark.parametrize("name", OPTAX)
def test_trajectories_are_those_of_optax(name: str) -> None:
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")

    def one_step(carry: Any, grad: Any, hyper: dict[str, Any], lr: Any) -> Any:
        theta, state = carry
        updates, state = OPTAX[name](optax, lr, **hyper).update(grad, state, theta)
        theta = optax.apply_updates(theta, updates)
        return (theta, state), theta

    @jax.jit
    def run(theta: Any, grads: Any, lr: Any, hyper: dict[str, Any]) -> Any:
        state = OPTAX[name](optax, lr, **hyper).init(theta)
        return jax.lax.scan(lambda c, g: one_step(c, g, hyper, lr), (theta, state), grads)[1]

    @given(data=st.data(), rng=generators(), lr=st.floats(1e-4, 1))
    def check(data: st.DataObject, rng: np.random.Generator, lr: float) -> None:
        chosen = data.draw(drawn(name))
        theta, grads = rng.normal(size=N), gradients(rng)
        agree(trajectory(OPTIMIZERS[name](**chosen), theta, grads, lr), np.asarray(run(theta, grads, lr, chosen)))

    with jax.enable_x64(True):
        check()


#: Keras' definitions that are ours: its RMSprop has epsilon in the root and its Adam leaves epsilon uncorrected, so
#: these two are compared at epsilon 0; its Nadam has a momentum schedule of its own.
KERAS: dict[str, Callable[..., Any]] = {
    "sgd": lambda k, lr: k.SGD(lr),
    "momentum": lambda k, lr, momentum: k.SGD(lr, momentum),
    "nag": lambda k, lr, momentum: k.SGD(lr, momentum, nesterov=True),
    "rmsprop": lambda k, lr, beta, epsilon: k.RMSprop(lr, beta, epsilon=epsilon),
    "adam": lambda k, lr, beta1, beta2, epsilon: k.Adam(lr, beta1, beta2, epsilon),
}


@pytest.mark.filterwarnings("ignore")  # Keras' own
@pytest.mark.parametrize("name", KERAS)
@given(data=st.data(), rng=generators(), lr=st.floats(1e-4, 1))
def test_trajectories_are_those_of_keras(name: str, data: st.DataObject, rng: np.random.Generator, lr: float) -> None:
    """On its jax backend: that of NumPy rounds every product to single precision."""
    jax = pytest.importorskip("jax")
    import keras

    keras.config.set_floatx("float64")
    chosen = data.draw(drawn(name))
    if "epsilon" in chosen:
        chosen["epsilon"] = 0.0
    if name == "adam":  # v += (g^2 - v) (1 - beta2) cancels when a small gradient follows a large one at small beta2
        chosen["beta1"], chosen["beta2"] = max(chosen["beta1"], 0.5), max(chosen["beta2"], 0.5)
    theta, grads = rng.normal(size=N), gradients(rng)
    with jax.enable_x64(True):
        variable, theirs = keras.Variable(theta, dtype="float64"), []
        optimizer = KERAS[name](keras.optimizers, lr, **chosen)
        for grad in grads:
            optimizer.apply([jax.numpy.asarray(grad)], [variable])
            theirs.append(np.asarray(variable.value))
    agree(trajectory(OPTIMIZERS[name](**chosen), theta, grads, lr), np.array(theirs))


TORCH: dict[str, Callable[..., Any]] = {
    "sgd": lambda o, p, lr: o.SGD(p, lr),
    "momentum": lambda o, p, lr, momentum: o.SGD(p, lr, momentum),
    "nag": lambda o, p, lr, momentum: o.SGD(p, lr, momentum, nesterov=momentum > 0),
    "rmsprop": lambda o, p, lr, beta, epsilon: o.RMSprop(p, lr, beta, epsilon),
    "adam": lambda o, p, lr, beta1, beta2, epsilon: o.Adam(p, lr, (beta1, beta2), epsilon),
}


@pytest.mark.parametrize("name", TORCH)
@given(data=st.data(), rng=generators(), lr=st.floats(1e-4, 1))
def test_trajectories_are_those_of_pytorch_where_it_is_installed(
    name: str, data: st.DataObject, rng: np.random.Generator, lr: float
) -> None:
    torch = pytest.importorskip("torch")
    chosen, theta, grads = data.draw(drawn(name)), rng.normal(size=N), gradients(rng)
    parameter = torch.nn.Parameter(torch.tensor(theta))
    optimizer, theirs = TORCH[name](torch.optim, [parameter], lr, **chosen), []
    for grad in grads:
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        theirs.append(parameter.detach().numpy().copy())
    agree(trajectory(OPTIMIZERS[name](**chosen), theta, grads, lr), np.array(theirs))


# Laws


@given(generators(), st.floats(1e-4, 1))
def test_without_momentum_all_three_are_sgd(rng: np.random.Generator, lr: float) -> None:
    theta, grads = rng.normal(size=N), gradients(rng)
    plain = trajectory(OPTIMIZERS["sgd"](), theta, grads, lr)
    for name in ("momentum", "nag"):
        assert trajectory(OPTIMIZERS[name](momentum=0.0), theta, grads, lr).tobytes() == plain.tobytes()


@given(generators(), st.floats(0.5, 0.999), st.floats(1e-8, 1e-2))
def test_adam_without_momentum_is_rmsprop_with_its_bias_corrected(
    rng: np.random.Generator, beta: float, epsilon: float
) -> None:
    theta, grads = rng.normal(size=N), gradients(rng)
    adam = trajectory(OPTIMIZERS["adam"](0.0, beta, epsilon), theta, grads, 0.1)
    now, corrected = theta, []
    for t in range(1, STEPS + 1):  # rmsprop's rate and epsilon carry the correction sqrt(1 - beta^t)
        root = np.sqrt(1 - beta**t)
        steps = trajectory(OPTIMIZERS["rmsprop"](beta, epsilon * root), theta, grads[:t], 0.1 * root)
        now = now + steps[-1] - (steps[-2] if t > 1 else theta)
        corrected.append(now)
    agree(adam, np.array(corrected))


@given(generators(), st.floats(0.1, 0.99))
def test_nag_takes_its_gradient_at_the_look_ahead_point(rng: np.random.Generator, mu: float) -> None:
    """Sutskever et al. 2013: ``v = mu v - lr g(phi + mu v)``, ``phi += v``; what we store is ``phi + mu v``."""
    a, theta = np.diag(rng.uniform(0.1, 1, N)), rng.normal(size=N)
    params = Params(SIZES, freeze(theta))
    optimizer = OPTIMIZERS["nag"](momentum=mu)
    state, phi, v = optimizer.init(params), theta, np.zeros(N)
    for step in range(1, STEPS):
        params, state = optimizer.update(Signal(freeze(a @ params.theta), 0.1, step), state, params)
        v = mu * v - 0.1 * (a @ (phi + mu * v))
        phi = phi + v
        np.testing.assert_allclose(params.theta, phi + mu * v, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["rmsprop", "adam", "nadam", "eve"])
@given(rng=generators(), power=st.integers(-20, 20))
def test_adaptive_steps_do_not_depend_on_the_gradients_scale(name: str, rng: np.random.Generator, power: int) -> None:
    """Exactly, for powers of two and epsilon 0: every quotient has the same significands."""
    theta, grads = rng.normal(size=N), gradients(rng)
    one, scaled = (trajectory(OPTIMIZERS[name](epsilon=0.0), theta, g, 0.1) for g in (grads, grads * 2.0**power))
    assert one.tobytes() == scaled.tobytes()


FIRST_STEPS = {  # for a gradient far above epsilon, as a multiple of the learning rate
    "rmsprop": 1 / np.sqrt(1 - 0.9),
    "adam": 1.0,
    "nadam": 0.9 / 1.9 + 1.0,
    "eve": 1.0,
}


@pytest.mark.parametrize("name", FIRST_STEPS)
@given(rng=generators(), lr=st.floats(1e-4, 1))
def test_the_first_adaptive_step_has_a_known_size(name: str, rng: np.random.Generator, lr: float) -> None:
    grad = rng.choice([-1, 1], N) * rng.uniform(1, 10, N)
    step = trajectory(OPTIMIZERS[name](), np.zeros(N), grad[None], lr)[0]
    np.testing.assert_allclose(step, -lr * FIRST_STEPS[name] * np.sign(grad), rtol=1e-6)


@ROWS
@given(rng=generators())
def test_permuting_the_coordinates_permutes_the_steps(name: str, rng: np.random.Generator) -> None:
    theta, grads, order = rng.normal(size=N), gradients(rng), rng.permutation(N)
    one = trajectory(OPTIMIZERS[name](), theta, grads, 0.1)
    other = trajectory(OPTIMIZERS[name](), theta[order], grads[:, order], 0.1)
    assert one[:, order].tobytes() == other.tobytes()


@ROWS
@given(rng=generators())
def test_zero_gradients_leave_the_parameters_alone(name: str, rng: np.random.Generator) -> None:
    theta = rng.normal(size=N)
    found = trajectory(OPTIMIZERS[name](), theta, np.zeros((5, N)), 0.1)
    assert found.tobytes() == np.tile(theta, (5, 1)).tobytes()


def minimise(
    optimizer: Optimizer, f: Callable[[np.ndarray], tuple[float, np.ndarray]], theta: np.ndarray, lr: float, steps: int
) -> float:
    """Return the value reached by private, in-place steps on a schedule that ends at zero."""
    optimizer = with_schedule(warmup_cosine(steps))(optimizer)
    theta, grad = np.array(theta), np.empty_like(theta)
    sizes = (theta.size - 1, 1)
    state = thaw(optimizer.init(Params(sizes, freeze(np.array(theta)))))
    update = bind(optimizer, sizes, theta, grad, state)
    for step in range(1, steps + 1):
        value, grad[:] = f(theta)
        state = update(Signal(grad, lr, step, value), state)
    return f(theta)[0]


RATES = {"sgd": 0.5, "momentum": 0.1, "nag": 0.1}  # others: adaptive, 0.05


@ROWS
@given(rng=generators())
def test_convex_quadratics_are_minimised(name: str, rng: np.random.Generator) -> None:
    scales, goal = rng.uniform(0.2, 1, 5), rng.normal(size=5)

    def f(theta: np.ndarray) -> tuple[float, np.ndarray]:
        d = theta - goal
        return float(d @ (scales * d) / 2), scales * d

    start = rng.normal(size=5)
    assert minimise(OPTIMIZERS[name](), f, start, RATES.get(name, 0.05), 1000) < 1e-4 * (1 + f(start)[0])


@ROWS
def test_rosenbrocks_valley_is_followed(name: str) -> None:
    def f(theta: np.ndarray) -> tuple[float, np.ndarray]:
        x, y = theta
        slope = np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])
        return float((1 - x) ** 2 + 100 * (y - x**2) ** 2), slope

    rate = {"sgd": 2e-3, "momentum": 3e-4, "nag": 3e-4}.get(name, 0.02)
    assert f(np.array([-1.2, 1.0]))[0] > 24
    assert minimise(OPTIMIZERS[name](), f, np.array([-1.2, 1.0]), rate, 8000) < 0.02


# States


@ROWS
def test_states_are_frozen_records(name: str) -> None:
    state = OPTIMIZERS[name]().init(Params(SIZES, freeze(np.ones(N))))
    for field in attrs.fields(type(state)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(state, field.name, 0)


@ROWS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_subnormal_number_creeps_into_a_state(name: str, dtype: str) -> None:
    """A gradient that stops: the sums decay for longer than it takes to get below the smallest normal number."""
    decays = {
        p: 0.5 for p in ("momentum", "beta", "beta1", "beta2") if p in inspect.signature(OPTIMIZERS[name]).parameters
    }
    optimizer, tiny = OPTIMIZERS[name](**decays), np.finfo(dtype).tiny
    rng = np.random.default_rng(0)
    params = Params(SIZES, freeze(np.ones(N, dtype)))
    state = optimizer.init(params)
    for step in range(1, 1200 if dtype == "float64" else 300):
        grad = rng.normal(size=N) if step < 5 else np.zeros(N)
        params, state = optimizer.update(Signal(freeze(grad.astype(dtype)), 0.1, step, 1.0), state, params)

        def check(a: np.ndarray) -> np.ndarray:
            assert not np.any((a != 0) & (np.abs(a) < tiny))
            return a

        map_arrays(check, state)


# Wrappers


@ROWS
@given(rng=generators(), strength=st.floats(0, 1))
def test_l2_adds_its_gradient_to_weights_only(name: str, rng: np.random.Generator, strength: float) -> None:
    theta, grad = rng.normal(size=N), rng.normal(size=N)
    mask = reference.weights_only(Params(SIZES, theta))
    penalty = lambda t: strength / 2 * np.sum((mask * t) ** 2)  # noqa: E731
    added = reference.gradient(penalty, theta)
    found = trajectory(with_l2(strength)(OPTIMIZERS[name]()), theta, grad[None], 0.1)
    agree(found, trajectory(OPTIMIZERS[name](), theta, (grad + added)[None], 0.1), 1e-12)


@ROWS
@given(rng=generators(), strength=st.floats(0, 1))
def test_decoupled_decay_shrinks_weights_only(name: str, rng: np.random.Generator, strength: float) -> None:
    theta, grad = rng.normal(size=N), rng.normal(size=N)
    mask = reference.weights_only(Params(SIZES, theta))
    found = trajectory(with_decoupled_decay(strength)(OPTIMIZERS[name]()), theta, grad[None], 0.1)
    plain = trajectory(OPTIMIZERS[name](), theta, grad[None], 0.1)
    agree(found, plain - 0.1 * strength * mask * theta, 1e-12)


def test_both_decays_agree_for_sgd_and_not_for_adam() -> None:
    rng = np.random.default_rng(0)
    theta, grads = rng.normal(size=N), gradients(rng, 5)
    for name, equal in (("sgd", True), ("adam", False)):
        coupled, decoupled = (
            trajectory(wrap(0.3)(OPTIMIZERS[name]()), theta, grads, 0.1) for wrap in (with_l2, with_decoupled_decay)
        )
        assert np.allclose(coupled, decoupled, rtol=1e-12) == equal


@given(generators(), st.floats(0.01, 10))
def test_clipping_bounds_the_norm_and_keeps_the_direction(rng: np.random.Generator, limit: float) -> None:
    grad = rng.normal(size=N)
    step = -trajectory(with_clipping(limit)(OPTIMIZERS["sgd"]()), np.zeros(N), grad[None], 1.0)[0]
    np.testing.assert_allclose(step, grad * min(1, limit / np.linalg.norm(grad)), rtol=1e-12)


def test_clipping_knows_norms_whose_squares_overflow() -> None:
    grad = np.full((1, N), 1e20, np.float32)
    with np.errstate(over="ignore"):
        step = -trajectory(with_clipping(1.0)(OPTIMIZERS["sgd"]()), np.zeros(N, np.float32), grad, 1.0)[0]
    np.testing.assert_allclose(step, 1 / np.sqrt(N), rtol=1e-6)


def test_a_schedule_multiplies_the_rate_by_its_factor_of_the_step() -> None:
    schedule = warmup_cosine(10)
    found = trajectory(with_schedule(schedule)(OPTIMIZERS["sgd"]()), np.zeros(N), np.ones((10, N)), 0.5)
    np.testing.assert_allclose(-np.diff(found[:, 0], prepend=0), [0.5 * schedule(t) for t in range(1, 11)], atol=1e-15)


def means(optimizer: Optimizer, theta: np.ndarray, grads: np.ndarray, lr: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters after each step and their running means."""
    params = Params(SIZES, freeze(np.array(theta)))
    state, found = optimizer.init(params), []
    for step, grad in enumerate(grads, 1):
        params, state = optimizer.update(Signal(freeze(np.array(grad)), lr, step, 1.0), state, params)
        found.append((params.theta, averaged(params, state).theta))
    one, other = zip(*found, strict=True)
    return np.array(one), np.array(other)


@ROWS
@given(rng=generators(), decay=st.floats(0.01, 0.9999))
def test_the_running_mean_is_the_plain_formula_and_training_goes_on_without_it(
    name: str, rng: np.random.Generator, decay: float
) -> None:
    theta, grads = rng.normal(size=N), gradients(rng)
    wrapped = with_decoupled_decay(0.3)(OPTIMIZERS[name]())
    steps, found = means(with_averaging(decay)(wrapped), theta, grads)
    assert steps.tobytes() == trajectory(wrapped, theta, grads, 0.1).tobytes()
    for t in (1, 2, 7, STEPS):
        weights = decay ** np.arange(t - 1, -1, -1)
        expected = (weights[:, None] * steps[:t]).sum(axis=0) / weights.sum()
        assert np.abs(found[t - 1] - expected).max() <= 1e-12 * np.abs(steps[:t]).max()


@given(generators(), st.floats(0.01, 0.9999), st.sampled_from(["float32", "float64"]))
def test_the_mean_of_equal_parameters_is_bitwise_these(rng: np.random.Generator, decay: float, dtype: str) -> None:
    theta = rng.normal(size=N).astype(dtype)
    steps, found = means(with_averaging(decay)(OPTIMIZERS["sgd"]()), theta, np.zeros((20, N), dtype))
    assert found.dtype == dtype and found.tobytes() == steps.tobytes() == np.tile(theta, (20, 1)).tobytes()


@given(generators(), st.floats(0.5, 0.999))
def test_the_running_mean_is_linear_in_the_parameters(rng: np.random.Generator, decay: float) -> None:
    """Steps of sgd are linear in the start and the gradients together."""
    wrapped = with_averaging(decay)(OPTIMIZERS["sgd"]())
    starts, grads = rng.normal(size=(2, N)), rng.normal(size=(2, 9, N))
    one, other, both = (
        means(wrapped, s, g)[1] for s, g in ((starts[0], grads[0]), (starts[1], grads[1]), (sum(starts), sum(grads)))
    )
    np.testing.assert_allclose(one + other, both, atol=1e-12)


def test_averaging_that_is_off_is_the_optimizer_itself_and_a_stranger_has_no_mean() -> None:
    optimizer, params = OPTIMIZERS["adam"](), Params(SIZES, freeze(np.ones(N)))
    assert with_averaging(0.0)(optimizer) is optimizer
    assert averaged(params, optimizer.init(params)) is params


def test_biases_stand_where_the_matrices_have_their_last_rows() -> None:
    weights = np.ones(N, int)
    for span in bias_spans(SIZES):
        weights[span] -= 1
    np.testing.assert_array_equal(weights, reference.weights_only(Params(SIZES, np.zeros(N))))


def test_the_state_of_a_stopped_gradient_is_exact_but_for_the_stated_rounding() -> None:
    """Keeping subnormals out moves a sum by at most 2^-114: nothing, beside any gradient that still matters."""
    optimizer = OPTIMIZERS["momentum"](momentum=0.5)
    params = Params(SIZES, freeze(np.ones(N, np.float32)))
    state = freeze_all(attrs.evolve(optimizer.init(params), u=np.full(N, 2.0**-100, np.float32)))
    zero = freeze(np.zeros(N, np.float32))
    for step in range(1, 40):
        params, state = optimizer.update(Signal(zero, 0.1, step), state, params)
        assert np.abs(state.u - 2.0 ** (-100 - step)).max() <= 2.0**-114
