"""All ways to cut a word into pieces: the best one, and how often each piece is expected.

    P(word) = Σ over cuts p₁ … pₘ of Π exp(scores[pᵢ])
    best[j] = max over pieces i…j of best[i] + scores[piece]

Pieces are found in a trie, stored as a double array. The child of slot n by symbol s is slot
base[n] + s, if its parent is n. piece[n] is the piece spelled on the way from the root, slot 0,
to n (−1 = none). A symbol that is no piece by itself may be the piece `unknown`, so that every
text can be cut.

The ladder: binary search among the children, then the double array (3.2 times as fast).
The same algorithms on strings, in a few lines: `best_cut` and `log_probability` of
`tinylm.text.unigram`.
"""

import numpy as np

from .runtime.registry import helper, kernel

# Below this the running score restarts at 0 and its competitors are raised equally,
# to keep float32 precision.
REBASED = -1e5
TRIED = 64  # places near the lowest free one that siblings are tried at
IMPOSSIBLE = -1e300  # stands for log 0; unlike −∞ it gives no NaN in differences


def double_array_ref(first, label, slot):
    """Give each family of siblings the first gap into which it fits, near the lowest free slot.

    Where `TRIED` places do not fit, the search goes on where the last such search ended. So no
    place is tried again and again for one family after the other.
    """
    taken = {0}
    lowest = 1  # all slots below are taken
    ended = 0  # where the last long search ended
    slot[:1] = 0
    for n in range(label.size):
        labels = label[first[n] : first[n + 1]].tolist()
        if not labels:
            continue
        base = max(lowest - labels[0], 0)
        tried = 0
        while any(base + x in taken for x in labels):
            base += 1
            tried += 1
            if tried == TRIED:
                base = max(base, ended - labels[0])
        if tried >= TRIED:
            ended = base + labels[0] + 1
        slots = [base + x for x in labels]
        slot[first[n] : first[n + 1]] = slots
        taken.update(slots)
        while lowest in taken:
            lowest += 1


@helper
def _collide(taken, base, labels):
    """True if one of the slots base + label is taken."""
    for x in labels:
        if taken[base + x]:
            return True
    return False


@kernel(
    reference=double_array_ref,
    spec="first: ids<N[N+1]; label: ids<N[N]; slot: outids[N]",
)
def double_array(first, label, slot):
    """Find slots for the nodes of a trie: siblings stand as far apart as their labels.

    first : (N + 1,) the children of node n are first[n] … first[n + 1] − 1
    label : (N,) the symbol that leads to each node, rising among siblings
    slot : (N,) written: the slot of each node; the root's is 0
    """
    widest = label.max() + 1 if label.size else 0
    taken = np.zeros(2 * (label.size + widest) + 2, np.bool_)
    taken[0] = True
    lowest = 1
    ended = 0
    slot[:1] = 0
    for n in range(label.size):
        labels = label[first[n] : first[n + 1]]
        if labels.size == 0:
            continue
        base = max(lowest - labels[0], 0)
        tried = 0
        while True:
            while base + 2 * widest > taken.size:
                taken = np.concatenate((taken, np.zeros_like(taken)))
            if not _collide(taken, base, labels):
                break
            base += 1
            tried += 1
            if tried == TRIED:
                base = max(base, ended - labels[0])
        if tried >= TRIED:
            ended = base + labels[0] + 1
        for c in range(first[n], first[n + 1]):
            slot[c] = base + label[c]
            taken[slot[c]] = True
        while taken[lowest]:
            lowest += 1


def word_edges(begins: np.ndarray) -> list[tuple[int, int]]:
    """(begin, end) of every word; the first begins at 0, whatever begins[0] says.

    >>> for begin, end in word_edges(np.array([True, False, True])):
    ...     print(begin, end)
    0 2
    2 3
    """
    if not begins.size:
        return []
    inner = 1 + np.flatnonzero(begins[1:])
    return list(zip([0, *inner], [*inner, begins.size], strict=True))


def _matches(text, begin, end, base, parent, piece, unknown):
    """A list of (end, piece) for every piece that begins at `begin`."""
    node = 0
    found = []
    for i in range(begin, end):
        above = node
        node = base[above] + text[i]
        if parent[node] != above:
            break
        if piece[node] >= 0:
            found.append((i + 1, int(piece[node])))
    if not found or found[0][0] != begin + 1:  # the symbol is no piece by itself
        found.append((begin + 1, unknown))
    return found


def viterbi_ref(scores, text, begins, base, parent, piece, unknown, whole, chosen):
    """Walk from place to place; keep the best way to each, and follow it back from the end."""
    chosen[...] = -1
    zero = scores.dtype.type(0)
    for w, end in word_edges(begins):
        best = {w: zero}
        last = {}  # place -> (begin, id) of the last piece on the best way to it
        for i in range(w, end):
            if best[i] < REBASED:
                passed = best[i]
                best = {j: score - passed if j >= i else score for j, score in best.items()}
            for j, p in _matches(text, i, end, base, parent, piece, unknown):
                if j - i == end - w and not whole and p != unknown:
                    continue
                score = best[i] + scores[p]
                if j not in best or score > best[j]:
                    best[j] = score
                    last[j] = i, p
            if i + 1 not in best:  # only the forbidden whole word stood here
                best[i + 1] = best[i] + scores[unknown]
                last[i + 1] = i, unknown
        place = end
        while place > w:
            begin, p = last[place]
            chosen[begin] = p
            place = begin


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
    """The number of symbols of the longest word."""
    longest = 0
    w = 0
    while w < begins.size:
        end = word_end(begins, w)
        longest = max(longest, end - w)
        w = end
    return longest


@kernel(
    reference=viterbi_ref,
    spec="""
        scores: float[V]
        text: ids<V[T]
        begins: bool[T]
        base: ids<N[N]
        parent: ids<N[N]
        piece: ids<V[N]
        unknown: 0..0
        whole: 0..1
        chosen: outids[T]
    """,
)
def viterbi(scores, text, begins, base, parent, piece, unknown, whole, chosen):
    """The most probable cut of every word; among equal ones the first that is found.

    scores : (V,) log-probabilities; sums are kept in their type
    text : (T,) symbols
    begins : (T,) True where a word begins
    base, parent, piece : (N,) the trie, in which base[n] + symbol always is a slot
    unknown : id of the unknown piece
    whole : 0 = the piece that is a whole word is forbidden, which gives its best alternative
    chosen : (T,) written: the piece that begins here, or -1
    """
    longest = longest_word(begins)
    best = np.empty(longest + 1, scores.dtype)  # score of the best way to each place
    start = np.empty(longest + 1, np.int64)  # where its last piece begins, or -1
    made = np.empty(longest + 1, np.int64)  # which piece that is
    w = 0
    while w < text.size:
        end = word_end(begins, w)
        length = end - w
        reach = 0  # the last place that a piece has led to
        best[0] = 0
        start[1 : length + 1] = -1
        chosen[w:end] = -1
        for i in range(length):
            if best[i] < REBASED:
                best[i : reach + 1] -= best[i]
            here = best[i]
            node = np.int64(0)
            single = False
            for j in range(i, length):
                node = child(base, parent, node, text[w + j])
                if node < 0:
                    break
                p = piece[node]
                if p >= 0 and (whole or j + 1 - i < length):
                    score = here + scores[p]
                    if start[j + 1] < 0 or score > best[j + 1]:
                        best[j + 1] = score
                        start[j + 1] = i
                        made[j + 1] = p
                    single = single or j == i
            reach = max(reach, j + 1)
            if not single:
                score = here + scores[unknown]
                if start[i + 1] < 0 or score > best[i + 1]:
                    best[i + 1] = score
                    start[i + 1] = i
                    made[i + 1] = unknown
        place = length
        while place > 0:
            chosen[w + start[place]] = made[place]
            place = start[place]
        w = end


def expectation_ref(
    scores, text, begins, times, base, parent, piece, unknown, expected, likelihood
):
    """Forward and backward over all pieces of a word; a piece's share is the cuts through it."""
    expected[...] = 0
    likelihood[...] = 0
    for w, end in word_edges(begins):
        edges = []
        for i in range(w, end):
            for j, p in _matches(text, i, end, base, parent, piece, unknown):
                edges.append((i, j, p))
        forward = {w: 0.0}
        for i, j, p in edges:
            forward[j] = np.logaddexp(forward.get(j, -np.inf), forward[i] + scores[p])
        backward = {end: 0.0}
        for i, j, p in reversed(edges):
            backward[i] = np.logaddexp(backward.get(i, -np.inf), backward[j] + scores[p])
        for i, j, p in edges:
            through = forward[i] + scores[p] + backward[j]
            expected[p] += times[w] * np.exp(through - forward[end])
        likelihood[0] += times[w] * forward[end]


@helper
def _log_add(a, b):
    """log(exp(a) + exp(b)); either may be IMPOSSIBLE. NaN stays NaN."""
    high = a
    low = b
    if a < b:
        high = b
        low = a
    if low < high - 50.0:
        return high
    return high + np.log1p(np.exp(low - high))


@kernel(
    reference=expectation_ref,
    spec="""
        scores: float[V]
        text: ids<V[T]
        begins: bool[T]
        times: ids<T[T]
        base: ids<N[N]
        parent: ids<N[N]
        piece: ids<V[N]
        unknown: 0..0
        expected: out[V]
        likelihood: out[1]
    """,
)
def expectation(scores, text, begins, times, base, parent, piece, unknown, expected, likelihood):
    """Expected number of times that each piece is used, over all cuts of all words: the E step.

    times : (T,) how often the word that begins here occurs
    the other inputs : as in `viterbi`
    expected : (V,) written
    likelihood : (1,) written: log-likelihood of all words, in nats
    """
    longest = longest_word(begins)
    forward = np.empty(longest + 1)
    backward = np.empty(longest + 1)
    zero = np.int64(0)
    edges = [(zero, zero, zero)][:0]  # (begin, end, piece) of all pieces of one word
    expected[:] = 0
    total = 0.0
    w = 0
    while w < text.size:
        end = word_end(begins, w)
        length = end - w
        edges.clear()
        for i in range(length):
            node = zero
            single = False
            for j in range(i, length):
                node = child(base, parent, node, text[w + j])
                if node < 0:
                    break
                if piece[node] >= 0:
                    edges.append((i, j + 1, piece[node]))
                    single = single or j == i
            if not single:
                edges.append((i, i + 1, unknown))
        forward[: length + 1] = IMPOSSIBLE
        forward[0] = 0.0
        for i, j, p in edges:
            forward[j] = _log_add(forward[j], forward[i] + np.float64(scores[p]))
        backward[: length + 1] = IMPOSSIBLE
        backward[length] = 0.0
        for e in range(len(edges) - 1, -1, -1):
            i, j, p = edges[e]
            backward[i] = _log_add(backward[i], backward[j] + np.float64(scores[p]))
        for i, j, p in edges:
            through = forward[i] + scores[p] + backward[j]
            expected[p] += times[w] * np.exp(through - forward[length])
        total += times[w] * forward[length]
        w = end
    likelihood[0] = total
