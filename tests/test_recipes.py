from __future__ import annotations

from fnn.config import Config
from fnn.recipes import PRESETS

#: The assignment's own table of defaults.
ASSIGNMENT = {
    "wandb_project": "myprojectname",
    "dataset": "fashion_mnist",
    "epochs": 1,
    "batch_size": 4,
    "loss": "cross_entropy",
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.5,
    "beta": 0.5,
    "beta1": 0.5,
    "beta2": 0.5,
    "epsilon": 0.000001,
    "weight_decay": 0.0,
    "weight_init": "random",
    "num_layers": 1,
    "hidden_size": 4,
    "activation": "sigmoid",
}


def test_the_assignment_preset_is_its_table_and_nothing_the_table_lacks_is_on() -> None:
    settings = PRESETS["assignment"].as_dict()
    assert {name: settings[name] for name in ASSIGNMENT} == ASSIGNMENT
    off = ("schedule", "label_smoothing", "decoupled_weight_decay", "clip_norm", "patience")
    assert [settings[name] for name in off] == ["constant", 0, 0, 0, 0]


def test_the_default_preset_is_the_record_without_changes() -> None:
    assert PRESETS["default"] == Config()


def test_the_quick_recipe_for_features_differs_in_what_the_network_sees_and_in_size() -> None:
    quick, plain = PRESETS["features-quick"].as_dict(), Config().as_dict()
    changed = {name for name in plain if quick[name] != plain[name]}
    assert quick["features"] == "gradients"
    size = {"hidden_size", "epochs", "validation_fraction"}
    assert changed == {"features", "flip", "views", "decoupled_weight_decay"} | size


def test_digits_are_seen_by_gradients_as_they_are_by_pixels() -> None:
    pixels, gradients = PRESETS["mnist-best"].as_dict(), PRESETS["mnist-features"].as_dict()
    assert {name for name in pixels if pixels[name] != gradients[name]} == {"features", "hidden_size", "epochs"}
    assert gradients["features"] == "gradients" and gradients["flip"] == "no"
