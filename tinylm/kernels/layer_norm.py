"""Layer normalisation over rows.

    x̂ = (x − mean) · rstd,   rstd = 1/√(var + ε),   y = x̂ · w + b
    dx = rstd · (g − mean(g) − x̂ · mean(g · x̂)),   g = dy · w       dw = Σ dy · x̂       db = Σ dy

The backward's weight and bias sums are kept per block of rows and added in block order, so that they do not depend on
the number of threads.
"""

import numpy as np
from numba import prange

from .runtime.registry import kernel

BLOCK = 64


def _layer_norm_ref(x, weight, bias, eps, mean, rstd, out):
    mean[...] = x.mean(axis=1)
    rstd[...] = 1 / np.sqrt(x.var(axis=1) + eps)
    out[...] = (x - mean[:, None]) * rstd[:, None] * weight + bias


@kernel(
    reference=_layer_norm_ref,
    parallel=True,
    spec="x: float[N,C]; weight: float[C]; bias: float[C]; eps: real; mean: out[N]; rstd: out[N]; out: out[N,C]",
)
def layer_norm(x, weight, bias, eps, mean, rstd, out):
    """out = (x − mean)·rstd·w + b for every row; mean and rstd are kept for the backward.

    x, out : (N, C)   weight, bias : (C,)   mean, rstd : (N,)
    Source: Ba et al. 2016.
    """
    n, width = x.shape
    share = x.dtype.type(1) / x.dtype.type(width)
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min(block * BLOCK + BLOCK, n)):
            total = x.dtype.type(0)
            for j in range(width):
                total += x[i, j]
            centre = total * share
            square = x.dtype.type(0)
            for j in range(width):
                square += (x[i, j] - centre) * (x[i, j] - centre)
            inverse = x.dtype.type(1 / np.sqrt(square * share + eps))
            for j in range(width):
                out[i, j] = (x[i, j] - centre) * inverse * weight[j] + bias[j]
            mean[i] = centre
            rstd[i] = inverse


def _layer_norm_backward_ref(dy, x, weight, mean, rstd, dx, dweight, dbias):
    normal = (x - mean[:, None]) * rstd[:, None]
    g = dy * weight
    mean_g, mean_gx = g.mean(axis=1, keepdims=True), (g * normal).mean(axis=1, keepdims=True)
    dx[...] = rstd[:, None] * (g - mean_g - normal * mean_gx)
    dweight[...] = (dy * normal).sum(axis=0)
    dbias[...] = dy.sum(axis=0)


@kernel(
    reference=_layer_norm_backward_ref,
    parallel=True,
    spec="dy: float[N,C]; x: float[N,C]; weight: float[C]; mean: float[N]; rstd: float[N]; dx: out[N,C]; "
    "dweight: out[C]; dbias: out[C]",
)
def layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias):
    """Gradients of layer_norm: dx (N, C), dweight (C,), dbias (C,) from dy (N, C) and what the forward kept."""
    n, width = x.shape
    blocks = (n + BLOCK - 1) // BLOCK
    share = x.dtype.type(1) / x.dtype.type(width)
    partial = np.zeros((blocks, 2, width), x.dtype)
    for block in prange(blocks):
        weights, biases = partial[block, 0], partial[block, 1]
        for i in range(block * BLOCK, min(block * BLOCK + BLOCK, n)):
            mean_g, mean_gx = x.dtype.type(0), x.dtype.type(0)
            centre, inverse = mean[i], rstd[i]
            for j in range(width):
                g = dy[i, j] * weight[j]
                mean_g += g
                mean_gx += g * (x[i, j] - centre) * inverse
            mean_g *= share
            mean_gx *= share
            for j in range(width):
                normal = (x[i, j] - centre) * inverse
                dx[i, j] = inverse * (dy[i, j] * weight[j] - mean_g - normal * mean_gx)
                weights[j] += dy[i, j] * normal
                biases[j] += dy[i, j]
    dweight[:] = 0
    dbias[:] = 0
    for block in range(blocks):
        for j in range(width):
            dweight[j] += partial[block, 0, j]
            dbias[j] += partial[block, 1, j]
