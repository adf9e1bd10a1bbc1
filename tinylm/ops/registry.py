"""What every op shares: the registry that the property tests run over, and the checks of arguments."""

import math

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor

OPS: dict[str, "callable"] = {}


def op(function):
    """Register a differentiable function by its name; a test demands a gradient property for each."""
    OPS[function.__name__] = function
    return function


def tensor(x, like=None):
    """x as a Tensor; a Python number or a list takes the dtype of `like`."""
    if isinstance(x, Tensor):
        return x
    if like is not None and not isinstance(x, np.ndarray):
        return Tensor(np.asarray(x, dtype=like.dtype))
    return Tensor(x)


def pair(name, a, b):
    """Two operands as Tensors whose shapes broadcast.

    raises ShapeError  naming the op and both shapes
    """
    a = tensor(a, like=b if isinstance(b, Tensor) else None)
    b = tensor(b, like=a)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(
            f"{name}: shapes {a.shape} and {b.shape} do not broadcast; expected axes, aligned at the right, "
            "that are equal or 1."
        ) from None
    return a, b


def check_ids(name, ids, size):
    """ids as a contiguous int64 array, every id in [0, size).

    raises ShapeError  if ids are not integers or one is out of range
    """
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise ShapeError(
            f"{name}: ids have dtype {ids.dtype}; expected integers (plain NumPy arrays, not Tensors)."
        )
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ShapeError(f"{name}: id {wrong} is out of range; expected ids from 0 to {size - 1}.")
    ids = np.asarray(
        ids, dtype=np.int64, order="C"
    )  # ascontiguousarray would give a single id an axis
    return ids if ids.flags.writeable else ids.copy()


def contiguous(x):
    """x as a C-contiguous array that a kernel may be given (a read-only array would compile the kernel anew)."""
    x = np.ascontiguousarray(x)
    return x if x.flags.writeable else x.copy()


def rows_of(x):
    """x (..., C) as a C-contiguous array of rows (N, C) that a kernel may be given, also where N or C is 0."""
    return contiguous(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def check_rate(name, rate):
    """A probability of dropping as a float.   raises ArgumentError  if it is outside [0, 1)"""
    if not 0 <= rate < 1:
        raise ArgumentError(
            f"{name}: the dropout rate is {rate}; expected a probability in [0, 1)."
        )
    return float(rate)


def same_dtype(name, *tensors):
    """All operands of a kernel must be float32, or all float64.

    raises ShapeError  naming the op and the dtypes
    """
    first = tensors[0].dtype
    for x in tensors:
        if x is not None and x.dtype != first:
            raise ShapeError(
                f"{name}: operands have dtypes {first} and {x.dtype}; convert them to one "
                "(model.astype, array.astype)."
            )
