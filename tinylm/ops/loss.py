"""Losses, in nats. `reduction` is "mean" (over counted targets), "sum" or "none"."""

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, gradient_like, record
from .elementary import mul, neg, square, sub
from .reduction import log_softmax
from .reduction import sum as sum_
from .registry import contiguous, op, rows_of, same_dtype, tensor


def _reduce(losses, reduction, count):
    """Losses as they are, their sum, or their sum divided by `count`."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'.")
    if reduction == "none":
        return losses
    total = sum_(losses)
    return total if reduction == "sum" else total * (1 / count if count else 0.0)


def _target_ids(name, targets, shape, vocabulary, ignore_index):
    """Targets as int64 with −1 where they are not counted.   raises ShapeError for a wrong shape or id"""
    targets = np.asarray(targets)
    if targets.dtype.kind not in "iu" or targets.shape != shape:
        raise ShapeError(
            f"{name}: targets have shape {targets.shape} and dtype {targets.dtype}; expected integers of "
            f"shape {shape}, one per row of the input."
        )
    real = targets != ignore_index
    counted = targets[real]
    if counted.size and (counted.min() < 0 or counted.max() >= vocabulary):
        wrong = counted.min() if counted.min() < 0 else counted.max()
        raise ShapeError(
            f"{name}: target {wrong} is out of range; expected 0 to {vocabulary - 1}, "
            f"or ignore_index = {ignore_index}."
        )
    return np.where(real, targets, -1).astype(np.int64)


@op
def nll_loss(log_probabilities, targets, ignore_index=-100):
    """−log p[target] of every row, 0 where the target is ignore_index.   dx = −dy at the target

    log_probabilities : (..., V)   targets : (...) integers   returns (...)
    raises ShapeError  for a wrong shape or an id out of range
    """
    x = tensor(log_probabilities)
    ids = _target_ids("nll_loss", targets, x.shape[:-1], x.shape[-1], ignore_index)[..., None]
    real = ids >= 0
    picked = np.take_along_axis(x.data, np.maximum(ids, 0), -1)

    def vjp(dy):
        dx = np.zeros_like(x.data)
        np.put_along_axis(dx, np.maximum(ids, 0), np.where(real, -dy[..., None], 0), -1)
        return (dx,)

    return record("nll_loss", np.where(real, -picked, 0)[..., 0].astype(x.dtype), (x,), vjp)


def cross_entropy(
    logits, targets, ignore_index=-100, weight=None, reduction="mean", label_smoothing=0.0
):
    """−log softmax(logits)[target], or −Σ target·log softmax(logits) for soft targets, in nats.

    logits : (..., V)   targets : (...) integers, or (..., V) probabilities as floats or a Tensor
    weight : (V,) importance of each class; the mean divides by the weights of the targets
    label_smoothing : ε in [0, 1], the targets become (1 − ε)·target + ε/V, before the weights (Szegedy et al. 2016)
    raises ShapeError  for a wrong shape or an id out of range, ArgumentError  for an ε outside [0, 1]
    """
    logits = tensor(logits)
    logp, share = log_softmax(logits), label_smoothing / max(logits.shape[-1], 1)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing is {label_smoothing}; expected a share in [0, 1]."
        )
    weight = None if weight is None else np.asarray(weight, logits.dtype)
    weighted = logp if weight is None else mul(logp, weight)
    if isinstance(targets, Tensor) or np.asarray(targets).dtype.kind == "f":
        targets = (
            targets if isinstance(targets, Tensor) else Tensor(np.asarray(targets, logits.dtype))
        )
        if targets.shape != logits.shape:
            raise ShapeError(
                f"cross_entropy: soft targets have shape {targets.shape}; expected {logits.shape}."
            )
        targets = targets * (1 - label_smoothing) + share if label_smoothing else targets
        return _reduce(
            neg(sum_(mul(targets, weighted), -1)),
            reduction,
            max(logits.size // logits.shape[-1], 1),
        )
    losses, real = nll_loss(logp, targets, ignore_index), np.asarray(targets) != ignore_index
    factors = (
        real.astype(logits.dtype)
        if weight is None
        else np.where(real, weight[np.where(real, targets, 0)], 0)
    )
    losses = losses if weight is None else mul(losses, factors)
    if label_smoothing:
        losses = losses * (1 - label_smoothing) - mul(
            sum_(weighted, -1), (share * real).astype(logits.dtype)
        )
    return _reduce(losses, reduction, factors.sum())


LOGITS_AT_ONCE = (
    1 << 26
)  # with more than so many logits (256 MB of float32) the head works in blocks of rows


def _row_blocks(rows, vocabulary):
    """Slices of the rows, as even as can be, so that no block has more than LOGITS_AT_ONCE logits; one at least."""
    count = max(-(-rows // max(LOGITS_AT_ONCE // max(vocabulary, 1), 1)), 1)
    return [slice(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def _head_operands(h, weight, bias):
    """h, weight and bias as Tensors that fit together.   raises ShapeError"""
    h, weight, bias = tensor(h), tensor(weight), None if bias is None else tensor(bias)
    if (
        weight.ndim != 2
        or h.shape[-1:] != weight.shape[1:]
        or (bias is not None and bias.shape != weight.shape[:1])
    ):
        raise ShapeError(
            f"linear_cross_entropy: h {h.shape}, weight {weight.shape} and bias "
            f"{None if bias is None else bias.shape} do not fit; expected (..., C), (V, C) and (V,) or None."
        )
    same_dtype("linear_cross_entropy", h, weight, bias)
    return h, weight, bias


@op
def linear_cross_entropy(h, weight, targets, ignore_index=-100, bias=None):
    """Mean cross-entropy of logits h Wᵀ + b in nats, without a second copy of the (N, V) logits.

    dlogits = (softmax − onehot)/counted,  dh = dlogits W,  dW = dlogitsᵀ h,  db = Σ_rows dlogits
    h : (..., C)   weight : (V, C)   targets : (...) integers, ignore_index = not counted   bias : (V,) or None
    returns a single number. More than LOGITS_AT_ONCE logits are never all in memory: they are made block by block of
    rows, and once more in the backward.
    raises ShapeError  for a wrong shape or an id out of range
    """
    h, weight, bias = _head_operands(h, weight, bias)
    ids = _target_ids(
        "linear_cross_entropy", targets, h.shape[:-1], len(weight), ignore_index
    ).ravel()
    counted = float(max((ids >= 0).sum(), 1))
    flat, w = rows_of(h.data), contiguous(weight.data)
    b = np.empty(0, h.dtype) if bias is None else contiguous(bias.data)
    blocks = _row_blocks(len(flat), len(w))
    most = max(block.stop - block.start for block in blocks) * len(w)

    def run(block, logits):  # the block's factors and losses; `logits` is written
        factors, losses = np.empty((2, block.stop - block.start), h.dtype)
        kernels.linear_cross_entropy(
            flat[block], w, b, ids[block], counted, logits[: losses.size * len(w)], factors, losses
        )
        return factors, losses

    logits, total = np.empty(most, h.dtype), 0.0
    for block in blocks:
        factors, losses = run(block, logits)
        total += losses.sum(dtype=np.float64)
    kept = (logits, factors) if len(blocks) == 1 else None

    def vjp(dy):
        dh, sums = (
            np.empty_like(flat),
            [gradient_like(weight), b if bias is None else gradient_like(bias)],
        )
        logits, factors = kept or (np.empty(most, h.dtype), None)
        for block in blocks:
            scale = (run(block, logits)[0] if kept is None else factors) * dy
            parts = sums if block.start == 0 else [np.empty_like(total) for total in sums]
            kernels.head_backward(
                logits[: scale.size * len(w)],
                scale,
                w,
                flat[block] * scale[:, None],
                dh[block],
                *parts,
            )
            if parts is not sums:
                sums[0] += parts[0]
                sums[1] += parts[1]
        return (dh.reshape(h.shape), *sums)[: len(inputs)]

    inputs = (h, weight) if bias is None else (h, weight, bias)
    return record("linear_cross_entropy", np.asarray(total / counted, h.dtype), inputs, vjp)


def mse_loss(x, target, reduction="mean"):
    """(x − target)² of broadcast operands, reduced over all elements."""
    losses = square(sub(x, target))
    return _reduce(losses, reduction, losses.size)


@op
def binary_cross_entropy_with_logits(logits, targets, reduction="mean"):
    """−t·log σ(x) − (1 − t)·log(1 − σ(x)) in nats, without overflow.   dx = dy·(σ(x) − t)

    logits : any shape   targets : array of that shape (or broadcast to it), probabilities; gets no gradient
    raises ShapeError  if the targets do not broadcast to the logits
    """
    x, t = tensor(logits), np.asarray(targets.data if isinstance(targets, Tensor) else targets)
    try:
        t = np.broadcast_to(t.astype(x.dtype), x.shape)
    except ValueError:
        raise ShapeError(
            f"binary_cross_entropy_with_logits: targets {t.shape} do not broadcast to logits {x.shape}; "
            "expected the shape of the logits, or axes of 1."
        ) from None
    small = np.exp(-np.abs(x.data))
    probability = np.where(x.data >= 0, 1, small) / (1 + small)
    losses = np.maximum(x.data, 0) - x.data * t + np.log1p(small)
    raw = record(
        "binary_cross_entropy_with_logits", losses, (x,), lambda dy: (dy * (probability - t),)
    )
    return _reduce(raw, reduction, x.size)
