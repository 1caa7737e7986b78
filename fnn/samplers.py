"""What to try next, and what to give up: pure functions of a sweep, the trials so far and a seed.

Grid, random and bayes are wandb's own engine (the package ``sweeps``), and so is hyperband's early termination; ``tpe``
is optuna's tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization").
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from math import isfinite
from typing import Any

import numpy as np
from attrs import frozen

from fnn.arrays import rng
from fnn.errors import UserError
from fnn.files import plain
from fnn.sweepfile import Sweep, engine, hyper

Settings = dict[str, Any]


@frozen
class Past:
    """A trial as samplers see it: its settings, the metric after each epoch, and whether it is over."""

    settings: Mapping[str, Any]
    values: tuple[float, ...]
    state: str  # running, finished or failed


def propose(sweep: Sweep, history: Sequence[Past], seed: int) -> Settings | None:
    """Return the settings of trial number ``len(history)``, constants included, or None at the end of a grid.

    Those of grid and random depend on the number and the seed only, so any number of workers gets the same trials.
    """
    with _drawn_from(seed, len(history)):
        search = _engine(sweep.method)  # apart from the draws, since the first import of an engine draws too
    with _drawn_from(seed, len(history)):
        if sweep.method == "grid":
            return _grid(sweep, len(history))
        settings = search(sweep, history, seed)
    return {name: plain(value) for name, value in settings.items()}


def given_up(sweep: Sweep, history: Sequence[Past]) -> frozenset[int]:
    """Return the numbers of the running trials that early termination stops: none without ``early_terminate``.

    At the end of its brackets a trial goes on only among the best ``1 / eta`` of all trials that came as far.
    """
    if not sweep.early:
        return frozenset()
    runs = _runs(sweep, history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return frozenset(int(run.name) for run in engine().stop_runs(_definition(sweep), runs))


def size(sweep: Sweep) -> int | None:
    """Return the number of points of a grid, None for the other methods."""
    if sweep.method != "grid":
        return None
    block = 1
    while len(_grid_points(_Key(sweep), block)) == block:
        block *= 4
    return len(_grid_points(_Key(sweep), block))


@contextmanager
def _drawn_from(seed: int, number: int) -> Iterator[None]:
    """Give the global generators, from which the engines draw, a state that is theirs for the block only."""
    before = random.getstate(), np.random.get_state()
    here = rng(seed, "sweep", number)
    random.seed(int(here.integers(2**32)))
    np.random.seed(int(here.integers(2**32)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that did not converge: the engine then takes a random point
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _definition(sweep: Sweep) -> dict[str, Any]:
    metric = {
        **sweep.source.get("metric", {}),
        "name": sweep.metric,
        "goal": "maximize" if sweep.maximize else "minimize",
    }
    early = {"early_terminate": dict(sweep.early)} if sweep.early else {}
    method = "random" if sweep.method == "tpe" else sweep.method
    return {"method": method, "metric": metric, "parameters": {k: dict(v) for k, v in sweep.parameters.items()}} | early


def _runs(sweep: Sweep, history: Sequence[Past]) -> list[Any]:
    return [
        engine().SweepRun(
            name=str(number),
            config={name: {"value": value} for name, value in past.settings.items()},
            state=past.state,
            sampledHistory=[{sweep.metric: value} for value in past.values if isfinite(value)],
        )
        for number, past in enumerate(history)
    ]


def _engine(method: str) -> Callable[[Sweep, Sequence[Past], int], Settings]:
    engine()
    if method == "tpe":
        return partial(_tpe, _optuna())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "bayes":
            from sweeps.bayes_search import bayes_search_next_run

            return lambda sweep, past, _: _flat(bayes_search_next_run(_runs(sweep, past), _definition(sweep)))
        # Not sweeps.next_run, which imports scikit-learn for all methods.
        from sweeps.random_search import random_search_next_runs

        return lambda sweep, _past, _seed: _flat(random_search_next_runs(_definition(sweep))[0])


def _flat(run: Any) -> Settings:
    return {name: item["value"] for name, item in run.config.items()}


class _Key:
    """A sweep as a key of the cache, by its identity."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.text = sweep, repr(sweep.identity)

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text


@lru_cache(maxsize=16)
def _grid_points(key: _Key, block: int) -> list[Settings]:
    """Return the first ``block`` points of a grid, in the engine's order; fewer where it ends."""
    from sweeps.grid_search import grid_search_next_runs

    return [plain(_flat(run)) for run in grid_search_next_runs([], _definition(key.sweep), n=block) if run is not None]


def _grid(sweep: Sweep, number: int) -> Settings | None:
    block = 1
    while block <= number:
        block *= 4  # so that the engine, which begins each time at the grid's first point, is called but a few times
    points = _grid_points(_Key(sweep), block)
    return dict(points[number]) if number < len(points) else None


def _tpe(optuna: Any, sweep: Sweep, history: Sequence[Past], seed: int) -> Settings:
    """Ask optuna: for an index where values are listed, else for a quantile of wandb's distribution."""
    hypers = {name: hyper(name, sweep.parameters[name]) for name in sweep.varying}
    space = {
        name: optuna.distributions.CategoricalDistribution(range(len(one.config["values"])))
        if "values" in one.config
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name, one in hypers.items()
    }
    pick = max if sweep.maximize else min
    known = [pick(past.values) for past in history if past.values]
    worst = (min if sweep.maximize else max)(known, default=0.0)  # what failed counts as the worst, so as to keep away

    def told(past: Past) -> Any:
        over = past.state != "running"
        value = worst if past.state == "failed" or not past.values else pick(past.values)
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if over else optuna.trial.TrialState.RUNNING,
            params={name: _position(one, past.settings[name]) for name, one in hypers.items()},
            distributions=space,
            value=value if over else None,
        )

    sampler = optuna.samplers.TPESampler(seed=int(rng(seed, "tpe", len(history)).integers(2**31)), constant_liar=True)
    study = optuna.create_study(direction="maximize" if sweep.maximize else "minimize", sampler=sampler)
    study.add_trials([told(past) for past in history])
    asked = study.ask(space).params
    constants = {name: spec["value"] for name, spec in sweep.parameters.items() if "value" in spec}
    return constants | {name: _value(one, asked[name]) for name, one in hypers.items()}


def _position(one: Any, value: Any) -> float | int:
    if "values" in one.config:
        return one.config["values"].index(value)
    return float(np.clip(one.cdf(value), 0, 1))


def _value(one: Any, position: Any) -> Any:
    return one.config["values"][position] if "values" in one.config else one.ppf(position)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            f"sweep: expected optuna for scheduler: {{engine: optuna}}: pip install optuna ({error})"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
