from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fnn import tracking
from fnn.errors import UserError
from fnn.tracking import Tracker, open_run, within

KEY = "5ec4e7" * 7
ROOT = Path(__file__).parents[1]

OPEN = """
import os, sys, time
import numpy as np
from fnn.tracking import open_run
tracker = open_run(sys.argv[1], "team", "project", "name", {"lr": 0.1, "sizes": (64, 10)}, "run")
print(tracker.directory, tracker.url, tracker.config, sep="\\n")
"""
LOG = """
for epoch, accuracy in enumerate((0.5, 0.7, 0.6), 1):
    tracker.log({"val_accuracy": accuracy, "val_loss": np.float32(2)}, epoch)
tracker.images("samples", [np.eye(8, dtype=np.uint8), np.eye(8)], ["a", "b"])
tracker.histograms({"theta": np.array([[0.0, 1.0], [np.nan, np.inf]])})
tracker.summary({"parameters": np.int64(3), "test_accuracy": 0.6, "why": float("nan")})
tracker.finish()
"""


def run(directory: Path, script: str, mode: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    places = {f"WANDB_{kind}_DIR": str(directory / kind) for kind in ("DATA", "CACHE", "CONFIG")}
    homes = {"HOME": str(directory), "NETRC": str(directory / "netrc"), "PYTHONPATH": str(ROOT)}
    environment = {**clean, **places, **homes, "WANDB_BASE_URL": "http://127.0.0.1:9", **environment}
    arguments = [sys.executable, "-c", script, mode]
    return subprocess.run(arguments, cwd=directory, env=environment, capture_output=True, text=True, timeout=30)


def records(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The records in a run's file by their kind, as wandb's own reader shows them."""
    (file,) = directory.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", file.name]
    environment = {**os.environ, "HOME": str(directory), "WANDB_ERROR_REPORTING": "false"}
    text = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=30).stdout
    lines = [json.loads(line) for line in text.splitlines()]
    return {kind: [line[kind] for line in lines if line["type"] == kind] for kind in {line["type"] for line in lines}}


def test_an_offline_run_holds_what_it_was_told_and_no_key(tmp_path: Path) -> None:
    done = run(tmp_path, OPEN + LOG, "offline", WANDB_API_KEY=KEY, WANDB_MODE="disabled")
    assert done.stderr == ""
    directory, url, config = done.stdout.splitlines()
    assert (url, config) == ("None", "{'lr': 0.1, 'sizes': [64, 10]}")
    assert Path(directory).parent == tmp_path / "run" / "wandb"

    found = records(Path(directory))
    (header,) = found["run"]
    assert {header[key] for key in ("entity", "project", "display_name")} == {"team", "project", "name"}
    assert header["config"]["update"].items() >= {"lr": 0.1, "sizes": [64, 10]}.items() and "host" not in header

    history = [item["item"] for item in found["history"]]
    assert [(h["epoch"], h["val_accuracy"]) for h in history[:3]] == [(1, 0.5), (2, 0.7), (3, 0.6)]
    assert history[3]["samples.captions"] == ["a", "b"] and sum(history[4]["theta.values"]) == 2
    metrics = {m.get("name", m.get("glob_name")): m for m in found["metric"]}
    assert metrics["*"]["step_metric"] == "epoch"

    summary: dict[str, Any] = {}
    for item in found["summary"]:
        summary.update(item["update"])
    assert summary["val_accuracy"] == 0.6
    assert (summary["parameters"], summary["test_accuracy"]) == (3, 0.6)
    assert list(Path(directory).rglob("*.png"))
    assert_nowhere(KEY, tmp_path)


def assert_nowhere(secret: str, directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_without_a_key_auto_is_offline_and_an_agent_s_choices_win(tmp_path: Path) -> None:
    (tmp_path / "choice.yaml").write_text("wandb_version: 1\nlr:\n  value: 0.7\n")
    sweep = {"WANDB_SWEEP_ID": "s1", "WANDB_SWEEP_PARAM_PATH": "choice.yaml", "WANDB_RUN_ID": "r1"}
    done = run(tmp_path, OPEN, "auto", WANDB_DIR=str(tmp_path / "elsewhere"), **sweep)
    directory, url, config = done.stdout.splitlines()
    assert (url, config) == ("None", "{'lr': 0.7, 'sizes': [64, 10]}")
    assert Path(directory).parent == tmp_path / "elsewhere" / "wandb" and directory.endswith("-r1")
    line = f"wandb: offline (no key is configured, see wandb login); to upload the run later: wandb sync {directory}\n"
    assert done.stderr == line


def test_with_a_key_and_no_network_it_goes_offline_within_ten_seconds(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:9 login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    start = time.monotonic()
    done = run(tmp_path, OPEN + LOG, "auto")
    assert time.monotonic() - start < 10 + 2  # imports included
    assert done.stderr.startswith("wandb: offline (") and "connection refused" in done.stderr
    assert done.stderr.endswith(f"wandb sync {done.stdout.splitlines()[0]}\n") and done.stderr.count("\n") == 1
    (tmp_path / "netrc").unlink()
    assert_nowhere(KEY, tmp_path)


def test_the_death_of_wandb_s_service_is_one_line(tmp_path: Path) -> None:
    kill = """
from pathlib import Path
for status in Path("/proc").glob("[0-9]*/status"):
    text = status.read_text()
    if f"PPid:\\t{os.getpid()}\\n" in text and text.startswith("Name:\\twandb-core"):
        os.kill(int(status.parent.name), 9)
        print("killed")
time.sleep(0.2)
"""
    start = time.monotonic()
    done = run(tmp_path, OPEN + kill + LOG, "offline")
    assert time.monotonic() - start < 8
    assert done.stdout.endswith("killed\n") and done.returncode == 0
    assert done.stderr.startswith("warning: wandb failed (Connection lost); the run goes on without it")
    assert done.stderr.count("\n") == 1


def test_disabled_does_not_import_wandb(tmp_path: Path) -> None:
    done = run(tmp_path, OPEN + LOG + "print('wandb' in sys.modules)", "auto", WANDB_MODE="disabled")
    assert (done.stdout, done.stderr) == ("None\nNone\n{'lr': 0.1, 'sizes': (64, 10)}\nFalse\n", "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "variable", "chosen"),
    [
        ("auto", None, "auto"),
        ("auto", "offline", "offline"),
        ("auto", "dryrun", "offline"),
        ("auto", "disabled", "disabled"),
        ("online", "disabled", "online"),
        ("disabled", "online", "disabled"),
    ],
)
def test_the_flag_goes_before_the_variable(
    monkeypatch: pytest.MonkeyPatch, mode: str, variable: str | None, chosen: str
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert tracking._mode(mode) == chosen


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"wandb mode: expected one of auto, .*, found 'on'"):
        open_run("on", None, None, None, {}, ".")
    monkeypatch.setenv("WANDB_MODE", "on")
    with pytest.raises(UserError, match=r"WANDB_MODE: expected one of online, offline, disabled, found 'on'"):
        open_run("auto", None, None, None, {}, ".")


class Broken:
    """A wandb, and a run of it, whose calls fail in one way."""

    dir, url, config = "d/files", None, {"lr": 0.7}

    def __init__(self, failure: BaseException | float) -> None:
        self.failure = failure
        self.Settings = SimpleNamespace(model_fields={})
        self.calls: list[str] = []

    def fail(self, *_: Any, **__: Any) -> Any:
        self.calls.append("call")
        if isinstance(self.failure, BaseException):
            raise self.failure
        time.sleep(self.failure)

    init = log = finish = Image = Histogram = setup = teardown = fail


FAILURES = [ValueError("first\nsecond"), SystemExit(3), KeyboardInterrupt(), 9.0]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.log({"loss": 1.0}, 1),
        lambda t: t.images("i", [np.eye(2)], ["c"]),
        lambda t: t.figure("f", "f.png"),
        lambda t: t.histograms({"h": np.eye(2)}),
        lambda t: t.finish(),
    ],
)
def test_a_failing_call_is_one_line_and_then_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: BaseException | float, call: Any
) -> None:
    broken = Broken(failure)
    monkeypatch.setitem(sys.modules, "wandb", broken)
    for limit in ("CALL_SECONDS", "TEAR_DOWN_SECONDS"):
        monkeypatch.setattr(tracking, limit, 0.05)
    tracker = Tracker(broken)
    call(tracker)
    before = len(broken.calls)
    call(tracker)
    tracker.finish()
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "second" not in err
    assert err.startswith("warning: wandb failed (") and len(broken.calls) == before


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("mode", ["auto", "online", "offline"])
def test_a_failing_start_tracks_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    failure: BaseException | float,
    mode: str,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Broken(failure))
    for name in ("WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    for limit in ("INIT_SECONDS", "TEAR_DOWN_SECONDS"):
        monkeypatch.setattr(tracking, limit, 0.05)
    tracker = open_run(mode, None, None, None, {"lr": 0.1}, tmp_path)
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()
    assert (tracker.config, tracker.directory, tracker.url) == ({"lr": 0.1}, None, None)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.endswith("the run goes on without it\n")


def test_within_hands_on_values_and_errors() -> None:
    assert within(1, lambda: "value") == "value"
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        within(0.05, lambda: time.sleep(5))
