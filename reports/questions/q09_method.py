"""How to train and evaluate, how the data are split, and why the test images can't have been used for choices."""

from __future__ import annotations

import json

from reports import retrained
from reports.custody import PLACES
from reports.page import Section, Table
from reports.recipes import recorded
from reports.samples import FACTS


def section() -> Section:
    """Return the section."""
    fashion = json.loads(FACTS.read_text())["fashion_mnist"]
    train, validation = fashion["split"]
    (least, most), (few, many) = fashion["of_a_class"]
    of_each = f"{least:,} and {few:,} of each class" if (least, few) == (most, many) else "in the classes' own shares"
    return Section(
        "9",
        "How to train and evaluate, and what the test images are for",
        (
            """
            The [README](../README.md) has every option. In short:

                python train.py -d fashion_mnist -o nadam -e 10      # train; validate each epoch; test the best, once
                python -m fnn evaluate runs/NAME/best.npz            # accuracy, precision and recall by class, a figure
                python -m fnn sweep sweeps/assignment-random.yaml    # choose by validation accuracy
            """,
            f"""
            ### How the data are split

            The {fashion["train"]:,} training images are split by class into {train:,} to train on and {validation:,} to
            validate on, {of_each}, drawn by the seed alone: `fnn.split(labels, fraction, seed)` is a pure function.
            Every choice, of an epoch, of a trial of a sweep and of a recipe, is made by the validation accuracy. The
            {fashion["test"]:,} test images are read when everything is chosen. {twins_in_words(fashion)}
            """,
            """
            ### Why the test images can't have been used for choices

            There are few places in the source that name them, and a test parses all of it to see that there are no
            others. Another test trains twice, once with the real test images and once with noise in their place: each
            epoch's figures and the chosen model are the same, bit for bit.
            """,
            Table(
                ("place", "what it does with the test images"),
                tuple((f"`{place}`", what) for place, what in PLACES.items()),
                "All places that name the test images. No sweep, sampler or experiment is among them.",
            ),
            *retrained.blocks(retrained.recorded(), recorded()),
        ),
    )


def twins_in_words(facts: dict[str, int]) -> str:
    """Say how many test images are training images, too."""
    same = facts["test_also_in_train"]
    if not same:
        return "None of them is, byte for byte, a training image, too."
    share = 100 * same / facts["test"]
    return (
        f"{same} of them ({share:.2f} %) are, byte for byte, training images, too: a flaw of the published data set, "
        "which is used as it is, as everybody does."
    )
