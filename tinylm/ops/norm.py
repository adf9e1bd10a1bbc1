"""What keeps training steady: layer norm, batch norm and dropout."""

from collections.abc import Sequence

import numpy as np

from tinylm import kernels
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor, gradient_like, record

from .registry import Operand, check_rate, contiguous, op, rows_of, same_dtype, tensor


@op
def layer_norm(
    x: Operand,
    shape: int | Sequence[int],
    weight: Operand,
    bias: Operand,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean)/√(var + ε)·w + b over the last axis.   gradients: kernels/layer_norm.py

    x : (..., C)   shape : C or (C,)   weight, bias : (C,)   returns (..., C)
    raises ShapeError  if they do not fit
    Source: Ba et al. 2016. Differs from PyTorch: the normalised shape has one axis, and weight and
    bias must be given.

    >>> layer_norm([[1.0, 3.0]], 2, [1.0, 1.0], [0.0, 10.0])
    Tensor([[-1. 11.]])
    """
    x = tensor(x)
    weight = tensor(weight)
    bias = tensor(bias)
    width = shape if isinstance(shape, int | np.integer) else shape[0]
    wanted = (width,)
    fits = x.shape[-1:] == weight.shape == bias.shape == wanted
    if not fits:
        raise ShapeError(
            f"layer_norm: input {x.shape}, weight {weight.shape} and bias {bias.shape} do not fit "
            f"shape {shape}; expected (..., {width}), {wanted} and {wanted}."
        )
    same_dtype("layer_norm", x, weight, bias)
    rows = rows_of(x.data)
    w = contiguous(weight.data)
    b = contiguous(bias.data)
    mean = np.empty(len(rows), x.dtype)
    rstd = np.empty(len(rows), x.dtype)
    out = np.empty_like(rows)
    kernels.layer_norm(rows, w, b, eps, mean, rstd, out)

    def vjp(dy):
        dx = np.empty_like(rows)
        dweight = gradient_like(weight)
        dbias = gradient_like(bias)
        kernels.layer_norm_backward(rows_of(dy), rows, w, mean, rstd, dx, dweight, dbias)
        return dx.reshape(x.shape), dweight, dbias

    return record("layer_norm", out.reshape(x.shape), (x, weight, bias), vjp)


@op
def batch_norm(
    x: Operand,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    weight: Operand,
    bias: Operand,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """x̂·w + b, x̂ = (x − mean)/√(var + ε) over the rows.   dw = Σ dy·x̂, db = Σ dy

        training:     dx = (g − mean g − x̂·mean(g·x̂))/√(var + ε)     g = dy·w
        evaluation:   dx = g/√(var + ε)

    x : (N, C)   weight, bias : (C,)   returns (N, C)
    running_mean, running_var : arrays (C,). Evaluation normalises with them; they are constants for
        the gradient. Training normalises with the batch's own mean and variance, and moves the
        running ones towards these by the share `momentum`, in place (the variance over n − 1).
    raises ShapeError  if they do not fit, or a batch to train on has fewer than two rows
    Source: Ioffe & Szegedy 2015; as PyTorch's on (N, C).

    >>> mean, var, one, zero = np.zeros(1), np.ones(1), np.ones(1), np.zeros(1)
    >>> y = batch_norm(np.array([[1.0], [3.0]]), mean, var, one, zero, training=True, eps=0.0)
    >>> y.numpy().ravel(), mean  # the running mean moves a tenth of the way to 2
    (array([-1.,  1.]), array([0.2]))
    """
    x = tensor(x)
    weight = tensor(weight)
    bias = tensor(bias)
    per_channel = (weight, bias, running_mean, running_var)
    if x.ndim != 2 or any([a.shape != x.shape[1:] for a in per_channel]):
        raise ShapeError(
            f"batch_norm: input {x.shape}, weight {weight.shape}, bias {bias.shape} "
            f"and running statistics {running_mean.shape}, {running_var.shape} do not fit; "
            "expected (N, C) and four times (C,)."
        )
    rows = len(x)
    if training and rows < 2:
        raise ShapeError(
            f"batch_norm: a batch of {rows} rows has no variance to train on; "
            "expected at least two."
        )
    same_dtype("batch_norm", x, *per_channel)
    if training:
        mean = x.data.mean(axis=0)
        var = x.data.var(axis=0)
        unbiased = var * (rows / (rows - 1))
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (unbiased - running_var)
    else:
        mean = running_mean
        var = running_var
    rstd = 1 / np.sqrt(var + eps)
    normal = (x.data - mean) * rstd

    def vjp(dy):
        g = dy * weight.data
        dweight = (dy * normal).sum(axis=0)
        dbias = dy.sum(axis=0)
        if training:
            along = (g * normal).mean(axis=0)
            g = g - g.mean(axis=0) - normal * along
        return g * rstd, dweight, dbias

    y = normal * weight.data + bias.data
    return record("batch_norm", y, (x, weight, bias), vjp)


@op
def dropout(x: Operand, rate: float, key: int, shared: Sequence[int] = ()) -> Tensor:
    """x·mask/(1 − rate), the mask drawn by the number `key`.   dx = dy·mask/(1 − rate)

    x : any shape, returns the same     rate : probability of zero, in [0, 1)
    key : a uint64, see nn.Noise: the same key draws the same mask
    shared : axes along which all positions share one mask: time for variational dropout, a table's
        columns to drop whole words
    raises ArgumentError  if the rate is outside [0, 1)
    Source: Srivastava et al. 2014; shared over time, Gal & Ghahramani 2016. Differs from PyTorch:
    `key` stands for the global random state, and rate 0 for `training=False`.

    >>> dropout(np.ones(8), 0.5, key=1)
    Tensor([0. 0. 0. 2. 0. 2. 2. 2.])
    """
    x = tensor(x)
    if check_rate("dropout", rate) == 0:
        return x
    key = np.uint64(key)

    def drop(array):
        out = np.empty(array.shape, array.dtype)
        kernels.dropout(contiguous(array).ravel(), key, rate, out.reshape(-1))
        return out

    axes = {axis % x.ndim for axis in shared}
    if not axes:
        return record("dropout", drop(x.data), (x,), lambda dy: (drop(dy),))
    mask_shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    mask = drop(np.ones(mask_shape, x.dtype))
    return record("dropout", x.data * mask, (x,), lambda dy: (dy * mask,))
