"""Where gradients add up: arrays, sparse rows, several outputs, and the slots of flat buffers.

The tape (`tensor.py`) walks the records; everything that it does with a gradient is here:

    unbroadcast      sums a gradient over the axes along which its input was repeated
    Rows             a gradient that is zero except in some rows of a table
    Parts            the gradients of an op with several outputs
    gradient_like    the array that an op may fill with a gradient
    Gradients        the sums of one backward walk

An optimiser keeps the gradients of all its parameters side by side in one flat buffer. The slot of
a parameter is its piece of that buffer, `Tensor.grad_home`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ShapeError
from .kernels import embedding_scatter

Tensor = Any  # tensor.Tensor, in annotations: tensor.py imports this file, not the reverse


class Rows:
    """A gradient that is zero except in some rows: `values[n]` belongs to row `ids[n]`.

    ids : (N,) int64     values : (N, C) float     Values of repeated ids add up.
    An embedding returns it, so that the gradient of a large table costs only the rows it used.

    >>> rows = Rows(np.array([1, 1, 0]), np.ones((3, 2)))
    >>> rows.dense((3, 2)).tolist()
    [[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]]
    """

    __slots__ = ("ids", "values")

    def __init__(self, ids: np.ndarray, values: np.ndarray):
        self.ids = ids
        self.values = values

    def add_to(self, total: np.ndarray) -> None:
        """total[ids[n]] += values[n], in place; total is (V, C) and contiguous."""
        embedding_scatter(self.values, self.ids, total)

    def dense(self, shape: tuple[int, ...]) -> np.ndarray:
        """The same gradient as an array of `shape`."""
        total = np.zeros(shape, self.values.dtype)
        self.add_to(total)
        return total


class Parts:
    """The gradients of an op's several outputs: one array each, or None where none has come yet."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[np.ndarray | None]):
        self.values = values

    def added(self, other: Parts) -> Parts:
        """The sum of both, as new Parts."""
        total = []
        for a, b in zip(self.values, other.values, strict=True):
            if a is None:
                total.append(b)
            elif b is None:
                total.append(a)
            else:
                total.append(a + b)
        return Parts(total)


def unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum `grad` over the axes along which an input of `shape` was broadcast.

    returns an array of `shape`

    >>> unbroadcast(np.ones((2, 3)), (3,)).tolist()  # a row was added to two rows
    [2.0, 2.0, 2.0]
    >>> unbroadcast(np.ones((2, 3)), (2, 1)).tolist()  # a column was added to three columns
    [[3.0], [3.0]]
    """
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)
    if added > 0:
        grad = grad.sum(axis=tuple(range(added)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    if stretched:
        grad = grad.sum(axis=stretched, keepdims=True)
    return grad


def gradient_like(x: Tensor) -> np.ndarray:
    """An uninitialised array for the whole gradient of x, which an op's vjp may fill and return.

    If x is a leaf with a slot in its optimiser's buffer and no gradient yet, return that slot; else
    a new array. A gradient that is written into its slot need not be copied there.
    """
    if x.node is None and x.grad is None and x.grad_home is not None:
        return x.grad_home
    return np.empty(x.shape, x.dtype)


class Gradients:
    """The gradients of one backward walk: `.grad` of leaves, and sums that wait for their op."""

    def __init__(self):
        self.waiting = {}  # id of an interior tensor -> its gradient so far
        self.ours = set()  # ids of those whose array this walk made, and so may change

    def prepare(self, inputs: Sequence[Tensor]) -> None:
        """Prepare for the gradients of an op's inputs, before its vjp runs.

        A leaf that is an input twice starts from zeros. Without that the vjp would write both of
        its gradients into its one slot.
        """
        if len(set(map(id, inputs))) == len(inputs):
            return
        for x in inputs:
            new_leaf = x.node is None and x.requires_grad and x.grad is None
            if new_leaf and sum(y is x for y in inputs) > 1:
                x.grad = gradient_like(x)
                x.grad[...] = 0

    def add(self, x: Tensor, dx: np.ndarray | Rows | Parts, name: str) -> None:
        """Add dx, which the op `name` returned, to the gradient of x."""
        if type(dx) is not np.ndarray or dx.shape != x.shape or dx.dtype != x.dtype:
            dx = _fitted(x, dx, name)
        if x.node is None:
            _add_to_leaf(x, dx)
        else:
            self._add_to_interior(x, dx)

    def take(self, x: Tensor) -> np.ndarray | Parts | None:
        """Remove and return the gradient of an interior tensor; None if nothing was added to it."""
        return self.waiting.pop(id(x), None)

    def _add_to_interior(self, x, dx):
        """Add dx to the sum that waits for the op that made x.

        The first gradient is kept as it is and never changed, because it may be another op's dy.
        """
        key = id(x)
        if key not in self.waiting:
            self.waiting[key] = dx
            return
        total = self.waiting[key]
        if isinstance(dx, Parts):
            self.waiting[key] = total.added(dx)
        elif key in self.ours and total.ndim:  # a sum of 0-d arrays is a NumPy scalar
            np.add(total, dx, out=total)
        else:
            self.waiting[key] = total + dx
            self.ours.add(key)


def _fitted(x, dx, name):
    """dx in the shape and dtype of x; the error names the op that returned another shape."""
    if isinstance(dx, Parts):
        return dx
    if isinstance(dx, Rows):
        return dx if x.node is None else dx.dense(x.shape)
    dx = unbroadcast(dx, x.shape)
    if dx.shape != x.shape:
        raise ShapeError(
            f"{name}: its vjp returned a gradient of shape {dx.shape} "
            f"for an input of shape {x.shape}."
        )
    return dx if dx.dtype == x.dtype else dx.astype(x.dtype)


def _add_to_leaf(leaf, dx):
    """leaf.grad += dx; the first gradient is copied, into the leaf's slot if it has one.

    There is nothing to copy if the vjp has written dx into the slot itself, see `gradient_like`.
    """
    first = leaf.grad is None
    if first:
        leaf.grad = gradient_like(leaf)
    if isinstance(dx, Rows):
        if first:
            leaf.grad[...] = 0
        dx.add_to(leaf.grad)
    elif not first:
        leaf.grad += dx
    elif dx is not leaf.grad:
        leaf.grad[...] = dx
