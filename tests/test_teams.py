"""Processes that work together: what they share, how they wait, and that none is left, whatever happens to one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fnn import calls, teams, training
from fnn.arrays import LINE, same
from fnn.augment import Augmentation
from fnn.data import Dataset, dataset
from fnn.network import Spec
from fnn.optimizers import OPTIMIZERS, with_clipping, with_l2
from fnn.teams import SOLO, Memory, Team
from fnn.training import Plan, TrainState, initial_state, run_epoch, train

pytestmark = pytest.mark.skipif(not teams.AVAILABLE, reason="a system where there are no teams")


def children() -> set[str]:
    """Return the processes that this one has started, in whichever thread, and not waited for."""
    return {child for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()}


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    before = children()  # e.g. multiprocessing's own
    yield
    assert children() <= before


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_each_process_does_its_part_and_sees_what_the_others_did(parts: int) -> None:
    team = Team(parts)
    pids, sums = (team.empty((parts,), np.int64) for _ in range(2))

    def work() -> str:
        pids[team.part] = os.getpid()
        for k in range(500):
            team.meet()  # of all that the others have read ...
            sums[team.part] = k + team.part
            team.meet()  # ... or written
            assert sums.sum() == parts * k + parts * (parts - 1) // 2
        return f"from {os.getpid()}, who leads: {team.leads}"

    for _ in range(2):
        assert team.run(work) == f"from {os.getpid()}, who leads: True"
        assert len(set(pids.tolist())) == parts and pids[-1] == os.getpid()


def test_who_waits_for_long_sleeps() -> None:
    team = Team(2)
    used = team.empty((1,), float)

    def work() -> None:
        began = time.process_time()
        if team.leads:
            time.sleep(0.5)
        team.meet()
        if not team.leads:
            used[0] = time.process_time() - began

    team.run(work)
    assert 0 < used[0] < 0.4


@pytest.mark.parametrize(
    ("end", "how", "said"),
    [
        (lambda: 1 / 0, " by an error, told above", "ZeroDivisionError"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), ", killed by signal 9", ""),
    ],
)
def test_the_end_of_a_process_is_told_and_ends_all(
    end: Callable[[], object], how: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    team = Team(3)

    def work() -> None:
        if team.part == 0:
            end()
        team.meet()

    with pytest.raises(ChildProcessError, match=f"has ended{how}.* --threads 1"):
        team.run(work)
    found = capfd.readouterr().err
    assert said in found and bool(said) == bool(found)


def test_no_interrupt_leaves_a_process_behind() -> None:
    """Wherever it hits: sent by a thread, which the lead can't keep from hearing it."""
    code = """if True:
    import os, random, signal, threading
    from fnn.teams import Team
    signal.signal(signal.SIGINT, signal.default_int_handler)
    left = 0
    for _ in range(60):
        timer = threading.Timer(random.uniform(0, 0.008), os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            while True:
                Team(3).run(lambda: None)
        except KeyboardInterrupt:
            timer.join()
        try:
            os.waitpid(-1, os.WNOHANG)
            left += 1
        except ChildProcessError:
            pass
    print(left)
    """
    interrupted = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert interrupted.stdout == "0\n" and not interrupted.stderr


def test_a_failure_of_the_lead_is_raised_and_ends_the_others() -> None:
    team = Team(2)

    def work() -> None:
        if team.leads:
            raise ValueError("the lead's")
        team.meet()

    with pytest.raises(ValueError, match="the lead's"):
        team.run(work)
    assert team.run(team.meet) is None  # and works again


def test_processes_end_with_a_lead_that_is_killed() -> None:
    code = """if True:
    import os, signal
    from fnn.teams import Team
    team = Team(2)
    pids = team.empty((2,), int)
    def work():
        pids[team.part] = os.getpid()
        team.meet()
        if team.leads:
            print(pids[0], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        team.meet()
    team.run(work)
    """
    lead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert lead.returncode == -signal.SIGKILL and not lead.stderr
    deadline = time.monotonic() + 10
    while _runs(int(lead.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_is_the_lead_s_to_handle(number: signal.Signals) -> None:
    team, got, lead = Team(2), [], os.getpid()
    before = signal.signal(number, lambda number, _frame: got.append(number) if os.getpid() == lead else os._exit(3))
    ready = team.empty((1,), np.int64)

    def work() -> None:
        if not team.leads:
            ready[0] = os.getpid()
        team.meet()
        if team.leads:
            for pid in (int(ready[0]), os.getpid()):
                os.kill(pid, number)
        team.meet()

    try:
        team.run(work)
    finally:
        signal.signal(number, before)
    assert got == [number]


def test_a_team_may_be_led_from_any_thread() -> None:
    """Of a process with several, of which later Pythons warn, and JAX."""
    found = []
    thread = threading.Thread(target=lambda: found.append(trained(2, OPTIMIZERS["adam"]())))
    thread.start()
    thread.join(timeout=60)
    assert same(found[0], trained(1, OPTIMIZERS["adam"]()))


def test_memory_serves_again_once_nobody_holds_it() -> None:
    memory = Memory()
    first = memory.empty((3, 5), np.float32)
    view, address = first[1:, ::2], first.ctypes.data
    assert address % LINE == 0 and first.shape == (3, 5) and first.dtype == np.float32
    del first
    assert memory.empty((15,), np.float32).ctypes.data != address  # of which there is a view
    del view
    again, other = memory.empty((15,), np.float32), memory.empty((15,), np.float32)
    assert again.ctypes.data == address != other.ctypes.data
    assert memory.empty((0, 3), float).shape == (0, 3)


def test_a_team_needs_no_more_vectors_than_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's four, though each state is handed out and taken back."""
    sizes: list[int] = []
    monkeypatch.setattr(teams, "mmap", lambda _file, size, mmap=teams.mmap: sizes.append(size) or mmap(-1, size))
    plan = Plan(Spec((25, 40, 10)), OPTIMIZERS["adam"](), 0.01, 32, threads=2)
    for state in train(plan, data(), 3, steps=7):
        del state
    assert sizes.count(plan.spec.parameters * 4) == 4


def data() -> Dataset:
    rng = np.random.default_rng(0)
    return dataset(rng.integers(0, 256, (700, 5, 5), dtype=np.uint8), rng.integers(0, 10, 700))


def trained(threads: int, optimizer: training.Optimizer, steps: int | None = None, **settings: object) -> TrainState:
    plan = Plan(Spec((25, 40, 20, 10)), optimizer, 0.01, 128, threads=threads, **settings)  # type: ignore[arg-type]
    return run_epoch(plan, data(), initial_state(plan), steps)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_number_of_processes_changes_no_bit(name: str) -> None:
    optimizer = with_clipping(0.5)(with_l2(0.01)(OPTIMIZERS[name]()))
    alone = trained(1, optimizer)
    assert same(trained(2, optimizer), alone) and same(trained(3, optimizer), alone)


@pytest.mark.parametrize("worth", [0, 10**9])
@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0.5}, {"normalizes": True}, {"augmentation": Augmentation(mixup=0.3, input_noise=0.1)}],
)
def test_nor_does_it_with_any_setting_and_layers_change_by_rounding(
    settings: dict[str, object], worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WORTH_SHARING", worth)
    alone, found, again = (trained(parts, OPTIMIZERS["sgd"](), **settings) for parts in (1, 3, 3))
    assert same(found, again)
    if worth:
        assert same(found, alone)
    np.testing.assert_allclose(found.params.theta, alone.params.theta, rtol=0, atol=1e-6)


def test_that_no_process_can_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(ChildProcessError, match=r"no process could be started \(Resource .*--threads 1"):
        Team(2).run(lambda: None)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_an_interrupt_before_a_process_is_there_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(teams, "HEARD_WITHIN", 0.05)
    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Team(2).run(lambda: None)


def test_memory_that_there_is_not_is_told() -> None:
    with pytest.raises(MemoryError, match=r"4,611,686,018,427,387,904 bytes that processes share"):
        Memory().empty((2**62,), np.uint8)


def test_where_there_are_no_teams_one_process_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = trained(1, OPTIMIZERS["adam"]())
    monkeypatch.setattr(teams, "AVAILABLE", False)
    monkeypatch.setattr(os, "fork", None)
    assert same(trained(2, OPTIMIZERS["adam"]()), alone)


def test_of_one_there_is_nobody_to_wait_for() -> None:
    SOLO.meet()
    assert SOLO.leads and SOLO.run(lambda: 3) == 3
