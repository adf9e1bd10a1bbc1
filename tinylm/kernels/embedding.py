"""Embedding: rows of a table, and the scatter-add of their gradients.

    y[n] = W[ids[n]]            dW[v] += Σ_{n: ids[n] = v} dy[n]

Repeated ids add up. The scatter deals the table's rows out to a fixed number of parts. Each part
takes its ids in order, so the order of additions does not depend on threads.
"""

import numpy as np
from numba import prange

from .runtime.registry import kernel

PARTS = 8  # of the table; row v belongs to part v % PARTS


def _gather_ref(weight, ids, out):
    out[...] = weight[ids]


@kernel(reference=_gather_ref, spec="weight: float[V,C]; ids: ids<V[N]; out: out[N,C]")
def embedding_gather(weight, ids, out):
    """out[n] = weight[ids[n]].   weight : (V, C)   ids : (N,) int64 in [0, V)   out : (N, C)"""
    for i in range(ids.size):
        for j in range(weight.shape[1]):
            out[i, j] = weight[ids[i], j]


def _scatter_ref(dy, ids, dweight):
    """Add each row of dy to the row of the table that it came from.

    >>> dweight = np.zeros((3, 1))
    >>> _scatter_ref(np.array([[1.0], [10.0], [100.0]]), np.array([2, 0, 2]), dweight)
    >>> dweight.ravel()
    array([ 10.,   0., 101.])
    """
    np.add.at(dweight, ids, dy)


@kernel(
    reference=_scatter_ref, parallel=True, spec="dy: float[N,C]; ids: ids<V[N]; dweight: inout[V,C]"
)
def embedding_scatter(dy, ids, dweight):
    """dweight[ids[n]] += dy[n] in place, repeated ids included.

    dy : (N, C)   ids : (N,) int64   dweight : (V, C)
    """
    width = dy.shape[1]
    for part in prange(PARTS):
        for i in range(ids.size):
            if ids[i] % PARTS == part:
                for j in range(width):
                    dweight[ids[i], j] += dy[i, j]
