"""How an optimizer's rule is applied: to one flat vector, block by block, from outside a pure function.

A rule first hears the signal of a step and works out what all blocks have in common; what it returns is then done to
each block, whose arrays it may overwrite: they are private copies, made and frozen by ``Optimizer.update`` or, once a
call, by ``training.run_epoch``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from attrs import evolve, frozen

from fnn.arrays import LINE, Array, dealt, empty, freeze, freeze_all, map_arrays, spans, thaw
from fnn.network import Params, bias_spans
from fnn.teams import SOLO, Team

State = Any  # each optimizer's own frozen record
BLOCK = 3 << 14  # elements of a block, about: few enough for a second-level cache, many enough to make calls cheap


class Signal(NamedTuple):
    """What an optimizer hears at a step: the gradient, the learning rate, the step's number 1, 2, ... and the loss.

    ``scale`` is by what the gradient is to be multiplied first: clipping's contribution. There is one a step, and a
    named tuple is made in half the time of a frozen record.
    """

    grad: Array
    learning_rate: float
    step: int
    loss: float = float("nan")
    scale: float = 1.0

    def numbers(self, *values: float) -> list[Array]:
        """Return numbers as arrays of the gradient's dtype, to be made once a step: NumPy converts others each time.

        >>> Signal(np.zeros(2, np.float32), 0.1, 1).numbers(0.5)
        [array(0.5, dtype=float32)]
        """
        return [np.array(value, self.grad.dtype) for value in values]


@frozen(eq=False)
class Block:
    """Consecutive elements of the parameters and their gradient, and scratch memory of the same length."""

    arrays: tuple[Array, Array, Array]  # theta, gradient, scratch
    biases: tuple[slice, ...] = ()  # where biases stand, among weights


OnBlock = Callable[[Block, State], None]
Rule = Callable[[Signal], OnBlock]


@frozen
class Optimizer:
    """A pair of pure functions: ``init(params) -> state`` and ``update(signal, state, params) -> (params, state)``.

    ``begin`` sees whole vectors and scalars before what ``rule`` returns is done block by block; it writes no array.
    """

    init: Callable[[Params], State]
    rule: Rule
    begin: Callable[[Signal, State], tuple[Signal, State]] = lambda signal, state: (signal, state)
    uses_loss: bool = False

    def update(self, signal: Signal, state: State, params: Params) -> tuple[Params, State]:
        """Return the parameters and the state after one step; the arguments stay as they are.

        >>> params = Params((1, 1), np.array([1.0, 0.0]))
        >>> def descend(block, state):
        ...     block.arrays[0][:] -= 0.1 * block.arrays[1]
        >>> opt = Optimizer(lambda params: (), lambda signal: descend)
        >>> opt.update(Signal(np.array([2.0, 0.0]), 0.1, 1), opt.init(params), params)[0].theta
        array([0.8, 0. ])
        """
        theta, private = np.array(params.theta), thaw(state)
        signal = signal._replace(grad=np.array(signal.grad, theta.dtype))
        state = bind(self, params.sizes, theta, signal.grad, private)(signal, private)
        return evolve(params, theta=freeze(theta)), freeze_all(state)


def within(places: slice, span: slice) -> slice | None:
    """Return which elements of a span are at some places, each ``step`` from the next; None if none is.

    >>> within(slice(4, 20, 5), slice(5, 15)), within(slice(4, 20, 5), slice(5, 9))
    (slice(4, 10, 5), None)
    """
    left_out = max(0, -(-(span.start - places.start) // places.step))
    start, stop = places.start + left_out * places.step, min(places.stop, span.stop)
    return slice(start - span.start, stop - span.start, places.step) if start < stop else None


Step = Callable[[Signal, State], State]


def bind(
    optimizer: Optimizer,
    sizes: tuple[int, ...],
    theta: Array,
    grad: Array,
    state: State,
    block: int = BLOCK,
    team: Team = SOLO,
) -> Step:
    """Return the update that overwrites ``theta`` and the arrays of ``state``, the caller's own, block by block.

    The blocks are of about ``block`` elements, equal but for the last of each part that a process of the ``team`` does.
    """
    wholes = dealt(theta.size, team.parts, LINE)  # of whole lines: no two parts write into one
    most = theta.size - wholes[-1].start
    block = -(-most // max(1, round(most / block)) // LINE) * LINE
    scratch = [empty((min(block, theta.size),), theta.dtype) for _ in wholes]

    def cut(part: int, span: slice) -> tuple[Block, State]:
        arrays = theta[span], grad[span], scratch[part][: span.stop - span.start]
        biases = (within(places, span) for places in bias_spans(sizes))
        return Block(arrays, tuple(filter(None, biases))), map_arrays(lambda a: a[span], state)

    shares = [
        [cut(part, slice(whole.start + s.start, whole.start + s.stop)) for s in spans(whole.stop - whole.start, block)]
        for part, whole in enumerate(wholes)
    ]

    def step(signal: Signal, state: State) -> State:
        signal, state = optimizer.begin(signal, state)
        on_block = optimizer.rule(signal)
        team.meet()  # before any block changes that all have looked at
        for block, slots in shares[team.part]:
            on_block(block, slots)
        return state

    return step
