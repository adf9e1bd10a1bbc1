"""Reductions over axes, and the softmax family. `axis` is NumPy's: None, one integer or a tuple."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..tensor import record
from .elementary import square, sub
from .registry import op, rows_of, tensor


def _axes(name, x, axis):
    """The axes as a tuple of non-negative integers."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if any(not -x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) < len(axes):
        raise ShapeError(
            f"{name}: axis {axis} does not fit shape {x.shape}; expected -{x.ndim} to {x.ndim - 1}, each once."
        )
    return tuple(a % x.ndim for a in axes)


def _kept(reduced, x, axes):
    """A reduced array with its axes back as size 1, so that it broadcasts against x."""
    return reduced.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


@op
def sum(x, axis=None, keepdims=False):
    """Σ x over `axis`.   dx = dy, spread over the axis"""
    x = tensor(x)
    axes = _axes("sum", x, axis)
    return record(
        "sum",
        x.data.sum(axis=axes, keepdims=keepdims),
        (x,),
        lambda dy: (np.broadcast_to(_kept(dy, x, axes), x.shape),),
    )


@op
def mean(x, axis=None, keepdims=False):
    """Mean over `axis`.   dx = dy/n, spread over the axis"""
    x = tensor(x)
    axes = _axes("mean", x, axis)
    y = x.data.mean(axis=axes, keepdims=keepdims)
    share = np.asarray(y).size / (x.size or 1)
    return record(
        "mean", y, (x,), lambda dy: (np.broadcast_to(_kept(dy, x, axes) * share, x.shape),)
    )


def var(x, axis=None, keepdims=False):
    """Variance over `axis`, divided by n (not n − 1): the mean of (x − mean)², shapes as in `mean`."""
    return mean(square(sub(x, mean(x, axis, keepdims=True))), axis, keepdims)


def _extreme(name, x, axis, keepdims, choose):
    x = tensor(x)
    axes = _axes(name, x, axis)
    y = choose(x.data, axis=axes, keepdims=True)
    hit = x.data == y

    def vjp(dy):  # ties share the gradient equally
        return (hit * (_kept(dy, x, axes) / hit.sum(axis=axes, keepdims=True, dtype=x.dtype)),)

    return record(name, y if keepdims else y.squeeze(axes), (x,), vjp)


@op
def max(x, axis=None, keepdims=False):
    """Largest entry over `axis`.   dx = dy at the maximum (shared equally among ties), else 0"""
    return _extreme("max", x, axis, keepdims, np.max)


@op
def min(x, axis=None, keepdims=False):
    """Smallest entry over `axis`.   dx = dy at the minimum (shared equally among ties), else 0"""
    return _extreme("min", x, axis, keepdims, np.min)


@op
def logsumexp(x, axis=None, keepdims=False):
    """log Σ eˣ over `axis`, without overflow.   dx = dy · softmax(x)"""
    x = tensor(x)
    axes = _axes("logsumexp", x, axis)
    top = x.data.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    y = top + np.log(np.exp(x.data - top).sum(axis=axes, keepdims=True))
    return record(
        "logsumexp",
        y if keepdims else y.squeeze(axes),
        (x,),
        lambda dy: (_kept(dy, x, axes) * np.exp(x.data - y),),
    )


def _over_rows(name, x, axis, log):
    """softmax or log-softmax along one axis: moved to the end, done row by row, moved back."""
    x = tensor(x)
    axes = _axes(name, x, axis)
    if len(axes) != 1:
        raise ShapeError(f"{name}: axis is {axis}; expected one axis.")
    moved = np.moveaxis(x.data, axes[0], -1)
    rows = rows_of(moved)
    y = np.empty_like(rows)
    kernels.softmax(rows, log, y)

    def back(array):
        return np.moveaxis(array.reshape(moved.shape), -1, axes[0])

    def vjp(dy):
        dx = np.empty_like(y)
        kernels.softmax_backward(rows_of(np.moveaxis(dy, axes[0], -1)), y, log, dx)
        return (back(dx),)

    return record(name, back(y), (x,), vjp)


@op
def softmax(x, axis=-1):
    """e^x / Σ e^x along `axis` (probabilities).   dx = y·(dy − Σ y·dy)"""
    return _over_rows("softmax", x, axis, 0)


@op
def log_softmax(x, axis=-1):
    """x − log Σ e^x along `axis` (log-probabilities in nats).   dx = dy − e^y·Σ dy"""
    return _over_rows("log_softmax", x, axis, 1)
