"""What every op shares: the registry that the property tests run over, and checks of arguments."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tinylm.arguments import id_array
from tinylm.errors import ArgumentError, ShapeError
from tinylm.tensor import Tensor

Operand = Tensor | ArrayLike  # what an op takes: a Tensor, or what can become a constant one

OPS: dict[str, Callable] = {}


def op(function: Callable) -> Callable:
    """Register a differentiable function by its name; a test demands a gradient check for each.

    >>> import tinylm.ops
    >>> OPS["exp"] is tinylm.ops.exp
    True
    """
    OPS[function.__name__] = function
    return function


def tensor(x: Operand, like: Tensor | None = None) -> Tensor:
    """x as a Tensor; a Python number or a list takes the dtype of `like`.

    >>> tensor(2.0, like=Tensor(np.ones(3))).dtype
    dtype('float64')
    """
    if isinstance(x, Tensor):
        return x
    if like is not None and not isinstance(x, np.ndarray):
        return Tensor(np.asarray(x, dtype=like.dtype))
    return Tensor(x)


def optional(x: Operand | None) -> Tensor | None:
    """x as a Tensor, or None."""
    return None if x is None else tensor(x)


def pair(name: str, a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Two operands as Tensors whose shapes broadcast.

    raises ShapeError  naming the op and both shapes
    """
    a = tensor(a, like=b if isinstance(b, Tensor) else None)
    b = tensor(b, like=a)
    check_broadcast(name, a.shape, b.shape)
    return a, b


def check_broadcast(name: str, *shapes: tuple[int, ...]) -> None:
    """Refuse shapes that do not broadcast.   raises ShapeError naming the op and all of them

    >>> check_broadcast("add", (3, 2), (2,))  # silence: they do
    """
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        *first, last = (str(shape) for shape in shapes)
        raise ShapeError(
            f"{name}: shapes {', '.join(first)} and {last} do not broadcast; "
            "expected axes, aligned at the right, that are equal or 1."
        ) from None


def check_ids(name: str, ids: ArrayLike, size: int, what: str = "id") -> np.ndarray:
    """ids as a contiguous int64 array, every id in [0, size).

    what : the word for one of them in the error
    raises ShapeError  if ids are not integers, rows of one length, or one is out of range

    >>> check_ids("embedding", [2, 0, 3], 3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: embedding: id 3 is out of range; expected ids from 0 to 2.
    """
    ids = id_array(name, ids)
    if ids.dtype.kind not in "iu":
        raise ShapeError(
            f"{name}: ids have dtype {ids.dtype}; "
            "expected integers (plain NumPy arrays, not Tensors)."
        )
    # np.ascontiguousarray would turn a single id into an array with one axis
    known = np.asarray(ids, dtype=np.int64, order="C")
    # Without its sign a negative id is a huge one, so one pass finds both faults.
    if known.size and known.view(np.uint64).max() >= size:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ShapeError(
            f"{name}: {what} {wrong} is out of range; expected {what}s from 0 to {size - 1}."
        )
    return known if known.flags.writeable else known.copy()


def contiguous(x: np.ndarray) -> np.ndarray:
    """x as a C-contiguous, writable array: a kernel would compile anew for a read-only one."""
    if x.flags.carray and x.ndim:
        return x
    x = np.ascontiguousarray(x)
    return x if x.flags.writeable else x.copy()


def rows_of(x: np.ndarray) -> np.ndarray:
    """x (..., C) as contiguous rows (N, C) for a kernel; N or C may be 0."""
    if x.ndim == 2:
        return contiguous(x)
    return contiguous(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def check_rate(name: str, rate: float) -> float:
    """A probability of dropping as a float.   raises ArgumentError  if it is outside [0, 1)"""
    if not 0 <= rate < 1:
        raise ArgumentError(
            f"{name}: the dropout rate is {rate}; expected a probability in [0, 1)."
        )
    return float(rate)


def same_dtype(name: str, *tensors: Tensor | np.ndarray | None) -> None:
    """All operands of a kernel must be float32, or all float64; a None is passed over.

    raises ShapeError  naming the op and the dtypes
    """
    first = tensors[0].dtype
    for x in tensors:
        if x is not None and x.dtype != first:
            raise ShapeError(
                f"{name}: operands have dtypes {first} and {x.dtype}; convert them to one "
                "(model.astype, array.astype)."
            )
