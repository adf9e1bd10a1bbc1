"""The matrix product inside kernels: of parts of larger matrices, with transposition and addition.

    out = a b, aᵀ b or a bᵀ, or what out held plus one of these

`np.dot` in compiled code takes only whole contiguous matrices and cannot add, so parts would have
to be copied. `product` calls the same BLAS (the one that Numba finds in SciPy) with the row strides
of the parts.

The ladder, GFLOP/s on two threads of an AVX-512 processor for 1024 x 256 x 1024: `np.dot` on copied
parts 161, with strides 178, in tiles 205. OpenBLAS packs large matrices before it multiplies them.
With AVX-512 it also has kernels that need no packing, for products of at most 10⁶ multiplications,
and for products a bᵀ only if the result has at most 1,200 numbers. Tiles stay below both. One
thread multiplies 32 rows by weights of 512 x 128, as they lie, at 114 GFLOP/s in tiles of 2,048
numbers, at 171 in tiles of 1,024. Without AVX-512 every product is one call.

Where many products have one matrix in common, panels.py packs it once; with AVX2 that is faster.
"""

import numpy as np
from numba import float32, types
from numba.extending import overload

from .pool import blas_core
from .registry import helper

ROWS = 128  # of a tile
COLUMNS = 64  # of a tile
VOLUME = 2**19  # multiplications of a tile; divided by its rows and columns, its depth
AREA = 1200  # numbers of a tile, in products a bᵀ
FEW = 36  # rows of a tile, in products a bᵀ
UNPACKED = ("SkylakeX", "Cooperlake", "SapphireRapids")  # of OpenBLAS, with AVX-512
PLAIN = ord("n")
TRANSPOSED = ord("t")


def _external(dtype):
    """Numba's entry to the BLAS, out = α a b + β out, for matrices of float32 or float64."""
    letter = types.char
    size = types.intp
    array = types.CPointer(dtype)
    signature = types.intc(
        letter,  # s or d: the precision
        letter,  # n or t: a as it lies, or transposed
        letter,  # the same for b
        size,  # rows of out
        size,  # columns of out
        size,  # depth of the product
        array,  # α
        array,  # a
        size,  # stride of a
        array,  # b
        size,  # stride of b
        array,  # β
        array,  # out
        size,  # stride of out
    )
    return types.ExternalFunction("numba_xxgemm", signature)


_SINGLE = _external(types.float32)
_DOUBLE = _external(types.float64)


def _whole(a, a_transposed, b, b_transposed, beta, out):
    """out = β out + a b, in one call of the BLAS; aᵀ for a or bᵀ for b where they are transposed.

    BLAS stores columns one after another, so it sees our matrices transposed. We therefore ask it
    for outᵀ = bᵀ aᵀ: b comes first.
    """


@helper
def _stride(x):
    """Numbers from one row of x to the next.

    NumPy allows any stride on a one-row array; BLAS requires at least the row length.
    """
    if x.shape[0] > 1:
        return x.strides[0] // x.itemsize
    return max(x.shape[1], 1)


@overload(_whole)
def _whole_of(a, a_transposed, b, b_transposed, beta, out):
    """What `_whole` is in compiled code, for the dtype of a."""
    gemm = _SINGLE if a.dtype == float32 else _DOUBLE
    kind = ord("s") if a.dtype == float32 else ord("d")

    def call(a, a_transposed, b, b_transposed, beta, out):
        one = np.ones(1, a.dtype)
        scale = np.full(1, beta, a.dtype)
        gemm(
            kind,
            TRANSPOSED if b_transposed else PLAIN,
            TRANSPOSED if a_transposed else PLAIN,
            out.shape[1],
            out.shape[0],
            b.shape[1] if b_transposed else b.shape[0],
            one.ctypes,
            b.ctypes,
            _stride(b),
            a.ctypes,
            _stride(a),
            scale.ctypes,
            out.ctypes,
            _stride(out),
        )

    return call


@helper
def product(a, transposed, b, add, out):
    """out = a b, or aᵀ b if transposed; with `add`, out += that.

    a : (N, K), or (K, N) if transposed   b : (K, M)   out : (N, M)
    Each may be a part of a larger matrix, as long as the numbers of a row lie side by side.
    """
    if b.shape[0]:
        _multiplied(a, transposed, b, False, b.shape[0], add, out)
    elif not add:
        out[:] = 0


@helper
def product_of_rows(a, b, add, out):
    """out = a bᵀ for few rows, with rows of weights as they lie; with `add`, out += that.

    a : (N, K)   b : (M, K)   out : (N, M)   parts of larger matrices, as in `product`
    To pack b would take longer than to multiply a few rows by it. Two rows by weights of 3072 x 768
    take 0.08 ms on two threads, and 1.0 with `np.dot`, which packs.
    """
    if b.shape[1]:
        _multiplied(a, False, b, True, b.shape[1], add, out)
    elif not add:
        out[:] = 0


def few_rows():
    """The number of rows from which on it pays to pack the weights before the product.

    By weights of 3072 x 768, as they lie and packed: with AVX-512 152 and 76 GFLOP/s of one thread
    for 32 rows, 152 and 138 for 112; with AVX2 1080 and 1042 µs on two threads for 32 rows, 2404
    and 1929 for 96.
    """


@overload(few_rows)
def _few_rows_of():
    """What `few_rows` is in compiled code, for the BLAS that is loaded."""
    count = 128 if blas_core() in UNPACKED else 32
    return lambda: count


def _multiplied(a, a_transposed, b, b_transposed, depth, add, out):
    """out = a b or out += a b, in tiles or in one call (see the top); depth : K, at least 1."""


@overload(_multiplied, inline="always")
def _multiplied_of(a, a_transposed, b, b_transposed, depth, add, out):
    """What `_multiplied` is in compiled code, for the BLAS that is loaded."""
    way = _in_tiles if blas_core() in UNPACKED else _in_one_call

    def call(a, a_transposed, b, b_transposed, depth, add, out):
        if out.size:
            way(a, a_transposed, b, b_transposed, depth, 1.0 if add else 0.0, out)

    return call


@helper
def _in_one_call(a, a_transposed, b, b_transposed, depth, beta, out):
    _whole(a, a_transposed, b, b_transposed, beta, out)


@helper
def _equal(size, most):
    """The length of equal parts of `size`, none longer than `most`.

    >>> _equal.py_func(40, 36)
    20
    """
    parts = (size + most - 1) // most
    return (size + parts - 1) // parts


@helper
def _in_tiles(a, a_transposed, b, b_transposed, depth, beta, out):
    n, m = out.shape
    rows = min(n, ROWS)
    columns = min(m, COLUMNS)
    if b_transposed:
        rows = _equal(n, FEW)
        columns = min(columns, AREA // rows // 16 * 16)
    part = VOLUME // (rows * columns)
    if b_transposed:
        part = _equal(depth, part)
    for i in range(0, n, rows):
        for j in range(0, m, columns):
            tile = out[i : i + rows, j : j + columns]
            for k in range(0, depth, part):
                if a_transposed:
                    left = a[k : k + part, i : i + rows]
                else:
                    left = a[i : i + rows, k : k + part]
                if b_transposed:
                    right = b[j : j + columns, k : k + part]
                else:
                    right = b[k : k + part, j : j + columns]
                _whole(left, a_transposed, right, b_transposed, 1.0 if k else beta, tile)
