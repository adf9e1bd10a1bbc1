"""All ways to cut a word into pieces: the most probable one, and how often each piece is expected over all of them.

    P(word) = Σ over cuts p₁ … pₘ of Π exp(scores[pᵢ])        best[j] = max over pieces i…j of best[i] + scores[piece]

Pieces are found in a trie: the children of node n are the nodes first[n] … first[n + 1] − 1, in the order of their label;
piece[n] is the piece spelled by the way from the root, node 0, to n (−1 = none). A symbol that is no piece by itself may
be the piece `unknown`, so that every text can be cut.
"""

import numpy as np

from .registry import helper, kernel


def _matches(text, begin, end, trie, unknown):
    """(end, piece) of everything that begins at `begin`, in plain Python."""
    (first, label, piece), node, found, single = trie, 0, [], False
    for i in range(begin, end):
        node = next((n for n in range(first[node], first[node + 1]) if label[n] == text[i]), -1)
        if node < 0:
            break
        if piece[node] >= 0:
            found.append((i + 1, int(piece[node])))
            single |= i == begin
    return found if single else [*found, (begin + 1, unknown)]


def _words(begins):
    """(begin, end) of every word; the first begins at 0."""
    edges = np.flatnonzero(np.append(begins, True))
    return zip(np.append(0, edges[:-1][edges[:-1] > 0]), edges[edges > 0], strict=True) if begins.size else ()


def viterbi_ref(scores, text, begins, first, label, piece, unknown, whole, chosen):
    """The definition: see `viterbi`."""
    chosen[...] = -1
    for w, end in _words(begins):
        best = {w: (scores.dtype.type(0), w, 0)}
        for i in range(w, end):
            for j, p in _matches(text, i, end, (first, label, piece), unknown):
                score = best[i][0] + scores[p]
                if (whole or j - i < end - w or p == unknown) and (j not in best or score > best[j][0]):
                    best[j] = score, i, p
            if i + 1 not in best:  # only the forbidden whole word stood here
                best[i + 1] = scores.dtype.type(best[i][0] + scores[unknown]), i, unknown
        i = end
        while i > w:
            _, begin, p = best[i]
            chosen[begin], i = p, begin


@helper
def _child(first, label, node, symbol):
    """The child of a node with that label, or -1: binary search."""
    low, high = first[node], first[node + 1]
    while low < high:
        middle = (low + high) >> 1
        if label[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    return low if low < first[node + 1] and label[low] == symbol else np.int64(-1)


@helper
def _word_end(begins, w):
    """Where the word that begins at w ends."""
    end = w + 1
    while end < begins.size and not begins[end]:
        end += 1
    return end


@kernel(reference=viterbi_ref, spec="scores: float[V]; text: ids<V[T]; begins: bool[T]; first: ids<N[N+1]; label: ids<N[N]; "
                                    "piece: ids<V[N]; unknown: 0..0; whole: 0..1; chosen: outids[T]")  # fmt: skip
def viterbi(scores, text, begins, first, label, piece, unknown, whole, chosen):
    """The most probable cut of every word; of equal ones the first found, so later pieces are as long as possible.

    scores : (V,) log-probabilities; sums are kept in their type     text : (T,) symbols     begins : (T,) a word begins
    first : (N + 1,)   label, piece : (N,) the trie      unknown : id of the unknown piece
    whole : 0 forbids the piece that is a whole word (its best alternative)
    chosen : (T,) written: the piece that begins here, or -1
    """
    n, w = text.size, 0
    best, start, made = np.empty(n + 1, scores.dtype), np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    while w < n:
        end = _word_end(begins, w)
        best[w], start[w + 1:end + 1], chosen[w:end] = 0, -1, -1
        for i in range(w, end):
            here, node, single = best[i], np.int64(0), False
            for j in range(i, end):
                node = _child(first, label, node, text[j])
                if node < 0:
                    break
                p = piece[node]
                if p >= 0 and (whole or j + 1 - i < end - w):
                    score = here + scores[p]
                    if start[j + 1] < 0 or score > best[j + 1]:
                        best[j + 1], start[j + 1], made[j + 1] = score, i, p
                    single = single or j == i
            if not single:
                score = here + scores[unknown]
                if start[i + 1] < 0 or score > best[i + 1]:
                    best[i + 1], start[i + 1], made[i + 1] = score, i, unknown
        i = end
        while i > w:
            chosen[start[i]], i = made[i], start[i]
        w = end


def expectation_ref(scores, text, begins, times, first, label, piece, unknown, expected, likelihood):
    """The definition: see `expectation`."""
    expected[...] = 0
    likelihood[...] = 0
    for w, end in _words(begins):
        edges = [(i, j, p) for i in range(w, end) for j, p in _matches(text, i, end, (first, label, piece), unknown)]
        forward, backward = ({w: 0.0}, {end: 0.0})
        for i, j, p in edges:
            forward[j] = np.logaddexp(forward.get(j, -np.inf), forward[i] + scores[p])
        for i, j, p in reversed(edges):
            backward[i] = np.logaddexp(backward.get(i, -np.inf), backward[j] + scores[p])
        for i, j, p in edges:
            expected[p] += times[w] * np.exp(forward[i] + scores[p] + backward[j] - forward[end])
        likelihood[0] += times[w] * forward[end]


@helper
def _log_add(a, b):
    """log(exp(a) + exp(b)); a may be minus infinity's stand-in, -1e300."""
    high, low = (b, a) if a < b else (a, b)
    return high if low < high - 50.0 else high + np.log1p(np.exp(low - high))  # NaN comes here, and goes on


@kernel(reference=expectation_ref, spec="scores: float[V]; text: ids<V[T]; begins: bool[T]; times: ids<T[T]; first: "
                                        "ids<N[N+1]; label: ids<N[N]; piece: ids<V[N]; unknown: 0..0; expected: out[V]; "
                                        "likelihood: out[1]")  # fmt: skip
def expectation(scores, text, begins, times, first, label, piece, unknown, expected, likelihood):
    """Expected number of times that each piece is used, over all cuts of all words: the E step.

    times : (T,) how often the word that begins here occurs     the other inputs : as in `viterbi`
    expected : (V,) written     likelihood : (1,) written: log-likelihood of all words, in nats
    """
    longest, w = 0, 0
    while w < text.size:
        end = _word_end(begins, w)
        longest, w = max(longest, end - w), end
    forward, backward = np.empty(longest + 1), np.empty(longest + 1)
    edges, found = np.empty((longest * (longest + 1) // 2 + longest, 3), np.int64), 0
    expected[:] = 0
    total, w = 0.0, 0
    while w < text.size:
        end, found = _word_end(begins, w), 0
        length = end - w
        forward[:length + 1], backward[:length + 1] = -1e300, -1e300
        forward[0], backward[length] = 0.0, 0.0
        for i in range(length):
            node, single = np.int64(0), False
            for j in range(i, length):
                node = _child(first, label, node, text[w + j])
                if node < 0:
                    break
                if piece[node] >= 0:
                    edges[found, 0], edges[found, 1], edges[found, 2], found = i, j + 1, piece[node], found + 1
                    single = single or j == i
            if not single:
                edges[found, 0], edges[found, 1], edges[found, 2], found = i, i + 1, unknown, found + 1
        for e in range(found):
            i, j, p = edges[e, 0], edges[e, 1], edges[e, 2]
            forward[j] = _log_add(forward[j], forward[i] + np.float64(scores[p]))
        for e in range(found - 1, -1, -1):
            i, j, p = edges[e, 0], edges[e, 1], edges[e, 2]
            backward[i] = _log_add(backward[i], backward[j] + np.float64(scores[p]))
        for e in range(found):
            i, j, p = edges[e, 0], edges[e, 1], edges[e, 2]
            expected[p] += times[w] * np.exp(forward[i] + scores[p] + backward[j] - forward[length])
        total += times[w] * forward[length]
        w = end
    likelihood[0] = total
