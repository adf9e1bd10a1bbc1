"""All ways to cut a word into pieces: the most probable one, and how often each piece is expected over all of them.

    P(word) = Σ over cuts p₁ … pₘ of Π exp(scores[pᵢ])        best[j] = max over pieces i…j of best[i] + scores[piece]

Pieces are found in a trie, a double array: the child of slot n by symbol s is slot base[n] + s if its parent is n; piece[n]
is the piece spelled by the way from the root, slot 0, to n (−1 = none). A symbol that is no piece by itself may be the piece
`unknown`, so that every text can be cut. Ladder: binary search among the children, then the double array (3.2 times).
"""

import numpy as np

from .runtime.registry import helper, kernel

REBASED = -1e5  # where the sum falls below, it is 0 again and what it is compared with rises alike: float32 tells them apart


def double_array_ref(first, label, slot):
    """The definition: see `double_array`."""
    taken, lowest = {0}, 1
    slot[:1] = 0
    for n in range(label.size):
        labels = label[first[n] : first[n + 1]].tolist()
        if labels:
            base = max(lowest - labels[0], 0)
            while any(base + x in taken for x in labels):
                base += 1
            slot[first[n] : first[n + 1]] = [base + x for x in labels]
            taken.update(base + x for x in labels)
            while lowest in taken:
                lowest += 1


@kernel(reference=double_array_ref, spec="first: ids<N[N+1]; label: ids<N[N]; slot: outids[N]")
def double_array(first, label, slot):
    """Slots for the nodes of a trie such that siblings stand as far apart as their labels: each family takes the first gap.

    first : (N + 1,) the children of node n are first[n] … first[n + 1] − 1     label : (N,) rising among siblings
    slot : (N,) written: the root's is 0
    """
    widest = label.max() + 1 if label.size else 0
    taken, lowest = np.zeros(2 * (label.size + widest) + 2, np.bool_), 1
    taken[0], slot[:1] = True, 0
    for n in range(label.size):
        begin, end = first[n], first[n + 1]
        if begin == end:
            continue
        base, fits = max(lowest - label[begin], 0) - 1, False
        while not fits:
            base, fits = base + 1, True
            if base + 2 * widest > taken.size:
                larger = np.zeros(2 * taken.size, np.bool_)
                larger[: taken.size] = taken
                taken = larger
            for c in range(begin, end):
                if taken[base + label[c]]:
                    fits = False
                    break
        for c in range(begin, end):
            slot[c] = base + label[c]
            taken[slot[c]] = True
        while taken[lowest]:
            lowest += 1


def _matches(text, begin, end, trie, unknown):
    """(end, piece) of everything that begins at `begin`, in plain Python."""
    (base, parent, piece), node, found, single = trie, 0, [], False
    for i in range(begin, end):
        node, above = base[node] + text[i], node
        if parent[node] != above:
            break
        if piece[node] >= 0:
            found.append((i + 1, int(piece[node])))
            single |= i == begin
    return found if single else [*found, (begin + 1, unknown)]


def word_edges(begins):
    """(begin, end) of every word; the first begins at 0."""
    edges = np.flatnonzero(np.append(begins, True))
    return (
        zip(np.append(0, edges[:-1][edges[:-1] > 0]), edges[edges > 0], strict=True)
        if begins.size
        else ()
    )


def viterbi_ref(scores, text, begins, base, parent, piece, unknown, whole, chosen):
    """The definition: see `viterbi`."""
    chosen[...] = -1
    for w, end in word_edges(begins):
        best = {w: (scores.dtype.type(0), w, 0)}
        for i in range(w, end):
            if best[i][0] < REBASED:
                best = {
                    j: (score - best[i][0] if j >= i else score, *way)
                    for j, (score, *way) in best.items()
                }
            for j, p in _matches(text, i, end, (base, parent, piece), unknown):
                score = best[i][0] + scores[p]
                if (whole or j - i < end - w or p == unknown) and (
                    j not in best or score > best[j][0]
                ):
                    best[j] = score, i, p
            if i + 1 not in best:  # only the forbidden whole word stood here
                best[i + 1] = scores.dtype.type(best[i][0] + scores[unknown]), i, unknown
        i = end
        while i > w:
            _, begin, p = best[i]
            chosen[begin], i = p, begin


@helper
def child(base, parent, node, symbol):
    """The child of a slot by that symbol, or -1."""
    below = base[node] + symbol
    return below if parent[below] == node else np.int64(-1)


@helper
def word_end(begins, w):
    """Where the word that begins at w ends."""
    end = w + 1
    while end < begins.size and not begins[end]:
        end += 1
    return end


@helper
def longest_word(begins):
    """Symbols of the longest word."""
    longest, w = 0, 0
    while w < begins.size:
        end = word_end(begins, w)
        longest, w = max(longest, end - w), end
    return longest


@kernel(reference=viterbi_ref, spec="scores: float[V]; text: ids<V[T]; begins: bool[T]; base: ids<N[N]; parent: ids<N[N]; "
                                    "piece: ids<V[N]; unknown: 0..0; whole: 0..1; chosen: outids[T]")  # fmt: skip
def viterbi(scores, text, begins, base, parent, piece, unknown, whole, chosen):
    """The most probable cut of every word; of equal ones the first found, so later pieces are as long as possible.

    scores : (V,) log-probabilities; sums are kept in their type     text : (T,) symbols     begins : (T,) a word begins
    base, parent, piece : (N,) the trie, in which base[n] + symbol always is a slot     unknown : id of the unknown piece
    whole : 0 forbids the piece that is a whole word (its best alternative)
    chosen : (T,) written: the piece that begins here, or -1
    """
    longest, w = longest_word(begins), 0
    best, start, made = (
        np.empty(longest + 1, scores.dtype),
        np.empty(longest + 1, np.int64),
        np.empty(longest + 1, np.int64),
    )
    while w < text.size:
        end = word_end(begins, w)
        length, reach = end - w, 0
        best[0], start[1 : length + 1], chosen[w:end] = 0, -1, -1
        for i in range(length):
            if best[i] < REBASED:
                best[i : reach + 1] -= best[i]  # the pieces found until now end here or before
            here, node, single = best[i], np.int64(0), False
            for j in range(i, length):
                node = child(base, parent, node, text[w + j])
                if node < 0:
                    break
                p = piece[node]
                if p >= 0 and (whole or j + 1 - i < length):
                    score = here + scores[p]
                    if start[j + 1] < 0 or score > best[j + 1]:
                        best[j + 1], start[j + 1], made[j + 1] = score, i, p
                    single = single or j == i
            reach = max(reach, j + 1)
            if not single:
                score = here + scores[unknown]
                if start[i + 1] < 0 or score > best[i + 1]:
                    best[i + 1], start[i + 1], made[i + 1] = score, i, unknown
        i = length
        while i > 0:
            chosen[w + start[i]], i = made[i], start[i]
        w = end


def expectation_ref(
    scores, text, begins, times, base, parent, piece, unknown, expected, likelihood
):
    """The definition: see `expectation`."""
    expected[...] = 0
    likelihood[...] = 0
    for w, end in word_edges(begins):
        edges = [
            (i, j, p)
            for i in range(w, end)
            for j, p in _matches(text, i, end, (base, parent, piece), unknown)
        ]
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
    return (
        high if low < high - 50.0 else high + np.log1p(np.exp(low - high))
    )  # NaN comes here, and goes on


@helper
def _doubled(edges):
    """The same list with as much room again."""
    return np.concatenate((edges, np.empty_like(edges)))


@kernel(reference=expectation_ref, spec="scores: float[V]; text: ids<V[T]; begins: bool[T]; times: ids<T[T]; base: "
                                        "ids<N[N]; parent: ids<N[N]; piece: ids<V[N]; unknown: 0..0; expected: out[V]; "
                                        "likelihood: out[1]")  # fmt: skip
def expectation(scores, text, begins, times, base, parent, piece, unknown, expected, likelihood):
    """Expected number of times that each piece is used, over all cuts of all words: the E step.

    times : (T,) how often the word that begins here occurs     the other inputs : as in `viterbi`
    expected : (V,) written     likelihood : (1,) written: log-likelihood of all words, in nats
    """
    longest = longest_word(begins)
    forward, backward = np.empty(longest + 1), np.empty(longest + 1)
    edges = np.empty((1024, 3), np.int64)
    expected[:] = 0
    total, w = 0.0, 0
    while w < text.size:
        end, found = word_end(begins, w), 0
        length = end - w
        forward[: length + 1], backward[: length + 1] = -1e300, -1e300
        forward[0], backward[length] = 0.0, 0.0
        for i in range(length):
            node, single = np.int64(0), False
            for j in range(i, length):
                node = child(base, parent, node, text[w + j])
                if node < 0:
                    break
                if piece[node] >= 0:
                    if found == edges.shape[0]:
                        edges = _doubled(edges)
                    edges[found, 0], edges[found, 1], edges[found, 2], found = (
                        i,
                        j + 1,
                        piece[node],
                        found + 1,
                    )
                    single = single or j == i
            if not single:
                if found == edges.shape[0]:
                    edges = _doubled(edges)
                edges[found, 0], edges[found, 1], edges[found, 2], found = (
                    i,
                    i + 1,
                    unknown,
                    found + 1,
                )
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
