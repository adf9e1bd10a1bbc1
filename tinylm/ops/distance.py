"""How far apart two distributions or two vectors are: a student's distance from its teacher."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ArgumentError, ShapeError
from tinylm.tensor import Tensor, record

from .elementary import div, maximum, mul, relu, sqrt, square, sub, where
from .loss import reduced
from .reduction import sum as sum_
from .registry import Operand, contiguous, op, pair, rows_of, same_dtype, tensor
from .shape import broadcast_to


@op
def kl_div(
    input: Operand, target: Operand, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """KL(p ‖ q) = Σ p·(log p − log q), pointwise, in nats; 0 where p is 0.
    dlogq = −dy·p, dp = dy·(log p + 1 − log q)

    input : log q, any shape     target : p of that shape, or log p with log_target
    reduction : "batchmean" divides the sum by the length of the first axis, which is the
        mathematical KL of rows; "mean" divides by the number of all elements
    returns a number, or the shape for "none"
    raises ShapeError  if the shapes differ
    With a temperature T, divide the logits of both by T before, and multiply the result by T².
    Source: Hinton et al. 2015; names as in PyTorch.

    >>> kl_div(np.log([0.5, 0.5]), [1.0, 0.0], reduction="sum")
    Tensor(0.6931)
    """
    q = tensor(input)
    if not isinstance(target, Tensor):
        target = Tensor(np.asarray(target, q.dtype))
    if q.shape != target.shape:
        raise ShapeError(
            f"kl_div: input {q.shape} and target {target.shape} must be equal in shape."
        )
    if log_target:
        log_p = target.data
        p = np.exp(log_p)
    else:
        p = target.data
        log_p = np.log(np.where(p > 0, p, 1))
    with np.errstate(invalid="ignore"):  # −∞ − −∞, where p is 0
        difference = log_p - q.data
    if not p.all():
        difference = np.where(p == 0, 0, difference)

    def vjp(dy):
        dq = np.multiply(p, -dy)
        if not target.requires_grad:
            return dq, None
        slope = difference + 1
        dtarget = dy * (p * slope if log_target else slope)
        return dq, dtarget

    losses = record("kl_div", p * difference, (q, target), vjp)
    if reduction == "batchmean":
        return reduced(losses, "sum", 1) * (1 / max(len(q), 1))
    return reduced(losses, reduction, losses.size)


@op
def kl_div_with_logits(
    input: Operand, target: ArrayLike, temperature: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """KL(softmax(a/τ) ‖ softmax(x/τ)) of rows of scores, in nats.   dx = dy·(q − p)/τ

    input : x, (..., V)     target : a, (..., V), which gets no gradient     temperature : τ
    reduction : of the rows: their "mean", their "sum", or "none" for (...)
    raises ShapeError  if shapes or dtypes differ, ArgumentError  for a τ that is not positive
    `kl_div` of two log-softmaxes gives the same, through five more arrays of the input's size.
    Source: Hinton et al. 2015, section 2.

    >>> kl_div_with_logits([[0.0, 0.0]], [[0.0, 99.0]])
    Tensor(0.6931)
    """
    x = tensor(input)
    target = tensor(target).data
    name = "kl_div_with_logits"
    if x.shape != target.shape or x.ndim < 1 or x.shape[-1] == 0:
        raise ShapeError(
            f"{name}: input {x.shape} and target {target.shape}; expected (..., V) twice."
        )
    if not temperature > 0:
        raise ArgumentError(f"{name}: the temperature is {temperature}; expected more than 0.")
    same_dtype(name, x, target)
    rows = rows_of(x.data)
    answers = rows_of(target)
    lse = np.empty((len(rows), 2), x.dtype)
    losses = np.empty(len(rows), x.dtype)
    kernels.kl_with_logits(rows, answers, float(temperature), lse, losses)

    def vjp(dy):
        dx = np.empty_like(rows)
        dlosses = contiguous(dy).reshape(-1)
        kernels.kl_with_logits_backward(dlosses, rows, answers, float(temperature), lse, dx)
        return (dx.reshape(x.shape),)

    raw = record(name, losses.reshape(x.shape[:-1]), (x,), vjp)
    return reduced(raw, reduction, raw.size)


def cosine_similarity(a: Operand, b: Operand, axis: int = -1, eps: float = 1e-8) -> Tensor:
    """a·b / (max(|a|, ε)·max(|b|, ε)) along `axis`; a and b broadcast.
    (..., C) and (..., C) -> (...)

    raises ShapeError  if the shapes do not broadcast
    Differs from PyTorch: the default axis is the last, where channels are here.

    >>> cosine_similarity([1.0, 0.0], [1.0, 1.0])
    Tensor(0.7071)
    """
    a, b = pair("cosine_similarity", a, b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    a = broadcast_to(a, shape)
    b = broadcast_to(b, shape)
    product = sum_(mul(a, b), axis)
    lengths = [_length(a, axis, eps), _length(b, axis, eps)]
    return div(product, mul(*lengths))


def _length(x, axis, least):
    """|x| along `axis`, at least `least`."""
    squared = sum_(square(x), axis)
    return sqrt(maximum(squared, least * least))


def cosine_embedding_loss(
    a: Operand,
    b: Operand,
    target: ArrayLike,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """1 − cos(a, b) where target is 1, max(0, cos(a, b) − margin) where it is −1.

    a, b : (..., C)   target : (...) array of 1 and −1   margin : in [−1, 1]
    raises ShapeError  for another shape or other targets

    >>> cosine_embedding_loss([[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 3.0]], [1, -1]).item()
    0.0
    """
    cosine = cosine_similarity(a, b)
    target = np.asarray(target)
    if target.shape != cosine.shape or not np.isin(target, (1, -1)).all():
        raise ShapeError(
            f"cosine_embedding_loss: the target has shape {target.shape}; "
            f"expected numbers 1 or -1 of shape {cosine.shape}."
        )
    together = sub(1.0, cosine)
    apart = relu(sub(cosine, margin))
    return reduced(where(target == 1, together, apart), reduction, cosine.size)
