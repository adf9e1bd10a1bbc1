"""Merges, whatever the units they begin with: bytes (GPT-2), characters (GPT-1, SentencePiece), or characters and `##`."""

from __future__ import annotations

from itertools import chain

import numpy as np

from tinylm.errors import VocabularyError
from tinylm.kernels import learn_merges, merge
from tinylm.text.trie import beginnings, code_points

Merge = tuple[str, str]
Counted = tuple[np.ndarray, np.ndarray, np.ndarray]


def spell(
    words: dict[str, int], before: str = "", after: str = "", always: str = ""
) -> tuple[list[str], Counted]:
    """The alphabet of counted words, in the order of code points, and the words written in it, as `learn` takes them.

    words : emptied, for what follows needs the memory
    before : what a character begins with that continues a word     after : what the last one of a word ends with
    always : characters that stand in the alphabet even if no word has them
    """
    begins, times = spread(words)
    codes, fixed = code_points("".join(words)), code_points(always)
    words.clear()
    mark = (
        int(max(codes.max(initial=0), fixed.max(initial=0))) + 1
    )  # added to a code point: no other one is as large
    if before or after:
        codes = codes + np.uint32(mark) * (~begins if before else np.append(begins[1:], True))
    seen = np.zeros(2 * mark, bool)
    seen[codes] = seen[fixed] = True
    alphabet = [
        chr(c) if c < mark else before + chr(c - mark) + after
        for c in np.flatnonzero(seen).tolist()
    ]
    return alphabet, ((np.cumsum(seen) - 1)[codes], begins, times)


def learn(
    alphabet: list[str],
    words: Counted,
    wanted: int,
    min_count: int,
    prefix: str = "",
    shorter: bool = False,
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
    begins = beginnings(words)
    return begins, np.fromiter(words.values(), np.int64, len(words))[np.cumsum(begins) - 1]


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


class Table:
    """Merges as the kernel takes them, in rows: those that begin with the token a are first[a] … first[a + 1] − 1.

    pairs : (M,) of two token ids; of a pair that stands there twice the last one holds     made : (M,) ids
    ranks : (M,), the lowest is merged first
    """

    def __init__(
        self, vocab_size: int, pairs: list[tuple[int, int]], made: list[int], ranks: list[int]
    ):
        firsts, seconds = np.array(pairs, np.int64).reshape(-1, 2).T
        order = np.lexsort((seconds, firsts))
        self.first = np.searchsorted(firsts[order], np.arange(vocab_size + 1))
        self.second = seconds[order]
        self.made, self.ranks = np.array(made, np.int64)[order], np.array(ranks, np.int64)[order]

    def cut(
        self, words: list[list[int]], dropout: float = 0.0, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Units merged, word by word: where in all units the tokens begin, and their ids.

        words : units of each word, at least one     dropout : share of the merges that are left out when they could be
            next, until another one of the word has been made; drawn with `rng`
        """
        units = np.fromiter(chain.from_iterable(words), np.int64)
        chosen = units.copy()
        if dropout < 1:
            key = rng.integers(2**64, dtype=np.uint64) if rng else np.uint64(0)
            merge(
                units,
                beginnings(words),
                self.first,
                self.second,
                self.ranks,
                self.made,
                dropout,
                key,
                chosen,
            )
        places = np.flatnonzero(chosen >= 0)
        return places, chosen[places]
