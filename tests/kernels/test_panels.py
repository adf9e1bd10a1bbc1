"""Our own product against NumPy's: every edge of a tile, parts of larger matrices, both precisions."""

import numba
import numpy as np
import pytest

from tinylm import kernels
from tinylm.kernels.runtime import panels

DEEP = panels.DEPTH + 3


@numba.njit
def by_rows(a, matrix, add, out):
    panels.multiply(a, panels.packed_rows(matrix), add, out)


@numba.njit
def by_columns(a, matrix, add, out):
    panels.multiply(a, panels.packed_columns(matrix), add, out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 7, DEEP])
@pytest.mark.parametrize("columns", [0, 1, 15, 16, 64, 77, 160])
def test_the_product_is_that_of_numpy(columns, depth, add, dtype):
    rng = np.random.default_rng(columns + depth)
    for rows in (0, 1, 3, 4, 5, 9):
        b = rng.normal(size=(depth, columns)).astype(dtype)
        wide = rng.normal(size=(rows + 2, depth + 3)).astype(dtype)
        a = wide[1 : rows + 1, 2 : depth + 2]  # a part of a larger matrix, and so is `out`
        for multiply, matrix in ((by_rows, np.ascontiguousarray(b.T)), (by_columns, b)):
            around = rng.normal(size=(rows + 2, columns + 5)).astype(dtype)
            expected = around.copy()
            before = around[1 : rows + 1, 3 : columns + 3]
            expected[1 : rows + 1, 3 : columns + 3] = a @ b + (before if add else 0)
            multiply(a, matrix, add, around[1 : rows + 1, 3 : columns + 3])
            tolerance = 1e-4 if dtype == "float32" else 1e-12  # of sums of some 260 products
            np.testing.assert_allclose(around, expected, rtol=0, atol=tolerance)


def test_no_number_depends_on_the_rows_beside_it():
    """So a kernel may cut its rows among any number of threads."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(11, DEEP)).astype(np.float32)
    b = rng.normal(size=(DEEP, 70)).astype(np.float32)
    whole = np.empty((11, 70), np.float32)
    by_columns(a, b, False, whole)
    for first, last in ((0, 1), (1, 4), (2, 11)):
        part = np.empty((last - first, 70), np.float32)
        by_columns(a[first:last], b, False, part)
        assert (part == whole[first:last]).all()


def test_nan_stays_in_its_row():
    a = np.ones((6, 9), np.float32)
    a[4, 8] = np.nan
    out = np.zeros((6, 20), np.float32)
    by_columns(a, np.ones((9, 20), np.float32), False, out)
    assert np.isnan(out).all(axis=1).tolist() == [False] * 4 + [True, False]
    assert (out[:4] == 9).all()


@pytest.mark.parametrize("width", [0, 5], ids=["plain", "projected"])
def test_the_bits_of_an_lstm_do_not_depend_on_the_threads(width):
    rng = np.random.default_rng(0)
    length, batch, size = 6, 11, 21
    state = width or size
    gates = rng.normal(size=(length, batch, 4 * size)).astype(np.float32)
    weight = rng.normal(size=(4 * size, state)).astype(np.float32)
    projection = rng.normal(size=(width, size if width else 0)).astype(np.float32)
    mask = rng.random((length, batch)) < 0.8
    found = []
    for threads in (1, 2, 3):
        acts = gates.copy()
        cells = np.zeros((length + 1, batch, size), np.float32)
        states = np.zeros((length + 1, batch, state), np.float32)
        hidden = np.empty((length, batch, size) if width else (0, 0, 0), np.float32)
        how = (mask, 3.0, 3.0, threads)
        kernels.lstm(acts, weight, projection, *how, cells, hidden, states)
        dstates = np.ones_like(states)
        dcell = np.ones((batch, size), np.float32)
        kernels.lstm_backward(acts, cells, states, weight, projection, *how, dstates, dcell)
        found.append([each.tobytes() for each in (acts, cells, states, dstates, dcell)])
    assert found[0] == found[1] == found[2]
