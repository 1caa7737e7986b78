"""Research scripts on the functional API: one a question."""

import fnn  # noqa: F401  before NumPy, with whose BLAS it makes a setting: timed is what train.py does
