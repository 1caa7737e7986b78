"""A teacher: a trained model, of one network or several, whose answers another network learns in place of the labels.

An answer tells what else an image is like, and where a label is doubtful (Hinton, Vinyals & Dean 2015, "Distilling the
knowledge in a neural network"). The teacher may see features that its pupil doesn't.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve

from fnn import threads
from fnn.arrays import freeze, spans
from fnn.config import Config
from fnn.data import split
from fnn.datasets import Images
from fnn.ensembles import load_members
from fnn.errors import UserError
from fnn.experiment import Parts, parts_of
from fnn.inference import check_size, classify
from fnn.rundir import Model

ROWS = 1000  # images that a teacher sees at once: their features may be many


def teachers(config: Config) -> tuple[Model, ...]:
    """Return the networks of the teacher that a configuration names, if it names one; raises UserError otherwise."""
    path = config.teacher_path
    if path and not path.is_file():
        raise UserError(
            f"--teacher: expected a saved model, found none at {path}; train one by python train.py --preset NAME "
            f"--seed {config.seed} --run_dir {path.parent}, or name another"
        )
    return load_members(path) if path else ()


def prepared(config: Config, images: Images) -> Parts:
    """Split the training images as configured; with a teacher, its answers stand beside those to train on.

    They are computed by one thread, so that a resumed run has the same bits. Raises UserError for a teacher of other
    images, and for one that has learned from images that are held out here: then these would validate nothing.
    """
    members = teachers(config)
    chosen, held_out = split(images.train_labels, config.validation_fraction, config.seed)
    for member in members:
        if member.class_names != images.class_names:
            raise UserError(f"--teacher: expected a model of {config.dataset}, found one of {member.config.dataset}")
        check_size(images.train_images, member, "--teacher")
        own = member.config
        if np.setdiff1d(held_out, split(images.train_labels, own.validation_fraction, own.seed)[1]).size:
            raise UserError(
                "--teacher: expected one that has not learned from the images held out here, found one of --seed "
                f"{own.seed} --validation_fraction {own.validation_fraction:g}; take its seed and no larger share, or "
                "0 to train on all"
            )
    parts = parts_of(config, images)
    if not members:
        return parts
    with threads.limited(1):
        answers = [classify(members, images.train_images[chosen[span]]) for span in spans(len(chosen), ROWS)]
    return evolve(parts, train=evolve(parts.train, taught=freeze(np.concatenate(answers))))
