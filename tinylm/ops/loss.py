"""Losses, in nats. `reduction` is "mean" (over counted targets), "sum" or "none"."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..tensor import Tensor, gradient_like, record
from .elementary import mul, neg, square, sub
from .reduction import log_softmax, mean
from .reduction import sum as sum_
from .registry import contiguous, op, pair, same_dtype, tensor


def _reduce(losses, reduction, count):
    """Losses as they are, their sum, or their sum divided by `count`."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'.")
    if reduction == "none":
        return losses
    total = sum_(losses)
    return total if reduction == "sum" else total * (1 / count if count else 0.0)


def _target_ids(name, targets, shape, vocabulary, ignore_index):
    """Targets as int64 with −1 where they are not counted.   raises ShapeError for a wrong shape or id"""
    targets = np.asarray(targets)
    if targets.dtype.kind not in "iu" or targets.shape != shape:
        raise ShapeError(f"{name}: targets have shape {targets.shape} and dtype {targets.dtype}; expected integers of "
                         f"shape {shape}, one per row of the input.")
    real = targets != ignore_index
    counted = targets[real]
    if counted.size and (counted.min() < 0 or counted.max() >= vocabulary):
        wrong = counted.min() if counted.min() < 0 else counted.max()
        raise ShapeError(f"{name}: target {wrong} is out of range; expected 0 to {vocabulary - 1}, "
                         f"or ignore_index = {ignore_index}.")
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


def cross_entropy(logits, targets, ignore_index=-100, weight=None, reduction="mean"):
    """−log softmax(logits)[target], or −Σ target·log softmax(logits) for soft targets, in nats.

    logits : (..., V)   targets : (...) integers, or (..., V) probabilities as floats or a Tensor
    weight : (V,) importance of each class; the mean divides by the weights of the targets
    raises ShapeError  for a wrong shape or an id out of range
    """
    logits = tensor(logits)
    logp = log_softmax(logits)
    weight = None if weight is None else np.asarray(weight, logits.dtype)
    soft = isinstance(targets, Tensor) or np.asarray(targets).dtype.kind == "f"
    if soft:
        targets = tensor(targets)
        if targets.shape != logits.shape:
            raise ShapeError(f"cross_entropy: soft targets have shape {targets.shape}; expected {logits.shape}.")
        weighted = targets if weight is None else mul(targets, weight)
        return _reduce(neg(sum_(mul(weighted, logp), -1)), reduction, max(logits.size // logits.shape[-1], 1))
    losses = nll_loss(logp, targets, ignore_index)
    real = np.asarray(targets) != ignore_index
    if weight is None:
        return _reduce(losses, reduction, real.sum())
    factors = np.where(real, weight[np.where(real, targets, 0)], 0).astype(logits.dtype)
    return _reduce(mul(losses, factors), reduction, factors.sum())


@op
def linear_cross_entropy(h, weight, targets, ignore_index=-100):
    """Mean cross-entropy of logits h Wᵀ in nats, without a second copy of the (N, V) logits.

    dlogits = (softmax − onehot)/counted,  dh = dlogits W,  dW = dlogitsᵀ h
    h : (..., C)   weight : (V, C)   targets : (...) integers, ignore_index = not counted   returns a single number
    raises ShapeError  for a wrong shape or an id out of range
    """
    h, weight = tensor(h), tensor(weight)
    if weight.ndim != 2 or h.shape[-1:] != weight.shape[1:]:
        raise ShapeError(f"linear_cross_entropy: h {h.shape} and weight {weight.shape} do not fit; "
                         "expected (..., C) and (V, C).")
    same_dtype("linear_cross_entropy", h, weight)
    ids = _target_ids("linear_cross_entropy", targets, h.shape[:-1], len(weight), ignore_index).ravel()
    counted = max(int((ids >= 0).sum()), 1)
    flat, w = contiguous(h.data).reshape(-1, weight.shape[1]), contiguous(weight.data)
    logits, factors, losses = (np.empty(n, h.dtype) for n in (len(flat) * len(w), len(flat), len(flat)))
    kernels.linear_cross_entropy(flat, w, ids, float(counted), logits, factors, losses)
    total = np.asarray(losses.sum(dtype=np.float64) / counted, h.dtype)

    def vjp(dy):
        dh, dweight = np.empty_like(flat), gradient_like(weight)
        kernels.head_backward(logits, factors, w, flat * factors[:, None], dh, dweight)
        if dy != 1:
            dh *= dy
            dweight *= dy
        return dh.reshape(h.shape), dweight

    return record("linear_cross_entropy", total, (h, weight), vjp)


def mse_loss(x, target, reduction="mean"):
    """(x − target)² of broadcast operands, reduced over all elements."""
    losses = square(sub(x, target))
    return mean(losses) if reduction == "mean" else _reduce(losses, reduction, losses.size)


@op
def binary_cross_entropy_with_logits(logits, targets, reduction="mean"):
    """−t·log σ(x) − (1 − t)·log(1 − σ(x)) in nats, without overflow.   dx = dy·(σ(x) − t)

    logits : any shape   targets : array of that shape (or broadcast to it), probabilities; gets no gradient
    """
    x, t = pair("binary_cross_entropy_with_logits", logits, np.asarray(getattr(targets, "data", targets), float))
    t = np.broadcast_to(t.data.astype(x.dtype), x.shape)
    small = np.exp(-np.abs(x.data))
    probability = np.where(x.data >= 0, 1, small) / (1 + small)
    losses = np.maximum(x.data, 0) - x.data * t + np.log1p(small)
    raw = record("binary_cross_entropy_with_logits", losses, (x,), lambda dy: (dy * (probability - t),))
    return _reduce(raw, reduction, x.size)
