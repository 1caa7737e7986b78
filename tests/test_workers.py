"""Workers: what they tell, and that neither their death nor a trial's failure goes beyond the trial."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fnn.datasets import load
from fnn.errors import UserError
from fnn.experiment import observe, parts_of
from fnn.sweepfile import config_of
from fnn.workers import DaskPool, Event, Job, LocalPool, Pool, attempt
from tests.shell import DATA

TINY = {"preset": "assignment", "hidden_size": 8, "batch_size": 64, "epochs": 2}
LONG = TINY | {"epochs": 100_000}


@pytest.fixture(autouse=True)
def _small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNN_DATA_DIR", str(DATA))


@pytest.fixture
def pool() -> Iterator[LocalPool]:
    pool = LocalPool(1)
    yield pool
    pool.close()


def until(pool: Pool, right: Callable[[Event], bool], seconds: float = 30) -> list[Event]:
    """Return the events up to the first one that is right."""
    found: list[Event] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in pool.events(0.2):
            found.append(event)
            if right(event):
                return found
    raise AssertionError(f"not in {seconds} s: {found[-3:]}")


def over(number: int) -> Callable[[Event], bool]:
    return lambda event: event[0] == number and event[1] != "epoch"


def accuracies(events: list[Event], number: int) -> list[tuple[int, float]]:
    return [(d["epoch"], d["val_accuracy"]) for n, kind, d in events if (n, kind) == (number, "epoch")]


def told(settings: dict[str, Any]) -> list[tuple[int, float]]:
    """Return what the experiment itself reports."""
    config = config_of(settings)
    reports = (report for _, report in observe(config, parts_of(config, load("fashion_mnist"))))
    return [(report.epoch, report.val_accuracy) for report in reports if report]


def test_a_trial_is_the_experiment() -> None:
    found: list[Any] = []
    assert attempt(Job(0, TINY), lambda report: not found.append(report)) == ("end", {"stopped": False})
    assert [(one["epoch"], one["val_accuracy"]) for one in found] == told(TINY)


def test_a_trial_ends_when_told_to_or_out_of_patience() -> None:
    found: list[Any] = []
    assert attempt(Job(0, LONG), lambda report: bool(found.append(report)) or report["epoch"] < 3) == (
        "end",
        {"stopped": True},
    )
    assert len(found) == 3
    assert attempt(Job(0, LONG | {"patience": 1, "learning_rate": 1e-9}), lambda _: True) == ("end", {"stopped": False})


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        (TINY | {"learning_rate": 1e30, "activation": "ReLU"}, "diverged", "at step"),
        (TINY | {"hidden_size": [8, 8], "num_layers": 3}, "failed", "expected one width or 3"),
        (TINY | {"data_dir": "nowhere"}, "failed", "found no fashion_mnist"),
    ],
)
def test_what_goes_wrong_is_the_trials_reason(settings: dict[str, Any], kind: str, words: str) -> None:
    ended, details = attempt(Job(0, settings), lambda _: True)
    assert ended == "error" and details["kind"] == kind and words in details["reason"]


def test_a_killed_worker_is_replaced_and_costs_its_trial_only(pool: LocalPool) -> None:
    pool.start(Job(0, LONG))
    assert pool.free() == 0
    until(pool, lambda event: event[1] == "epoch")
    os.kill(pool._workers[0].process.pid, signal.SIGKILL)
    *_, (number, kind, details) = until(pool, over(0))
    assert (number, kind, details["kind"]) == (0, "error", "died") and "SIGKILL" in details["reason"]
    assert pool.free() == 1
    pool.start(Job(1, TINY))
    events = until(pool, over(1))
    assert accuracies(events, 1) == told(TINY) and events[-1] == (1, "end", {"stopped": False})
    # A worker that dies between trials is replaced too, and the trial isn't its victim's.
    pool._workers[0].process.kill()
    pool._workers[0].process.join()
    pool.start(Job(2, TINY))
    assert until(pool, over(2))[-1][1] == "end"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_are_left_to_the_parent(pool: LocalPool, number: int) -> None:
    pool.start(Job(0, LONG, asks=True))
    until(pool, lambda event: event[1] == "epoch")  # it has begun, and waits
    os.kill(pool._workers[0].process.pid, number)
    pool.answer(0, True)
    assert until(pool, lambda event: True)[-1][1:2] == ("epoch",)
    pool.answer(0, False)
    assert until(pool, over(0))[-1] == (0, "end", {"stopped": True})


def test_early_termination_is_asked_after_each_epoch(pool: LocalPool) -> None:
    pool.start(Job(0, LONG, asks=True))
    for epoch in (1, 2, 3):
        events = until(pool, lambda event: event[1] == "epoch")
        assert events[-1][2]["epoch"] == epoch and not pool.events(0.05), "it waits for the answer"
        pool.answer(0, epoch < 3)
    assert until(pool, over(0))[-1] == (0, "end", {"stopped": True})


def test_workers_die_with_their_pool(pool: LocalPool) -> None:
    pool.start(Job(0, LONG))
    until(pool, lambda event: event[1] == "epoch")
    pid = pool._workers[0].process.pid
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_trials_are_tracked_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Recorder:
        def log(self, metrics: dict[str, float], epoch: int) -> None:
            opened.append((epoch, metrics["val_accuracy"]))

        def finish(self, code: int) -> None:
            opened.append(code)

    def open_run(mode: str, entity: str, project: str, name: str, config: dict[str, Any], directory: Path) -> Any:
        opened.append((mode, project, name, config["trial"], os.environ["WANDB_RUN_GROUP"], directory))
        return Recorder()

    monkeypatch.setattr("fnn.workers.open_run", open_run)
    monkeypatch.setenv("WANDB_RUN_GROUP", "")
    job = Job(4, TINY, wandb_mode="offline", wandb_project="p", group="sweep", directory=str(tmp_path))
    attempt(job, lambda _: True)
    name = "hl_1_bs_64_ac_sigmoid_op_sgd_sz_8_lr_0.1_ep_2_wi_random_wd_0_lo_ce_fashion_mnist_seed_0"
    assert opened == [("offline", "p", name, 4, "sweep", tmp_path), *told(TINY), 0]


def test_a_wrong_address_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="--dask: expected the address of a scheduler, found 'nowhere:x'"):
        DaskPool("nowhere:x")


def test_a_failed_connection_leaves_no_client_for_the_collector() -> None:
    from distributed import Client

    gc.disable()
    try:
        with pytest.raises(UserError):
            DaskPool("nowhere:x")
        assert not [one for one in gc.get_objects() if issubclass(type(one), Client)]
    finally:
        gc.enable()


def test_a_cluster_of_two_processes_of_which_one_is_killed_in_mid_trial() -> None:
    """Its trial is run again by the other; each epoch is told once, and all are what the experiment itself reports."""
    from distributed import LocalCluster

    settings = TINY | {"epochs": 800}
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    cluster: Any
    with LocalCluster(processes=True, **options) as cluster:
        pool = DaskPool(cluster.scheduler_address)
        try:
            assert pool.free() == 2
            for number in (0, 1):
                pool.start(Job(number, settings))
            events = until(pool, lambda event: event[2].get("epoch", 0) >= 3)
            victim, keys = next((address, keys) for address, keys in pool._client.processing().items() if keys)
            os.kill(pool._client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
            assert len(keys) == 1 and len(pool._running) == 2
            pool.start(Job(2, LONG, asks=True))
            pool.answer(2, False)
            pool.start(Job(3, TINY | {"learning_rate": 1e30, "activation": "ReLU"}))
            events += until(pool, lambda _: len(pool._running) == 0, 40)
        finally:
            pool.close()
    expected = told(settings)
    assert accuracies(events, 0) == expected and accuracies(events, 1) == expected
    ends = {number: (kind, details) for number, kind, details in events if kind != "epoch"}
    assert len(ends) == sum(kind != "epoch" for _, kind, _ in events) == 4, "each ends once"
    assert ends[0] == ends[1] == ("end", {"stopped": False}) and ends[2] == ("end", {"stopped": True})
    assert ends[3][1]["kind"] == "diverged"
