"""Sweep files as wandb defines them: read, checked against wandb's schema and against ``Config``, key by key."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from fnn.config import FIELDS, Config, configure
from fnn.errors import UserError
from fnn.experiment import Report
from fnn.files import plain
from fnn.recipes import PRESETS

#: Documented by wandb, but not in the schema of its engine: how many trials, and another engine's name.
BEYOND_SCHEMA = ("run_cap", "scheduler")
METRICS = tuple(name for name in attrs.fields_dict(Report) if name.startswith(("train_", "val_")))
DEFAULT_METRIC = {"name": "val_accuracy", "goal": "maximize"}
QUANTILES = (0.001, 0.25, 0.5, 0.75, 0.999)  # of a distribution, at which its values are checked
DISCRETE = ("values", "value", "int_uniform", "q_uniform")


@frozen(eq=False)
class Sweep:
    """A checked sweep file. ``parameters`` are wandb's, by name, the constant ones among them."""

    method: str  # grid, random, bayes or tpe
    metric: str
    maximize: bool
    parameters: Mapping[str, Mapping[str, Any]]
    target: float | None  # of the metric: the search ends when it is reached
    early: Mapping[str, Any] | None
    run_cap: int | None
    source: Mapping[str, Any]  # the file's content

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the parameters that aren't constant, sorted as wandb's engine does."""
        return tuple(sorted(name for name, spec in self.parameters.items() if "value" not in spec))

    @property
    def identity(self) -> dict[str, Any]:
        """What two files must have in common to belong to one search."""
        keys = ("method", "metric", "parameters", "early_terminate", "scheduler")
        return plain({key: self.source[key] for key in keys if key in self.source})

    def better(self, a: float, b: float) -> bool:
        """Tell whether a value of the metric is strictly better than another."""
        return a > b if self.maximize else a < b


def engine() -> Any:
    """Import wandb's own search engine, the package ``sweeps``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is written for pydantic 1
        try:
            import sweeps.params

            import sweeps
        except ImportError as error:
            raise UserError(
                f"sweep: expected the packages of the extra sweeps: pip install '.[sweeps]' ({error})"
            ) from None
    return sweeps


def read(path: Path) -> Sweep:
    """Read and check a sweep file; raises UserError with the file, the key, what was expected and what was found."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: expected a sweep file, found {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected YAML: {' '.join(str(error).split())}") from None
    try:
        return parse(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def parse(content: Any) -> Sweep:
    """Return the sweep that the content of a file describes, checked.

    >>> parse({"method": "grid", "parameters": {"epochs": {"values": [5, 10]}}}).varying
    ('epochs',)
    """
    sweeps = engine()
    _mapping("a sweep file", content)
    _known("", content, (*sweeps.config.schema.sweep_config_jsonschema["properties"], *BEYOND_SCHEMA))
    program = content.get("program", "train.py")
    if Path(str(program)).name != "train.py":
        raise UserError(f"program: expected train.py, found {program!r}")
    parameters = _mapping("parameters", content.get("parameters"))
    for name, spec in parameters.items():
        _check_parameter(str(name), spec)
    _check_method(content, parameters)
    rest = {key: value for key, value in content.items() if key not in BEYOND_SCHEMA}
    violations = sweeps.schema_violations_from_proposed_config(rest)
    if violations:
        raise UserError(f"against wandb's schema: {violations[0]}")
    _check_metric(content)
    cap = content.get("run_cap")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise UserError(f"run_cap: expected a whole number of at least 1, found {cap!r}")
    config_of({name: spec["value"] for name, spec in parameters.items() if "value" in spec})
    return _validated(checked_before(content))


def checked_before(content: Mapping[str, Any]) -> Sweep:
    """Return the sweep of a content that ``parse`` has accepted, without wandb's engine, whose import takes seconds."""
    metric = content.get("metric", DEFAULT_METRIC)
    return Sweep(
        method="tpe" if content["method"] == "custom" else content["method"],
        metric=metric["name"],
        maximize=metric.get("goal") == "maximize",
        parameters=content["parameters"],
        target=metric.get("target"),
        early=content.get("early_terminate"),
        run_cap=content.get("run_cap"),
        source=content,
    )


def config_of(settings: Mapping[str, Any]) -> Config:
    """Return the configuration of a trial's settings, which may name the ``preset`` they start from.

    >>> config_of({"preset": "assignment", "batch_size": 64.0}).batch_size
    64
    """
    changes = dict(settings)
    preset = changes.pop("preset", "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UserError(f"preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
    return configure(PRESETS[preset], changes)


def images_of(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    """Return the pairs of data set and data_dir that trials of a sweep may ask for."""

    names = {
        name
        for preset in _choices(sweep, "preset", ["default"])
        for name in _choices(sweep, "dataset", [config_of({"preset": preset}).dataset])
    }
    return tuple((name, folder) for name in sorted(names) for folder in _choices(sweep, "data_dir", [""]))


def _choices(sweep: Sweep, name: str, default: Iterable[Any]) -> tuple[Any, ...]:
    spec = sweep.parameters.get(name, {})
    return tuple(spec.get("values", (spec["value"],) if "value" in spec else default))


def hyper(name: str, spec: Mapping[str, Any]) -> Any:
    """Return wandb's own object of a parameter: its type, ``ppf`` from quantiles to values, ``cdf`` back."""
    return engine().params.HyperParameter(name, dict(spec))


def _check_parameter(name: str, spec: Any) -> None:
    where = f"parameters.{name}"
    _known("parameters", [name], (*FIELDS, "preset"), "setting")
    if name != "preset" and FIELDS[name].metadata["group"] == "run" and name != "threads":
        raise UserError(f"{where}: expected a setting of the training, found one of where its results go")
    definitions = _definitions()
    _mapping(where, spec)
    if "parameters" in spec:
        raise UserError(f"{where}: expected no nested parameters, since all settings are on one level")
    _known(where, spec, {key for keys in definitions.values() for key in keys})
    if "distribution" in spec:
        _known(f"{where}.distribution", [spec["distribution"]], definitions, "distribution")
    for key in ("min", "max", "mu", "sigma", "q", "a", "b"):
        if isinstance(spec.get(key), str):
            raise UserError(f"{where}.{key}: expected a number, found the text {spec[key]!r}; to YAML, 1e-3 is 0.001")
    trial = {"method": "random", "parameters": {name: dict(spec)}}
    for violation in engine().schema_violations_from_proposed_config(trial):
        if "not valid under any" in violation:
            wanted = definitions.get(spec.get("distribution", ""), ())
            words = f"{', '.join(wanted)} with numbers" if wanted else "value, values, or a distribution with its keys"
            raise UserError(f"{where}: expected {words}, found {dict(spec)}")
        raise UserError(f"{where}: {violation.removeprefix(f'{name}: ')}")
    for value in _samples(name, spec):
        try:
            config_of({name: value})
        except UserError as error:
            drawn = "" if "values" in spec or "value" in spec else f"may draw {value!r}; "
            raise UserError(f"{where}: {drawn}{error}") from None


def _samples(name: str, spec: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of a parameter, of a distribution some that span it."""
    if "value" in spec:
        yield spec["value"]
    elif "values" in spec:
        yield from spec["values"]
    else:
        yield from (plain(hyper(name, spec).ppf(quantile)) for quantile in QUANTILES)


def _check_method(content: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]) -> None:
    method = content.get("method")
    if method not in ("grid", "random", "bayes", "custom"):
        raise UserError(f"method: expected one of grid, random, bayes, custom, found {method!r}")
    found = content.get("scheduler", {"engine": None} if method == "custom" else None)
    if method == "custom" and not (isinstance(found, Mapping) and found.get("engine") == "optuna"):
        raise UserError(f"scheduler: expected {{engine: optuna}} with method custom, found {found!r}")
    if method != "custom" and found is not None:
        raise UserError(f"scheduler: expected none with method {method}, found {found!r}")
    for name, spec in parameters.items():
        kind = next((key for key in ("values", "value") if key in spec), spec.get("distribution", "uniform"))
        if (
            kind == "uniform"
            and "distribution" not in spec
            and isinstance(spec["min"], int)
            and isinstance(spec["max"], int)
        ):
            kind = "int_uniform"  # as wandb reads two whole numbers
        if method == "grid" and (kind not in DISCRETE or "probabilities" in spec):
            raise UserError(f"parameters.{name}: expected values to make a grid of, found {dict(spec)}")
        if method == "bayes" and "probabilities" in spec:
            raise UserError(f"parameters.{name}: expected no probabilities with method bayes, which has its own")
    if method != "grid" and all("value" in spec for spec in parameters.values()):
        raise UserError("parameters: expected at least one that isn't constant")


def _validated(sweep: Sweep) -> Sweep:
    """Raise UserError for a sweep by what is validated, some of whose trials validate nothing."""
    if spec := sweep.parameters.get("validation_fraction"):
        shares = [float(value) for value in _samples("validation_fraction", spec)]
    else:
        presets = _choices(sweep, "preset", ["default"])
        shares = [config_of({"preset": preset}).validation_fraction for preset in presets]
    if sweep.metric.startswith("val_") and 0 in shares:
        raise UserError(f"metric: expected one of training without images to validate on, found {sweep.metric}")
    return sweep


def _check_metric(content: Mapping[str, Any]) -> None:
    metric = content.get("metric", DEFAULT_METRIC)
    name, goal = metric["name"], metric.get("goal", "none, which is minimize")
    _known("metric.name", [name], METRICS, "metric")
    right = "maximize" if name.endswith("accuracy") else "minimize"
    if not goal.endswith(right):
        raise UserError(f"metric: expected goal: {right} for {name}, found {goal}")


def _definitions() -> dict[str, tuple[str, ...]]:
    """Return the keys of each distribution of wandb's schema."""
    found: dict[str, tuple[str, ...]] = {}
    for name, definition in engine().config.schema.sweep_config_jsonschema["definitions"].items():
        if name.startswith("param_") and name != "param_dict":
            properties = definition.get("properties") or definition["anyOf"][0]["properties"]
            found[properties["distribution"]["enum"][0]] = tuple(properties)
    return found


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"{where}: expected keys with values, found {value!r}")
    return value


def _known(where: str, names: Iterable[Any], known: Iterable[str], noun: str = "key") -> None:
    known = sorted(known)
    for name in names:
        if name not in known:
            near = max(known, key=lambda other: _likeness(str(name), other))
            raise UserError(f"{f'{where}: ' if where else ''}expected a {noun}, found {name!r}; did you mean {near!r}?")


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()
