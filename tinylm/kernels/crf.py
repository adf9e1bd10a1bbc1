"""A linear-chain CRF: the forward algorithm over all sequences of tags, and its gradient.

    score of tags y     s(y) = start[y_1] + Σ_t scores[t, y_t] + Σ_t A[y_{t−1}, y_t] + end[y_T]
    partition           Z = Σ over all K^T sequences of exp s(y)

    arriving_1 = start,  arriving_t[j] = log Σ_i exp(α_{t−1}[i] + A[i, j])
    α_t = arriving_t + scores_t − c_t,   with c_t such that Σ_j exp α_t[j] = 1
    log Z = Σ_t c_t + log Σ_j exp(α_T[j] + end[j])

So exp α_t[j] is the share of tag j among all beginnings of t tags, and no number grows with the
text. The gradient goes back along the same sums. Of all that ends in j at t, the share that had tag
i before it is p_t(i | j) = exp(α_{t−1}[i] + A[i, j] − arriving_t[j]):

    dscores_T[j] = dy · exp(α_T[j] + end[j] − c_end)
    dscores_{t−1}[i] = Σ_j p_t(i | j) dscores_t[j]
    dA[i, j] = Σ_t p_t(i | j) dscores_t[j]

With dy = 1, dscores are the probabilities of each tag at each place. Positions that the mask leaves
out are passed over, wherever they stand. The plain sum over all K^T sequences is in the tests.

The gradient multiplies once for each token, and each product rounds. After 500 tokens float32 would
be wrong in the sixth digit, so the way back is computed in float64.
"""

import numpy as np
from numba import prange

from .elementary import exp, largest
from .runtime.registry import helper, kernel


def _log_sum_ref(x):
    """log Σ exp x over the first axis, without overflow."""
    top = x.max(axis=0)
    return top + np.log(np.exp(x - top).sum(axis=0))


def _crf_ref(scores, mask, transitions, starts, ends, alphas, scales, log_partition):
    """The forward equations, one text after another.

    >>> scores, mask = np.zeros((1, 2, 3)), np.ones((1, 2), bool)
    >>> none, free = np.zeros(3), np.zeros((3, 3))
    >>> alphas, scales, log_partition = np.empty((1, 2, 3)), np.empty((1, 3)), np.empty(1)
    >>> _crf_ref(scores, mask, free, none, none, alphas, scales, log_partition)
    >>> np.exp(log_partition).round(9)  # 3 tags at 2 places: 9 sequences, each of score 0
    array([9.])
    """
    alphas[...] = 0
    scales[...] = 0
    for b in range(len(scores)):
        arriving = starts
        final = None
        for t in np.flatnonzero(mask[b]):
            unscaled = arriving + scores[b, t]
            scales[b, t] = _log_sum_ref(unscaled)
            alphas[b, t] = unscaled - scales[b, t]
            arriving = _log_sum_ref(alphas[b, t][:, None] + transitions)
            final = alphas[b, t] + ends
        if final is not None:
            scales[b, -1] = _log_sum_ref(final)
    log_partition[...] = scales.sum(axis=1, dtype=np.float64)


@helper
def _arrive(before, transitions, tops, totals, arriving):
    """arriving[j] = log Σ_i exp(before[i] + transitions[i, j]); tops and totals are room for it."""
    width = before.size
    for j in range(width):
        tops[j] = before[0] + transitions[0, j]
        totals[j] = 0
    for i in range(1, width):
        for j in range(width):
            score = before[i] + transitions[i, j]
            tops[j] = score if score > tops[j] else tops[j]
    for i in range(width):
        for j in range(width):
            totals[j] += exp(before[i] + transitions[i, j] - tops[j])
    for j in range(width):
        arriving[j] = tops[j] + np.log(totals[j])


@helper
def _log_sum(row):
    """log Σ exp row."""
    top = largest(row)
    total = row.dtype.type(0)
    for j in range(row.size):
        total += exp(row[j] - top)
    return top + np.log(total)


@kernel(
    reference=_crf_ref,
    parallel=True,
    spec="""
        scores: float[B,T,K]
        mask: bool[B,T]
        transitions: float[K,K]
        starts: float[K]
        ends: float[K]
        alphas: out[B,T,K]
        scales: out[B,T+1]
        log_partition: out[B]
    """,
)
def crf(scores, mask, transitions, starts, ends, alphas, scales, log_partition):
    """log Z of each text, and what its gradient needs.

    scores : (B, T, K) of each tag at each place   mask : (B, T) False = no place of the text
    transitions : (K, K) from the row's tag to the column's   starts, ends : (K,)
    alphas : (B, T, K) written, 0 where the mask is False
    scales : (B, T + 1) written: c_t, 0 where the mask is False, and c_end
    log_partition : (B,) written, 0 for a text without any place
    """
    batch, length, width = scores.shape
    for b in prange(batch):
        tops = np.empty(width, scores.dtype)
        totals = np.empty(width, scores.dtype)
        before = -1  # the last place of the text so far
        total = 0.0
        for t in range(length):
            row = alphas[b, t]
            scales[b, t] = 0
            for j in range(width):
                row[j] = 0
            if not mask[b, t]:
                continue
            if before < 0:
                for j in range(width):
                    row[j] = starts[j]
            else:
                _arrive(alphas[b, before], transitions, tops, totals, row)
            for j in range(width):
                row[j] += scores[b, t, j]
            scale = _log_sum(row)
            for j in range(width):
                row[j] -= scale
            scales[b, t] = scale
            total += scale
            before = t
        scales[b, length] = 0
        if before >= 0:
            for j in range(width):
                tops[j] = alphas[b, before, j] + ends[j]
            scales[b, length] = _log_sum(tops)
            total += scales[b, length]
        log_partition[b] = total


def _crf_backward_ref(dy, scores, mask, transitions, ends, alphas, scales, dscores, dtransitions):
    """The backward equations, one text after another.

    >>> scores, mask, none = np.log([[[1.0, 3.0]]]), np.ones((1, 1), bool), np.zeros(2)
    >>> alphas, scales = np.log([[[0.25, 0.75]]]), np.array([[np.log(4), 0.0]])
    >>> dscores, dtransitions = np.empty((1, 1, 2)), np.empty((2, 2))
    >>> given = np.ones(1), scores, mask, np.zeros((2, 2)), none, alphas, scales
    >>> _crf_backward_ref(*given, dscores, dtransitions)
    >>> dscores.round(9)  # one place: a softmax
    array([[[0.25, 0.75]]])
    """
    given = dy, scores, transitions, ends, alphas, scales
    dy, scores, transitions, ends, alphas, scales = (x.astype(np.float64) for x in given)
    dscores[...] = 0
    total = np.zeros(transitions.shape)
    for b in range(len(scores)):
        places = np.flatnonzero(mask[b])
        if not places.size:
            continue
        later = dy[b] * np.exp(alphas[b, places[-1]] + ends - scales[b, -1])  # dscores at t
        dscores[b, places[-1]] = later
        for before, t in zip(places[-2::-1], places[:0:-1], strict=True):
            arriving = alphas[b, t] + scales[b, t] - scores[b, t]
            shares = np.exp(alphas[b, before][:, None] + transitions - arriving)  # p_t(i | j)
            pairs = shares * later
            later = pairs.sum(axis=1)
            dscores[b, before] = later
            total += pairs
    dtransitions[...] = total


@helper
def _passed_back(i, before, transitions, after, scores, scale, dafter, dpairs):
    """Σ_j p(i | j) dafter[j]; its terms are added to dpairs, unless that is empty."""
    total = 0.0
    for j in range(dafter.size):
        arriving = np.float64(after[j]) + scale - scores[j]
        pair = exp(np.float64(before[i]) + transitions[i, j] - arriving) * dafter[j]
        total += pair
        if dpairs.size:
            dpairs[j] += pair
    return total


@kernel(
    reference=_crf_backward_ref,
    parallel=True,
    spec="""
        dy: float[B]
        scores: float[B,T,K]
        mask: bool[B,T]
        transitions: float[K,K]
        ends: float[K]
        alphas: float[B,T,K]
        scales: float[B,T+1]
        dscores: out[B,T,K]
        dtransitions: out[K,K]
    """,
)
def crf_backward(dy, scores, mask, transitions, ends, alphas, scales, dscores, dtransitions):
    """dscores and dA from dy (B,), the inputs of `crf`, and the alphas and scales it wrote.

    dscores : (B, T, K) written, 0 where the mask is False   dtransitions : (K, K) written
    The gradient of starts is dscores at each text's first place, that of ends at its last.
    Texts share the first loop; rows of the transitions share the second, so that no sum depends on
    the number of threads.
    """
    batch, length, width = scores.shape
    for b in prange(batch):
        nothing = np.empty(0)
        later = np.empty(width)  # dscores at the next place of the text, in float64
        now = np.empty(width)
        after = -1  # that place
        for t in range(length - 1, -1, -1):
            if not mask[b, t]:
                for j in range(width):
                    dscores[b, t, j] = 0
                continue
            if after < 0:
                for j in range(width):
                    final = np.float64(alphas[b, t, j]) + ends[j] - scales[b, length]
                    now[j] = dy[b] * exp(final)
            else:
                for i in range(width):
                    now[i] = _passed_back(
                        i,
                        alphas[b, t],
                        transitions,
                        alphas[b, after],
                        scores[b, after],
                        scales[b, after],
                        later,
                        nothing,
                    )
            for j in range(width):
                later[j] = now[j]
                dscores[b, t, j] = now[j]
            after = t
    for i in prange(width):
        total = np.zeros(width)
        later = np.empty(width)
        for b in range(batch):
            before = -1
            for t in range(length):
                if not mask[b, t]:
                    continue
                if before >= 0:
                    for j in range(width):
                        later[j] = dscores[b, t, j]
                    _passed_back(
                        i,
                        alphas[b, before],
                        transitions,
                        alphas[b, t],
                        scores[b, t],
                        scales[b, t],
                        later,
                        total,
                    )
                before = t
        for j in range(width):
            dtransitions[i, j] = total[j]
