"""The mistakes a user can make, told apart from bugs."""

from __future__ import annotations


class UserError(ValueError):
    """Input that a person can correct; the command line prints its text in one line and exits with 2."""


class DivergenceError(ArithmeticError):
    """A loss that is NaN or infinite; the command line prints its text and exits with 3."""
