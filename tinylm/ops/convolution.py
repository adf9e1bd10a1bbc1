"""Convolution over time and the maximum over time, apart and in one pass."""

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..tensor import record
from .registry import contiguous, op, same_dtype, tensor

BLOCK = 1 << 21  # numbers of unfolded input that exist at a time


def _check(name, x, weight, bias, padding=0, dilation=1):
    """The shapes of a convolution's operands; returns how long an input a filter spans.   raises ShapeError"""
    if x.ndim != 3 or weight.ndim != 3 or x.shape[2] != weight.shape[1]:
        raise ShapeError(
            f"{name}: input {x.shape} and weight {weight.shape} do not fit; expected (B, T, C) and (O, C, K)."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"{name}: bias has shape {bias.shape}; expected {weight.shape[:1]}, one per filter."
        )
    span = dilation * (weight.shape[2] - 1) + 1
    if span > x.shape[1] + 2 * padding:
        raise ShapeError(
            f"{name}: the filters of weight {weight.shape} are longer than the input {x.shape}; "
            "pad it or use shorter ones."
        )
    same_dtype(name, x, weight, bias)
    return span


def _as_rows(weight):
    """Filters (O, C, K) as rows (O, K·C), in the order in which a window of the input lies in memory."""
    return contiguous(weight.data.swapaxes(1, 2)).reshape(len(weight), -1)


def _from_rows(rows, shape):
    """The (O, C, K) array whose rows these are."""
    return rows.reshape(shape[0], shape[2], shape[1]).swapaxes(1, 2)


def _blocks(batch, steps, width):
    """(slice of sequences, slice of steps) of blocks whose windows hold at most about BLOCK numbers."""
    most = max(1, BLOCK // width)
    rows, run = (max(1, most // max(steps, 1)), max(steps, 1)) if steps <= most else (1, most)
    return [
        (slice(b, b + rows), slice(t, t + run))
        for b in range(0, batch, rows)
        for t in range(0, steps, run)
    ]


@op
def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1):
    """y[t] = b + Σ_k W_k x[t·stride + k·dilation].   dx[t·stride + k·dilation] += W_kᵀ dy[t], dW_k = Σ dy[t] xᵀ, db = Σ dy

    x : (B, T, C)   weight : (O, C, K)   bias : (O,) or None   returns (B, T', O), T' = (T + 2·padding − span) // stride + 1
    with span = dilation·(K − 1) + 1     padding : zeros on both sides
    raises ShapeError  if they do not fit, or the padded input is shorter than a filter
    Source: as PyTorch's. Differs: channels are the last axis of input and result, as everywhere here; no groups.
    """
    x, weight, bias = tensor(x), tensor(weight), None if bias is None else tensor(bias)
    if stride < 1 or dilation < 1 or padding < 0:
        raise ArgumentError(
            f"conv1d: stride {stride}, padding {padding}, dilation {dilation}; expected at least 1, 0, 1."
        )
    span = _check("conv1d", x, weight, bias, padding, dilation)
    padded, w, size = (
        np.pad(x.data, ((0, 0), (padding, padding), (0, 0))),
        _as_rows(weight),
        weight.shape[2],
    )
    view = np.lib.stride_tricks.sliding_window_view(padded, span, axis=1)[
        :, ::stride, :, ::dilation
    ].swapaxes(2, 3)
    (batch, steps), filters = view.shape[:2], len(w)  # (B,T,C) -> (B,T',K,C), not a copy
    none, empty, key = np.empty(0, x.dtype), np.empty((0, 0), x.dtype), np.uint64(0)
    out, b = (
        np.empty((batch, steps, filters), x.dtype),
        none if bias is None else contiguous(bias.data),
    )
    for at in _blocks(batch, steps, w.shape[1]):
        windows = contiguous(view[at]).reshape(-1, w.shape[1])
        kernels.linear(windows, w, b, empty, 0, 0.0, key, empty, out[at].reshape(-1, filters))

    def vjp(dy):
        dpadded, dw, part = np.zeros(padded.shape, x.dtype), np.zeros_like(w), np.empty_like(w)
        for sequences, run in _blocks(batch, steps, w.shape[1]):
            windows = contiguous(view[sequences, run])
            grad, dwindows = (
                contiguous(dy[sequences, run]).reshape(-1, filters),
                np.empty_like(windows),
            )
            flat = windows.reshape(-1, w.shape[1])
            dflat = dwindows.reshape(flat.shape) if x.requires_grad else empty
            kernels.linear_backward(grad, flat, w, empty, 0.0, key, empty, dflat, part, none)
            dw += part
            for k in range(size) if x.requires_grad else ():
                start = run.start * stride + k * dilation
                dpadded[sequences, start : start + dwindows.shape[1] * stride : stride] += dwindows[
                    :, :, k
                ]
        dx = dpadded[:, padding : padding + x.shape[1]] if x.requires_grad else None
        return (dx, _from_rows(dw, weight.shape), dy.sum(axis=(0, 1)))[: len(inputs)]

    inputs = (x, weight) if bias is None else (x, weight, bias)
    return record("conv1d", out, inputs, vjp)


@op
def max_over_time(x, mask=None):
    """Largest entry of every channel over time.   dx = dy at the first maximum, else 0

    x : (B, T, C)   mask : bool (B, T), True = is counted, or None for all   returns (B, C)
    A row without a position that counts gives 0 and no gradient.
    raises ShapeError  if they do not fit
    """
    x = tensor(x)
    mask = np.ones(x.shape[:2], bool) if mask is None else np.asarray(mask, bool)
    if x.ndim != 3 or mask.shape != x.shape[:2] or not x.shape[1]:
        raise ShapeError(
            f"max_over_time: input {x.shape} and mask {mask.shape} do not fit; expected (B, T, C) and (B, T), "
            "with at least one position."
        )
    real = mask.any(axis=1)[:, None]  # (B,1)
    counted = x.data if mask.all() else np.where(mask[:, :, None], x.data, -np.inf)
    best = counted.argmax(axis=1)[:, None]  # (B,T,C) -> (B,1,C)

    def vjp(dy):
        dx = np.zeros_like(x.data)
        np.put_along_axis(dx, best, (dy * real)[:, None], axis=1)
        return (dx,)

    return record(
        "max_over_time",
        np.where(real, np.take_along_axis(x.data, best, axis=1)[:, 0], 0),
        (x,),
        vjp,
    )


@op
def conv1d_max(x, weight, bias=None):
    """max_over_time(conv1d(x, weight, bias)) in one pass that keeps no convolution.   gradients: kernels/convolution.py

    x : (B, T, C)   weight : (O, C, K)   bias : (O,) or None   returns (B, O)
    raises ShapeError  if they do not fit, or the input is shorter than a filter
    """
    x, weight, bias = tensor(x), tensor(weight), None if bias is None else tensor(bias)
    _check("conv1d_max", x, weight, bias)
    array, w = contiguous(x.data), _as_rows(weight)
    best, out = np.empty((len(x), len(w)), np.int64), np.empty((len(x), len(w)), x.dtype)
    kernels.conv1d_max(array, w, best, out)
    out = out if bias is None else out + bias.data

    def vjp(dy):
        dx, dw = (
            np.empty_like(array) if x.requires_grad else np.empty((0, 0, 0), x.dtype),
            np.empty_like(w),
        )
        kernels.conv1d_max_backward(contiguous(dy), best, array, w, dx, dw)
        return (dx if x.requires_grad else None, _from_rows(dw, weight.shape), dy.sum(axis=0))[
            : len(inputs)
        ]

    inputs = (x, weight) if bias is None else (x, weight, bias)
    return record("conv1d_max", out, inputs, vjp)
