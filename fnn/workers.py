"""Who runs a sweep's trials: processes of this machine, or a dask cluster. Both tell the same events in the end.

A trial is an experiment without its edges: no directory, no figures, and the test images stay unseen.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from attrs import asdict, define, field, frozen

from fnn import threads
from fnn.config import Config
from fnn.datasets import load
from fnn.errors import DivergenceError, UserError
from fnn.experiment import Parts, observe, out_of_patience
from fnn.naming import name_of
from fnn.sweepfile import config_of
from fnn.teaching import prepared
from fnn.tracking import Tracker, open_run

#: Settings that parts depend on.
SPLIT = ("dataset", "data_dir", "validation_fraction", "seed", "dtype", "features", "teacher")
Event = tuple[int, str, Mapping[str, Any]]  # trial, epoch or end or error, details
Tell = Callable[[Mapping[str, Any]], bool]  # tells of an epoch, and answers whether to go on


@frozen
class Job:
    """A trial as a worker gets it. ``asks``: whether early termination is asked after each epoch."""

    number: int
    settings: Mapping[str, Any]
    asks: bool = False
    wandb_mode: str = "disabled"
    wandb_entity: str = ""
    wandb_project: str = ""
    group: str = ""
    directory: str = "."


class Pool(Protocol):
    """What runs jobs. ``events`` waits so many seconds at most; ``answer`` is due after each epoch of one that asks."""

    def free(self) -> int: ...
    def start(self, job: Job) -> None: ...
    def events(self, seconds: float) -> list[Event]: ...
    def answer(self, number: int, go_on: bool) -> None: ...
    def close(self) -> None: ...


def attempt(job: Job, tell: Tell) -> tuple[str, dict[str, Any]]:
    """Run a trial to its end and return how it ended; whatever it raises is its own reason only."""
    try:
        with threads.limited(1):
            return "end", {"stopped": not _epochs(job, tell)}
    except DivergenceError as error:
        return "error", {"kind": "diverged", "reason": str(error)}
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return "error", {"kind": "failed", "reason": " ".join(reason.split())[:500]}


def _epochs(job: Job, tell: Tell) -> bool:
    """Tell of each epoch; returns False if told not to go on."""
    config = config_of({**job.settings, "threads": 1})
    reports = ()
    with _tracked(job, config) as tracker:
        for _, report in observe(config, _parts(config)):
            if report is None:
                continue
            reports = (*reports, report)
            details = asdict(report)
            tracker.log({name: value for name, value in details.items() if name != "epoch"}, report.epoch)
            if not tell(details):
                return False
            if out_of_patience(config, reports):
                return True
    return True


@contextmanager
def _tracked(job: Job, config: Config) -> Iterator[Tracker]:
    if job.wandb_mode == "disabled":
        yield Tracker()
        return
    os.environ["WANDB_RUN_GROUP"] = job.group
    settings = {**config.as_dict(), "trial": job.number}
    tracker = open_run(
        job.wandb_mode, job.wandb_entity, job.wandb_project, name_of(config), settings, Path(job.directory)
    )
    code = 1
    try:
        yield tracker
        code = 0
    finally:
        tracker.finish(code)


def _parts(config: Config) -> Parts:
    return _split_once(**{name: getattr(config, name) for name in SPLIT})


@lru_cache(maxsize=1)
def _split_once(**settings: Any) -> Parts:
    """Return the split images, kept from trial to trial; the settings are all that they depend on."""
    config = Config(**settings)
    return prepared(config, load(config.dataset, Path(config.data_dir) if config.data_dir else None))


@define(eq=False)
class _Worker:
    process: Any
    pipe: Any  # a Connection
    job: Job | None = None


@define(eq=False)
class LocalPool:
    """Spawned processes of one BLAS thread each, which die with this one; one that dies is replaced."""

    count: int
    _workers: list[_Worker] = field(init=False, factory=list)

    def free(self) -> int:
        return self.count - sum(worker.job is not None for worker in self._workers)

    def start(self, job: Job) -> None:
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._new()
        try:
            worker.pipe.send(job)
        except OSError:  # it died in idleness
            self._drop(worker)
            worker = self._new()
            worker.pipe.send(job)
        worker.job = job

    def events(self, seconds: float) -> list[Event]:
        found = []
        for pipe in connection.wait([worker.pipe for worker in self._workers if worker.job], seconds):
            worker = next(worker for worker in self._workers if worker.pipe is pipe)
            assert worker.job is not None, "idle ones aren't waited for"
            number = worker.job.number
            try:
                kind, details = worker.pipe.recv()
            except (EOFError, OSError):
                found.append((number, "error", {"kind": "died", "reason": self._drop(worker)}))
                continue
            found.append((number, kind, details))
            if kind != "epoch":
                worker.job = None
        return found

    def answer(self, number: int, go_on: bool) -> None:
        worker = next(worker for worker in self._workers if worker.job and worker.job.number == number)
        with suppress(OSError):  # if it has died, its end of the pipe says so
            worker.pipe.send(go_on)

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _new(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the worker's is the only one, and its death is seen
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _drop(self, worker: _Worker) -> str:
        """Forget a dead worker and return how it died, in words."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(5)
        code = worker.process.exitcode
        if code is None:
            worker.process.kill()
            worker.process.join()
        if code is not None and code < 0:
            hint = ", out of memory perhaps" if code == -signal.SIGKILL else ""
            return f"its process was killed by {signal.Signals(-code).name}{hint}"
        return f"its process ended with code {code}"


def _serve(pipe: Connection) -> None:
    """Run jobs until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or a service sends it to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()

    def tell(job: Job, report: Mapping[str, Any]) -> bool:
        pipe.send(("epoch", report))
        return bool(pipe.recv()) if job.asks else True

    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            pipe.send(attempt(job, lambda report, job=job: tell(job, report)))


def _die_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@define(eq=False)
class DaskPool:
    """The threads of a dask cluster's workers. What a dying worker had begun, dask runs again on another: training is
    deterministic, so the epochs that are known already are the same and aren't told twice."""

    address: str
    _client: Any = field(init=False)
    _topic: str = field(init=False)
    _inbox: SimpleQueue[Event] = field(init=False, factory=SimpleQueue)
    _running: dict[int, Any] = field(init=False, factory=dict)
    _told: dict[int, int] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise UserError(f"--dask: expected dask: pip install distributed ({error})") from None
        reason = self._connected(Client)
        if reason is not None:
            # What is left of the client ends here: by the collector's choice it might while the next one begins, under
            # a lock that both want.
            gc.collect()
            raise UserError(f"--dask: expected the address of a scheduler, found {self.address!r} ({reason})")
        self._topic = f"fnn-{os.getpid()}-{id(self)}"
        self._client.subscribe_topic(self._topic, self._heard)

    def _connected(self, client: Callable[..., Any]) -> str | None:
        """Connect, or return why not; the error, which holds the client, is gone with the return."""
        try:
            self._client = client(self.address, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            return str(error)
        return None

    def free(self) -> int:
        try:
            return sum(self._client.nthreads().values()) - len(self._running)
        except (OSError, TimeoutError):
            return 0  # gone, or away for a moment: what is running tells which

    def start(self, job: Job) -> None:
        self._told[job.number] = 0
        future = self._client.submit(_on_cluster, job, self._topic, pure=False, key=f"{self._topic}-{job.number}")
        self._running[job.number] = future
        future.add_done_callback(lambda done: self._inbox.put((job.number, "done", {"future": done})))

    def events(self, seconds: float) -> list[Event]:
        try:
            number, kind, details = self._inbox.get(timeout=seconds)
        except Empty:
            return []
        if number not in self._running:
            return []
        if kind == "epoch":
            return self._news(number, [details])
        future = self._running.pop(number)
        if future.status == "error":  # its workers have died again and again
            error = future.exception()
            reason = f"{type(error).__name__}: {error}"
            return [(number, "error", {"kind": "died", "reason": " ".join(reason.split())[:500]})]
        if future.status != "finished":
            raise UserError(f"--dask: expected the scheduler {self.address} to stay, found it gone; start another")
        kind, details, reports = future.result()
        return [*self._news(number, reports), (number, kind, details)]

    def answer(self, number: int, go_on: bool) -> None:
        if not go_on and number in self._running:
            from distributed import Event

            Event(f"{self._topic}-{number}", client=self._client).set()

    def close(self) -> None:
        with suppress(Exception):
            self._client.cancel(list(self._running.values()), force=True)
        self._client.close()

    def _heard(self, event: tuple[Any, Any]) -> None:
        number, report = event[1]
        self._inbox.put((number, "epoch", report))

    def _news(self, number: int, reports: list[Mapping[str, Any]]) -> list[Event]:
        news = [report for report in reports if report["epoch"] > self._told[number]]
        self._told[number] += len(news)
        return [(number, "epoch", report) for report in news]


def _on_cluster(job: Job, topic: str) -> tuple[str, dict[str, Any], list[Mapping[str, Any]]]:
    """Run a trial on a dask worker; the reports come along, since news of epochs may be overtaken by the end."""
    from distributed import Event, get_client, get_worker

    worker, reports = get_worker(), []
    stop = Event(f"{topic}-{job.number}", client=get_client()) if job.asks else None

    def tell(report: Mapping[str, Any]) -> bool:
        reports.append(report)
        worker.log_event(topic, (job.number, report))
        return not (stop is not None and stop.is_set())

    kind, details = attempt(job, tell)
    return kind, details, reports
