"""The command line: parsing, the commands, and what their mistakes look like."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from fnn.config import FIELDS, MODES, configure
from fnn.errors import DivergenceError, Interrupted, UserError
from fnn.recipes import PRESETS

GROUPS = ("data", "network", "training", "optimizer", "run")


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(" ".join(message.removeprefix("argument ").split()))


def train_parser(prog: str) -> Parser:
    """Return the parser of a training run: every field of Config is an argument."""
    parser = Parser(
        prog=prog,
        description="Train and test a feed-forward network on Fashion-MNIST or MNIST.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=110),
    )
    parser.add_argument(
        "--preset", metavar="NAME", help=f"named settings to start from: {', '.join(PRESETS)} (default: default)"
    )
    parser.add_argument("--resume", metavar="RUN_DIR", help="go on with an interrupted run")
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for name, field in FIELDS.items():
        add_option(groups[field.metadata["group"]], name, field)
    return parser


def add_option(parser: Any, name: str, field: attrs.Attribute[Any]) -> None:
    """Add the argument of a field of Config; values stay text, which Config itself parses."""
    kind = field.metadata["kind"]
    default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    shown = "" if default == "" or kind.several else f" (default: {default})"
    parser.add_argument(
        *filter(None, (field.metadata["flag"], f"--{name}")),
        dest=name,
        metavar=kind.metavar,
        nargs="+" if kind.several else None,
        help=f"{field.metadata['help']}{shown}".replace("%", "%%"),
    )


def train(arguments: Sequence[str], prog: str = "train.py") -> int:
    """Train as the arguments say."""
    given = vars(train_parser(prog).parse_args(arguments))
    preset, resume = given.pop("preset", None), given.pop("resume", None)
    from fnn.rundir import resumed_config
    from fnn.runner import run

    if resume is not None:
        if preset is not None:
            raise UserError(f"--preset: expected none with --resume, found {preset!r}")
        if "run_dir" in given:
            raise UserError(f"--run_dir: expected none with --resume, found {given['run_dir']!r}")
        config = resumed_config(Path(resume), given)
    else:
        if preset is not None and preset not in PRESETS:
            raise UserError(f"--preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
        config = configure(PRESETS[preset or "default"], given)
    run(config, resume is not None, told)
    return 0


def evaluate(arguments: Sequence[str], prog: str = "fnn evaluate") -> int:
    """Evaluate a saved model on a data set."""
    parser = Parser(prog=prog, description="Evaluate a model that a run saved.", allow_abbrev=False)
    parser.add_argument("model", type=Path, metavar="MODEL", help="best.npz of a run, or an ensemble")
    parser.add_argument("--dataset", help="data set (default: the one it was trained on)")
    parser.add_argument("--data_dir", help="directory of the data set's files (default: where it was trained from)")
    parser.add_argument("--part", choices=("test", "train"), default="test", help="which images (default: test)")
    parser.add_argument("--figure", type=Path, help="where the confusion figure goes (default: beside the model)")
    given = parser.parse_args(arguments)

    from fnn import figures, inference
    from fnn.ensembles import load_members

    members = load_members(given.model)
    trained = members[0].config
    name = given.dataset or trained.dataset
    folder = (trained.data_dir if name == trained.dataset else "") if given.data_dir is None else given.data_dir
    wanted = configure(trained, {"dataset": name, "data_dir": folder})
    text, figure = inference.assess(members, wanted, given.part)
    print(text)
    path = given.figure or given.model.with_name(f"confusion-{wanted.dataset}-{given.part}.png")
    figures.save(figure, path)
    print(f"confusion figure: {path}")
    return 0


def predict(arguments: Sequence[str], prog: str = "fnn predict") -> int:
    """Classify images by a saved model."""
    parser = Parser(prog=prog, description="Classify images by a model that a run saved.", allow_abbrev=False)
    parser.add_argument("model", type=Path, metavar="MODEL", help="best.npz of a run, or an ensemble")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="IDX, IDX.gz, npz or image files")
    parser.add_argument("--resize", action="store_true", help="scale image files to the size that the model takes")
    parser.add_argument("--invert", action="store_true", help="for dark on light: the data are light on dark")
    parser.add_argument("--json", action="store_true", help="print one JSON object an image, with all probabilities")
    given = parser.parse_args(arguments)

    from fnn import inference
    from fnn.ensembles import load_members

    members = load_members(given.model)
    batches = [(path, inference.read_pictures(path, members, given.resize, given.invert)) for path in given.images]
    for path, images in batches:
        for index, row in enumerate(inference.classify(members, images)):
            where = str(path) if len(images) == 1 else f"{path}[{index}]"
            ranked = sorted(zip(row.tolist(), members[0].class_names, strict=True), reverse=True)
            if given.json:
                print(json.dumps({"image": where, "class": ranked[0][1], "probabilities": {n: p for p, n in ranked}}))
            else:
                print(f"{where}: " + ", ".join(f"{name} {p:.1%}" for p, name in ranked[:3]))
    return 0


def ensemble(arguments: Sequence[str], prog: str = "fnn ensemble") -> int:
    """Make one model of several, which answers by the mean of their probabilities."""
    parser = Parser(
        prog=prog, description="Make one model of several: the mean of their probabilities.", allow_abbrev=False
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="file to write, for evaluate and predict")
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="best.npz of runs, or ensembles")
    given = parser.parse_args(arguments)

    from fnn.ensembles import combine

    members = combine(given.output, given.models)
    networks = ", ".join("-".join(map(str, member.spec.sizes)) for member in members)
    print(f"{given.output}: {len(members)} networks: {networks}")
    return 0


def data(arguments: Sequence[str], prog: str = "fnn data") -> int:
    """Fetch and verify both data sets and show where they are."""
    parser = Parser(prog=prog, description="Fetch and verify both data sets; show where they are.", allow_abbrev=False)
    parser.add_argument("--data_dir", type=Path, help="directory to look into first")
    given = parser.parse_args(arguments)

    from fnn.data import twins
    from fnn.datasets import OFFICIAL, load

    failed = 0
    for name in OFFICIAL:
        try:
            images = load(name, given.data_dir)
        except UserError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
            continue
        kept = images.cache or "nowhere (in memory only)"
        print(f"{name}: {len(images.train_labels):,} + {len(images.test_labels):,} images from {images.source}")
        print(f"    {'verified by SHA-256' if images.verified else 'not the official content'}; kept in {kept}")
        same = len(twins(images.test_images, images.train_images))
        print(f"    {same} of the test images stand among the training images, too")
    return 2 if failed else 0


def sweep(arguments: Sequence[str], prog: str = "fnn sweep") -> int:
    """Search settings as a wandb sweep file says, on this machine or a cluster."""
    parser = Parser(
        prog=prog, description="Run a wandb sweep file without a server, or go on with it.", allow_abbrev=False
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="sweep file, see sweeps/")
    parser.add_argument("--count", type=int, help="trials in all (default: the file's run_cap, a grid's size, or 100)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--dask", default="", metavar="ADDRESS", help="scheduler of a dask cluster to run on instead")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default: 0)")
    parser.add_argument("--dir", type=Path, help="directory of the results (default: runs/sweeps/NAME by the file)")
    parser.add_argument("--retry", action="store_true", help="run trials again that have failed without diverging")
    parser.add_argument(
        "--wandb_mode",
        choices=MODES,
        default="disabled",
        help="track each trial (default: no)",
    )
    parser.add_argument("--wandb_entity", default="", help="wandb entity (default: the account's own)")
    parser.add_argument("--wandb_project", default="fnn", help="wandb project (default: fnn)")
    parser.add_argument("--show", type=Path, metavar="DIR", help="show the results of a sweep, at work or not")
    parser.add_argument("--csv", action="store_true", help="with --show: all trials as CSV")
    given = vars(parser.parse_args(arguments))
    file, directory, seed, shown, as_csv = (given.pop(name) for name in ("file", "dir", "seed", "show", "csv"))
    if (file is None) == (shown is None):
        raise UserError("expected a sweep file, or --show and the directory of a sweep")
    if as_csv and shown is None:
        raise UserError("--csv: expected --show and the directory of a sweep")
    for name, value, least in (("count", given["count"], 1), ("workers", given["workers"], 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise UserError(f"--{name}: expected a whole number of at least {least}, found {value}")

    from fnn import search, sweepfile, trials

    if shown is None:
        where = directory or search.SWEEPS / file.stem
        return search.run(sweepfile.read(file), where, seed, search.Options(**given), told)
    definition, _ = trials.read_definition(shown)
    found = [trial for _, trial in sorted(trials.read_trials(shown).items())]
    print(
        trials.to_csv(definition, found) if as_csv else search.conclusion(definition, found), end="" if as_csv else "\n"
    )
    return 0


COMMANDS: dict[str, Callable[[Sequence[str], str], int]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "ensemble": ensemble,
    "data": data,
    "sweep": sweep,
}


def main(arguments: Sequence[str]) -> int:
    """Run ``python -m fnn COMMAND ...``."""
    summaries = "\n".join(f"  {name:<10}{command.__doc__}" for name, command in COMMANDS.items())
    usage = f"usage: python -m fnn {{{','.join(COMMANDS)}}} ...\n\n{summaries}\n\nEach has its own --help."
    if arguments and arguments[0] in ("-h", "--help"):
        print(usage)
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        found = repr(arguments[0]) if arguments else "none"
        raise UserError(f"expected a command, one of {', '.join(COMMANDS)}, found {found}")
    name, *rest = arguments
    return COMMANDS[name](rest, f"python -m fnn {name}")


def guarded(command: Callable[[Sequence[str]], int], arguments: Sequence[str], prog: str) -> int:
    """Run a command and return its exit code; whatever a person can mend is said without a traceback.

    0 success, 1 a failing machine (disk, memory), 2 a user's mistake, 3 divergence, 128 + n ended by signal n.
    """
    try:
        return command(arguments)
    except UserError as error:
        return _say(prog, error, 2)
    except DivergenceError as error:
        return _say(prog, "; ".join([str(error), *getattr(error, "__notes__", ())]), 3)
    except Interrupted as error:
        return _say(prog, error, 128 + error.number)
    except KeyboardInterrupt:
        return _say(prog, "stopped at once", 130)
    except MemoryError as error:
        return _say(prog, f"out of memory: {error}; a smaller --hidden_size or --batch_size needs less", 1)
    except BrokenPipeError:
        _deafen()  # the reader has gone, e.g. head
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(prog, f"{where}{error.strerror or error}", 1)


def told(line: str) -> None:
    """Print a line of a work that goes on to its end, though its reader may be gone."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        _deafen()


def _deafen() -> None:
    """Let what is still printed go nowhere, so that nothing complains at the exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(prog: str, message: object, code: int) -> int:
    print(f"{prog}: {message}", file=sys.stderr)
    return code
