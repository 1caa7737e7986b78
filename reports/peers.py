"""One implementation training one network: ``python -m reports.peers IMPL CELL STEPS CORES``.

It prints ``ready``, and for each line that it reads trains for STEPS steps and prints the seconds that took and its
peak memory in bytes, the lead's where processes share its work. CORES is how many our own share, or ``auto``: then it
prints its choice, before. All train on Fashion-MNIST rows in single precision, one batch gathered at random a step.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import chain, cycle, islice, pairwise, starmap
from typing import Any

import numpy as np
from attrs import evolve

import fnn
from fnn import calibration, threads
from fnn.activations import ACTIVATIONS
from fnn.arrays import Array, copy, dealt, map_arrays, pitched, thaw_given, with_gaps
from fnn.calls import Runs, by_rows, call
from fnn.data import Dataset
from fnn.network import by_units
from fnn.products import product, product_with_transposed
from fnn.teams import Team
from fnn.updates import Signal, bind
from reports.cells import Cell, cell_of

Block = Callable[[], object]
RATES = {"sgd": 0.01}  # others: 1e-4, at which none diverges


def rate(cell: Cell) -> float:
    return RATES.get(cell.optimizer, 1e-4)


def arrays() -> tuple[Array, Array]:
    images = fnn.load("fashion_mnist")
    x = images.train_images.reshape(len(images.train_images), -1) / np.float32(255)
    return x, images.train_labels.astype(np.int64)


def ours(cell: Cell, steps: int, cores: str | int) -> Block:
    """The path of train.py: its stream of states, some an epoch."""
    images = fnn.load("fashion_mnist")
    return _trained(cell.sizes, cell, fnn.dataset(images.train_images, images.train_labels), steps, cores)


def calls(cell: Cell, steps: int, cores: str | int) -> Block:
    """Our own step with all widths 1 but the classes: what the interpreter, NumPy's calls and the loss cost."""
    return _trained(ones(cell), cell, _random(ones(cell), cell), steps, cores)


def ones(cell: Cell) -> tuple[int, ...]:
    """The sizes of a network as deep as the cell's, all of whose widths but the classes are 1."""
    return (1, *(1 for _ in cell.hidden), 10)


def _plan(sizes: tuple[int, ...], cell: Cell) -> fnn.Plan:
    spec = fnn.Spec(sizes, activation=cell.activation)
    return fnn.Plan(spec, fnn.OPTIMIZERS[cell.optimizer](), rate(cell), cell.batch)


def _random(sizes: tuple[int, ...], cell: Cell) -> Dataset:
    """As many images as Fashion-MNIST has for training, cut to whole batches."""
    generator, n = np.random.default_rng(0), max(cell.batch, 60_000 // cell.batch * cell.batch)
    return fnn.dataset(generator.integers(0, 256, (n, sizes[0]), np.uint8), generator.integers(0, 10, n))


def _trained(sizes: tuple[int, ...], cell: Cell, data: Dataset, steps: int, cores: str | int) -> Block:
    plan = _plan(sizes, cell)
    plan = evolve(plan, threads=calibration.choose(cores, plan, data))
    if cores == "auto":
        print(plan.threads, flush=True)
    piece = -(-plan.steps_per_epoch(len(data)) // plan.pieces(len(data)))
    states = fnn.train(plan, data, 1 << 30, steps=min(steps, piece))
    at = [next(states).step]

    def block() -> int:
        """Take as many steps or a few more, and return how many."""
        start = at[0]
        while at[0] < start + steps:
            at[0] = next(states).step
        return at[0] - start

    return block


def floor(sizes: tuple[int, ...], cell: Cell, steps: int, cores: int) -> Block:
    """The matrix products of a step as we have them made, of layers no wider by ones for the biases."""
    team = Team(cores)
    draw = lambda *shape: copy(np.random.default_rng(0).random(shape, np.float32), team.empty)  # noqa: E731
    inputs = [draw(cell.batch, sizes[0]).T, *(_rows(width, cell, team) for width in sizes[1:-1])]

    def layer(k: int) -> Runs:
        a, (i, o) = inputs[k], sizes[k : k + 2]
        w, dw = (draw(o, i).T if not k and by_units(sizes) else draw(i, o) for _ in range(2))
        below = _rows(i, cell, team)
        z, delta = (_rows(o, cell, team) if k < len(cell.hidden) else draw(o, cell.batch) for _ in range(2))

        def backward(rows: slice) -> Runs:
            add_up = product_with_transposed(a[rows], delta, dw[rows])
            return (*add_up, *product(w[rows], delta, below[rows])) if k else add_up

        work = i * o * cell.batch
        forward = by_rows(lambda rows: product(w.T[rows], a, z[rows]), o, work, team)
        if not k and by_units(sizes):
            of_units = lambda rows: product_with_transposed(delta[rows], a, dw.T[rows])  # noqa: E731
            return forward + by_rows(of_units, o, work, team)
        return forward + by_rows(backward, i, work * (2 if k else 1), team)

    return _repeated(tuple(chain.from_iterable(map(layer, range(len(inputs))))), steps, team)


def _rows(width: int, cell: Cell, team: Team) -> Array:
    """What there is of a layer's units: random numbers, as a pass lays them out."""
    out = pitched(width, cell.batch, np.float32, team.empty)
    out[:] = np.random.default_rng(0).normal(0, 1, out.shape)
    return out


def _repeated(runs: Runs, steps: int, team: Team) -> Block:
    def work() -> None:
        with np.errstate(over="ignore"):
            for _ in range(steps):
                call(runs)

    return partial(team.run, work)


def update(sizes: tuple[int, ...], cell: Cell, steps: int, cores: int) -> Block:
    """The optimizer's update of the network's parameters."""
    plan, team = _plan(sizes, cell), Team(cores)
    params = fnn.init_params(plan.spec, 0)
    gradient = np.random.default_rng(0).normal(0, 1e-3, params.theta.size).astype(np.float32)
    theta, memory, wanted = thaw_given([(params.theta, plan.optimizer.init(params), gradient)], team.empty)
    step = bind(plan.optimizer, sizes, theta, wanted, memory, team=team)

    def work() -> None:
        for k in range(steps):
            if k % 50 == 0:  # Adam's and NAdam's rules use the gradient up: what is left of it would be another
                team.meet()
                if team.leads:
                    wanted[:] = gradient
                    map_arrays(lambda array: array.fill(0) or array, memory)
            step(Signal(wanted, rate(cell), k + 1, 1.0), memory)

    return partial(team.run, work)


def units(sizes: tuple[int, ...], cell: Cell, steps: int, cores: int) -> Block:
    """The activation of each hidden layer, and its cotangent."""
    f, team = ACTIVATIONS[cell.activation], Team(cores)

    def layer(fan_in: int, width: int) -> Runs:
        z, delta, scratch = (with_gaps(_rows(width, cell, team)) for _ in range(3))
        delta[:] = 0  # it is overwritten again and again, and not to become tiny

        def of(rows: slice) -> Runs:
            return *f.apply(z[rows]), *f.pull_back(z[rows], delta[rows], scratch[rows])

        return by_rows(of, width, fan_in * width * cell.batch, team)

    return _repeated(tuple(chain.from_iterable(starmap(layer, pairwise(sizes[:-1])))), steps, team)


def gather(sizes: tuple[int, ...], cell: Cell, steps: int, cores: int) -> Block:
    """The batches' images, from rows all over the data."""
    design, team = _random(sizes, cell).design, Team(cores)
    order = np.random.default_rng(0).permutation(len(design)).reshape(-1, cell.batch)
    out = team.empty((cell.batch, design.shape[1]), design.dtype)

    def work() -> None:
        share = dealt(cell.batch, team.parts, 1)[team.part]
        for rows in islice(cycle(order[:, share]), steps):
            design.take(rows, axis=0, out=out[share], mode="clip")

    return partial(team.run, work)


#: What a step consists of besides calls. Each can be timed with all widths 1, too, under its name and a 1.
PARTS = {part.__name__: part for part in (floor, update, units, gather)}


def jax_scan(cell: Cell, steps: int) -> Block:
    """JAX: an epoch's steps in one compiled lax.scan, with optax's optimizer."""
    import jax
    import jax.numpy as jnp
    import optax

    f = {"ReLU": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "identity": lambda z: z}[cell.activation]
    rules = {
        "sgd": optax.sgd,
        "momentum": lambda lr: optax.sgd(lr, 0.9),
        "nag": lambda lr: optax.sgd(lr, 0.9, nesterov=True),
        "rmsprop": optax.rmsprop,
        "adam": optax.adam,
        "nadam": optax.nadam,
    }
    rule = rules[cell.optimizer](rate(cell))
    start = fnn.init_params(fnn.Spec(cell.sizes), 0)
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in start.layers]
    images, classes = arrays()
    x, y = jnp.asarray(images), jnp.asarray(classes.astype(np.int32))

    def loss(params: Any, a: Any, labels: Any) -> Any:
        *hidden, (w, b) = params
        for weights, bias in hidden:
            a = f(a @ weights + bias)
        return optax.softmax_cross_entropy_with_integer_labels(a @ w + b, labels).mean()

    def step(carry: Any, index: Any) -> Any:
        params, state = carry
        updates, state = rule.update(jax.grad(loss)(params, x[index], y[index]), state, params)
        return (optax.apply_updates(params, updates), state), None

    compiled = jax.jit(lambda carry, indices: jax.lax.scan(step, carry, indices)[0], donate_argnums=0)
    order = np.resize(np.random.default_rng(0).permutation(len(x)), steps * cell.batch).reshape(steps, cell.batch)
    held = [(params, rule.init(params))]

    def block() -> None:
        held[0] = jax.block_until_ready(compiled(held[0], order))

    return block


def torch(cell: Cell, steps: int) -> Block:
    """PyTorch, eager, with its fastest form of each optimizer."""
    import torch
    from torch import nn, optim

    torch.set_num_threads(threads.available())
    f = {"ReLU": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}[cell.activation]
    layers = [
        module for i, o in zip(cell.sizes[:-2], cell.sizes[1:-1], strict=True) for module in (nn.Linear(i, o), f())
    ]
    model = nn.Sequential(*layers, nn.Linear(*cell.sizes[-2:]))
    make = {
        "sgd": lambda p: optim.SGD(p, rate(cell), fused=True),
        "momentum": lambda p: optim.SGD(p, rate(cell), 0.9, fused=True),
        "nag": lambda p: optim.SGD(p, rate(cell), 0.9, nesterov=True, fused=True),
        "rmsprop": lambda p: optim.RMSprop(p, rate(cell), foreach=True),
        "adam": lambda p: optim.Adam(p, rate(cell), fused=True),
        "nadam": lambda p: optim.NAdam(p, rate(cell), foreach=True),
    }
    optimizer = make[cell.optimizer](model.parameters())
    images, classes = arrays()
    x, y, order = torch.from_numpy(images), torch.from_numpy(classes), torch.randperm(len(images))
    at = [0]

    def block() -> None:
        for _ in range(steps):
            index = order[at[0] : at[0] + cell.batch]
            at[0] = (at[0] + cell.batch) % (len(x) - cell.batch)
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()

    return block


def keras(cell: Cell, steps: int) -> Block:
    """Keras on JAX: Model.fit, compiled."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    names = {"ReLU": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "identity": "linear"}
    k = keras.optimizers
    make = {
        "sgd": k.SGD,
        "momentum": lambda lr: k.SGD(lr, 0.9),
        "nag": lambda lr: k.SGD(lr, 0.9, nesterov=True),
        "rmsprop": k.RMSprop,
        "adam": k.Adam,
        "nadam": k.Nadam,
    }
    dense = [keras.layers.Dense(width, names[cell.activation]) for width in cell.hidden]
    model = keras.Sequential([keras.layers.Input((784,)), *dense, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make[cell.optimizer](rate(cell)), loss)
    x, y = arrays()
    rows = np.resize(np.arange(len(x)), steps * cell.batch)
    x, y = x[rows], y[rows]
    return lambda: model.fit(x, y, batch_size=cell.batch, verbose=0)


def sklearn(cell: Cell, steps: int) -> Block:
    """scikit-learn's MLPClassifier, which has sgd and adam only: the nearest of them."""
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    names = {"ReLU": "relu", "tanh": "tanh", "sigmoid": "logistic", "identity": "identity"}
    solver = "sgd" if cell.optimizer in ("sgd", "momentum", "nag") else "adam"
    model = MLPClassifier(
        cell.hidden, activation=names[cell.activation], solver=solver, batch_size=cell.batch, alpha=0, max_iter=1
    )
    x, y = arrays()
    rows = np.resize(np.arange(len(x)), steps * cell.batch)
    x, y = x[rows], y[rows]
    return lambda: model.fit(x, y)


OWN: dict[str, Callable[[Cell, int, Any], Block]] = {
    "fnn": ours,
    "calls": calls,
    **{name: lambda cell, *others, part=part: part(cell.sizes, cell, *others) for name, part in PARTS.items()},
    **{f"{name}1": lambda cell, *others, part=part: part(ones(cell), cell, *others) for name, part in PARTS.items()},
}
PEERS = {peer.__name__: peer for peer in (jax_scan, torch, keras, sklearn)}


def main() -> None:
    name, cell, steps, cores = sys.argv[1:]
    threads.limited(1 if name in OWN else threads.available())  # of the BLAS
    if name in OWN:
        block = OWN[name](cell_of(cell), int(steps), cores if cores == "auto" else int(cores))
    else:
        block = PEERS[name](cell_of(cell), int(steps))
    block()  # compilation, page faults, caches
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        done = block()
        seconds = (time.perf_counter() - began) * (int(steps) / done if isinstance(done, int) else 1)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


if __name__ == "__main__":
    main()
