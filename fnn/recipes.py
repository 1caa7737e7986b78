"""Named configurations, ``--preset`` on the command line."""

from __future__ import annotations

from collections.abc import Mapping

from fnn.config import Config

#: The defaults of the assignment, option by option.
ASSIGNMENT = Config(
    dataset="fashion_mnist",
    epochs=1,
    batch_size=4,
    loss="cross_entropy",
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.5,
    beta=0.5,
    beta1=0.5,
    beta2=0.5,
    epsilon=1e-6,
    weight_decay=0.0,
    weight_init="random",
    num_layers=1,
    hidden_size=4,  # type: ignore[arg-type]
    activation="sigmoid",
    schedule="constant",
    label_smoothing=0.0,
    decoupled_weight_decay=0.0,
    wandb_project="myprojectname",
)

#: Oriented gradients beside the pixels: what the network sees brings more than what it is.
FEATURES_QUICK = Config(
    features="gradients",
    epochs=15,
    num_layers=2,
    hidden_size=(512, 256),
    decoupled_weight_decay=0.1,
)

PRESETS: Mapping[str, Config] = {"default": Config(), "assignment": ASSIGNMENT, "features-quick": FEATURES_QUICK}
