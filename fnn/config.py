"""The configuration of a run: one frozen record from which flags, help, validation and tracked settings all come."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from toolz import pipe

from fnn.activations import ACTIVATIONS
from fnn.augment import Augmentation, check
from fnn.datasets import OFFICIAL
from fnn.errors import UserError
from fnn.features import FEATURES
from fnn.initializers import INITIALIZERS
from fnn.kinds import (
    ANGLE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    TEXT,
    THREADS,
    WIDTHS,
    YES_OR_NO,
    Kind,
    one_of,
    whole,
)
from fnn.losses import LOSSES
from fnn.network import Spec
from fnn.normalization import KINDS
from fnn.optimizers import OPTIMIZERS, with_averaging, with_clipping, with_decoupled_decay, with_l2, with_schedule
from fnn.schedules import SCHEDULES
from fnn.training import Plan
from fnn.updates import Optimizer
from fnn.views import VIEWS
from fnn.views import check as check_views

MODES = ("auto", "online", "offline", "disabled")  # of wandb


def _convert(value: Any, field: attrs.Attribute[Any]) -> Any:
    kind: Kind = field.metadata["kind"]
    try:
        return kind.parse(value)
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"--{field.name}: expected {kind.expected}, found {value!r}") from None


def option(default: Any, flag: str, kind: Kind, group: str, text: str) -> Any:
    """Declare a field of ``Config`` with its short flag, the values it takes, its group in the help, and the help."""
    metadata = {"flag": flag, "kind": kind, "group": group, "help": text}
    return attrs.field(default=default, converter=attrs.Converter(_convert, takes_field=True), metadata=metadata)  # type: ignore[call-overload]


@frozen(kw_only=True)
class Config:
    """All settings of a run. The defaults are the preset ``default``; ``recipes.py`` names others.

    Construction validates: a UserError names the option, what was expected and what was found.

    >>> Config(optimizer="nadam", hidden_size=64, num_layers=3).widths
    (64, 64, 64)
    """

    dataset: str = option("fashion_mnist", "-d", one_of(OFFICIAL), "data", "images to train on")
    validation_fraction: float = option(
        0.1, "", SHARE, "data", "share of the training images, by class, held out to validate on; 0: train on all"
    )
    features: str = option("pixels", "", one_of(FEATURES), "data", "what of an image the network sees")
    data_dir: str = option("", "", TEXT, "data", "directory of IDX, IDX.gz or npz files (else found or downloaded)")

    num_layers: int = option(2, "-nhl", whole(0), "network", "number of hidden layers")
    hidden_size: tuple[int, ...] = option(
        (1024,), "-sz", WIDTHS, "network", "width of every hidden layer, or one width for each: -sz 512 256 128"
    )
    activation: str = option("ReLU", "-a", one_of(ACTIVATIONS), "network", "activation function of the hidden layers")
    weight_init: str = option(
        "He",
        "-w_i",
        one_of(INITIALIZERS),
        "network",
        "distribution of the initial weights; local: units of the first layer begin with a place of the image each",
    )
    normalization: str = option(
        "none", "", one_of(KINDS), "network", "standardise hidden units while they learn: over the batch, or not"
    )
    dtype: str = option("float32", "", one_of(("float32", "float64")), "network", "precision of all arithmetic")

    loss: str = option("cross_entropy", "-l", one_of(LOSSES), "training", "loss that is minimised")
    epochs: int = option(25, "-e", whole(1), "training", "passes over the training images")
    batch_size: int = option(256, "-b", whole(1), "training", "images in a step")
    label_smoothing: float = option(0.1, "", SHARE, "training", "share of each label spread over all classes")
    dropout: float = option(
        0.0, "", SHARE, "training", "share of the hidden units dropped in a step, to the nearest 1/256"
    )
    input_dropout: float = option(
        0.0, "", SHARE, "training", "share of the inputs dropped in a step, to the nearest 1/256"
    )
    input_noise: float = option(
        0.0, "", NOT_NEGATIVE, "training", "standard deviation of the noise added to the inputs; pixels are from 0 to 1"
    )
    flip: str = option("no", "", YES_OR_NO, "training", "flip half of the images of a step from left to right")
    shift: int = option(0, "", whole(0), "training", "shift images at random, by up to so many pixels along each axis")
    rotation: float = option(0.0, "", NOT_NEGATIVE, "training", "turn images at random, by up to so many degrees")
    scaling: float = option(0.0, "", SHARE, "training", "change the images' size at random, by up to this share")
    shear: float = option(0.0, "", ANGLE, "training", "slant images at random, by up to so many degrees")
    elastic: float = option(
        0.0,
        "",
        NOT_NEGATIVE,
        "training",
        "distort images by smooth random fields of so many pixels (root mean square)",
    )
    mixup: float = option(
        0.0, "", NOT_NEGATIVE, "training", "mix pairs of images and their labels by shares from Beta(mixup, mixup)"
    )
    teacher: str = option(
        "",
        "",
        TEXT,
        "training",
        "saved model whose answers are learned in place of the smoothed labels; {seed} in its path is the run's",
    )
    views: str = option(
        "none", "", one_of(VIEWS), "training", "views of an image to average the probabilities of, at the test only"
    )
    patience: int = option(
        0, "", whole(0), "training", "stop after this many epochs without a better validation accuracy; 0: never"
    )
    seed: int = option(0, "", whole(0), "training", "of the split, the initial weights and the order of the images")

    optimizer: str = option("adam", "-o", one_of(OPTIMIZERS), "optimizer", "rule that updates the parameters")
    learning_rate: float = option(1e-3, "-lr", POSITIVE, "optimizer", "learning rate, before the schedule")
    schedule: str = option("warmup_cosine", "", one_of(SCHEDULES), "optimizer", "factor of the learning rate by step")
    momentum: float = option(0.9, "-m", SHARE, "optimizer", "momentum of momentum and nag")
    beta: float = option(0.9, "-beta", SHARE, "optimizer", "decay of rmsprop's average of squared gradients")
    beta1: float = option(0.9, "-beta1", SHARE, "optimizer", "decay of the average of gradients: adam, nadam, eve")
    beta2: float = option(
        0.99, "-beta2", SHARE, "optimizer", "decay of the average of squared gradients: adam, nadam, eve"
    )
    epsilon: float = option(1e-8, "-eps", POSITIVE, "optimizer", "added to the root that a step is divided by")
    weight_decay: float = option(0.0, "-w_d", NOT_NEGATIVE, "optimizer", "L2 regularisation of weights, not biases")
    decoupled_weight_decay: float = option(
        0.3, "", NOT_NEGATIVE, "optimizer", "weights shrink by this times the learning rate a step (AdamW's form)"
    )
    clip_norm: float = option(0.0, "", NOT_NEGATIVE, "optimizer", "largest norm of the gradient; 0: any")
    averaging: float = option(
        0.0, "", SHARE, "optimizer", "decay of the running mean of the parameters that is validated and kept; 0: none"
    )

    run_dir: str = option("", "", TEXT, "run", "directory of the results (default: runs/NAME by the settings)")
    checkpoint_every: float = option(5.0, "", POSITIVE, "run", "minutes after which an epoch under way is saved, too")
    threads: str | int = option(
        "auto", "", THREADS, "run", "cores that train the network; auto: the faster of 1 and all"
    )
    wandb_project: str = option("fnn", "-wp", TEXT, "run", "wandb project")
    wandb_entity: str = option("", "-we", TEXT, "run", "wandb entity (default: the account's own)")
    wandb_mode: str = option("auto", "", one_of(MODES), "run", "auto: online with a key, else offline")

    def __attrs_post_init__(self) -> None:
        if len(self.hidden_size) not in (1, self.num_layers):
            raise UserError(
                f"--hidden_size: expected one width or {self.num_layers} (--num_layers), found {len(self.hidden_size)}"
            )
        if self.patience and not self.validation_fraction:
            raise UserError(f"--patience: expected 0 without images to validate on, found {self.patience}")
        if self.weight_init == "local" and self.features != "pixels":
            raise UserError(
                "--weight_init: expected another than local for features that are no image's pixels, "
                f"found --features {self.features}"
            )
        if self.normalization == "batch" and self.batch_size == 1:
            raise UserError("--normalization: expected none for a --batch_size of 1, found batch: one has no variance")

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers, one for each."""
        return self.hidden_size * self.num_layers if len(self.hidden_size) == 1 else self.hidden_size

    @property
    def teacher_path(self) -> Path | None:
        """Where the teacher is, if there is one.

        >>> str(Config(teacher="runs/features-{seed}/best.npz", seed=2).teacher_path)
        'runs/features-2/best.npz'
        """
        return Path(self.teacher.replace("{seed}", str(self.seed))) if self.teacher else None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them; a single width as a number, so that it can be plotted."""
        sizes = self.hidden_size
        return {**attrs.asdict(self), "hidden_size": sizes[0] if len(sizes) == 1 else list(sizes)}


FIELDS: Mapping[str, attrs.Attribute[Any]] = {field.name: field for field in attrs.fields(Config)}

#: What a run's result doesn't depend on.
OUTSIDE = frozenset(name for name, field in FIELDS.items() if field.metadata["group"] == "run") | {"data_dir"}


def configure(base: Config, changes: Mapping[str, Any]) -> Config:
    """Return ``base`` with changes by name. Several widths set the number of layers, if that isn't given, and a new
    number of layers keeps the first width only.

    >>> configure(Config(), {"hidden_size": "512 256 128"}).num_layers
    3
    """
    for name in changes:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1, 0)
            raise UserError(f"expected the name of a setting, found {name!r}; did you mean {near[0]!r}?")
    changes = dict(changes)
    if "hidden_size" in changes and "num_layers" not in changes:
        widths = _convert(changes["hidden_size"], FIELDS["hidden_size"])
        changes |= {"num_layers": len(widths)} if len(widths) > 1 else {}
        if len(widths) == 1 and len(base.hidden_size) > 1:
            changes["num_layers"] = base.num_layers
    elif "num_layers" in changes and "hidden_size" not in changes:
        changes["hidden_size"] = base.hidden_size[:1]
    return attrs.evolve(base, **changes)


def spec_of(config: Config, features: int, classes: int) -> Spec:
    """Return the network that a configuration asks for."""
    sizes = (features, *config.widths, classes)
    return Spec(sizes, config.activation, config.loss, config.weight_init, config.dtype)


def optimizer_of(config: Config, total_steps: int) -> Optimizer:
    """Return the optimizer that a configuration asks for, wrapped; its parameters are found by their names."""
    make = OPTIMIZERS[config.optimizer]
    names = [name for name in inspect.signature(make).parameters if name in FIELDS]
    return pipe(
        make(**{name: getattr(config, name) for name in names}),
        with_decoupled_decay(config.decoupled_weight_decay),
        with_l2(config.weight_decay),
        with_clipping(config.clip_norm or math.inf),
        with_schedule(SCHEDULES[config.schedule](total_steps)),
        with_averaging(config.averaging),
    )


def augmentation_of(config: Config, features: int) -> Augmentation:
    """Return how training changes its batches; UserError where images of so many pixels can't be changed so."""
    settings = {field.name: getattr(config, field.name) for field in attrs.fields(Augmentation)}
    augmentation = Augmentation(**settings | {"flip": config.flip == "yes"})
    check(augmentation, features, config.features)
    check_views(config.views, features, config.features)
    return augmentation


def plan_of(config: Config, features: int, classes: int, n: int) -> Plan:
    """Return the plan of training on ``n`` samples that a configuration asks for."""
    steps = config.epochs * -(-n // config.batch_size)
    spec = spec_of(config, features, classes)
    return Plan(
        spec,
        optimizer_of(config, steps),
        config.learning_rate,
        config.batch_size,
        config.label_smoothing,
        config.seed,
        1 if config.threads == "auto" else int(config.threads),
        augmentation_of(config, features),
        config.dropout,
        config.normalization == "batch",
    )
