"""Rows by number: of a table (embedding, embedding_bag) and a sequence (gather_positions)."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ShapeError
from tinylm.tensor import Rows, Tensor, record

from .elementary import where
from .registry import Operand, check_ids, contiguous, op, rows_of, tensor
from .shape import reshape


@op
def embedding(ids: ArrayLike, weight: Operand) -> Tensor:
    """Rows of a table: weight[ids].   dW[v] = Σ of dy where ids = v, repeats add up

    ids : integer array of any shape   weight : (V, C)   returns (*ids.shape, C)
    raises ShapeError  if an id is not in [0, V)

    >>> table = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> rows = embedding(np.array([1, 0, 1]), table)
    >>> rows.numpy().tolist()
    [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    """
    weight = tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight has shape {weight.shape}; expected (V, C).")
    ids = check_ids("embedding", ids, len(weight))
    flat_ids = ids.ravel()
    width = weight.shape[1]
    out = np.empty((ids.size, width), weight.dtype)
    kernels.embedding_gather(contiguous(weight.data), flat_ids, out)

    def vjp(dy):
        return (Rows(flat_ids, rows_of(dy)),)

    y = out.reshape(*ids.shape, width)
    return record("embedding", y, (weight,), vjp)


@op
def embedding_bag(ids: ArrayLike, first: ArrayLike, weight: Operand) -> Tensor:
    """Sums of rows of a table: y[g] = Σ weight[ids] from first[g] on.   dW[v] = Σ of its bags' dy

    ids : (P,) integers   first : (G,), where each bag begins, rising from 0; the last one ends at P
    weight : (V, C)   returns (G, C), zeros for an empty bag
    raises ShapeError  if an id is not in [0, V), or `first` does not divide the ids into bags
    Differs from PyTorch: the table comes last, as in `embedding`; sums only.

    >>> embedding_bag([1, 0, 1], [0, 1], [[1.0, 2.0], [3.0, 4.0]]).numpy().tolist()
    [[3.0, 4.0], [4.0, 6.0]]
    """
    weight = tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding_bag: weight has shape {weight.shape}; expected (V, C).")
    ids = check_ids("embedding_bag", ids, len(weight))
    first = check_ids("embedding_bag", first, ids.size + 1)
    if ids.ndim != 1 or first.ndim != 1:
        raise ShapeError(
            f"embedding_bag: ids and first have shapes {ids.shape} and {first.shape}; expected "
            "(P,) and (G,)."
        )
    bounds = np.append(first, ids.size)  # (G+1,)
    sizes = np.diff(bounds)
    if bounds[0] != 0 or (sizes < 0).any():
        raise ShapeError(
            "embedding_bag: first must begin with 0 and never fall, so that each id "
            "lies in one bag."
        )
    out = np.empty((first.size, weight.shape[1]), weight.dtype)
    kernels.embedding_bag(contiguous(weight.data), ids, bounds, out)

    def vjp(dy):
        return (Rows(ids, np.repeat(dy, sizes, axis=0)),)

    return record("embedding_bag", out, (weight,), vjp)


def gather_positions(x: Operand, positions: ArrayLike) -> Tensor:
    """States at some positions of each sequence: y[b, p] = x[b, positions[b, p]], zeros for p < 0.

    x : (B, T, C)   positions : (B, P) integers below T; negative = padding, without a gradient
    returns (B, P, C); gradients of repeated positions add up
    raises ShapeError  for another shape or a position out of range

    >>> x = np.arange(6.0).reshape(2, 3, 1)
    >>> gather_positions(x, [[2, 0], [1, -1]]).numpy()[:, :, 0].tolist()
    [[2.0, 0.0], [4.0, 0.0]]
    """
    x = tensor(x)
    positions = np.asarray(positions)
    if x.ndim != 3 or positions.ndim != 2 or len(positions) != len(x):
        raise ShapeError(
            f"gather_positions: x {x.shape} and positions {positions.shape} do not fit; "
            "expected (B, T, C) and (B, P)."
        )
    batch, length, width = x.shape
    real = positions >= 0
    ids = check_ids("gather_positions", np.maximum(positions, 0), length)
    first = length * np.arange(batch)  # row of x, as (B·T, C), at which each sequence begins
    rows = reshape(x, (batch * length, width))
    states = embedding(ids + first[:, None], rows)  # (B·T,C) -> (B,P,C)
    if real.all():
        return states
    return where(real[..., None], states, 0.0)
