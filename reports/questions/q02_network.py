"""The network: what is implemented, its backward pass in full, and how near every part comes to its oracle."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fnn import passes
from fnn.activations import ACTIVATIONS
from fnn.files import read_lines
from fnn.initializers import INITIALIZERS
from fnn.losses import LOSSES
from fnn.optimizers import OPTIMIZERS
from reports.page import Section, Table
from reports.style import listed
from reports.verification import RESULTS, Found, merged


def section() -> Section:
    """Return the section, from the registries, the source and the recorded run of the oracles."""
    about, *rows = read_lines(RESULTS)
    found = merged([Found(**row) for row in rows])
    optimizers = [one for one in found if one.test.startswith("test_optimizers")]
    network_s = [one for one in found if one not in optimizers]
    least = min(one.tolerance / one.largest for one in found)
    return Section(
        "2",
        "The network, and how it is verified",
        (
            f"""
            A network of any depth and any width of each layer, with {named(ACTIVATIONS)} as activation,
            {named(LOSSES)} as loss and {named(INITIALIZERS)} initial weights, in single or double precision; trained by
            {named(OPTIMIZERS)}. There is no automatic differentiation. This is the whole backward pass: for each layer
            two matrix products and one elementwise one, with biases as a last row of the weights, so that they need no
            line of their own. It makes no step: it binds a step's calls to their arrays, once, by rows of units, which
            a team of processes may share.
            """,
            code(passes.backward_pass),
            """
            Activations are columns, `[a; 1]`, whose rows in memory are kept a little apart for the cache's sake; the
            gaps are activated along. The mask is dropout's, the norm that of batch normalisation, each None without it.
            From outside everything is a pure function: `fnn.forward`, `fnn.backward` and
            `fnn.loss_and_grad` take frozen records and read-only arrays and return new ones.
            """,
            f"""
            ### What is verified, and how near it comes

            `{about["command"]}` runs the suite's own tests with comparisons that note their errors, so the table can
            claim no check that no test makes. In double precision no error comes nearer than a factor of {least:,.0f}
            to its tolerance.
            """,
            table(network_s, "Errors are relative to the largest entry of what is compared."),
            table(
                optimizers,
                "Errors of the parameters after each of 50 steps, relative to the way that they have gone; gradients "
                "over four orders of magnitude and all hyper-parameters are drawn.",
            ),
        ),
    )


def named(registry: Any) -> str:
    """Return the names of a registry in words."""
    return listed([f"`{name}`" for name in registry])


def code(function: Callable[..., Any]) -> str:
    """Return a function's source as a block of Markdown."""
    return f"```python\n{inspect.getsource(function).strip()}\n```"


def table(found: list[Found], caption: str) -> Table:
    """Return what the oracles found: a row for each test."""
    return Table(
        ("what", "against", "comparisons", "largest error", "tolerance"),
        tuple(
            (one.what, one.against, f"{one.comparisons:,}", f"{one.largest:.1e}", f"{one.tolerance:.0e}")
            for one in found
        ),
        caption,
    )
