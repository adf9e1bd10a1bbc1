"""Attention by content, place and segment, one (batch, head) at a time, in blocks of query rows.

    S_ts = [ (q_t + u)·k_s + (q_t + w)·r_{β_t + s} + o_ts (q_t + z)·g ] / √D
    P = softmax(S) over the keys that may be seen          O = dropout(P) V

    dS = P ∘ (dropout'(dO Vᵀ) − δ)     as in attention.py
    dq_t = [ Σ_s dS_ts k_s + Σ_s dS_ts r_{β_t + s} + (Σ_s dS_ts o_ts) g ] / √D
    dk_s = Σ_t dS_ts (q_t + u)/√D      dr_c = Σ_{t,s: β_t + s = c} dS_ts (q_t + w)/√D
    du, dw, dz = the parts of dq, summed over texts and queries
    dg = Σ_t (Σ_s dS_ts o_ts) (q_t + z)/√D

Row c of r stands for one distance. Query t finds that of its first key in row β_t, that of the next
key in row β_t + 1, and so on. Neighbouring queries have neighbouring β. So a block of n queries
multiplies n + S − 1 rows of r in one product; each query then adds its own S of these numbers,
moved by its β. o_ts is 1 where query and key are of different segments. Nothing of size (T, S)
outlives a block.

The ladder, ms of a whole training step of an XLNet (16 texts of 128 tokens behind 64, 4 layers, 4
heads of 32), in turn on a busy machine: scores by place as a NumPy product, a shift and a bias of
`attention` 264, here 198.
"""

import math

import numpy as np
from numba import prange

from .attention import (
    BLOCK,
    PAD,
    backward_row,
    dropped_ref,
    exp_row,
    masked_softmax_ref,
    open_row,
)
from .dropout import drop_row
from .elementary import largest
from .heads import (
    KEY,
    QUERY,
    VALUE,
    add_row,
    dot_row,
    head_rows,
    load_rows,
    load_turned,
    scale_row,
    store_rows,
    write_head_rows,
)
from .runtime.blas import product
from .runtime.registry import helper, kernel

CONTENT = 0  # rows of `vectors`: u, w, z and g
PLACE = 1
SEGMENT = 2
STEP = 3


def _scores_ref(q, k, r, begins, vectors, other):
    """Scores (B, H, T, S) of q (B, H, T, D), k (B, H, S, D) and r (B, H, R, D).

    >>> q, k, r = np.ones((1, 1, 2, 1)), np.zeros((1, 1, 2, 1)), np.arange(3.0).reshape(1, 1, 3, 1)
    >>> none = np.empty((0, 0, 0), bool)
    >>> _scores_ref(q, k, r, np.array([[1, 0]]), np.zeros((4, 1, 1)), none)[0, 0]
    array([[1., 2.],
           [0., 1.]])
    """
    content, place, segment, step = vectors[:, None, :, None]  # (1,H,1,D) each
    by_distance = (q + place) @ r.swapaxes(2, 3)  # (B,H,T,R)
    columns = begins[:, None, :, None] + np.arange(k.shape[2])
    columns = np.broadcast_to(columns, (*q.shape[:3], k.shape[2]))
    scores = (q + content) @ k.swapaxes(2, 3) + np.take_along_axis(by_distance, columns, axis=3)
    if other.size:
        scores += other[:, None] * ((q + segment) * step).sum(axis=3, keepdims=True)
    return (scores / math.sqrt(max(q.shape[3], 1))).astype(q.dtype)


def _each_text(r, shape):
    """The rows of r as (B, H, R, D): each of its G directions for B/G texts."""
    batch, heads = shape
    directions = r.shape[0] * r.shape[3] // heads
    return np.repeat(head_rows(r, KEY, (directions, heads)), batch // directions, axis=0)


def _relative_attention_ref(q, k, v, r, begins, vectors, mask, other, rate, key, lse, out):
    shape = lse.shape[:2]
    queries = head_rows(q, QUERY, shape)
    keys = head_rows(k, KEY, shape)
    steps = _each_text(r, shape)
    scores = _scores_ref(queries, keys, steps, begins, vectors, other)
    weights, lse[...] = masked_softmax_ref(scores, np.broadcast_to(mask, scores.shape))
    if rate > 0:
        weights = weights * dropped_ref(weights.shape, key, rate, q.dtype)
    write_head_rows(out, QUERY, weights.astype(q.dtype) @ head_rows(v, VALUE, shape))


@helper
def _ask(q, vectors, bh, h, first, scale, asked):
    """asked (3, n, D) = queries first, first + 1, … plus u, w and z, all divided by √D."""
    n = asked.shape[1]
    load_rows(q, bh, QUERY, first, scale, asked[STEP])
    for part in (CONTENT, PLACE, SEGMENT):
        vector = vectors[part, h]
        for i in range(n):
            query = asked[STEP, i]
            mine = asked[part, i]
            for d in range(vector.size):
                mine[d] = query[d] + scale * vector[d]


@helper
def _steps_seen(begins, source):
    """(first, behind the last) of the rows of r that some queries of a text look at.

    begins : (n,), β of each     source : S

    >>> tuple(map(int, _steps_seen.py_func(np.array([4, 3]), source=10)))
    (3, 14)
    """
    return begins.min(), begins.max() + source


@helper
def _amount(asked, vectors, h, i):
    """What query i of a block adds to its scores of keys of another segment."""
    query = asked[SEGMENT, i]
    step = vectors[STEP, h]
    total = query.dtype.type(0)
    for d in range(step.size):
        total += query[d] * step[d]
    return total


@helper
def _score(asked, vectors, keys, steps, begins, other, b, h, first, low, high, scores, moved):
    """The scores of a block of n queries of text b in head h, before the mask.

    asked : (4, n, D)     keys : (D, S + PAD)     steps : rᵀ, (D, R + PAD)
    low, high : the rows of r that the block looks at
    scores : (n, S + PAD)     moved : (n, high − low + PAD), gets the scores by distance
    """
    source = scores.shape[1] - PAD
    zero = scores.dtype.type(0)
    product(asked[CONTENT], False, keys[:, :source], False, scores[:, :source])
    product(asked[PLACE], False, steps[:, low:high], False, moved[:, : high - low])
    for i in range(scores.shape[0]):
        row = scores[i, :source]
        begin = begins[b, first + i] - low
        add_row(row, moved[i, begin : begin + source])
        if other.size:
            apart = other[b, first + i]
            amount = _amount(asked, vectors, h, i)
            for s in range(source):
                row[s] += amount if apart[s] else zero


@kernel(
    reference=_relative_attention_ref,
    parallel=True,
    spec="""
        q: float[B,T,1,H,D]
        k: float[B,S,1,H,D]
        v: float[B,S,1,H,D]
        r: float[G,R,1,H,D]
        begins: ids<R[B,T]
        vectors: float[4,H,D]
        mask: bool[(B|1),(H|1),(T|1),(S|1)]
        other: bool[B,T,S]?
        rate: rate
        key: key
        lse: out[B,H,T]
        out: out[B,T,1,H,D]
    """,
)
def relative_attention(q, k, v, r, begins, vectors, mask, other, rate, key, lse, out):
    """out = dropout(softmax(S)) V with the scores S above; lse keeps each row's log Σ e^score.

    q, out, k, v : (G, T or S, 1, H', D)     mask : bool (B, H, T, S), every axis full or 1
    r : (G', R, 1, H', D) with G'·H' = G·H: each of G directions serves B/G texts, in order
    begins : (B, T) int64, β, with 0 ≤ β and β + S ≤ R
    vectors : (4, H, D), u, w, z, g     other : (B, T, S) bool, o; empty = all segments are the same
    lse : (B, H, T), +inf for a row that may attend to nothing, whose out is 0
    Source: Dai et al. 2019, section 3.3; Yang et al. 2019, sections 2.4 and 2.5.
    """
    batch, heads, length = lse.shape
    source = k.shape[1]
    width = q.shape[4]
    rows_of_r = r.shape[1]
    directions = r.shape[0] * r.shape[3] // heads
    texts = batch // directions
    one = q.dtype.type(1)
    scale = q.dtype.type(1 / math.sqrt(max(width, 1)))
    for bh in prange(batch * heads):
        b = bh // heads
        h = bh % heads
        keys = np.empty((width, source + PAD), q.dtype)
        values = np.empty((source, width), q.dtype)
        steps = np.empty((width, rows_of_r + PAD), q.dtype)
        load_turned(k, bh, KEY, keys)
        load_rows(v, bh, VALUE, 0, one, values)
        load_turned(r, b // texts * heads + h, KEY, steps)
        for first in range(0, length, BLOCK):
            n = min(BLOCK, length - first)
            low, high = _steps_seen(begins[b, first : first + n], source)
            asked = np.empty((4, n, width), q.dtype)
            scores = np.empty((n, source + PAD), q.dtype)
            moved = np.empty((n, high - low + PAD), q.dtype)
            _ask(q, vectors, bh, h, first, scale, asked)
            _score(
                asked, vectors, keys, steps, begins, other, b, h, first, low, high, scores, moved
            )
            mine = asked[CONTENT]
            inverse = np.zeros(n, q.dtype)
            for i in range(n):
                t = first + i
                row = scores[i, :source]
                open_row(row, mask, b, h, t)
                top = largest(row)
                total = exp_row(row, top)
                lse[b, h, t] = np.inf if total == 0 else top + np.log(total)
                inverse[i] = 0 if total == 0 else one / total
                if rate > 0:
                    drop_row(row, (bh * length + t) * source, key, rate)
            product(scores[:, :source], False, values, False, mine)
            for i in range(n):
                scale_row(mine[i], inverse[i])
            store_rows(mine, one, out, bh, QUERY, first)


def _relative_attention_backward_ref(
    dout, q, k, v, r, begins, vectors, out, lse, mask, other, rate, key, dq, dk, dv, dr, dvectors
):
    shape = lse.shape[:2]
    queries = head_rows(q, QUERY, shape)
    keys = head_rows(k, KEY, shape)
    values = head_rows(v, VALUE, shape)
    grad = head_rows(dout, QUERY, shape)
    steps = _each_text(r, shape)
    content, place, segment, step = vectors[:, None, :, None]  # (1,H,1,D) each
    scores = _scores_ref(queries, keys, steps, begins, vectors, other)
    weights, _ = masked_softmax_ref(scores, np.broadcast_to(mask, scores.shape))
    drop = dropped_ref(weights.shape, key, rate, q.dtype) if rate > 0 else 1
    dweights = (grad @ values.swapaxes(2, 3)) * drop
    dscores = weights * (dweights - (weights * dweights).sum(axis=3, keepdims=True))
    scaled = (dscores / math.sqrt(max(q.shape[4], 1))).astype(q.dtype)
    by_distance = np.zeros((*scaled.shape[:3], steps.shape[2]), q.dtype)
    columns = begins[:, None, :, None] + np.arange(k.shape[1])
    columns = np.broadcast_to(columns, scaled.shape)
    np.put_along_axis(by_distance, columns, scaled, axis=3)
    amounts = (scaled * other[:, None]).sum(axis=3, keepdims=True) if other.size else 0
    parts = (scaled @ keys, by_distance @ steps, amounts * step + 0 * queries)
    write_head_rows(dq, QUERY, sum(parts))
    write_head_rows(dk, KEY, scaled.swapaxes(2, 3) @ (queries + content))
    write_head_rows(dv, VALUE, (weights * drop).swapaxes(2, 3) @ grad)
    each = by_distance.swapaxes(2, 3) @ (queries + place)  # (B,H,R,D)
    directions = r.shape[0] * r.shape[3] // lse.shape[1]
    grouped = each.reshape(directions, -1, *each.shape[1:])  # (B,H,R,D) -> (G,B/G,H,R,D)
    write_head_rows(dr, KEY, grouped.sum(axis=1))
    for part in (CONTENT, PLACE, SEGMENT):
        dvectors[part] = parts[part].sum(axis=(0, 2))
    dvectors[STEP] = (amounts * (queries + segment)).sum(axis=(0, 2))


@helper
def _weigh_back(scores, dscores, grad, out, lse, mask, b, h, first, rate, key):
    """A block's scores become dropout(P); dscores, which hold dO Vᵀ, become dS.

    scores, dscores : (n, S + PAD)     grad : (n, D), dO of the block     out, lse, mask : as above
    """
    heads, length = lse.shape[1:]
    source = scores.shape[1] - PAD
    bh = b * heads + h
    for i in range(scores.shape[0]):
        t = first + i
        row = scores[i, :source]
        drow = dscores[i, :source]
        delta = dot_row(out, bh, t, grad[i])
        open_row(row, mask, b, h, t)
        backward_row(row, drow, lse[b, h, t], delta, (bh * length + t) * source, key, rate)


@helper
def _move_back(dscores, begins, b, first, low, moved):
    """Put the gradients of a block's scores back by distance; all others become 0."""
    source = dscores.shape[1] - PAD
    moved[:] = 0
    for i in range(dscores.shape[0]):
        begin = begins[b, first + i] - low
        add_row(moved[i, begin : begin + source], dscores[i, :source])


@helper
def _finish_queries(dscores, other, asked, vectors, b, h, first, scale, dasked, dvectors):
    """dasked[STEP] = √D · dq of a block of queries; dvectors (4, D) += their part of a head's.

    dasked : (4, n, D), holds the gradients of what was asked of content and place
    """
    source = dscores.shape[1] - PAD
    zero = dscores.dtype.type(0)
    for i in range(dscores.shape[0]):
        amount = zero
        if other.size:
            row = dscores[i]
            apart = other[b, first + i]
            for s in range(source):
                amount += row[s] if apart[s] else zero
        for d in range(dvectors.shape[1]):
            content = dasked[CONTENT, i, d]
            place = dasked[PLACE, i, d]
            segment = amount * vectors[STEP, h, d]
            dasked[STEP, i, d] = content + place + segment
            dvectors[CONTENT, d] += content * scale
            dvectors[PLACE, d] += place * scale
            dvectors[SEGMENT, d] += segment * scale
            dvectors[STEP, d] += amount * asked[SEGMENT, i, d]


@helper
def _sum_over_texts(parts, total):
    """total (4, H, D) = the sum of parts (B·H, 4, D) over the B texts."""
    heads = total.shape[1]
    total[:] = 0
    for bh in range(parts.shape[0]):
        total[:, bh % heads] += parts[bh]


@kernel(
    reference=_relative_attention_backward_ref,
    parallel=True,
    spec="""
        dout: float[B,T,1,H,D]
        q: float[B,T,1,H,D]
        k: float[B,S,1,H,D]
        v: float[B,S,1,H,D]
        r: float[G,R,1,H,D]
        begins: ids<R[B,T]
        vectors: float[4,H,D]
        out: float[B,T,1,H,D]
        lse: float[B,H,T]
        mask: bool[(B|1),(H|1),(T|1),(S|1)]
        other: bool[B,T,S]?
        rate: rate
        key: key
        dq: out[B,T,1,H,D]
        dk: out[B,S,1,H,D]
        dv: out[B,S,1,H,D]
        dr: out[G,R,1,H,D]
        dvectors: out[4,H,D]
    """,
)
def relative_attention_backward(
    dout, q, k, v, r, begins, vectors, out, lse, mask, other, rate, key, dq, dk, dv, dr, dvectors
):
    """All gradients of `relative_attention` from its out, its lse and dout.

    dout, dq : as q, (G, T, 1, H', D)     dk, dv, dr, dvectors : as k, v, r and vectors
    Several texts share r: each writes its own part, and a second loop adds those of a direction.
    """
    batch, heads, length = lse.shape
    source = k.shape[1]
    width = q.shape[4]
    rows_of_r = r.shape[1]
    directions = r.shape[0] * r.shape[3] // heads
    texts = batch // directions
    one = q.dtype.type(1)
    scale = q.dtype.type(1 / math.sqrt(max(width, 1)))
    parts_of_r = np.empty((batch * heads, rows_of_r, width), q.dtype)
    parts_of_vectors = np.zeros((batch * heads, 4, width), q.dtype)
    for bh in prange(batch * heads):
        b = bh // heads
        h = bh % heads
        keys = np.empty((source, width), q.dtype)
        steps = np.empty((rows_of_r, width), q.dtype)
        turned_keys = np.empty((width, source + PAD), q.dtype)
        turned_values = np.empty((width, source + PAD), q.dtype)
        turned_steps = np.empty((width, rows_of_r + PAD), q.dtype)
        load_rows(k, bh, KEY, 0, one, keys)
        load_rows(r, b // texts * heads + h, KEY, 0, one, steps)
        load_turned(k, bh, KEY, turned_keys)
        load_turned(v, bh, VALUE, turned_values)
        load_turned(r, b // texts * heads + h, KEY, turned_steps)
        dkeys = np.zeros((source, width), q.dtype)
        dvalues = np.zeros((source, width), q.dtype)
        dsteps = parts_of_r[bh]
        dsteps[:] = 0
        for first in range(0, length, BLOCK):
            n = min(BLOCK, length - first)
            low, high = _steps_seen(begins[b, first : first + n], source)
            asked = np.empty((4, n, width), q.dtype)
            dasked = np.empty((4, n, width), q.dtype)
            scores = np.empty((n, source + PAD), q.dtype)
            dscores = np.empty((n, source + PAD), q.dtype)
            moved = np.empty((n, high - low + PAD), q.dtype)
            _ask(q, vectors, bh, h, first, scale, asked)
            _score(
                asked,
                vectors,
                turned_keys,
                turned_steps,
                begins,
                other,
                b,
                h,
                first,
                low,
                high,
                scores,
                moved,
            )
            grad = dasked[SEGMENT]
            weights = scores[:, :source]
            dweights = dscores[:, :source]
            by_distance = moved[:, : high - low]
            load_rows(dout, bh, QUERY, first, one, grad)
            product(grad, False, turned_values[:, :source], False, dweights)
            _weigh_back(scores, dscores, grad, out, lse, mask, b, h, first, rate, key)
            product(weights, True, grad, True, dvalues)
            product(dweights, True, asked[CONTENT], True, dkeys)
            product(dweights, False, keys, False, dasked[CONTENT])
            _move_back(dscores, begins, b, first, low, moved)
            product(by_distance, True, asked[PLACE], True, dsteps[low:high])
            product(by_distance, False, steps[low:high], False, dasked[PLACE])
            _finish_queries(
                dscores, other, asked, vectors, b, h, first, scale, dasked, parts_of_vectors[bh]
            )
            store_rows(dasked[STEP], scale, dq, bh, QUERY, first)
        store_rows(dkeys, one, dk, bh, KEY, 0)
        store_rows(dvalues, one, dv, bh, VALUE, 0)
    for nth in prange(directions * heads):
        total = np.zeros((rows_of_r, width), q.dtype)
        begin = nth // heads * texts * heads + nth % heads
        for text in range(texts):
            total += parts_of_r[begin + text * heads]
        store_rows(total, one, dr, nth, KEY, 0)
    _sum_over_texts(parts_of_vectors, dvectors)
