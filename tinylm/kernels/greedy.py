"""Cutting words without looking ahead: the longest piece first (WordPiece), or the earliest merge first (byte pairs).

    longest match    un·aff·able    from the front of the word, each time the longest piece that fits
    merges           while any neighbours have a merge, that of the lowest rank is made, of equal ranks the leftmost

Pieces stand in a trie (its arrays: lattice.py), the pairs that have a merge in sorted rows, one for each first token.
Ladder: word by word in Python (the references) 1; compiled, all new words of many texts by one call, 10 and 140 times that.
"""

from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np

from .elementary import kept, kept_ref, threshold_of
from .lattice import child, longest_word, word_edges, word_end
from .runtime.registry import helper, kernel


def longest_match_ref(text, begins, base, parent, piece, starts, most, unknown, chosen):
    """The definition: see `longest_match`."""
    chosen[...] = -1
    for w, end in word_edges(begins):
        cut, i = {}, w
        while i < end:
            node, found = starts[int(i > w)], None
            for j in range(i, end):
                node, above = base[node] + text[j], node
                if parent[node] != above:
                    break
                if piece[node] >= 0:
                    found = piece[node], j + 1
            if found is None or end - w > most:
                cut = {w: unknown}
                break
            cut[i], i = found
        chosen[list(cut)] = list(cut.values())


@kernel(reference=longest_match_ref, spec="text: ids<N[T]; begins: bool[T]; base: ids<N[N]; parent: ids<N[N]; "
                                          "piece: ids<N[N]; starts: ids<N[2]; most: 1..9; unknown: 0..0; "
                                          "chosen: outids[T]")  # fmt: skip
def longest_match(text, begins, base, parent, piece, starts, most, unknown, chosen):
    """Every word cut into the longest pieces from its front on; one that cannot be cut so is unknown as a whole.

    text : (T,) symbols     begins : (T,) a word begins     most : a longer word is unknown
    base, parent, piece : (N,) the trie     starts : (2,) its nodes from which the first and every other piece is spelled
    chosen : (T,) written: the piece that begins here, or -1
    """
    w = 0
    while w < text.size:
        end, i = word_end(begins, w), w
        chosen[w:end] = -1
        while i < end:
            node, last, p = starts[1 if i > w else 0], i, np.int64(unknown)
            for j in range(i, end):
                node = child(base, parent, node, text[j])
                if node < 0:
                    break
                if piece[node] >= 0:
                    last, p = j + 1, piece[node]
            if last == i or end - w > most:
                chosen[w:end] = -1
                chosen[w], i = unknown, end
            else:
                chosen[i], i = p, last
        w = end


def merge_ref(units, begins, first, second, ranks, made, rate, key, chosen):
    """The definition: see `merge`."""
    merges = {
        (a, int(second[m])): m for a in range(first.size - 1) for m in range(first[a], first[a + 1])
    }
    asked = 0
    for w, end in word_edges(begins):
        ids, n = units[w:end].tolist(), end - w
        following, previous = list(range(1, n + 1)), list(range(-1, n - 1))
        heap = [
            (ranks[merges[pair]], i, pair) for i, pair in enumerate(pairwise(ids)) if pair in merges
        ]
        heapify(heap)
        dropped = []
        while heap:
            entry = heappop(heap)
            _, i, pair = entry
            j = following[i]
            if j == n or (ids[i], ids[j]) != pair:
                continue  # one of the two has been merged with another since
            asked += 1
            if rate and not kept_ref(np.array([asked]), key, rate)[0]:
                dropped.append(entry)
                continue
            ids[i], ids[j], following[i] = int(made[merges[pair]]), -1, following[j]
            if following[i] < n:
                previous[following[i]] = i
            for left, right in ((previous[i], i), (i, following[i])):
                if 0 <= left and right < n and (pair := (ids[left], ids[right])) in merges:
                    heappush(heap, (ranks[merges[pair]], left, pair))
            while dropped:
                heappush(heap, dropped.pop())
        chosen[w:end] = ids


@helper
def _merge_of(a, b, first, second):
    """The number of the merge of tokens a and b, or -1. A token beyond the table, added since it was made, has none."""
    if a >= first.size - 1:
        return np.int64(-1)
    low, high = first[a], first[a + 1]
    while low < high:  # to the first that is larger than b
        middle = (low + high) // 2
        if second[middle] <= b:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > first[a] and second[low - 1] == b else np.int64(-1)


@helper
def _offer(left, right, ids, pairs, ranks, heap):
    """Put the merge of the tokens at two places, if there is one, into the heap: (rank, place, both tokens)."""
    m = _merge_of(ids[left], ids[right], *pairs)
    if m >= 0:
        heappush(heap, (ranks[m], np.int64(left), np.int64(ids[left]) << 32 | ids[right]))


@kernel(reference=merge_ref, spec="units: ids<V[T]; begins: bool[T]; first: ids<M[V+1]; second: ids<V[M]; "
                                  "ranks: ids<M[M]; made: ids<V[M]; rate: rate; key: key; chosen: outids[T]")  # fmt: skip
def merge(units, begins, first, second, ranks, made, rate, key, chosen):
    """Merge the units of every word. A heap holds what can be merged, and what has changed since is passed over.

    units : (T,) tokens     begins : (T,) a word begins
    first : (V + 1,) the merges of token a with second[m] are m = first[a] … first[a + 1] − 1     second : (M,) rising there
    ranks, made : (M,) of each merge: the lowest rank first, and the token it makes, longer than either of its two
    rate, key : what could be merged next is left out with this probability until another merge of its word is made
    chosen : (T,) written: the token that begins here, or -1
    """
    pairs, w, asked, threshold = (first, second), 0, 0, threshold_of(rate)
    longest = longest_word(begins)
    following, previous = np.empty(longest, np.int64), np.empty(longest, np.int64)
    heap = [(np.int64(0), np.int64(0), np.int64(0))]
    dropped = [heap.pop()]
    dropped.clear()
    while w < units.size:
        end = word_end(begins, w)
        n, ids = end - w, chosen[w:end]
        ids[:] = units[w:end]
        for i in range(n):
            following[i], previous[i] = i + 1, i - 1
            if i + 1 < n:
                _offer(i, i + 1, ids, pairs, ranks, heap)
        while len(heap):
            entry = heappop(heap)
            _, i, pair = entry
            j = following[i]
            if j == n or ids[i] < 0 or (ids[i] << 32 | ids[j]) != pair:
                continue
            asked += 1
            if not kept(asked, key, threshold):
                dropped.append(entry)
                continue
            ids[i], ids[j], following[i] = (
                made[_merge_of(ids[i], ids[j], first, second)],
                -1,
                following[j],
            )
            if following[i] < n:
                previous[following[i]] = i
                _offer(i, following[i], ids, pairs, ranks, heap)
            if previous[i] >= 0:
                _offer(previous[i], i, ids, pairs, ranks, heap)
            while len(dropped):
                heappush(heap, dropped.pop())
        dropped.clear()
        w = end
