"""A feed-forward network in NumPy with hand-written backpropagation, as pure functions of frozen records.

What a research script needs is here; optimizers and their wrappers are in ``fnn.optimizers``, schedules in
``fnn.schedules``.
"""

from fnn.data import dataset, split
from fnn.datasets import load
from fnn.metrics import evaluate
from fnn.network import Params, Spec, backward, forward, init_params, loss_and_grad, predict
from fnn.optimizers import OPTIMIZERS
from fnn.training import Plan, answer, run_epoch, train

__all__ = [
    "OPTIMIZERS",
    "Params",
    "Plan",
    "Spec",
    "answer",
    "backward",
    "dataset",
    "evaluate",
    "forward",
    "init_params",
    "load",
    "loss_and_grad",
    "predict",
    "run_epoch",
    "split",
    "train",
]
