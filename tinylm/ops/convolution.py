"""Convolution over time and the maximum over time, apart and in one pass."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ArgumentError, ShapeError
from tinylm.tensor import Tensor, record

from .registry import Operand, contiguous, op, optional, same_dtype, tensor

BLOCK = 1 << 21  # numbers of unfolded input that exist at a time


def _check(name, x, weight, bias, padding=0, dilation=1):
    """The shapes of a convolution's operands.

    returns how many positions of the input a filter spans; raises ShapeError
    """
    if x.ndim != 3 or weight.ndim != 3 or x.shape[2] != weight.shape[1]:
        raise ShapeError(
            f"{name}: input {x.shape} and weight {weight.shape} do not fit; "
            "expected (B, T, C) and (O, C, K)."
        )
    filters, _, size = weight.shape
    if bias is not None and bias.shape != (filters,):
        raise ShapeError(
            f"{name}: bias has shape {bias.shape}; expected {(filters,)}, one per filter."
        )
    span = dilation * (size - 1) + 1
    if span > x.shape[1] + 2 * padding:
        raise ShapeError(
            f"{name}: the filters of weight {weight.shape} are longer than the input {x.shape}; "
            "pad it or use shorter ones."
        )
    same_dtype(name, x, weight, bias)
    return span


def _as_rows(weight):
    """Filters (O, C, K) as rows (O, K·C), in the order in which a window of the input lies."""
    turned = contiguous(weight.data.swapaxes(1, 2))
    return turned.reshape(len(weight), -1)


def _from_rows(rows, shape):
    """The inverse of `_as_rows`: an array of `shape` (O, C, K)."""
    filters, channels, size = shape
    turned = rows.reshape(filters, size, channels)
    return turned.swapaxes(1, 2)


def _blocks(batch, steps, width):
    """Cut (B, T') windows of `width` numbers into blocks of at most about BLOCK numbers.

    returns pairs (slice of sequences, slice of steps)
    """
    most = max(1, BLOCK // width)
    if steps <= most:  # whole sequences
        run = max(steps, 1)
        rows = max(1, most // run)
    else:
        run = most
        rows = 1
    blocks = []
    for b in range(0, batch, rows):
        for t in range(0, steps, run):
            blocks.append((slice(b, b + rows), slice(t, t + run)))
    return blocks


@op
def conv1d(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """y[t] = b + Σ_k W_k x[t·stride + k·dilation].
    dx[t·stride + k·dilation] += W_kᵀ dy[t], dW_k = Σ dy[t] xᵀ, db = Σ dy

    x : (B, T, C)   weight : (O, C, K)   bias : (O,) or None   padding : zeros on both sides
    returns (B, T', O), T' = (T + 2·padding − span) // stride + 1 with span = dilation·(K − 1) + 1
    raises ShapeError  if they do not fit, or the padded input is shorter than a filter
    Source: as PyTorch's. Differs: channels are the last axis of input and result, as everywhere
    here; no groups.

    >>> conv1d([[[1.0], [5.0], [2.0]]], [[[1.0, 10.0]]]).numpy().ravel()  # 1 + 10·5, 5 + 10·2
    array([51., 25.], dtype=float32)
    """
    x = tensor(x)
    weight = tensor(weight)
    bias = optional(bias)
    if stride < 1 or dilation < 1 or padding < 0:
        raise ArgumentError(
            f"conv1d: stride {stride}, padding {padding}, dilation {dilation}; "
            "expected at least 1, 0, 1."
        )
    span = _check("conv1d", x, weight, bias, padding, dilation)
    padded = np.pad(x.data, ((0, 0), (padding, padding), (0, 0)))
    view = sliding_window_view(padded, span, axis=1)  # (B,T,C) -> (B,T+1-span,C,span), not a copy
    view = view[:, ::stride, :, ::dilation]  # -> (B,T',C,K)
    view = view.swapaxes(2, 3)  # -> (B,T',K,C)
    batch, steps, size, _ = view.shape
    w = _as_rows(weight)
    filters, width = w.shape  # width = K·C
    no_bias = np.empty(0, x.dtype)
    nothing = np.empty((0, 0), x.dtype)
    key = np.uint64(0)
    b = no_bias if bias is None else contiguous(bias.data)
    out = np.empty((batch, steps, filters), x.dtype)
    for block in _blocks(batch, steps, width):
        windows = contiguous(view[block])
        windows = windows.reshape(-1, width)
        rows = out[block].reshape(-1, filters)
        kernels.linear(windows, w, b, nothing, 0, 0.0, key, nothing, rows)

    def vjp(dy):
        dpadded = np.zeros(padded.shape, x.dtype)
        dw = np.zeros_like(w)
        part = np.empty_like(w)
        for sequences, run in _blocks(batch, steps, width):
            windows = contiguous(view[sequences, run])
            dwindows = np.empty_like(windows)
            dout = contiguous(dy[sequences, run])
            dout = dout.reshape(-1, filters)
            flat = windows.reshape(-1, width)
            dflat = dwindows.reshape(flat.shape) if x.requires_grad else nothing
            kernels.linear_backward(dout, flat, w, nothing, 0.0, key, nothing, dflat, part, no_bias)
            dw += part
            if x.requires_grad:
                for k in range(size):
                    start = run.start * stride + k * dilation
                    stop = start + dwindows.shape[1] * stride
                    dpadded[sequences, start:stop:stride] += dwindows[:, :, k]
        dx = dpadded[:, padding : padding + x.shape[1]] if x.requires_grad else None
        dweight = _from_rows(dw, weight.shape)
        if bias is None:
            return dx, dweight
        return dx, dweight, dy.sum(axis=(0, 1))

    inputs = (x, weight) if bias is None else (x, weight, bias)
    return record("conv1d", out, inputs, vjp)


@op
def max_over_time(x: Operand, mask: ArrayLike | None = None) -> Tensor:
    """Largest entry of every channel over time.   dx = dy at the first maximum, else 0

    x : (B, T, C)   mask : bool (B, T), True = is counted, or None for all   returns (B, C)
    A row without a position that counts gives 0 and no gradient.
    raises ShapeError  if they do not fit

    >>> x = [[[1.0, 5.0], [3.0, 2.0], [9.0, 9.0]]]
    >>> max_over_time(x, [[True, True, False]]).numpy().tolist()
    [[3.0, 5.0]]
    """
    x = tensor(x)
    mask = np.ones(x.shape[:2], bool) if mask is None else np.asarray(mask, bool)
    if x.ndim != 3 or mask.shape != x.shape[:2] or not x.shape[1]:
        raise ShapeError(
            f"max_over_time: input {x.shape} and mask {mask.shape} do not fit; "
            "expected (B, T, C) and (B, T), with at least one position."
        )
    real = mask.any(axis=1)[:, None]  # (B,1)
    counted = x.data
    if not mask.all():
        counted = np.where(mask[:, :, None], x.data, -np.inf)
    best = counted.argmax(axis=1)[:, None]  # (B,T,C) -> (B,1,C)
    found = np.take_along_axis(x.data, best, axis=1)  # (B,1,C)
    found = found[:, 0]

    def vjp(dy):
        dx = np.zeros_like(x.data)
        dbest = (dy * real)[:, None]
        np.put_along_axis(dx, best, dbest, axis=1)
        return (dx,)

    y = np.where(real, found, 0)
    return record("max_over_time", y, (x,), vjp)


@op
def conv1d_max(x: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """max_over_time(conv1d(x, weight, bias)) in one pass that keeps no convolution.
    gradients: kernels/convolution.py

    x : (B, T, C)   weight : (O, C, K)   bias : (O,) or None   returns (B, O)
    raises ShapeError  if they do not fit, or the input is shorter than a filter

    >>> conv1d_max([[[1.0], [5.0], [2.0]]], [[[1.0, 10.0]]])
    Tensor([[51.]])
    """
    x = tensor(x)
    weight = tensor(weight)
    bias = optional(bias)
    _check("conv1d_max", x, weight, bias)
    array = contiguous(x.data)
    w = _as_rows(weight)
    shape = (len(x), len(w))  # (B,O)
    best = np.empty(shape, np.int64)
    out = np.empty(shape, x.dtype)
    kernels.conv1d_max(array, w, best, out)
    if bias is not None:
        out = out + bias.data

    def vjp(dy):
        dx = np.empty_like(array) if x.requires_grad else np.empty((0, 0, 0), x.dtype)
        dw = np.empty_like(w)
        kernels.conv1d_max_backward(contiguous(dy), best, array, w, dx, dw)
        dx = dx if x.requires_grad else None
        dweight = _from_rows(dw, weight.shape)
        return (dx, dweight) if bias is None else (dx, dweight, dy.sum(axis=0))

    inputs = (x, weight) if bias is None else (x, weight, bias)
    return record("conv1d_max", out, inputs, vjp)
