"""Kills runs at drawn moments and resumes them to the end: ``python -m tests.kills COUNT SEED``.

Every result has to be bitwise that of the run nobody killed. A process that has imported all forks one for each run, so
that a run takes a fraction of a second; figures, which no kill can spoil, are left out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fnn import checkpoint, figures, runner
from fnn.arrays import same
from fnn.config import Config, plan_of
from fnn.datasets import load
from fnn.optimizers import OPTIMIZERS
from fnn.rundir import load_model, resumed_config
from fnn.training import TrainState, initial_state
from tests.shell import DATA


def config_of(optimizer: str, directory: Path) -> Config:
    return Config(
        optimizer=optimizer,
        hidden_size=(16,),
        epochs=8,
        batch_size=20,
        patience=7,
        dtype="float64",
        data_dir=str(DATA),
        run_dir=str(directory),
        wandb_mode="disabled",
        threads=1,
    )


def fork(config: Config, resume: bool) -> int:
    child = os.fork()
    if child:
        return child
    try:
        runner.run(resumed_config(Path(config.run_dir), {}) if resume else config, resume, say=lambda _: None)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def outcome(config: Config) -> tuple[TrainState, object, list, dict]:
    """Return all that a run leaves, apart from times and its name."""
    directory = Path(config.run_dir)
    plan = plan_of(config, 784, 10, 540)
    data = runner.identity(load(config.dataset, DATA))
    last = checkpoint.load(directory / "last.npz", {"data": data, "state": initial_state(plan)})["state"]
    history = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    summary = json.loads((directory / "summary.json").read_text())
    times = {"seconds", "name"}
    strip = lambda record: {key: value for key, value in record.items() if key not in times}  # noqa: E731
    return last, load_model(directory / "best.npz").params, [*map(strip, history)], strip(summary)


def survive(config: Config, draw: random.Random, longest: float) -> int:
    """Run to the end through kills; return their number."""
    kills = 0
    while True:
        child = fork(config, resume=(Path(config.run_dir) / "config.json").exists())
        # Short at first, so that it is killed several times; then long enough to get through.
        time.sleep(draw.uniform(0, longest * (0.4 + 0.2 * kills)))
        done, status = os.waitpid(child, os.WNOHANG)
        if not done:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"a run of {config.optimizer} failed after {kills} kills"
            return kills
        kills += 1


def main(count: int, seed: int) -> None:
    figures.save = lambda figure, path: path  # type: ignore[assignment]
    figures.samples = figures.curves = runner.show_confusion = lambda *_: None  # type: ignore[assignment]
    draw, kills, runs = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        expected, seconds = {}, {}
        while kills < count or runs < len(OPTIMIZERS):
            name = [*OPTIMIZERS][runs % len(OPTIMIZERS)]
            if name not in expected:
                whole = config_of(name, Path(folder) / name)
                began = time.perf_counter()
                assert os.waitpid(fork(whole, False), 0)[1] == 0
                seconds[name], expected[name] = time.perf_counter() - began, outcome(whole)
            config = config_of(name, Path(folder) / f"{name}-{runs}")
            kills, runs = kills + survive(config, draw, seconds[name]), runs + 1
            found = outcome(config)
            assert same(found[:2], expected[name][:2]), f"{name}: parameters or state differ after kills"
            assert found[2:] == expected[name][2:], f"{name}: history or summary differ after kills"
    print(f"{kills} kills in {runs} runs of {len(OPTIMIZERS)} optimizers, all resumed to the same bits")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
