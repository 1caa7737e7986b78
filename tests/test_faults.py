"""Faults of the machine, each met by a real process: nothing finished is lost, and a line says what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fnn.rundir import load_model
from tests import shell
from tests.shell import ROOT, SMALL, environment, train

LIMITED = """
import resource, runpy, sys
kind, size = getattr(resource, sys.argv[1]), int(sys.argv[2])
resource.setrlimit(kind, (size, size))
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def train_within(kind: str, size: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Train under a limit that the process sets itself: a fork with code of ours in it upsets JAX if it is loaded."""
    return shell.run("-c", LIMITED, kind, str(size), str(ROOT / "train.py"), *SMALL, *arguments, cwd=cwd)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *SMALL, *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epochs(directory: Path, count: int, process: subprocess.Popen[str]) -> None:
    path, deadline = directory / "history.jsonl", time.monotonic() + 30
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


def test_killed_runs_go_on_to_the_same_bits(tmp_path: Path) -> None:
    count = 250 if os.environ.get("FNN_PROFILE") == "thorough" else 10
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", str(count), "1"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= count
    print(done.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    process = start("--run_dir", "r", "-e", "100000", "-b", "10", cwd=tmp_path)
    wait_for_epochs(tmp_path / "r", 2, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number and "Traceback" not in err
    assert err.count("\n") == 1 and err.startswith("train.py: stopped after step") and "go on by --resume r" in err
    lines = (tmp_path / "r" / "history.jsonl").read_text().splitlines()
    assert out.count("epoch ") == len(lines) and (tmp_path / "r" / "last.npz").exists()
    again = start("--resume", "r", "-e", "100000", cwd=tmp_path)
    wait_for_epochs(tmp_path / "r", len(lines) + 1, again)
    again.kill()
    again.communicate()


SLOW = """
import sys, time
from fnn import cli, runner
def observe(*_):
    print("ready", flush=True)
    time.sleep(60)
    yield
runner.observe = observe
sys.exit(cli.guarded(cli.train, sys.argv[1:], "train.py"))
"""


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, *SMALL, "--run_dir", "r"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and any(line == "ready\n" for line in process.stdout)
    for _ in range(2):
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130 and err == "train.py: stopped at once\n"


@pytest.mark.parametrize(("size", "code"), [(60_000, 0), (20_000, 1)])
def test_a_disk_that_is_full_costs_files_not_the_run(tmp_path: Path, size: int, code: int) -> None:
    """Of 60 kB the last state and the large figures are lost; of 20 kB the model, too: then the run has failed."""
    done = train_within("RLIMIT_FSIZE", size, "--run_dir", "r", cwd=tmp_path)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert "epoch 2/2" in done.stdout and "test  " in done.stdout
    lost = "last.npz" if code == 0 else "best.npz"
    assert f"warning: r/{lost} could not be written (File too large); the run goes on" in done.stderr
    assert (tmp_path / "r" / "summary.json").exists() == (code == 0)
    assert code == 0 or done.stderr.splitlines()[-1] == "train.py: r/best.npz: File too large"
    assert not list((tmp_path / "r").glob(".*.tmp")) and not (tmp_path / "r" / lost).exists()


RECOVERS = """
import resource, sys
from fnn import cli, runner
plain = runner.run
def say(line):
    full = line.startswith(("epoch 2/", "epoch 3/"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 if full else -1, -1))
    print(line, flush=True)
runner.run = lambda config, resume, told: plain(config, resume, say)
sys.exit(cli.guarded(cli.train, sys.argv[1:], "train.py"))
"""


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path) -> None:
    done = shell.run("-c", RECOVERS, *SMALL, "-e", "5", "--run_dir", "r", cwd=tmp_path)
    plain = train("-e", "5", "--run_dir", "plain", cwd=tmp_path)
    assert (done.returncode, plain.returncode) == (0, 0) and done.stderr.count("the run goes on") == 2
    one, two = (
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("r", "plain")
    )
    assert one == two and len(one) == 5
    models = [load_model(tmp_path / name / "best.npz") for name in ("r", "plain")]
    np.testing.assert_array_equal(*(model.params.theta for model in models))


def test_a_network_too_large_for_the_memory_is_told_before_it_starts(tmp_path: Path) -> None:
    for arguments in (["-sz", "20000"], ["-nhl", "999999999", "-sz", "64"]):
        done = train_within("RLIMIT_AS", 3 * 2**30, *arguments, "--run_dir", "r", cwd=tmp_path)
        shell.refused(done, "--hidden_size", "MiB of free memory", "parameters")
        assert not (tmp_path / "r").exists() and done.stdout == ""


def test_divergence_ends_with_3_and_says_what_to_do(tmp_path: Path) -> None:
    done = train("-o", "sgd", "-a", "identity", "-lr", "1e30", "-b", "10", "--run_dir", "r", cwd=tmp_path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
    for words in ("diverged: the loss is", "at step", "learning rate 1e+30", "last saved state", "what usually"):
        assert words in done.stderr


def test_a_network_that_the_last_update_ruins_is_not_tested(tmp_path: Path) -> None:
    """Where nothing is validated only the test tells."""
    ruin = ("-o", "sgd", "-a", "identity", "-lr", "1e38", "-b", "10000", "--schedule", "constant", "-e", "1")
    done = train(*ruin, "--validation_fraction", "0", "--run_dir", "r", cwd=tmp_path)
    assert done.returncode == 3 and "the loss is nan" in done.stderr and "Warning" not in done.stderr, done.stderr
    assert not (tmp_path / "r" / "summary.json").exists()


def test_a_reader_that_goes_away_does_not_end_a_run(tmp_path: Path) -> None:
    with start("-e", "4", "--run_dir", "r", cwd=tmp_path) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0 and (tmp_path / "r" / "summary.json").exists()


def test_two_runs_do_not_share_a_directory(tmp_path: Path) -> None:
    first = start("--run_dir", "r", "-e", "100000", cwd=tmp_path)
    wait_for_epochs(tmp_path / "r", 1, first)
    shell.refused(train("--run_dir", "r", cwd=tmp_path), "--run_dir", "a run at work in r")
    shell.refused(train("--resume", "r", "-e", "100000", cwd=tmp_path), "--run_dir", "a run at work in r")
    assert first.poll() is None
    first.kill()
    first.communicate()


@pytest.mark.parametrize("where", ["/sys/fnn", "/sys", "/dev/null", "/dev/null/x"])
def test_a_directory_that_cannot_be_written_is_told_before_training(tmp_path: Path, where: str) -> None:
    done = train("--run_dir", where, cwd=tmp_path)
    shell.refused(done, "--run_dir: expected a directory to write to", where)
    assert done.stdout == ""


CACHED = """
import os, sys
from pathlib import Path
import fnn.datasets as d
from attrs import evolve
from fnn import config, runner
from fnn.datacache import digest, write_cache
folder, fault = Path(sys.argv[1]), sys.argv[2]
arrays = d.read_folder(Path(os.environ.pop("FNN_DATA_DIR")) / "fashion_mnist", "fashion_mnist")
known = d.OFFICIAL["fashion_mnist"]
d.OFFICIAL["fashion_mnist"] = evolve(known, digests=dict(zip(d.FILES, map(digest, arrays))))
os.environ["FNN_CACHE_DIR"] = str(folder)
write_cache(folder / "fashion_mnist", d.OFFICIAL["fashion_mnist"].digests, arrays)
def say(line):
    print(line)
    if line.startswith("epoch 1/"):
        for path in (folder / "fashion_mnist").iterdir():
            {"truncated": lambda: os.truncate(path, 0), "deleted": path.unlink,
             "swapped": lambda: path.open("r+b").write(b"x" * path.stat().st_size)}[fault]()
settings = config.Config(hidden_size=8, epochs=2, wandb_mode="disabled", run_dir=str(folder / fault))
print(runner.run(settings, say=say)["test_loss"])
"""


def test_data_that_go_while_a_run_is_under_way_cost_nothing(tmp_path: Path) -> None:
    losses = set()
    for fault in ("truncated", "deleted", "swapped"):
        done = shell.run("-c", CACHED, str(tmp_path), fault, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.startswith("the cache"), (fault, done.returncode, done.stderr)
        losses.add(done.stdout.splitlines()[-1])
    assert len(losses) == 1


def test_no_key_is_in_anything_that_a_run_leaves(tmp_path: Path) -> None:
    key = "0123456789abcdef" * 2 + "5ec4e7aa"
    home = tmp_path / "home"
    home.mkdir()
    places = {f"WANDB_{name}_DIR": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}
    env = environment(WANDB_API_KEY=key, HOME=str(home), **places)
    done = train("--wandb_mode", "offline", "--run_dir", "r", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files) and len(files) > 10
    assert key not in done.stdout + done.stderr
    assert [path for path in files if key.encode() in path.read_bytes()] == []


def test_a_batch_larger_than_the_data_is_all_of_them(tmp_path: Path) -> None:
    done = train("-b", "100000", "--run_dir", "r", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads((tmp_path / "r" / "history.jsonl").read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_train": np.full(20, 3, np.uint8)}, ["at least two classes", "only 3"]),
        ({"y_train": np.arange(20) % 11}, ["labels in 0 .. 9", "found 10"]),
        ({"x_train": np.zeros((20, 27, 28), np.uint8)}, ["(28, 28)", "(27, 28)"]),
        ({"x_train": np.zeros((0, 28, 28), np.uint8)}, ["expected images", "(0, 28, 28)"]),
        ({"x_train": np.zeros((19, 28, 28), np.uint8)}, ["19 images and 20 labels"]),
        ({"x_train": np.zeros((20, 28, 28))}, ["uint8", "float64"]),
        ({}, ["--validation_fraction", "0.1", "20 and 0"]),
    ],
)
def test_data_that_nobody_can_train_on_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from fnn import cli

    good = {"x": np.zeros((20, 28, 28), np.uint8), "y": (np.arange(20) % 10).astype(np.uint8)}
    arrays = {f"{key}_{half}": array for key, array in good.items() for half in ("train", "test")} | change
    np.savez(tmp_path / "fashion_mnist.npz", **arrays)  # type: ignore[arg-type]
    command = ["--data_dir", str(tmp_path), "--run_dir", str(tmp_path / "r"), "--wandb_mode", "disabled"]
    assert cli.guarded(cli.train, command, "train.py") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words), err
    assert not (tmp_path / "r").exists()
