"""Batch normalisation: its gradient, its statistics and the plain network that it comes to."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

import tests.reference as reference
from fnn.arrays import freeze, same
from fnn.losses import softmax
from fnn.network import Params, Spec, design_matrix, folded, forward, gradient_pass, predict
from fnn.normalization import EPSILON, normalized
from tests.strategies import Case, cases, generators

#: A deviation from the mean keeps an error of eps times the mean's size, and is divided by a root no smaller than this.
TOLERANCE = 1e-12 / np.sqrt(EPSILON)


@pytest.fixture(autouse=True)
def layouts(some_by_units: None) -> None:
    """The first layer of some of the networks stands unit by unit."""


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    return bool(np.abs(found - expected).max(initial=0) <= tolerance * max(1e-3, np.abs(expected).max(initial=0)))


def passed(case: Case, masks: tuple[np.ndarray, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (n, classes) and the gradient of a normalised network, of the second of two passes."""
    spec, n = case.spec, len(case.x)
    found, z = np.full(case.params.theta.shape, np.nan), np.empty((spec.sizes[-1], n))
    the = gradient_pass(spec, case.params.theta, found, n, masks, True)
    for x in (case.x + 1, case.x):
        the.design[:] = design_matrix(x, spec.dtype)
        the.run(case.targets.T / n, z)
    return z.T, found


@given(cases(max_depth=3, max_width=6, max_batch=8), generators())
def test_every_coordinate_is_the_complex_step_derivative(case: Case, rng: np.random.Generator) -> None:
    masks = tuple(rng.choice([0, 1, 1.6], (width, len(case.x))) for width in case.spec.sizes[1:-1])
    for given_masks in ((), masks):
        z, found = passed(case, given_masks)
        plain = [mask.T for mask in given_masks]
        f = lambda theta: reference.loss(case.spec, theta, case.x, case.targets, masks=plain, norm=True)  # noqa: B023, E731
        assert close(z, reference.logits(case.spec, case.params.theta, case.x, plain, norm=True))
        assert close(found, reference.gradient(f, case.params.theta))


@given(cases(max_width=8, activations=("tanh", "sigmoid")))
def test_folded_statistics_of_a_batch_leave_the_logits_of_that_batch(case: Case) -> None:
    design = design_matrix(case.x, case.spec.dtype)
    plain = folded(case.spec, case.params, design)
    assert plain.sizes == case.params.sizes and not plain.theta.flags.writeable
    assert close(forward(case.spec, plain, case.x).logits, passed(case)[0])
    shown = predict(case.spec, plain, case.x)
    assert close(shown, softmax(np.ascontiguousarray(passed(case)[0].T)).T), "as any plain network"


@given(cases(max_depth=2, max_width=6, max_batch=8))
def test_folding_leaves_what_it_is_given_and_a_network_without_hidden_layers(case: Case) -> None:
    before, design = case.params.theta.tobytes(), design_matrix(case.x, case.spec.dtype)
    folded(case.spec, case.params, design)
    assert case.params.theta.tobytes() == before
    bare = evolve(case.spec, sizes=(case.spec.sizes[0], case.spec.sizes[-1]))
    params = Params(bare.sizes, freeze(np.arange(float(bare.parameters))))
    assert same(folded(bare, params, design), params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wrong", [1e3, np.inf])
def test_what_has_diverged_is_folded_without_a_warning(dtype: str, wrong: float) -> None:
    spec = Spec((3, 4, 2), "sigmoid", dtype=dtype)
    theta, x = np.ones(spec.parameters, dtype), np.zeros((5000, 4), dtype)
    theta[0], x[0] = wrong, 1
    folded(spec, Params(spec.sizes, freeze(theta)), x)


@given(st.integers(2, 40), st.integers(1, 6), generators())
def test_units_have_mean_0_and_variance_1_before_their_biases(n: int, width: int, rng: np.random.Generator) -> None:
    biases, z = rng.normal(size=width), rng.normal(3, 2, (width, n))
    expected = reference.normalized(z.T).T
    normalized(biases, n).apply(z)
    np.testing.assert_allclose(z - biases[:, None], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.mean(z, axis=1), biases, atol=1e-12 * n)


@given(cases(max_depth=3, max_width=6, max_batch=8), st.floats(-2, 2))
def test_what_moves_a_unit_by_the_same_on_all_samples_changes_nothing(case: Case, shift: float) -> None:
    assume(len(case.spec.sizes) > 2)
    x = np.array(case.x)
    x[:, 0] += shift
    assert close(passed(evolve(case, x=freeze(x)))[0], passed(case)[0])


def test_the_formula_is_that_of_keras() -> None:
    import keras

    z = np.random.default_rng(0).normal(2, 3, (50, 4)).astype(np.float32)
    layer = keras.layers.BatchNormalization(scale=False, epsilon=EPSILON, dtype="float32")
    layer.build(z.shape)
    layer.beta.assign(np.array([1, -2, 0.5, 0], np.float32))
    found = np.array(z.T)
    normalized(np.array([1, -2, 0.5, 0], np.float32), 50).apply(found)
    assert close(found.T, np.asarray(layer(z, training=True)), 2e-6)  # some roundings of single precision
