"""The command line: every spelling of every argument, and what mistakes look like."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fnn import cli, runner
from fnn.cli import guarded
from fnn.config import FIELDS, Config, optimizer_of
from fnn.datasets import load
from fnn.errors import DivergenceError, Interrupted, UserError
from fnn.memory import estimate
from fnn.recipes import PRESETS
from tests import shell
from tests.shell import DATA
from tests.test_config import WRONG

#: The assignment's table: spellings, the field, a value that is no default, and what it becomes.
TABLE = [
    ("-wp --wandb_project", "wandb_project", "p", "p"),
    ("-we --wandb_entity", "wandb_entity", "me", "me"),
    ("-d --dataset", "dataset", "mnist", "mnist"),
    ("-e --epochs", "epochs", "3", 3),
    ("-b --batch_size", "batch_size", "17", 17),
    ("-l --loss", "loss", "mean_squared_error", "mean_squared_error"),
    *(("-o --optimizer", "optimizer", name, name) for name in ("sgd", "momentum", "nag", "rmsprop", "nadam", "eve")),
    ("-lr --learning_rate", "learning_rate", "0.5", 0.5),
    ("-m --momentum", "momentum", "0.3", 0.3),
    ("-beta --beta", "beta", "0.3", 0.3),
    ("-beta1 --beta1", "beta1", "0.3", 0.3),
    ("-beta2 --beta2", "beta2", "0.3", 0.3),
    ("-eps --epsilon", "epsilon", "1e-4", 1e-4),
    ("-w_d --weight_decay", "weight_decay", "0.01", 0.01),
    *(("-w_i --weight_init", "weight_init", name, name) for name in ("random", "Xavier")),
    ("-nhl --num_layers", "num_layers", "5", 5),
    ("-sz --hidden_size", "hidden_size", "64", (64,)),
    *(("-a --activation", "activation", name, name) for name in ("identity", "sigmoid", "tanh")),
]
MORE = {
    "features": ("gradients", "gradients"),
    "checkpoint_every": ("2.5", 2.5),
    "seed": ("7", 7),
    "validation_fraction": ("0.2", 0.2),
    "schedule": ("step", "step"),
    "patience": ("4", 4),
    "run_dir": ("there", "there"),
    "wandb_mode": ("offline", "offline"),
    "threads": ("2", 2),
    "dtype": ("float64", "float64"),
    "normalization": ("batch", "batch"),
    "dropout": ("0.2", 0.2),
    "input_dropout": ("0.2", 0.2),
    "input_noise": ("0.3", 0.3),
    "flip": ("yes", "yes"),
    "shift": ("2", 2),
    "rotation": ("5", 5.0),
    "scaling": ("0.1", 0.1),
    "shear": ("8", 8.0),
    "elastic": ("0.5", 0.5),
    "averaging": ("0.99", 0.99),
    "mixup": ("0.2", 0.2),
    "views": ("flip", "flip"),
    "data_dir": ("here", "here"),
    "teacher": ("a/best.npz", "a/best.npz"),
    "label_smoothing": ("0.2", 0.2),
    "decoupled_weight_decay": ("0", 0.0),
    "clip_norm": ("1", 1.0),
}


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Return a function that gives the configuration which ``train.py`` would run with."""
    seen: list[Config] = []
    monkeypatch.setattr(runner, "run", lambda config, *_: seen.append(config))

    def configured(*arguments: str) -> Config:
        assert cli.train(arguments) == 0
        return seen.pop()

    return configured


@pytest.mark.parametrize(
    ("flag", "name", "text", "value"),
    [(flag, *row) for flags, *row in TABLE for flag in flags.split()]
    + [(f"--{name}", name, *values) for name, values in MORE.items()],
)
def test_each_spelling_sets_its_field_and_no_other(
    configured: Callable[..., Config], flag: str, name: str, text: str, value: object
) -> None:
    config = configured(flag, text)
    assert getattr(config, name) == value != getattr(Config(), name)
    assert {key for key in FIELDS if getattr(config, key) != getattr(Config(), key)} == {name}
    if flag.startswith("--"):
        assert configured(f"{flag}={text}") == config


def test_every_field_is_in_the_table_or_among_the_additions() -> None:
    assert {row[1] for row in TABLE} | MORE.keys() == FIELDS.keys()


def test_several_widths_and_presets(configured: Callable[..., Config]) -> None:
    config = configured("-sz", "512", "256", "128", "-e", "2")
    assert (config.num_layers, config.widths, config.epochs) == (3, (512, 256, 128), 2)
    assert configured("--preset", "assignment") == PRESETS["assignment"]
    assert configured("--preset", "assignment", "-b", "9").batch_size == 9
    assert configured() == Config()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values if isinstance(value, str)]
)
def test_a_wrong_value_is_one_line(capsys: pytest.CaptureFixture[str], name: str, value: str) -> None:
    assert guarded(cli.train, [f"--{name}={value}"], "train.py") == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    found = [value] if FIELDS[name].metadata["kind"].several else value
    assert err == f"train.py: --{name}: expected {FIELDS[name].metadata['kind'].expected}, found {found!r}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs"], "--epochs: expected one argument"),
        (["-lr", "-1"], "--learning_rate: expected a number above 0, found '-1'"),
        (["-a"], "-a/--activation: expected one argument"),
        (["-sz"], "-sz/--hidden_size: expected at least one argument"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["surplus\nline"], "unrecognized arguments: surplus line"),
        (["--preset", "best"], f"--preset: expected one of {', '.join(PRESETS)}, found 'best'"),
        (["--preset", "default", "--resume", "x"], "--preset: expected none with --resume, found 'default'"),
        (["--resume", "/no/where"], "found no readable config.json in /no/where"),
        (["-nhl", "3", "-sz", "4", "5"], "--hidden_size: expected one width or 3 (--num_layers), found 2"),
        (["--data_dir", "/no/where"], "--data_dir: found no fashion_mnist in /no/where"),
    ],
)
def test_a_mistake_names_the_option(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert guarded(cli.train, arguments, "train.py") == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a command, one of train, evaluate, predict, ensemble, data"),
        (["sing"], "found 'sing'"),
        (["evaluate"], "the following arguments are required: MODEL"),
        (["evaluate", "m", "--part", "middle"], "--part: invalid choice: 'middle'"),
        (["evaluate", "/no/best.npz"], "/no/best.npz: expected a checkpoint, found no such file"),
        (["predict", "m"], "required: IMAGE"),
        (["data", "--data_dir", "/no"], "found no fashion_mnist in /no"),
    ],
)
def test_mistakes_in_other_commands(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert guarded(cli.main, arguments, "fnn") == 2
    assert words in capsys.readouterr().err


tokens = st.sampled_from(
    [f for field in FIELDS.values() for f in (field.metadata["flag"], f"--{field.name}") if f]
    + ["--preset", "--resume", "--", "-", "-x", "--seed=3", "-lr=1", "-e5", "assignment"]
    + [v for values in WRONG.values() for v in values if isinstance(v, str)]
    + [row[2] for row in TABLE]
    + [values[0] for values in MORE.values()]
    + ["1e400", "0x10", "1_0", "٣", "99999999999", "[4, 5]", "%s", "{}"]
)
words = tokens | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
pairs = st.tuples(
    st.sampled_from([f"--{name}" for name in FIELDS]), st.sampled_from([row[2] for row in TABLE]) | words
).map(list)


@settings(max_examples=settings.get_profile("ci").max_examples * 5, suppress_health_check=list(HealthCheck))
@given(st.lists(words, max_size=6) | st.lists(pairs, max_size=3).map(lambda lists: [*chain(*lists)]))
@example(["-sz", "4", "", "5"])
def test_no_arguments_give_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """All is done that comes before the training: with any arguments it is a configuration or a line."""

    def run(config: Config, *_: object) -> None:
        estimate(config, images)
        optimizer_of(config, 100)

    if {"-h", "--help"} & {*arguments}:
        return
    images = load("fashion_mnist", DATA)
    monkeypatch.setattr(runner, "run", run)
    code = guarded(cli.train, arguments, "train.py")
    err = capsys.readouterr().err
    assert (code, err) == (0, "") or (code == 2 and err.count("\n") == 1 and err.startswith("train.py: "))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("this"), 2, "this"),
        (DivergenceError(7, float("inf"), 0.5), 3, "inf at step 7 (learning rate 0.5); note"),
        (Interrupted(15, "runs/x", 9), 143, "stopped after step 9; go on by --resume runs/x"),
        (KeyboardInterrupt(), 130, "stopped at once"),
        (MemoryError("2 GiB"), 1, "out of memory: 2 GiB; a smaller --hidden_size"),
        (OSError(28, "No space left on device", "runs/x"), 1, "runs/x: No space left on device"),
    ],
)
def test_each_kind_of_end_has_its_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    error.add_note("note")

    def command(_: object) -> int:
        raise error

    assert guarded(command, [], "p") == code
    assert words in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda _: 1 // 0, [], "p")


def test_help_tells_every_option_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    for command, arguments in ((cli.train, ["--help"]), (cli.main, ["predict", "--help"])):
        with pytest.raises(SystemExit) as done:
            guarded(command, arguments, "p")
        assert done.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text and field.metadata["help"][:20] in text for name, field in FIELDS.items())
    assert guarded(cli.main, ["--help"], "p") == 0


def test_the_commands_as_real_processes(tmp_path: Path) -> None:
    shell.refused(shell.train("-a", "swish", cwd=tmp_path), "--activation", "identity, sigmoid, tanh, ReLU", "'swish'")
    shell.refused(shell.fnn("evaluate", "none.npz", cwd=tmp_path), "none.npz")
    data = shell.fnn("data", cwd=tmp_path)
    assert data.returncode == 0 and "fashion_mnist: 600 + 200 images" in data.stdout
    assert "not the official content" in data.stdout
    assert list(tmp_path.iterdir()) == []
