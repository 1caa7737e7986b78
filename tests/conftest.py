"""Settings of the suite: derandomised examples by default, twenty times as many by ``make test-thorough``."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from fnn import network

os.environ["KERAS_BACKEND"] = "jax"

common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", max_examples=40, derandomize=True, **common)
settings.register_profile("thorough", max_examples=800, **common)
settings.load_profile(os.environ.get("FNN_PROFILE", "ci"))


@pytest.fixture
def some_by_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the networks that tests draw, some are as large as those whose first layer stands unit by unit."""
    monkeypatch.setattr(network, "LARGE", 60)


@pytest.fixture(autouse=True)
def _numpy_for_doctests(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
