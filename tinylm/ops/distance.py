"""How far apart two distributions or two vectors are: what a student minimises towards its teacher."""

import numpy as np

from ..errors import ShapeError
from ..tensor import Tensor, record
from .elementary import div, maximum, mul, relu, sqrt, square, sub, where
from .loss import _reduce
from .reduction import sum as sum_
from .registry import op, pair, tensor
from .shape import broadcast_to


@op
def kl_div(input, target, reduction="mean", log_target=False):
    """KL(p ‖ q) = Σ p·(log p − log q), pointwise, in nats; 0 where p is 0.   dlogq = −dy·p, dp = dy·(log p + 1 − log q)

    input : log q, any shape   target : p of that shape, or log p with log_target   returns a number, or the shape for "none"
    reduction : "batchmean" divides the sum by the length of the first axis, which is the mathematical KL of rows; "mean"
    divides by all elements. A temperature T is the caller's: both sides divided by T, the result times T².
    raises ShapeError  if the shapes differ
    Source: Hinton et al. 2015; names as in PyTorch.
    """
    q = tensor(input)
    target = target if isinstance(target, Tensor) else Tensor(np.asarray(target, q.dtype))
    if q.shape != target.shape:
        raise ShapeError(
            f"kl_div: input {q.shape} and target {target.shape} must be equal in shape."
        )
    p = np.exp(target.data) if log_target else target.data
    log_p = target.data if log_target else np.log(np.where(p > 0, p, 1))
    difference = np.subtract(log_p, q.data, where=p > 0, out=np.zeros_like(q.data))

    def vjp(dy):
        return -dy * p, dy * (p * (difference + 1) if log_target else difference + 1)

    losses = record("kl_div", p * difference, (q, target), vjp)
    if reduction == "batchmean":
        return _reduce(losses, "sum", 1) * (1 / max(len(q), 1))
    return _reduce(losses, reduction, losses.size)


def cosine_similarity(a, b, axis=-1, eps=1e-8):
    """a·b / (max(|a|, ε)·max(|b|, ε)) along `axis`; a and b broadcast.   (..., C) and (..., C) -> (...)

    raises ShapeError  if the shapes do not broadcast
    """
    a, b = pair("cosine_similarity", a, b)
    a, b = (broadcast_to(x, np.broadcast_shapes(a.shape, b.shape)) for x in (a, b))
    lengths = [sqrt(maximum(sum_(square(x), axis), eps * eps)) for x in (a, b)]
    return div(sum_(mul(a, b), axis), mul(*lengths))


def cosine_embedding_loss(a, b, target, margin=0.0, reduction="mean"):
    """1 − cos(a, b) where target is 1, max(0, cos(a, b) − margin) where it is −1.

    a, b : (..., C)   target : (...) array of 1 and −1   margin : in [−1, 1]
    raises ShapeError  for another shape or other targets
    """
    cosine, target = cosine_similarity(a, b), np.asarray(target)
    if target.shape != cosine.shape or not np.isin(target, (1, -1)).all():
        raise ShapeError(
            f"cosine_embedding_loss: the target has shape {target.shape}; expected numbers 1 or -1 of shape "
            f"{cosine.shape}."
        )
    return _reduce(
        where(target == 1, sub(1.0, cosine), relu(sub(cosine, margin))), reduction, cosine.size
    )
