"""The language model's head and its loss in one.

    logits = h Wᵀ + b        loss = mean over counted rows of −log softmax(logits)[target]

    dlogits = (softmax(logits) − onehot(target)) / counted rows
    dh = dlogits W        dW = dlogitsᵀ h        db = Σ_rows dlogits

The (N, V) logits exist once and are overwritten by e − Σe·onehot, e = exp(logit − max); dlogits is that times one factor
per row, 1/(Σe · counted), which the gradients apply to dh and h, so that the large array is not passed over again. It lies
in blocks of columns, each block (N, columns) contiguous and starting at N · first column: products and softmax work on
whole blocks without a copy. Rows whose target is negative are not counted and get no gradient.
"""

import numpy as np
from numba import prange

from .elementary import exp, largest
from .linear import rows_per_block, strip_of
from .runtime.blas import product
from .runtime.registry import helper, kernel


def _columns(vocabulary):
    """Columns per block of logits, by the size of the vocabulary alone."""
    return 64 if vocabulary < 512 else 512


columns_per_block = helper(_columns)


def _blocks_ref(vocabulary):
    """(first, last) column of every block."""
    width = _columns(vocabulary)
    return [(first, min(first + width, vocabulary)) for first in range(0, vocabulary, width)]


def _linear_cross_entropy_ref(h, weight, bias, targets, counted, logits, factors, losses):
    n, vocabulary = h.shape[0], weight.shape[0]
    scores = h @ weight.T + bias if bias.size else h @ weight.T
    top = scores.max(axis=1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - top)
    total = e.sum(axis=1)
    rows, real = np.arange(n), targets >= 0
    picked = scores[rows, np.where(real, targets, 0)] if vocabulary else np.zeros(n, h.dtype)
    losses[...] = np.where(real, top[:, 0] + np.log(total) - picked, 0)
    e[rows[real], targets[real]] -= total[real]
    factors[...] = np.where(real, 1 / (total * h.dtype.type(counted)), 0)
    for first, last in _blocks_ref(vocabulary):
        logits[n * first : n * last] = e[:, first:last].ravel()


@helper
def _row_loss(logits, i, n, target, top):
    """One row's (loss, Σ e): its logits become e − Σe · onehot with e = exp(logit − top)."""
    vocabulary = logits.size // n
    columns = columns_per_block(vocabulary)
    picked, total = top, logits.dtype.type(0)
    for first in range(0, vocabulary, columns):
        width = min(columns, vocabulary - first)
        row = logits[n * first + i * width : n * first + (i + 1) * width]
        if first <= target < first + width:
            picked = row[target - first]
        part = logits.dtype.type(0)
        for j in range(width):
            e = exp(row[j] - top)
            row[j] = e
            part += e
        total += part
    if target >= 0:
        first = target // columns * columns
        logits[n * first + i * min(columns, vocabulary - first) + target - first] -= total
    return (top + np.log(total) - picked if target >= 0 else logits.dtype.type(0)), total


@kernel(
    reference=_linear_cross_entropy_ref,
    parallel=True,
    spec="h: float[N,C]; weight: float[V,C]; bias: float[V]?; targets: ids<V[N]; counted: real; logits: out[N*V]; "
    "factors: out[N]; losses: out[N]",
)
def linear_cross_entropy(h, weight, bias, targets, counted, logits, factors, losses):
    """losses[n] = −log softmax(h[n] Wᵀ + b)[targets[n]] in nats; factors · logits become the gradient of Σ losses / counted.

    h : (N, C)   weight : (V, C)   bias : (V,) or (0,)   targets : (N,) int64, negative = not counted
    logits : (N·V,) in blocks   factors, losses : (N,)
    """
    n, vocabulary = h.shape[0], weight.shape[0]
    size, width = rows_per_block(n), columns_per_block(vocabulary)
    one = h.dtype.type(1)
    for block in prange((n + size - 1) // size):
        begin, end = block * size, min(block * size + size, n)
        tops = np.full(end - begin, -np.inf, h.dtype)
        for first in range(0, vocabulary, width):
            last = min(first + width, vocabulary)
            part = logits[n * first : n * last].reshape((n, last - first))
            np.dot(h[begin:end], weight[first:last].T, part[begin:end])
            for i in range(begin, end):
                if bias.size:
                    row = part[i]
                    for j in range(last - first):
                        row[j] += bias[first + j]
                top = largest(part[i])
                tops[i - begin] = tops[i - begin] if top < tops[i - begin] else top
        for i in range(begin, end):
            losses[i], total = _row_loss(logits, i, n, targets[i], tops[i - begin])
            factors[i] = (
                one / (total * h.dtype.type(counted)) if targets[i] >= 0 else h.dtype.type(0)
            )


def _head_backward_ref(logits, factors, weight, scaled, dh, dweight, dbias):
    n, vocabulary = dh.shape[0], weight.shape[0]
    dh[...] = 0
    for first, last in _blocks_ref(vocabulary):
        part = logits[n * first : n * last].reshape(n, last - first)
        dh += part @ weight[first:last]
        dweight[first:last] = part.T @ scaled
        if dbias.size:
            dbias[first:last] = part.T @ factors
    dh *= factors[:, None]


@helper
def _head_input(logits, factors, weight, begin, n, dh):
    """Rows begin … of dh, as many as `dh` has: the sum over the vocabulary's blocks, times the rows' factors."""
    width = columns_per_block(weight.shape[0])
    for first in range(0, weight.shape[0], width):
        last = min(first + width, weight.shape[0])
        part = logits[n * first : n * last].reshape((n, last - first))
        product(part[begin : begin + dh.shape[0]], False, weight[first:last], first > 0, dh)
    for i in range(dh.shape[0]):
        for j in range(dh.shape[1]):
            dh[i, j] *= factors[begin + i]


@kernel(
    reference=_head_backward_ref,
    parallel=True,
    spec="logits: float[N*V]; factors: float[N]; weight: float[V,C]; scaled: float[N,C]; dh: out[N,C]; "
    "dweight: out[V,C]; dbias: out[V]?",
)
def head_backward(logits, factors, weight, scaled, dh, dweight, dbias):
    """dh = dlogits W, dW = dlogitsᵀ h and db = Σ_rows dlogits, with dlogits = factors · logits and scaled = factors · h.

    logits : (N·V,) in blocks   factors : (N,)   weight, dweight : (V, C)   scaled, dh : (N, C)   dbias : (V,) or (0,)
    """
    n, vocabulary = dh.shape[0], weight.shape[0]
    size, width = rows_per_block(n), columns_per_block(vocabulary)
    blocks = (n + size - 1) // size
    strips = (vocabulary + width - 1) // width
    for task in prange(blocks + strips):
        is_strip, index = strip_of(task, blocks, strips)
        if is_strip:
            first, last = index * width, min(index * width + width, vocabulary)
            part = logits[n * first : n * last].reshape((n, last - first))
            product(part, True, scaled, False, dweight[first:last])
            if dbias.size:
                np.dot(part.T, factors, dbias[first:last])
        else:
            begin, end = index * size, min(index * size + size, n)
            _head_input(logits, factors, weight, begin, n, dh[begin:end])
