"""GloVe: how often words stand together, counted row by row, and the fit of their logarithms by AdaGrad.

    X_wc = Σ weights[d − 1] over all places where c stands d words from w, in the same line
    e = w·w̃ + b + b̃ − log X        cost = ½ f e²        g = f e · (w̃, w, 1, 1), those of the vectors cut to ±clip
    vectors:  w −= η g/√G,  G += (η g)²            biases:  b −= g/√G,  G += g²        (every G begins at 1)

Counting takes the words in turn and sums a row of X in one dense array that stays in the processor's cache: no hash table,
no sorting, no merging, and a row is complete when it is left. Fitting is lock-free over runs of cells.

Both are measured by benchmarks/glove.py.
"""

import numpy as np
from numba import prange

from .runtime.registry import helper, kernel
from .word2vec import CHUNKS


def row_parts(firsts):
    """(first row, last row) of the CHUNKS parts of some rows, which hold about the same number of cells."""
    cuts = np.searchsorted(firsts, firsts[-1] * np.arange(CHUNKS + 1) // CHUNKS)
    cuts[-1] = firsts.size - 1
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def _cooccurrence_ref(
    counts, columns, lengths, ids, line, places, starts, firsts, weights, symmetric, vocab_size
):
    distance = np.arange(1, weights.size + 1)
    offsets, amounts = (
        np.concatenate([-distance, distance]),
        np.concatenate([weights, weights * bool(symmetric)]),
    )
    for first, last in row_parts(firsts):
        end = firsts[first]
        for row in range(first, last):
            at = places[starts[row] : starts[row + 1], None]
            partner = np.clip(at + offsets, 0, max(ids.size - 1, 0))  # (occurrences, 2·window)
            inside = (partner == at + offsets) & (line[partner] == line[at]) & (amounts > 0)
            found, met, which = np.unique(
                ids[partner[inside]], return_index=True, return_inverse=True
            )
            order, total = (
                np.argsort(met),
                np.bincount(which, np.broadcast_to(amounts, inside.shape)[inside], found.size),
            )
            columns[end : end + found.size], counts[end : end + found.size] = (
                found[order],
                total[order],
            )
            lengths[row] = found.size
            end += found.size


@helper
def _add(total, met, size, word, amount):
    """total[word] += amount; a word met for the first time is noted in `met`; returns how many are noted."""
    if total[word] == 0:
        met[size] = word
        size += 1
    total[word] += amount
    return size


@kernel(
    reference=_cooccurrence_ref,
    parallel=True,
    spec="counts: out[M]; columns: outids[M]; lengths: outids[R]; ids: ids<R[N]; line: ids<N[N]; places: ids<N[N]; "
    "starts: ids<N[R+1]; firsts: ids<M[R+1]; weights: double[W]; symmetric: 0..1; vocab_size: 1..9",
)
def cooccurrence(
    counts, columns, lengths, ids, line, places, starts, firsts, weights, symmetric, vocab_size
):
    """Some rows of the matrix of co-occurrences: their cells that are not zero, in the order in which they are met.

    ids : (N,) words      line : (N,) the line of each word, never falling     places : (N,) where the rows' words stand
    starts : (R + 1,) row r's word stands at places[starts[r]:starts[r + 1]]    weights : (W,) > 0, of distance 1 … W
    symmetric : 1 counts words on both sides, 0 those on the left
    counts, columns : (M,) written, cells row after row within each of CHUNKS parts; a part begins where its first row's
    cells would if every row r needed firsts[r + 1] − firsts[r] places, see `row_parts`     lengths : (R,) written
    """
    for chunk in prange(CHUNKS):
        first = np.searchsorted(firsts, firsts[-1] * chunk // CHUNKS)
        last = (
            np.searchsorted(firsts, firsts[-1] * (chunk + 1) // CHUNKS)
            if chunk < CHUNKS - 1
            else lengths.size
        )
        end = firsts[first]
        total, met = np.zeros(vocab_size), np.empty(vocab_size, np.int64)
        for row in range(first, last):
            size = 0
            for place in range(starts[row], starts[row + 1]):
                at = places[place]
                for distance in range(1, min(weights.size, at) + 1):
                    if line[at - distance] != line[at]:
                        break
                    size = _add(total, met, size, ids[at - distance], weights[distance - 1])
                for distance in range(1, min(weights.size, ids.size - 1 - at) * symmetric + 1):
                    if line[at + distance] != line[at]:
                        break
                    size = _add(total, met, size, ids[at + distance], weights[distance - 1])
            for i in range(size):
                columns[end + i], counts[end + i] = met[i], total[met[i]]
                total[met[i]] = 0
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
    real = vectors.dtype.type
    for n, (i, j) in enumerate(zip(rows, columns, strict=True)):
        w, u = vectors[i].copy(), context[j].copy()
        error = w @ u + biases[0, i] + biases[1, j] - logs[n]
        slope = weights[n] * error
        losses[n] = slope * error / 2
        if not np.isfinite(losses[n]):
            continue
        for table, squares, row, other in (
            (vectors, vector_squares, i, u),
            (context, context_squares, j, w),
        ):
            step = np.clip(slope * other, -real(clip), real(clip)) * real(lr)
            table[row] -= step / np.sqrt(squares[row])
            squares[row] += step * step
        for side, row in enumerate((i, j)):
            biases[side, row] -= slope / np.sqrt(bias_squares[side, row])
            bias_squares[side, row] += slope * slope


@helper
def _fit(w, u, w_squares, u_squares, slope, lr, clip):
    """AdaGrad on both rows of a cell, from the values that they have before."""
    for k in range(w.size):
        a, b = w[k], u[k]
        g, h = min(max(slope * b, -clip), clip) * lr, min(max(slope * a, -clip), clip) * lr
        p, q = w_squares[k], u_squares[k]
        w[k], u[k] = a - g / np.sqrt(p), b - h / np.sqrt(q)
        w_squares[k], u_squares[k] = p + g * g, q + h * h


@kernel(
    reference=_glove_ref,
    parallel=True,
    spec="vectors: inout[V,C]; context: inout[V,C]; biases: inout[2,V]; vector_squares: posinout[V,C]; "
    "context_squares: posinout[V,C]; bias_squares: posinout[2,V]; rows: ids<V[N]; columns: ids<V[N]; "
    "weights: float[N]; logs: float[N]; lr: real; clip: real; losses: out[N]",
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
    """One pass of AdaGrad over some cells, lock-free, one update per cell (with one thread: exact).

    vectors, context : (V, C), biases : (2, V) of both, in place     *_squares : the sums G of the same shapes, in place
    rows, columns : (N,) words     weights, logs : (N,) f(X) and log X     lr : η of the vectors     clip : > 0
    losses : (N,) written: the cost before the update; where it is not finite the cell changes nothing
    Source: Pennington et al. 2014 and the released glove.c, version 1.2. Differs: none.
    """
    rate, limit, half = vectors.dtype.type(lr), vectors.dtype.type(clip), vectors.dtype.type(0.5)
    for chunk in prange(CHUNKS):
        for n in range(rows.size * chunk // CHUNKS, rows.size * (chunk + 1) // CHUNKS):
            i, j = rows[n], columns[n]
            w, u = vectors[i], context[j]
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
