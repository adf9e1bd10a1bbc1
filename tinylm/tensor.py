"""The tape: a Tensor remembers how it was made, and backward() walks that record from the loss to the leaves.

    y = f(x₁, …, xₙ)  is recorded as  (f, (x₁, …, xₙ), vjp)      vjp(dy) = (dy·∂y/∂x₁, …, dy·∂y/∂xₙ)

Operators (`+`, `@`, …) are attached by `tinylm.ops`, the floor above.
"""

import threading
from contextlib import contextmanager

import numpy as np

from .errors import ShapeError, TinylmError
from .kernels import embedding_scatter


class _Local(threading.local):
    enabled = True


_local = _Local()


def is_grad_enabled():
    """True unless this thread is inside `no_grad()`."""
    return _local.enabled


@contextmanager
def no_grad():
    """Within this context nothing is recorded (in this thread): evaluation needs no memory for a backward."""
    before = is_grad_enabled()
    _local.enabled = False
    try:
        yield
    finally:
        _local.enabled = before


class Node:
    """One recorded op: its name, its input tensors, and the function from dy to one gradient (or None) per input."""

    __slots__ = ("name", "inputs", "vjp")

    def __init__(self, name, inputs, vjp):
        self.name, self.inputs, self.vjp = name, inputs, vjp


class Rows:
    """A gradient that is zero except in some rows: `values[n]` belongs to row `ids[n]`, repeated ids add up.

    ids : (N,) int64     values : (N, C) float     An embedding returns it, so that a large table costs only its rows.
    """

    __slots__ = ("ids", "values")

    def __init__(self, ids, values):
        self.ids, self.values = ids, values

    def add_to(self, total):
        """total[ids[n]] += values[n], in place; total is (V, C) and contiguous."""
        embedding_scatter(self.values, self.ids, total)

    def dense(self, shape):
        """The same gradient as an array of `shape`."""
        total = np.zeros(shape, self.values.dtype)
        self.add_to(total)
        return total


class Parts:
    """The gradient of an op with several outputs: `values` has one array per output, None where none has come yet."""

    __slots__ = ("values",)

    def __init__(self, values):
        self.values = values

    def added(self, other):
        """Both together, as new Parts."""
        pairs = zip(self.values, other.values, strict=True)
        return Parts([b if a is None else a if b is None else a + b for a, b in pairs])


class Tensor:
    """An array that can be differentiated with respect to.

    data : array-like          float32 and float64 arrays are kept as they are, lists and other numbers become float32
    requires_grad : bool       True for a leaf whose `.grad` backward() should fill
    grad : array or None       of data's shape and dtype; accumulates over calls of backward()
    raises TinylmError         when data is not numeric
    """

    __slots__ = ("data", "grad", "grad_home", "requires_grad", "node", "name", "__weakref__")
    __array_ufunc__ = None  # array + Tensor asks the Tensor

    def __init__(self, data, requires_grad=False):
        array = data if isinstance(data, np.ndarray) else np.asarray(data)
        if array.dtype.char not in "fd" or not isinstance(data, np.ndarray | np.generic):
            if array.dtype.kind not in "fiub":
                raise TinylmError(
                    f"A Tensor holds numbers, but the data has dtype {array.dtype}; pass an array of floats."
                )
            array = array.astype(np.float32)
        self.data, self.grad, self.grad_home, self.node, self.name = array, None, None, None, None
        self.requires_grad = requires_grad

    shape = property(lambda self: self.data.shape, doc="Shape of the data.")
    dtype = property(lambda self: self.data.dtype, doc="float32 or float64.")
    ndim = property(lambda self: self.data.ndim, doc="Number of axes.")
    size = property(lambda self: self.data.size, doc="Number of elements.")

    def item(self):
        """The only element as a Python float."""
        return self.data.item()

    def numpy(self):
        """The data as an array (not a copy); nothing that is done to it is recorded."""
        return self.data

    def detach(self):
        """A Tensor of the same data that remembers no history."""
        return Tensor(self.data)

    def __len__(self):
        return len(self.data)

    def __float__(self):
        return float(self.data)

    def __bool__(self):
        return bool(self.data)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise TinylmError(
                "A NumPy function was called on a Tensor that requires a gradient, which would be lost; "
                "use the function of the same name in tinylm.ops, or .numpy() if no gradient is wanted."
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def __setitem__(self, index, value):
        raise TinylmError(
            "A Tensor cannot be changed in place, because the backward pass needs the old values; "
            "build a new one with tinylm.ops.where, concatenate or stack (or change .data of a leaf)."
        )

    def __repr__(self):
        made = (
            f", made by {self.node.name}"
            if self.node
            else ", requires_grad=True"
            if self.requires_grad
            else ""
        )
        return f"Tensor({np.array2string(self.data, precision=4, threshold=20, prefix='Tensor(')}{made})"

    def backward(self, grad=None):
        """Add d(self)/d(leaf), contracted with `grad`, to the `.grad` of every leaf that this tensor came from.

        grad : array of self's shape, or None for 1 when self is a single number
        raises ShapeError    if self has several elements and no grad is given, or grad has another shape
        raises TinylmError   if nothing was recorded, or the record has been freed by an earlier backward
        """
        if not self.requires_grad:
            raise TinylmError(
                "backward() was called on a Tensor that no leaf with requires_grad=True led to "
                "(or that was computed under no_grad()); there is nothing to differentiate."
            )
        if grad is None and self.size != 1:
            raise ShapeError(
                f"backward() without an argument needs a single number, but this Tensor has shape "
                f"{self.shape}; reduce it first (.sum(), .mean()) or pass grad of that shape."
            )
        seed = np.ones(self.shape, self.dtype) if grad is None else np.array(grad, self.dtype)
        if seed.shape != self.shape:
            raise ShapeError(f"backward(grad): grad has shape {seed.shape}, expected {self.shape}.")
        _walk(self, seed)


def record(name, data, inputs, vjp):
    """The Tensor of `data`; remembers (name, inputs, vjp) if gradients are wanted.

    inputs : tuple of Tensors     vjp : dy -> tuple with one array, Rows or None per input; broadcast axes need not be
    summed, that happens in `unbroadcast` alone
    """
    out = Tensor(data)
    for x in inputs:
        if x.requires_grad:
            if is_grad_enabled():
                out.requires_grad, out.node = True, Node(name, inputs, vjp)
            break
    return out


def record_several(name, arrays, inputs, vjp):
    """A Tensor for each of an op's several outputs; all of them come from one record.

    vjp : one gradient per output, None where an output was not used -> what the vjp of `record` returns
    """
    whole = record(name, np.empty(0, arrays[0].dtype), inputs, lambda parts: vjp(*parts.values))

    def output(i):
        return record(
            f"{name}[{i}]",
            arrays[i],
            (whole,),
            lambda dy: (Parts([dy if k == i else None for k in range(len(arrays))]),),
        )

    return tuple(output(i) for i in range(len(arrays)))


def gradient_like(x):
    """An array for the whole gradient of x, which a vjp may fill and return.

    Where x is a leaf whose optimiser gave it a place in a flat buffer, and this is its first gradient, it is that place:
    what an op writes there need not be copied.
    """
    free = x.node is None and x.grad is None and x.grad_home is not None
    return x.grad_home if free else np.empty(x.shape, x.dtype)


def unbroadcast(grad, shape):
    """Sum `grad` over the axes along which an input of `shape` was broadcast: returns an array of `shape`."""
    if grad.shape == shape:
        return grad
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape)))) if grad.ndim > len(shape) else grad
    stretched = tuple(axis for axis, n in enumerate(shape) if n == 1 and grad.shape[axis] != 1)
    return grad.sum(axis=stretched, keepdims=True) if stretched else grad


def _order(root):
    """Tensors with a record, every one after its inputs. A loop, not a recursion: chains may be 100,000 ops long."""
    order, seen, stack = [], {id(root)}, [(root, iter(root.node.inputs or ()))]
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


def _walk(root, seed):
    """Send `seed` from the root through every record to the leaves, freeing each record once it has been used."""
    if root.node is None:
        return _add_to_leaf(root, seed)
    order, pending = _order(root), {id(root): (seed, True)}
    if any(tensor.node.vjp is None for tensor in order):
        raise TinylmError(
            "backward() reached a result whose record was freed by an earlier backward(); "
            "compute the loss again, or add the losses and call backward() once."
        )
    while order:
        tensor = order.pop()
        grad, _ = pending.pop(id(tensor), (None, None))
        node, inputs = tensor.node, tensor.node.inputs
        _open_repeated(inputs)
        pairs = list(zip(inputs, node.vjp(grad), strict=True)) if grad is not None else []
        node.inputs, node.vjp = None, None
        for x, dx in pairs:
            if dx is None or not x.requires_grad:
                continue
            dx = _fit(node.name, dx, x)
            if x.node is None:
                _add_to_leaf(x, dx)
            else:
                _add_to_interior(pending, x, dx)


def _open_repeated(inputs):
    """A leaf that is an input twice begins with zeros: its two gradients could not both be written in its place."""
    if len(set(map(id, inputs))) < len(inputs):
        for x in inputs:
            if x.node is None and x.requires_grad and x.grad is None and inputs.count(x) > 1:
                x.grad = gradient_like(x)
                x.grad[...] = 0


def _fit(name, dx, x):
    """dx in the shape and dtype of x; an op that returns anything else is reported by its name."""
    if isinstance(dx, Parts):
        return dx
    if isinstance(dx, Rows):
        return dx if x.node is None else dx.dense(x.shape)
    dx = unbroadcast(dx, x.shape)
    if dx.shape != x.shape:
        raise ShapeError(
            f"{name}: its vjp returned a gradient of shape {dx.shape} for an input of shape {x.shape}."
        )
    return dx if dx.dtype == x.dtype else dx.astype(x.dtype)


def _add_to_leaf(leaf, dx):
    """leaf.grad += dx. The first gradient is copied, into the leaf's place in a flat buffer if an optimiser gave it one."""
    if leaf.grad is None:
        leaf.grad = gradient_like(leaf)
        if dx is leaf.grad:
            return
        leaf.grad[...] = 0 if isinstance(dx, Rows) else dx
        if not isinstance(dx, Rows):
            return
    if isinstance(dx, Rows):
        dx.add_to(leaf.grad)
    else:
        leaf.grad += dx


def _add_to_interior(pending, x, dx):
    """pending[x] += dx; an array is added to in place only if this walk made it (a vjp may return dy itself)."""
    if id(x) not in pending:
        pending[id(x)] = (dx, False)
        return
    total, ours = pending[id(x)]
    if isinstance(dx, Parts):
        pending[id(x)] = (total.added(dx), True)
        return
    pending[id(x)] = (
        np.add(total, dx, out=total if ours and total.ndim else None),
        True,
    )  # 0-d sums are NumPy scalars
