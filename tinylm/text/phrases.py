"""Phrases: two words that stand together far more often than chance become one.

    "new york" -> "new_york"

    score(a, b) = (count(a b) − min_count) / (count(a) · count(b)) · N

N is the number of words in the text. Pairs whose score exceeds the threshold are joined, from left
to right. A second pass reads the joined text, so it finds phrases of up to four words.
Source: Mikolov et al. 2013b, section 4; the released word2phrase.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

Pairs = frozenset[tuple[str, str]]  # the pairs that one pass joins


def learn_pairs(
    texts: Iterable[Sequence[str]], min_count: int = 5, threshold: float = 100.0
) -> Pairs:
    """The pairs of neighbouring words whose score exceeds the threshold.

    texts : each a list of words; no pair crosses the end of a text
    min_count : rarer words and pairs form no phrase; it is also subtracted from a pair's count

    >>> texts = [["new", "york"]] * 3 + [["the", "new", "the", "york"]]
    >>> learn_pairs(texts, min_count=2, threshold=0.5)  # (3 - 2) / (4 * 4) * 10 = 0.625
    frozenset({('new', 'york')})
    """
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words.update(text)
        pairs.update(zip(text[:-1], text[1:], strict=True))
    total = sum(words.values())
    found = set()
    for (a, b), count in pairs.items():
        if min(count, words[a], words[b]) < min_count:
            continue
        score = (count - min_count) / (words[a] * words[b]) * total
        if score > threshold:
            found.add((a, b))
    return frozenset(found)


def learn_passes(
    texts: Iterable[Sequence[str]], passes: int, min_count: int = 5, threshold: float = 100.0
) -> tuple[Pairs, ...]:
    """The pairs of several passes; each pass learns from the text that the one before joined."""
    texts = list(texts)
    found: list[Pairs] = []
    for _ in range(passes):
        pairs = learn_pairs(texts, min_count, threshold)
        found.append(pairs)
        texts = [[word for word, _ in join(text, [pairs])] for text in texts]
    return tuple(found)


def join(words: Sequence[str], passes: Iterable[Pairs]) -> list[tuple[str, int]]:
    """Join phrases by "_"; each result comes with the number of words it is made of.

    >>> join(["in", "new", "york"], [frozenset({("new", "york")})])
    [('in', 1), ('new_york', 2)]
    """
    parts = [(word, 1) for word in words]
    for pairs in passes:
        parts = _joined_once(parts, pairs)
    return parts


def _joined_once(parts: list[tuple[str, int]], pairs: Pairs) -> list[tuple[str, int]]:
    """One pass over (word, size). A phrase made in this pass does not grow further in it."""
    joined: list[tuple[str, int]] = []
    may_grow = False  # whether the last part may take one more word: it is no phrase of this pass
    for word, size in parts:
        if may_grow and (joined[-1][0], word) in pairs:
            before, size_before = joined.pop()
            joined.append((f"{before}_{word}", size_before + size))
            may_grow = False
        else:
            joined.append((word, size))
            may_grow = True
    return joined
