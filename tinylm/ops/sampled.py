"""Losses that look at a few words instead of the whole vocabulary: at words drawn by chance, or at the turns of a tree.

In all of them a negative id is a place to skip, and a row whose target is negative is not counted. The gradients of the
tables are sparse: they cost the rows that were looked at.
"""

import numpy as np

from ..errors import ShapeError
from .elementary import add, sub, where
from .layer import embedding
from .loss import _reduce, binary_cross_entropy_with_logits
from .product import linear, matmul
from .reduction import logsumexp
from .reduction import sum as sum_
from .registry import tensor
from .shape import getitem, reshape


def _scores(name, h, weight, bias, ids):
    """h·W[ids] + bias[ids], where an id is negative that of row 0.   raises ShapeError

    h : (..., C)   weight : (V, C)   bias : (V,) or None   ids : (..., K), or (K,) the same for every row   returns (..., K)
    """
    h, weight, ids = tensor(h), tensor(weight), np.asarray(ids)
    shared = ids.ndim == 1
    fits = (
        weight.ndim == 2
        and h.shape[-1:] == weight.shape[1:]
        and (shared or ids.shape[:-1] == h.shape[:-1])
    )
    bias = None if bias is None else tensor(bias)
    if not fits or (bias is not None and bias.shape != weight.shape[:1]):
        raise ShapeError(
            f"{name}: h {h.shape}, weight {weight.shape}, bias {None if bias is None else bias.shape} and ids "
            f"{ids.shape} do not fit; expected (..., C), (V, C), (V,) or None, and (..., K) or (K,)."
        )
    rows = embedding(weight, np.maximum(ids, 0))  # (...,K,C) or (K,C)
    scores = (
        linear(h, rows) if shared else reshape(matmul(rows, reshape(h, (*h.shape, 1))), ids.shape)
    )
    return scores if bias is None else add(scores, getitem(bias, np.maximum(ids, 0)))


def _yes_or_no(scores, truth, ids):
    """Σ −log σ(s) where truth is 1 and −log σ(−s) where it is 0, over the last axis where ids ≥ 0.   (..., K) -> (...)"""
    losses = binary_cross_entropy_with_logits(scores, truth, reduction="none")
    return sum_(where(ids >= 0, losses, 0.0), -1)


def _corrected(name, operands, targets, sampled):
    """Scores of the targets (..., 1) and of the sampled ids (..., S), less the logs of how often they were expected.

    operands : h, weight, bias   returns both scores, then both ids   raises ShapeError
    """
    ids, *log_expected = sampled
    if np.shape(targets) != np.shape(operands[0])[:-1]:
        raise ShapeError(
            f"{name}: targets {np.shape(targets)} do not fit h {np.shape(operands[0])}; expected (...) and "
            "(..., C)."
        )
    given = (np.asarray(targets)[..., None], np.asarray(ids))
    scores = [_scores(name, *operands, each) for each in given]
    if log_expected:
        truth, others = (
            np.asarray(log, score.dtype) for log, score in zip(log_expected, scores, strict=True)
        )
        scores = [sub(scores[0], truth[..., None]), sub(scores[1], others)]
    return (*scores, *given)


def sampled_softmax_loss(h, weight, bias, targets, sampled, reduction="mean"):
    """−log softmax over the target and the sampled ids, in nats: nearly the full softmax' gradient, at a small price.

        loss = −log( e^{s_t} / (e^{s_t} + Σ_{k ≠ t} e^{s_k}) )        s_k = h·W_k + b_k − log E_k

    h : (..., C)   weight : (V, C)   bias : (V,) or None   targets : (...) integers, negative = not counted
    sampled : (ids, log E of the targets (...), log E of the ids), as sampling.log_uniform draws them, or (ids,) alone for no
    correction; ids are (S,), the same for every row, or (..., S). An id equal to the target is left out.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Jean et al. 2015; TensorFlow's function of this name. Its value is below that of the full softmax.
    """
    true, others, target, ids = _corrected(
        "sampled_softmax_loss", (h, weight, bias), targets, sampled
    )
    others = where((ids == target) | (ids < 0), -1e30, others)
    losses = _yes_or_no(
        sub(true, logsumexp(others, -1, keepdims=True)), 1.0, target
    )  # −log σ(s_t − log Σ e^s)
    return _reduce(losses, reduction, (target >= 0).sum())


def nce_loss(h, weight, bias, targets, sampled, reduction="mean"):
    """Noise-contrastive estimation, in nats: is a word from the text, or from the noise that drew K others?

        loss = −log σ(s_t) − Σ_k log σ(−s_k)        s = h·W + b − log(K·P_noise)

    Arguments as in `sampled_softmax_loss`, with log(K·P_noise) as log E; ids equal to the target are kept.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Gutmann & Hyvärinen 2010; Mnih & Teh 2012. The scores become log-probabilities without a normaliser.
    """
    true, others, target, ids = _corrected("nce_loss", (h, weight, bias), targets, sampled)
    losses = add(
        _yes_or_no(true, 1.0, target), _yes_or_no(others, 0.0, np.where(target < 0, -1, ids))
    )
    return _reduce(losses, reduction, (target >= 0).sum())


def negative_sampling_loss(h, weight, targets, negatives, reduction="mean"):
    """word2vec's loss in nats: −log σ(u_t·h) − Σ_k log σ(−u_k·h), which is NCE without its correction.

    h : (..., C)   weight : (V, C), rows u   targets : (...) integers   negatives : (..., K), or (K,) for every row
    Negative targets are not counted, negative negatives skipped. The mean is over counted targets.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Mikolov et al. 2013b.
    """
    return nce_loss(h, weight, None, targets, (negatives,), reduction)


def hierarchical_softmax_loss(h, nodes, paths, codes, reduction="mean"):
    """−log of the product of the turns from a tree's root to a word, in nats: a softmax at the price of the code's length.

        loss = −Σ_d log σ((1 − 2·code_d) · u_d·h)

    h : (..., C)   nodes : (V − 1, C), rows u   paths : (..., D) inner nodes, negative after the end   codes : (..., D) bits
    A word's path and code are its rows of `kernels.huffman_tree(counts)`. The mean is over rows.
    raises ShapeError  for a wrong shape or an id out of range
    Source: Morin & Bengio 2005; Mikolov et al. 2013b. Differs from word2vec.c: no update is skipped where |u·h| > 6.
    """
    paths, codes = np.asarray(paths), np.asarray(codes)
    if paths.shape != codes.shape:
        raise ShapeError(
            f"hierarchical_softmax_loss: paths {paths.shape} and codes {codes.shape} must be equal in shape."
        )
    losses = _yes_or_no(
        _scores("hierarchical_softmax_loss", h, nodes, None, paths), 1 - codes.astype(int), paths
    )
    return _reduce(losses, reduction, losses.size)
