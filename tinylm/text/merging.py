"""Merges, whatever the units they begin with: bytes (GPT-2), characters (GPT-1, SentencePiece), or characters and `##`."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np

from tinylm.errors import VocabularyError
from tinylm.kernels import learn_merges
from tinylm.text.trie import code_points

Merge = tuple[str, str]
Ranks = dict[tuple[int, int], tuple[int, int]]
Counted = tuple[np.ndarray, np.ndarray, np.ndarray]


def spell(words: dict[str, int], before: str = "", after: str = "", always: str = "") -> tuple[list[str], Counted]:
    """The alphabet of counted words, in the order of code points, and the words written in it, as `learn` takes them.

    words : emptied, for what follows needs the memory
    before : what a character begins with that continues a word     after : what the last one of a word ends with
    always : characters that stand in the alphabet even if no word has them
    """
    begins, times = spread(words)
    codes, fixed = code_points("".join(words)), code_points(always)
    words.clear()
    mark = int(max(codes.max(initial=0), fixed.max(initial=0))) + 1  # added to a code point: no other one is as large
    if before or after:
        codes = codes + np.uint32(mark) * (~begins if before else np.append(begins[1:], True))
    seen = np.zeros(2 * mark, bool)
    seen[codes] = seen[fixed] = True
    alphabet = [chr(c) if c < mark else before + chr(c - mark) + after for c in np.flatnonzero(seen).tolist()]
    return alphabet, ((np.cumsum(seen) - 1)[codes], begins, times)


def learn(
    alphabet: list[str], words: Counted, wanted: int, min_count: int, prefix: str = "", shorter: bool = False
) -> tuple[list[str], list[Merge]]:
    """The tokens (alphabet first) and the merges learned from counted words; see `kernels.learn_merges`.

    words : (N,) units of all words one after another, ids into `alphabet`; (N,) bool, True where a word begins; (N,)
        how often its word occurs
    wanted : tokens to add to the alphabet; fewer where no pair is seen min_count times any more
    prefix : what a token that continues a word begins with, dropped where it is joined to another
    shorter : of pairs seen as often the one with the shortest spelling is merged, not the one with the smallest ids
    """
    room = wanted + 64
    while True:
        found = np.full((room, 3), -1, np.int64)
        learn_merges(*words, len(alphabet), min_count, wanted, int(shorter), found)
        if found[-1, 0] < 0 or found[:, 2].max() + 1 == len(alphabet) + wanted:
            break
        room *= 2  # so many pairs spell a token that is already there
    vocab, merges = list(alphabet), []
    for first, second, token in found[found[:, 0] >= 0].tolist():
        merges.append((vocab[first], vocab[second]))
        if token == len(vocab):
            vocab.append(vocab[first] + vocab[second].removeprefix(prefix))
    return vocab, merges


def spread(words: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """begins (N,) bool and times (N,) of counted words, none of them empty, as `learn` takes them."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    begins = np.zeros(lengths.sum(), bool)
    begins[np.cumsum(lengths) - lengths] = True
    return begins, np.repeat(np.fromiter(words.values(), np.int64, len(words)), lengths)


def check_reached(reached: int, vocab_size: int, min_count: int) -> None:
    """Raise VocabularyError if the text did not support as many tokens as were asked for exactly."""
    if reached < vocab_size:
        raise VocabularyError(
            f"The text supports at most {reached} tokens (no further pair is seen {min_count} times), "
            f"but vocab_size is {vocab_size}; ask for {reached} or fewer, pass exact=False, or give more text."
        )


def splits(scores: dict[str, float]) -> tuple[list[Merge], list[int]]:
    """Every way to make a token of two others, and of each merge its rank: the highest score is the lowest rank."""
    order = {score: rank for rank, score in enumerate(sorted(set(scores.values()), reverse=True))}
    found = [(order[score], (token[:i], token[i:])) for token, score in scores.items() for i in range(1, len(token))
             if token[:i] in scores and token[i:] in scores]  # fmt: skip
    found.sort()
    return [pair for _, pair in found], [rank for rank, _ in found]


def apply(units: list[int], ranks: Ranks, drop: Callable[[], bool] | None = None) -> tuple[list[int], list[int]]:
    """One word: while any neighbours have a merge, apply that of the lowest rank, of those the leftmost.

    ranks : pair -> (its rank, the token it becomes)
    drop : asked about each merge that could be next; True leaves it out until another one has been made
    returns the ids, and for each the place of its first unit
    """
    ids, n = list(units), len(units)
    following, previous = list(range(1, n + 1)), list(range(-1, n - 1))
    heap = [(ranks[pair][0], i, pair) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapify(heap)
    dropped: list[tuple[int, int, tuple[int, int]]] = []
    while heap:
        entry = heappop(heap)
        _, i, pair = entry
        j = following[i]
        if j == n or (ids[i], ids[j]) != pair:
            continue  # one of the two has been merged with another since
        if drop and drop():
            dropped.append(entry)
            continue
        ids[i], ids[j] = ranks[pair][1], -1
        following[i] = following[j]
        if following[i] < n:
            previous[following[i]] = i
        for left, right in ((previous[i], i), (i, following[i])):
            if 0 <= left and right < n and (pair := (ids[left], ids[right])) in ranks:
                heappush(heap, (ranks[pair][0], left, pair))
        while dropped:
            heappush(heap, dropped.pop())
    begins = [i for i in range(n) if ids[i] >= 0]
    return [ids[i] for i in begins], begins
