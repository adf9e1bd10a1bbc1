"""Merges of any units: bytes (GPT-2), characters (GPT-1, SentencePiece), or characters with ##.

This is the fast form of `find_merges` and `apply_merges` in bpe.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from itertools import chain
from typing import NamedTuple

import numpy as np

from tinylm.errors import VocabularyError
from tinylm.kernels import learn_merges, merge

from .trie import beginnings, code_points

Merge = tuple[str, str]
MOST_WORK = 2e9  # characters compared to find the ways to make tokens of others


class Counted(NamedTuple):
    """Different words one after another, and how often each occurs, as kernels take them.

    symbols : (N,) the units of all words, as numbers in an alphabet
    begins : (N,) bool, True where a word begins
    times : (N,) how often the word that a unit belongs to occurs
    """

    symbols: np.ndarray
    begins: np.ndarray
    times: np.ndarray


def spell(
    words: dict[str, int], before: str = "", after: str = "", always: str = ""
) -> tuple[list[str], Counted]:
    """The alphabet of counted words by code point, and the words in it, as `learn` takes them.

    >>> alphabet, (symbols, begins, times) = spell({"ab": 5, "a": 1}, before="##")
    >>> alphabet, symbols.tolist(), times.tolist()
    (['a', '##b'], [0, 1, 0], [5, 5, 1])

    words : emptied, because the next step needs the memory
    before : put before a character that continues a word
    after : put after the last character of a word
    always : characters that stand in the alphabet even if no word has them
    """
    begins, times = spread(words)
    codes = code_points("".join(words))
    fixed = code_points(always)
    words.clear()
    # A character that gets `before` or `after` has the mark added to its code point. The mark is
    # larger than all code points, so the sum is a symbol of its own.
    mark = int(max(codes.max(initial=0), fixed.max(initial=0))) + 1
    if before:
        codes = codes + np.uint32(mark) * ~begins
    elif after:
        codes = codes + np.uint32(mark) * np.append(begins[1:], True)
    seen = np.zeros(2 * mark, bool)
    seen[codes] = True
    seen[fixed] = True
    alphabet = []
    for code in np.flatnonzero(seen).tolist():
        if code < mark:
            alphabet.append(chr(code))
        else:
            alphabet.append(before + chr(code - mark) + after)
    number = np.cumsum(seen) - 1
    return alphabet, Counted(number[codes], begins, times)


def learn(
    alphabet: list[str],
    words: Counted,
    wanted: int,
    min_count: int,
    prefix: str = "",
    shorter: bool = False,
) -> tuple[list[str], list[Merge]]:
    """The tokens (alphabet first) and the merges learned from counted words.

    words : their symbols are places in `alphabet`
    wanted : tokens to add to the alphabet; fewer if the pairs become rarer than min_count before
    prefix : the beginning of a token that continues a word; joining drops it from the second token
    shorter : among equally frequent pairs, merge the one with the shortest spelling instead of the
        one with the smallest ids
    """
    room = wanted + 64
    while True:
        found = np.full((room, 3), -1, np.int64)
        learn_merges(*words, len(alphabet), min_count, wanted, int(shorter), found)
        made = found[:, 2].max() + 1 - len(alphabet)
        if found[-1, 0] < 0 or made == wanted:
            break
        room *= 2  # many merges made a token that was there before, so the table got full
    vocab = list(alphabet)
    merges = []
    for first, second, token in found[found[:, 0] >= 0].tolist():
        merges.append((vocab[first], vocab[second]))
        if token == len(vocab):
            vocab.append(vocab[first] + vocab[second].removeprefix(prefix))
    return vocab, merges


def spread(words: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """begins (N,) bool and times (N,) of counted words, as `learn` takes them; none may be empty.

    >>> begins, times = spread({"ab": 5, "a": 1})
    >>> begins.tolist(), times.tolist()
    ([True, False, True], [5, 5, 1])
    """
    begins = beginnings(words)
    counts = np.fromiter(words.values(), np.int64, len(words))
    return begins, counts[np.cumsum(begins) - 1]


def check_reached(reached: int, vocab_size: int, min_count: int) -> None:
    """Raise VocabularyError if the text did not support as many tokens as exactly demanded.

    >>> check_reached(300, 400, 2)
    Traceback (most recent call last):
        ...
    tinylm.errors.VocabularyError: The text supports at most 300 tokens (no further pair is seen \
2 times), but vocab_size is 400; ask for 300 or fewer, pass exact=False, or give more text.
    """
    if reached < vocab_size:
        raise VocabularyError(
            f"The text supports at most {reached} tokens (no further pair is seen {min_count} "
            f"times), but vocab_size is {vocab_size}; ask for {reached} or fewer, pass "
            "exact=False, or give more text."
        )


def splits(scores: dict[str, float]) -> tuple[list[Merge], list[int]]:
    """Every way to make a token of two others, and the rank of each: the best score has rank 0.

    >>> splits({"a": 0.0, "b": 0.0, "ab": -1.0, "aab": -2.0, "aa": -3.0})
    ([('a', 'b'), ('a', 'ab'), ('aa', 'b'), ('a', 'a')], [1, 2, 2, 3])
    """
    falling = sorted(set(scores.values()), reverse=True)
    rank = {score: n for n, score in enumerate(falling)}
    sizes = np.unique([len(token) for token in scores])
    _check_work(scores, sizes)
    lengths = sizes.tolist()
    found = []
    for token, score in scores.items():
        for i in lengths[: bisect_left(lengths, len(token))]:  # only as long as some token is
            pair = token[:i], token[i:]
            if pair[0] in scores and pair[1] in scores:
                found.append((rank[score], pair))
    found.sort()
    merges = [pair for _, pair in found]
    ranks = [n for n, _ in found]
    return merges, ranks


def _check_work(tokens: Collection[str], sizes: np.ndarray) -> None:
    """Refuse tokens so long that trying every way to make them of others would have no end.

    sizes : the lengths of tokens, rising
    raises VocabularyError
    """
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    ways = np.searchsorted(sizes, lengths)
    if (work := float(ways @ lengths.astype(float))) > MOST_WORK:
        raise VocabularyError(
            f"The tokens are too long to be made of one another (the longest has "
            f"{lengths.max():,} characters; {work:.1e} of them would have to be compared, "
            f"{MOST_WORK:.0e} are allowed); give a vocabulary of words and their parts."
        )


class Table:
    """Merges as the kernel takes them, in one row for each first token.

    The merges that begin with token a are first[a] … first[a + 1] − 1.

    vocab_size : number of tokens
    pairs : (M,) of two token ids; where a pair stands twice, the last one holds
    made : (M,) the token that each merge makes
    ranks : (M,) the lowest is merged first
    """

    def __init__(
        self, vocab_size: int, pairs: list[tuple[int, int]], made: list[int], ranks: list[int]
    ):
        firsts, seconds = np.array(pairs, np.int64).reshape(-1, 2).T
        order = np.lexsort((seconds, firsts))
        self.first = np.searchsorted(firsts[order], np.arange(vocab_size + 1))
        self.second = seconds[order]
        self.made = np.array(made, np.int64)[order]
        self.ranks = np.array(ranks, np.int64)[order]

    def cut(
        self, words: list[list[int]], dropout: float = 0.0, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Merge the units of each word: where in all units the tokens begin, and their ids.

        words : units of each word, at least one
        dropout : a merge that is next is left out with this probability, drawn with `rng`, until
            another merge of its word has been made
        """
        units = np.fromiter(chain.from_iterable(words), np.int64)
        chosen = units.copy()
        if dropout < 1:
            begins = beginnings(words)
            key = rng.integers(2**64, dtype=np.uint64) if rng else np.uint64(0)
            rows = self.first, self.second
            merge(units, begins, *rows, self.ranks, self.made, dropout, key, chosen)
        places = np.flatnonzero(chosen >= 0)
        return places, chosen[places]
