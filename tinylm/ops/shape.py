"""Ops that move elements without changing them."""

import builtins
import math
from collections.abc import Sequence
from types import EllipsisType, NoneType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import ShapeError
from tinylm.tensor import Tensor, record

from .registry import Operand, op, tensor

BASIC = (slice, int, np.integer, NoneType, EllipsisType)  # an index of these picks nothing twice


@op
def reshape(x: Operand, *shape: int | Sequence[int]) -> Tensor:
    """x with another shape of the same size, one entry may be −1.   dx = dy in x's shape

    The shape may be one tuple or several numbers, as NumPy's and PyTorch's methods take it.
    raises ShapeError  if the sizes differ

    >>> reshape([1, 2, 3, 4], 2, -1).shape
    (2, 2)
    """
    x = tensor(x)
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = shape[0]
    try:
        y = x.data.reshape(shape)
    except ValueError:
        raise ShapeError(
            f"reshape: {x.size} elements of shape {x.shape} do not fill shape {tuple(shape)}."
        ) from None
    return record("reshape", y, (x,), lambda dy: (dy.reshape(x.shape),))


@op
def transpose(x: Operand, axes: Sequence[int] | None = None) -> Tensor:
    """x with its axes permuted (reversed when None).   dx = dy with the inverse permutation

    As NumPy's; PyTorch's transpose is `swapaxes` here.

    >>> transpose(np.zeros((2, 3, 5)), (1, 0, 2)).shape
    (3, 2, 5)
    """
    x = tensor(x)
    axes = tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)
    order = [axis % builtins.max(x.ndim, 1) for axis in axes]
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(
            f"transpose: axes {axes} are not a permutation of the {x.ndim} axes of shape {x.shape}."
        )
    inverse = np.argsort(order) if axes else ()
    y = x.data.transpose(axes)
    return record("transpose", y, (x,), lambda dy: (dy.transpose(inverse),))


@op
def swapaxes(x: Operand, a: int, b: int) -> Tensor:
    """x with axes a and b exchanged.   dx = dy with them exchanged back

    >>> swapaxes(np.zeros((2, 3, 5)), 0, -1).shape
    (5, 3, 2)
    """
    x = tensor(x)
    if not (-x.ndim <= a < x.ndim and -x.ndim <= b < x.ndim):
        raise ShapeError(f"swapaxes: axes {a} and {b} do not both exist in shape {x.shape}.")
    y = x.data.swapaxes(a, b)
    return record("swapaxes", y, (x,), lambda dy: (dy.swapaxes(a, b),))


@op
def broadcast_to(x: Operand, shape: Sequence[int]) -> Tensor:
    """x repeated along new axes and axes of size 1.   dx = dy summed over them

    >>> broadcast_to([1, 2], (2, 2)).numpy().tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    x = tensor(x)
    try:
        y = np.broadcast_to(x.data, shape)
    except ValueError:
        raise ShapeError(
            f"broadcast_to: shape {x.shape} cannot be stretched to {tuple(shape)}; "
            "expected axes, aligned at the right, that are equal or 1."
        ) from None
    return record("broadcast_to", y, (x,), lambda dy: (dy,))


def _joinable(name, tensors):
    """A non-empty sequence of Tensors."""
    tensors = tuple(tensor(x) for x in tensors)
    if not tensors:
        raise ShapeError(f"{name}: got an empty sequence; expected at least one Tensor.")
    return tensors


@op
def concatenate(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Tensors joined along an existing axis.   each gets its own slice of dy

    (..., A, ...) and (..., B, ...) -> (..., A + B, ...)
    raises ShapeError  for other sizes that differ

    >>> concatenate([[1, 2], [3]])
    Tensor([1. 2. 3.])
    """
    tensors = _joinable("concatenate", tensors)
    try:
        y = np.concatenate([x.data for x in tensors], axis)
    except ValueError:
        shapes = [x.shape for x in tensors]
        raise ShapeError(
            f"concatenate: shapes {shapes} must be equal except along axis {axis}."
        ) from None
    sizes = [x.shape[axis] for x in tensors]
    cuts = np.cumsum(sizes)[:-1]
    return record("concatenate", y, tensors, lambda dy: tuple(np.split(dy, cuts, axis)))


@op
def stack(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis.   each gets its own slice of dy

    n tensors (..., A) -> (n, ..., A) for axis 0     raises ShapeError  for shapes that differ

    >>> stack([[1, 2], [3, 4]], axis=1).numpy().tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    tensors = _joinable("stack", tensors)
    shapes = [x.shape for x in tensors]
    ndim = tensors[0].ndim
    if len(set(shapes)) > 1 or not -ndim - 1 <= axis <= ndim:
        raise ShapeError(
            f"stack: shapes {shapes} must be equal, and axis {axis} one of the result's."
        )
    y = np.stack([x.data for x in tensors], axis)
    return record("stack", y, tensors, lambda dy: tuple(np.moveaxis(dy, axis, 0)))


@op
def getitem(x: Operand, index: Any) -> Tensor:
    """x[index] as in NumPy: slices, integers, arrays of ids, masks.
    dx = dy added at index (repeats add up)

    >>> getitem([[1, 2], [3, 4]], (slice(None), 0))
    Tensor([1. 3.])
    """
    x = tensor(x)
    try:
        y = x.data[index]
    except IndexError as error:
        raise ShapeError(f"getitem: {error} (the Tensor has shape {x.shape}).") from None
    parts = index if isinstance(index, tuple) else (index,)
    basic = all(isinstance(part, BASIC) for part in parts)

    def vjp(dy):
        dx = np.zeros_like(x.data)
        if basic:
            dx[index] = dy
        else:
            np.add.at(dx, index, dy)
        return (dx,)

    return record("getitem", y, (x,), vjp)


@op
def relative_shift(x: Operand, source: int, places: ArrayLike | None = None) -> Tensor:
    """y[…, t, s] = x[…, t, T − t + s]: scores by distance become scores by position.
    dx = dy, put back where it came from

    x : (..., T, R), column r holds the scores at distance S − r, with S = `source` keys
    places : None, or (B, K) integers for x (B, H, K, R) with R = T + S: only K of the T queries are
        there, query k of row b is number places[b, k]
    returns (..., T, S), or (B, H, K, S). Query t stands at place S − T + t, so its distance to key
        s is S − T + t − s, which is column T − t + s.
    raises ShapeError  if R < T + S, or a place is not one of T
    Source: Dai et al. 2019, appendix B, as in XLNet (distances from S down to 1 − T).

    >>> relative_shift([[0, 1, 2, 3], [0, 1, 2, 3]], 2).numpy().tolist()
    [[2.0, 3.0], [1.0, 2.0]]
    >>> relative_shift([[[[0, 1, 2, 3]]]], 2, places=[[1]]).numpy().tolist()
    [[[[1.0, 2.0]]]]
    """
    x = tensor(x)
    if places is not None:
        return _shift_some(x, source, np.asarray(places))
    if x.ndim < 2 or x.shape[-1] < x.shape[-2] + source:
        raise ShapeError(
            f"relative_shift: x {x.shape} is too narrow for {source} keys; "
            f"expected (..., T, R) with R ≥ T + {source}."
        )
    *outer, length, width = x.shape

    def shifted(flat):
        """A view of the T·R numbers in lines of R − 1: each line begins one column earlier."""
        lines = flat[..., length:].reshape(*outer, length, width - 1)
        return lines[..., :source]

    def vjp(dy):
        dx = np.zeros((*outer, length * width), x.dtype)
        shifted(dx)[...] = dy
        return (dx.reshape(x.shape),)

    y = shifted(x.data.reshape(*outer, length * width))
    return record("relative_shift", y, (x,), vjp)


def _shift_some(x, source, places):
    """`relative_shift` of the queries at some places.   x (B, H, K, R) -> (B, H, K, S)"""
    length = x.shape[-1] - source  # T
    fits = x.ndim == 4 and places.shape == (x.shape[0], x.shape[2])
    if not fits or np.any((places < 0) | (places >= length)):
        raise ShapeError(
            f"relative_shift: x {x.shape} and places {places.shape} do not fit {source} keys; "
            f"expected (B, H, K, R) and (B, K) with places from 0 to below R − {source}."
        )
    lines = np.arange(math.prod(x.shape[:-1])).reshape(x.shape[:-1])  # (B,H,K)
    begins = lines * x.shape[-1] + length - places[:, None]
    index = begins[..., None] + np.arange(source)  # (B,H,K,S), no entry twice

    def vjp(dy):
        dx = np.zeros(x.size, x.dtype)
        dx[index] = dy
        return (dx.reshape(x.shape),)

    y = x.data.reshape(-1)[index]
    return record("relative_shift", y, (x,), vjp)
