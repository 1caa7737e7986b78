"""Counts what was tried to break the reading of files and arguments: ``python -m tests.fuzz``.

Runs the property tests whose inputs are random or damaged bytes and words, with the examples of FNN_PROFILE, and prints
how many inputs were tried and how many of them crashed: gave anything but a result or one clear line.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

TESTS = (
    "test_cli.py::test_no_arguments_give_a_traceback",
    "test_sweepfile.py::test_a_damaged_file_is_a_sweep_or_one_line",
    "test_idx.py::test_damaged_files_give_images_or_one_line",
    "test_idx.py::test_random_bytes_give_images_or_one_line",
    "test_inference.py::test_any_bytes_are_images_or_a_line",
    "test_inference.py::test_any_bytes_are_no_model_in_one_line",
    "test_checkpoint.py::test_no_damage_is_believed",
)


def main() -> int:
    """Return 1 if an input crashed, or a test was not found."""
    tried = crashed = 0
    for test in TESTS:
        command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", f"tests/{test}"]
        environment = {"FNN_PROFILE": "thorough"} | os.environ
        text = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
        counts = re.findall(r"(\d+) passing, (\d+) failing", text)
        passing, failing = (sum(int(pair[i]) for pair in counts) for i in range(2))
        print(f"{passing + failing:6,} inputs, {failing} crashes: {test}", flush=True)
        tried, crashed = tried + passing + failing, crashed + failing + (not counts)
    print(f"{tried:6,} inputs, {crashed} crashes in all")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
