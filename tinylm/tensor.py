"""The tape: a Tensor remembers how it was made; backward() walks that record back to the leaves.

    y = f(x₁, …, xₙ)   is recorded as   (f, (x₁, …, xₙ), vjp)

    vjp(dy) = (dy·∂y/∂x₁, …, dy·∂y/∂xₙ)      vector-Jacobian products: the chain rule at one op

Read `_walk` first: it is all of backpropagation. How gradients add up is in `gradients.py`. The
operators (`+`, `@`, …) are attached by `tinylm.ops`, the floor above.

>>> import tinylm.ops
>>> x = Tensor(3.0, requires_grad=True)
>>> y = x * x + 2 * x
>>> y.backward()
>>> float(x.grad)  # 2x + 2
8.0
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .errors import ShapeError, TinylmError
from .gradients import Gradients, Parts, Rows, gradient_like, unbroadcast

__all__ = [
    "Node",
    "Parts",
    "Rows",
    "Tensor",
    "gradient_like",
    "is_grad_enabled",
    "no_grad",
    "record",
    "record_several",
    "unbroadcast",
]


class _Local(threading.local):
    """Whether this thread records; each thread has its own answer, at first True."""

    enabled = True


_local = _Local()


def is_grad_enabled() -> bool:
    """True unless this thread is inside `no_grad()`.

    >>> with no_grad():
    ...     print(is_grad_enabled())
    False
    """
    return _local.enabled


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing in this context and thread: evaluation needs no memory for a backward.

    >>> import tinylm.ops
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad():
    ...     print((x * 2).requires_grad)
    False
    """
    before = is_grad_enabled()
    _local.enabled = False
    try:
        yield
    finally:
        _local.enabled = before


class Node:
    """One recorded op: its name, its inputs, and its vjp, from dy to a gradient per input."""

    __slots__ = ("name", "inputs", "vjp")

    def __init__(self, name: str, inputs: Sequence[Tensor], vjp: Callable):
        self.name = name
        self.inputs = inputs
        self.vjp = vjp


class Tensor:
    """An array that remembers how it was computed, so that backward() can differentiate it.

    data : array-like         float32 and float64 arrays stay as they are, also those of another
                              Tensor; lists and other numbers become float32
    requires_grad : bool      True for a leaf whose `.grad` backward() should fill
    grad : array or None      of data's shape and dtype; accumulates over calls of backward()
    raises TinylmError        if data is not numeric

    >>> Tensor([1, 2])
    Tensor([1. 2.])
    >>> Tensor(np.ones((2, 3)), requires_grad=True).shape
    (2, 3)
    """

    __slots__ = ("data", "grad", "grad_home", "requires_grad", "node", "__weakref__")
    __array_ufunc__ = None  # for array + Tensor, NumPy then calls Tensor.__radd__

    def __init__(self, data: ArrayLike, requires_grad: bool = False):
        if isinstance(data, Tensor):
            data = data.data  # the same array; how it was computed is left behind
        is_ours = isinstance(data, np.ndarray) and data.dtype.char in "fd"
        self.data = data if is_ours else _numbers(data)
        self.requires_grad = requires_grad
        self.grad = None
        self.grad_home = None  # where the first gradient is put, see gradients.gradient_like
        self.node = None  # the record of the op that made this Tensor; None for a leaf

    shape = property(attrgetter("data.shape"), doc="Shape of the data.")
    dtype = property(attrgetter("data.dtype"), doc="float32 or float64.")
    ndim = property(attrgetter("data.ndim"), doc="Number of axes.")
    size = property(attrgetter("data.size"), doc="Number of elements.")

    def __eq__(self, other: object) -> np.ndarray:
        """Where the numbers equal those of another Tensor or array: a bool array, as NumPy has it.

        As a key of a dict or a member of a set, a Tensor is still itself and no other.
        raises ShapeError         if the shapes do not broadcast

        >>> Tensor([1, 2]) == 1
        array([ True, False])
        """
        found = other.data if isinstance(other, Tensor) else other
        try:
            return np.equal(self.data, found)
        except (TypeError, ValueError):
            pass
        if np.ndim(found) == 0:  # None or a text: no number equals it
            return np.zeros(self.shape, bool)
        raise ShapeError(
            f"==: shapes {self.shape} and {np.shape(found)} do not broadcast; expected axes, "
            "aligned at the right, that are equal or 1."
        )

    def __ne__(self, other: object) -> np.ndarray:
        """Where the numbers differ: not `==`."""
        return ~(self == other)

    __hash__ = object.__hash__

    def item(self) -> float:
        """The only element as a Python float.

        >>> Tensor([2.5]).item()
        2.5
        """
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The data as an array, not copied; the tape does not see what is done to it."""
        return self.data

    def detach(self) -> Tensor:
        """A Tensor of the same data without a history.

        >>> Tensor(1.0, requires_grad=True).detach().requires_grad
        False
        """
        return Tensor(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TinylmError(
                "A NumPy function was called on a Tensor that requires a gradient, which would be "
                "lost; use the function of the same name in tinylm.ops, or .numpy() if no gradient "
                "is wanted."
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def __setitem__(self, index: Any, value: Any):
        raise TinylmError(
            "A Tensor cannot be changed in place, because the backward pass needs the old values; "
            "build a new one with tinylm.ops.where, concatenate or stack "
            "(or change .data of a leaf)."
        )

    def __repr__(self) -> str:
        shown = np.array2string(self.data, precision=4, threshold=20, prefix="Tensor(")
        if self.node:
            return f"Tensor({shown}, made by {self.node.name})"
        if self.requires_grad:
            return f"Tensor({shown}, requires_grad=True)"
        return f"Tensor({shown})"

    def backward(self, grad: ArrayLike | None = None) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this tensor was made from.

        grad : the gradient of the loss in self, an array of self's shape; None is 1, if self is a
            single number
        raises ShapeError    if self has several elements and no grad is given, or grad has another
            shape
        raises TinylmError   if nothing was recorded, or an earlier backward freed the record

        >>> import tinylm.ops
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).backward([1.0, 10.0])
        >>> x.grad.tolist()
        [2.0, 40.0]
        """
        if not self.requires_grad:
            raise TinylmError(
                "backward() was called on a Tensor that no leaf with requires_grad=True led to "
                "(or that was computed under no_grad()); there is nothing to differentiate."
            )
        if grad is None and self.size != 1:
            raise ShapeError(
                "backward() without an argument needs a single number, but this Tensor has shape "
                f"{self.shape}; reduce it first (.sum(), .mean()) or pass grad of that shape."
            )
        if grad is None:
            seed = np.ones(self.shape, self.dtype)
        else:
            seed = np.array(grad, self.dtype)
        if seed.shape != self.shape:
            raise ShapeError(f"backward(grad): grad has shape {seed.shape}, expected {self.shape}.")
        _walk(self, seed)


def _numbers(data):
    """What is no array of ours as one: NumPy's own floats keep their dtype."""
    array = np.asarray(data)
    if array.dtype.char in "fd" and isinstance(data, np.generic):
        return array
    if array.dtype.kind not in "fiub":
        raise TinylmError(
            f"A Tensor holds numbers, but the data has dtype {array.dtype}; "
            "pass an array of floats."
        )
    return array.astype(np.float32)


def record(name: str, data: np.ndarray, inputs: tuple[Tensor, ...], vjp: Callable) -> Tensor:
    """The result of an op as a Tensor, with its record if an input requires a gradient.

    vjp : dy -> a tuple with one array, Rows or None per input. Leave broadcast axes as they are:
        the tape sums over them, with `unbroadcast`.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> y = record("triple", x.data * 3, (x,), lambda dy: (dy * 3,))
    >>> y
    Tensor(6., made by triple)
    >>> y.backward()
    >>> float(x.grad)
    3.0
    """
    out = Tensor(data)
    for x in inputs:
        if x.requires_grad:
            if is_grad_enabled():
                out.requires_grad = True
                out.node = Node(name, inputs, vjp)
            break
    return out


def record_several(
    name: str, arrays: Sequence[np.ndarray], inputs: tuple[Tensor, ...], vjp: Callable
) -> tuple[Tensor, ...]:
    """The results of an op with several outputs; all of them come from one record.

    vjp : takes one gradient per output, None for an output that was not used; returns a tuple as in
        `record`

    >>> import tinylm.ops
    >>> x = Tensor([3.0, 5.0], requires_grad=True)
    >>> halves = (x.data[:1], x.data[1:])
    >>> first, second = record_several("halves", halves, (x,), lambda a, b: (np.append(a, b),))
    >>> (first * second).backward()
    >>> x.grad.tolist()
    [5.0, 3.0]
    """
    # An empty Tensor stands for all outputs together. Each output is a part of it, so that their
    # gradients meet there, as Parts, before vjp runs once.
    nothing = np.empty(0, arrays[0].dtype)
    whole = record(name, nothing, inputs, lambda parts: vjp(*parts.values))

    def output(i):
        def part(dy):
            values = [None] * len(arrays)
            values[i] = dy
            return (Parts(values),)

        return record(f"{name}[{i}]", arrays[i], (whole,), part)

    return tuple(output(i) for i in range(len(arrays)))


def _walk(root, seed):
    """Send `seed` from the root through every record to the leaves; free each record after use."""
    gradients = Gradients()
    gradients.add(root, seed, "backward")
    if root.node is None:  # a leaf: the seed is its gradient
        return
    order = _order(root)
    if any(tensor.node.vjp is None for tensor in order):
        raise TinylmError(
            "backward() reached a result whose record was freed by an earlier backward(); "
            "compute the loss again, or add the losses and call backward() once."
        )
    while order:
        tensor = order.pop()
        node = tensor.node
        inputs = node.inputs
        dy = gradients.take(tensor)
        dxs = ()
        if dy is not None:  # None: no op passed a gradient to it
            gradients.prepare(inputs)
            dxs = list(zip(inputs, node.vjp(dy), strict=True))
        node.inputs = None
        node.vjp = None
        for x, dx in dxs:
            if dx is not None and x.requires_grad:
                gradients.add(x, dx, node.name)


def _order(root):
    """Tensors that have a record, each after its inputs: a topological sort.

    A loop, not a recursion, because chains may be 100,000 ops long. A freed record has no inputs.
    """
    order = []
    seen = {id(root)}
    stack = [(root, iter(root.node.inputs or ()))]
    while stack:
        tensor, inputs = stack[-1]
        for x in inputs:
            if x.node is not None and id(x) not in seen:
                seen.add(id(x))
                stack.append((x, iter(x.node.inputs or ())))
                break
        else:
            order.append(tensor)
            stack.pop()
    return order
