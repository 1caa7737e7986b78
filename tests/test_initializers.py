"""The distributions that weights are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from fnn.config import Config
from fnn.errors import UserError
from fnn.initializers import INITIALIZERS, SIGHT
from fnn.network import Spec, init_params, matrices

DEVIATIONS = {"random": 0.1, "Xavier": np.sqrt(2 / (300 + 200)), "He": np.sqrt(2 / 300), "local": np.sqrt(2 / 300)}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_mean_and_deviation_are_those_of_the_paper(name: str) -> None:
    w = INITIALIZERS[name].draw(np.random.default_rng(0), 300, 200)
    assert w.shape == (300, 200)
    # 60,000 draws: the mean has a standard error of s / 245, the deviation one of about s / 346.
    assert abs(w.mean()) < 4 * DEVIATIONS[name] / 245
    assert w.std() == pytest.approx(DEVIATIONS[name], rel=4 / 346)


def test_xavier_is_uniform_and_he_is_normal() -> None:
    xavier = INITIALIZERS["Xavier"].draw(np.random.default_rng(0), 300, 200)
    bound = np.sqrt(6 / 500)
    assert 0.999 * bound < np.abs(xavier).max() <= bound
    he = INITIALIZERS["He"].draw(np.random.default_rng(0), 300, 200) / DEVIATIONS["He"]
    assert np.mean(he**4) == pytest.approx(3, rel=0.05)  # 1.8 for a uniform distribution


def test_local_units_begin_with_a_window_of_hes_width() -> None:
    """Their first layer alone: sums of squares are He's on the average, windows Gaussians about a place."""
    he, local = (init_params(Spec((784, 4000, 9, 10), initializer=name), 5) for name in ("He", "local"))
    w = matrices(local.sizes, local.theta)[0][:-1].astype(float)
    squares = np.sum(w**2, axis=0)
    assert squares.mean() == pytest.approx(2, rel=0.02)  # a unit's varies by a fifth: 4,000 units' mean by 0.3 %
    y, x = (axis.ravel() for axis in np.indices((28, 28)))
    centre = np.stack([(axis @ w**2) / squares for axis in (y, x)])
    inside = np.all((centre > 9) & (centre < 18), axis=0)  # far from the edges, which cut windows
    assert 0.05 < inside.mean() < 0.2  # the middle 9 of 27 pixels, squared: a ninth
    spread = np.stack(
        [np.sum((axis[:, None] - at) ** 2 * w**2, axis=0) / squares for axis, at in zip((y, x), centre, strict=True)]
    )
    # The squared window has the variance SIGHT^2 / 2; a draw's own centre takes a little of it.
    assert np.sqrt(2 * spread[:, inside].mean()) == pytest.approx(SIGHT, rel=0.04)
    corners = w[[0, 27, 756, 783]]
    assert (np.abs(corners).max(axis=1) > 0.05).all()  # places reach the edges
    for a, b in zip(matrices(he.sizes, he.theta)[1:], matrices(local.sizes, local.theta)[1:], strict=True):
        assert a.std() == pytest.approx(b.std(), rel=0.1 if a.size > 1000 else 0.5) and (np.abs(a) > 0).mean() > 0.8


def test_local_units_need_an_image() -> None:
    with pytest.raises(UserError, match="--weight_init: expected another than local"):
        Config(weight_init="local", features="gradients")
    he, local = (init_params(Spec((300, 5, 10), initializer=name), 5) for name in ("He", "local"))
    np.testing.assert_array_equal(he.theta, local.theta)
