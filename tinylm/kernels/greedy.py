"""Cut words without looking ahead: the longest piece first, or the earliest merge first.

    longest match    un·aff·able    WordPiece: from the front, always the longest piece that fits
    merges           byte pairs: while any neighbours have a merge, make the one of the lowest
                     rank, and of equal ranks the leftmost

Pieces stand in a trie (lattice.py describes its arrays). Merges stand in sorted rows, one row for
each first token.

The ladder: word by word in Python (the references); compiled, all new words of many texts in one
call (longest match 10 times, merges 140 times as fast).
The same algorithms on strings, in a few lines: `longest_pieces` of `tinylm.text.wordpiece` and
`apply_merges` of `tinylm.text.bpe`.
"""

from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np

from .elementary import kept, kept_ref, threshold_of
from .lattice import child, longest_word, word_edges, word_end
from .runtime.registry import helper, kernel


def longest_match_ref(text, begins, base, parent, piece, starts, most, unknown, chosen):
    """Take the longest piece, and start again behind it."""
    chosen[...] = -1
    for w, end in word_edges(begins):
        cut = {}  # place -> the piece that begins there
        i = w
        while i < end:
            node = starts[int(i > w)]
            found = None
            for j in range(i, end):
                above = node
                node = base[above] + text[j]
                if parent[node] != above:
                    break
                if piece[node] >= 0:
                    found = piece[node], j + 1
            if found is None or end - w > most:
                cut = {w: unknown}
                break
            cut[i], i = found
        for place, p in cut.items():
            chosen[place] = p


@kernel(
    reference=longest_match_ref,
    spec="""
        text: ids<N[T]
        begins: bool[T]
        base: ids<N[N]
        parent: ids<N[N]
        piece: ids<N[N]
        starts: ids<N[2]
        most: 1..9
        unknown: 0..0
        chosen: outids[T]
    """,
)
def longest_match(text, begins, base, parent, piece, starts, most, unknown, chosen):
    """Cut every word into the longest pieces from its front on.

    A word in which some place begins no piece is unknown as a whole.

    text : (T,) symbols
    begins : (T,) True where a word begins
    base, parent, piece : (N,) the trie
    starts : (2,) the nodes where the spelling of a word's first piece and of all others begins
    most : a longer word is unknown
    chosen : (T,) written: the piece that begins here, or -1
    """
    w = 0
    while w < text.size:
        end = word_end(begins, w)
        chosen[w:end] = -1
        i = w
        while i < end:
            node = starts[1 if i > w else 0]
            last = i  # where the longest piece found until now ends
            p = np.int64(unknown)
            for j in range(i, end):
                node = child(base, parent, node, text[j])
                if node < 0:
                    break
                if piece[node] >= 0:
                    last = j + 1
                    p = piece[node]
            if last == i or end - w > most:
                chosen[w:end] = -1
                chosen[w] = unknown
                break
            chosen[i] = p
            i = last
        w = end


def merge_ref(units, begins, first, second, ranks, made, rate, key, chosen):
    """A heap of (rank, place, pair) holds the possible merges; stale entries are skipped."""
    merges = {}
    for a in range(first.size - 1):
        for m in range(first[a], first[a + 1]):
            merges[a, int(second[m])] = m
    asked = 0
    for w, end in word_edges(begins):
        n = end - w
        ids = units[w:end].tolist()
        following = list(range(1, n + 1))
        previous = list(range(-1, n - 1))
        heap = []
        for i, pair in enumerate(pairwise(ids)):
            if pair in merges:
                heap.append((ranks[merges[pair]], i, pair))
        heapify(heap)
        dropped = []
        while heap:
            entry = heappop(heap)
            _, i, pair = entry
            j = following[i]
            if j == n or (ids[i], ids[j]) != pair:
                continue  # another merge has taken one of the two
            asked += 1
            if rate and not kept_ref(np.array([asked]), key, rate)[0]:
                dropped.append(entry)
                continue
            ids[i] = int(made[merges[pair]])
            ids[j] = -1
            following[i] = following[j]
            if following[i] < n:
                previous[following[i]] = i
            for left, right in ((previous[i], i), (i, following[i])):
                if left < 0 or right == n:
                    continue
                pair = ids[left], ids[right]
                if pair in merges:
                    heappush(heap, (ranks[merges[pair]], left, pair))
            for entry in dropped:
                heappush(heap, entry)
            dropped = []
        chosen[w:end] = ids


@helper
def _merge_of(a, b, first, second):
    """The number of the merge of tokens a and b, or -1."""
    if a >= first.size - 1:  # the token was added after the table was made
        return np.int64(-1)
    low = first[a]
    high = first[a + 1]
    while low < high:  # binary search for the first entry larger than b
        middle = (low + high) // 2
        if second[middle] <= b:
            low = middle + 1
        else:
            high = middle
    if low > first[a] and second[low - 1] == b:
        return low - 1
    return np.int64(-1)


@helper
def _offer(left, right, ids, first, second, ranks, heap):
    """Push the merge of the tokens at two places, if there is one: (rank, place, both tokens)."""
    m = _merge_of(ids[left], ids[right], first, second)
    if m >= 0:
        pair = np.int64(ids[left]) << 32 | ids[right]
        heappush(heap, (ranks[m], np.int64(left), pair))


@kernel(
    reference=merge_ref,
    spec="""
        units: ids<V[T]
        begins: bool[T]
        first: ids<M[V+1]
        second: ids<V[M]
        ranks: ids<M[M]
        made: ids<V[M]
        rate: rate
        key: key
        chosen: outids[T]
    """,
)
def merge(units, begins, first, second, ranks, made, rate, key, chosen):
    """Merge the units of every word, lowest rank first.

    units : (T,) tokens
    begins : (T,) True where a word begins
    first : (V + 1,) the merges of token a with second[m] are m = first[a] … first[a + 1] − 1
    second : (M,) rising within each row
    ranks : (M,) of each merge; the lowest is made first
    made : (M,) the token that each merge makes, longer than either of its two
    rate, key : a merge that is next is left out with this probability, until another merge of
        its word has been made (BPE-dropout)
    chosen : (T,) written: the token that begins here, or -1
    Source: Sennrich et al. 2016; Provilkov et al. 2020 (dropout).
    """
    threshold = threshold_of(rate)
    longest = longest_word(begins)
    following = np.empty(longest, np.int64)
    previous = np.empty(longest, np.int64)
    heap = [(np.int64(0), np.int64(0), np.int64(0))][:0]
    dropped = heap.copy()
    asked = 0
    w = 0
    while w < units.size:
        end = word_end(begins, w)
        n = end - w
        ids = chosen[w:end]
        ids[:] = units[w:end]
        for i in range(n):
            following[i] = i + 1
            previous[i] = i - 1
            if i + 1 < n:
                _offer(i, i + 1, ids, first, second, ranks, heap)
        while len(heap):
            entry = heappop(heap)
            _, i, pair = entry
            j = following[i]
            if j == n or ids[i] < 0 or (ids[i] << 32 | ids[j]) != pair:
                continue  # another merge has taken one of the two
            asked += 1
            if not kept(asked, key, threshold):
                dropped.append(entry)
                continue
            ids[i] = made[_merge_of(ids[i], ids[j], first, second)]
            ids[j] = -1
            following[i] = following[j]
            if following[i] < n:
                previous[following[i]] = i
                _offer(i, following[i], ids, first, second, ranks, heap)
            if previous[i] >= 0:
                _offer(previous[i], i, ids, first, second, ranks, heap)
            while len(dropped):
                heappush(heap, dropped.pop())
        dropped.clear()
        w = end
