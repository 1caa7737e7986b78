"""The mistakes a user can make, told apart from bugs."""

from __future__ import annotations


class UserError(ValueError):
    """Input that a person can correct; the command line prints its text in one line and exits with 2."""


class DivergenceError(ArithmeticError):
    """A loss that is NaN or infinite; the command line prints its text and exits with 3."""

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        self.step, self.learning_rate = step, learning_rate
        super().__init__(f"training diverged: the loss is {loss} at step {step} (learning rate {learning_rate:g})")


class Interrupted(Exception):
    """A signal has asked for the end; the state is saved. The command line exits with 128 + the signal's number."""

    def __init__(self, number: int, directory: object, step: int) -> None:
        self.number = number
        super().__init__(f"stopped after step {step}; go on by --resume {directory}")
