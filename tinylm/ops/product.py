"""Matrix products: matmul as NumPy has it, and linear, which finishes its rows in the same pass."""

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..tensor import gradient_like, record, unbroadcast
from .registry import check_rate, contiguous, op, rows_of, same_dtype, tensor


@op
def matmul(a, b):
    """a @ b over the last two axes, the others broadcast; 1-D operands as in NumPy.   da = dy bᵀ, db = aᵀ dy

    a : (..., N, K)   b : (..., K, M)   returns (..., N, M)
    raises ShapeError  if the inner sizes differ or the outer ones do not broadcast
    """
    a, b = tensor(a), tensor(b)
    try:
        y = a.data @ b.data
    except ValueError:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit; expected (..., N, K) @ (..., K, M)."
        ) from None

    def vjp(dy):
        left = a.data[None, :] if a.ndim == 1 else a.data  # (K,) -> (1,K)
        right = b.data[:, None] if b.ndim == 1 else b.data  # (K,) -> (K,1)
        dy = np.expand_dims(dy, -1) if b.ndim == 1 else dy  # (...,N) -> (...,N,1)
        dy = np.expand_dims(dy, -2) if a.ndim == 1 else dy  # (...,M) -> (...,1,M)
        da, db = dy @ right.swapaxes(-1, -2), left.swapaxes(-1, -2) @ dy
        return unbroadcast(da, left.shape).reshape(a.shape), unbroadcast(db, right.shape).reshape(
            b.shape
        )

    return record("matmul", y, (a, b), vjp)


_NONE = {np.dtype(t): (np.empty(0, t), np.empty((0, 0), t)) for t in (np.float32, np.float64)}


def _check_linear(x, weight, bias, residual):
    """The shapes of linear's operands.   raises ShapeError"""
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: input {x.shape} and weight {weight.shape} do not fit; expected (..., C) and (O, C)."
        )
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ShapeError(
            f"linear: bias has shape {bias.shape}; expected ({weight.shape[0]},), one per row of the weight."
        )
    wanted = (*x.shape[:-1], weight.shape[0])
    if residual is not None and residual.shape != wanted:
        raise ShapeError(
            f"linear: residual has shape {residual.shape}; expected {wanted}, the shape of the result."
        )


@op
def linear(x, weight, bias=None, activation=None, dropout=0.0, key=0, residual=None):
    """residual + dropout(f(x Wᵀ + b)): a layer in one pass.   dpre = dy·mask·f'(pre), dx = dpre W, dW = dpreᵀ x, db = Σ dpre

    x : (..., C)   weight : (O, C)   bias : (O,) or None   residual : (..., O) or None   returns (..., O)
    activation : None, "relu", "gelu", "gelu_tanh", "tanh" or "sigmoid"
    dropout : rate in [0, 1)   key : uint64, see nn.Noise
    raises ShapeError  if shapes do not fit, ArgumentError  for another activation or a rate outside [0, 1)
    """
    if activation not in kernels.ACTIVATIONS:
        raise ArgumentError(
            f"linear: activation is {activation!r}; expected one of {list(kernels.ACTIVATIONS)}."
        )
    x, weight, dropout = tensor(x), tensor(weight), check_rate("linear", dropout)
    bias, residual = (
        None if bias is None else tensor(bias),
        None if residual is None else tensor(residual),
    )
    _check_linear(x, weight, bias, residual)
    same_dtype("linear", x, weight, bias, residual)
    act, key = kernels.ACTIVATIONS[activation], np.uint64(key)
    flat, w, (none, empty) = rows_of(x.data), contiguous(weight.data), _NONE[x.dtype]
    out = np.empty((len(flat), len(w)), x.dtype)
    added = empty if residual is None else contiguous(residual.data).reshape(out.shape)
    slope = np.empty_like(out) if act else empty
    kernels.linear(
        flat,
        w,
        none if bias is None else contiguous(bias.data),
        added,
        act,
        dropout,
        key,
        slope,
        out,
    )

    def vjp(dy):
        dy = contiguous(dy)
        grad = dy.reshape(out.shape)
        dpre = np.empty_like(grad) if act or dropout else empty
        dx, dweight = np.empty_like(flat) if x.requires_grad else empty, gradient_like(weight)
        dbias = none if bias is None else gradient_like(bias)
        kernels.linear_backward(grad, flat, w, slope, dropout, key, dpre, dx, dweight, dbias)
        grads = (dx.reshape(x.shape) if x.requires_grad else None, dweight) + (
            () if bias is None else (dbias,)
        )
        return grads + (() if residual is None else (dy,))

    inputs = (
        (x, weight) + (() if bias is None else (bias,)) + (() if residual is None else (residual,))
    )
    return record("linear", out.reshape(*x.shape[:-1], len(w)), inputs, vjp)
