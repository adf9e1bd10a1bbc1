"""Dropout: y = x · mask/(1 − rate).

A key regenerates the mask wherever it is needed, so nothing stores it. The kernel is its own
backward: dx = dy · mask/(1 − rate).
"""

import numpy as np
from numba import prange

from .elementary import kept, kept_ref, threshold_of
from .runtime.registry import helper, kernel

BLOCK = 1 << 14  # numbers that one thread takes at a time


@helper
def drop_row(row, first, key, rate):
    """row *= mask/(1 − rate), in place; the row's first element has number `first`."""
    threshold = threshold_of(rate)
    scale = row.dtype.type(1 / (1 - rate))
    zero = row.dtype.type(0)
    for j in range(row.size):
        # x · 0 rather than 0, so that NaN stays NaN
        row[j] = row[j] * scale if kept(first + j, key, threshold) else row[j] * zero


def drop_ref(x: np.ndarray, key: int, rate: float) -> np.ndarray:
    """x · mask/(1 − rate) for an array of any shape, elements numbered in C order.

    >>> drop_ref(np.ones(8), key=1, rate=0.5)
    array([0., 0., 0., 2., 0., 2., 2., 2.])
    """
    numbers = np.arange(x.size).reshape(x.shape)
    mask = kept_ref(numbers, key, rate)
    return x * (mask / (1 - rate)).astype(x.dtype)


def _dropout_ref(x, key, rate, out):
    """`drop_ref` in the form of a kernel: the result is an argument."""
    out[...] = drop_ref(x, key, rate)


@kernel(
    reference=_dropout_ref, spec="x: float[N]; key: key; rate: rate; out: out[N]", parallel=True
)
def dropout(x, key, rate, out):
    """out = dropout(x) over a flat array.

    x : (N,) float     out : (N,) float, written
    key : uint64 that selects the mask     rate : probability of zero
    Source: Srivastava et al. 2014, scaled at training time. Differs: the mask is a counter hash.
    """
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, x.size)
        out[first:last] = x[first:last]
        drop_row(out[first:last], first, key, rate)
