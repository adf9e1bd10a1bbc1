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
    batch = x.shape[1]
    size = w_hh.shape[0] // 4  # H
    width = w_hh.shape[1]  # P
    wanted = [
        ("weight_ih", w_ih, (4 * size, x.shape[2])),
        ("weight_hh", w_hh, (4 * size, width)),
        ("bias", bias, (4 * size,)),
        ("projection", projection, (width, size)),
        ("mask", mask, x.shape[:2]),
    ]
    if state is not None:
        wanted.append(("h_0", state[0], (batch, width)))
        wanted.append(("c_0", state[1], (batch, size)))
    for name, given, shape in wanted:
        if given is not None and given.shape != shape:
            raise ShapeError(
                f"lstm: {name} has shape {given.shape}; expected {shape} beside x {x.shape} "
                f"and weight_hh {w_hh.shape}."
            )
    if projection is None and width != size:
        raise ShapeError(
            f"lstm: weight_hh has shape {w_hh.shape}; expected (4H, H) without a projection."
        )


def _input_product(x, w_ih, bias):
    """x W_ihᵀ + b for all steps at once.   (T, B, C) -> (T, B, 4H)"""
    length, batch, width = x.shape
    gates = np.empty((length, batch, len(w_ih)), x.dtype)
    rows = x.reshape(-1, width)
    out = gates.reshape(-1, len(w_ih))
    nothing = np.empty((0, 0), x.dtype)
    kernels.linear(rows, w_ih, bias, nothing, 0, 0.0, np.uint64(0), nothing, out)
    return gates


def _product_gradients(dz, x, weight, dx, dweight, dbias):
    """dx = dz W, dW = dzᵀ x, db = Σ dz over all steps; an empty dx or dbias is left out."""
    nothing = np.empty((0, 0), dz.dtype)
    width = x.shape[2]
    kernels.linear_backward(
        dz.reshape(-1, dz.shape[2]),
        x.reshape(-1, width),
        weight,
        nothing,
        0.0,
        np.uint64(0),
        nothing,
        dx.reshape(-1, width) if dx.size else nothing,
        dweight,
        dbias,
    )


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
    real = steps[:, :, None]
    clip_cell, clip_projection = [float(limit) for limit in clip]

    no_bias = np.empty(0, x.dtype)
    nothing = np.empty((0, 0), x.dtype)
    xs = contiguous(x.data[turn])
    wi = contiguous(w_ih.data)
    wh = contiguous(w_hh.data)
    wp = nothing if projection is None else contiguous(projection.data)
    b = no_bias if bias is None else contiguous(bias.data)

    length, batch, _ = x.shape
    size = len(wi) // 4
    hidden = np.empty((length, batch, size), x.dtype)
    cells = np.zeros((length + 1, batch, size), x.dtype)
    states = np.zeros((length + 1, batch, wh.shape[1]), x.dtype)
    if start:
        states[0] = start[0].data
        cells[0] = start[1].data
    gates = _input_product(xs, wi, b)
    kernels.lstm(gates, wh, wp, steps, clip_cell, clip_projection, cells, hidden, states)
    out = states[1:] if mask is None else np.where(real, states[1:], 0)

    def vjp(dout, dh, dc):
        dstates = np.zeros_like(states)
        if dout is not None:
            dstates[1:] = dout[turn] if mask is None else np.where(real, dout[turn], 0)
        if dh is not None:
            dstates[-1] += dh
        dcell = np.zeros_like(cells[0]) if dc is None else np.array(dc, order="C")
        kernels.lstm_backward(
            gates, cells, states, wh, wp, steps, clip_cell, clip_projection, dstates, dcell
        )
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
