"""Losses, in nats. `reduction` is "mean" (over counted targets), "sum" or "none"."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ArgumentError, ShapeError
from tinylm.tensor import Tensor, gradient_like, record

from .elementary import mul, neg, square, sub
from .reduction import log_softmax
from .reduction import sum as sum_
from .registry import Operand, contiguous, op, optional, rows_of, same_dtype, tensor


def reduced(losses: Tensor, reduction: str, count: float) -> Tensor:
    """Losses as they are ("none"), their "sum", or the "mean": their sum divided by `count`.

    raises ArgumentError  for another reduction

    >>> reduced(Tensor([1.0, 2.0, 0.0]), "mean", count=2)  # the third does not count
    Tensor(1.5)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'.")
    if reduction == "none":
        return losses
    total = sum_(losses)
    if reduction == "sum":
        return total
    return total * (1 / count if count else 0.0)


def _target_ids(name, targets, shape, vocabulary, ignore_index):
    """Targets as int64, −1 where they do not count.   raises ShapeError for a wrong shape or id"""
    targets = np.asarray(targets)
    if targets.dtype.kind not in "iu" or targets.shape != shape:
        raise ShapeError(
            f"{name}: targets have shape {targets.shape} and dtype {targets.dtype}; "
            f"expected integers of shape {shape}, one per row of the input."
        )
    real = targets != ignore_index
    counted = targets[real]
    if counted.size:
        least = counted.min()
        most = counted.max()
        if least < 0 or most >= vocabulary:
            wrong = least if least < 0 else most
            raise ShapeError(
                f"{name}: target {wrong} is out of range; expected 0 to {vocabulary - 1}, "
                f"or ignore_index = {ignore_index}."
            )
    ids = targets.astype(np.int64)  # first: an unsigned −1 would be the largest id
    return np.where(real, ids, -1)


@op
def nll_loss(log_probabilities: Operand, targets: ArrayLike, ignore_index: int = -100) -> Tensor:
    """−log p[target] of every row, 0 where the target is ignore_index.   dx = −dy at the target

    log_probabilities : (..., V)   targets : (...) integers   returns (...)
    raises ShapeError  for a wrong shape or an id out of range
    Differs from PyTorch: classes are the last axis; `cross_entropy` weights and reduces.

    >>> nll_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), [0, 0])
    Tensor([0.6931 1.3863])
    """
    x = tensor(log_probabilities)
    *rows, vocabulary = x.shape
    ids = _target_ids("nll_loss", targets, tuple(rows), vocabulary, ignore_index)
    ids = ids[..., None]  # (...) -> (...,1)
    real = ids >= 0
    column = np.maximum(ids, 0)
    picked = np.take_along_axis(x.data, column, -1)
    losses = np.where(real, -picked, 0)
    losses = losses[..., 0].astype(x.dtype)

    def vjp(dy):
        dx = np.zeros_like(x.data)
        dpicked = np.where(real, -dy[..., None], 0)
        np.put_along_axis(dx, column, dpicked, -1)
        return (dx,)

    return record("nll_loss", losses, (x,), vjp)


def cross_entropy(
    logits: Operand,
    targets: Operand,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(logits)[target]; for soft targets −Σ target·log softmax(logits). In nats.

    logits : (..., V)   targets : (...) integers, or (..., V) probabilities as floats or a Tensor
    weight : (V,) importance of each class; the mean divides by the weights of the targets
    label_smoothing : ε in [0, 1]; the targets become (1 − ε)·target + ε/V before the weights act
        (Szegedy et al. 2016)
    raises ShapeError  for a wrong shape or an id out of range, ArgumentError  for an ε outside
        [0, 1]
    Differs from PyTorch: classes are the last axis.

    >>> cross_entropy([[0.0, 0.0], [0.0, 0.0]], [0, 1])
    Tensor(0.6931)
    """
    logits = tensor(logits)
    vocabulary = logits.shape[-1]
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing is {label_smoothing}; expected a share in [0, 1]."
        )
    if weight is not None:
        weight = np.asarray(weight, logits.dtype)
        if weight.shape != (vocabulary,):
            raise ShapeError(
                f"cross_entropy: weight has shape {weight.shape}; expected {(vocabulary,)}, "
                "one number per class."
            )
    log_p = log_softmax(logits)
    weighted = log_p if weight is None else mul(log_p, weight)
    share = label_smoothing / max(vocabulary, 1)  # ε/V
    if isinstance(targets, Tensor) or np.asarray(targets).dtype.kind == "f":
        targets = _soft_targets(targets, logits)
        if label_smoothing:
            targets = targets * (1 - label_smoothing) + share
        losses = neg(sum_(mul(targets, weighted), -1))
        rows = max(logits.size // vocabulary, 1)
        return reduced(losses, reduction, rows)

    losses = nll_loss(log_p, targets, ignore_index)
    real = np.asarray(targets) != ignore_index
    if weight is None:
        factors = real.astype(logits.dtype)
    else:
        some_class = np.where(real, targets, 0)
        factors = np.where(real, weight[some_class], 0)
        losses = mul(losses, factors)
    if label_smoothing:
        shares = (share * real).astype(logits.dtype)
        smooth = mul(sum_(weighted, -1), shares)
        losses = losses * (1 - label_smoothing) - smooth
    return reduced(losses, reduction, factors.sum())


def _soft_targets(targets, logits):
    """Probabilities as a Tensor of the logits' shape.   raises ShapeError"""
    if not isinstance(targets, Tensor):
        targets = Tensor(np.asarray(targets, logits.dtype))
    if targets.shape != logits.shape:
        raise ShapeError(
            f"cross_entropy: soft targets have shape {targets.shape}; expected {logits.shape}."
        )
    return targets


LOGITS_AT_ONCE = 1 << 26  # with more logits (256 MB of float32) the head works in blocks of rows


def _row_blocks(rows, vocabulary):
    """Cut the rows into slices of nearly equal size, each with at most LOGITS_AT_ONCE logits.

    returns at least one slice
    """
    most = max(LOGITS_AT_ONCE // max(vocabulary, 1), 1)  # rows in a block
    count = max(-(-rows // most), 1)
    cuts = [rows * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in zip(cuts, cuts[1:], strict=False)]


def _check_head(h, weight, bias):
    """The shapes and dtypes of linear_cross_entropy's operands.   raises ShapeError"""
    fits = weight.ndim == 2 and h.shape[-1:] == weight.shape[1:]
    bias_shape = None if bias is None else bias.shape
    if not fits or bias_shape not in (None, weight.shape[:1]):
        raise ShapeError(
            f"linear_cross_entropy: h {h.shape}, weight {weight.shape} and bias {bias_shape} "
            "do not fit; expected (..., C), (V, C) and (V,) or None."
        )
    same_dtype("linear_cross_entropy", h, weight, bias)


@op
def linear_cross_entropy(
    h: Operand,
    weight: Operand,
    targets: ArrayLike,
    ignore_index: int = -100,
    bias: Operand | None = None,
) -> Tensor:
    """Mean cross-entropy of logits h Wᵀ + b in nats, without a second copy of the (N, V) logits.
    dlogits = (softmax − onehot)/counted, dh = dlogits W, dW = dlogitsᵀ h, db = Σ_rows dlogits

    h : (..., C)   weight : (V, C)   targets : (...) integers, ignore_index = not counted
    bias : (V,) or None     returns a single number
    With more than LOGITS_AT_ONCE logits, the forward makes them block by block of rows and forgets
    them, and the backward makes them once more.
    raises ShapeError  for a wrong shape or an id out of range

    >>> linear_cross_entropy([[1.0]], [[3.0], [3.0]], [0])  # two equal logits: log 2
    Tensor(0.6931)
    """
    h = tensor(h)
    weight = tensor(weight)
    bias = optional(bias)
    _check_head(h, weight, bias)
    vocabulary = len(weight)
    name = "linear_cross_entropy"
    ids = _target_ids(name, targets, h.shape[:-1], vocabulary, ignore_index)
    ids = ids.ravel()
    counted = (ids >= 0).sum()
    counted = float(max(counted, 1))
    rows = rows_of(h.data)
    w = contiguous(weight.data)
    b = np.empty(0, h.dtype) if bias is None else contiguous(bias.data)
    blocks = _row_blocks(len(rows), vocabulary)
    most = max(block.stop - block.start for block in blocks)
    room = most * vocabulary

    def run(block, logits):
        """Write the block's logits; return its losses, and the factors from logits to gradient."""
        count = block.stop - block.start
        factors, losses = np.empty((2, count), h.dtype)
        part = logits[: count * vocabulary]
        kernels.linear_cross_entropy(rows[block], w, b, ids[block], counted, part, factors, losses)
        return losses, factors

    logits = np.empty(room, h.dtype)
    total = 0.0
    for block in blocks:
        losses, factors = run(block, logits)
        total += losses.sum(dtype=np.float64)
    kept = (logits, factors) if len(blocks) == 1 else None

    def vjp(dy):
        dh = np.empty_like(rows)
        dweight = gradient_like(weight)
        dbias = b if bias is None else gradient_like(bias)
        logits = np.empty(room, h.dtype) if kept is None else kept[0]
        for block in blocks:
            factors = run(block, logits)[1] if kept is None else kept[1]
            scale = factors * dy
            scaled_h = rows[block] * scale[:, None]
            part = logits[: scale.size * vocabulary]
            if block.start == 0:
                kernels.head_backward(part, scale, w, scaled_h, dh[block], dweight, dbias)
            else:
                more_weight = np.empty_like(dweight)
                more_bias = np.empty_like(dbias)
                kernels.head_backward(part, scale, w, scaled_h, dh[block], more_weight, more_bias)
                dweight += more_weight
                dbias += more_bias
        grads = (dh.reshape(h.shape), dweight)
        return grads if bias is None else (*grads, dbias)

    inputs = (h, weight) if bias is None else (h, weight, bias)
    loss = np.asarray(total / counted, h.dtype)
    return record("linear_cross_entropy", loss, inputs, vjp)


def mse_loss(x: Operand, target: Operand, reduction: str = "mean") -> Tensor:
    """(x − target)² of broadcast operands, reduced over all elements.

    >>> mse_loss([1.0, 2.0], 0.0).item()
    2.5
    """
    losses = square(sub(x, target))
    return reduced(losses, reduction, losses.size)


@op
def binary_cross_entropy_with_logits(
    logits: Operand, targets: Operand, reduction: str = "mean"
) -> Tensor:
    """−t·log σ(x) − (1 − t)·log(1 − σ(x)) in nats, without overflow.   dx = dy·(σ(x) − t)

    logits : any shape   targets : probabilities of that shape, or broadcast to it; no gradient
    raises ShapeError  if the targets do not broadcast to the logits
    Differs from PyTorch: no weights, because no objective here has any.

    >>> binary_cross_entropy_with_logits([0.0, 1000.0], [1.0, 1.0], reduction="none")
    Tensor([0.6931 0.    ])
    """
    x = tensor(logits)
    t = np.asarray(targets.data if isinstance(targets, Tensor) else targets)
    try:
        t = np.broadcast_to(t.astype(x.dtype), x.shape)
    except ValueError:
        raise ShapeError(
            f"binary_cross_entropy_with_logits: targets {t.shape} do not broadcast to logits "
            f"{x.shape}; expected the shape of the logits, or axes of 1."
        ) from None
    small = np.exp(-np.abs(x.data))  # e^{−|x|}: never overflows
    numerator = np.where(x.data >= 0, 1, small)
    probability = numerator / (1 + small)
    losses = np.maximum(x.data, 0) - x.data * t + np.log1p(small)

    def vjp(dy):
        return (dy * (probability - t),)

    raw = record("binary_cross_entropy_with_logits", losses, (x,), vjp)
    return reduced(raw, reduction, x.size)
