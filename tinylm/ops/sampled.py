"""Losses that score a few words instead of the whole vocabulary: sampled words, or a tree's nodes.

In all of them a negative id marks an empty place, and a row whose target is negative does not
count. The gradients of the tables are sparse: they cost only the rows that were scored.

Names of the losses are TensorFlow's; the order (h, weight, bias, targets) is that of `linear` and
`linear_cross_entropy`.
"""

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import ShapeError
from tinylm.tensor import Tensor

from .elementary import add, sub, where
from .lookup import embedding
from .loss import binary_cross_entropy_with_logits, reduced
from .product import linear, matmul
from .reduction import logsumexp
from .reduction import sum as sum_
from .registry import Operand, optional, tensor
from .shape import getitem, reshape


def _scores(name, h, weight, bias, ids):
    """h·W[ids] + bias[ids]; a negative id has the score of id 0, to be masked by the caller.

    h : (..., C)   weight : (V, C)   bias : (V,) or None
    ids : (..., K), or (K,) the same for every row     returns (..., K); raises ShapeError
    """
    h = tensor(h)
    weight = tensor(weight)
    bias = optional(bias)
    ids = np.asarray(ids)
    shared = ids.ndim == 1
    same_width = weight.ndim == 2 and h.shape[-1:] == weight.shape[1:]
    same_rows = shared or ids.shape[:-1] == h.shape[:-1]
    bias_shape = None if bias is None else bias.shape
    if not same_width or not same_rows or bias_shape not in (None, weight.shape[:1]):
        raise ShapeError(
            f"{name}: h {h.shape}, weight {weight.shape}, bias {bias_shape} and ids {ids.shape} "
            "do not fit; expected (..., C), (V, C), (V,) or None, and (..., K) or (K,)."
        )
    ids = np.maximum(ids, 0)
    rows = embedding(ids, weight)  # (...,K,C) or (K,C)
    if shared:
        scores = linear(h, rows)
    else:
        column = reshape(h, (*h.shape, 1))  # (...,C) -> (...,C,1)
        scores = reshape(matmul(rows, column), ids.shape)
    if bias is not None:
        scores = add(scores, getitem(bias, ids))
    return scores


def _yes_or_no(scores, truth, ids):
    """Σ −log σ(s) where truth is 1, −log σ(−s) where it is 0, over ids ≥ 0.   (..., K) -> (...)"""
    losses = binary_cross_entropy_with_logits(scores, truth, reduction="none")
    losses = where(ids >= 0, losses, 0.0)
    return sum_(losses, -1)


def _corrected(name, h, weight, bias, targets, sampled):
    """Scores of the targets and of the sampled ids, less the log of how often each is expected.

    sampled : (ids, log E of the targets, log E of the ids), or (ids,) alone for no correction
    returns scores (..., 1) and (..., S), then the ids of both; raises ShapeError
    """
    h = tensor(h)
    targets = np.asarray(targets)
    if targets.shape != h.shape[:-1]:
        raise ShapeError(
            f"{name}: targets {targets.shape} do not fit h {h.shape}; expected (...) and (..., C)."
        )
    targets = targets[..., None]
    ids = np.asarray(sampled[0])
    true = _scores(name, h, weight, bias, targets)
    others = _scores(name, h, weight, bias, ids)
    if len(sampled) > 1:
        _, log_targets, log_ids = sampled
        log_targets = np.asarray(log_targets, true.dtype)
        log_ids = np.asarray(log_ids, others.dtype)
        true = sub(true, log_targets[..., None])
        others = sub(others, log_ids)
    return true, others, targets, ids


def sampled_softmax_loss(
    h: Operand,
    weight: Operand,
    bias: Operand | None,
    targets: ArrayLike,
    sampled: tuple,
    reduction: str = "mean",
) -> Tensor:
    """−log softmax over the target and the sampled ids, in nats: the full softmax at a small price.

        loss = −log( e^{s_t} / (e^{s_t} + Σ_{k ≠ t} e^{s_k}) )        s_k = h·W_k + b_k − log E_k

    h : (..., C)   weight : (V, C)   bias : (V,) or None
    targets : (...) integers, negative = not counted
    sampled : (ids, log E of the targets (...), log E of the ids) as `sampling.log_uniform` returns
        them, or (ids,) alone for no correction; ids are (S,), the same for every row, or (..., S).
        An id that is the row's target is left out.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Jean et al. 2015; TensorFlow's function of this name. Its gradient is nearly that of the
    full softmax; its value is smaller.

    >>> h, weight = np.zeros((1, 3)), np.zeros((11, 3))
    >>> sampled_softmax_loss(h, weight, None, [2], ([5, 7],))  # one of three equal scores: log 3
    Tensor(1.0986)
    """
    name = "sampled_softmax_loss"
    true, others, target, ids = _corrected(name, h, weight, bias, targets, sampled)
    left_out = (ids == target) | (ids < 0)
    others = where(left_out, -1e30, others)
    margin = sub(true, logsumexp(others, -1, keepdims=True))
    losses = _yes_or_no(margin, 1.0, target)  # −log σ(s_t − log Σ e^s)
    counted = (target >= 0).sum()
    return reduced(losses, reduction, counted)


def nce_loss(
    h: Operand,
    weight: Operand,
    bias: Operand | None,
    targets: ArrayLike,
    sampled: tuple,
    reduction: str = "mean",
) -> Tensor:
    """Noise-contrastive estimation, in nats: is a word from the text, or one of K from the noise?

        loss = −log σ(s_t) − Σ_k log σ(−s_k)        s = h·W + b − log(K·P_noise)

    h : (..., C), targets : (...) -> a single number, or (...) without reduction. The arguments are
    those of `sampled_softmax_loss`, with log(K·P_noise) as log E; ids that are the target stay in.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Gutmann & Hyvärinen 2010; Mnih & Teh 2012. The scores become log-probabilities without
    a normaliser.
    """
    true, others, target, ids = _corrected("nce_loss", h, weight, bias, targets, sampled)
    ids = np.where(target < 0, -1, ids)
    from_text = _yes_or_no(true, 1.0, target)
    from_noise = _yes_or_no(others, 0.0, ids)
    counted = (target >= 0).sum()
    return reduced(add(from_text, from_noise), reduction, counted)


def negative_sampling_loss(
    h: Operand,
    weight: Operand,
    targets: ArrayLike,
    negatives: ArrayLike,
    reduction: str = "mean",
) -> Tensor:
    """word2vec's loss in nats: −log σ(u_t·h) − Σ_k log σ(−u_k·h), which is NCE uncorrected.

    h : (..., C)   weight : (V, C), rows u
    targets : (...) integers   negatives : (..., K), or (K,) for every row
    A negative id marks an empty place in both: the target is not counted, the negative is skipped.
    The mean is over counted targets.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Mikolov et al. 2013b.

    >>> h, weight = np.zeros((1, 3)), np.zeros((11, 3))
    >>> negative_sampling_loss(h, weight, [2], [5, 7])  # three questions of even chance: 3 log 2
    Tensor(2.0794)
    """
    return nce_loss(h, weight, None, targets, (negatives,), reduction)


def hierarchical_softmax_loss(
    h: Operand,
    nodes: Operand,
    paths: ArrayLike,
    codes: ArrayLike,
    reduction: str = "mean",
) -> Tensor:
    """−log of the product of the turns from a tree's root to a word, in nats.

        loss = −Σ_d log σ((1 − 2·code_d) · u_d·h)

    h : (..., C)   nodes : (V − 1, C), rows u
    paths : (..., D) inner nodes, negative after the end   codes : (..., D) bits
    A word's path and code are its rows of `kernels.huffman_tree(counts)`, so a softmax costs only
    the length of the code. The mean is over rows.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Morin & Bengio 2005; Mikolov et al. 2013b. Differs from word2vec.c: no update is skipped
    where |u·h| > 6.

    >>> h, nodes = np.zeros((1, 3)), np.zeros((10, 3))
    >>> hierarchical_softmax_loss(h, nodes, [[9, 4, -1]], [[1, 0, 0]])  # two even turns: 2 log 2
    Tensor(1.3863)
    """
    paths = np.asarray(paths)
    codes = np.asarray(codes)
    if paths.shape != codes.shape:
        raise ShapeError(
            f"hierarchical_softmax_loss: paths {paths.shape} and codes {codes.shape} "
            "must be equal in shape."
        )
    scores = _scores("hierarchical_softmax_loss", h, nodes, None, paths)
    truth = 1 - codes.astype(int)
    losses = _yes_or_no(scores, truth, paths)
    return reduced(losses, reduction, losses.size)
