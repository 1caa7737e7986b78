"""A run from its configuration to its results: the consumers of the stream of training states."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, define, evolve, frozen

from fnn import calibration, checkpoint, figures, memory, threads
from fnn.arrays import Array, freeze, map_arrays
from fnn.config import Config
from fnn.data import Dataset, desired
from fnn.datacache import digest
from fnn.datasets import Images, load
from fnn.errors import DivergenceError, Interrupted
from fnn.experiment import Parts, Report, best_of, dataset_of, observe, out_of_patience, parts_of, plan_for
from fnn.features import Fitted
from fnn.files import append_line
from fnn.inference import show_confusion
from fnn.metrics import evaluate
from fnn.network import Params, loss_and_grad, matrices
from fnn.rundir import Model, best_model, claimed, read_reports, save_model, write_json
from fnn.signals import Request, deferred
from fnn.teaching import taught, teachers
from fnn.tracking import Tracker, open_run
from fnn.training import Plan, TrainState, answer, initial_state

Observation = tuple[TrainState, Report | None]
Say = Callable[[str], None]


@define
class Kept:
    """What of a run is on disk: what a full disk refuses is tried again an epoch later, and at the end."""

    best: Model | None = None
    lines: int = 0  # of the history
    at: str = ""  # where the last saved state is, in words
    ahead: bool = False  # of that state: a best model has been saved that belongs to a later one


@frozen(eq=False)
class Outlets:
    """Where a run leaves what it finds: its directory, the tracker and the terminal."""

    directory: Path
    tracker: Tracker
    say: Say
    data: str  # which images the run is trained on
    kept: Kept


def run(config: Config, resume: bool = False, say: Say = print) -> dict[str, Any]:
    """Train, validate and test as configured, and return the summary; everything is left in the run's directory.

    Raises UserError for settings that cannot be met, DivergenceError, and Interrupted when a signal has asked for the
    end: then the state is saved and ``resume`` goes on from it.
    """
    images = load(config.dataset, Path(config.data_dir) if config.data_dir else None)
    memory.check(config, images)
    members = teachers(config, images)
    parts = parts_of(config, images)
    plan = plan_for(config, parts)
    to_show = _for_the_end(images)
    used = calibration.choose(config.threads, plan, parts.train)
    config = evolve(config, threads=used)  # kept with the settings: another number would change the last bits
    plan = plan_for(config, parts)
    with ExitStack() as stack:
        directory = stack.enter_context(claimed(config, resume))
        stack.enter_context(threads.limited(used))
        if members:
            say(f"{config.teacher_path} answers to {len(parts.train):,} images first")
        parts = taught(config, images, parts, members)  # by as many threads as train: a resumed run has the same bits
        settings = config.as_dict() | {"run_dir": str(directory)}
        tracker = open_run(
            config.wandb_mode, config.wandb_entity, config.wandb_project, directory.name, settings, directory
        )
        stack.push(lambda kind, _error, _trace: tracker.finish(1 if kind else 0))
        request = stack.enter_context(deferred())
        out = Outlets(directory, tracker, say, identity(images, parts.fitted, members), Kept())
        images = to_show  # lets go of the others
        state, reports, best = _where_it_was(plan, out) if resume else (None, (), None)
        write_json(directory / "config.json", settings)
        held_out = f"{len(parts.validation):,} to validate" if parts.validation else "none held out to validate"
        say(f"{images.source}: {len(parts.train):,} images to train on, {held_out}")
        say(f"network {'-'.join(map(str, plan.spec.sizes))}: {plan.spec.parameters:,} parameters; threads: {used}")
        stream = (
            () if out_of_patience(config, reports) else observe(config, parts, state, plan.pieces(len(parts.train)))
        )
        del state  # so that only the stream has it, which gives it up
        model, reports = _fit(config, plan, parts, images.class_names, stream, reports, best, out, request)
        return _conclude(model, images, reports, out, used)


def _for_the_end(images: Images) -> Images:
    """Return what of the images a run needs at its end, those to test on and the first of each class to train on.

    They are copies: the images may be mapped from a file that is cut short before.
    """
    _, first = np.unique(images.train_labels, return_index=True)
    chosen = images.train_images[first], images.train_labels[first], images.test_images, images.test_labels
    names = "train_images", "train_labels", "test_images", "test_labels"
    return evolve(images, **{name: freeze(np.array(array)) for name, array in zip(names, chosen, strict=True)})


def identity(images: Images, fitted: Fitted | None = None, teachers: Sequence[Model] = ()) -> str:
    """Return in words which training images, features and teachers these are, so that a run can tell if it resumes."""
    learned: list[Array] = []
    records = (fitted, *((teacher.params, teacher.fitted) for teacher in teachers))
    map_arrays(lambda array: learned.append(array) or array, records)
    digests = (digest(array)[:16] for array in (images.train_images, images.train_labels, *learned))
    return ", ".join((f"{len(images.train_labels)} images", *digests, *(teacher.config.views for teacher in teachers)))


def _where_it_was(plan: Plan, out: Outlets) -> tuple[TrainState | None, tuple[Report, ...], Model | None]:
    """Return the last saved state of the run in a directory, the reports up to it and the best model of these."""
    path = out.directory / "last.npz"
    state = None
    if path.exists():
        state = checkpoint.load_newest(path, {"data": out.data, "state": initial_state(plan)})["state"]
    reports = read_reports(out.directory, state.epoch if state else 0)
    best = best_model(out.directory / "best.npz", best_of(reports).epoch) if reports else None
    out.kept.best, out.kept.lines, out.kept.at = best, len(reports), _place(state) if state else ""
    return state, reports, best


def _fit(
    config: Config,
    plan: Plan,
    parts: Parts,
    class_names: tuple[str, ...],
    stream: Iterable[Observation],
    reports: tuple[Report, ...],
    best: Model | None,
    out: Outlets,
    request: Request,
) -> tuple[Model, tuple[Report, ...]]:
    """Consume the stream of states: keep the best, save, report, stop early. Returns the best model and all reports.

    Where nothing is validated, the last is the best.
    """
    saved = time.monotonic()
    for now, report in _with_bar(_explained(stream, out), plan.steps_per_epoch(len(parts.train)), config.epochs):
        if report is not None:
            reports = (*reports, report)
            if best_of(reports) is report:
                best = Model(plan.spec, answer(plan, parts.train, now), config, class_names, parts.fitted)
            out.say(_line(report, config.epochs))
            out.tracker.log(_known(asdict(report), "epoch"), report.epoch)
            if report.epoch.bit_count() == 1 or report.epoch == config.epochs:  # after 1, 2, 4, 8, ... epochs
                out.tracker.histograms(_histograms(plan, answer(plan, parts.train, now), parts.train))
        if report is not None or request or time.monotonic() - saved >= 60 * config.checkpoint_every:
            _forgiving(_keep, now, best, reports, out)
            saved = time.monotonic()
        if request:
            raise Interrupted(request.number, out.directory, now.step)
        if out_of_patience(config, reports):
            out.say(f"stopped: no better validation accuracy in {config.patience} epochs")
            break
        del now  # the next one takes its place in memory
    assert best is not None, "at least one epoch was run, or read from the history"
    return best, reports


def _keep(now: TrainState | None, best: Model | None, reports: tuple[Report, ...], out: Outlets) -> None:
    """Put on disk what isn't there yet; the state comes last, so that whoever goes on from it finds the rest."""
    kept = out.kept
    if best is not None and best is not kept.best:
        # What the saved state takes for the best must stay, here or as the one before, until a newer state is saved.
        save_model(out.directory / "best.npz", best, asdict(best_of(reports)), displace=not kept.ahead)
        kept.best, kept.ahead = best, True
    for report in reports[kept.lines :]:
        append_line(out.directory / "history.jsonl", asdict(report))
        kept.lines += 1
    if now is not None:
        checkpoint.save(out.directory / "last.npz", {"data": out.data, "state": now}, {})
        kept.at, kept.ahead = _place(now), False


def _place(state: TrainState) -> str:
    return f"epoch {state.epoch}, step {state.step}"


def _explained(stream: Iterable[Observation], out: Outlets) -> Iterator[Observation]:
    """Pass a stream on; if it diverges, add where the last saved state is and what to do."""
    try:
        yield from stream
    except DivergenceError as error:
        where = f"{out.directory / 'last.npz'} ({out.kept.at})" if out.kept.at else "none, in the first epoch"
        error.add_note(f"the last saved state: {where}")
        error.add_note("what usually helps: training anew at a rate three to ten times smaller, or with --clip_norm 1")
        raise


def _forgiving(write: Callable[..., object], *values: Any) -> None:
    """Write such that a full disk costs the file, and a line that says so, but not the run."""
    try:
        write(*values)
    except OSError as error:
        print(f"warning: {error.filename} could not be written ({error.strerror}); the run goes on", file=sys.stderr)


def _with_bar(stream: Iterable[Observation], total: int, epochs: int) -> Iterator[Observation]:
    """Pass a stream on while a bar shows the steps of the run, on a terminal only."""
    if not sys.stderr.isatty():
        yield from stream
        return
    from tqdm import tqdm

    with tqdm(total=total * epochs, unit="step", leave=False, dynamic_ncols=True) as bar:
        for now, report in stream:
            bar.set_description(f"epoch {min(now.epoch + 1, epochs)}/{epochs}", refresh=False)
            bar.update(now.step - bar.n)
            if report is not None:
                bar.clear()  # the report's line has the place for itself
            yield now, report
            del now


def ruined() -> AbstractContextManager[None]:
    """Return a context without warnings for parameters that may have diverged, since nothing has validated them."""
    return np.errstate(over="ignore", invalid="ignore")


def _histograms(plan: Plan, params: Params, data: Dataset) -> dict[str, np.ndarray]:
    """Return the weights and biases of each layer that answers, and their gradients on the first images, by name."""
    n = min(len(data), 512)
    wanted = desired(data, np.arange(n), plan.label_smoothing, plan.spec.dtype).T
    with ruined():
        _, gradient = loss_and_grad(plan.spec, params, data.design[:n][:, :-1], wanted)
    vectors = {"parameters": params.theta, "gradients": gradient}
    return {
        f"{kind}/layer_{number}": block
        for kind, vector in vectors.items()
        for number, block in enumerate(matrices(params.sizes, vector), 1)
    }


def _conclude(model: Model, images: Images, reports: tuple[Report, ...], out: Outlets, used: int) -> dict[str, Any]:
    """Test the best model, once; leave the summary and the figures; say where everything is."""
    test = dataset_of(model.config, images.test_images, images.test_labels, len(images.class_names), model.fitted)
    with ruined():
        result = evaluate(model.spec, model.params, test, model.config.views)
    best, last = best_of(reports), reports[-1]
    if not isfinite(result.loss):
        raise DivergenceError(last.step, result.loss, model.config.learning_rate)
    summary = {
        "name": out.directory.name,
        "best_val_accuracy": best.val_accuracy,
        "best_val_loss": best.val_loss,
        "best_epoch": best.epoch,
        "test_accuracy": result.accuracy,
        "test_loss": result.loss,
        "train_accuracy": last.train_accuracy,
        "train_loss": last.train_loss,
        "epochs": last.epoch,
        "seconds": sum(report.seconds for report in reports),
        "parameters": model.spec.parameters,
        "threads": used,
        "data": images.source,
    }
    title = f"{model.config.dataset}, test"
    pictures = {
        "samples.png": figures.samples(images.train_images, images.train_labels, images.class_names),
        "confusion.png": show_confusion(result, test, images.test_images, model.class_names, title),
        "curves.png": figures.curves([asdict(report) for report in reports]),
    }
    for name, figure in pictures.items():
        _forgiving(figures.save, figure, out.directory / name)
    out.tracker.images("samples", [*images.train_images], [images.class_names[k] for k in images.train_labels])
    if (out.directory / "confusion.png").exists():
        out.tracker.figure("confusion", out.directory / "confusion.png")
    out.tracker.summary(_known(summary))
    out.say(f"\n{_table(summary)}")  # before the disk may refuse them
    _keep(None, model, reports, out)  # unforgiving: a run whose results are not on disk has failed
    write_json(out.directory / "summary.json", summary)
    out.say(f"\n{out.directory}/")
    for name in ("best.npz", "history.jsonl", "summary.json", *pictures):
        if (out.directory / name).exists():
            out.say(f"    {name}")
    return summary


def _known(record: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None and name not in without}


def _line(report: Report, epochs: int) -> str:
    width, validated = len(str(epochs)), report.val_accuracy is not None
    parts = (
        f"epoch {report.epoch:{width}}/{epochs}",
        f"train: loss {report.train_loss:.4f}, {report.train_accuracy:7.2%}",
        f"validation: loss {report.val_loss:.4f}, {report.val_accuracy:7.2%}" if validated else "",
        f"{report.seconds:.1f} s",
    )
    return "  ".join(filter(None, parts))


def _table(summary: Mapping[str, Any]) -> str:
    chosen = "best" if summary["best_val_accuracy"] is not None else "the last: nothing was held out"
    rows = (
        ("training", summary["train_loss"], summary["train_accuracy"], f"epoch {summary['epochs']}"),
        ("validation", summary["best_val_loss"], summary["best_val_accuracy"], f"epoch {summary['best_epoch']}"),
        ("test", summary["test_loss"], summary["test_accuracy"], f"epoch {summary['best_epoch']}, {chosen}"),
    )
    lines = (
        f"{name:<12}{loss:8.4f}{accuracy:11.2%}   {when}" for name, loss, accuracy, when in rows if loss is not None
    )
    return "\n".join((f"{'':<12}{'loss':>8}{'accuracy':>11}", *lines))
