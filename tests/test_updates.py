"""How an update is applied: in blocks and parts of any size, purely."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn import network, updates
from fnn.arrays import copy, freeze, map_arrays, same
from fnn.network import Params
from fnn.optimizers import OPTIMIZERS, with_averaging, with_clipping, with_decoupled_decay, with_l2, with_schedule
from fnn.schedules import warmup_cosine
from fnn.teams import Team
from fnn.updates import Signal, bind, within
from tests.strategies import generators
from tests.test_optimizers import ROWS, SIZES, N, gradients


@pytest.fixture(autouse=True)
def layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first layer stands unit by unit, the second input by input."""
    monkeypatch.setattr(network, "LARGE", 16)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.integers(0, 40), st.integers(0, 40))
def test_places_within_a_span_are_those_that_both_hold(start: int, stop: int, step: int, first: int, end: int) -> None:
    places, span = slice(start, stop, step), slice(first, end)
    found = within(places, span)
    both = set(range(start, stop, step)) & set(range(first, end))
    assert (set() if found is None else {first + place for place in range(found.start, found.stop, step)}) == both
    assert (found is None) == (not both)


@pytest.mark.parametrize("dtype", ["int64", "float32"])
@ROWS
def test_a_gradient_of_another_precision_is_taken_in_that_of_the_parameters(name: str, dtype: str) -> None:
    optimizer, params = OPTIMIZERS[name](), Params(SIZES, freeze(np.zeros(N)))
    grad = np.arange(N).astype(dtype)
    found, expected = (
        optimizer.update(Signal(g, 0.1, 1, 1.0), optimizer.init(params), params) for g in (grad, grad.astype(float))
    )
    assert same(found, expected)


@ROWS
@given(data=st.data(), rng=generators(), dtype=st.sampled_from(["float32", "float64"]))
def test_blocks_of_any_size_give_bitwise_the_same(
    name: str, data: st.DataObject, rng: np.random.Generator, dtype: str
) -> None:
    wrap = (with_l2(0.01), with_decoupled_decay(0.1), with_clipping(1.0), with_schedule(warmup_cosine(10)))
    wrap += (with_averaging(0.9),)
    optimizer = reduce(lambda inner, outer: outer(inner), wrap, OPTIMIZERS[name]())
    theta, grads = rng.normal(size=N).astype(dtype), gradients(rng, 10).astype(dtype)

    def run(block: int, parts: int) -> tuple[bytes, Any]:
        team = Team(parts)
        private, grad = copy(theta, team.empty), team.empty(theta.shape, theta.dtype)
        begun = map_arrays(lambda a: copy(a, team.empty), optimizer.init(Params(SIZES, freeze(np.array(theta)))))
        update = bind(optimizer, SIZES, private, grad, begun, block, team)

        def work() -> Any:
            state = begun
            for step, g in enumerate(grads, 1):
                if team.leads:
                    grad[:] = g
                team.meet()
                state = update(Signal(grad, 0.1, step, 1.0 / step), state)
                team.meet()
            return state

        state = team.run(work)
        return private.tobytes(), state

    whole, state = run(N, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updates, "LINE", 1)  # for several parts of so few parameters
        found, other = run(data.draw(st.integers(1, N)), data.draw(st.integers(1, 3)))
    assert found == whole and same(state, other)


@ROWS
@given(rng=generators())
def test_update_is_pure_and_returns_read_only_arrays(name: str, rng: np.random.Generator) -> None:
    optimizer = with_averaging(0.9)(with_l2(0.1)(with_clipping(0.5)(OPTIMIZERS[name]())))
    params = Params(SIZES, freeze(rng.normal(size=N)))
    state = optimizer.init(params)
    for step in range(1, 4):
        signal = Signal(freeze(rng.normal(size=N)), 0.1, step, 1.0)
        before = *map_arrays(np.array, (params, state)), signal._replace(grad=signal.grad.copy())
        result = optimizer.update(signal, state, params)
        assert same(before, (params, state, signal))
        assert same(result, optimizer.update(signal, state, params))
        held: list[np.ndarray] = []
        map_arrays(lambda a, held=held: held.append(a) or a, result)
        assert held and not any(a.flags.writeable for a in held)
        assert not any(np.may_share_memory(a, b) for a in held for b in (params.theta, signal.grad))
        params, state = result
