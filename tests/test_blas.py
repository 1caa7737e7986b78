"""The setting of the BLAS, made before NumPy is imported, unless the user has made it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [
        ("import fnn", {}, "16 True"),
        ("import fnn", {"OPENBLAS_THREAD_TIMEOUT": "12"}, "12 True"),
        ("import numpy, fnn", {}, "None False"),
        ("import reports.peers, fnn", {}, "16 True"),
    ],
)
def test_idle_threads_sleep_soon_if_it_is_not_too_late(code: str, given: dict[str, str], expected: str) -> None:
    code += "; import os; print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'), fnn.blas.YIELDS)"
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
