"""The matrix product with everything that may follow it, and its two gradients.

    y    = residual + dropout(f(x Wᵀ + b))        slope = f'(x Wᵀ + b)        f: see activation.py
    dpre = dy · mask/(1 − rate) · slope
    dx   = dpre W        dW = dpreᵀ x        db = Σ_rows dpre

The forward multiplies a block of rows and finishes it (bias, activation, dropout, residual) while
it is still in cache. It keeps the activation's slope, not its input: the memory is the same, and
the backward needs no second exponential.

For a single row, such as the newest token of a text, all the work is to read the weights. Then the
forward is split by the weight's rows, one dot product each. This reads large weights about twice as
fast as BLAS's product of a matrix and a vector. It is split so for few rows, too. From
`few_rows()` on a task packs its weights before it multiplies (see runtime/panels.py). For many rows
we pack all of them once, and each task takes a block of rows.

The input's gradient is split by rows. The weight's gradient is split by the weight's rows, which
are columns of dpre: so no two threads ever add to the same number, and no matrix needs partial
sums. For a small product both gradients share one parallel loop, because starting a loop costs as
much as they do.
"""

import numpy as np
from numba import prange

from .activation import activate_ref, activate_row, derivative_ref
from .dropout import drop_ref, drop_row
from .runtime.blas import few_rows, product, product_of_rows
from .runtime.panels import STRIP, multiply, pack_rows, packed_rows, packed_size, strips_of
from .runtime.registry import helper, kernel

MANY_ROWS = 128  # from here on a task of the forward takes whole rows
APART = 512  # from here on the gradients have a parallel loop each


@helper
def rows_per_block(n):
    """How many of n rows a block takes: a multiple of 8, about equal for all blocks.

    Depends only on the row count, so any thread count gives the same bits; bigger blocks multiply
    faster. The number of blocks is even, since of three blocks one thread would get two.

    >>> [rows_per_block.py_func(n) for n in (5, 100, 1000, 4096)]
    [8, 32, 128, 256]
    """
    if n < 64:
        most = 16
    elif n < 128:
        most = 32
    elif n < 256:
        most = 64
    elif n < 1024:
        most = 160
    else:
        most = 256
    pairs = max(1, (n + 2 * most - 1) // (2 * most))
    equal = (n + 2 * pairs - 1) // (2 * pairs)
    rounded = (equal + 7) & ~7
    return max(8, min(most, rounded))


@helper
def strip_of(task, blocks, strips):
    """The work of a task: (True, number of a strip) or (False, number of a block), evenly mixed.

    A thread takes neighbouring tasks, so each thread gets its share of both kinds of work.

    >>> [strip_of.py_func(task, blocks=2, strips=2) for task in range(4)]
    [(False, 0), (True, 0), (False, 1), (True, 1)]
    """
    before = task * strips // (blocks + strips)
    after = (task + 1) * strips // (blocks + strips)
    if after > before:
        return True, before
    return False, task - before


def _linear_ref(x, weight, bias, residual, act, rate, key, slope, out):
    """The forward equation; empty arrays, act = 0 and rate = 0 leave their parts out.

    >>> empty, out = np.empty((0, 0)), np.empty((1, 1))
    >>> x, weight, bias = np.array([[3.0, 4.0]]), np.array([[1.0, 10.0]]), np.array([0.5])
    >>> _linear_ref(x, weight, bias, empty, 0, 0.0, 0, empty, out)
    >>> out
    array([[43.5]])
    """
    z = x @ weight.T
    if bias.size:
        z = z + bias
    if act:
        slope[...] = derivative_ref(z, act)
    y = activate_ref(z, act)
    if rate > 0:
        y = drop_ref(y, key, rate)
    out[...] = y + residual if residual.size else y


@helper
def _finish(row, i, first, width, bias, residual, act, rate, key, slope):
    """In place: `row`, part of row i of x Wᵀ from column `first` on, becomes the output."""
    last = first + row.size
    if bias.size:
        for j in range(row.size):
            row[j] += bias[first + j]
    if act:
        activate_row(row, slope[i, first:last], act)
    if rate > 0:
        drop_row(row, i * width + first, key, rate)
    if residual.size:
        for j in range(row.size):
            row[j] += residual[i, first + j]


@helper
def one_row(x, weight, bias, residual, act, rate, key, slope, out, strip):
    """One strip of the forward's outputs for a single row x (C,)."""
    first = strip * STRIP
    last = min(first + STRIP, out.shape[1])
    row = out[0, first:last]
    for j in range(first, last):
        weights = weight[j]
        total = x.dtype.type(0)
        for c in range(x.size):
            total += x[c] * weights[c]
        row[j - first] = total
    _finish(row, 0, first, out.shape[1], bias, residual, act, rate, key, slope)


@helper
def _strip(x, weight, bias, residual, act, rate, key, slope, out, strip):
    """One strip of the forward's outputs for all rows of x (N, C)."""
    n, width = out.shape
    first = strip * STRIP
    last = min(first + STRIP, width)
    rows = weight[first:last]
    if n < few_rows():
        product_of_rows(x, rows, False, out[:, first:last])
    else:
        multiply(x, packed_rows(rows), False, out[:, first:last])
    for i in range(n):
        row = out[i, first:last]
        _finish(row, i, first, width, bias, residual, act, rate, key, slope)


@helper
def _block_of_rows(x, packed, bias, residual, act, rate, key, slope, out, block):
    """The forward's outputs for a block of rows.   packed : the weight's rows, packed"""
    n, width = out.shape
    size = rows_per_block(n)
    first = block * size
    last = min(first + size, n)
    multiply(x[first:last], packed, False, out[first:last])
    for i in range(first, last):
        _finish(out[i], i, 0, width, bias, residual, act, rate, key, slope)


@kernel(
    reference=_linear_ref,
    parallel=True,
    spec="""
        x: float[N,C]
        weight: float[O,C]
        bias: float[O]?
        residual: float[N,O]?
        act: 0..6
        rate: rate
        key: key
        slope: inout[N,O]
        out: out[N,O]
    """,
)
def linear(x, weight, bias, residual, act, rate, key, slope, out):
    """out = residual + dropout(f(x Wᵀ + b)); slope = f'(x Wᵀ + b) where there is an f.

    x : (N, C)   weight : (O, C)   bias : (O,) or (0,)   residual : (N, O) or (0, 0)
    slope : (N, O), or (0, 0) without f   out : (N, O)
    """
    n, width = out.shape
    strips = strips_of(width)
    many = n >= MANY_ROWS
    packed = np.empty(packed_size(x.shape[1], width) if many else 0, out.dtype)
    packs = strips if many else 0
    for strip in prange(packs):
        pack_rows(weight, strip, packed)
    tasks = strips
    if many:
        size = rows_per_block(n)
        tasks = (n + size - 1) // size
    for index in prange(tasks):
        task = np.int64(index)  # Numba's own is unsigned, and it would compile all helpers for both
        if n == 1:
            one_row(x[0], weight, bias, residual, act, rate, key, slope, out, task)
        elif many:
            _block_of_rows(x, packed, bias, residual, act, rate, key, slope, out, task)
        else:
            _strip(x, weight, bias, residual, act, rate, key, slope, out, task)


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
    """dbias = the sums of dpre's columns first, first + 1, …, as many as dbias has entries."""
    dbias[:] = 0
    for i in range(dpre.shape[0]):
        row = dpre[i, first : first + dbias.size]
        for j in range(dbias.size):
            dbias[j] += row[j]


@helper
def _strip_width(width):
    """Columns of dpre in one task of the weight's gradient.

    BLAS packs all of x for each task, so wide tasks are cheaper; eight of them still feed all
    threads.
    """
    if width < 128:
        return 32
    return max(64, min(256, width // 8))


@kernel(
    reference=_linear_backward_ref,
    parallel=True,
    spec="""
        dy: float[N,O]
        x: float[N,C]
        weight: float[O,C]
        slope: float[N,O]?
        rate: rate
        key: key
        dpre: out[N,O]
        dx: out[N,C]?
        dweight: out[O,C]
        dbias: out[O]
    """,
)
def linear_backward(dy, x, weight, slope, rate, key, dpre, dx, dweight, dbias):
    """dpre = dy · mask/(1 − rate) · slope, dx = dpre W, dW = dpreᵀ x, db = Σ_rows dpre.

    dy : (N, O)   dpre : (N, O), or (0, 0) without f and dropout, because dpre is then dy
    slope : (N, O), or (0, 0) without f   x : (N, C)   dx : (N, C), or (0, 0) if x needs no gradient
    weight, dweight : (O, C)   dbias : (O,) or (0,)
    """
    n, width = dy.shape
    size = rows_per_block(n)
    blocks = (n + size - 1) // size
    source = dpre if dpre.size else dy
    if dpre.size or (dx.size and n >= APART):
        for block in prange(blocks):  # multiplies a block of dpre while it is still in cache
            first = block * size
            last = min(first + size, n)
            if dpre.size:
                for i in range(first, last):
                    _finish_row(dy[i], slope, i, dpre[i], key, rate)
            if dx.size:
                rows = source[first:last]
                product(rows, False, weight, False, dx[first:last])
    if dpre.size or n >= APART or not dx.size:
        blocks = 0  # dx is done, or not wanted
    strip = _strip_width(width)
    strips = (width + strip - 1) // strip
    for task in prange(blocks + strips):  # both gradients: blocks of dx and strips of dW
        is_strip, index = strip_of(task, blocks, strips)
        if is_strip:
            first = index * strip
            last = min(first + strip, width)
            columns = source[:, first:last]
            product(columns, True, x, False, dweight[first:last])
            part = dbias[min(first, dbias.size) : min(last, dbias.size)]
            _bias_gradient(source, first, part)
        else:
            first = index * size
            last = min(first + size, n)
            rows = source[first:last]
            product(rows, False, weight, False, dx[first:last])
