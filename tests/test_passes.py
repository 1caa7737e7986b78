"""Passes in pieces and in shares: the same gradient as in one, however a layer's work is cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fnn import calls, products
from fnn.activations import ACTIVATIONS
from fnn.helpers import at_once
from fnn.network import Spec, design_matrix, gradient_pass, init_params
from tests.test_network import close


def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have threads share whatever has rows enough, in equal parts."""
    monkeypatch.setattr(calls, "WORTH_SHARING", 0)
    monkeypatch.setattr(calls, "LEAD", 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_products_in_pieces_make_the_gradient_of_whole_ones(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, n, rng = Spec((300, 140, 130, 10), "tanh", dtype="float64"), 64, np.random.default_rng(0)
    theta, x, wanted = init_params(spec, 0).theta, rng.random((n, 300)), rng.random((10, n)) / n
    shared(monkeypatch)
    cut = []

    def multiply(*each: np.ndarray, matmul: Callable[..., np.ndarray] = np.matmul, **out: np.ndarray) -> np.ndarray:
        cut.extend([1] * (each[0].ndim > 2))  # stacks
        return matmul(*each, **out)

    monkeypatch.setattr(np, "matmul", multiply)

    def found(pieces: bool) -> tuple[np.ndarray, np.ndarray]:
        monkeypatch.setattr(products, "available", lambda: pieces)
        gradient, logits = np.full(theta.shape, np.nan), np.empty((10, n))
        the = gradient_pass(spec, theta, gradient, n, threads=threads)
        the.design[:] = design_matrix(x, spec.dtype)
        the.run(wanted, logits)
        return gradient, logits

    whole = found(False)
    assert not cut
    assert all(map(close, found(True), whole)) and cut


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_threads_that_share_a_layer_s_units_make_the_same_gradient(
    activation: str, normalizes: bool, masked: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, n, rng = Spec((50, 33, 40, 10), activation, dtype="float64"), 16, np.random.default_rng(0)
    theta, x, wanted = init_params(spec, 0).theta, rng.random((n, 50)), rng.random((10, n)) / n
    masks = tuple(rng.choice([0, 1.5], (width, n)) for width in (33, 40)) if masked else ()

    def found(threads: int) -> tuple[np.ndarray, np.ndarray]:
        gradient, logits = np.full(theta.shape, np.nan), np.empty((10, n))
        the = gradient_pass(spec, theta, gradient, n, masks, normalizes, threads)
        the.design[:] = design_matrix(x, spec.dtype)
        with np.errstate(over="ignore"):
            the.run(wanted, logits)
        return gradient, logits

    alone = found(1)
    shared(monkeypatch)
    dealt = []
    monkeypatch.setattr(calls, "at_once", lambda task, parts: dealt.append(parts) or at_once(task, parts))
    assert all(map(close, found(threads), alone))
    assert dealt == [threads] * 5  # each layer's way forward but the last's, and back
