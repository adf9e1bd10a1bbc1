"""Learning byte-pair merges: join the most frequent pair of neighbours inside words, again and again.

    (a, b) = argmax Σ times[i] over neighbours (i, i + 1) of one word that are (a, b)
             ties to the smallest (a, b), or to the shortest spelling and, of those, the first in the order of the alphabet
    every such pair, greedily from the left, becomes one token: a new one, or the one that is already spelled like it

The ladder (newsgroups, 8,192 tokens, merging only):
  0.02  all pairs counted anew for every merge (the reference)
  0.2   only words that hold the pair are counted anew, in Python, with a heap
  1.0   compiled: tokens link to their neighbours, every pair has the list of its places, and a merge touches only those
"""

from heapq import heapify, heappop, heappush

import numpy as np

from .runtime.registry import helper, kernel


def learn_merges_ref(symbols, begins, times, alphabet, min_count, wanted, shorter, merges):
    """The definition: see `learn_merges`."""
    ids, begins, times = symbols.copy(), begins.copy(), times.copy()
    spelled, made, new, n = {}, [(a,) for a in range(alphabet)], alphabet, 0
    while n < len(merges) and new < alphabet + wanted:
        left = np.flatnonzero(~begins[1:])
        keys, inverse = np.unique(ids[left] << 32 | ids[left + 1], return_inverse=True)
        counts = np.bincount(inverse, times[left])
        if not counts.size or counts.max() < min_count:
            break
        ties = np.flatnonzero(
            counts == counts.max()
        )  # keys are sorted, so the first has the smallest ids
        texts = [made[key >> 32] + made[key & 0xFFFFFFFF] for key in keys[ties]]
        chosen = min(range(len(ties)), key=lambda i: (len(texts[i]), texts[i])) if shorter else 0
        best, text = ties[chosen], texts[chosen]
        first, second = keys[best] >> 32, keys[best] & 0xFFFFFFFF
        token = spelled.setdefault(text, new)
        if token == new:
            made.append(text)
            new += 1
        merges[n], n = (first, second, token), n + 1
        found = left[inverse == best]
        if first == second:  # in a run of equal symbols every other pair, from the left
            place = np.arange(found.size)
            run = np.maximum.accumulate(np.where(np.diff(found, prepend=-2) != 1, place, 0))
            found = found[(place - run) % 2 == 0]
        ids[found] = token
        keep = np.ones(ids.size, bool)
        keep[found + 1] = False
        ids, begins, times = ids[keep], begins[keep], times[keep]


@helper
def _slot(key, size):
    """Where a pair is looked for first in a table of that size, a power of two."""
    return np.int64(np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(24)) & (size - 1)


@helper
def _number(pairs, key):
    """The number of a pair, given when it is first met; `table` holds numbers + 1 by hash, 0 = free.

    changed : in which merge the count of each pair has changed last, from 1 on
    sizes : (2,) how many pairs there are, and how much of the table is in use, doubled when half of it is full
    """
    table, keys, counts, heads, changed, sizes = pairs
    slot = _slot(key, sizes[1])
    while table[slot] and keys[table[slot] - 1] != key:
        slot = (slot + 1) & (sizes[1] - 1)
    if table[slot]:
        return np.int64(table[slot]) - 1
    number = sizes[0]
    keys[number], counts[number], heads[number], changed[number] = key, 0, -1, 0
    sizes[0] += 1
    table[slot] = sizes[0]
    if 2 * sizes[0] > sizes[1]:
        sizes[1] *= 2
        table[: sizes[1]] = 0
        for p in range(sizes[0]):
            slot = _slot(keys[p], sizes[1])
            while table[slot]:
                slot = (slot + 1) & (sizes[1] - 1)
            table[slot] = p + 1
    return number


@helper
def _next(i, words):
    """Where the token after the one at position i begins, or -1 at the end of its word.

    words : (N,) each, about positions: the token that begins there; does a word; and `link`, at a token's first position
        where the next one begins, and at the last of several where the token itself does
    """
    _, begins, link = words
    return np.int64(link[i]) if link[i] < begins.size and not begins[link[i]] else np.int64(-1)


@helper
def _previous(i, words):
    """Where the token before the one at position i begins, or -1 at the beginning of its word."""
    _, begins, link = words
    return (
        np.int64(-1) if i == 0 or begins[i] else np.int64(min(link[i - 1], i - 1))
    )  # a token of one unit links to i


@helper
def _enter(i, words, places, pairs, times):
    """Position i begins the pair of its symbol and the next: count it, and note its place. Returns the pair's number."""
    symbol = words[0]
    before, after, number = places
    pair = number[i] = _number(pairs, np.int64(symbol[i]) << 32 | symbol[_next(i, words)])
    pairs[2][pair] += times[i]
    before[i], after[i] = -1, pairs[3][pair]
    if after[i] >= 0:
        before[after[i]] = i
    pairs[3][pair] = i
    return pair


@helper
def _leave(i, places, pairs, times):
    """Position i begins that pair no longer."""
    before, after, number = places
    pairs[2][number[i]] -= times[i]
    if after[i] >= 0:
        before[after[i]] = before[i]
    if before[i] >= 0:
        after[before[i]] = after[i]
    else:
        pairs[3][number[i]] = after[i]


@helper
def _join(i, token, words, places, pairs, times):
    """Replace the pair at position i by a token. Returns the numbers of the pairs to its left and right, or -1."""
    symbol, _, link = words
    second, previous = _next(i, words), _previous(i, words)
    following = _next(second, words)
    left, right = np.int64(-1), np.int64(-1)
    _leave(i, places, pairs, times)
    if previous >= 0:
        _leave(previous, places, pairs, times)
    if following >= 0:
        _leave(second, places, pairs, times)
    symbol[i], link[i] = token, link[second]
    link[link[i] - 1] = i
    if previous >= 0:
        left = _enter(previous, words, places, pairs, times)
    if following >= 0:
        right = _enter(i, words, places, pairs, times)
    return left, right


@helper
def _spelled(symbols, begin, length, known):
    """The token spelled symbols[begin:begin+length], or -1; and the chain of tokens that it would belong to."""
    where, lengths, chain, follower = known
    bucket = np.uint64(length)
    for i in range(begin, begin + length):
        bucket = (bucket ^ np.uint64(symbols[i])) * np.uint64(0x9E3779B97F4A7C15)
    bucket = np.int64(bucket >> np.uint64(20)) % chain.size
    token = chain[bucket]
    while token >= 0:
        i = 0
        while (
            i < length
            and lengths[token] == length
            and symbols[where[token] + i] == symbols[begin + i]
        ):
            i += 1
        if i == length:
            return token, bucket
        token = follower[token]
    return np.int64(-1), bucket


@helper
def _before(a, b, symbols, pairs, lengths):
    """True if pair a has the shorter spelling, or one as long that comes first. symbols : as before any merge"""
    size = lengths[pairs[1][a] >> 32] + lengths[pairs[1][a] & 0xFFFFFFFF]
    other = lengths[pairs[1][b] >> 32] + lengths[pairs[1][b] & 0xFFFFFFFF]
    if size != other:
        return size < other
    for i in range(size):
        x, y = symbols[pairs[3][a] + i], symbols[pairs[3][b] + i]
        if x != y:
            return x < y
    return pairs[1][a] < pairs[1][b]


@helper
def _shortest(best, heap, symbols, pairs, lengths):
    """Of the pairs as frequent as the entry taken from the heap, the one that comes first; the others stay there."""
    others = [best]
    while len(heap) and heap[0][0] == best[0]:
        others.append(heappop(heap))
    for entry in others:
        if pairs[2][entry[2]] == -entry[0] and _before(entry[2], best[2], symbols, pairs, lengths):
            best = entry
    for entry in others:
        if entry[2] != best[2]:
            heappush(heap, entry)
    return best


@kernel(reference=learn_merges_ref, spec="symbols: ids<M[N]; begins: bool[N]; times: ids<N[N]; alphabet: 521..600; "
                                         "min_count: 1..3; wanted: 0..9; shorter: 0..1; merges: outids[M,3]")  # fmt: skip
def learn_merges(symbols, begins, times, alphabet, min_count, wanted, shorter, merges):
    """Learn merges until `wanted` new tokens are made, `merges` is full, or no pair is seen min_count times.

    symbols : (N,) the words one after another, each symbol an id below `alphabet`     begins : (N,) a word begins here
    times : (N,) how often the word of that position occurs     shorter : 1: ties go to the shortest spelling, as above
    merges : (M, 3) written: first, second and the token they become; new tokens are alphabet, alphabet + 1, …
    """
    n = symbols.size
    most = 3 * n + 1  # a pair for every position at first, and at most two for every joint
    words = (symbols.astype(np.int32), begins, np.arange(1, n + 1, dtype=np.int32))
    symbol = words[0]
    places = (np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32))
    pairs = (np.empty(4 * most + 1024, np.int32), np.empty(most, np.int64), np.empty(most, np.int64),
             np.empty(most, np.int32), np.empty(most, np.int32), np.array([0, 1024]))  # fmt: skip
    table, keys, counts, heads, changed, sizes = pairs  # pages never written take no memory
    table[: sizes[1]] = 0
    known = (np.zeros(alphabet + wanted, np.int64), np.ones(alphabet + wanted, np.int64),
             np.full(2 * wanted + 1, -1, np.int64), np.full(alphabet + wanted, -1, np.int64))  # fmt: skip
    for i in range(n):
        if _next(i, words) >= 0:
            _enter(i, words, places, pairs, times)
    heap = [(-counts[p], keys[p], p) for p in range(sizes[0])]
    heapify(heap)
    done, new = 0, alphabet
    while done < merges.shape[0] and new < alphabet + wanted and len(heap):
        count, key, pair = heappop(heap)
        if counts[pair] != -count or counts[pair] < min_count:
            if (
                min_count <= counts[pair] < -count
            ):  # it fell since it was noted; what rose has been noted again
                heappush(heap, (-counts[pair], key, pair))
            continue
        if shorter:
            count, key, pair = _shortest((count, key, pair), heap, symbols, pairs, known[1])
        first, second, begin = key >> 32, key & 0xFFFFFFFF, np.int64(heads[pair])
        length = known[1][first] + known[1][second]
        token, bucket = _spelled(symbols, begin, length, known)
        if token < 0:
            token, new = new, new + 1
            known[0][token], known[1][token], known[3][token], known[2][bucket] = (
                begin,
                length,
                known[2][bucket],
                token,
            )
        merges[done, 0], merges[done, 1], merges[done, 2] = first, second, token
        touched = [np.int64(pair)]
        while heads[pair] >= 0:
            i = np.int64(heads[pair])
            while (
                first == second
                and _previous(i, words) >= 0
                and symbol[_previous(i, words)] == first
            ):
                i = _previous(i, words)  # a run of equal symbols is merged from its left end
            while (
                i >= 0
                and symbol[i] == first
                and _next(i, words) >= 0
                and symbol[_next(i, words)] == second
            ):
                for p in _join(i, token, words, places, pairs, times):
                    if p >= 0 and changed[p] <= done:
                        changed[p] = done + 1
                        touched.append(p)
                i = _next(i, words) if first == second else np.int64(-1)
        for p in touched[1:]:
            if counts[p] >= min_count:
                heappush(heap, (-counts[p], keys[p], p))
        done += 1
