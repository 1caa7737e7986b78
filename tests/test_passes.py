"""Passes in pieces and in shares: the same gradient as in one, however a layer's work is cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fnn import calls, network, products
from fnn.activations import ACTIVATIONS
from fnn.arrays import copy
from fnn.network import Spec, design_matrix, gradient_pass, init_params
from fnn.teams import Team
from tests.strategies import APART
from tests.test_network import close


@pytest.fixture(autouse=True)
def wide_ones_by_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first layer of some of the networks stands unit by unit."""
    monkeypatch.setattr(network, "LARGE", 1000)


def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a team share whatever there is."""
    monkeypatch.setattr(calls, "WORTH_SHARING", 0)


def gradient(
    spec: Spec,
    parts: int,
    masks: Callable[[Spec], tuple[np.ndarray, ...]] = lambda _spec: (),
    normalizes: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient and the logits of a batch, as a team of so many finds them."""
    n, rng, team = APART, np.random.default_rng(0), Team(parts)
    theta, x = init_params(spec, 0).theta, rng.random((n, spec.sizes[0]))
    wanted, logits = rng.random((10, n)) / n, np.empty((10, n))
    found, own = team.empty(theta.shape, theta.dtype), copy(theta, team.empty)
    found[:] = np.nan
    shared_masks = tuple(copy(mask, team.empty) for mask in masks(spec))
    the = gradient_pass(spec, own, found, n, shared_masks, normalizes, team)
    the.design[:] = design_matrix(x, spec.dtype)

    def work() -> None:
        with np.errstate(over="ignore"):
            the.run(wanted, logits)

    team.run(work)
    return found, logits


@pytest.mark.parametrize("parts", [1, 2])
def test_products_in_pieces_make_the_gradient_of_whole_ones(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec((600, 280, 270, 10), "tanh", dtype="float64")
    shared(monkeypatch)
    cut = []

    def multiply(*each: np.ndarray, matmul: Callable[..., np.ndarray] = np.matmul, **out: np.ndarray) -> np.ndarray:
        cut.extend([1] * (each[0].ndim > 2))  # stacks
        return matmul(*each, **out)

    monkeypatch.setattr(np, "matmul", multiply)

    def found(pieces: bool) -> tuple[np.ndarray, np.ndarray]:
        monkeypatch.setattr(products, "available", lambda: pieces)
        return gradient(spec, parts)

    whole = found(False)
    assert not cut
    assert all(map(close, found(True), whole)) and cut


def some_masks(spec: Spec) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    return tuple(rng.choice([0, 1.5], (width, APART)) for width in spec.sizes[1:-1])


@pytest.mark.parametrize("width", [31, 5])  # with 5 units some have none
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_team_that_shares_a_layer_s_units_makes_the_same_gradient(
    activation: str, normalizes: bool, masked: bool, parts: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec((50, width, 47, 10), activation, dtype="float64")
    masks = some_masks if masked else lambda _spec: ()
    alone = gradient(spec, 1, masks, normalizes)
    shared(monkeypatch)
    assert all(map(close, gradient(spec, parts, masks, normalizes), alone))


@pytest.mark.parametrize("worth", [0, 10**9])
def test_each_shares_what_is_worth_it_and_waits_for_the_rest(worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WORTH_SHARING", worth)
    dealt: list[int] = []
    monkeypatch.setattr(
        calls, "dealt", lambda size, *others, deal=calls.dealt: dealt.append(size) or deal(size, *others)
    )
    gradient(Spec((50, 33, 40, 10), dtype="float64"), 2)
    assert dealt == ([] if worth else [33, 40, 41, 34, 33])  # each layer's way forward but the last's, and back
