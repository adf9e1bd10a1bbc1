"""Scaled dot-product attention, one (batch, head) at a time, in blocks of query rows.

    S  = Q Kᵀ/√D + bias          P = softmax(S) over the columns that may be attended
    O  = dropout(P) V

    dV = dropout(P)ᵀ dO          dP = dropout'(dO Vᵀ)
    dS = P ∘ (dP − Σ_s P ∘ dP)   dbias = dS
    dQ = dS K/√D                 dK = dSᵀ Q/√D

The forward keeps only the logarithm of each row's normaliser. The backward computes P again from
it, so no (T, S) matrix survives the forward. A row that may attend to nothing gives zeros.

With `causal`, row t is query number t + S − T: after a prefix of keys, the last query sees
everything. A block of rows then multiplies only the columns up to its last row.

The arrays hold heads as heads.py explains, (G, T, M, H', D), with M = 3 or 1.
"""

import math

import numpy as np
from numba import prange

from .dropout import drop_row
from .elementary import exp, kept, kept_ref, largest, threshold_of
from .heads import (
    KEY,
    QUERY,
    VALUE,
    add_row,
    dot_row,
    head_copy,
    head_rows,
    load_rows,
    scale_row,
    store_rows,
    write_head_rows,
)
from .runtime.blas import product
from .runtime.panels import multiply, multiply_top, packed_columns, packed_rows
from .runtime.registry import helper, kernel

BLOCK = 64  # rows of queries
SHORT = 64  # a causal text up to here goes in halves, which skips a quarter of all products
LANES = 16  # float32 numbers of a vector register
PAD = 16  # extra columns: rows a power of two apart would compete for the same places of the cache


def _weights_ref(q, k, mask, bias, causal):
    """Softmax weights (B, H, T, S) and log-normalisers (B, H, T) of (B, H, T, D) arrays.

    >>> q, k, empty = np.ones((1, 1, 2, 1)), np.ones((1, 1, 2, 1)), np.empty((0, 0, 0, 0))
    >>> weights, _ = _weights_ref(q, k, np.ones((1, 1, 1, 1), bool), empty, causal=1)
    >>> weights[0, 0]
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    root = math.sqrt(max(q.shape[3], 1))
    scaled = (q / root).astype(q.dtype)
    scores = scaled @ k.swapaxes(2, 3)
    if bias.size:
        scores = scores + bias
    length, source = scores.shape[2:]
    allowed = np.broadcast_to(mask, scores.shape)
    if causal:
        allowed = allowed & np.tri(length, source, source - length, dtype=bool)
    weights, lse = masked_softmax_ref(scores, allowed)
    return weights.astype(q.dtype), lse.astype(q.dtype)


def masked_softmax_ref(scores, allowed):
    """Softmax weights and log-normalisers (B, H, T) of scores (B, H, T, S) where `allowed`, else 0.

    A row that may attend to nothing has weights 0 and log-normaliser +inf.
    """
    scores = np.where(allowed, scores, -np.inf)
    top = np.max(scores, axis=3, keepdims=True, initial=-np.inf)
    shift = np.where(np.isneginf(top), 0, top)
    weights = np.where(allowed, np.exp(scores - shift), 0)
    total = weights.sum(axis=3, keepdims=True)
    nothing = total == 0
    safe_total = np.where(nothing, 1, total)
    lse = np.where(nothing, np.inf, top + np.log(safe_total))
    return weights / safe_total, lse[..., 0]


def dropped_ref(shape, key, rate, dtype):
    """mask/(1 − rate) for the weights (B, H, T, S)."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return (kept_ref(numbers, key, rate) / (1 - rate)).astype(dtype)


def _attention_ref(q, k, v, mask, bias, causal, rate, key, lse, out):
    shape = lse.shape[:2]
    queries = head_rows(q, QUERY, shape)
    keys = head_rows(k, KEY, shape)
    values = head_rows(v, VALUE, shape)
    weights, lse[...] = _weights_ref(queries, keys, mask, bias, causal)
    if rate > 0:
        weights = weights * dropped_ref(weights.shape, key, rate, q.dtype)
    write_head_rows(out, QUERY, weights @ values)


@helper
def open_row(row, mask, b, h, t):
    """Write −inf to a row of scores where the mask (B|1, H|1, T|1, S|1) is False."""
    mask_b = b if mask.shape[0] > 1 else 0
    mask_h = h if mask.shape[1] > 1 else 0
    mask_t = t if mask.shape[2] > 1 else 0
    allowed = mask[mask_b, mask_h, mask_t]
    if allowed.size == 1:
        if not allowed[0]:
            row[:] = -np.inf
    else:
        for s in range(row.size):
            row[s] = row[s] if allowed[s] else -np.inf


@helper
def exp_row(row, shift):
    """row = exp(row − shift) in place, 0 where row is −inf; returns the sum."""
    zero = row.dtype.type(0)
    total = zero
    for s in range(row.size):
        e = zero if row[s] == -np.inf else exp(row[s] - shift)
        row[s] = e
        total += e
    return total


@helper
def _reach(mask, b, h, source):
    """(how many columns come before the padding, whether the mask allows all of them).

    A mask that is the same for all rows often only hides padding at the end. Cutting the padding
    off makes the mask needless: mask [1 1 1 0 0] -> (3, True), [1 0 1 0 0] -> (3, False).
    """
    if mask.shape[2] > 1:
        return source, False
    mask_b = b if mask.shape[0] > 1 else 0
    mask_h = h if mask.shape[1] > 1 else 0
    allowed = mask[mask_b, mask_h, 0]
    if allowed.size == 1:
        return (source if allowed[0] else 0), True
    while source > 0 and not allowed[source - 1]:
        source -= 1
    return source, allowed[:source].all()


@helper
def _columns(last, length, source, causal, reach):
    """How many columns the rows before `last` may attend to at most."""
    if not causal:
        return reach
    return max(0, min(reach, last + source - length))


@helper
def _text_and_head(nth, batch, heads, mask):
    """Which text and head the task number nth is. A thread takes neighbouring tasks.

    Texts of one length go one after another: a thread then finds in its cache what it has written
    itself, since the layers around attention give it the same texts. Where a mask may hide padding,
    heads come first, so each thread gets short texts and long ones.
    """
    if mask.shape[0] == 1:
        return nth // heads, nth % heads
    return nth % batch, nth // batch


@helper
def _block_rows(length, causal):
    """Rows of queries in a block."""
    if causal and length <= SHORT:
        return BLOCK // 2
    return BLOCK


@helper
def _padded(row, limit, columns):
    """Hide the columns from `limit` up to the next multiple of LANES; returns where that is.

    A row that is a whole number of lanes long leaves no rest to compute one by one.
    """
    full = min((limit + LANES - 1) // LANES * LANES, columns)
    row[limit:full] = -np.inf
    return full


@helper
def one_query(q, k, v, mask, bias, rate, key, lse, out, b, h, reach, is_open):
    """The forward of head h of text b for a single query, which uses each key once: no copies."""
    bh = b * lse.shape[1] + h
    width = q.shape[4]
    scale = q.dtype.type(1 / math.sqrt(max(width, 1)))
    query = np.empty((1, width), q.dtype)
    load_rows(q, bh, QUERY, 0, scale, query)
    row = np.empty(reach, q.dtype)
    group = bh // k.shape[3]
    head = bh % k.shape[3]
    part = min(KEY, k.shape[2] - 1)
    for s in range(reach):
        mine = k[group, s, part, head]
        total = q.dtype.type(0)
        for d in range(width):
            total += query[0, d] * mine[d]
        row[s] = total
    if bias.size:
        add_row(row, bias[b, h, 0])
    if not is_open:
        open_row(row, mask, b, h, 0)
    top = largest(row)
    total = exp_row(row, top)
    lse[b, h, 0] = np.inf if total == 0 else top + np.log(total)
    if rate > 0:
        drop_row(row, bh * k.shape[1], key, rate)
    query[:] = 0
    group = bh // v.shape[3]
    head = bh % v.shape[3]
    part = min(VALUE, v.shape[2] - 1)
    for s in range(reach):
        mine = v[group, s, part, head]
        weight = row[s]
        for d in range(width):
            query[0, d] += weight * mine[d]
    inverse = q.dtype.type(0 if total == 0 else 1 / total)
    store_rows(query, inverse, out, bh, QUERY, 0)


@kernel(
    reference=_attention_ref,
    parallel=True,
    spec="""
        q: float[B,T,(3|1),H,D]
        k: float[B,S,(3|1),H,D]
        v: float[B,S,(3|1),H,D]
        mask: bool[(B|1),(H|1),(T|1),(S|1)]
        bias: float[B,H,T,S]?
        causal: 0..1
        rate: rate
        key: key
        lse: out[B,H,T]
        out: out[B,T,1,H,D]
    """,
)
def attention(q, k, v, mask, bias, causal, rate, key, lse, out):
    """out = dropout(softmax(Q Kᵀ/√D + bias)) V with masks; lse keeps each row's log Σ e^score.

    q, out : (G, T, M, H', D)   k, v : (G, S, M, H', D), see above
    mask : bool (B, H, T, S), every axis full or 1   bias : (B, H, T, S) or empty
    lse : (B, H, T), +inf for a row that may attend to nothing
    Source: Vaswani et al. 2017, section 3.2.1; the blocks after Dao et al. 2022.
    Differs: fully masked rows give 0.
    """
    batch, heads, length = lse.shape
    source = k.shape[1]
    width = q.shape[4]
    one = q.dtype.type(1)
    root = math.sqrt(max(width, 1))
    scale = q.dtype.type(1 / root)
    for nth in prange(batch * heads):
        b, h = _text_and_head(nth, batch, heads, mask)
        bh = b * heads + h
        reach, is_open = _reach(mask, b, h, source)
        if length == 1:
            one_query(q, k, v, mask, bias, rate, key, lse, out, b, h, reach, is_open)
            continue
        turned_keys = packed_rows(head_copy(k, bh, KEY))
        values = packed_columns(head_copy(v, bh, VALUE))
        scores = np.empty((BLOCK, source + PAD), q.dtype)
        rows = np.empty((BLOCK, width), q.dtype)
        block = _block_rows(length, causal)
        for first in range(0, length, block):
            last = min(first + block, length)
            n = last - first
            columns = _columns(last, length, source, causal, reach)
            mine = rows[:n]
            weights = scores[:n, :columns]
            load_rows(q, bh, QUERY, first, scale, mine)
            inverse = np.zeros(n, q.dtype)
            multiply(mine, turned_keys, False, weights)
            for i in range(n):
                t = first + i
                limit = _columns(t + 1, length, source, causal, reach)
                full = _padded(scores[i], limit, columns)
                row = scores[i, :full]
                if bias.size:
                    add_row(row, bias[b, h, t])
                if not is_open:
                    open_row(row, mask, b, h, t)
                top = largest(row)
                total = exp_row(row, top)
                scores[i, full:columns] = 0
                lse[b, h, t] = np.inf if total == 0 else top + np.log(total)
                inverse[i] = 0 if total == 0 else one / total
                if rate > 0:
                    drop_row(row, (bh * length + t) * source, key, rate)
            multiply_top(weights, values, source, False, mine)
            for i in range(n):
                scale_row(rows[i], inverse[i])
            store_rows(mine, one, out, bh, QUERY, first)


def _attention_backward_ref(dout, q, k, v, out, lse, mask, bias, causal, rate, key, dq, dk, dv):
    shape = lse.shape[:2]
    queries = head_rows(q, QUERY, shape)
    keys = head_rows(k, KEY, shape)
    values = head_rows(v, VALUE, shape)
    grad = head_rows(dout, QUERY, shape)
    weights, _ = _weights_ref(queries, keys, mask, bias, causal)
    drop = dropped_ref(weights.shape, key, rate, q.dtype) if rate > 0 else 1
    dweights = (grad @ values.swapaxes(2, 3)) * drop
    delta = (weights * dweights).sum(axis=3, keepdims=True)
    dscores = weights * (dweights - delta)
    if bias.size:
        bias[...] = dscores
    root = math.sqrt(max(q.shape[4], 1))
    scaled = (dscores / root).astype(q.dtype)
    dropped = weights * drop
    write_head_rows(dq, QUERY, scaled @ keys)
    write_head_rows(dk, KEY, scaled.swapaxes(2, 3) @ queries)
    write_head_rows(dv, VALUE, dropped.swapaxes(2, 3) @ grad)


@helper
def backward_row(scores, dweights, lse, delta, first, key, rate):
    """In place for one row: scores become dropout(P), dweights become dS = P ∘ (dropout'(dP) − δ).

    δ = Σ_s P ∘ dP is `delta`; the row's first weight has number `first` in the dropout mask.
    """
    keep = scores.dtype.type(1 / (1 - rate))
    zero = scores.dtype.type(0)
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


@kernel(
    reference=_attention_backward_ref,
    parallel=True,
    spec="""
        dout: float[B,T,1,H,D]
        q: float[B,T,(3|1),H,D]
        k: float[B,S,(3|1),H,D]
        v: float[B,S,(3|1),H,D]
        out: float[B,T,1,H,D]
        lse: float[B,H,T]
        mask: bool[(B|1),(H|1),(T|1),(S|1)]
        bias: inout[B,H,T,S]?
        causal: 0..1
        rate: rate
        key: key
        dq: out[B,T,(3|1),H,D]
        dk: out[B,S,(3|1),H,D]
        dv: out[B,S,(3|1),H,D]
    """,
)
def attention_backward(dout, q, k, v, out, lse, mask, bias, causal, rate, key, dq, dk, dv):
    """dq, dk, dv of `attention` from its out, its lse and dout; dbias = dS overwrites the bias.

    A row's Σ_s P ∘ dP equals Σ_d dO ∘ O, which is cheaper.
    dout, q, k, v, out, dq, dk, dv : (G, T or S, M, H', D)   lse : (B, H, T)
    """
    batch, heads, length = lse.shape
    source = k.shape[1]
    width = q.shape[4]
    one = q.dtype.type(1)
    root = math.sqrt(max(width, 1))
    scale = q.dtype.type(1 / root)
    for nth in prange(batch * heads):
        b, h = _text_and_head(nth, batch, heads, mask)
        bh = b * heads + h
        reach, is_open = _reach(mask, b, h, source)
        copy_of_keys = head_copy(k, bh, KEY)
        keys = packed_columns(copy_of_keys)
        turned_keys = packed_rows(copy_of_keys)
        turned_values = packed_rows(head_copy(v, bh, VALUE))
        dkeys = np.zeros((source, width), q.dtype)
        dvalues = np.zeros((source, width), q.dtype)
        scores = np.empty((BLOCK, source + PAD), q.dtype)
        dscores = np.empty((BLOCK, source + PAD), q.dtype)
        rows = np.empty((BLOCK, width), q.dtype)
        drows = np.empty((BLOCK, width), q.dtype)
        block = _block_rows(length, causal)
        for first in range(0, length, block):
            last = min(first + block, length)
            n = last - first
            columns = _columns(last, length, source, causal, reach)
            mine = rows[:n]
            dmine = drows[:n]
            weights = scores[:n, :columns]
            dweights = dscores[:n, :columns]
            load_rows(q, bh, QUERY, first, scale, mine)
            load_rows(dout, bh, QUERY, first, one, dmine)
            multiply(mine, turned_keys, False, weights)
            multiply(dmine, turned_values, False, dweights)
            for i in range(n):
                t = first + i
                limit = _columns(t + 1, length, source, causal, reach)
                full = _padded(scores[i], limit, columns)
                row = scores[i, :full]
                drow = dscores[i, :full]
                number = (bh * length + t) * source
                delta = dot_row(out, bh, t, drows[i])
                if bias.size:
                    add_row(row, bias[b, h, t])
                if not is_open:
                    open_row(row, mask, b, h, t)
                backward_row(row, drow, lse[b, h, t], delta, number, key, rate)
                scores[i, full:columns] = 0
                dscores[i, full:columns] = 0
                if bias.size:
                    bias[b, h, t, :columns] = dscores[i, :columns]
                    bias[b, h, t, columns:] = 0
            product(weights, True, dmine, True, dvalues[:columns])
            product(dweights, True, mine, True, dkeys[:columns])
            multiply_top(dweights, keys, source, False, mine)
            store_rows(mine, scale, dq, bh, QUERY, first)
        store_rows(dkeys, one, dk, bh, KEY, 0)
        store_rows(dvalues, one, dv, bh, VALUE, 0)
