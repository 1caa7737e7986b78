"""How to train and evaluate, how the data are split, and what becomes of the test images."""

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
            {fashion["test"]:,} test images are looked at when a run has ended. {twins_in_words(fashion)}
            """,
            """
            ### Why a run can't choose by the test images

            There are few places in the source that name them, and a test parses all of it to see that there are no
            others. Another test trains twice, once with the real test images and once with noise in their place: each
            epoch's figures and the chosen model are the same, bit for bit.
            """,
            Table(
                ("place", "what it does with the test images"),
                tuple((f"`{place}`", what) for place, what in PLACES.items()),
                "All places that name the test images. No sweep or sampler is among them.",
            ),
            looks(len(recorded()), len(retrained.recorded())),
            *retrained.blocks(retrained.recorded(), recorded()),
        ),
    )


def looks(runs: int, again: int) -> str:
    """Say how often the test images were looked at, and what that may have meant."""
    return (
        f"People can choose by them, and each look is a temptation: of the recipes, of their parts and of what was "
        f"tried beside them {runs} runs and ensembles have been tested, and {again} once more; "
        "[each look is listed](quality.md). Recipes were chosen by validation, some by the difference of a single "
        "seed, which is within its noise. Some were replaced after their test figure had been seen, and some of these "
        "because of it, too: two of `pixels-best`, two of `pixels-ensemble`, and `features-patches` by `features-best` "
        "([which](../README.md#results)). So the test figures of Fashion-MNIST are that little too good."
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
