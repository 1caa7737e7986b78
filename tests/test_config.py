"""The configuration: what it takes, what it refuses, and what it makes of settings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fnn.augment import NOTHING, Augmentation
from fnn.config import (
    FIELDS,
    OUTSIDE,
    Config,
    configure,
    optimizer_of,
    plan_of,
    spec_of,
)
from fnn.errors import UserError
from fnn.network import Params
from fnn.optimizers import OPTIMIZERS
from fnn.updates import Signal

WRONG: dict[str, tuple[Any, ...]] = {
    "dataset": ("cifar", "", 1, None),
    "validation_fraction": (1, -0.1, "nan", "x", None),
    "features": ("hog", "", None),
    "num_layers": (-1, 1.5, "x", None, float("inf")),
    "hidden_size": (0, -3, "x", "", (), (4, 0), "4 x", None, 1.5),
    "activation": ("relu", None),
    "weight_init": ("zeros",),
    "dtype": ("float16", "int32"),
    "loss": ("mse",),
    "epochs": (0, -1, "1.5", "", None),
    "batch_size": (0, "x"),
    "label_smoothing": (-0.1, 1, "nan"),
    "dropout": (-0.1, 1, "x"),
    "normalization": ("layer", 1, None),
    "input_dropout": (-0.1, 1, None),
    "input_noise": (-1, "nan"),
    "flip": ("maybe", "", 2, None),
    "shift": (-1, 1.5, "x"),
    "rotation": (-1, "inf"),
    "scaling": (-0.1, 1),
    "shear": (-1, 90, "nan"),
    "elastic": (-1, "nan"),
    "mixup": (-1, "inf"),
    "views": ("all", None),
    "patience": (-1,),
    "seed": (-1, "x"),
    "optimizer": ("adamw",),
    "learning_rate": (0, -1, "nan", "inf", "x", None),
    "schedule": ("cosine",),
    "momentum": (1, -0.1),
    "beta": (1, -0.1),
    "beta1": (1, -0.1),
    "beta2": (1, -0.1),
    "epsilon": (0, -1e-8),
    "weight_decay": (-1, "inf"),
    "decoupled_weight_decay": (-1, "inf"),
    "clip_norm": (-1, "nan"),
    "averaging": (-0.1, 1, "nan"),
    "checkpoint_every": (0, -1, "x"),
    "threads": (0, "all", 1.5),
    "wandb_mode": ("on",),
}
FREE = {"teacher", "data_dir", "run_dir", "wandb_project", "wandb_entity"}  # any text


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_name_with_what_was_expected_and_found(name: str, value: Any) -> None:
    with pytest.raises(UserError) as error:
        Config(**{name: value})
    assert str(error.value) == f"--{name}: expected {FIELDS[name].metadata['kind'].expected}, found {value!r}"


def test_every_field_has_wrong_values_here() -> None:
    assert WRONG.keys() | FREE == FIELDS.keys()


@pytest.mark.parametrize(
    ("base", "changes", "layers", "widths"),
    [
        ({}, {}, 2, (1024, 1024)),
        ({}, {"hidden_size": "512 256 128"}, 3, (512, 256, 128)),
        ({}, {"hidden_size": ["[512,", "256]"]}, 2, (512, 256)),  # as a sweep agent passes it
        ({}, {"hidden_size": 64}, 2, (64, 64)),
        ({}, {"num_layers": 0}, 0, ()),
        ({"hidden_size": (9, 8, 7), "num_layers": 3}, {"num_layers": 2}, 2, (9, 9)),
        ({"hidden_size": (9, 8, 7), "num_layers": 3}, {"hidden_size": 5}, 3, (5, 5, 5)),
        ({}, {"hidden_size": (4, 5), "num_layers": 2}, 2, (4, 5)),
    ],
)
def test_widths_and_layers_go_together(base: dict, changes: dict, layers: int, widths: tuple[int, ...]) -> None:
    config = configure(Config(**base), changes)
    assert (config.num_layers, config.widths) == (layers, widths)
    assert spec_of(config, 784, 10).sizes == (784, *widths, 10)


def test_widths_that_are_not_one_for_each_layer_are_refused() -> None:
    with pytest.raises(UserError, match=r"--hidden_size: expected one width or 3 \(--num_layers\), found 2"):
        configure(Config(), {"hidden_size": "4 4", "num_layers": 3})


def test_patience_without_images_to_validate_on_is_refused() -> None:
    with pytest.raises(UserError, match="--patience: expected 0 without images to validate on, found 3"):
        Config(patience=3, validation_fraction=0)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="found 'learning_rat'; did you mean 'learning_rate'"):
        configure(Config(), {"learning_rat": 1})


@pytest.mark.parametrize("sizes", [(7,), (7, 6)])
def test_json_brings_the_settings_back(sizes: tuple[int, ...]) -> None:
    config = Config(hidden_size=sizes, learning_rate=0.3, threads=2)
    assert configure(Config(), json.loads(json.dumps(config.as_dict()))) == config


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_gets_its_settings_by_their_names(name: str) -> None:
    params, g = Params((1, 2), np.array([1.0, -2, 0, 0])), np.array([0.5, 0.1, 1, 1])

    def after(**settings: float) -> bytes:
        config = Config(optimizer=name, schedule="constant", decoupled_weight_decay=0, **settings)  # type: ignore[arg-type]
        optimizer, theta = optimizer_of(config, 10), params
        state = optimizer.init(params)
        for step in (1, 2):
            theta, state = optimizer.update(Signal(g / step, 0.1, step, 1.0), state, theta)
        return theta.theta.tobytes()

    uses = {
        "sgd": set(),
        "momentum": {"momentum"},
        "nag": {"momentum"},
        "rmsprop": {"beta", "epsilon"},
        **{adam: {"beta1", "beta2", "epsilon"} for adam in ("adam", "nadam", "eve")},
    }[name]
    settings = {"momentum": 0.3, "beta": 0.3, "beta1": 0.3, "beta2": 0.3, "epsilon": 0.3}
    assert {key for key, value in settings.items() if after(**{key: value}) != after()} == uses
    for wrapper in ({"weight_decay": 0.5}, {"clip_norm": 0.1}):
        assert after(**wrapper) != after() or (name, *wrapper) == ("sgd",)


def test_training_gets_the_changes_of_its_batches_by_their_names() -> None:
    assert plan_of(Config(), 784, 10, 10).augmentation == NOTHING and plan_of(Config(), 784, 10, 10).dropout == 0
    settings = {"shift": 1, "rotation": 2.0, "scaling": 0.3, "shear": 5.0, "elastic": 0.4, "mixup": 0.5}
    settings |= {"input_noise": 0.6, "input_dropout": 0.7}
    plan = plan_of(configure(Config(), settings | {"flip": "yes", "dropout": 0.8}), 784, 10, 10)
    assert plan.augmentation == Augmentation(flip=True, **settings) and plan.dropout == 0.8  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--shift: expected images as wide as they are high, found 783 pixels"):
        plan_of(Config(shift=1), 783, 10, 10)


def test_the_schedule_spans_all_steps_the_short_ones_included() -> None:
    plan = plan_of(Config(epochs=3, batch_size=4, optimizer="sgd", decoupled_weight_decay=0), 1, 2, 10)  # 9 steps
    params = Params((1, 2), np.ones(4))
    last, _ = plan.optimizer.update(Signal(np.ones(4), 1.0, 9), plan.optimizer.init(params), params)
    before, _ = plan.optimizer.update(Signal(np.ones(4), 1.0, 8), plan.optimizer.init(params), params)
    assert (last.theta == 1).all() and (before.theta < 1).all()


def test_a_runs_result_depends_on_all_but_where_and_how_it_is_run() -> None:
    assert {*FREE, "checkpoint_every", "threads", "wandb_mode"} - {"teacher"} == OUTSIDE
