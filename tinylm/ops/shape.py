"""Ops that move elements without changing them."""

import builtins

import numpy as np

from ..errors import ShapeError
from ..tensor import record
from .registry import op, tensor


@op
def reshape(x, *shape):
    """x with another shape of the same size, one entry may be −1.   dx = dy in x's shape

    raises ShapeError  if the sizes differ
    """
    x = tensor(x)
    shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    try:
        y = x.data.reshape(shape)
    except ValueError:
        raise ShapeError(
            f"reshape: {x.size} elements of shape {x.shape} do not fill shape {tuple(shape)}."
        ) from None
    return record("reshape", y, (x,), lambda dy: (dy.reshape(x.shape),))


@op
def transpose(x, axes=None):
    """x with its axes permuted (reversed when None).   dx = dy with the inverse permutation"""
    x = tensor(x)
    axes = tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)
    if sorted(a % builtins.max(x.ndim, 1) for a in axes) != list(range(x.ndim)):
        raise ShapeError(
            f"transpose: axes {axes} are not a permutation of the {x.ndim} axes of shape {x.shape}."
        )
    inverse = np.argsort([a % x.ndim for a in axes]) if axes else ()
    return record("transpose", x.data.transpose(axes), (x,), lambda dy: (dy.transpose(inverse),))


@op
def swapaxes(x, a, b):
    """x with axes a and b exchanged.   dx = dy with them exchanged back"""
    x = tensor(x)
    if not (-x.ndim <= a < x.ndim and -x.ndim <= b < x.ndim):
        raise ShapeError(f"swapaxes: axes {a} and {b} do not both exist in shape {x.shape}.")
    return record("swapaxes", x.data.swapaxes(a, b), (x,), lambda dy: (dy.swapaxes(a, b),))


@op
def broadcast_to(x, shape):
    """x repeated along new axes and axes of size 1.   dx = dy summed over them"""
    x = tensor(x)
    try:
        y = np.broadcast_to(x.data, shape)
    except ValueError:
        raise ShapeError(
            f"broadcast_to: shape {x.shape} cannot be stretched to {tuple(shape)}; expected axes, aligned "
            "at the right, that are equal or 1."
        ) from None
    return record("broadcast_to", y, (x,), lambda dy: (dy,))


def _joinable(name, tensors):
    """A non-empty sequence of Tensors."""
    tensors = tuple(tensor(x) for x in tensors)
    if not tensors:
        raise ShapeError(f"{name}: got an empty sequence; expected at least one Tensor.")
    return tensors


@op
def concatenate(tensors, axis=0):
    """Tensors joined along an existing axis.   each gets its own slice of dy"""
    tensors = _joinable("concatenate", tensors)
    try:
        y = np.concatenate([x.data for x in tensors], axis)
    except ValueError:
        raise ShapeError(
            f"concatenate: shapes {[x.shape for x in tensors]} must be equal except along "
            f"axis {axis}."
        ) from None
    cuts = np.cumsum([x.shape[axis] for x in tensors])[:-1]
    return record("concatenate", y, tensors, lambda dy: tuple(np.split(dy, cuts, axis)))


@op
def stack(tensors, axis=0):
    """Tensors of one shape joined along a new axis.   each gets its own slice of dy"""
    tensors = _joinable("stack", tensors)
    if len({x.shape for x in tensors}) > 1 or not -tensors[0].ndim - 1 <= axis <= tensors[0].ndim:
        raise ShapeError(
            f"stack: shapes {[x.shape for x in tensors]} must be equal, and axis {axis} one of the result's."
        )
    return record(
        "stack",
        np.stack([x.data for x in tensors], axis),
        tensors,
        lambda dy: tuple(np.moveaxis(dy, axis, 0)),
    )


@op
def getitem(x, index):
    """x[index] as NumPy reads it: slices, integers, arrays of ids, masks.   dx = dy added at index (repeats add up)"""
    x = tensor(x)
    try:
        y = x.data[index]
    except IndexError as error:
        raise ShapeError(f"getitem: {error} (the Tensor has shape {x.shape}).") from None
    parts = index if isinstance(index, tuple) else (index,)
    simple = all(
        part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)
        for part in parts
    )

    def vjp(dy):
        dx = np.zeros_like(x.data)
        if simple:
            dx[index] = dy
        else:
            np.add.at(dx, index, dy)
        return (dx,)

    return record("getitem", y, (x,), vjp)


@op
def relative_shift(x, source):
    """y[…, t, s] = x[…, t, T − t + s]: scores by distance become scores by position.   dx = dy, put back where it came from

    x : (..., T, R), column r of a query is the key at distance T − r from the first key   returns (..., T, source)
    raises ShapeError  if R < T + source
    Source: Dai et al. 2019, appendix B, as in XLNet (positions from `source` down to −T, so R = source + T).
    """
    x = tensor(x)
    if x.ndim < 2 or x.shape[-1] < x.shape[-2] + source:
        raise ShapeError(
            f"relative_shift: x {x.shape} is too narrow for {source} keys; expected (..., T, R) with "
            f"R ≥ T + {source}."
        )
    (*outer, length, width), skipped = x.shape, x.shape[-2]

    def shifted(
        array,
    ):  # in one row of T·R numbers, every line of R − 1 begins one earlier than the last
        return array.reshape(*outer, length * width)[..., skipped:].reshape(
            *outer, length, width - 1
        )[..., :source]

    def vjp(dy):
        dx = np.zeros((*outer, length * width), x.dtype)
        dx[..., skipped:].reshape(*outer, length, width - 1)[..., :source] = dy
        return (dx.reshape(x.shape),)

    return record("relative_shift", shifted(x.data), (x,), vjp)
