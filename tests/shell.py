"""Real processes of the project on the small data, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
SMALL = ("-sz", "8", "-e", "2", "--wandb_mode", "disabled")


def environment(**more: str) -> dict[str, str]:
    """Return an environment without keys, with the small data."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "FNN_"))}
    settings = {"FNN_DATA_DIR": str(DATA), "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return kept | settings | {"PYTHONDONTWRITEBYTECODE": "1"} | more


def run(*command: str, cwd: Path, env: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def train(*arguments: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return run(str(ROOT / "train.py"), *SMALL, *arguments, cwd=cwd, **more)


def fnn(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "fnn", *arguments, cwd=cwd)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert a user's mistake: exit code 2, one line on stderr that has the words."""
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
