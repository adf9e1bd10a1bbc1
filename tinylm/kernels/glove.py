"""GloVe: how often words stand together, and the fit of the logarithms of these counts by AdaGrad.

    X_wc = Σ weights[d − 1] over all places where c stands d words from w, in the same line
    e = w·w̃ + b + b̃ − log X       cost = ½ f e²
    g = f e · (w̃, w, 1, 1)         (those of the vectors cut to ±clip)
    vectors:  w −= η g/√G,  G += (η g)²
    biases:   b −= g/√G,    G += g²          (every G begins at 1)

f is the weight of a cell, G the sum of the squared gradients of one number.

Counting takes one word after another and sums its row of X in one dense array, which stays in the
processor's cache. So it needs no hash table, no sorting and no merging: a row is complete before
the next one begins. Fitting is lock-free over runs of cells. benchmarks/vectors.py measures both.
"""

import numpy as np
from numba import prange

from .runtime.registry import helper, kernel
from .word2vec import CHUNKS


def row_parts(firsts: np.ndarray) -> list[tuple[int, int]]:
    """(first row, last row) of CHUNKS parts of the rows that hold about the same number of cells.

    >>> for first, last in row_parts(np.arange(33))[:3]:  # 32 rows of one cell each
    ...     print(first, last)
    0 2
    2 4
    4 6

    firsts : (R + 1,) row r has at most firsts[r + 1] − firsts[r] cells
    """
    cuts = np.searchsorted(firsts, firsts[-1] * np.arange(CHUNKS + 1) // CHUNKS)
    cuts[-1] = firsts.size - 1
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def _cooccurrence_ref(
    counts, columns, lengths, ids, line, places, starts, firsts, weights, symmetric, vocab_size
):
    """All neighbours of all places of a word at once, in the order in which they are met."""
    distance = np.arange(1, weights.size + 1)
    offsets = np.concatenate([-distance, distance])
    amounts = np.concatenate([weights, weights * bool(symmetric)])
    for first, last in row_parts(firsts):
        begin = firsts[first]
        for row in range(first, last):
            at = places[starts[row] : starts[row + 1], None]  # (occurrences, 1)
            wanted = at + offsets  # (occurrences, 2·window)
            partner = np.clip(wanted, 0, max(ids.size - 1, 0))
            inside = (partner == wanted) & (line[partner] == line[at]) & (amounts > 0)
            words, met, which = np.unique(
                ids[partner[inside]], return_index=True, return_inverse=True
            )
            amount = np.broadcast_to(amounts, inside.shape)[inside]
            total = np.bincount(which, amount, words.size)
            order = np.argsort(met)
            end = begin + words.size
            columns[begin:end] = words[order]
            counts[begin:end] = total[order]
            lengths[row] = words.size
            begin = end


@helper
def _add(total, met, size, word, amount):
    """Add to total[word]; note a new word in met[size]. Returns the number of words noted."""
    if total[word] == 0:
        met[size] = word
        size += 1
    total[word] += amount
    return size


@kernel(
    reference=_cooccurrence_ref,
    parallel=True,
    spec="""
        counts: out[M]
        columns: outids[M]
        lengths: outids[R]
        ids: ids<R[N]
        line: ids<N[N]
        places: ids<N[N]
        starts: ids<N[R+1]
        firsts: ids<M[R+1]
        weights: double[W]
        symmetric: 0..1
        vocab_size: 1..9
    """,
)
def cooccurrence(
    counts, columns, lengths, ids, line, places, starts, firsts, weights, symmetric, vocab_size
):
    """Rows of the matrix of co-occurrences: the cells that are not zero, in the order met.

    counts, columns : (M,) written, the cells of one row after another within each of CHUNKS
        parts; the part whose first row is r begins at firsts[r], see `row_parts`
    lengths : (R,) written: the number of cells of each row
    ids : (N,) words
    line : (N,) the line of each word, never falling
    places : (N,) positions in ids, sorted by row
    starts : (R + 1,) row r's word stands at places[starts[r]:starts[r + 1]]
    firsts : (R + 1,) row r has at most firsts[r + 1] − firsts[r] cells
    weights : (W,) > 0, of distance 1 … W
    symmetric : 1 counts words on both sides, 0 those on the left
    """
    for chunk in prange(CHUNKS):
        first = np.searchsorted(firsts, firsts[-1] * chunk // CHUNKS)
        last = lengths.size
        if chunk < CHUNKS - 1:
            last = np.searchsorted(firsts, firsts[-1] * (chunk + 1) // CHUNKS)
        end = firsts[first]
        total = np.zeros(vocab_size)
        met = np.empty(vocab_size, np.int64)
        for row in range(first, last):
            size = 0
            for place in range(starts[row], starts[row + 1]):
                at = places[place]
                left = min(weights.size, at)
                right = min(weights.size, ids.size - 1 - at) * symmetric
                for distance in range(1, left + 1):
                    other = at - distance
                    if line[other] != line[at]:
                        break
                    size = _add(total, met, size, ids[other], weights[distance - 1])
                for distance in range(1, right + 1):
                    other = at + distance
                    if line[other] != line[at]:
                        break
                    size = _add(total, met, size, ids[other], weights[distance - 1])
            for i in range(size):
                word = met[i]
                columns[end + i] = word
                counts[end + i] = total[word]
                total[word] = 0
            lengths[row] = size
            end += size


def _glove_ref(
    vectors,
    context,
    biases,
    vector_squares,
    context_squares,
    bias_squares,
    rows,
    columns,
    weights,
    logs,
    lr,
    clip,
    losses,
):
    """One step of AdaGrad on one cell after another."""
    rate = vectors.dtype.type(lr)
    limit = vectors.dtype.type(clip)
    for n, (i, j) in enumerate(zip(rows, columns, strict=True)):
        w = vectors[i].copy()
        u = context[j].copy()
        error = w @ u + biases[0, i] + biases[1, j] - logs[n]
        slope = weights[n] * error
        losses[n] = slope * error / 2
        if not np.isfinite(losses[n]):
            continue
        dw = np.clip(slope * u, -limit, limit) * rate
        du = np.clip(slope * w, -limit, limit) * rate
        vectors[i] -= dw / np.sqrt(vector_squares[i])
        vector_squares[i] += dw * dw
        context[j] -= du / np.sqrt(context_squares[j])
        context_squares[j] += du * du
        for side, row in enumerate((i, j)):
            biases[side, row] -= slope / np.sqrt(bias_squares[side, row])
            bias_squares[side, row] += slope * slope


@helper
def _fit(w, u, w_squares, u_squares, slope, lr, clip):
    """AdaGrad on both rows of a cell, each from the other's old values."""
    for k in range(w.size):
        a = w[k]
        b = u[k]
        g = min(max(slope * b, -clip), clip) * lr
        h = min(max(slope * a, -clip), clip) * lr
        p = w_squares[k]
        q = u_squares[k]
        w[k] = a - g / np.sqrt(p)
        u[k] = b - h / np.sqrt(q)
        w_squares[k] = p + g * g
        u_squares[k] = q + h * h


@kernel(
    reference=_glove_ref,
    parallel=True,
    spec="""
        vectors: inout[V,C]
        context: inout[V,C]
        biases: inout[2,V]
        vector_squares: posinout[V,C]
        context_squares: posinout[V,C]
        bias_squares: posinout[2,V]
        rows: ids<V[N]
        columns: ids<V[N]
        weights: float[N]
        logs: float[N]
        lr: real
        clip: real
        losses: out[N]
    """,
)
def glove(
    vectors,
    context,
    biases,
    vector_squares,
    context_squares,
    bias_squares,
    rows,
    columns,
    weights,
    logs,
    lr,
    clip,
    losses,
):
    """One pass of AdaGrad over some cells, lock-free, one update a cell (with one thread: exact).

    vectors, context : (V, C), in place: w and w̃
    biases : (2, V), in place: b and b̃
    vector_squares, context_squares, bias_squares : the sums G, in place, in the same shapes
    rows, columns : (N,) words
    weights, logs : (N,) f(X) and log X
    lr : η of the vectors
    clip : > 0
    losses : (N,) written: the cost before the update; a cell whose cost is not finite changes
        nothing
    Source: Pennington et al. 2014 and the released glove.c, version 1.2. Differs: none.
    """
    rate = vectors.dtype.type(lr)
    limit = vectors.dtype.type(clip)
    half = vectors.dtype.type(0.5)
    for chunk in prange(CHUNKS):
        begin = rows.size * chunk // CHUNKS
        end = rows.size * (chunk + 1) // CHUNKS
        for n in range(begin, end):
            i = rows[n]
            j = columns[n]
            w = vectors[i]
            u = context[j]
            error = biases[0, i] + biases[1, j] - logs[n]
            for k in range(w.size):
                error += w[k] * u[k]
            slope = weights[n] * error
            losses[n] = slope * error * half
            if np.isfinite(losses[n]):
                _fit(w, u, vector_squares[i], context_squares[j], slope, rate, limit)
                biases[0, i] -= slope / np.sqrt(bias_squares[0, i])
                biases[1, j] -= slope / np.sqrt(bias_squares[1, j])
                bias_squares[0, i] += slope * slope
                bias_squares[1, j] += slope * slope
