"""The networks that are timed."""

from __future__ import annotations

from attrs import frozen

from fnn.activations import ACTIVATIONS
from fnn.errors import UserError
from fnn.optimizers import OPTIMIZERS


@frozen
class Cell:
    """784 -> hidden -> 10, cross entropy, at a batch size."""

    hidden: tuple[int, ...]
    batch: int
    optimizer: str
    activation: str

    @property
    def sizes(self) -> tuple[int, ...]:
        return (784, *self.hidden, 10)


CELLS = {
    "spec4": Cell((4,), 4, "sgd", "sigmoid"),
    "sweep64": Cell((64, 64, 64), 32, "adam", "ReLU"),
    "sweep128": Cell((128, 128, 128), 64, "nadam", "tanh"),
    "mnist512": Cell((512, 256, 128), 128, "nadam", "ReLU"),
    "seedbest": Cell((2048, 1024), 64, "nadam", "tanh"),
    "wide1024": Cell((2048, 1024), 1024, "adam", "ReLU"),
}


def cell_of(text: str) -> Cell:
    """Return a cell by its name, or as ``hidden:batch:optimizer:activation``.

    >>> cell_of("512x256:64:adam:ReLU")
    Cell(hidden=(512, 256), batch=64, optimizer='adam', activation='ReLU')
    """
    if text in CELLS:
        return CELLS[text]
    try:
        hidden, batch, optimizer, activation = text.split(":")
        cell = Cell(tuple(int(width) for width in hidden.split("x")), int(batch), optimizer, activation)
    except ValueError:
        cell = None
    if cell is None or cell.optimizer not in OPTIMIZERS or cell.activation not in ACTIVATIONS:
        raise UserError(
            f"--cells: expected {', '.join(CELLS)} or hidden:batch:optimizer:activation "
            f"like 512x256:64:adam:ReLU, found {text!r}"
        )
    return cell
