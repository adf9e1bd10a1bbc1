"""Reductions over axes, and the softmax family. `axis` is NumPy's: None, one integer or a tuple."""

import numpy as np

from tinylm import kernels
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor, record

from .elementary import square, sub
from .registry import Operand, op, rows_of, tensor

Axis = int | tuple[int, ...] | None


def _axes(name, x, axis):
    """The axes as a tuple of non-negative integers."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    exist = all([-x.ndim <= a < x.ndim for a in axes])
    different = exist and len({a % x.ndim for a in axes}) == len(axes)
    if not different:
        raise ShapeError(
            f"{name}: axis {axis} does not fit shape {x.shape}; "
            f"expected {-x.ndim} to {x.ndim - 1}, each once."
        )
    return tuple(a % x.ndim for a in axes)


def _kept(reduced, x, axes):
    """A reduced array with its axes back as size 1, so that it broadcasts against x."""
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return reduced.reshape(shape)


@op
def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Σ x over `axis`.   dx = dy, spread over the axis

    >>> sum([[1, 2], [3, 4]], axis=0)
    Tensor([4. 6.])
    """
    x = tensor(x)
    axes = _axes("sum", x, axis)
    y = x.data.sum(axis=axes, keepdims=keepdims)

    def vjp(dy):
        kept = _kept(dy, x, axes)
        return (np.broadcast_to(kept, x.shape),)

    return record("sum", y, (x,), vjp)


@op
def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis`.   dx = dy/n, spread over the axis

    >>> mean([[1, 2], [3, 4]]).item()
    2.5
    """
    x = tensor(x)
    axes = _axes("mean", x, axis)
    y = x.data.mean(axis=axes, keepdims=keepdims)
    share = np.asarray(y).size / (x.size or 1)  # 1/n

    def vjp(dy):
        kept = _kept(dy, x, axes) * share
        return (np.broadcast_to(kept, x.shape),)

    return record("mean", y, (x,), vjp)


def var(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Variance over `axis`: the mean of (x − mean)², shapes as in `mean`.

    As NumPy's. Differs from PyTorch: divided by n, not by n − 1.

    >>> var([1, 3]).item()
    1.0
    """
    deviation = sub(x, mean(x, axis, keepdims=True))
    return mean(square(deviation), axis, keepdims)


def _filled_axes(name, x, axis):
    """`_axes`, where a result needs an entry.   raises ShapeError if there is none"""
    axes = _axes(name, x, axis)
    if any(x.shape[i] == 0 for i in axes):
        raise ShapeError(
            f"{name}: the shape {x.shape} has no entry over axis {axis}; expected at least one."
        )
    return axes


def _extreme(name, x, axis, keepdims, choose):
    """The maximum or the minimum over `axis`, as `choose` (np.max or np.min) finds it."""
    x = tensor(x)
    axes = _filled_axes(name, x, axis)
    y = choose(x.data, axis=axes, keepdims=True)
    hit = x.data == y

    def vjp(dy):  # ties share the gradient equally
        ties = hit.sum(axis=axes, keepdims=True, dtype=x.dtype)
        part = _kept(dy, x, axes) / ties
        return (hit * part,)

    found = y if keepdims else y.squeeze(axes)
    return record(name, found, (x,), vjp)


@op
def max(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest entry over `axis`.   dx = dy at the maximum (shared equally among ties), else 0

    >>> max([[1, 5], [3, 2]], axis=1)
    Tensor([5. 3.])
    """
    return _extreme("max", x, axis, keepdims, np.max)


@op
def min(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest entry over `axis`.   dx = dy at the minimum (shared equally among ties), else 0"""
    return _extreme("min", x, axis, keepdims, np.min)


@op
def logsumexp(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log Σ eˣ over `axis`, without overflow.   dx = dy · softmax(x), and 0 where every x is −∞

    >>> logsumexp([1000.0, -1000.0]).item()
    1000.0
    """
    x = tensor(x)
    axes = _filled_axes("logsumexp", x, axis)
    top = x.data.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.exp(x.data - top).sum(axis=axes, keepdims=True)
    with np.errstate(divide="ignore"):
        y = top + np.log(total)

    def vjp(dy):
        softmax = np.exp(x.data - np.where(y == -np.inf, 0, y))
        return (_kept(dy, x, axes) * softmax,)

    found = y if keepdims else y.squeeze(axes)
    return record("logsumexp", found, (x,), vjp)


def _over_rows(name, x, axis, log):
    """softmax or log-softmax along one axis: move it to the end, do row by row, move it back."""
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
        dy = rows_of(np.moveaxis(dy, axes[0], -1))
        kernels.softmax_backward(dy, y, log, dx)
        return (back(dx),)

    return record(name, back(y), (x,), vjp)


@op
def softmax(x: Operand, axis: int = -1) -> Tensor:
    """e^x / Σ e^x along `axis` (probabilities).   dx = y·(dy − Σ y·dy)

    >>> softmax([0.0, 0.0])
    Tensor([0.5 0.5])
    """
    return _over_rows("softmax", x, axis, 0)


@op
def log_softmax(x: Operand, axis: int = -1) -> Tensor:
    """x − log Σ e^x along `axis` (log-probabilities in nats).   dx = dy − e^y·Σ dy"""
    return _over_rows("log_softmax", x, axis, 1)
