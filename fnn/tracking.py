"""Tracking with wandb, at the edge: it gets what it is told, and whatever happens to it, the run goes on.

wandb is imported when a run is opened, asks nothing, and prints nothing. Each call to it has a time limit; the first
that fails is told in one line on stderr, and the tracker is silent from then on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import numpy as np

from fnn.arrays import Array
from fnn.config import MODES
from fnn.errors import UserError
from fnn.files import PathLike, plain

INIT_SECONDS, CALL_SECONDS, TEAR_DOWN_SECONDS, UPLOAD_SECONDS = 7.0, 5.0, 2.0, 60.0

# Flushed every second, since wandb's default loses the last 15 of a killed run. No source code, no console output,
# nothing of the machine, its packages, its command lines or its git remotes, any of which may hold a secret.
SETTINGS: Mapping[str, Any] = {
    "silent": True,
    "quiet": True,
    "show_errors": False,
    "console": "off",
    "init_timeout": 5.0,
    "x_transaction_log_flush_interval": 1.0,
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "host": "",
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class Tracker:
    """A run as wandb sees it, or, without one, nothing at all: every method then does nothing.

    ``directory`` is what ``wandb sync`` takes, ``url`` the run's page if it is online, ``config`` what was given to
    ``open_run``, with a sweep's choices in place of ours where an agent started this process.
    """

    def __init__(self, run: Any = None, config: Mapping[str, Any] | None = None, online: bool = False) -> None:
        self._run = run
        self.config: dict[str, Any] = dict(run.config if run else config or {})
        self.directory: Path | None = Path(run.dir).parent.absolute() if run else None
        self.url: str | None = run.url if run and online else None

    def log(self, metrics: Mapping[str, Any], epoch: int) -> None:
        """Add a point to each metric's curve against the epoch."""
        self._do(lambda run: run.log({**metrics, "epoch": epoch}))

    def images(self, key: str, images: Sequence[Array], captions: Sequence[str]) -> None:
        """Log images, each ``(height, width)`` or ``(height, width, 3)``: bytes, or floats in ``[0, 1]``."""
        pairs = list(zip(images, captions, strict=True))
        self._do(lambda run: run.log({key: [_wandb().Image(image, caption=caption) for image, caption in pairs]}))

    def figure(self, key: str, png: PathLike) -> None:
        """Log a picture file."""
        self._do(lambda run: run.log({key: _wandb().Image(os.fspath(png))}))

    def histograms(self, arrays: Mapping[str, Array]) -> None:
        """Log the distribution of each array's finite elements."""
        self._do(lambda run: run.log({k: _wandb().Histogram(a[np.isfinite(a)].ravel()) for k, a in arrays.items()}))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set values that describe the whole run."""
        self._do(lambda run: run.summary.update(plain(values)))

    def finish(self, exit_code: int = 0) -> None:
        """End the run and wait, at most a minute, until it is uploaded."""
        self._do(lambda run: run.finish(exit_code=exit_code), UPLOAD_SECONDS if self.url else None)
        self._run = None

    def _do(self, action: Callable[[Any], object], seconds: float | None = None) -> None:
        run = self._run
        if run is None:
            return
        try:
            within(seconds or CALL_SECONDS, lambda: action(run))
        except Exception as error:
            self._run = None
            _say(f"warning: wandb failed ({_reason(error)}); the run goes on without it. What it has: {self.directory}")
            _tear_down()


def open_run(
    mode: str, entity: str | None, project: str | None, name: str | None, config: Mapping[str, Any], directory: PathLike
) -> Tracker:
    """Open a run of wandb; ``auto`` is ``$WANDB_MODE`` if set, else online with a key configured and offline without.

    Where online is impossible it becomes offline, which one line on stderr says; where that fails too, nothing is
    tracked, which another says. wandb's files go below ``directory`` or, if set, ``$WANDB_DIR``. Under ``wandb agent``
    the run joins the sweep. Raises UserError for an unknown mode.

    >>> open_run("disabled", None, None, None, {"lr": 0.1}, ".").config
    {'lr': 0.1}
    """
    chosen = _mode(mode)
    if chosen == "disabled":
        return Tracker(config=config)
    rest = entity, project, name, config, directory
    try:
        if chosen == "offline":
            return Tracker(_start("offline", *rest))
        try:
            return _online(*rest)
        except Exception as error:
            tracker = Tracker(_start("offline", *rest))
            _say(f"wandb: offline ({_reason(error)}); to upload the run later: wandb sync {tracker.directory}")
            return tracker
    except Exception as error:
        _say(f"warning: wandb failed ({_reason(error)}); the run goes on without it")
        _tear_down()
        return Tracker(config=config)


def _mode(mode: str) -> str:
    """Return online, offline or disabled, or auto where nobody chose."""
    if mode not in MODES:
        raise UserError(f"wandb mode: expected one of {', '.join(MODES)}, found {mode!r}")
    said = os.environ.get("WANDB_MODE") or "auto"
    said = {"dryrun": "offline", "run": "online"}.get(said, said)
    if mode == "auto" and said not in MODES:
        raise UserError(f"WANDB_MODE: expected one of {', '.join(MODES[1:])}, found {said!r}")
    return said if mode == "auto" else mode


def _online(*arguments: Any) -> Tracker:
    if not within(INIT_SECONDS, _has_key):
        raise LookupError("no key is configured, see wandb login")
    try:
        return Tracker(_start("online", *arguments), online=True)
    except Exception:
        _tear_down()  # else it goes on trying to connect, and the process waits for it at its end
        raise


def _start(
    mode: str, entity: str | None, project: str | None, name: str | None, config: Mapping[str, Any], directory: PathLike
) -> Any:
    wandb = _wandb()
    place = None if os.environ.get("WANDB_DIR") else os.fspath(directory)
    Path(place or os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)  # wandb takes the system's /tmp otherwise
    in_sweep = bool(os.environ.get("WANDB_SWEEP_ID"))  # then entity and project are the sweep's

    def start() -> Any:
        run = wandb.init(
            mode=mode,  # type: ignore[arg-type]
            entity=None if in_sweep else entity or None,
            project=None if in_sweep else project or None,
            name=name or None,
            config=dict(config),
            dir=place,
            settings=_settings(),
        )
        run.define_metric("epoch", hidden=True)
        run.define_metric("*", step_metric="epoch")
        return run

    return within(INIT_SECONDS, start)


def _wandb() -> Any:
    # Its error reports to its makers keep a process waiting for 20 s at its end where their server does not answer.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def _settings() -> Any:
    known = _wandb().Settings.model_fields  # those that start with x_ come and go with wandb's versions
    return _wandb().Settings(**{key: value for key, value in SETTINGS.items() if key in known})


def _has_key() -> bool:
    """Tell whether wandb knows a key, without a prompt and without a network.

    ``wandb.login(prompt=False)``, the documented way, waits seconds for a server.
    """
    settings = _wandb().setup(settings=_settings()).settings
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or settings.api_key:
        return True
    try:
        from wandb.sdk.lib.wbauth import read_netrc_auth
    except ImportError:
        return bool(_wandb().api.api_key)
    return bool(read_netrc_auth(host=settings.base_url))


def within(seconds: float, action: Callable[[], Any]) -> Any:
    """Return what ``action`` returns, or raise what it raises, or TimeoutError if it takes too long.

    It runs in a thread that dies with the process, so that even one that never returns holds nobody up.

    >>> within(1, lambda: 6 * 7)
    42
    """
    outcome: Queue[tuple[Any, BaseException | None]] = Queue()

    def work() -> None:
        try:
            outcome.put((action(), None))
        except BaseException as error:  # wandb may also exit or be interrupted: nothing of it may end the run
            outcome.put((None, error))

    Thread(target=work, daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(repr(error))
    return value


def _tear_down() -> None:
    """Let go of a broken wandb, so that it neither waits nor complains when the process ends."""
    with suppress(Exception):
        within(TEAR_DOWN_SECONDS, _wandb().teardown)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split("\n", 1)[0].split())
    return text[:150] or type(error).__name__


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
