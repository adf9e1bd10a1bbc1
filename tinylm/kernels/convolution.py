"""Convolution over time followed by its maximum over time: a word's features from its characters.

    z[b,t] = W · window(b,t)        window(b,t) = x[b, t … t + K − 1] as one row of K·C numbers
    out[b,o] = max_t z[b,t,o] = z[b, best[b,o], o]

    dW[o] = Σ_b dy[b,o] · window(b, best[b,o])
    dx[b, best[b,o] … best[b,o] + K − 1] += dy[b,o] · W[o]

Only the window at the maximum has a gradient, so the backward needs neither z nor a matrix product.
The forward makes z word by word, so that it stays in cache, and reads the windows where they lie.
For ELMo's words of 50 characters that is a fiftieth of the plain backward's work, and none of its
memory.
"""

import numpy as np
from numba import prange
from numpy.lib.stride_tricks import as_strided

from .runtime.panels import multiply, pack_rows, packed_size, strips_of
from .runtime.registry import helper, kernel

PARTS = 8  # tasks that share the forward's words; each allocates its memory once
ROWS = 4  # rows of x in one task of the backward
STRIP = 32  # filters in one task of the backward


def _conv1d_max_ref(x, weight, best, out):
    """One filter of two steps that adds what it sees:

    >>> best, out = np.empty((1, 1), int), np.empty((1, 1))
    >>> x, weight = np.array([[[1.0], [5.0], [2.0], [0.0]]]), np.ones((1, 2))
    >>> _conv1d_max_ref(x, weight, best, out)
    >>> best, out  # the windows' sums are 6, 7, 2
    (array([[1]]), array([[7.]]))
    """
    size = weight.shape[1] // x.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=1)
    windows = windows.swapaxes(2, 3)  # (B,T',C,K) -> (B,T',K,C)
    batch, steps = windows.shape[:2]
    z = windows.reshape(batch, steps, weight.shape[1]) @ weight.T  # (B,T',K·C) -> (B,T',O)
    best[...] = z.argmax(axis=1)
    out[...] = z.max(axis=1)


@helper
def _windows(x, width):
    """The windows (T', K·C) of one text x (T, C): a view in which each begins C numbers later."""
    length, channels = x.shape
    steps = length - width // channels + 1
    return as_strided(x, (steps, width), x.strides)


@helper
def _maximum_over_rows(z, position, best, out):
    """out (O,) = the largest entry of each column of z (T', O), best (O,) = the first row with it.

    position : (O,) int32, scratch
    """
    width = out.size
    for o in range(width):
        out[o] = z[0, o]
        position[o] = 0
    for t in range(1, z.shape[0]):
        values = z[t]
        row = position.dtype.type(t)
        for o in range(width):
            new = values[o]
            old = out[o]
            # The first NaN stays. `and`, because the compiler does not vectorise `&`.
            higher = not (new <= old) and old == old
            position[o] = row if higher else position[o]
            out[o] = new if higher else old
    for o in range(width):
        best[o] = position[o]


@kernel(
    reference=_conv1d_max_ref,
    parallel=True,
    spec="x: float[B,S,C]; weight: float[O,K*C]; best: outids[B,O]; out: out[B,O]",
)
def conv1d_max(x, weight, best, out):
    """out = max over time of the convolution, best = the first window that reaches it.

    x : (B, S, C), S ≥ K   weight : (O, K·C), K steps of C channels   best, out : (B, O), best int64
    """
    batch, length, channels = x.shape
    width = weight.shape[1]
    filters = out.shape[1]
    steps = length - width // channels + 1
    share = max(1, (batch + PARTS - 1) // PARTS)
    packed = np.empty(packed_size(width, filters), x.dtype)
    for strip in prange(strips_of(filters)):
        pack_rows(weight, strip, packed)
    for part in prange((batch + share - 1) // share):
        z = np.empty((steps, filters), x.dtype)
        position = np.empty(filters, np.int32)
        for b in range(part * share, min(part * share + share, batch)):
            multiply(_windows(x[b], width), packed, False, z)
            _maximum_over_rows(z, position, best[b], out[b])


def _conv1d_max_backward_ref(dy, best, x, weight, dx, dweight):
    batch, _, channels = x.shape
    width = weight.shape[1]
    if dx.size:
        dx[...] = 0
    dweight[...] = 0
    for b in range(batch):
        starts = best[b][:, None] * channels
        places = starts + np.arange(width)  # (O,K·C): where each filter's best window lies in x[b]
        grad = dy[b][:, None]
        windows = x[b].ravel()[places]
        dweight += grad * windows
        if dx.size:
            row = dx[b].reshape(-1)
            np.add.at(row, places, grad * weight)


@kernel(
    reference=_conv1d_max_backward_ref,
    parallel=True,
    spec="""
        dy: float[B,O]
        best: ids<S[B,O]
        x: float[B,S,C]
        weight: float[O,K*C]
        dx: out[B,S,C]?
        dweight: out[O,K*C]
    """,
)
def conv1d_max_backward(dy, best, x, weight, dx, dweight):
    """Gradients from the windows at the maxima.

    dy, best : (B, O)   x : (B, S, C)   dx : (B, S, C), or (0, 0, 0) if x needs no gradient
    weight, dweight : (O, K·C)
    """
    batch, length, channels = x.shape
    filters, width = weight.shape
    for task in prange((min(dx.size, batch) + ROWS - 1) // ROWS):
        begin = task * ROWS
        end = min(begin + ROWS, batch)
        for b in range(begin, end):
            row = dx[b].reshape(length * channels)
            row[:] = 0
            for o in range(filters):
                grad = dy[b, o]
                source = weight[o]
                start = best[b, o] * channels
                target = row[start : start + width]
                for j in range(width):
                    target[j] += grad * source[j]
    for task in prange((filters + STRIP - 1) // STRIP):
        first = task * STRIP
        last = min(first + STRIP, filters)
        dweight[first:last] = 0
        for b in range(batch):
            row = x[b].reshape(length * channels)
            for o in range(first, last):
                grad = dy[b, o]
                target = dweight[o]
                start = best[b, o] * channels
                source = row[start : start + width]
                for j in range(width):
                    target[j] += grad * source[j]
