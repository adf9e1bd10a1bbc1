"""Learn byte-pair merges: join the most frequent neighbours inside words, again and again.

    (a, b) = argmax Σ times[i] over neighbours (i, i + 1) of one word that are (a, b)
    every such pair, greedily from the left, becomes one token

Ties go to the smallest (a, b), or to the shortest spelling and then the first in the order of the
alphabet. A pair becomes a new token, unless an older token is already spelled like it.

The ladder (newsgroups, 8,192 tokens, merging only):
  0.02  all pairs counted anew for every merge (the reference)
  0.2   only words that hold the pair are counted anew, in Python, with a heap
  1.0   compiled: tokens link to their neighbours, every pair has the list of its places, and a
        merge touches only those
The same algorithm on strings, in a few lines: `find_merges` of `tinylm.text.bpe`.
"""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from .runtime.registry import helper, kernel

LOWER = 0xFFFFFFFF  # a pair (a, b) is the integer a << 32 | b, and these bits are b


def learn_merges_ref(symbols, begins, times, alphabet, min_count, wanted, shorter, merges):
    """Count all pairs, merge the best one everywhere, and start again."""
    ids = symbols.copy()
    spelled = {}  # spelling -> the new token
    spellings = [(a,) for a in range(alphabet)]
    for n in range(len(merges)):
        left = np.flatnonzero(~begins[1:])
        pairs, pair_at = np.unique(ids[left] << 32 | ids[left + 1], return_inverse=True)
        counts = np.bincount(pair_at, times[left])
        enough = len(spellings) >= alphabet + wanted
        if enough or not counts.size or counts.max() < min_count:
            break
        best = _best_pair(pairs, counts, spellings, shorter)
        first = pairs[best] >> 32
        second = pairs[best] & LOWER
        spelling = spellings[first] + spellings[second]
        token = spelled.setdefault(spelling, len(spellings))
        if token == len(spellings):
            spellings.append(spelling)
        merges[n] = first, second, token
        found = left[pair_at == best]
        if first == second:
            found = _without_overlaps(found)
        ids[found] = token
        keep = np.ones(ids.size, bool)
        keep[found + 1] = False
        ids = ids[keep]
        begins = begins[keep]
        times = times[keep]


def _best_pair(pairs, counts, spellings, shorter):
    """The place in `pairs` of the most frequent pair; ties are broken as the module says."""
    ties = np.flatnonzero(counts == counts.max())
    if not shorter:
        return ties[0]  # the pairs are sorted

    def order(place):
        spelling = spellings[pairs[place] >> 32] + spellings[pairs[place] & LOWER]
        return len(spelling), spelling

    return min(ties, key=order)


def _without_overlaps(found):
    """In each run of consecutive positions every other one, from the left.

    >>> _without_overlaps(np.array([3, 4, 5, 9]))
    array([3, 5, 9])
    """
    place = np.arange(found.size)
    run_begins = np.diff(found, prepend=-2) != 1
    run = np.maximum.accumulate(np.where(run_begins, place, 0))
    return found[(place - run) % 2 == 0]


class Words(NamedTuple):
    """The words one after another, as linked tokens. All arrays are (N,), one entry a position.

    symbol : the token that begins here
    begins : True where a word begins
    link : at a token's first position, where the next token begins; at its last position, where
        the token itself begins. A token of one unit has one position, which links to the next.
    """

    symbol: np.ndarray
    begins: np.ndarray
    link: np.ndarray


class Places(NamedTuple):
    """Where each pair stands: a doubly linked list through the positions. All arrays are (N,).

    before, after : the neighbours of this position in the list of its pair, or -1
    number : the number of the pair that begins here
    """

    before: np.ndarray
    after: np.ndarray
    number: np.ndarray


class Pairs(NamedTuple):
    """The pairs by their numbers, and a hash table that finds the number of a pair.

    table : slot -> number + 1, or 0 for a free slot
    keys : the pair, a << 32 | b
    counts : how often it occurs
    heads : the first position in the list of its places, or -1
    changed : the merge (from 1 on) that last changed its count
    sizes : (2,) the number of pairs, and the number of slots in use
    """

    table: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    heads: np.ndarray
    changed: np.ndarray
    sizes: np.ndarray


class Spellings(NamedTuple):
    """How each token is spelled, and a hash table that finds a new token by its spelling.

    where, lengths : token t is spelled symbols[where[t] : where[t] + lengths[t]]
    chain : bucket -> the newest token in it, or -1
    follower : token -> the next older one in its bucket, or -1
    """

    where: np.ndarray
    lengths: np.ndarray
    chain: np.ndarray
    follower: np.ndarray


@helper
def _slot(key, size):
    """The slot where the search for a pair begins; the table's size is a power of two."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(24)) & (size - 1)


@helper
def _grow(pairs):
    """Use twice as many slots of the table."""
    pairs.sizes[1] *= 2
    size = pairs.sizes[1]
    pairs.table[:size] = 0
    for p in range(pairs.sizes[0]):
        slot = _slot(pairs.keys[p], size)
        while pairs.table[slot]:
            slot = (slot + 1) & (size - 1)
        pairs.table[slot] = p + 1


@helper
def _number(pairs, key):
    """The number of a pair; a pair that is met for the first time gets the next number."""
    size = pairs.sizes[1]
    slot = _slot(key, size)
    while pairs.table[slot] and pairs.keys[pairs.table[slot] - 1] != key:
        slot = (slot + 1) & (size - 1)
    if pairs.table[slot]:
        return np.int64(pairs.table[slot]) - 1
    number = pairs.sizes[0]
    pairs.keys[number] = key
    pairs.counts[number] = 0
    pairs.heads[number] = -1
    pairs.changed[number] = 0
    pairs.sizes[0] += 1
    pairs.table[slot] = number + 1
    if 2 * pairs.sizes[0] > size:
        _grow(pairs)
    return number


@helper
def _next(i, words):
    """Where the token after the one at position i begins, or -1 at the end of its word."""
    following = np.int64(words.link[i])
    if following < words.begins.size and not words.begins[following]:
        return following
    return np.int64(-1)


@helper
def _previous(i, words):
    """Where the token before the one at position i begins, or -1 at the beginning of its word."""
    if i == 0 or words.begins[i]:
        return np.int64(-1)
    return np.int64(min(words.link[i - 1], i - 1))  # a token of one unit links forward, to i


@helper
def _enter(i, words, places, pairs, times):
    """Position i begins a pair now: count the pair and list the place. Returns its number."""
    first = np.int64(words.symbol[i])
    second = words.symbol[_next(i, words)]
    pair = _number(pairs, first << 32 | second)
    old_head = pairs.heads[pair]
    pairs.counts[pair] += times[i]
    pairs.heads[pair] = i
    places.number[i] = pair
    places.before[i] = -1
    places.after[i] = old_head
    if old_head >= 0:
        places.before[old_head] = i
    return pair


@helper
def _leave(i, places, pairs, times):
    """Position i begins its pair no longer: take it out of the count and the list."""
    pair = places.number[i]
    before = places.before[i]
    after = places.after[i]
    pairs.counts[pair] -= times[i]
    if after >= 0:
        places.before[after] = before
    if before >= 0:
        places.after[before] = after
    else:
        pairs.heads[pair] = after


@helper
def _join(i, token, words, places, pairs, times):
    """Replace the pair at position i by a token.

    returns the numbers of the new pairs that it forms with its left and right neighbour, or -1
    """
    second = _next(i, words)
    previous = _previous(i, words)
    following = _next(second, words)
    _leave(i, places, pairs, times)
    if previous >= 0:
        _leave(previous, places, pairs, times)
    if following >= 0:
        _leave(second, places, pairs, times)
    words.symbol[i] = token
    words.link[i] = words.link[second]
    words.link[words.link[i] - 1] = i
    left = np.int64(-1)
    right = np.int64(-1)
    if previous >= 0:
        left = _enter(previous, words, places, pairs, times)
    if following >= 0:
        right = _enter(i, words, places, pairs, times)
    return left, right


@helper
def _run_begin(i, words):
    """The first position of the run of equal tokens that ends at position i."""
    symbol = words.symbol[i]
    previous = _previous(i, words)
    while previous >= 0 and words.symbol[previous] == symbol:
        i = previous
        previous = _previous(i, words)
    return i


@helper
def _begins_pair(i, first, second, words):
    """True if the token at position i (-1 = none) and the next one are that pair."""
    if i < 0 or words.symbol[i] != first:
        return False
    following = _next(i, words)
    return following >= 0 and words.symbol[following] == second


@helper
def _join_all(pair, token, merge, words, places, pairs, times):
    """Replace a pair by a token wherever it stands. Returns the pairs whose counts rose."""
    first = pairs.keys[pair] >> 32
    second = pairs.keys[pair] & LOWER
    touched = [np.int64(pair)][:0]
    while pairs.heads[pair] >= 0:
        i = np.int64(pairs.heads[pair])
        if first == second:  # merge a run of equal tokens from its left end
            i = _run_begin(i, words)
        while _begins_pair(i, first, second, words):
            for p in _join(i, token, words, places, pairs, times):
                if p >= 0 and pairs.changed[p] < merge:
                    pairs.changed[p] = merge
                    touched.append(p)
            i = _next(i, words) if first == second else np.int64(-1)
    return touched


@helper
def _find(symbols, begin, length, spellings):
    """(token, bucket): the token spelled symbols[begin:begin+length], or -1, and its bucket."""
    mixed = np.uint64(length)
    for i in range(begin, begin + length):
        mixed = (mixed ^ np.uint64(symbols[i])) * np.uint64(0x9E3779B97F4A7C15)
    bucket = np.int64(mixed >> np.uint64(20)) % spellings.chain.size
    token = spellings.chain[bucket]
    while token >= 0:
        if spellings.lengths[token] == length:
            where = spellings.where[token]
            i = 0
            while i < length and symbols[where + i] == symbols[begin + i]:
                i += 1
            if i == length:
                return token, bucket
        token = spellings.follower[token]
    return np.int64(-1), bucket


@helper
def _length(pair, pairs, lengths):
    """The number of symbols that a pair is spelled with."""
    key = pairs.keys[pair]
    return lengths[key >> 32] + lengths[key & LOWER]


@helper
def _comes_first(a, b, symbols, pairs, lengths):
    """True if pair a is spelled shorter than b, or as long but earlier in the alphabet."""
    size = _length(a, pairs, lengths)
    other = _length(b, pairs, lengths)
    if size != other:
        return size < other
    for i in range(size):
        x = symbols[pairs.heads[a] + i]
        y = symbols[pairs.heads[b] + i]
        if x != y:
            return x < y
    return pairs.keys[a] < pairs.keys[b]


@helper
def _shortest(best, heap, symbols, pairs, lengths):
    """Of all pairs as frequent as `best`, the one that comes first; the rest stay in the heap."""
    ties = [best]
    while len(heap) and heap[0][0] == best[0]:
        ties.append(heappop(heap))
    for entry in ties:
        fresh = pairs.counts[entry[2]] == -entry[0]
        if fresh and _comes_first(entry[2], best[2], symbols, pairs, lengths):
            best = entry
    for entry in ties:
        if entry[2] != best[2]:
            heappush(heap, entry)
    return best


@kernel(
    reference=learn_merges_ref,
    spec="""
        symbols: ids<M[N]
        begins: bool[N]
        times: ids<N[N]
        alphabet: 521..600
        min_count: 1..3
        wanted: 0..9
        shorter: 0..1
        merges: outids[M,3]
    """,
)
def learn_merges(symbols, begins, times, alphabet, min_count, wanted, shorter, merges):
    """Learn merges until `wanted` tokens are made, `merges` is full, or pairs become too rare.

    symbols : (N,) the words one after another, each symbol an id below `alphabet`
    begins : (N,) True where a word begins
    times : (N,) how often the word of that position occurs
    min_count : a pair seen less often is not merged
    shorter : 1 = ties go to the shortest spelling, as the module says
    merges : (M, 3) written: first, second and the token they become; new tokens are alphabet,
        alphabet + 1, …
    """
    n = symbols.size
    most = 3 * n + 1  # one pair a position at first, and at most two new ones for every join
    tokens = alphabet + wanted
    words = Words(symbols.astype(np.int32), begins, np.arange(1, n + 1, dtype=np.int32))
    places = Places(np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32))
    pairs = Pairs(  # memory pages that are never written cost nothing
        np.empty(4 * most + 1024, np.int32),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.array([0, 1024]),
    )
    pairs.table[: pairs.sizes[1]] = 0
    spellings = Spellings(
        np.zeros(tokens, np.int64),
        np.ones(tokens, np.int64),
        np.full(2 * wanted + 1, -1, np.int64),
        np.full(tokens, -1, np.int64),
    )
    for i in range(n):
        if _next(i, words) >= 0:
            _enter(i, words, places, pairs, times)
    zero = np.int64(0)
    heap = [(zero, zero, zero)][:0]  # entries (−count, key, number of the pair)
    for p in range(pairs.sizes[0]):
        heap.append((-pairs.counts[p], pairs.keys[p], p))
    heapify(heap)
    done = 0
    new = alphabet
    while done < merges.shape[0] and new < tokens and len(heap):
        count, key, pair = heappop(heap)
        now = pairs.counts[pair]
        if now != -count or now < min_count:
            if min_count <= now < -count:  # it fell; a count that rose has a newer entry
                heappush(heap, (-now, key, pair))
            continue
        if shorter:
            best = (count, key, pair)
            count, key, pair = _shortest(best, heap, symbols, pairs, spellings.lengths)
        begin = np.int64(pairs.heads[pair])
        length = _length(pair, pairs, spellings.lengths)
        token, bucket = _find(symbols, begin, length, spellings)
        if token < 0:
            token = new
            new += 1
            spellings.where[token] = begin
            spellings.lengths[token] = length
            spellings.follower[token] = spellings.chain[bucket]
            spellings.chain[bucket] = token
        merges[done, 0] = key >> 32
        merges[done, 1] = key & LOWER
        merges[done, 2] = token
        done += 1
        for p in _join_all(pair, token, done, words, places, pairs, times):
            if pairs.counts[p] >= min_count:
                heappush(heap, (-pairs.counts[p], pairs.keys[p], p))
