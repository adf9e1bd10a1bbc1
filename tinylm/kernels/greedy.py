"""Cutting words without looking ahead: the longest piece first (WordPiece), or the earliest merge first (byte pairs).

    longest match    un·aff·able    from the front of the word, each time the longest piece that fits
    merges           while any neighbours have a merge, that of the lowest rank is made, of equal ranks the leftmost

Pieces stand in a trie, and so do the pairs that have a merge, as pieces of two symbols; see lattice.py for its arrays.
"""

from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np

from .elementary import kept, kept_ref, threshold_of
from .lattice import child, longest_word, word_edges, word_end
from .registry import helper, kernel


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


def merge_ref(units, begins, base, parent, piece, ranks, made, rate, key, chosen):
    """The definition: see `merge`."""
    merges = {(int(parent[n] - base[0]), int(n - base[parent[n]])): m for n, m in enumerate(piece.tolist()) if m >= 0}
    asked = 0
    for w, end in word_edges(begins):
        ids, n = units[w:end].tolist(), end - w
        following, previous = list(range(1, n + 1)), list(range(-1, n - 1))
        heap = [(ranks[merges[pair]], i, pair) for i, pair in enumerate(pairwise(ids)) if pair in merges]
        heapify(heap)
        dropped = []
        while heap:
            entry = heappop(heap)
            _, i, pair = entry
            j = following[i]
            if j == n or (ids[i], ids[j]) != pair:
                continue  # one of the two has been merged with another since
            asked += 1
            if not kept_ref(np.int64(asked), key, rate):
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
def _merge_of(a, b, trie):
    """The number of the merge of tokens a and b, or -1."""
    base, parent, piece = trie
    node = child(base, parent, np.int64(0), a)
    if node >= 0:
        node = child(base, parent, node, b)
    return piece[node] if node >= 0 else np.int64(-1)


@helper
def _offer(left, right, ids, trie, ranks, heap):
    """Put the merge of the tokens at two places, if there is one, into the heap: (rank, place, both tokens)."""
    m = _merge_of(ids[left], ids[right], trie)
    if m >= 0:
        heappush(heap, (ranks[m], np.int64(left), np.int64(ids[left]) << 32 | ids[right]))


@kernel(reference=merge_ref, spec="units: ids<M[T]; begins: bool[T]; base: ids<N[N]; parent: ids<N[N]; piece: ids<M[N]; "
                                  "ranks: ids<M[M]; made: ids<M[M]; rate: rate; key: key; chosen: outids[T]")  # fmt: skip
def merge(units, begins, base, parent, piece, ranks, made, rate, key, chosen):
    """Merge the units of every word. A heap holds what can be merged, and what has changed since is passed over.

    units : (T,) tokens     begins : (T,) a word begins     base, parent, piece : (N,) a trie of pairs: piece is the merge
    ranks, made : (M,) of each merge: the lowest rank first, and the token it makes, longer than either of its two
    rate, key : what could be merged next is left out with this probability until another merge of its word is made
    chosen : (T,) written: the token that begins here, or -1
    """
    trie, w, asked, threshold = (base, parent, piece), 0, 0, threshold_of(rate)
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
                _offer(i, i + 1, ids, trie, ranks, heap)
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
            ids[i], ids[j], following[i] = made[_merge_of(ids[i], ids[j], trie)], -1, following[j]
            if following[i] < n:
                previous[following[i]] = i
                _offer(i, following[i], ids, trie, ranks, heap)
            if previous[i] >= 0:
                _offer(previous[i], i, ids, trie, ranks, heap)
            while len(dropped):
                heappush(heap, dropped.pop())
        dropped.clear()
        w = end
