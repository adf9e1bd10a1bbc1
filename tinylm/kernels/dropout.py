"""Dropout: y = x · mask/(1 − rate), the mask regenerated from a key wherever it is needed, so it is never stored.

The same kernel is its own backward: dx = dy · mask/(1 − rate).
"""

import numpy as np
from numba import prange

from .elementary import kept, kept_ref, threshold_of
from .runtime.registry import helper, kernel

BLOCK = 1 << 14


@helper
def drop_row(row, first, key, rate):
    """row *= mask/(1 − rate), in place; the row's first element has number `first`."""
    threshold, scale = threshold_of(rate), row.dtype.type(1 / (1 - rate))
    for j in range(row.size):
        row[j] = row[j] * scale if kept(first + j, key, threshold) else row[j] * row.dtype.type(0)


def drop_ref(x, key, rate):
    """x · mask/(1 − rate) for an array of any shape, elements numbered in C order."""
    mask = kept_ref(np.arange(x.size).reshape(x.shape), key, rate)
    return x * (mask / (1 - rate)).astype(x.dtype)


def _dropout_ref(x, key, rate, out):
    out[...] = drop_ref(x, key, rate)


@kernel(
    reference=_dropout_ref, spec="x: float[N]; key: key; rate: rate; out: out[N]", parallel=True
)
def dropout(x, key, rate, out):
    """out = dropout(x) over a flat array.

    x : (N,) float     out : (N,) float, written     key : uint64 that numbers the mask     rate : probability of zero
    Source: Srivastava et al. 2014, scaled at training time. Differs: the mask comes from a counter hash.
    """
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, x.size)
        out[first:last] = x[first:last]
        drop_row(out[first:last], first, key, rate)
