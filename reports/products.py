"""What cutting or turning a product gains: ``python -m reports.products [--batches 32,64,128] [--widths 64,...]``.

For layers between widths, and from the pixels, it prints the time of the products forward (``z``), of the gradient
(``dW``) and of the cotangent below (``da``) as fnn.products makes them, over that of one call of the BLAS each: medians
of pairs in turns, in one thread. A dash is a product that is left as it is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from fnn.arrays import Array, empty, pitched
from fnn.calls import Runs, call
from fnn.cli import guarded
from fnn.network import by_units
from fnn.products import available, product, product_with_transposed
from fnn.threads import limited
from reports.speed import machine

PAIRS, SECONDS = 9, 0.004
PIXELS, LARGE = 784, 2048


def layer(fan_in: int, fan_out: int, n: int) -> Iterator[tuple[Runs, Callable[[], object]]]:
    """Yield for each product of a layer: the calls of ours, if it is made otherwise, and that of one call."""

    def draw(rows: int, columns: int, allocate: Callable[..., Array] = pitched) -> Array:
        out = allocate(rows, columns, np.float32)
        out[:] = np.random.default_rng(0).random(out.shape, np.float32)
        return out

    together = lambda rows, columns, dtype: empty((rows, columns), dtype)  # noqa: E731
    lie = fan_in == PIXELS and by_units((fan_in, fan_out))
    w, dw = (draw(fan_out, fan_in + 1, together).T if lie else draw(fan_in + 1, fan_out, together) for _ in range(2))
    delta, z, below = (draw(width, n) for width in (fan_out, fan_out, fan_in))
    a = draw(n, fan_in + 1, together).T if fan_in == PIXELS else draw(fan_in + 1, n)
    yield changed(product(w.T, a, z)), lambda: np.matmul(w.T, a, out=z)
    ours = product_with_transposed(delta, a, dw.T) if lie else product_with_transposed(a, delta, dw)
    yield changed(ours), lambda: np.matmul(a, delta.T, out=dw)
    if fan_in != PIXELS:
        yield changed(product(w[:-1], delta, below)), lambda: np.matmul(w[:-1], delta, out=below)


def changed(ours: Runs) -> Runs:
    """Return the calls of a product that is cut, turned or made the other way round; none of one that is left as it is.

    The one call of that is bound to matrices, others to stacks of them.
    """
    first, *others = ours
    return () if not others and isinstance(first, partial) and first.args[0].ndim == 2 else ours


def ratio(ours: Runs, whole: Callable[[], object]) -> float:
    """Return the median of pairs' ratios."""
    runs = max(1, round(SECONDS / _seconds(whole, 3)))
    return statistics.median(_seconds(partial(call, ours), runs) / _seconds(whole, runs) for _ in range(PAIRS))


def peak(cores: int) -> float:
    """Return the GFLOP/s of a product that is large enough for copies not to count, of the fastest of some."""
    a, b, out = (empty((LARGE, LARGE), np.float32) for _ in range(3))
    a[:], b[:] = 1, 1
    with limited(cores):
        return 2 * LARGE**3 / min(_seconds(partial(np.dot, a, b, out), 1) for _ in range(PAIRS)) / 1e9


def _seconds(run: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.products", description=__doc__.split("\n\n")[0])
    numbers = lambda text: [int(each) for each in text.split(",")]  # noqa: E731
    parser.add_argument("--batches", type=numbers, default="32,64,128", help="comma-separated (default: %(default)s)")
    parser.add_argument("--widths", type=numbers, default="64,128,256,512,1024,2048", help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    print(f"{machine()}: {'has' if available() else 'has no'} kernels for small products")
    print(f"a product of {LARGE} x {LARGE} by {LARGE}: {peak(1):.0f} GFLOP/s on one core, {peak(2):.0f} on two")
    print(f"{'layer':>14}{'batch':>7}{'z':>7}{'dW':>7}{'da':>7}")
    with limited(1):
        for n in given.batches:
            for fan_in, fan_out in [(PIXELS, w) for w in given.widths] + [(w, w) for w in given.widths]:
                found = [f"{ratio(ours, whole):.2f}" if ours else "-" for ours, whole in layer(fan_in, fan_out, n)]
                print(f"{fan_in:>7} x{fan_out:>5}{n:>7}" + "".join(f"{each:>7}" for each in found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda arguments: main(list(arguments)), sys.argv[1:], "reports.products"))
