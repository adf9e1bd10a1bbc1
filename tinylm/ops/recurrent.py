"""The LSTM: one op for a layer over a whole sequence."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..tensor import gradient_like, record_several
from .registry import contiguous, op, same_dtype, tensor


def _check(x, state, weights, mask):
    """The shapes of lstm's operands; returns (H, P).   raises ShapeError"""
    w_ih, w_hh, bias, projection = weights
    if x.ndim != 3 or w_ih.ndim != 2 or w_hh.ndim != 2:
        raise ShapeError(
            f"lstm: x {x.shape}, weights {w_ih.shape} and {w_hh.shape}; expected (T, B, C), (4H, C), (4H, P)."
        )
    size, width = w_hh.shape[0] // 4, w_hh.shape[1]
    wanted = [
        ("weight_ih", w_ih, (4 * size, x.shape[2])),
        ("weight_hh", w_hh, (4 * size, width)),
        ("bias", bias, (4 * size,)),
        ("projection", projection, (width, size)),
        ("mask", mask, x.shape[:2]),
    ]
    if state is not None:
        wanted += [("h_0", state[0], (x.shape[1], width)), ("c_0", state[1], (x.shape[1], size))]
    for name, given, shape in wanted:
        if given is not None and given.shape != shape:
            raise ShapeError(
                f"lstm: {name} has shape {given.shape}; expected {shape} beside x {x.shape} and "
                f"weight_hh {w_hh.shape}."
            )
    if projection is None and width != size:
        raise ShapeError(
            f"lstm: weight_hh has shape {w_hh.shape}; expected (4H, H) without a projection."
        )
    return size, width


def _forward(arrays, start, mask, clip):
    """Gates, cells, hidden states and r of all steps, see kernels.lstm.

    arrays : x (T,B,C), W_ih, W_hh, b or (0,), W_p or (0, 0)   start : h_0 and c_0 as arrays, or None for zeros
    """
    x, w_ih, w_hh, bias, projection = arrays
    (length, batch, inputs), size, width = x.shape, len(w_ih) // 4, w_hh.shape[1]
    empty = np.empty((0, 0), x.dtype)
    gates, hidden = (
        np.empty((length, batch, 4 * size), x.dtype),
        np.empty((length, batch, size), x.dtype),
    )
    cells, states = (
        np.zeros((length + 1, batch, size), x.dtype),
        np.zeros((length + 1, batch, width), x.dtype),
    )
    if start is not None:
        states[0], cells[0] = start
    kernels.linear(
        x.reshape(-1, inputs),
        w_ih,
        bias,
        empty,
        0,
        0.0,
        np.uint64(0),
        empty,
        gates.reshape(-1, 4 * size),
    )
    kernels.lstm(gates, w_hh, projection, mask, *clip, cells, hidden, states)
    return gates, cells, hidden, states


def _product_gradients(dz, x, weight, dx, dweight, dbias):
    """dx = dz W, dW = dzᵀ x, db = Σ dz over all steps; an empty dx or dbias is left out."""
    empty = np.empty((0, 0), dz.dtype)
    kernels.linear_backward(
        dz.reshape(-1, dz.shape[2]),
        x.reshape(-1, x.shape[2]),
        weight,
        empty,
        0.0,
        np.uint64(0),
        empty,
        dx.reshape(-1, x.shape[2]) if dx.size else empty,
        dweight,
        dbias,
    )


@op
def lstm(x, state, weights, mask=None, reverse=False, clip=(np.inf, np.inf)):
    """One layer of LSTM over a sequence: out, (h_n, c_n).   equations and gradients: kernels/lstm.py

    x : (T, B, C), time first     state : (h_0 (B, P), c_0 (B, H)), or None for zeros
    weights : W_ih (4H, C), W_hh (4H, P), b (4H,) or None, and W_p (P, H) where m is projected to P; gates i, f, g, o
    mask : bool (T, B), False = no step here: the state is carried on, the output is 0     reverse : from the end
    clip : bounds on |c| and on |r| after the projection     returns out (T, B, P), (h_n (B, P), c_n (B, H))
    raises ShapeError  if they do not fit
    Source: as PyTorch's nn.LSTM. Differs: one bias, for two only ever add up; masks in place of packed sequences; clips.
    """
    x, weights = (
        tensor(x),
        tuple(None if w is None else tensor(w) for w in (*weights, None, None)[:4]),
    )
    start = None if state is None else tuple(tensor(s) for s in state)
    mask = None if mask is None else np.asarray(mask, bool)
    _check(x, start, weights, mask)
    same_dtype("lstm", x, *weights, *(start or ()))
    turn = slice(None, None, -1 if reverse else 1)
    steps = contiguous(np.ones(x.shape[:2], bool) if mask is None else mask[turn])
    none, empty = np.empty(0, x.dtype), np.empty((0, 0), x.dtype)
    w_ih, w_hh, bias, projection = weights
    arrays = [
        contiguous(x.data[turn]),
        contiguous(w_ih.data),
        contiguous(w_hh.data),
        none if bias is None else contiguous(bias.data),
        empty if projection is None else contiguous(projection.data),
    ]
    clip = tuple(float(limit) for limit in clip)
    gates, cells, hidden, states = _forward(arrays, start and [s.data for s in start], steps, clip)
    out = states[1:] if mask is None else np.where(steps[:, :, None], states[1:], 0)
    given = [w for w in (x, w_ih, w_hh, bias, projection) if w is not None]

    def vjp(dout, dh, dc):
        dstates, dcell = (
            np.zeros_like(states),
            np.zeros_like(cells[0]) if dc is None else np.array(dc, order="C"),
        )
        if dout is not None:
            dstates[1:] = dout[turn] if mask is None else np.where(steps[:, :, None], dout[turn], 0)
        if dh is not None:
            dstates[-1] += dh
        kernels.lstm_backward(
            gates, cells, states, *arrays[2::2], steps, *clip, dstates, dcell
        )  # gates become dz
        grads = [
            np.empty_like(arrays[0]) if x.requires_grad else empty,
            *(gradient_like(w) for w in given[1:]),
        ]
        _product_gradients(
            gates, arrays[0], arrays[1], grads[0], grads[1], none if bias is None else grads[3]
        )
        _product_gradients(gates, states[:-1], arrays[2], empty, grads[2], none)
        if projection is not None:
            _product_gradients(dstates[1:], hidden, arrays[4], empty, grads[-1], none)
        grads[0] = grads[0][turn] if x.requires_grad else None
        return (*grads, dstates[0], dcell) if start else tuple(grads)

    out, h, c = record_several(
        "lstm", (out[turn], states[-1], cells[-1]), (*given, *(start or ())), vjp
    )
    return out, (h, c)
