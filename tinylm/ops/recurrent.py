"""The LSTM: one op for a layer over a whole sequence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor, gradient_like, record_several

from .registry import Operand, contiguous, op, optional, same_dtype, tensor


def _check(x, state, w_ih, w_hh, bias, projection, mask):
    """The shapes of lstm's operands.   raises ShapeError"""
    if x.ndim != 3 or w_ih.ndim != 2 or w_hh.ndim != 2:
        raise ShapeError(
            f"lstm: x {x.shape}, weights {w_ih.shape} and {w_hh.shape}; "
            "expected (T, B, C), (4H, C), (4H, P)."
        )
    length, batch, inputs = x.shape
    size = len(w_hh) // 4  # H
    width = w_hh.shape[1]  # P

    def expect(name, given, *shape):
        if given is not None and given.shape != shape:
            raise ShapeError(
                f"lstm: {name} has shape {given.shape}; expected {shape} beside x {x.shape} "
                f"and weight_hh {w_hh.shape}."
            )

    expect("weight_ih", w_ih, 4 * size, inputs)
    expect("weight_hh", w_hh, 4 * size, width)
    expect("bias", bias, 4 * size)
    expect("projection", projection, width, size)
    expect("mask", mask, length, batch)
    if state is not None:
        h_0, c_0 = state
        expect("h_0", h_0, batch, width)
        expect("c_0", c_0, batch, size)
    if projection is None and width != size:
        raise ShapeError(
            f"lstm: weight_hh has shape {w_hh.shape}; expected (4H, H) without a projection."
        )


def _input_product(x, w_ih, bias):
    """x W_ihᵀ + b for all steps at once.   (T, B, C) -> (T, B, 4H)"""
    length, batch, width = x.shape
    outputs = len(w_ih)
    gates = np.empty((length, batch, outputs), x.dtype)
    rows = x.reshape(-1, width)
    out = gates.reshape(-1, outputs)
    nothing = np.empty((0, 0), x.dtype)
    key = np.uint64(0)
    kernels.linear(rows, w_ih, bias, nothing, 0, 0.0, key, nothing, out)
    return gates


def _forward(x, w_ih, w_hh, projection, bias, steps, start, clip_c, clip_r):
    """Gates, cells, hidden states and r of all steps, see kernels/lstm.py.

    bias : (0,) for none   projection : (0, 0) for none   start : h_0 and c_0, or () for zeros
    """
    length, batch, _ = x.shape
    size = len(w_hh) // 4
    width = w_hh.shape[1]
    hidden = np.empty((length, batch, size) if projection.size else (0, 0, 0), x.dtype)
    cells = np.zeros((length + 1, batch, size), x.dtype)
    states = np.zeros((length + 1, batch, width), x.dtype)
    if start:
        h_0, c_0 = start
        states[0] = h_0.data
        cells[0] = c_0.data
    gates = _input_product(x, w_ih, bias)
    how = (clip_c, clip_r, kernels.threads())
    kernels.lstm(gates, w_hh, projection, steps, *how, cells, hidden, states)
    return gates, cells, hidden, states


def _masked(states, real):
    """Zeros where there is no step; real : bool (T, B, 1), or None for steps everywhere."""
    return states if real is None else np.where(real, states, 0)


def _product_gradients(dz, x, weight, dx, dweight, dbias):
    """dx = dz W, dW = dzᵀ x, db = Σ dz over all steps; an empty dx or dbias is left out."""
    nothing = np.empty((0, 0), dz.dtype)
    key = np.uint64(0)
    dout = dz.reshape(-1, dz.shape[2])
    rows = x.reshape(-1, x.shape[2])
    dx = dx.reshape(rows.shape) if dx.size else nothing
    kernels.linear_backward(dout, rows, weight, nothing, 0.0, key, nothing, dx, dweight, dbias)


@op
def lstm(
    x: Operand,
    state: Sequence[Operand] | None,
    weights: Sequence[Operand | None],
    mask: ArrayLike | None = None,
    reverse: bool = False,
    clip: tuple[float, float] = (np.inf, np.inf),
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One layer of LSTM over a sequence: out, (h_n, c_n).
    equations and gradients: kernels/lstm.py

    x : (T, B, C), time first     state : (h_0 (B, P), c_0 (B, H)), or None for zeros
    weights : W_ih (4H, C), W_hh (4H, P), b (4H,) or None, and W_p (P, H) if m is projected to P;
        gates i, f, g, o
    mask : bool (T, B), False = no step here: the state is carried on, the output is 0
    reverse : begin at the end     clip : bounds on |c|, and on |r| after the projection
    returns out (T, B, P), (h_n (B, P), c_n (B, H))
    raises ShapeError  if they do not fit
    Source: as PyTorch's nn.LSTM. Differs: one bias, because two only ever add up; masks in place of
    packed sequences; clips.

    >>> x, w_ih, w_hh = np.zeros((5, 2, 3)), np.zeros((4 * 7, 3)), np.zeros((4 * 7, 7))
    >>> out, (h_n, c_n) = lstm(x, None, (w_ih, w_hh))
    >>> out.shape, h_n.shape, c_n.shape
    ((5, 2, 7), (2, 7), (2, 7))
    """
    x = tensor(x)
    w_ih, w_hh, bias, projection = [optional(w) for w in (*weights, None, None)[:4]]
    start = () if state is None else tuple(tensor(s) for s in state)
    mask = None if mask is None else np.asarray(mask, bool)
    _check(x, start or None, w_ih, w_hh, bias, projection, mask)
    same_dtype("lstm", x, w_ih, w_hh, bias, projection, *start)
    turn = slice(None, None, -1 if reverse else 1)
    steps = np.ones(x.shape[:2], bool) if mask is None else mask[turn]
    steps = contiguous(steps)
    real = None if mask is None else steps[:, :, None]
    clip_c, clip_r = [float(limit) for limit in clip]

    no_bias = np.empty(0, x.dtype)
    nothing = np.empty((0, 0), x.dtype)
    xs = contiguous(x.data[turn])
    wi = contiguous(w_ih.data)
    wh = contiguous(w_hh.data)
    wp = nothing if projection is None else contiguous(projection.data)
    b = no_bias if bias is None else contiguous(bias.data)

    gates, cells, hidden, states = _forward(xs, wi, wh, wp, b, steps, start, clip_c, clip_r)
    out = _masked(states[1:], real)

    def vjp(dout, dh, dc):
        dstates = np.zeros_like(states)
        if dout is not None:
            dstates[1:] = _masked(dout[turn], real)
        if dh is not None:
            dstates[-1] += dh
        dcell = np.zeros_like(cells[0]) if dc is None else np.array(dc, order="C")
        how = (clip_c, clip_r, kernels.threads())
        kernels.lstm_backward(gates, cells, states, wh, wp, steps, *how, dstates, dcell)
        dz = gates  # the kernel has written dz over them
        dx = np.empty_like(xs) if x.requires_grad else nothing
        dw_ih = gradient_like(w_ih)
        dw_hh = gradient_like(w_hh)
        dbias = no_bias if bias is None else gradient_like(bias)
        _product_gradients(dz, xs, wi, dx, dw_ih, dbias)
        _product_gradients(dz, states[:-1], wh, nothing, dw_hh, no_bias)
        grads = [dx[turn] if x.requires_grad else None, dw_ih, dw_hh]
        if bias is not None:
            grads.append(dbias)
        if projection is not None:
            dprojection = gradient_like(projection)
            _product_gradients(dstates[1:], hidden, wp, nothing, dprojection, no_bias)
            grads.append(dprojection)
        if start:
            grads += [dstates[0], dcell]
        return tuple(grads)

    given = [each for each in (x, w_ih, w_hh, bias, projection) if each is not None]
    results = (out[turn], states[-1], cells[-1])
    out, h_n, c_n = record_several("lstm", results, (*given, *start), vjp)
    return out, (h_n, c_n)
