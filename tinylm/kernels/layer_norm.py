"""Layer normalisation over rows.

    rstd = 1/√(var + ε)        x̂ = (x − mean) · rstd        y = x̂ · w + b

    g = dy · w                 dx = rstd · (g − mean(g) − x̂ · mean(g · x̂))
    dw = Σ dy · x̂              db = Σ dy

The backward sums dw and db per block of rows, then adds the blocks in order. So the sums do not
depend on the number of threads.
"""

import numpy as np
from numba import prange

from .runtime.registry import kernel

BLOCK = 64  # rows that one thread takes at a time


def _layer_norm_ref(x, weight, bias, eps, mean, rstd, out):
    """Rows with mean 0 and variance 1, then scaled and shifted.

    >>> mean, rstd, out = np.empty(1), np.empty(1), np.empty((1, 2))
    >>> _layer_norm_ref(np.array([[1.0, 5.0]]), np.ones(2), np.zeros(2), 0.0, mean, rstd, out)
    >>> mean, rstd, out
    (array([3.]), array([0.5]), array([[-1.,  1.]]))
    """
    mean[...] = x.mean(axis=1)
    rstd[...] = 1 / np.sqrt(x.var(axis=1) + eps)
    normal = (x - mean[:, None]) * rstd[:, None]
    out[...] = normal * weight + bias


@kernel(
    reference=_layer_norm_ref,
    parallel=True,
    alone=True,
    spec="""
        x: float[N,C]
        weight: float[C]
        bias: float[C]
        eps: real
        mean: out[N]
        rstd: out[N]
        out: out[N,C]
    """,
)
def layer_norm(x, weight, bias, eps, mean, rstd, out):
    """out = (x − mean)·rstd·w + b for every row; the backward needs mean and rstd again.

    x, out : (N, C)   weight, bias : (C,)   mean, rstd : (N,)
    Source: Ba et al. 2016.
    """
    n, width = x.shape
    share = x.dtype.type(1) / x.dtype.type(width)
    for block in prange((n + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        stop = min(start + BLOCK, n)
        for i in range(start, stop):
            total = x.dtype.type(0)
            for j in range(width):
                total += x[i, j]
            centre = total * share
            square = x.dtype.type(0)
            for j in range(width):
                distance = x[i, j] - centre
                square += distance * distance
            inverse = x.dtype.type(1 / np.sqrt(square * share + eps))
            for j in range(width):
                normal = (x[i, j] - centre) * inverse
                out[i, j] = normal * weight[j] + bias[j]
            mean[i] = centre
            rstd[i] = inverse


def _layer_norm_backward_ref(dy, x, weight, mean, rstd, dx, dweight, dbias):
    normal = (x - mean[:, None]) * rstd[:, None]
    g = dy * weight
    mean_g = g.mean(axis=1, keepdims=True)
    mean_gx = (g * normal).mean(axis=1, keepdims=True)
    dx[...] = rstd[:, None] * (g - mean_g - normal * mean_gx)
    dweight[...] = (dy * normal).sum(axis=0)
    dbias[...] = dy.sum(axis=0)


@kernel(
    reference=_layer_norm_backward_ref,
    parallel=True,
    spec="""
        dy: float[N,C]
        x: float[N,C]
        weight: float[C]
        mean: float[N]
        rstd: float[N]
        dx: out[N,C]
        dweight: out[C]
        dbias: out[C]
    """,
)
def layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias):
    """Gradients of `layer_norm` from dy (N, C) and the mean and rstd that it wrote.

    x, dx : (N, C)   weight, dweight, dbias : (C,)   mean, rstd : (N,)
    """
    n, width = x.shape
    blocks = (n + BLOCK - 1) // BLOCK
    share = x.dtype.type(1) / x.dtype.type(width)
    partial = np.zeros((blocks, 2, width), x.dtype)
    for block in prange(blocks):
        weights = partial[block, 0]
        biases = partial[block, 1]
        start = block * BLOCK
        stop = min(start + BLOCK, n)
        for i in range(start, stop):
            mean_g = x.dtype.type(0)
            mean_gx = x.dtype.type(0)
            centre = mean[i]
            inverse = rstd[i]
            for j in range(width):
                g = dy[i, j] * weight[j]
                mean_g += g
                mean_gx += g * (x[i, j] - centre) * inverse
            mean_g *= share
            mean_gx *= share
            for j in range(width):
                normal = (x[i, j] - centre) * inverse
                g = dy[i, j] * weight[j]
                dx[i, j] = inverse * (g - mean_g - normal * mean_gx)
                weights[j] += dy[i, j] * normal
                biases[j] += dy[i, j]
    dweight[:] = 0
    dbias[:] = 0
    for block in range(blocks):
        for j in range(width):
            dweight[j] += partial[block, 0, j]
            dbias[j] += partial[block, 1, j]
