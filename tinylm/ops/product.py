"""Matrix products: matmul as NumPy has it, and linear, which finishes its rows in the same pass."""

import numpy as np

from tinylm import kernels
from tinylm.errors import ArgumentError, ShapeError
from tinylm.tensor import Tensor, gradient_like, record, unbroadcast

from .registry import (
    Operand,
    check_rate,
    contiguous,
    op,
    rows_of,
    same_dtype,
    tensor,
)


@op
def matmul(a: Operand, b: Operand) -> Tensor:
    """a @ b over the last two axes, the others broadcast; 1-D operands as in NumPy.
    da = dy bᵀ, db = aᵀ dy

    a : (..., N, K)   b : (..., K, M)   returns (..., N, M)
    raises ShapeError  if the inner sizes differ or the outer ones do not broadcast

    >>> matmul([[1, 2]], [[3], [4]]).item()
    11.0
    """
    a = tensor(a)
    b = tensor(b)
    try:
        y = a.data @ b.data
    except ValueError:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit; "
            "expected (..., N, K) @ (..., K, M)."
        ) from None

    def vjp(dy):
        left = a.data
        right = b.data
        if b.ndim == 1:
            right = right[:, None]  # (K,) -> (K,1)
            dy = np.expand_dims(dy, -1)  # (...,N) -> (...,N,1)
        if a.ndim == 1:
            left = left[None, :]  # (K,) -> (1,K)
            dy = np.expand_dims(dy, -2)  # (...,M) -> (...,1,M)
        da = dy @ right.swapaxes(-1, -2)
        db = left.swapaxes(-1, -2) @ dy
        da = unbroadcast(da, left.shape).reshape(a.shape)
        db = unbroadcast(db, right.shape).reshape(b.shape)
        return da, db

    return record("matmul", y, (a, b), vjp)


_EMPTY = {}  # dtype -> empty vector and matrix, which stand for an operand that is not given
for _dtype in (np.dtype(np.float32), np.dtype(np.float64)):
    _EMPTY[_dtype] = (np.empty(0, _dtype), np.empty((0, 0), _dtype))


def _check_linear(x, weight, bias, residual):
    """The shapes of linear's operands.   raises ShapeError"""
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: input {x.shape} and weight {weight.shape} do not fit; "
            "expected (..., C) and (O, C)."
        )
    outputs = len(weight)
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(
            f"linear: bias has shape {bias.shape}; "
            f"expected ({outputs},), one per row of the weight."
        )
    wanted = (*x.shape[:-1], outputs)
    if residual is not None and residual.shape != wanted:
        raise ShapeError(
            f"linear: residual has shape {residual.shape}; "
            f"expected {wanted}, the shape of the result."
        )


@op
def linear(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    activation: str | None = None,
    dropout: float = 0.0,
    key: int = 0,
    residual: Operand | None = None,
) -> Tensor:
    """residual + dropout(f(x Wᵀ + b)): a layer in one pass.
    dpre = dy·mask·f'(pre), dx = dpre W, dW = dpreᵀ x, db = Σ dpre

    x : (..., C)   weight : (O, C)   bias : (O,) or None   residual : (..., O) or None
    returns (..., O)
    activation : None, "relu", "gelu", "gelu_tanh", "tanh", "sigmoid" or "silu"
    dropout : rate in [0, 1)   key : uint64, see nn.Noise
    raises ShapeError  if shapes do not fit, ArgumentError  for another activation or a rate outside
        [0, 1)
    The first three arguments are PyTorch's; the others fuse what usually follows the product.

    >>> linear([[1.0, 2.0]], [[3.0, 4.0], [0.0, -1.0]], [0.5, 0.0], activation="relu")
    Tensor([[11.5  0. ]])
    """
    if activation not in kernels.ACTIVATIONS:
        raise ArgumentError(
            f"linear: activation is {activation!r}; expected one of {list(kernels.ACTIVATIONS)}."
        )
    x = tensor(x)
    weight = tensor(weight)
    bias = None if bias is None else tensor(bias)
    residual = None if residual is None else tensor(residual)
    rate = check_rate("linear", dropout)
    _check_linear(x, weight, bias, residual)
    same_dtype("linear", x, weight, bias, residual)
    act = kernels.ACTIVATIONS[activation]
    key = np.uint64(key)
    no_bias, nothing = _EMPTY[x.dtype]
    rows = rows_of(x.data)
    w = contiguous(weight.data)
    b = no_bias if bias is None else contiguous(bias.data)
    out = np.empty((len(rows), len(w)), x.dtype)
    added = nothing if residual is None else contiguous(residual.data).reshape(out.shape)
    slope = np.empty_like(out) if act else nothing  # f'(pre), which the forward leaves here
    kernels.linear(rows, w, b, added, act, rate, key, slope, out)

    def vjp(dy):
        dy = contiguous(dy)
        dout = dy.reshape(out.shape)
        dpre = np.empty_like(dout) if act or rate else nothing
        dx = np.empty_like(rows) if x.requires_grad else nothing
        dweight = gradient_like(weight)
        dbias = no_bias if bias is None else gradient_like(bias)
        kernels.linear_backward(dout, rows, w, slope, rate, key, dpre, dx, dweight, dbias)
        grads = [dx.reshape(x.shape) if x.requires_grad else None, dweight]
        if bias is not None:
            grads.append(dbias)
        if residual is not None:
            grads.append(dy)
        return tuple(grads)

    inputs = (x, weight)
    if bias is not None:
        inputs += (bias,)
    if residual is not None:
        inputs += (residual,)
    y = out.reshape(*x.shape[:-1], len(w))  # (N,O) -> (...,O)
    return record("linear", y, inputs, vjp)
