"""softmax and log-softmax over rows, and their backwards.

    softmax        y = e^{x − max} / Σ e^{x − max}        dx = y ∘ (dy − Σ y ∘ dy)
    log-softmax    y = x − max − log Σ e^{x − max}        dx = dy − e^y Σ dy

Subtracting the row's maximum changes nothing, since it cancels, but keeps e^x from overflowing.
"""

import numpy as np
from numba import prange

from .elementary import exp, largest
from .runtime.registry import kernel

BLOCK = 16  # rows that one thread takes at a time


def _softmax_ref(x, log, out):
    """Each row's probabilities, or their logarithms.

    >>> x, out = np.array([[0.0, 0.0, np.log(2.0)]]), np.empty((1, 3))
    >>> _softmax_ref(x, 0, out)
    >>> out
    array([[0.25, 0.25, 0.5 ]])
    """
    if not x.size:
        return
    shifted = x - x.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    out[...] = shifted - np.log(total) if log else e / total


@kernel(reference=_softmax_ref, parallel=True, spec="x: float[N,V]; log: 0..1; out: out[N,V]")
def softmax(x, log, out):
    """out = softmax (log = 0) or log-softmax (log = 1) of every row.   x, out : (N, V)"""
    n, width = x.shape
    blocks = (n + BLOCK - 1) // BLOCK if width else 0
    for block in prange(blocks):
        start = block * BLOCK
        stop = min(start + BLOCK, n)
        for i in range(start, stop):
            top = largest(x[i])
            total = x.dtype.type(0)
            for j in range(width):
                e = exp(x[i, j] - top)
                out[i, j] = e
                total += e
            if log:
                shift = top + np.log(total)
                for j in range(width):
                    out[i, j] = x[i, j] - shift
            else:
                inverse = x.dtype.type(1) / total
                for j in range(width):
                    out[i, j] *= inverse


def _softmax_backward_ref(dy, y, log, dx):
    """The two gradients above, which need y but not x.

    >>> dy, y, dx = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), np.empty((1, 2))
    >>> _softmax_backward_ref(dy, y, 0, dx)
    >>> dx  # what one probability gains, the other loses
    array([[ 0.25, -0.25]])
    """
    if log:
        dx[...] = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
    else:
        dx[...] = y * (dy - (y * dy).sum(axis=1, keepdims=True))


@kernel(
    reference=_softmax_backward_ref,
    parallel=True,
    spec="dy: float[N,V]; y: float[N,V]; log: 0..1; dx: out[N,V]",
)
def softmax_backward(dy, y, log, dx):
    """dx from the output y and dy of `softmax`, all (N, V)."""
    n, width = y.shape
    for block in prange((n + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        stop = min(start + BLOCK, n)
        for i in range(start, stop):
            total = y.dtype.type(0)
            if log:
                for j in range(width):
                    total += dy[i, j]
                for j in range(width):
                    e = exp(y[i, j])
                    dx[i, j] = dy[i, j] - e * total
            else:
                for j in range(width):
                    total += dy[i, j] * y[i, j]
                for j in range(width):
                    dx[i, j] = y[i, j] * (dy[i, j] - total)
