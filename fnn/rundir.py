"""The directory of a run: claiming it, and what is kept in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from fnn import checkpoint
from fnn.arrays import freeze
from fnn.config import FIELDS, OUTSIDE, Config, configure, spec_of
from fnn.errors import UserError
from fnn.experiment import Report
from fnn.features import FEATURES, Fitted
from fnn.files import exclusive, plain, read_lines, temporaries, write_atomically
from fnn.naming import name_of
from fnn.network import Params, Spec

RUNS = Path("runs")


@frozen(eq=False)
class Model:
    """A trained network with all that it takes to use it."""

    spec: Spec
    params: Params
    config: Config
    class_names: tuple[str, ...]
    fitted: Fitted | None = None  # what its features have learned


@contextmanager
def claimed(config: Config, resume: bool) -> Iterator[Path]:
    """Make or enter the run's directory, for this process alone, until the end of the block.

    Without ``run_dir`` it is the first free one of runs/NAME, runs/NAME-2, ...
    """
    try:
        directory = Path(config.run_dir) if config.run_dir else _first_free(RUNS / name_of(config))
    except OSError as error:
        raise UserError(f"--run_dir: expected a directory to write to, found {RUNS}: {error.strerror}") from None
    with exclusive(directory, "--run_dir", "run"):
        if not resume and (directory / "config.json").exists():
            raise UserError(
                f"--run_dir: expected a directory without a run, found one in {directory}; "
                f"go on with it by --resume {directory}, or name another"
            )
        yield directory


def _first_free(path: Path) -> Path:
    candidates = chain([path], (path.with_name(f"{path.name}-{number}") for number in count(2)))
    return next(filter(_is_made, candidates))


def _is_made(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as a JSON file that people can read."""
    write_atomically(path, json.dumps(plain(record), indent=2, allow_nan=False).encode() + b"\n")


def read_config(directory: Path) -> Config:
    """Return the configuration of the run in a directory."""
    path = directory / "config.json"
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise UserError(f"expected the directory of a run, found no readable config.json in {directory}") from None
    return config_from(settings, path)


def config_from(settings: Any, where: object) -> Config:
    """Return the configuration that a file holds."""
    if not isinstance(settings, dict):
        raise UserError(f"{where}: expected settings by name, found {type(settings).__name__}")
    try:
        return configure(Config(), settings)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def resumed_config(directory: Path, changes: Mapping[str, Any]) -> Config:
    """Return the configuration of an interrupted run with changes; only what doesn't alter its past may change."""
    old = read_config(directory)
    new = configure(old, {**changes, "run_dir": str(directory)})
    free = OUTSIDE | {"epochs", "patience", "teacher"}  # which teacher it was is kept with the state
    for name in FIELDS:  # all of them: one that is given may imply another
        if name not in free and getattr(new, name) != getattr(old, name):
            raise UserError(
                f"--{name}: expected {getattr(old, name)!r} as in the run that is resumed, found {getattr(new, name)!r}"
            )
    if new.epochs < old.epochs:
        raise UserError(f"--epochs: expected at least {old.epochs} as in the run that is resumed, found {new.epochs}")
    return new


def read_reports(directory: Path, upto: int) -> tuple[Report, ...]:
    """Return the reports of the first ``upto`` epochs, and cut the file after them."""
    path = directory / "history.jsonl"
    lines = read_lines(path) if path.exists() else []
    kept = lines[:upto]
    try:
        reports = tuple(Report(**line) for line in kept)
    except TypeError:
        raise UserError(f"{path}: expected {', '.join(attrs.fields_dict(Report))} in each line") from None
    if [report.epoch for report in reports] != list(range(1, upto + 1)):
        raise UserError(f"{path}: expected epochs 1 to {upto}, as last.npz has it, found {len(kept)} of them")
    if len(kept) < len(lines):
        write_atomically(path, b"".join(json.dumps(line).encode() + b"\n" for line in kept))
    return reports


def best_model(path: Path, epoch: int) -> Model:
    """Return the best model, that of ``epoch``, and no other.

    A later one, whose state a kill or a full disk left unsaved, is taken back, and so is a damaged one.
    """
    older = checkpoint.previous(path)
    # A kill between the two renames of a save leaves the replaced model under its hidden name.
    for either in (path, older, *temporaries(path)):
        with suppress(checkpoint.DamagedCheckpointError):
            if checkpoint.read_metadata(either).get("results", {}).get("epoch") == epoch:
                model = _read_model(either)
                if either != path:
                    os.replace(either, path)
                return model
    raise UserError(
        f"{path}: expected the model of epoch {epoch}, the best of the run that is resumed, found no good one of it "
        f"there nor in {older.name}; train anew in another directory"
    )


def save_model(path: Path, model: Model, results: Mapping[str, Any], displace: bool = True) -> None:
    """Save a model so that ``load_model`` needs nothing else."""
    checkpoint.save(path, record_of(model), plain({**described(model), "results": dict(results)}), displace)


def record_of(model: Model) -> Any:
    """Return what of a model a checkpoint holds as arrays."""
    return model.params if model.fitted is None else {"params": model.params, "fitted": model.fitted}


def with_record(model: Model, record: Any) -> Model:
    """Return a model with the arrays of a record like its own."""
    return attrs.evolve(model, **record) if isinstance(record, dict) else attrs.evolve(model, params=record)


def described(model: Model) -> dict[str, Any]:
    """Return what of a model isn't its parameters, as JSON holds it."""
    return {
        "config": model.config.as_dict(),
        "features": model.spec.sizes[0],
        "class_names": list(model.class_names),
    }


def load_model(path: Path) -> Model:
    """Load a model that a run saved; raises CheckpointError or UserError for any other file."""
    return checkpoint.newest(path, _read_model)


def _read_model(path: Path) -> Model:
    model = blank(checkpoint.read_metadata(path), path)
    return with_record(model, checkpoint.load(path, record_of(model)))


def blank(metadata: Any, path: Path) -> Model:
    """Return the model that a file's metadata describe, with other parameters."""
    kept = metadata if isinstance(metadata, dict) else {}
    names, features = kept.get("class_names"), kept.get("features")
    if not isinstance(names, list) or not isinstance(features, int) or "config" not in kept:
        raise UserError(f"{path}: expected a model (best.npz of a run), found a checkpoint of something else")
    config = config_from(kept["config"], path)
    size = path.stat().st_size  # bounds what is allocated for a file from a stranger
    fits = features > 0 and names and config.num_layers < size
    spec = spec_of(config, features, len(names)) if fits else None
    if spec is None or spec.parameters > size // np.dtype(spec.dtype).itemsize:
        raise UserError(f"{path}: expected the parameters of the network it names, found fewer")
    make = FEATURES[config.features].blank
    params = Params(spec.sizes, freeze(np.zeros(spec.parameters, spec.dtype)))
    return Model(spec, params, config, tuple(map(str, names)), make(features) if make else None)
