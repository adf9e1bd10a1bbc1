"""The matrix product inside kernels: of parts of larger matrices, with transposition and addition.

    out = a b,   aᵀ b,   out + a b   or   out + aᵀ b

`np.dot` in compiled code takes only whole contiguous matrices and cannot add, so parts would have
to be copied. `product` calls the same BLAS (the one that Numba finds in SciPy) with the row strides
of the parts.

The ladder, GFLOP/s on two threads of an AVX-512 processor for 1024 x 256 x 1024: `np.dot` on copied
parts 161, with strides 178, in tiles 205. OpenBLAS packs large matrices before it multiplies them.
With AVX-512 it also has kernels that need no packing, for products of at most 10⁶ multiplications;
tiles stay below that. On other processors every product is one call.
"""

import llvmlite.binding
import numpy as np
from numba import float32, types
from numba.extending import overload

from .registry import helper

ROWS = 128  # of a tile
COLUMNS = 64  # of a tile
VOLUME = 2**19  # multiplications of a tile; divided by its rows and columns, its depth
TILED = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
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


def _whole(a, transposed, b, beta, out):
    """out = β out + a b (aᵀ b if transposed), in one call of the BLAS.

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
def _whole_of(a, transposed, b, beta, out):
    """What `_whole` is in compiled code, for the dtype of a."""
    gemm = _SINGLE if a.dtype == float32 else _DOUBLE
    kind = ord("s") if a.dtype == float32 else ord("d")

    def call(a, transposed, b, beta, out):
        one = np.ones(1, a.dtype)
        scale = np.full(1, beta, a.dtype)
        gemm(
            kind,
            PLAIN,
            TRANSPOSED if transposed else PLAIN,
            out.shape[1],
            out.shape[0],
            b.shape[0],
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
    n, m = out.shape
    depth = b.shape[0]
    if n == 0 or m == 0 or depth == 0:
        if not add:
            out[:] = 0
        return
    beta = 1.0 if add else 0.0
    if not TILED:
        _whole(a, transposed, b, beta, out)
        return
    part = VOLUME // (min(n, ROWS) * min(m, COLUMNS))
    for i in range(0, n, ROWS):
        for j in range(0, m, COLUMNS):
            tile = out[i : i + ROWS, j : j + COLUMNS]
            for k in range(0, depth, part):
                if transposed:
                    left = a[k : k + part, i : i + ROWS]
                else:
                    left = a[i : i + ROWS, k : k + part]
                right = b[k : k + part, j : j + COLUMNS]
                _whole(left, transposed, right, 1.0 if k else beta, tile)
