"""A teacher: a trained model, of one network or several, whose answers another network learns in place of the labels.

An answer tells what else an image is like, and where a label is doubtful (Hinton, Vinyals & Dean 2015, "Distilling the
knowledge in a neural network"). The teacher may see features that its pupil doesn't.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import evolve

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


def teachers(config: Config, images: Images) -> tuple[Model, ...]:
    """Return the networks of the teacher that a configuration names, none if it names none.

    Raises UserError for a teacher of other images, and for one that has learned from images that are held out here:
    then these would validate nothing.
    """
    path = config.teacher_path
    if path is None:
        return ()
    if not path.is_file():
        found = "a directory at" if path.is_dir() else "none at"
        advice = f"; its best.npz is one: {path / 'best.npz'}" if path.is_dir() else ""
        if path.name == "best.npz" and path.parent.name:
            advice = f"; python train.py --preset NAME --seed {config.seed} --run_dir {path.parent} leaves one there"
        raise UserError(f"--teacher: expected a saved model, found {found} {path}{advice}")
    members = load_members(path)
    _, held_out = split(images.train_labels, config.validation_fraction, config.seed)
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
    return members


def taught(config: Config, images: Images, parts: Parts, members: Sequence[Model]) -> Parts:
    """Return the parts with what teachers answer to the images to train on, the mean of their probabilities."""
    if not members:
        return parts
    chosen, _ = split(images.train_labels, config.validation_fraction, config.seed)
    answers = [classify(members, images.train_images[chosen[span]]) for span in spans(len(chosen), ROWS)]
    return evolve(parts, train=evolve(parts.train, taught=freeze(np.concatenate(answers))))


def prepared(config: Config, images: Images) -> Parts:
    """Split the training images as configured, and let the teacher answer, if there is one."""
    members = teachers(config, images)
    return taught(config, images, parts_of(config, images), members)
