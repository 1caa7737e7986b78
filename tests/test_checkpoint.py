from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnn import checkpoint
from fnn.arrays import Array, map_arrays, same
from fnn.checkpoint import CheckpointError, load, load_arrays, load_newest, previous, read_metadata, save

ROOT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


@attrs.frozen(eq=False)
class Inner:
    name: str
    sizes: tuple[Any, ...]
    m: Array
    slots: dict[str, Array] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class Outer:
    theta: Array
    _inner: Inner
    loss: float = 0.0
    step: int = 0
    best: float | None = None
    done: bool = False


DTYPES = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(endianness="?") | hnp.complex_number_dtypes()
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
INNERS = st.builds(
    Inner,
    st.text(),
    st.lists(st.integers() | st.lists(st.text()).map(tuple), max_size=3).map(tuple),
    ARRAYS,
    st.dictionaries(st.from_regex(r"\w[\w-]*", fullmatch=True), ARRAYS, max_size=2),
)
RECORDS = st.builds(Outer, ARRAYS, INNERS, st.floats(), st.integers(), st.none() | st.floats(), st.booleans())


def example(step: int = 0, size: int = 5) -> Outer:
    inner = Inner("adam", (2, 1), np.arange(3.0), {"a-b": np.ones((2, 2), np.float32)})
    return Outer(np.full(size, step, np.float32), inner, loss=0.5, step=step)


def bare(record: Any) -> Any:
    """The same structure with other numbers."""
    inner = map_arrays(np.zeros_like, record._inner)
    inner = attrs.evolve(inner, slots={name: np.zeros_like(array) for name, array in inner.slots.items()})
    return Outer(np.zeros_like(record.theta), inner, loss=9.0, step=9, best=None, done=True)


def equal(a: Outer, b: Outer) -> bool:
    """``same``, dicts of arrays included."""
    slots, others = a._inner.slots, b._inner.slots
    rest = [attrs.evolve(r, inner=attrs.evolve(r._inner, slots={})) for r in (a, b)]
    return slots.keys() == others.keys() and all(same(slots[k], others[k]) for k in slots) and same(*rest)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "c.npz"


@settings(max_examples=60, deadline=None)
@given(record=RECORDS, metadata=st.dictionaries(st.text(), SCALARS | st.lists(SCALARS)))
def test_comes_back_bitwise_and_read_only(file: Path, record: Outer, metadata: dict) -> None:
    path = save(file, record, metadata)
    loaded = load(path, bare(record))
    assert equal(loaded, record)
    assert not any(a.flags.writeable for a in [loaded.theta, loaded._inner.m, *loaded._inner.slots.values()])
    assert read_metadata(path) == checkpoint.plain(metadata)
    with np.load(path, allow_pickle=False) as archive:
        assert same(archive["theta"], record.theta) and same(load_arrays(path)["theta"], record.theta)


def test_same_content_makes_same_bytes(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, example(3), {"lr": 0.1}) for name in ("a.npz", "b.npz")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert zipfile.ZipFile(paths[0]).namelist() == [
        "metadata.json",
        "theta.npy",
        "_inner.m.npy",
        "_inner.slots.a-b.npy",
    ]


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.array([object()]), "theta: expected an array of numbers, found dtype object"),
        (np.array(["x"]), "theta: expected an array of numbers"),
        ([1.0], "theta: expected an array, int, float, str, bool, None or tuple, found a list"),
        (np.float64(1), "found a float64"),
        ((1, object()), "found a object"),
        ({"a.b": 1}, r"theta: expected keys of letters, digits, _ and -, found 'a\.b'"),
        ({"../a": 1}, "expected keys of letters"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path, leaf: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        save(tmp_path / "c.npz", {"theta": leaf}, {})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {"theta": r.theta}, "record: expected dict, found Outer"),
        (
            lambda r: attrs.evolve(r, theta=np.zeros(4, "f4")),
            r"theta: expected float32 of shape \(4,\), found .*\(5,\)",
        ),
        (lambda r: attrs.evolve(r, theta=np.zeros(5)), "theta: expected float64 of shape .*, found float32 of shape"),
        (lambda r: attrs.evolve(r, theta=np.zeros(5, ">f4")), r"expected float32 \(big-endian\)"),
        (lambda r: attrs.evolve(r, theta=None), r"theta: expected a NoneType, found float32 of shape \(5,\)"),
        (lambda r: attrs.evolve(r, best=np.zeros(2)), r"best: expected float64 of shape \(2,\), found None"),
        (lambda r: attrs.evolve(r, step=0.0), "step: expected a float, found 7"),
        (lambda r: attrs.evolve(r, inner=attrs.evolve(r._inner, sizes=(1, 2))), r"expected \(1, 2\), found \(2, 1\)"),
        (lambda r: attrs.evolve(r, inner=attrs.evolve(r._inner, name="sgd")), "_inner.name: expected 'sgd', found 'ad"),
        (
            lambda r: attrs.evolve(r, inner=Inner("adam", (2, 1), r._inner.m)),
            "a-b: expected no such field, found float32",
        ),
        (lambda r: attrs.evolve(r, inner={}), "_inner: expected dict, found Inner"),
    ],
)
def test_another_structure_is_named_in_one_line(tmp_path: Path, change: Callable, message: str) -> None:
    path = save(tmp_path / "c.npz", example(7), {})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_newest(path, change(example()))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def rewrite(path: Path, alter: Callable[[dict], Any], honest: bool = True) -> None:
    """Change the metadata member as somebody would who knows how its digest is made, or, if not honest, does not."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(members["metadata.json"])
    alter(head)
    if honest:
        head["sha256"] = checkpoint._digest(head)
    pack(path, {**members, "metadata.json": json.dumps(head).encode()})


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], object), allow_pickle=True)
    return buffer.getvalue()


class Trap:
    def __reduce__(self) -> tuple:
        return (os._exit, (77,))


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda h: h.update(version=1), "expected format version 2, found 1"),
        (lambda h: h.update(format="other"), "expected the format 'fnn checkpoint', found 'other'"),
        (lambda h: h.pop("arrays"), "damaged: KeyError"),
        (lambda h: h.update(arrays=[1]), "damaged: TypeError"),
        (lambda h: h["arrays"]["theta"].update(dtype="|O"), "theta': expected numbers, found"),
        (lambda h: h["arrays"]["theta"].update(dtype="<f9"), "damaged: TypeError"),
        (lambda h: h["arrays"]["theta"].update(shape=[-5]), "theta': expected numbers"),
        (lambda h: h["arrays"]["theta"].update(shape=[10**30]), "theta: expected .* of shape"),
        (lambda h: h["arrays"]["theta"].update(shape=[0, 10**30]), "theta: expected .* of shape"),
        (lambda h: h["arrays"]["theta"].update(sha256="0"), "theta: its digest differs"),
        (lambda h: h["arrays"].update({"../up": h["arrays"].pop("theta")}), "'../up': expected numbers"),
        (lambda h: h["arrays"].pop("theta"), "expected 3 members, found 4: see 'theta.npy'"),
        (lambda h: h["scalars"].update(theta=1), "expected one value for each field, found two"),
        (lambda h: h["scalars"].update(loss={"float": "many"}), "damaged: ValueError"),
    ],
)
def test_a_forged_head_is_refused(tmp_path: Path, alter: Callable, message: str) -> None:
    path = save(tmp_path / "c.npz", example(), {})
    rewrite(path, alter)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path, example())
    assert "\n" not in str(caught.value)


def test_a_promise_of_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "c.npz", example(), {})
    rewrite(path, lambda head: head["arrays"]["theta"].update(shape=[10**15]))
    with pytest.raises(CheckpointError, match=r"theta: expected 4000000000000128 bytes, found 148"):
        load_arrays(path)
    data = path.read_bytes()
    at = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: at + 20] + b"\xf0\xff\xff\xff" * 2 + data[at + 28 :])
    with pytest.raises(CheckpointError, match=r"expected at most \d+ bytes of content, found 42949\d+ promised"):
        load_arrays(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"

    def refused(message: str) -> None:
        for read in (lambda p: load(p, example()), load_arrays, read_metadata):
            with pytest.raises(CheckpointError, match=message):
                read(path)

    refused("expected a checkpoint, found no such file")
    path.mkdir()
    refused("cannot be read: Is a directory")
    path.rmdir()
    for data in (b"", b"text", pickled()):
        path.write_bytes(data)
        refused("found a file that is cut short or no zip")
    np.savez(path, theta=np.zeros(2))
    refused("expected a checkpoint with a member metadata.json, found none")
    pack(path, {"theta.npy": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    refused("member 'theta.npy': expected stored bytes, found compressed ones")
    pack(path, {"metadata.json": b"[" * 10**5})
    refused("damaged: RecursionError")
    save(path, {"theta": np.zeros(2)}, {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.npy", b"")
    refused("expected 2 members, found 3: see '../../evil.npy'")


def test_a_pickle_in_an_array_s_place_is_not_run(tmp_path: Path) -> None:
    path = save(tmp_path / "c.npz", {"theta": np.zeros(2)}, {})
    with zipfile.ZipFile(path) as archive:
        head = archive.read("metadata.json")
    pack(path, {"metadata.json": head, "theta.npy": pickled()})
    with pytest.raises(CheckpointError, match="theta: expected 144 bytes, found"):
        load_arrays(path)


def test_a_change_without_the_digest_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "c.npz", example(), {"lr": 0.1})
    rewrite(path, lambda head: head["metadata"].update(lr=0.2), honest=False)
    with pytest.raises(CheckpointError, match="the digest of its metadata differs"):
        read_metadata(path)


@cache
def whole(path: Path) -> bytes:
    return save(path, example(4), {"lr": 0.1}).read_bytes()


MUTATIONS = st.one_of(
    st.tuples(st.just("flip"), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1)),
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True)),
    st.tuples(st.just("grow"), st.tuples(st.floats(0, 1), st.binary(min_size=1))),
    st.tuples(st.just("noise"), st.binary(max_size=300)),
)


@settings(max_examples=500, deadline=None)
@given(mutation=MUTATIONS)
def test_no_damage_is_believed(file: Path, mutation: tuple[str, Any]) -> None:
    record, path = example(4), file.with_name("damaged.npz")
    good = whole(file.with_name("whole.npz"))
    kind, how = mutation
    data = bytearray(good)
    if kind == "flip":
        for where, bits in how:
            data[int(where * len(good))] ^= bits
    elif kind == "cut":
        del data[int(how * len(good)) :]
    elif kind == "grow":
        data[(at := int(how[0] * len(good))) : at] = how[1]
    else:
        data = bytearray(how)
    path.write_bytes(data)
    try:
        loaded, metadata = load(path, bare(record)), read_metadata(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert equal(loaded, record) and metadata == {"lr": 0.1}


def test_the_one_before_stands_in_for_a_damaged_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "c.npz"
    for step in range(3):
        save(path, example(step), {})
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "c.npz.previous"]
    assert load_newest(path, example()).step == 2 and capsys.readouterr().err == ""
    path.write_bytes(path.read_bytes()[:-9])
    assert load_newest(path, example()).step == 1
    assert capsys.readouterr().err.startswith(
        f"warning: {path}: expected a checkpoint (.npz), found a file that is cut"
    )
    # The next save must not put the damaged file in the place of the only good one before the new one is there.
    save(path, example(5), {})
    assert load(path, example()).step == 5
    for bad in (path, previous(path)):
        bad.unlink()
    with pytest.raises(CheckpointError, match=r"c\.npz: expected a checkpoint, found no such file"):
        load_newest(path, example())


def test_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    for step in range(2):
        save(tmp_path / "c.npz", example(step), {})
    assert load(tmp_path / "c.npz", example()).step == 1 and os.listdir(tmp_path) == ["c.npz"]


def test_a_file_that_does_not_read_back_never_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "c.npz", example(1), {})
    calls = iter(range(99))
    monkeypatch.setattr(checkpoint, "_bytes", lambda array: bytes([next(calls)]) * array.nbytes)
    with pytest.raises(OSError, match=r"what was written does not read back .*digest differs.*c\.npz"):
        save(path, example(2), {})
    assert os.listdir(tmp_path) == ["c.npz"] and load(path, example()).step == 1


PREAMBLE = """
import os, resource, sys
from pathlib import Path
import numpy as np
from fnn.checkpoint import *

def record(step, size=5):
    return {"theta": np.full(size, step, "f4"), "step": step}
"""


def run(script: str, directory: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PREAMBLE + script], cwd=directory, env=ROOT, text=True, **options)


def small(step: int, size: int = 5) -> dict[str, Any]:
    return {"theta": np.full(size, step, np.float32), "step": step}


def test_a_full_disk_leaves_the_older_files(tmp_path: Path) -> None:
    script = """
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save("c.npz", record(2, size=10_000), {})
except OSError as error:
    print(error.filename, error.strerror)
"""
    path = save(tmp_path / "c.npz", small(1), {})
    before = path.read_bytes()
    with run(script, tmp_path, stdout=subprocess.PIPE) as child:
        assert child.communicate(timeout=20)[0] == "c.npz File too large\n"
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["c.npz"]


def test_a_kill_before_any_system_call_leaves_a_checkpoint(tmp_path: Path) -> None:
    # One child for each call that touches the directory; os._exit is a kill: nothing is cleaned up or flushed.
    script = """
def die_at(number):
    def count(event, _args, calls=iter(range(1000))):
        if event in ("open", "os.rename", "os.link", "os.remove") and next(calls) == number:
            os._exit(9)
    sys.addaudithook(count)

for rotten in (False, True):
    for number in range(1000):
        for name in os.listdir():
            os.remove(name)
        for step in (1, 2):
            save("c.npz", record(step), {})
        if rotten:
            Path("c.npz").write_bytes(b"PK")
        if not (child := os.fork()):
            die_at(number)
            save("c.npz", record(3), {})
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert load_newest("c.npz", record(0))["step"] in ((1, 3) if rotten else (2, 3)), (rotten, number)
        stale = len(os.listdir()) - 2
        assert stale <= 2, os.listdir()
        save("c.npz", record(4), {})
        assert sorted(os.listdir()) == ["c.npz", "c.npz.previous"]
        if code == 0:
            break
    print(number)
"""
    with run(script, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        counts = [int(n) for n in child.communicate(timeout=30)[0].split()]
    assert child.returncode == 0 and len(counts) == 2 and min(counts) >= 8


def test_a_kill_at_any_time_leaves_a_checkpoint(tmp_path: Path) -> None:
    script = """
for step in range(10**9):
    save("c.npz", record(step, size=50_000), {})
    if step == 1:
        print("saving", flush=True)
"""
    path, chance = tmp_path / "c.npz", random.Random(0)
    for _ in range(8):
        with run(script, tmp_path, stdout=subprocess.PIPE) as child:
            assert child.stdout and child.stdout.readline() == "saving\n"
            time.sleep(chance.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        found = load(path, small(0, size=50_000))
        assert np.all(found["theta"] == found["step"]) and found["step"] >= 1
        assert found["step"] - load(previous(path), small(0, size=50_000))["step"] in (1, 2)
        assert len(os.listdir(tmp_path)) <= 4
    save(path, small(0), {})
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "c.npz.previous"]
