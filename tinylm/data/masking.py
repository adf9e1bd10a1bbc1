"""Gaps in a text: which tokens a masked language model must guess, and what stands there instead.

    n = min(most, max(1, round(rate · T)))       picks in a text of T tokens
    8 of 10 picks show [MASK], 1 of 10 a random word, 1 of 10 itself

`mask_tokens` in objectives/bert.py is the whole corruption as one writes it on paper; these
functions do the same with arrays, and whole words.

Source: Devlin et al. 2019, section 3.1, and the released data builder.
"""

import numpy as np


def count_picks(length: int, rate: float, most: int) -> int:
    """How many tokens of a text are picked.

    >>> count_picks(128, 0.15, 20), count_picks(40, 0.15, 20), count_picks(3, 0.15, 20)
    (19, 6, 1)
    """
    return min(most, max(1, round(rate * length)))


def pick_tokens(candidates: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n of the candidates, or all if there are fewer, in rising order.

    candidates : (M,) places     returns (P,)
    """
    return np.sort(rng.permutation(candidates)[:n])


def pick_weighted(
    candidates: np.ndarray, weights: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """n of the candidates, drawn one after another, each in proportion to its weight; rising.

    The n largest of log w + a Gumbel variate are such a draw without replacement.
    candidates : (M,) places     weights : (M,) above 0     returns (P,)

    >>> pick_weighted(np.arange(5), np.array([1, 1e9, 1, 1, 1e9]), 2, np.random.default_rng(0))
    array([1, 4])
    """
    keys = np.log(weights) + rng.gumbel(size=candidates.size)
    return np.sort(candidates[np.argsort(-keys)[:n]])


def pick_words(
    candidates: np.ndarray, word_starts: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Whole words among the candidates, n tokens at most, in rising order.

    Words come in random order; one that would make too many tokens is passed over.
    candidates : (M,) places, rising     word_starts : (T,) bool, True where a token begins a word;
    a place behind one that is no candidate begins one too
    returns (P,)

    >>> starts = np.array([True, True, False, False, True, True])
    >>> pick_words(np.arange(6), starts, 3, np.random.default_rng(12)).tolist()
    [1, 2, 3]
    """
    behind_a_gap = np.diff(candidates, prepend=-2) > 1
    firsts = np.flatnonzero(word_starts[candidates] | behind_a_gap)
    words = np.split(candidates, firsts[1:])
    picks: list[int] = []
    for w in rng.permutation(len(words)):
        if len(picks) == n:
            break
        if len(picks) + len(words[w]) <= n:
            picks += words[w].tolist()
    return np.array(sorted(picks), np.int64)


def corrupt(
    ids: np.ndarray,
    picks: np.ndarray,
    mask_id: int,
    vocab_size: int,
    rng: np.random.Generator,
    masked_share: float = 0.8,
    random_share: float = 0.1,
) -> np.ndarray:
    """A copy of ids in which every pick shows the mask, a random word or itself.

    ids : (T,)     picks : (P,) places     vocab_size : the random words are any of these ids
    returns (T,)

    >>> corrupt(np.arange(10, 15), np.array([1, 3]), 0, 20, np.random.default_rng(0)).tolist()
    [10, 0, 12, 0, 14]
    """
    lots = rng.random(picks.size)
    shown = rng.integers(vocab_size, size=picks.size)
    shown[lots < masked_share] = mask_id
    kept = lots >= masked_share + random_share
    shown[kept] = ids[picks[kept]]
    corrupted = ids.copy()
    corrupted[picks] = shown
    return corrupted
