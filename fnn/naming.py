"""What a run is called: by its settings."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from fnn.config import FIELDS, Config

#: What a run's name says of settings that are off by default: the setting, and the word for it.
WORDS: Mapping[str, str] = {
    "features": "see",
    "flip": "flip",
    "shift": "shift",
    "rotation": "turn",
    "scaling": "size",
    "shear": "shear",
    "elastic": "elastic",
    "mixup": "mix",
    "normalization": "norm",
    "dropout": "drop",
    "input_dropout": "indrop",
    "input_noise": "noise",
    "averaging": "mean",
    "teacher": "taught",
    "views": "views",
    "validation_fraction": "val",
    "dtype": "as",
}
LONGEST = 200  # characters of a name, which is a directory's, too


def name_of(config: Config) -> str:
    """Return a run's name: what it is.

    >>> name_of(Config(activation="tanh", optimizer="nadam", batch_size=64, num_layers=3, hidden_size=128))
    'hl_3_bs_64_ac_tanh_op_nadam_sz_128_lr_0.001_ep_25_wi_He_wd_0_lo_ce_fashion_mnist_seed_0'
    >>> name_of(Config(flip="yes", elastic=0.4))
    'hl_2_bs_256_ac_ReLU_op_adam_sz_1024_lr_0.001_ep_25_wi_He_wd_0_lo_ce_flip_elastic_0.4_fashion_mnist_seed_0'
    """
    losses = {"cross_entropy": "ce", "mean_squared_error": "mse"}
    start = (
        f"hl_{config.num_layers}_bs_{config.batch_size}_ac_{config.activation}_op_{config.optimizer}"
        f"_sz_{'-'.join(map(str, config.hidden_size))}_lr_{config.learning_rate:g}_ep_{config.epochs}"
        f"_wi_{config.weight_init}_wd_{config.weight_decay:g}_lo_{losses[config.loss]}"
        f"{_differences(config)}"
    )
    end = f"_{config.dataset}_seed_{config.seed}"
    if len(start + end) <= LONGEST:
        return start + end
    return f"{start[: LONGEST - 9 - len(end)]}_{zlib.crc32(start.encode()):08x}{end}"


def _differences(config: Config) -> str:
    values = {name: getattr(config, name) for name in WORDS}
    changed = {name: value for name, value in values.items() if value != FIELDS[name].default}
    if config.teacher_path:
        changed["teacher"] = _called(config.teacher_path)
    return "".join(
        f"_{WORDS[name]}" + ("" if value == "yes" else f"_{_brief(value)}") for name, value in changed.items()
    )


def _brief(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _called(path: Path) -> str:
    """Return what a saved model is called: best.npz as the directory of its run is, any other as its file."""
    name = path.parent.name if path.name == "best.npz" else path.stem
    return "-".join(re.findall(r"[\w.]+", name, re.ASCII))[:40] or "it"
