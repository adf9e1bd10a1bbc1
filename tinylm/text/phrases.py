"""Phrases: two words that stand together far more often than chance become one, "new york" -> "new_york".

    score(a, b) = (count(a b) − min_count) / (count(a) · count(b)) · N        joined where it exceeds the threshold

Words are joined greedily from left to right; a second pass, over the text of the first, joins phrases of up to four.
Source: Mikolov et al. 2013b, section 4; the released word2phrase.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

Pairs = frozenset[tuple[str, str]]  # the words that one pass joins


def learn_pairs(
    texts: Iterable[Sequence[str]], min_count: int = 5, threshold: float = 100.0
) -> Pairs:
    """The pairs of neighbouring words whose score exceeds the threshold; no pair crosses the end of a text.

    min_count : pairs and words seen less often are no phrases, and of more frequent ones so many do not count
    """
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words.update(text)
        pairs.update(zip(text[:-1], text[1:], strict=True))
    total = sum(words.values())
    return frozenset(
        (a, b)
        for (a, b), count in pairs.items()
        if count >= min_count <= min(words[a], words[b])
        and (count - min_count) / (words[a] * words[b]) * total > threshold
    )


def learn_passes(
    texts: Iterable[Sequence[str]], passes: int, min_count: int = 5, threshold: float = 100.0
) -> tuple[Pairs, ...]:
    """The pairs of several passes, each learned on the text that the one before has joined."""
    texts, found = list(texts), []
    for _ in range(passes):
        found.append(learn_pairs(texts, min_count, threshold))
        texts = [[word for word, _ in join(text, found[-1:])] for text in texts]
    return tuple(found)


def join(words: Sequence[str], passes: Iterable[Pairs]) -> list[tuple[str, int]]:
    """The words with phrases joined by "_", each with the number of words that it is made of."""
    parts = [(word, 1) for word in words]
    for pairs in passes:
        joined: list[tuple[str, int]] = []
        open_end = False  # a phrase is not continued in the pass that made it
        for word, size in parts:
            if open_end and (joined[-1][0], word) in pairs:
                joined[-1] = (f"{joined[-1][0]}_{word}", joined[-1][1] + size)
                open_end = False
            else:
                joined.append((word, size))
                open_end = True
        parts = joined
    return parts
