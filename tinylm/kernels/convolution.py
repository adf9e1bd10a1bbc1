"""Convolution over time followed by its maximum over time, of which a word's character features are made.

    z[b,t] = W · window(b,t)        window(b,t) = x[b, t … t + K − 1] in one row of K·C numbers
    out[b,o] = max_t z[b,t,o] = z[b, best, o]
    dW[o] = Σ_b dy[b,o] · window(b, best[b,o])        dx[b, best … best + K − 1] += dy[b,o] · W[o]

Only the window at the maximum has a gradient: the backward needs neither z nor a matrix product, and z exists for a block of
rows only, while it is in cache. For ELMo's words of 50 characters that is a fiftieth of the plain backward's work, and none
of its memory.
"""

import numpy as np
from numba import prange

from .runtime.registry import helper, kernel

WINDOWS, PARTS = (
    512,
    8,
)  # windows of a product, and how many tasks share the products: each has its memory only once
ROWS, STRIP = 4, 32  # rows of a task, and filters of a task, in the backward


def _conv1d_max_ref(x, weight, best, out):
    size = weight.shape[1] // x.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=1).swapaxes(
        2, 3
    )  # (B,T,C) -> (B,T',K,C)
    z = windows.reshape(*windows.shape[:2], weight.shape[1]) @ weight.T
    best[...], out[...] = z.argmax(axis=1), z.max(axis=1)


@helper
def _unfold(row, channels, windows):
    """windows (T', K·C): each is the one before moved on by the channels of one step in the row (T·C,)."""
    for t in range(windows.shape[0]):
        target, source = windows[t], row[t * channels : t * channels + windows.shape[1]]
        for j in range(target.size):
            target[j] = source[j]


@helper
def _maximum_over_rows(z, position, best, out):
    """out (O,) = largest entries of the columns of z (T', O), best (O,) = the first rows that hold them."""
    width = out.size
    for o in range(width):
        out[o], position[o] = z[0, o], 0
    for t in range(1, z.shape[0]):
        values, row = z[t], position.dtype.type(t)
        for o in range(width):
            new, old = values[o], out[o]
            higher = (
                not (new <= old) and old == old
            )  # the first NaN stays; `and`, because `&` is not vectorised
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

    x : (B, S, C), S ≥ K   weight : (O, K·C), filters as windows lie: time first   best, out : (B, O), best int64
    """
    batch, length, channels = x.shape
    width = weight.shape[1]
    steps = length - width // channels + 1
    rows = max(1, WINDOWS // steps)
    share = (
        ((batch + rows - 1) // rows + PARTS - 1) // PARTS * rows
    )  # rows of a part: whole products, as many for each
    for part in prange((batch + share - 1) // share if batch else 0):
        last = min(part * share + share, batch)
        windows, z = (
            np.empty((rows * steps, width), x.dtype),
            np.empty((rows * steps, out.shape[1]), x.dtype),
        )
        position = np.empty(out.shape[1], np.int32)
        for first in range(part * share, last, rows):
            count = min(rows, last - first)
            for r in range(count):
                _unfold(
                    x[first + r].reshape(length * channels),
                    channels,
                    windows[r * steps : r * steps + steps],
                )
            np.dot(windows[: count * steps], weight.T, z[: count * steps])
            for r in range(count):
                _maximum_over_rows(
                    z[r * steps : r * steps + steps], position, best[first + r], out[first + r]
                )


def _conv1d_max_backward_ref(dy, best, x, weight, dx, dweight):
    (batch, _, channels), width = x.shape, weight.shape[1]
    if dx.size:
        dx[...] = 0
    dweight[...] = 0
    for b in range(batch):
        places = best[b][:, None] * channels + np.arange(
            width
        )  # (O,K·C): each filter's best window in the row of x
        dweight += dy[b][:, None] * x[b].ravel()[places]
        if dx.size:
            np.add.at(dx[b].reshape(-1), places, dy[b][:, None] * weight)


@kernel(
    reference=_conv1d_max_backward_ref,
    parallel=True,
    spec="dy: float[B,O]; best: ids<S[B,O]; x: float[B,S,C]; weight: float[O,K*C]; dx: out[B,S,C]?; dweight: out[O,K*C]",
)
def conv1d_max_backward(dy, best, x, weight, dx, dweight):
    """Gradients from the windows at the maxima.

    dy, best : (B, O)   x, dx : (B, S, C), dx is empty where x needs no gradient   weight, dweight : (O, K·C)
    """
    (batch, length, channels), (filters, width) = x.shape, weight.shape
    for task in prange((min(dx.size, batch) + ROWS - 1) // ROWS):
        for b in range(task * ROWS, min(task * ROWS + ROWS, batch)):
            row = dx[b].reshape(length * channels)
            row[:] = 0
            for o in range(filters):
                grad, source = dy[b, o], weight[o]
                target = row[best[b, o] * channels : best[b, o] * channels + width]
                for j in range(width):
                    target[j] += grad * source[j]
    for task in prange((filters + STRIP - 1) // STRIP):
        first, last = task * STRIP, min(task * STRIP + STRIP, filters)
        dweight[first:last] = 0
        for b in range(batch):
            row = x[b].reshape(length * channels)
            for o in range(first, last):
                grad, target = dy[b, o], dweight[o]
                source = row[best[b, o] * channels : best[b, o] * channels + width]
                for j in range(width):
                    target[j] += grad * source[j]
