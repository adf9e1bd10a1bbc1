"""Embedding: rows of a table, sums of several rows, and the scatter-add of their gradients.

    y[n] = W[ids[n]]            dW[v] += Σ_{n: ids[n] = v} dy[n]
    y[g] = Σ_{n in bag g} W[ids[n]]

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


def _bag_ref(weight, ids, bounds, out):
    """Each bag's rows of the table, added up.

    >>> out = np.empty((2, 1))
    >>> _bag_ref(np.array([[1.0], [10.0]]), np.array([1, 0, 1]), np.array([0, 3, 3]), out)
    >>> out.ravel()
    array([21.,  0.])
    """
    for g, row in enumerate(out):
        row[...] = weight[ids[bounds[g] : bounds[g + 1]]].sum(axis=0)


@kernel(
    reference=_bag_ref,
    parallel=True,
    spec="weight: float[V,C]; ids: ids<V[P]; bounds: ids<P[G+1]; out: out[G,C]",
)
def embedding_bag(weight, ids, bounds, out):
    """out[g] = the sum of weight[ids[n]] for bounds[g] ≤ n < bounds[g + 1], in this order.

    weight : (V, C)   ids : (P,) int64 in [0, V)   bounds : (G + 1,) int64 in [0, P]   out : (G, C)
    """
    width = weight.shape[1]
    for g in prange(out.shape[0]):
        for j in range(width):
            out[g, j] = 0
        for n in range(bounds[g], bounds[g + 1]):
            for j in range(width):
                out[g, j] += weight[ids[n], j]


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
