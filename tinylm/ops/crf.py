"""The conditional random field: tags of a text that depend on each other.

    p(y | x) = exp s(y) / Z
    s(y) = start[y_1] + Σ_t scores[t, y_t] + Σ_t A[y_{t−1}, y_t] + end[y_T]

`scores` come from a network, `A` says which tag follows which. `crf_log_partition` sums over all
K^T sequences in T·K² steps, `crf_loss` is −log p of the right one, and `crf_decode` finds the best.
Source: Lafferty et al. 2001; Lample et al. 2016 (scores from a recurrent network).
"""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ArgumentError, ShapeError
from tinylm.tensor import Tensor, record

from .loss import reduced
from .reduction import sum as sum_
from .registry import Operand, check_ids, contiguous, op, same_dtype, tensor


def _checked(name, scores, transitions, starts, ends, mask):
    """The operands as Tensors and the mask as bool (B, T), all of fitting shapes."""
    scores = tensor(scores)
    transitions = tensor(transitions, like=scores)
    starts = tensor(starts, like=scores)
    ends = tensor(ends, like=scores)
    shapes = [x.shape for x in (transitions, starts, ends)]
    width = scores.shape[-1] if scores.ndim == 3 else 0  # K
    if not width or shapes != [(width, width), (width,), (width,)]:
        raise ShapeError(
            f"{name}: scores {scores.shape}, transitions {shapes[0]}, starts {shapes[1]} and ends "
            f"{shapes[2]} do not fit; expected (B, T, K), (K, K), (K,) and (K,) with K ≥ 1."
        )
    same_dtype(name, scores, transitions, starts, ends)
    mask = np.ones(scores.shape[:2], bool) if mask is None else np.array(mask, bool, order="C")
    if mask.shape != scores.shape[:2]:
        raise ShapeError(
            f"{name}: mask has shape {mask.shape}; expected {scores.shape[:2]}, "
            "one truth value for each place of each text."
        )
    return scores, transitions, starts, ends, mask


def _first_and_last(mask):
    """The first and the last place of each text, (B,) each; 0 for a text without any."""
    length = mask.shape[1]
    if not length:
        nowhere = np.zeros(len(mask), np.int64)
        return nowhere, nowhere
    last = length - 1 - mask[:, ::-1].argmax(axis=1)
    return mask.argmax(axis=1), np.where(mask.any(axis=1), last, 0)


@op
def crf_log_partition(
    scores: Operand,
    transitions: Operand,
    starts: Operand,
    ends: Operand,
    mask: ArrayLike | None = None,
) -> Tensor:
    """log Z = log Σ_y exp s(y) over all sequences of tags.   ds = dy·p(tag), dA = dy·Σ_t p(i, j)

    scores : (B, T, K) of each tag at each place     transitions : (K, K) from row to column
    starts, ends : (K,) of the first tag and of the last
    mask : bool (B, T), False = no place of the text (at its end, or anywhere); None = all are
    returns (B,) in nats; 0 for a text without any place
    raises ShapeError  if the shapes do not fit
    All numbers must be finite; what is impossible gets a score like −10,000.

    >>> no = np.zeros(3)
    >>> crf_log_partition(np.zeros((1, 2, 3)), np.zeros((3, 3)), no, no)  # 9 sequences: log 9
    Tensor([2.1972])
    """
    name = "crf_log_partition"
    given = _checked(name, scores, transitions, starts, ends, mask)
    scores, transitions, starts, ends, mask = given
    log_z, backward = _summed(scores, transitions, starts, ends, mask)

    def vjp(dy):
        dscores, dtransitions = backward(contiguous(dy))
        if not dscores.size:
            return dscores, dtransitions, np.zeros_like(starts.data), np.zeros_like(ends.data)
        rows = np.arange(len(dscores))
        first, last = _first_and_last(mask)
        dstarts = dscores[rows, first].sum(axis=0)
        dends = dscores[rows, last].sum(axis=0)
        return dscores, dtransitions, dstarts, dends

    return record(name, log_z, (scores, transitions, starts, ends), vjp)


def _summed(scores, transitions, starts, ends, mask):
    """log Z (B,), and a function from dy (B,) to dscores (B, T, K) and dtransitions (K, K)."""
    batch, length, _ = scores.shape
    x = contiguous(scores.data)
    a = contiguous(transitions.data)
    end = contiguous(ends.data)
    alphas = np.empty_like(x)
    scales = np.empty((batch, length + 1), x.dtype)
    log_z = np.empty(batch, x.dtype)
    kernels.crf(x, mask, a, contiguous(starts.data), end, alphas, scales, log_z)

    def backward(dy):
        dscores = np.empty_like(x)
        dtransitions = np.empty_like(a)
        kernels.crf_backward(dy, x, mask, a, end, alphas, scales, dscores, dtransitions)
        return dscores, dtransitions

    return log_z, backward


def crf_score(
    scores: Operand,
    tags: ArrayLike,
    transitions: Operand,
    starts: Operand,
    ends: Operand,
    mask: ArrayLike | None = None,
) -> Tensor:
    """s(y) = start[y_1] + Σ_t scores[t, y_t] + Σ_t A[y_{t−1}, y_t] + end[y_T] of given tags.

    tags : (B, T) integers below K where the mask is True; the others are not read
    the other arguments : as in `crf_log_partition`     returns (B,); 0 for a text without any place
    raises ShapeError  if the shapes do not fit or a tag is out of range

    >>> scores, transitions = [[[10.0, 20.0], [30.0, 40.0]]], [[0.1, 0.2], [0.3, 0.4]]
    >>> crf_score(scores, [[0, 1]], transitions, starts=[1.0, 0.0], ends=[0.0, 8.0])
    Tensor([59.2])
    """
    given = _checked("crf_score", scores, transitions, starts, ends, mask)
    scores, transitions, starts, ends, mask = given
    tags = np.asarray(tags)
    if tags.shape != mask.shape:
        raise ShapeError(
            f"crf_score: tags have shape {tags.shape}; expected {mask.shape}, one for each place."
        )
    batch, length, width = scores.shape
    read = np.where(mask, tags, 0) if length else tags.astype(np.int64)
    ids = check_ids("crf_score", read, width)
    rows = np.arange(batch)
    at_place = scores[rows[:, None], np.arange(length), ids]  # (B,T,K) -> (B,T)
    total = sum_(at_place * mask.astype(scores.dtype), 1)
    if not length:
        return total
    before, follows = _tags_before(ids, mask)
    moved = transitions[before, ids]  # (B,T)
    total = total + sum_(moved * follows.astype(scores.dtype), 1)
    first, last = _first_and_last(mask)
    some = mask.any(axis=1).astype(scores.dtype)
    outer = starts[ids[rows, first]] + ends[ids[rows, last]]
    return total + outer * some


def _tags_before(ids, mask):
    """The tag at the place before each one, and whether there is such a place; (B, T) each."""
    before = np.zeros_like(ids)
    follows = np.zeros_like(mask)
    tag = ids[:, 0]
    seen = np.zeros(len(ids), bool)
    for t in range(mask.shape[1]):
        here = mask[:, t]
        before[:, t] = tag
        follows[:, t] = here & seen
        tag = np.where(here, ids[:, t], tag)
        seen |= here
    return before, follows


def crf_loss(
    scores: Operand,
    tags: ArrayLike,
    transitions: Operand,
    starts: Operand,
    ends: Operand,
    mask: ArrayLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−log p(y | x) = log Z − s(y) of the right tags, in nats.

    reduction : "mean" over texts, "token_mean" over all places of all texts, "sum", or "none"
    the other arguments : as in `crf_score`     returns a single number; (B,) for "none"
    raises ShapeError  if the shapes do not fit, ArgumentError  for another reduction

    >>> no = np.zeros(2)
    >>> crf_loss(np.zeros((1, 3, 2)), [[0, 1, 1]], np.zeros((2, 2)), no, no)  # one of 8: log 8
    Tensor(2.0794)
    """
    if reduction not in ("mean", "token_mean", "sum", "none"):
        raise ArgumentError(
            f"crf_loss: reduction is {reduction!r}; expected 'mean', 'token_mean', 'sum' or 'none'."
        )
    log_z = crf_log_partition(scores, transitions, starts, ends, mask)
    losses = log_z - crf_score(scores, tags, transitions, starts, ends, mask)
    if reduction == "token_mean":
        places = np.size(tags) if mask is None else np.sum(mask)
        return reduced(losses, "mean", float(places))
    return reduced(losses, reduction, losses.size)


def crf_decode(
    scores: Operand,
    transitions: Operand,
    starts: Operand,
    ends: Operand,
    mask: ArrayLike | None = None,
    allowed: ArrayLike | None = None,
    allowed_starts: ArrayLike | None = None,
) -> np.ndarray:
    """The tags with the highest score s(y), by the Viterbi algorithm; no gradient.

    allowed : bool (K, K), False = the column's tag never follows the row's; None = all may
    allowed_starts : bool (K,), False = no text begins with this tag; None = any may
    the other arguments : as in `crf_log_partition`
    returns (B, T) int64, −1 where the mask is False
    raises ShapeError  if the shapes do not fit
    Among equal sequences the one whose last tag is smallest wins, then the one before it, and so on

    >>> scores, no = np.array([[[0.0, 2.0], [3.0, 0.0]]]), np.zeros(2)
    >>> crf_decode(scores, np.zeros((2, 2)), no, no)
    array([[1, 0]])
    >>> crf_decode(scores, np.zeros((2, 2)), no, no, allowed=[[True, True], [False, True]])
    array([[0, 0]])
    """
    given = _checked("crf_decode", scores, transitions, starts, ends, mask)
    *numbers, mask = given
    x, a, start, end = [part.data.astype(np.float64) for part in numbers]
    if allowed is not None:
        a = np.where(allowed, a, -np.inf)
    if allowed_starts is not None:
        start = np.where(allowed_starts, start, -np.inf)
    batch, length, width = x.shape
    best = np.broadcast_to(start, (batch, width))  # score of the best way to each tag
    same = np.broadcast_to(np.arange(width), (batch, width))
    came_from = np.empty((length, batch, width), np.int64)
    begun = np.zeros((batch, 1), bool)
    for t in range(length):
        here = mask[:, t, None]
        ways = best[:, :, None] + a  # (B,K) -> (B,K,K), from axis 1 to axis 2
        arriving = np.where(begun, ways.max(axis=1), start)
        best = np.where(here, arriving + x[:, t], best)
        came_from[t] = np.where(here & begun, ways.argmax(axis=1), same)
        begun = begun | here
    path = np.full((batch, length), -1)
    tag = (best + end).argmax(axis=1)
    rows = np.arange(batch)
    for t in range(length - 1, -1, -1):
        path[:, t] = np.where(mask[:, t], tag, -1)
        tag = came_from[t, rows, tag]
    return path


def crf_marginals(
    scores: Operand,
    transitions: Operand,
    starts: Operand,
    ends: Operand,
    mask: ArrayLike | None = None,
) -> np.ndarray:
    """p(y_t = k | x) of every tag at every place: the gradient of log Z in the scores.

    the arguments : as in `crf_log_partition`
    returns (B, T, K) that sum to 1 over K, zeros where the mask is False

    >>> no = np.zeros(2)
    >>> crf_marginals(np.log([[[1.0, 3.0]]]), np.zeros((2, 2)), no, no)
    array([[[0.25, 0.75]]])
    """
    given = _checked("crf_marginals", scores, transitions, starts, ends, mask)
    log_z, backward = _summed(*given)
    marginals, _ = backward(np.ones_like(log_z))
    return marginals
