"""Experiments as files: what is to be run is a function of what is recorded, and each run appends a line when it ends.

So whatever ends the process, the same command goes on. A file begins with a line of the command and the machine.
"""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

from fnn import threads
from fnn.config import Config
from fnn.datasets import load
from fnn.errors import DivergenceError, UserError
from fnn.experiment import Parts, parts_of
from fnn.files import append_line, read_lines
from fnn.sweepfile import config_of
from fnn.workers import Job, attempt
from reports.speed import machine

T = TypeVar("T")
Row = Mapping[str, Any]
Settings = Mapping[str, Any]


def key(settings: Settings) -> tuple[tuple[str, Any], ...]:
    """Return what two trials have in common that come to the same.

    >>> key({"b": 0.0, "a": "ReLU"}) == key({"a": "ReLU", "b": 0})
    True
    """
    return tuple(sorted(settings.items()))


def seeded(arms: Iterable[Settings], seeds: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the tasks of settings by seeds. Equal seeds make pairs: of one split, and one order of its images.

    >>> list(seeded([{"activation": "tanh"}], [1]))
    [{'settings': {'activation': 'tanh'}, 'seed': 1}]
    """
    arms = list(arms)
    return ({"settings": dict(settings), "seed": seed} for seed in seeds for settings in arms)


def name_of(task: Row) -> tuple[Any, int]:
    """Return what identifies a run: its settings and its seed."""
    return key(task["settings"]), task["seed"]


def recorded(path: Path, command: str = "") -> list[dict[str, Any]]:
    """Return the runs of a file, its first line left out; with a command, a missing file is begun."""
    if not path.exists():
        if not command:
            return []
        append_line(path, {"command": command, "machine": machine()})
    return read_lines(path)[1:]


def missing(rows: Iterable[Row], tasks: Iterable[T]) -> Iterator[T]:
    """Yield the tasks that no row has, each once; a run that failed, unlike one that diverged, is to be run again."""
    done = {name_of(row) for row in rows if row.get("state") != "failed"}
    for task in tasks:
        if (name := name_of(task)) not in done:  # type: ignore[arg-type]
            done.add(name)
            yield task


def run(
    path: Path,
    command: str,
    tasks: Callable[[Sequence[Row]], Iterable[Row]],
    measure: Callable[[Row], dict[str, Any]],
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Run what is missing of ``tasks(rows)``, asked anew when a run has ended, and return all rows.

    ``measure``, a function of a module, runs in processes of one BLAS thread; a row is its task with what it returns.
    A run that diverges or fails is kept, with its reason.
    """
    rows = recorded(path, command)
    asked: list[Row] = []  # for the first time or again, so that none fails twice

    def ask() -> Row | None:
        task = next(missing([*rows, *asked], tasks(rows)), None)
        asked.extend([] if task is None else [task])
        return task

    def end(task: Row, result: dict[str, Any]) -> None:
        rows.append({**task, **result})
        append_line(path, rows[-1])
        print(f"{len(rows)}: {task['settings']} seed {task['seed']}: {result['state']}", flush=True)

    work(ask, measure, end, workers)
    return rows


def work(
    ask: Callable[[], T | None],
    measure: Callable[[T], dict[str, Any]],
    end: Callable[[T, dict[str, Any]], None],
    workers: int,
) -> None:
    """Measure the tasks that ``ask`` gives, in processes, until it has none and all have ended."""
    running: dict[Future[dict[str, Any]], T] = {}
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_follow) as pool:
        while True:
            while len(running) < workers and (task := ask()) is not None:
                running[pool.submit(_safely, measure, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    raise UserError(f"expected the processes of the runs to live, found one dead: {error}") from None
                end(running.pop(future), result)


def _safely(measure: Callable[[T], dict[str, Any]], task: T) -> dict[str, Any]:
    try:
        with threads.limited(1):
            return measure(task)
    except DivergenceError as error:
        return {"state": "diverged", "reason": str(error)}
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return {"state": "failed", "reason": " ".join(reason.split())[:500]}


def _follow() -> None:
    """End this process with its parent, however that ends."""
    parent = parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def trained(settings: Settings) -> dict[str, Any]:
    """Train by settings and return each epoch's validation accuracy and seconds, and how it ended."""
    reports: list[Mapping[str, Any]] = []
    kind, details = attempt(Job(0, settings), lambda report: reports.append(report) is None)
    return {
        "values": [round(report["val_accuracy"], 5) for report in reports],
        "seconds": [round(report["seconds"], 2) for report in reports],
        "state": "finished" if kind == "end" else details["kind"],
    } | ({"reason": details["reason"]} if details.get("kind") == "failed" else {})


def config_for(task: Row, **base: Any) -> Config:
    """Return the configuration of a task: its settings and its seed, over a preset and other constants."""
    return config_of({**base, **task["settings"], "seed": task["seed"], "threads": 1})


@lru_cache(maxsize=1)
def split_images(dataset: str, validation_fraction: float, seed: int, features: str, dtype: str) -> Parts:
    """Return the training images split as configured, kept from run to run."""
    config = Config(dataset=dataset, validation_fraction=validation_fraction, seed=seed, features=features, dtype=dtype)
    return parts_of(config, load(dataset))


def parts_for(config: Config) -> Parts:
    """Return the split images that a configuration trains on."""
    return split_images(config.dataset, config.validation_fraction, config.seed, config.features, config.dtype)


def rows_asked_for(
    module: str,
    document: str | None,
    path: Path,
    tasks: Callable[[Sequence[Row]], Iterable[Row]],
    measure: Callable[[Row], dict[str, Any]],
    arguments: Sequence[str],
) -> Sequence[Row]:
    """Return the recorded rows of an experiment, after what is missing has been run if the arguments say so."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=document)
    parser.add_argument("--run", action="store_true", help="run what is missing")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    given = parser.parse_args(arguments)
    return run(path, f"python -m {module} --run", tasks, measure, given.workers) if given.run else recorded(path)
