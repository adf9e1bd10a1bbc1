"""The matrix product inside kernels: parts of larger matrices, the left one transposed if wanted, added to what is there.

    out = a b,   aᵀ b,   out + a b   or   out + aᵀ b

`np.dot` in compiled code takes whole contiguous matrices and cannot add, so everything else had to be copied around it. This
calls the same BLAS (the one that Numba finds in SciPy) with the row strides of the parts.

The ladder, GFLOP/s on two threads of an AVX-512 processor for 1024 x 256 x 1024: `np.dot` on copied parts 161, with
strides 178, in tiles 205. OpenBLAS packs large matrices before it multiplies; with AVX-512 it has kernels for products of at
most 10⁶ multiplications that need no packing. Other processors have none, and take every product whole.
"""

import llvmlite.binding
import numpy as np
from numba import float32, types
from numba.extending import overload

from .registry import helper

ROWS, COLUMNS, VOLUME = 128, 64, 2**19  # of a tile; its depth is what the volume leaves
TILED = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
PLAIN, TRANSPOSED = ord("n"), ord("t")


def _external(dtype):
    """Numba's entry to the BLAS: kind, two times transposed or not, m, n, k, α, a, stride, b, stride, β, c, stride."""
    pointer, size = types.CPointer(dtype), types.intp
    return types.ExternalFunction(
        "numba_xxgemm",
        types.intc(
            types.char,
            types.char,
            types.char,
            size,
            size,
            size,
            pointer,
            pointer,
            size,
            pointer,
            size,
            pointer,
            pointer,
            size,
        ),
    )


_SINGLE, _DOUBLE = _external(types.float32), _external(types.float64)


def _whole(a, transposed, b, beta, out):
    """out = β out + a b in one call; matrices with rows one after another are BLAS's transposed ones, so the order turns."""


@helper
def _stride(x):
    """Numbers from one row to the next; of a single row NumPy allows any, BLAS only what could be true."""
    return x.strides[0] // x.itemsize if x.shape[0] > 1 else max(x.shape[1], 1)


@overload(_whole)
def _whole_of(a, transposed, b, beta, out):
    gemm, kind = (_SINGLE, ord("s")) if a.dtype == float32 else (_DOUBLE, ord("d"))

    def call(a, transposed, b, beta, out):
        one, scale = np.ones(1, a.dtype), np.full(1, beta, a.dtype)
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
    """out = a b, or aᵀ b if transposed; added to out if `add`.   a : (N, K) or (K, N)   b : (K, M)   out : (N, M)

    The rows of each may lie in a larger matrix; the numbers of a row follow each other.
    """
    (n, m), depth = out.shape, b.shape[0]
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
                left = (
                    a[k : k + part, i : i + ROWS] if transposed else a[i : i + ROWS, k : k + part]
                )
                _whole(left, transposed, b[k : k + part, j : j + COLUMNS], 1.0 if k else beta, tile)
