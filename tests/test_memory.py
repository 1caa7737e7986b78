"""The estimate of memory, held against what NumPy really allocates."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fnn import calibration, memory
from fnn.config import Config, plan_of
from fnn.datasets import Images, load
from fnn.errors import UserError
from fnn.experiment import observe, parts_of, plan_for
from fnn.training import initial_state, run_epoch
from tests.shell import DATA


@pytest.fixture(scope="module")
def images() -> Images:
    return load("fashion_mnist", DATA)


@pytest.mark.parametrize("widths", [(), (5,), (5, 5, 5), (5, 4), (6, 5, 4)])
def test_parameters_are_counted_as_the_network_has_them(images: Images, widths: tuple[int, ...]) -> None:
    config = Config(num_layers=len(widths), hidden_size=widths or (3,))
    assert memory.parameters(config, images) == plan_of(config, 784, 10, 1).spec.parameters
    assert memory.parameters(Config(num_layers=3, hidden_size=(5,)), images) == 784 * 5 + 60 + 5 + 60
    assert memory.parameters(Config(num_layers=10**9), images) > 10**15


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_the_estimate_is_that_of_a_run_to_a_half(images: Images, name: str, dtype: str, normalization: str) -> None:
    config = Config(optimizer=name, dtype=dtype, hidden_size=(512,), epochs=2, normalization=normalization)
    peak = _peak(lambda: _drain(observe(config, parts_of(config, images))))
    assert 0.95 <= memory.estimate(config, images) / peak < 2


@pytest.mark.parametrize("activation", ["ReLU", "tanh"])
def test_the_estimate_covers_large_batches_and_the_trial_of_threads(images: Images, activation: str) -> None:
    """Activations that outweigh all else, of layers of unequal widths."""
    config = Config(activation=activation, hidden_size=(1000, 900), batch_size=2000, epochs=1)
    parts = parts_of(config, images)
    plan = plan_for(config, parts)
    assert _peak(lambda: calibration.seconds(plan, parts.train, (1, 2))) < memory.estimate(config, images)
    assert _peak(lambda: _drain(observe(config, parts))) < memory.estimate(config, images)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_no_vector_is_there_twice_while_states_are_dropped(images: Images, name: str) -> None:
    """The parameters, the gradient and what the optimizer remembers: 4 vectors for Adam, and the activations."""
    config = Config(optimizer=name, hidden_size=(2048,), epochs=3, batch_size=16)
    parts, size = parts_of(config, images), memory.parameters(config, images) * 4
    vectors = 2 + memory.slots(config)

    def by_epochs() -> None:
        plan = plan_for(config, parts)
        held = [initial_state(plan)]
        for _ in range(3):
            held.append(run_epoch(plan, parts.train, held.pop()))

    for work in (lambda: _drain(observe(config, parts, None, 3)), by_epochs):
        assert vectors - 0.1 < _peak(work) / size < vectors + 0.6


def _peak(work: Callable[[], object]) -> int:
    """Return how many bytes some work allocates at its peak."""
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def _drain(stream: Iterator[object]) -> None:
    for item in stream:
        del item


def test_a_run_that_does_not_fit_is_refused_with_both_numbers(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**25)
    with pytest.raises(UserError, match=r"--hidden_size: .* fits into the 32 MiB .* of about \d+ MiB with 1,863,690"):
        memory.check(Config(), images)
    memory.check(Config(hidden_size=(8,)), images)
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.check(Config(hidden_size=(10**9,)), images)


def test_what_is_free_is_told_by_the_system_and_by_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.available()
    assert free is not None and 2**26 < free < 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**40, 2**40))
    limited = memory.available()
    assert limited is not None and limited <= min(2**40, int(1.5 * free)) and np.isfinite(limited)
