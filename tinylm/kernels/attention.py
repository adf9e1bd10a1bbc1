"""Scaled dot-product attention, one (batch, head) at a time, in blocks of query rows.

    P = softmax(Q Kᵀ/√D + bias over the columns that may be attended),   O = dropout(P) V
    dV = dropout(P)ᵀ dO,  dP = dropout'(dO Vᵀ),  dS = P ∘ (dP − Σ_s P ∘ dP),  dQ = dS K/√D,  dK = dSᵀ Q/√D,  dbias = dS

Only the logarithm of each row's normaliser is kept; the backward computes P again from it, so no (T, S) matrix survives
the forward. With `causal` a block of rows multiplies only the columns up to its last row. Row t is query number
t + S − T, so that with a key prefix the last query sees everything. A row that may attend to nothing gives zeros.

Queries, keys, values, output and their gradients are contiguous arrays (G, T, M, H', D): G groups of H' heads, B·H in all,
and M = 3 parts where queries, keys and values lie beside each other as one packed product left them, or M = 1. So
(B, T, 3·H·D) products, (B, T, H, D) and (B, H, T, D) arrays are all read and written where they lie, and a head's row of D
numbers is always one run (rows of unknown stride were copied four times slower).
"""

import math

import numpy as np
from numba import prange

from .dropout import drop_row
from .elementary import exp, kept, kept_ref, largest, threshold_of
from .runtime.blas import product
from .runtime.registry import helper, kernel

BLOCK = 64
PAD = 16  # columns more than needed: rows a power of two apart would all fall into the same places of the cache
QUERY, KEY, VALUE = 0, 1, 2


def _head_rows(x, part, shape):
    """One part of an array (G, T, M, H', D) as a (B, H, T, D) array."""
    return x[:, :, min(part, x.shape[2] - 1)].swapaxes(1, 2).reshape(*shape, x.shape[1], x.shape[4])


def _write_head_rows(x, part, values):
    """The same part written: values are (B, H, T, D)."""
    groups, length, parts, heads, width = x.shape
    x[:, :, min(part, parts - 1)] = values.reshape(groups, heads, length, width).swapaxes(1, 2)


def _weights_ref(q, k, mask, bias, causal):
    """Softmax weights (B, H, T, S) and log-normalisers (B, H, T) of (B, H, T, D) arrays; rows without a column: 0, +inf."""
    scores = (q / math.sqrt(max(q.shape[3], 1))).astype(q.dtype) @ k.swapaxes(2, 3)
    if bias.size:
        scores = scores + bias
    length, source = scores.shape[2:]
    allowed = np.broadcast_to(mask, scores.shape)
    allowed = allowed & np.tri(length, source, source - length, dtype=bool) if causal else allowed
    scores = np.where(allowed, scores, -np.inf)
    top = np.max(scores, axis=3, keepdims=True, initial=-np.inf)
    weights = np.where(allowed, np.exp(scores - np.where(np.isneginf(top), 0, top)), 0)
    total = weights.sum(axis=3, keepdims=True)
    lse = np.where(total == 0, np.inf, top + np.log(np.where(total == 0, 1, total)))
    return (weights / np.where(total == 0, 1, total)).astype(q.dtype), lse[..., 0].astype(q.dtype)


def _dropped(shape, key, rate, dtype):
    """mask/(1 − rate) for the weights (B, H, T, S)."""
    return (kept_ref(np.arange(np.prod(shape)).reshape(shape), key, rate) / (1 - rate)).astype(
        dtype
    )


def _attention_ref(q, k, v, mask, bias, causal, rate, key, lse, out):
    q, k, v = (_head_rows(x, part, lse.shape[:2]) for part, x in enumerate((q, k, v)))
    weights, lse[...] = _weights_ref(q, k, mask, bias, causal)
    if rate > 0:
        weights = weights * _dropped(weights.shape, key, rate, q.dtype)
    _write_head_rows(out, QUERY, weights @ v)


@helper
def _load(x, bh, part, first, scale, target):
    """target (n, D) = scale · rows first … of head number bh in one part of x."""
    heads, part = x.shape[3], min(part, x.shape[2] - 1)
    for i in range(target.shape[0]):
        row, mine = x[bh // heads, first + i, part, bh % heads], target[i]
        for d in range(mine.size):
            mine[d] = row[d] * scale


@helper
def _load_turned(x, bh, part, target):
    """target (D, ≥ n) = the transpose of all n rows of head number bh in one part of x: a product with it needs no other."""
    heads, part = x.shape[3], min(part, x.shape[2] - 1)
    for i in range(x.shape[1]):
        row = x[bh // heads, i, part, bh % heads]
        for d in range(row.size):
            target[d, i] = row[d]


@helper
def _store(source, scale, x, bh, part, first):
    """Rows first … of head number bh in one part of x = scale · source (n, D)."""
    heads, part = x.shape[3], min(part, x.shape[2] - 1)
    for i in range(source.shape[0]):
        row, mine = x[bh // heads, first + i, part, bh % heads], source[i]
        for d in range(mine.size):
            row[d] = mine[d] * scale


@helper
def _open_row(row, mask, is_open, bias, b, h, t):
    """A row of scores with its bias, if there is one, and −inf in the columns that the mask (B|1, H|1, T|1, S|1) forbids."""
    if bias.size:
        extra = bias[b, h, t]
        for s in range(row.size):
            row[s] += extra[s]
    if not is_open:
        allowed = mask[
            b if mask.shape[0] > 1 else 0,
            h if mask.shape[1] > 1 else 0,
            t if mask.shape[2] > 1 else 0,
        ]
        if allowed.size == 1:
            if not allowed[0]:
                row[:] = -np.inf
        else:
            for s in range(row.size):
                row[s] = row[s] if allowed[s] else -np.inf


@helper
def _exp_row(row, shift):
    """row = exp(row − shift) in place, 0 where row is −inf; returns the sum."""
    total = row.dtype.type(0)
    for s in range(row.size):
        e = row.dtype.type(0) if row[s] == -np.inf else exp(row[s] - shift)
        row[s] = e
        total += e
    return total


@helper
def _reach(mask, b, h, source):
    """(columns up to the last that may be attended, whether all of these may) where the mask is the same for all rows.

    So the padding of a short text is cut off, and what is left needs no mask.
    """
    if mask.shape[2] > 1:
        return source, False
    allowed = mask[b if mask.shape[0] > 1 else 0, h if mask.shape[1] > 1 else 0, 0]
    if allowed.size == 1:
        return (source if allowed[0] else 0), True
    while source > 0 and not allowed[source - 1]:
        source -= 1
    return source, allowed[:source].all()


@helper
def _columns(last, length, source, causal, reach):
    """How many columns the rows before `last` may attend to at most."""
    return max(0, min(reach, last + source - length)) if causal else reach


@helper
def _scale_row(row, scale):
    for d in range(row.size):
        row[d] *= scale


@kernel(
    reference=_attention_ref,
    parallel=True,
    spec="q: float[B,T,(3|1),H,D]; k: float[B,S,(3|1),H,D]; v: float[B,S,(3|1),H,D]; "
    "mask: bool[(B|1),(H|1),(T|1),(S|1)]; bias: float[B,H,T,S]?; causal: 0..1; rate: rate; key: key; "
    "lse: out[B,H,T]; out: out[B,T,1,H,D]",
)
def attention(q, k, v, mask, bias, causal, rate, key, lse, out):
    """out = dropout(softmax(Q Kᵀ/√D + bias)) V with masks; lse keeps each row's log-normaliser (+inf: nothing allowed).

    q, out : (G, T, M, H', D)   k, v : (G, S, M, H', D), see above   mask : bool (B, H, T, S), every axis full or 1
    bias : (B, H, T, S) or empty   lse : (B, H, T)
    Source: Vaswani et al. 2017, section 3.2.1; the blocks after Dao et al. 2022. Differs: fully masked rows give 0.
    """
    (batch, heads, length), source, width = lse.shape, k.shape[1], q.shape[4]
    one = q.dtype.type(1)
    scale = q.dtype.type(1 / math.sqrt(max(width, 1)))
    for nth in prange(batch * heads):
        b, h = nth % batch, nth // batch  # so that each thread gets short texts and long ones
        bh = b * heads + h
        reach, is_open = _reach(mask, b, h, source)
        turned, values = (
            np.empty((width, source + PAD), q.dtype),
            np.empty((source, width), q.dtype),
        )
        _load_turned(k, bh, KEY, turned)
        _load(v, bh, VALUE, 0, one, values)
        scores, rows = np.empty((BLOCK, source + PAD), q.dtype), np.empty((BLOCK, width), q.dtype)
        for first in range(0, length, BLOCK):
            last = min(first + BLOCK, length)
            n, columns = last - first, _columns(last, length, source, causal, reach)
            _load(q, bh, QUERY, first, scale, rows[:n])
            inverse = np.zeros(n, q.dtype)
            product(rows[:n], False, turned[:, :columns], False, scores[:n, :columns])
            for i in range(n):
                t = first + i
                limit = _columns(t + 1, length, source, causal, reach)
                row = scores[i, :limit]
                _open_row(row, mask, is_open, bias, b, h, t)
                top = largest(row)
                total = _exp_row(row, top)
                scores[i, limit:columns] = 0
                lse[b, h, t] = np.inf if total == 0 else top + np.log(total)
                inverse[i] = 0 if total == 0 else one / total
                if rate > 0:
                    drop_row(row, (bh * length + t) * source, key, rate)
            product(scores[:n, :columns], False, values[:columns], False, rows[:n])
            for i in range(n):
                _scale_row(rows[i], inverse[i])
            _store(rows[:n], one, out, bh, QUERY, first)


def _attention_backward_ref(dout, q, k, v, out, lse, mask, bias, causal, rate, key, dq, dk, dv):
    shape = lse.shape[:2]
    queries, keys, values = (_head_rows(x, part, shape) for part, x in enumerate((q, k, v)))
    grad = _head_rows(dout, QUERY, shape)
    weights, _ = _weights_ref(queries, keys, mask, bias, causal)
    drop = _dropped(weights.shape, key, rate, q.dtype) if rate > 0 else 1
    dweights = (grad @ values.swapaxes(2, 3)) * drop
    dscores = weights * (dweights - (weights * dweights).sum(axis=3, keepdims=True))
    if bias.size:
        bias[...] = dscores
    scaled = (dscores / math.sqrt(max(q.shape[4], 1))).astype(q.dtype)
    _write_head_rows(dq, QUERY, scaled @ keys)
    _write_head_rows(dk, KEY, scaled.swapaxes(2, 3) @ queries)
    _write_head_rows(dv, VALUE, (weights * drop).swapaxes(2, 3) @ grad)


@helper
def _backward_row(scores, dweights, lse, delta, first, key, rate):
    """In place for one row: scores become dropout(P), dweights become dS = P ∘ (dropout'(dP) − Σ P ∘ dP)."""
    keep, zero = scores.dtype.type(1 / (1 - rate)), scores.dtype.type(0)
    threshold = threshold_of(rate)
    if rate > 0:
        for s in range(scores.size):
            p = zero if scores[s] == -np.inf else exp(scores[s] - lse)
            drop = keep if kept(first + s, key, threshold) else zero
            scores[s] = p * drop
            dweights[s] = p * (dweights[s] * drop - delta)
    else:
        for s in range(scores.size):
            p = zero if scores[s] == -np.inf else exp(scores[s] - lse)
            scores[s] = p
            dweights[s] = p * (dweights[s] - delta)


@helper
def _dot_row(x, bh, t, row):
    """Σ x · row, x's row t of head number bh."""
    mine, total = x[bh // x.shape[3], t, 0, bh % x.shape[3]], row.dtype.type(0)
    for d in range(row.size):
        total += mine[d] * row[d]
    return total


@kernel(
    reference=_attention_backward_ref,
    parallel=True,
    spec="dout: float[B,T,1,H,D]; q: float[B,T,(3|1),H,D]; k: float[B,S,(3|1),H,D]; v: float[B,S,(3|1),H,D]; "
    "out: float[B,T,1,H,D]; lse: float[B,H,T]; mask: bool[(B|1),(H|1),(T|1),(S|1)]; bias: inout[B,H,T,S]?; "
    "causal: 0..1; rate: rate; key: key; dq: out[B,T,(3|1),H,D]; dk: out[B,S,(3|1),H,D]; dv: out[B,S,(3|1),H,D]",
)
def attention_backward(dout, q, k, v, out, lse, mask, bias, causal, rate, key, dq, dk, dv):
    """dq, dk, dv of `attention` from its output, its lse and dout; the bias is overwritten by its gradient dS.

    Σ_s P ∘ dP of a row is the sum of dO ∘ O.   dout, q, k, v, out, dq, dk, dv : (G, T or S, M, H', D)   lse : (B, H, T)
    """
    (batch, heads, length), source, width = lse.shape, k.shape[1], q.shape[4]
    one = q.dtype.type(1)
    scale = q.dtype.type(1 / math.sqrt(max(width, 1)))
    for nth in prange(batch * heads):
        b, h = nth % batch, nth // batch  # so that each thread gets short texts and long ones
        bh = b * heads + h
        reach, is_open = _reach(mask, b, h, source)
        keys, turned = (
            np.empty((source, width), q.dtype),
            np.empty((2, width, source + PAD), q.dtype),
        )
        _load(k, bh, KEY, 0, one, keys)
        _load_turned(k, bh, KEY, turned[0])
        _load_turned(v, bh, VALUE, turned[1])
        dkeys, dvalues = np.zeros((source, width), q.dtype), np.zeros((source, width), q.dtype)
        scores, dscores = (
            np.empty((BLOCK, source + PAD), q.dtype),
            np.empty((BLOCK, source + PAD), q.dtype),
        )
        rows, drows = np.empty((BLOCK, width), q.dtype), np.empty((BLOCK, width), q.dtype)
        for first in range(0, length, BLOCK):
            last = min(first + BLOCK, length)
            n, columns = last - first, _columns(last, length, source, causal, reach)
            _load(q, bh, QUERY, first, scale, rows[:n])
            _load(dout, bh, QUERY, first, one, drows[:n])
            product(rows[:n], False, turned[0, :, :columns], False, scores[:n, :columns])
            product(drows[:n], False, turned[1, :, :columns], False, dscores[:n, :columns])
            for i in range(n):
                t = first + i
                limit = _columns(t + 1, length, source, causal, reach)
                _open_row(scores[i, :limit], mask, is_open, bias, b, h, t)
                _backward_row(
                    scores[i, :limit],
                    dscores[i, :limit],
                    lse[b, h, t],
                    _dot_row(out, bh, t, drows[i]),
                    (bh * length + t) * source,
                    key,
                    rate,
                )
                scores[i, limit:columns] = 0
                dscores[i, limit:columns] = 0
                if bias.size:
                    bias[b, h, t, :columns] = dscores[i, :columns]
                    bias[b, h, t, columns:] = 0
            product(scores[:n, :columns], True, drows[:n], True, dvalues[:columns])
            product(dscores[:n, :columns], True, rows[:n], True, dkeys[:columns])
            product(dscores[:n, :columns], False, keys[:columns], False, rows[:n])
            _store(rows[:n], scale, dq, bh, QUERY, first)
        _store(dkeys, one, dk, bh, KEY, 0)
        _store(dvalues, one, dv, bh, VALUE, 0)
