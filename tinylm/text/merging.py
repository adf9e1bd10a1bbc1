"""Merges, whatever the units they begin with: bytes (GPT-2), characters (GPT-1), or characters and `##` (WordPiece)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinylm.errors import VocabularyError
from tinylm.kernels import learn_merges

Merge = tuple[str, str]


def learn(
    words: tuple[np.ndarray, np.ndarray, np.ndarray], alphabet: list[str], wanted: int, min_count: int, prefix: str = ""
) -> tuple[list[str], list[Merge]]:
    """The tokens (alphabet first) and the merges learned from counted words; see `kernels.learn_merges`.

    words : (N,) units of all words one after another, ids into `alphabet`; (N,) bool, True where a word begins; (N,)
        how often its word occurs
    wanted : tokens to add to the alphabet; fewer where no pair is seen min_count times any more
    prefix : what a token that continues a word begins with, dropped where it is joined to another
    """
    symbols, begins, times = words
    room = wanted + 64
    while True:
        found = np.full((room, 3), -1, np.int64)
        learn_merges(symbols, begins, times, len(alphabet), min_count, wanted, found)
        if found[-1, 0] < 0 or found[:, 2].max() + 1 == len(alphabet) + wanted:
            break
        room *= 2  # so many pairs spell a token that is already there
    vocab, merges = list(alphabet), []
    for first, second, token in found[found[:, 0] >= 0].tolist():
        merges.append((vocab[first], vocab[second]))
        if token == len(vocab):
            vocab.append(vocab[first] + vocab[second].removeprefix(prefix))
    return vocab, merges


def spread(lengths: Iterable[int], counts: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """begins (N,) bool and times (N,) of words with these many units and counts, as `learn` takes them."""
    lengths, counts = np.array(list(lengths), np.int64), np.array(list(counts), np.int64)
    begins = np.zeros(lengths.sum(), bool)
    begins[np.cumsum(lengths)[lengths > 0] - lengths[lengths > 0]] = True
    return begins, np.repeat(counts, lengths)


def check_reached(reached: int, vocab_size: int, min_count: int) -> None:
    """Raise VocabularyError if the text did not support as many tokens as were asked for exactly."""
    if reached < vocab_size:
        raise VocabularyError(
            f"The text supports at most {reached} tokens (no further pair is seen {min_count} times), "
            f"but vocab_size is {vocab_size}; ask for {reached} or fewer, pass exact=False, or give more text."
        )


def apply(ids: list[int], ranks: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """One word: while any neighbours have a merge, apply the one learned first, everywhere from the left.

    ranks : pair -> (its place in the list of merges, the token it becomes)
    """
    never = (len(ranks), -1)
    while len(ids) > 1:
        pair = min(zip(ids, ids[1:], strict=False), key=lambda pair: ranks.get(pair, never))
        if pair not in ranks:
            break
        ids = _replace(ids, pair, ranks[pair][1])
    return ids


def _replace(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Every occurrence of a pair, from the left, replaced by one token."""
    merged, i, last = [], 0, len(ids) - 1
    while i <= last:
        if i < last and (ids[i], ids[i + 1]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged
