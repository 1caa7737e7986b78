"""The gradients, by complex steps and by the laws they obey."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

import tests.reference as reference
from fnn.arrays import freeze, same
from fnn.errors import UserError
from fnn.losses import LOSSES
from fnn.network import (
    Params,
    Spec,
    backward,
    design_matrix,
    forward,
    gradient_pass,
    init_params,
    logits_in_batches,
    loss_and_grad,
    predict,
)
from fnn.optimizers import OPTIMIZERS, with_l2
from fnn.updates import Signal
from tests.strategies import Case, cases, generators, seeds, specs


@pytest.fixture(autouse=True)
def layouts(some_by_units: None) -> None:
    """The first layer of some of the networks stands unit by unit."""


def gradient(case: Case, theta: np.ndarray | None = None) -> np.ndarray:
    params = case.params if theta is None else Params(case.spec.sizes, freeze(theta))
    return loss_and_grad(case.spec, params, case.x, case.targets)[1]


def flat(spec: Spec, layers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return what stands for each weight and bias as one vector."""
    out = np.empty(spec.parameters)
    for views, values in zip(reference.layers(spec.sizes, out), layers, strict=True):
        for view, value in zip(views, values, strict=True):
            view[...] = value
    return out


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-12) -> bool:
    """Compare against the largest entry: a sum of terms of that size has no smaller rounding error."""
    error, size = (float(np.abs(a).max(initial=0)) for a in (found - expected, expected))
    return error <= tolerance * max(1e-3, size)


@given(cases(max_depth=3, max_width=6, max_batch=8))
def test_every_coordinate_is_the_complex_step_derivative(case: Case) -> None:
    f = lambda theta: reference.loss(case.spec, theta, case.x, case.targets)  # noqa: E731
    assert close(gradient(case), reference.gradient(f, case.params.theta))


@given(cases(), generators())
def test_a_random_projection_is_the_complex_step_derivative(case: Case, rng: np.random.Generator) -> None:
    v = rng.normal(size=case.params.theta.shape)
    f = lambda theta: reference.loss(case.spec, theta, case.x, case.targets)  # noqa: E731
    expected = reference.derivative(f, case.params.theta, v)
    g = gradient(case)
    assert abs(g @ v - expected) <= 1e-12 * max(1e-3, float(np.abs(g) @ np.abs(v)))


@given(cases(max_depth=3, max_width=6, max_batch=8), generators())
def test_with_dropout_the_gradient_is_the_complex_step_derivative_given_the_masks(
    case: Case, rng: np.random.Generator
) -> None:
    """The masks are read at each batch, so new ones may be written between two."""
    spec, n = case.spec, len(case.x)
    masks = tuple(np.empty((width, n)) for width in spec.sizes[1:-1])
    found, z = np.empty_like(case.params.theta), np.empty((spec.sizes[-1], n))
    the = gradient_pass(spec, case.params.theta, found, n, masks)
    the.design[:] = design_matrix(case.x, spec.dtype)
    for _ in range(2):
        for mask in masks:
            mask[:] = rng.choice([0, 1, 1.6], mask.shape)
        plain = [mask.T.copy() for mask in masks]
        the.run(case.targets.T / n, z)
        f = lambda theta: reference.loss(spec, theta, case.x, case.targets, masks=plain)  # noqa: B023, E731
        assert close(z.T, reference.logits(spec, case.params.theta, case.x, plain))
        assert close(found, reference.gradient(f, case.params.theta))


@given(cases(), generators())
def test_backward_is_the_adjoint_of_the_jacobian(case: Case, rng: np.random.Generator) -> None:
    trace = forward(case.spec, case.params, case.x)
    delta, v = freeze(rng.normal(size=trace.logits.shape)), rng.normal(size=case.params.theta.shape)
    jv = reference.derivative(lambda theta: reference.logits(case.spec, theta, case.x), case.params.theta, v)
    back = backward(case.spec, case.params, trace, delta)
    scale = float(np.abs(back) @ np.abs(v) + np.sum(np.abs(delta * jv)))
    assert abs(back @ v - np.sum(delta * jv)) <= 1e-12 * max(1.0, scale)


@given(cases())
def test_logits_and_loss_are_those_of_the_plain_formula(case: Case) -> None:
    expected = reference.logits(case.spec, case.params.theta, case.x)
    assert close(forward(case.spec, case.params, case.x).logits, expected)
    found, _ = loss_and_grad(case.spec, case.params, case.x, case.targets)
    plain = reference.loss(case.spec, case.params.theta, case.x, case.targets)
    assert abs(found - plain) <= 1e-12 * max(1.0, abs(plain))


@given(cases())
def test_float32_is_as_near_to_float64_as_its_rounding_allows(case: Case) -> None:
    """A running error analysis to first order (Higham 2002, ch. 3): |fl(x.y) - x.y| <= k eps |x|.|y| for k terms.

    Each layer passes on its input's error through |W| and adds its own; every activation here is 1-Lipschitz and right
    to 4 eps; softmax moves by at most twice the largest error of its logits. The bound is doubled for second order.
    """
    eps = 2.0**-24
    x = case.x.astype(np.float32).astype(float)
    t = case.targets.astype(np.float32).astype(float)
    theta = case.params.theta.astype(np.float32).astype(float)
    exact = evolve(case, params=Params(case.spec.sizes, freeze(theta)), x=freeze(x), targets=freeze(t))
    single = evolve(case.spec, dtype="float32")
    found = loss_and_grad(single, Params(case.spec.sizes, freeze(theta.astype(np.float32))), x, t)[1]

    weights = reference.layers(case.spec.sizes, theta)
    a, error, inputs = x, 0 * x, []
    for w, b in weights[:-1]:
        inputs.append((a, error))
        k = len(w) + 2
        z = a @ w + b
        error = error @ np.abs(w) + k * eps * (np.abs(a) @ np.abs(w) + np.abs(b))
        if case.spec.activation == "ReLU":
            assume(not np.any(np.abs(z) <= 2 * error))  # the kink may be on the other side: no bound there
        a = reference.F[case.spec.activation](z)
        error = error + 4 * eps * np.abs(a)
    inputs.append((a, error))
    w, b = weights[-1]
    error = error @ np.abs(w) + (len(w) + 2) * eps * (np.abs(a) @ np.abs(w) + np.abs(b))
    z = a @ w + b
    delta = LOSSES[case.spec.loss], np.empty_like(z.T)
    delta[0].delta(1.0, delta[1])(z.T, t.T)
    d = delta[1].T / len(x)
    top = error.max(axis=1, keepdims=True)
    classes = z.shape[1]
    magnitude = np.abs(z).max(axis=1, keepdims=True)
    e = (8 * top + 4 * (classes + 8 + magnitude) * eps) / len(x) + 0 * d
    bound = []
    for (w, _), (a, ea) in zip(reversed(weights), reversed(inputs), strict=True):
        k = len(x) + 2
        gw = np.abs(a).T @ e + ea.T @ np.abs(d) + k * eps * np.abs(a).T @ np.abs(d)
        gb = e.sum(axis=0) + k * eps * np.abs(d).sum(axis=0)
        bound = [(gw, gb), *bound]
        slope = {"identity": 1 + 0 * a, "sigmoid": a * (1 - a), "tanh": 1 - a**2, "ReLU": (a > 0) * 1.0}
        f = slope[case.spec.activation]
        moved = {"identity": 0, "sigmoid": 1, "tanh": 2, "ReLU": 0}[case.spec.activation] * ea + 4 * eps
        back = np.abs(d) @ np.abs(w).T
        e = (e @ np.abs(w).T + (w.shape[1] + 2) * eps * back) * np.abs(f) + back * moved
        d = (d @ w.T) * f
    assert np.all(np.abs(found - gradient(exact)) <= 2 * flat(case.spec, bound) + 1e-37)


@given(cases())
def test_the_gradient_of_a_batch_is_the_mean_of_its_samples(case: Case) -> None:
    rows = [evolve(case, x=case.x[i : i + 1], targets=case.targets[i : i + 1]) for i in range(len(case.x))]
    assert close(gradient(case), np.mean([gradient(row) for row in rows], axis=0))


@given(cases(), generators())
def test_the_order_of_the_samples_changes_nothing(case: Case, rng: np.random.Generator) -> None:
    order = rng.permutation(len(case.x))
    assert close(gradient(evolve(case, x=case.x[order], targets=case.targets[order])), gradient(case))


@given(cases(), generators())
def test_permuting_hidden_units_permutes_gradients_and_leaves_logits(case: Case, rng: np.random.Generator) -> None:
    theta, index = np.array(case.params.theta), np.arange(len(case.params.theta))
    places = reference.layers(case.spec.sizes, index)
    moved = [(np.array(w), np.array(b)) for w, b in places]
    for k in range(len(moved) - 1):
        order = rng.permutation(moved[k][1].size)
        moved[k] = (moved[k][0][:, order], moved[k][1][order])
        moved[k + 1] = (moved[k + 1][0][order], moved[k + 1][1])
    permutation = flat(case.spec, moved).astype(int)
    other = Params(case.spec.sizes, freeze(theta[permutation]))
    assert close(forward(case.spec, other, case.x).logits, forward(case.spec, case.params, case.x).logits)
    assert close(gradient(case, theta[permutation]), gradient(case)[permutation])


@given(cases(activations=("ReLU",)), st.integers(-8, 8))
def test_scaling_a_relu_unit_up_and_its_outputs_down_leaves_the_logits(case: Case, power: int) -> None:
    assume(len(case.spec.sizes) > 2)
    theta = np.array(case.params.theta)
    (w, b), (following, _) = reference.layers(case.spec.sizes, theta)[:2]
    w[:, 0] *= 2.0**power
    b[0] *= 2.0**power
    following[0] *= 2.0**-power
    other = Params(case.spec.sizes, freeze(theta))
    assert close(forward(case.spec, other, case.x).logits, forward(case.spec, case.params, case.x).logits)


@given(cases(), st.floats(-1e4, 1e4))
def test_shifting_all_logits_changes_neither_probabilities_nor_gradients(case: Case, shift: float) -> None:
    theta = np.array(case.params.theta)
    reference.layers(case.spec.sizes, theta)[-1][1][:] += shift
    tolerance = 1e-12 * max(1.0, abs(shift))  # the logits themselves are rounded to this
    other = Params(case.spec.sizes, freeze(theta))
    assert close(predict(case.spec, other, case.x), predict(case.spec, case.params, case.x), tolerance)
    assert close(gradient(case, theta), gradient(case), 10 * tolerance)


@given(cases(), st.floats(0, 1))
def test_without_hidden_layers_cross_entropy_is_convex_along_segments(case: Case, share: float) -> None:
    spec = Spec((case.spec.sizes[0], case.spec.sizes[-1]), dtype="float64")
    a, b = (10 * np.random.default_rng(case.seed + i).normal(size=spec.parameters) for i in range(2))
    f = lambda theta: loss_and_grad(spec, Params(spec.sizes, freeze(theta)), case.x, case.targets)[0]  # noqa: E731
    chord = share * f(a) + (1 - share) * f(b)
    assert f(share * a + (1 - share) * b) <= chord + 1e-12 * abs(chord)


@given(cases(max_width=8), st.sampled_from(["float32", "float64"]))
def test_everything_is_finite_for_logits_of_ten_thousand(case: Case, dtype: str) -> None:
    spec = evolve(case.spec, dtype=dtype)
    theta = np.array(case.params.theta, dtype)
    w, b = reference.layers(spec.sizes, theta)[-1]
    w[:] = 0
    b[:] = np.where(np.arange(b.size) % 2, 1e4, -1e4)
    params = Params(spec.sizes, freeze(theta))
    value, g = loss_and_grad(spec, params, case.x, case.targets)
    assert np.isfinite(value) and np.isfinite(g).all() and np.isfinite(predict(spec, params, case.x)).all()


@given(cases(), st.integers(1, 60))
def test_predictions_do_not_depend_on_the_batches(case: Case, size: int) -> None:
    whole = predict(case.spec, case.params, case.x)
    assert close(predict(case.spec, case.params, case.x, size), whole)
    assert close(whole, reference.softmax(reference.logits(case.spec, case.params.theta, case.x)))


@given(cases())
def test_functions_are_pure_and_what_leaves_them_is_read_only(case: Case) -> None:
    before = [array.tobytes() for array in (case.params.theta, case.x, case.targets)]
    trace = forward(case.spec, case.params, case.x)
    delta = freeze(np.ones(trace.logits.shape))
    results = [
        trace.logits,
        gradient(case),
        backward(case.spec, case.params, trace, delta),
        predict(case.spec, case.params, case.x),
        logits_in_batches(case.spec, case.params, np.append(case.x, np.ones((len(case.x), 1)), axis=1)),
        init_params(case.spec, 0).theta,
    ]
    assert before == [array.tobytes() for array in (case.params.theta, case.x, case.targets)]
    for array in results:
        assert not array.flags.writeable
        assert not any(np.may_share_memory(array, given) for given in (case.params.theta, case.x, case.targets))
    assert same(gradient(case), gradient(case))
    assert not any(
        a.flags.writeable for a in (trace.design, *chain(*((u.output, u.following) for u in trace.layers.hidden)))
    )


@given(specs(), seeds)
def test_initial_parameters_are_a_function_of_the_seed(spec: Spec, seed: int) -> None:
    assert same(init_params(spec, seed), init_params(spec, seed))
    assert not same(init_params(spec, seed), init_params(spec, seed + 1))
    assert all(np.all(b == 0) for _, b in init_params(spec, seed).layers)


def test_wrong_shapes_are_named() -> None:
    spec = Spec((3, 2))
    params = init_params(spec, 0)
    with pytest.raises(UserError, match=r"x: expected shape \(n, 3\), found \(1, 4\)"):
        forward(spec, params, np.ones((1, 4)))
    with pytest.raises(UserError, match=r"targets: expected shape \(1, 2\), found \(1, 3\)"):
        loss_and_grad(spec, params, np.ones((1, 3)), np.ones((1, 3)))


@given(cases(max_depth=3, max_width=6, max_batch=8), st.floats(0, 1))
def test_with_l2_the_step_is_down_the_derivative_of_the_penalised_loss(case: Case, strength: float) -> None:
    """One step of sgd at rate 1 is minus the gradient of ``loss + strength/2 |W|^2``, biases left out of the norm."""
    optimizer = with_l2(strength)(OPTIMIZERS["sgd"]())
    signal = Signal(gradient(case), 1.0, 1)
    after, _ = optimizer.update(signal, optimizer.init(case.params), case.params)
    f = lambda theta: reference.loss(case.spec, theta, case.x, case.targets, strength)  # noqa: E731
    assert close(case.params.theta - after.theta, reference.gradient(f, case.params.theta))
