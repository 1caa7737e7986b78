"""Products in pieces: the same product, whatever the layout, and each element written once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn import products
from fnn.calls import call
from fnn.products import LIMIT, cut, product, product_with_transposed, shape_of_pieces
from tests.strategies import generators

SIZES = st.integers(1, 300)
LAYOUTS = st.sampled_from(("plain", "transposed", "rows", "columns"))
BY_ROWS = LAYOUTS.filter(lambda layout: layout != "transposed")


@pytest.fixture(autouse=True, params=[True, False])
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are cut, or aren't, whatever the machine's BLAS: it multiplies both."""
    monkeypatch.setattr(products, "available", lambda: request.param)


def matrix(rng: np.random.Generator, rows: int, columns: int, layout: str) -> np.ndarray:
    if layout == "transposed":
        return rng.normal(size=(columns, rows)).T
    if layout == "rows":
        return rng.normal(size=(rows + 3, columns))[2 : rows + 2]
    return (
        rng.normal(size=(rows, columns + 5))[:, :columns] if layout == "columns" else rng.normal(size=(rows, columns))
    )


def close(found: np.ndarray, expected: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """A sum of k products is known to k roundings of the sum of their sizes (Higham 2002, section 3.5)."""
    return bool(
        (np.abs(found - expected) <= 2 * a.shape[1] * np.finfo(found.dtype).eps * (np.abs(a) @ np.abs(b))).all()
    )


@given(SIZES, SIZES, SIZES, LAYOUTS, LAYOUTS, BY_ROWS, generators())
def test_a_product_is_that_of_what_the_arrays_hold_when_it_is_made(
    m: int, k: int, n: int, first: str, second: str, result: str, rng: np.random.Generator
) -> None:
    a, b, out = matrix(rng, m, k, first), matrix(rng, k, n, second), matrix(rng, m, n, result)
    out[:] = np.nan
    run = product(a, b, out)
    for _ in range(2):
        a *= rng.normal()
        b += 1
        kept = a.copy(), b.copy()
        call(run)
        assert close(out, kept[0] @ kept[1], a, b)
        assert (a == kept[0]).all() and (b == kept[1]).all()


@given(SIZES, SIZES, SIZES, LAYOUTS, BY_ROWS, st.integers(1, 99), generators())
def test_by_strips_it_is_the_same_whatever_is_left_at_the_edges_and_of_the_sums(
    m: int, k: int, n: int, second: str, result: str, terms: int, rng: np.random.Generator
) -> None:
    a, b, out = matrix(rng, m, k, "transposed"), matrix(rng, k, n, second), matrix(rng, m, n, result)
    out[:] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "STRIPPED", (1, 300, 300**2))
        patch.setattr(products, "WALK", 0)
        patch.setattr(products, "LIMIT", 8 * n * terms)
        run = product(a, b, out)
        strips = products.available() and m > 1 < k and m * k > 8 * terms
    for _ in range(2):
        b += 1
        call(run)
        assert close(out, a @ b, a, b)
    assert not strips or len(run) >= -(-k // terms) + 1


@given(SIZES, st.integers(1, 200), SIZES, LAYOUTS, BY_ROWS, BY_ROWS, generators())
def test_a_product_with_a_transposed_factor_too(
    m: int, k: int, n: int, first: str, second: str, result: str, rng: np.random.Generator
) -> None:
    a, b, out = matrix(rng, m, k, first), matrix(rng, n, k, second), matrix(rng, m, n, result)
    out[:] = np.nan
    run = product_with_transposed(a, b, out)
    for _ in range(2):
        b -= 1
        call(run)
        assert close(out, a @ b.T, a, b.T)


@given(SIZES, SIZES, SIZES, LAYOUTS, LAYOUTS, BY_ROWS, generators())
def test_pieces_are_views_that_cover_each_element_once(
    m: int, k: int, n: int, first: str, second: str, result: str, rng: np.random.Generator
) -> None:
    a, b, out = matrix(rng, m, k, first), matrix(rng, k, n, second), matrix(rng, m, n, result)
    out[:] = 0
    for x, y, z in cut(a, b, out):
        assert np.shares_memory(x, a) and np.shares_memory(y, b) and np.shares_memory(z, out)
        z += 1
    assert (out == 1).all()


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 1), st.integers(0, 1))
def test_pieces_are_small_enough_for_kernels_that_copy_nothing(m: int, k: int, n: int, first: int, second: int) -> None:
    shape = shape_of_pieces(m, k, n, first, second)
    if m * k * n <= LIMIT:
        assert shape is None
    elif shape is not None:
        assert 1 <= shape[0] <= m and 1 <= shape[1] <= n
        assert shape[0] * k * shape[1] <= LIMIT


@pytest.mark.parametrize(
    ("m", "k", "n", "first", "second", "cut"),
    [
        (785, 64, 512, 0, 0, True),
        (785, 128, 511, 0, 0, True),
        (785, 200, 512, 0, 0, False),
        (785, 200, 128, 0, 0, True),
        (785, 200, 100, 0, 0, True),
        (2048, 1500, 64, 0, 0, True),
        (2048, 2000, 50, 0, 0, False),
        (1024, 3000, 128, 0, 0, False),
        (512, 785, 64, 1 << 20, 0, False),
        (785, 64, 512, 0, 1, False),
        (785, 64, 512, 1, 1, False),
        (128, 785, 64, 1, 1, True),
    ],
)
def test_what_is_cut_is_what_gains_by_it(m: int, k: int, n: int, first: int, second: int, cut: bool) -> None:
    """Short sums, and long ones of few columns; no factor of too many pages, or that the kernels are slow with."""
    shape = shape_of_pieces(m, k, n, first, second)
    assert (shape is not None) == cut
    assert shape is None or shape[1] <= n


@pytest.mark.parametrize(
    ("m", "k", "n", "strips"),
    [
        (2048, 785, 64, True),
        (255, 785, 128, False),
        (256, 785, 128, True),
        (256, 785, 129, False),
        (1025, 785, 128, False),
    ],
)
def test_what_is_made_by_strips_is_what_gains_by_it(m: int, k: int, n: int, strips: bool) -> None:
    """Few columns of long rows: else to copy the factors costs less than to add up and transpose."""
    weights, batch, out = (np.zeros(shape, np.float32) for shape in ((k, m), (k, n), (m, n)))
    assert (len(product(weights.T, batch, out)) > 1) == (strips and products.available())


def test_a_blas_is_known_by_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [{"user_api": "blas", "architecture": "SkylakeX"}, {"user_api": "openmp"}]
    for found, expected in (
        (known, True),
        ([{"user_api": "blas", "architecture": "Haswell"}, *known], False),
        ([{"user_api": "blas"}], False),
        ([], False),
    ):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda found=found: found)
        assert products.detected() == expected
