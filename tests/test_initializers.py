"""The distributions that weights are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from fnn.initializers import INITIALIZERS

DEVIATIONS = {"random": 0.1, "Xavier": np.sqrt(2 / (300 + 200)), "He": np.sqrt(2 / 300)}


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
