"""The matrix product with everything that may follow it, and its two gradients.

    y    = residual + dropout(f(x Wᵀ + b)),  slope = f'(x Wᵀ + b)            f: see activation.py
    dpre = dy · mask/(1 − rate) · slope        dx = dpre W        dW = dpreᵀ x        db = Σ_rows dpre

A block of rows is multiplied and then finished (bias, activation, dropout, residual) while it is still in cache. The
activation leaves its slope, not its input: the same memory, and no second exponential in the backward. The input's
gradient splits rows; the weight's gradient splits the weight's rows, that is columns of dpre: no two threads ever add to the
same number, and no partial sums of a matrix exist. Both gradients of a small product share one parallel loop, because
starting one costs as much as they do.
"""

import numpy as np
from numba import prange

from .activation import activate_ref, activate_row, derivative_ref
from .dropout import drop_ref, drop_row
from .runtime.blas import product
from .runtime.registry import helper, kernel


@helper
def rows_per_block(n):
    """Rows per block, by the number of rows alone (never by the number of threads); products like many rows.

    The blocks are even in number and about equal: of three, one thread would get two.
    """
    most = 16 if n < 64 else 32 if n < 128 else 64 if n < 256 else 160 if n < 1024 else 256
    pairs = max(1, (n + 2 * most - 1) // (2 * most))
    return max(8, min(most, (n + 2 * pairs - 1) // (2 * pairs) + 7 & ~7))


@helper
def strip_of(task, blocks, strips):
    """Deal blocks and strips out evenly along the tasks: (True, number of the strip) or (False, number of the block).

    Threads take neighbouring tasks, so each gets its share of both kinds of work.
    """
    before = task * strips // (blocks + strips)
    if (task + 1) * strips // (blocks + strips) > before:
        return True, before
    return False, task - before


def _linear_ref(x, weight, bias, residual, act, rate, key, slope, out):
    z = x @ weight.T
    if bias.size:
        z = z + bias
    if act:
        slope[...] = derivative_ref(z, act)
    y = activate_ref(z, act)
    if rate > 0:
        y = drop_ref(y, key, rate)
    out[...] = y + residual if residual.size else y


@kernel(
    reference=_linear_ref,
    parallel=True,
    spec="x: float[N,C]; weight: float[O,C]; bias: float[O]?; residual: float[N,O]?; act: 0..5; rate: rate; key: key; "
    "slope: inout[N,O]; out: out[N,O]",
)
def linear(x, weight, bias, residual, act, rate, key, slope, out):
    """out = residual + dropout(f(x Wᵀ + b)); slope = f'(x Wᵀ + b) where there is an f.

    x : (N, C)   weight : (O, C)   bias : (O,) or (0,)   residual : (N, O) or (0, 0)   out : (N, O)
    slope : (N, O), or (0, 0) without f
    """
    n, width = out.shape
    size = rows_per_block(n)
    for block in prange((n + size - 1) // size):
        first, last = block * size, min(block * size + size, n)
        np.dot(x[first:last], weight.T, out[first:last])
        for i in range(first, last):
            row = out[i]
            if bias.size:
                for j in range(width):
                    row[j] += bias[j]
            if act:
                activate_row(row, slope[i], act)
            if rate > 0:
                drop_row(row, i * width, key, rate)
            if residual.size:
                for j in range(width):
                    row[j] += residual[i, j]


def _linear_backward_ref(dy, x, weight, slope, rate, key, dpre, dx, dweight, dbias):
    grad = drop_ref(dy, key, rate) if rate > 0 else dy
    grad = grad * slope if slope.size else grad
    if dpre.size:
        dpre[...] = grad
    if dx.size:
        dx[...] = grad @ weight
    dweight[...] = grad.T @ x
    if dbias.size:
        dbias[...] = grad.sum(axis=0)


@helper
def _finish_row(dy, slope, i, dpre, key, rate):
    """Row i of dpre = dy · mask/(1 − rate) · slope."""
    if slope.size:
        factor = slope[i]
        for j in range(dpre.size):
            dpre[j] = dy[j] * factor[j]
    else:
        for j in range(dpre.size):
            dpre[j] = dy[j]
    if rate > 0:
        drop_row(dpre, i * dpre.size, key, rate)


@helper
def _bias_gradient(dpre, first, dbias):
    """The sums of as many columns of dpre from `first` on as `dbias` has."""
    dbias[:] = 0
    for i in range(dpre.shape[0]):
        row = dpre[i, first : first + dbias.size]
        for j in range(dbias.size):
            dbias[j] += row[j]


@kernel(
    reference=_linear_backward_ref,
    parallel=True,
    spec="dy: float[N,O]; x: float[N,C]; weight: float[O,C]; slope: float[N,O]?; rate: rate; key: key; "
    "dpre: out[N,O]; dx: out[N,C]?; dweight: out[O,C]; dbias: out[O]",
)
def linear_backward(dy, x, weight, slope, rate, key, dpre, dx, dweight, dbias):
    """dpre = dy · mask/(1 − rate) · slope, dx = dpre W, dW = dpreᵀ x, db = Σ_rows dpre.

    dy, dpre : (N, O), dpre is empty where neither f nor dropout is: then it is dy   slope : (N, O) or (0, 0) without f
    x, dx : (N, C), dx is empty where x needs no gradient   weight, dweight : (O, C)   dbias : (O,) or (0,)
    """
    (n, width), size = dy.shape, rows_per_block(dy.shape[0])
    blocks = (n + size - 1) // size
    source = dpre if dpre.size else dy
    if dpre.size or (dx.size and n >= 512):
        for block in prange(blocks):  # a block of dpre is multiplied while it is still in cache
            first, last = block * size, min(block * size + size, n)
            if dpre.size:
                for i in range(first, last):
                    _finish_row(dy[i], slope, i, dpre[i], key, rate)
            if dx.size:
                product(source[first:last], False, weight, False, dx[first:last])
    if dpre.size or n >= 512 or not dx.size:
        blocks = 0
    strip = 32 if width < 128 else 64 if width < 256 else 128
    strips = (width + strip - 1) // strip
    for task in prange(
        blocks + strips
    ):  # both gradients at once: blocks of dx (if they are still to do) and strips of dW
        is_strip, index = strip_of(task, blocks, strips)
        if is_strip:
            first, last = index * strip, min(index * strip + strip, width)
            product(source[:, first:last], True, x, False, dweight[first:last])
            _bias_gradient(source, first, dbias[min(first, dbias.size) : min(last, dbias.size)])
        else:
            first, last = index * size, min(index * size + size, n)
            product(source[first:last], False, weight, False, dx[first:last])
