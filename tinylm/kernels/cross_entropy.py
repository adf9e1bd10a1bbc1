"""The language model's head and its loss in one.

    logits = h Wᵀ + b        loss = mean over counted rows of −log softmax(logits)[target]

    dlogits = (softmax(logits) − onehot(target)) / counted rows
    dh = dlogits W        dW = dlogitsᵀ h        db = Σ_rows dlogits

The (N, V) logits exist once. The forward overwrites them by e − Σe·onehot, e = exp(logit − max).
That is dlogits up to one factor per row, 1/(Σe · counted). The gradients apply the factor to dh and
h, so nothing passes over the large array again.

The logits lie in blocks of columns, so products and softmax work on whole blocks without a copy.
Each block is a contiguous (N, columns) array; it starts at N times its first column. For example,
2 rows of 3 logits in blocks of 2 columns lie as [a0 a1 b0 b1 | a2 b2].

Rows with a negative target are not counted and get no gradient.
"""

import numpy as np
from numba import prange

from .elementary import exp, largest
from .linear import rows_per_block, strip_of
from .runtime.blas import product
from .runtime.panels import columns_from, multiply, pack_rows, packed_size, strips_of
from .runtime.registry import helper, kernel

FEW_ROWS = 32  # from here on we pack the weight


def _columns(vocabulary):
    """Columns per block of logits; depends only on the size of the vocabulary."""
    return 64 if vocabulary < 512 else 512


columns_per_block = helper(_columns)


def _blocks_ref(vocabulary):
    """(first, last) column of every block.

    >>> _blocks_ref(150)
    [(0, 64), (64, 128), (128, 150)]
    """
    width = _columns(vocabulary)
    return [(first, min(first + width, vocabulary)) for first in range(0, vocabulary, width)]


def _linear_cross_entropy_ref(h, weight, bias, targets, counted, logits, factors, losses):
    """The loss of every row in nats.

    >>> h, weight, bias = np.ones((1, 1)), np.zeros((2, 1)), np.empty(0)
    >>> logits, factors, losses = np.empty(2), np.empty(1), np.empty(1)
    >>> _linear_cross_entropy_ref(h, weight, bias, np.array([1]), 1.0, logits, factors, losses)
    >>> losses.round(4)  # two equal logits: log 2
    array([0.6931])
    >>> factors * logits  # softmax − onehot
    array([ 0.5, -0.5])
    """
    n = h.shape[0]
    vocabulary = weight.shape[0]
    scores = h @ weight.T
    if bias.size:
        scores = scores + bias
    top = scores.max(axis=1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - top)
    total = e.sum(axis=1)
    rows = np.arange(n)
    real = targets >= 0
    picked = np.zeros(n, h.dtype)
    if vocabulary:
        picked = scores[rows, np.where(real, targets, 0)]
    loss = top[:, 0] + np.log(total) - picked
    losses[...] = np.where(real, loss, 0)
    e[rows[real], targets[real]] -= total[real]
    scaled = total * h.dtype.type(counted)
    factors[...] = np.where(real, 1 / scaled, 0)
    for first, last in _blocks_ref(vocabulary):
        block = e[:, first:last]
        logits[n * first : n * last] = block.ravel()


@helper
def _column_block(logits, n, first, last):
    """The block of columns first … last − 1 of n rows as an (n, columns) array."""
    return logits[n * first : n * last].reshape((n, last - first))


@helper
def _row_loss(logits, i, n, target, top):
    """Row i's loss and Σe; its logits become e − Σe · onehot with e = exp(logit − top)."""
    vocabulary = logits.size // n
    columns = columns_per_block(vocabulary)
    picked = top
    total = logits.dtype.type(0)
    for first in range(0, vocabulary, columns):
        width = min(columns, vocabulary - first)
        start = n * first + i * width
        row = logits[start : start + width]
        if first <= target < first + width:
            picked = row[target - first]
        part = logits.dtype.type(0)
        for j in range(width):
            e = exp(row[j] - top)
            row[j] = e
            part += e
        total += part
    loss = logits.dtype.type(0)
    if target >= 0:
        first = target // columns * columns
        width = min(columns, vocabulary - first)
        start = n * first + i * width
        logits[start + target - first] -= total
        loss = top + np.log(total) - picked
    return loss, total


@kernel(
    reference=_linear_cross_entropy_ref,
    parallel=True,
    spec="""
        h: float[N,C]
        weight: float[V,C]
        bias: float[V]?
        targets: ids<V[N]
        counted: real
        logits: out[N*V]
        factors: out[N]
        losses: out[N]
    """,
)
def linear_cross_entropy(h, weight, bias, targets, counted, logits, factors, losses):
    """losses[n] = −log softmax(h[n] Wᵀ + b)[targets[n]] in nats.

    factors · logits become the gradient of Σ losses / counted.
    h : (N, C)   weight : (V, C)   bias : (V,) or (0,)
    targets : (N,) int64, negative = not counted
    logits : (N·V,) in blocks   factors, losses : (N,)
    """
    n = h.shape[0]
    vocabulary = weight.shape[0]
    size = rows_per_block(n)
    width = columns_per_block(vocabulary)
    zero = h.dtype.type(0)
    one = h.dtype.type(1)
    count = h.dtype.type(counted)
    packs = n >= FEW_ROWS
    packed = np.empty(packed_size(h.shape[1], vocabulary) if packs else 0, h.dtype)
    strips = strips_of(vocabulary) if packs else 0
    for strip in prange(strips):
        pack_rows(weight, strip, packed)
    for block in prange((n + size - 1) // size):
        begin = block * size
        end = min(begin + size, n)
        tops = np.full(end - begin, -np.inf, h.dtype)
        for first in range(0, vocabulary, width):
            last = min(first + width, vocabulary)
            part = _column_block(logits, n, first, last)
            if packs:
                columns = columns_from(packed, first, h.shape[1])
                multiply(h[begin:end], columns, False, part[begin:end])
            else:
                np.dot(h[begin:end], weight[first:last].T, part[begin:end])
            for i in range(begin, end):
                if bias.size:
                    row = part[i]
                    for j in range(last - first):
                        row[j] += bias[first + j]
                top = largest(part[i])
                before = tops[i - begin]
                tops[i - begin] = before if top < before else top  # NaN stays NaN
        for i in range(begin, end):
            target = targets[i]
            top = tops[i - begin]
            losses[i], total = _row_loss(logits, i, n, target, top)
            scaled = total * count
            factors[i] = one / scaled if target >= 0 else zero


def _head_backward_ref(logits, factors, weight, scaled, dh, dweight, dbias):
    n = dh.shape[0]
    dh[...] = 0
    for first, last in _blocks_ref(weight.shape[0]):
        part = logits[n * first : n * last].reshape(n, last - first)
        dh += part @ weight[first:last]
        dweight[first:last] = part.T @ scaled
        if dbias.size:
            dbias[first:last] = part.T @ factors
    dh *= factors[:, None]


@helper
def _head_input(logits, factors, weight, begin, n, dh):
    """dh = factors · logits W for rows begin, begin + 1, … of n, as many as dh has."""
    vocabulary = weight.shape[0]
    width = columns_per_block(vocabulary)
    end = begin + dh.shape[0]
    for first in range(0, vocabulary, width):
        last = min(first + width, vocabulary)
        part = _column_block(logits, n, first, last)
        product(part[begin:end], False, weight[first:last], first > 0, dh)
    for i in range(dh.shape[0]):
        for j in range(dh.shape[1]):
            dh[i, j] *= factors[begin + i]


@kernel(
    reference=_head_backward_ref,
    parallel=True,
    spec="""
        logits: float[N*V]
        factors: float[N]
        weight: float[V,C]
        scaled: float[N,C]
        dh: out[N,C]
        dweight: out[V,C]
        dbias: out[V]?
    """,
)
def head_backward(logits, factors, weight, scaled, dh, dweight, dbias):
    """dh = dlogits W, dW = dlogitsᵀ h and db = Σ_rows dlogits with dlogits = factors · logits.

    logits : (N·V,) in blocks   factors : (N,)   weight, dweight : (V, C)
    scaled : (N, C), factors · h   dh : (N, C)   dbias : (V,) or (0,)
    """
    n = dh.shape[0]
    vocabulary = weight.shape[0]
    size = rows_per_block(n)
    width = columns_per_block(vocabulary)
    blocks = (n + size - 1) // size
    strips = (vocabulary + width - 1) // width
    for task in prange(blocks + strips):
        is_strip, index = strip_of(task, blocks, strips)
        if is_strip:
            first = index * width
            last = min(first + width, vocabulary)
            part = _column_block(logits, n, first, last)
            product(part, True, scaled, False, dweight[first:last])
            if dbias.size:
                np.dot(part.T, factors, dbias[first:last])
        else:
            begin = index * size
            end = min(begin + size, n)
            _head_input(logits, factors, weight, begin, n, dh[begin:end])
