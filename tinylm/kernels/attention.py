"""Scaled dot-product attention, one (batch, head) at a time, in blocks of query rows.

    P = softmax(scale · Q Kᵀ over the columns that may be attended),   O = dropout(P) V
    dV = dropout(P)ᵀ dO,  dP = dropout'(dO Vᵀ),  dS = P ∘ (dP − Σ_s P ∘ dP),  dQ = scale · dS K,  dK = scale · dSᵀ Q

Only the logarithm of each row's normaliser is kept; the backward computes P again from it, so no (T, S) matrix survives
the forward. With `causal` a block of rows multiplies only the columns up to its last row. Row t is query number
t + S − T, so that with a key prefix the last query sees everything. A row that may attend to nothing gives zeros.

Arrays are (B, H, T, D) with any strides: the three thirds of one packed (B, T, 3·H·D) product need no copy.
"""

import numpy as np
from numba import prange

from .dropout import drop_row
from .elementary import exp, kept, kept_ref, largest, threshold_of
from .registry import helper, kernel

BLOCK = 64


def _allowed(mask, causal, shape):
    """The boolean (B, H, T, S) of columns that each row may attend to."""
    _, _, length, source = shape
    allowed = np.broadcast_to(mask, shape)
    return allowed & np.tri(length, source, source - length, dtype=bool) if causal else allowed


def _weights_ref(q, k, mask, causal, scale):
    """Softmax weights (B, H, T, S) and log-normalisers (B, H, T); rows without a column are 0 and +inf."""
    scores = (q * q.dtype.type(scale)) @ k.swapaxes(2, 3)
    allowed = _allowed(mask, causal, scores.shape)
    scores = np.where(allowed, scores, -np.inf)
    top = np.max(scores, axis=3, keepdims=True, initial=-np.inf)
    weights = np.where(allowed, np.exp(scores - np.where(np.isneginf(top), 0, top)), 0)
    total = weights.sum(axis=3, keepdims=True)
    lse = np.where(total == 0, np.inf, top + np.log(np.where(total == 0, 1, total)))
    return (weights / np.where(total == 0, 1, total)).astype(q.dtype), lse[..., 0].astype(q.dtype)


def _dropped(shape, key, rate, dtype):
    """mask/(1 − rate) for the weights (B, H, T, S)."""
    return (kept_ref(np.arange(np.prod(shape)).reshape(shape), key, rate) / (1 - rate)).astype(dtype)


def _attention_ref(q, k, v, mask, causal, scale, rate, key, lse, out):
    weights, lse[...] = _weights_ref(q, k, mask, causal, scale)
    if rate > 0:
        weights = weights * _dropped(weights.shape, key, rate, q.dtype)
    out[...] = weights @ v


@helper
def _mask_row(row, mask, b, h, t):
    """Set the columns of a row of scores that the boolean mask (B|1, H|1, T|1, S|1) forbids to −inf."""
    allowed = mask[b if mask.shape[0] > 1 else 0, h if mask.shape[1] > 1 else 0, t if mask.shape[2] > 1 else 0]
    for s in range(row.size):
        row[s] = row[s] if allowed[s if allowed.size > 1 else 0] else -np.inf


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
def _copy(source, target, scale):
    """target = source · scale for (rows, D) arrays; the source may have any strides."""
    for i in range(source.shape[0]):
        for d in range(source.shape[1]):
            target[i, d] = source[i, d] * scale


@helper
def _columns(last, length, source, causal):
    """How many columns the rows before `last` may attend to at most."""
    return max(0, min(source, last + source - length)) if causal else source


@kernel(reference=_attention_ref, parallel=True,
        spec="q: float[B,H,T,D]; k: float[B,H,S,D]; v: float[B,H,S,D]; mask: bool[(B|1),(H|1),(T|1),(S|1)]; causal: 0..1; "
             "scale: real; rate: rate; key: key; lse: out[B,H,T]; out: out[B,H,T,D]")
def attention(q, k, v, mask, causal, scale, rate, key, lse, out):
    """out = dropout(softmax(scale · Q Kᵀ)) V with masks; lse keeps each row's log-normaliser (+inf: nothing allowed).

    q, out : (B, H, T, D)   k, v : (B, H, S, D)   mask : bool, every axis full or 1   lse : (B, H, T)
    Source: Vaswani et al. 2017, section 3.2.1; the blocks after Dao et al. 2022. Differs: fully masked rows give 0.
    """
    batch, heads, length, width = q.shape
    source = k.shape[2]
    masked = mask.size != 1 or not mask[0, 0, 0, 0]
    one = q.dtype.type(1)
    for bh in prange(batch * heads):
        b, h = bh // heads, bh % heads
        keys, values = np.empty((source, width), q.dtype), np.empty((source, width), q.dtype)
        _copy(k[b, h], keys, one)
        _copy(v[b, h], values, one)
        buffer, rows = np.empty(BLOCK * source, q.dtype), np.empty((BLOCK, width), q.dtype)
        for first in range(0, length, BLOCK):
            last = min(first + BLOCK, length)
            n, columns = last - first, _columns(last, length, source, causal)
            _copy(q[b, h, first:last], rows, q.dtype.type(scale))
            scores = buffer[:n * columns].reshape((n, columns))
            np.dot(rows[:n], keys[:columns].T, scores)
            inverse = np.zeros(n, q.dtype)
            for i in range(n):
                t = first + i
                limit = _columns(t + 1, length, source, causal)
                row = scores[i, :limit]
                if masked:
                    _mask_row(row, mask, b, h, t)
                top = largest(row)
                total = _exp_row(row, top)
                scores[i, limit:] = 0
                lse[b, h, t] = np.inf if total == 0 else top + np.log(total)
                inverse[i] = 0 if total == 0 else one / total
                if rate > 0:
                    drop_row(row, (bh * length + t) * source, key, rate)
            np.dot(scores, values[:columns], rows[:n])
            for i in range(n):
                for d in range(width):
                    out[b, h, first + i, d] = rows[i, d] * inverse[i]


def _attention_backward_ref(dout, q, k, v, out, lse, mask, causal, scale, rate, key, dq, dk, dv):
    weights, _ = _weights_ref(q, k, mask, causal, scale)
    drop = _dropped(weights.shape, key, rate, q.dtype) if rate > 0 else 1
    dv[...] = (weights * drop).swapaxes(2, 3) @ dout
    dweights = (dout @ v.swapaxes(2, 3)) * drop
    dscores = weights * (dweights - (weights * dweights).sum(axis=3, keepdims=True)) * q.dtype.type(scale)
    dq[...] = dscores @ k
    dk[...] = dscores.swapaxes(2, 3) @ q


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
def _add_product(a, b, product, total):
    """total += a b, the product through a contiguous buffer."""
    np.dot(a, b, product)
    for i in range(product.shape[0]):
        for d in range(product.shape[1]):
            total[i, d] += product[i, d]


@kernel(reference=_attention_backward_ref, parallel=True,
        spec="dout: float[B,H,T,D]; q: float[B,H,T,D]; k: float[B,H,S,D]; v: float[B,H,S,D]; out: float[B,H,T,D]; "
             "lse: float[B,H,T]; mask: bool[(B|1),(H|1),(T|1),(S|1)]; causal: 0..1; scale: real; rate: rate; key: key; "
             "dq: out[B,H,T,D]; dk: out[B,H,S,D]; dv: out[B,H,S,D]")
def attention_backward(dout, q, k, v, out, lse, mask, causal, scale, rate, key, dq, dk, dv):
    """dq, dk, dv of `attention` from its output, its lse and dout; Σ_s P ∘ dP is the row sum of dO ∘ O.

    dout, q, out, dq : (B, H, T, D)   k, v, dk, dv : (B, H, S, D)   lse : (B, H, T)
    """
    batch, heads, length, width = q.shape
    source = k.shape[2]
    masked = mask.size != 1 or not mask[0, 0, 0, 0]
    one = q.dtype.type(1)
    for bh in prange(batch * heads):
        b, h = bh // heads, bh % heads
        keys, values = np.empty((source, width), q.dtype), np.empty((source, width), q.dtype)
        _copy(k[b, h], keys, one)
        _copy(v[b, h], values, one)
        dk[b, h], dv[b, h] = 0, 0
        buffer, dbuffer = np.empty(BLOCK * source, q.dtype), np.empty(BLOCK * source, q.dtype)
        rows, drows = np.empty((BLOCK, width), q.dtype), np.empty((BLOCK, width), q.dtype)
        product = np.empty((source, width), q.dtype)
        for first in range(0, length, BLOCK):
            last = min(first + BLOCK, length)
            n, columns = last - first, _columns(last, length, source, causal)
            _copy(q[b, h, first:last], rows, q.dtype.type(scale))
            _copy(dout[b, h, first:last], drows, one)
            scores, dscores = buffer[:n * columns].reshape((n, columns)), dbuffer[:n * columns].reshape((n, columns))
            np.dot(rows[:n], keys[:columns].T, scores)
            np.dot(drows[:n], values[:columns].T, dscores)
            for i in range(n):
                t = first + i
                limit = _columns(t + 1, length, source, causal)
                if masked:
                    _mask_row(scores[i, :limit], mask, b, h, t)
                delta = q.dtype.type(0)
                for d in range(width):
                    delta += drows[i, d] * out[b, h, t, d]
                _backward_row(scores[i, :limit], dscores[i, :limit], lse[b, h, t], delta,
                              (bh * length + t) * source, key, rate)
                scores[i, limit:] = 0
                dscores[i, limit:] = 0
            _add_product(scores.T, drows[:n], product[:columns], dv[b, h, :columns])
            _add_product(dscores.T, rows[:n], product[:columns], dk[b, h, :columns])
            np.dot(dscores, keys[:columns], rows[:n])
            _copy(rows[:n], dq[b, h, first:last], q.dtype.type(scale))
