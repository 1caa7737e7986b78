"""A setting of NumPy's BLAS that must be made before NumPy is imported; ``import fnn`` makes it first of all.

A thread of OpenBLAS that has nothing to do watches out for work for 2^OPENBLAS_THREAD_TIMEOUT cycles before it sleeps;
by default 2^26, some 20 ms, in which it takes the core from whoever works meanwhile: the other half of an optimizer's
update or product, or another process. 2^16 cycles, some 25 us, are about what it takes to wake a thread: so watching
costs no more than sleeping would.
"""

from __future__ import annotations

import os
import sys

NAME = "OPENBLAS_THREAD_TIMEOUT"

if "numpy" not in sys.modules:
    os.environ.setdefault(NAME, "16")

#: Whether idle threads of the BLAS leave their cores to others soon.
YIELDS = NAME in os.environ
