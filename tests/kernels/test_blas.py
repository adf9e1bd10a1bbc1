"""The BLAS's product against NumPy's: in tiles and in one call, whichever of the two this BLAS gets."""

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tinylm.kernels.runtime import blas, cache, pool

WAYS = {"tiles": blas._in_tiles, "one call": blas._in_one_call}
SIZES = [
    (1, 1, 1),
    (3, 65, 7),
    (129, 64, 130),
    (150, 70, blas.VOLUME // (blas.ROWS * blas.COLUMNS) + 5),
    (blas.FEW + 4, 70, 1_100),  # of a bᵀ several tiles in each direction
]


@numba.njit
def by_matrix(a, transposed, b, add, out):
    blas.product(a, transposed, b, add, out)


@numba.njit
def by_rows(a, b, add, out):
    blas.product_of_rows(a, b, add, out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("turned", ["neither", "a", "b"])
@pytest.mark.parametrize("way", WAYS)
def test_tiles_and_one_call_give_numpys_product(way, turned, beta, dtype):
    for n, m, depth in SIZES:
        rng = np.random.default_rng(n)
        a = rng.normal(size=(n, depth)).astype(dtype)
        b = rng.normal(size=(depth, m)).astype(dtype)
        around = rng.normal(size=(n + 2, m + 5)).astype(dtype)  # `out` is a part of it
        out = around[1 : n + 1, 3 : m + 3]
        expected = around.copy()
        expected[1 : n + 1, 3 : m + 3] = a @ b + beta * out
        left = np.ascontiguousarray(a.T) if turned == "a" else a
        right = np.ascontiguousarray(b.T) if turned == "b" else b
        WAYS[way](left, turned == "a", right, turned == "b", depth, beta, out)
        tolerance = 1e-4 if dtype == "float32" else 1e-12  # of sums of up to 1,100 products
        np.testing.assert_allclose(around, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("add", [False, True])
def test_empty_products_leave_or_clear_what_was_there(add):
    for n, m, depth in ((0, 3, 2), (3, 0, 2), (2, 3, 0)):
        a, b, out = np.ones((n, depth)), np.ones((depth, m)), np.ones((n, m))
        by_matrix(a, False, b, add, out)
        assert (out == (1 if add else 0)).all()
        out[:] = 1
        by_rows(a, np.ones((m, depth)), add, out)
        assert (out == (1 if add else 0)).all()


def test_the_cache_tells_the_cores_of_the_blas_apart(monkeypatch):
    """The way is compiled in, so kernels made for one core must not be loaded with another."""
    cores = {x.get("architecture", "") for x in threadpool_info() if x["user_api"] == "blas"}
    assert pool.blas_core() in cores | {""}
    keys = set()
    for core in ("SkylakeX", "Haswell", ""):
        monkeypatch.setattr(cache, "blas_core", lambda core=core: core)
        keys.add(cache.source_key())
    assert len(keys) == 3
