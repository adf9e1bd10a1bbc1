"""Training a unigram vocabulary: begin with far too many pieces, and drop those that the text misses least.

    P(word) = Σ over cuts Π P(piece)      E: how often each piece is expected      M: P(p) = exp(ψ(cₚ) − ψ(Σ c))
    loss of a piece = what the log-likelihood loses when the piece is written by its best alternative

ψ, the digamma function, makes rare pieces rarer: the mean of log P under a sparse prior (Bayesian EM).
Source: Kudo 2018, section 3.2, and SentencePiece's trainer. Differs: seeds are weighted by how often their words occur
(SentencePiece counts each different word once), and all repeated substrings are seeds, not only those that can be
continued in several ways; single characters are never dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinylm.errors import VocabularyError
from tinylm.kernels import expectation, viterbi
from tinylm.progress import watched
from tinylm.settings import Config, Range, at_least, between
from tinylm.text.merging import spread
from tinylm.text.trie import Tree, Trie, code_points, count_substrings, pack, pruned

PENALTY = 10.0  # nats by which an unknown character is worse than the worst piece
LEAST = 0.5  # a piece expected less often is dropped
AT_ONCE = 50_000  # pieces whose losses are found by one call: memory stays small


@dataclass(frozen=True)
class EMConfig(Config):
    """seeds : pieces to begin with, at most     longest : characters of a piece     shrinking : share kept by a pruning
    coverage : share of the characters of the text that get a piece; the rarest ones do not     rounds : EM steps between
    """

    ranges = {
        "seeds": at_least(1),
        "longest": at_least(1),
        "shrinking": Range(0, 1, closed=False, ends=False),
        "coverage": between(0, 1),
        "rounds": at_least(1, 1000),
    }
    seeds: int = 1_000_000
    longest: int = 16
    shrinking: float = 0.75
    coverage: float = 0.9995
    rounds: int = 2


@dataclass
class _State:
    """The words (symbols, begins, times), the pieces as tree and trie, and by piece: score, spelling, is it alive."""

    words: tuple[np.ndarray, np.ndarray, np.ndarray]
    tree: Tree
    trie: Trie
    scores: np.ndarray
    lengths: np.ndarray
    ends: np.ndarray
    alive: np.ndarray


def required(counts: Counter[str], coverage: float) -> list[str]:
    """The most frequent characters that make up this share of the text, in code point order where counts tie."""
    kept, seen, total = [], 0, sum(counts.values())
    for character, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if seen >= total * coverage and kept:
            break
        kept.append(character)
        seen += count
    return kept


def learn(
    words: Counter[str], wanted: int, config: EMConfig = EMConfig()
) -> list[tuple[str, float]]:
    """At most `wanted` (piece, log-probability), best first; all required characters among them.

    words : emptied, for what follows needs the memory
    NUL and lone surrogates, which a `.model` file cannot hold, get no piece.
    raises VocabularyError  if there is no text, or there are more required characters than pieces wanted
    """
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    spelt = Counter(
        {c: n for c, n in characters.items() if c != "\0" and not "\ud800" <= c <= "\udfff"}
    )
    kept = required(spelt, config.coverage)
    if not kept:
        raise VocabularyError(
            "The training text is empty; a unigram vocabulary needs text to learn pieces from."
        )
    if len(kept) > wanted:
        raise VocabularyError(f"The text has {len(kept)} characters that need a piece, but there is room for {wanted}; "
                              "ask for a larger vocabulary or a smaller coverage.")  # fmt: skip
    rare = set(characters) - set(kept)
    usable = words if not rare else _without(words, rare)
    alphabet, symbols = np.unique(code_points("".join(usable)), return_inverse=True)
    written = symbols, *spread(usable)
    words.clear()
    usable.clear()
    state = _compact(_seeds(written, config))
    excess = max(state.alive.sum() / (1.1 * wanted), 1.0)
    for _ in watched(
        _steps(state, wanted, config),
        "prunings",
        1 + math.ceil(math.log(excess, 1 / config.shrinking)),
    ):
        pass
    letters = [chr(c) for c in alphabet.tolist()]
    single = np.flatnonzero(state.alive & (state.lengths == 1))
    longer = np.flatnonzero(state.alive & (state.lengths > 1))
    longer = longer[np.argsort(-state.scores[longer], kind="stable")][: wanted - single.size]
    best = np.concatenate([single, longer])
    best = best[np.argsort(-state.scores[best], kind="stable")]
    ends, lengths = state.ends[best].tolist(), state.lengths[best].tolist()
    spelled = [
        "".join(letters[s] for s in symbols[end - n : end].tolist())
        for end, n in zip(ends, lengths, strict=True)
    ]
    return list(
        zip(spelled, state.scores[best].astype(np.float32).tolist(), strict=True)
    )  # as files hold them


def _steps(state: _State, wanted: int, config: EMConfig) -> Iterator[None]:
    """EM and pruning in turn, down to a tenth more pieces than are wanted."""
    while True:
        for _ in range(config.rounds):
            _em(state)
        yield
        if state.alive.sum() <= 1.1 * wanted:
            return
        _prune(state, max(int(1.1 * wanted), int(config.shrinking * state.alive.sum())))


def _without(words: Counter[str], rare: set[str]) -> Counter[str]:
    """Words cut at characters that get no piece."""
    table = {ord(c): " " for c in rare}
    cut: Counter[str] = Counter()
    for word, count in words.items():
        for part in filter(None, word.translate(table).split(" ")):
            cut[part] += count
    return cut


def _seeds(words: tuple[np.ndarray, np.ndarray, np.ndarray], config: EMConfig) -> _State:
    """All characters, and the substrings with the highest count · length. Number 0 is the unknown piece."""
    tree, counts, lengths, ends = count_substrings(*words, config.longest)
    value = counts * lengths
    alive = lengths == 1
    longer = np.flatnonzero(lengths > 1)
    alive[longer[np.argsort(-value[longer], kind="stable")][: config.seeds]] = True
    scores = np.log(np.maximum(value, 1) / value[alive].sum())
    return _State(words, tree, (), scores, lengths, ends, alive)


def _compact(state: _State) -> _State:
    """Dead pieces removed from the tree and from the numbering, and the trie packed anew."""
    first, label, piece = pruned(state.tree, state.alive)
    kept = state.alive.copy()
    kept[0] = True
    number = np.cumsum(kept) - 1
    state.tree = first, label, np.where(piece >= 0, number[piece], -1)
    state.trie = pack(state.tree, int(label.max()))
    state.scores, state.lengths, state.ends, state.alive = (
        values[kept] for values in (state.scores, state.lengths, state.ends, state.alive)
    )
    return state


def _em(state: _State) -> float:
    """One E and one M step. Returns the log-likelihood before it, in nats."""
    from scipy.special import digamma

    symbols, begins, times = state.words
    expected, likelihood = np.empty_like(state.scores), np.empty(1)
    state.scores[0] = state.scores[state.alive].min() - PENALTY
    expectation(state.scores, symbols, begins, times, *state.trie, 0, expected, likelihood)
    expected[state.lengths == 1] = np.maximum(expected[state.lengths == 1], LEAST)
    state.alive &= expected >= LEAST
    state.scores = digamma(np.maximum(expected, LEAST)) - digamma(expected[state.alive].sum())
    piece = state.trie[2]
    piece[(piece >= 0) & ~state.alive[piece]] = -1
    return float(likelihood[0])


def _prune(state: _State, size: int) -> None:
    """Keep the `size` pieces whose loss is largest, and all characters."""
    symbols, begins, times = state.words
    state.scores[0] = state.scores[state.alive].min() - PENALTY
    chosen = np.full(symbols.size, -1, np.int64)
    viterbi(state.scores, symbols, begins, *state.trie, 0, 1, chosen)
    used = np.bincount(chosen[chosen >= 0], times[chosen >= 0], state.scores.size)
    numbers = np.flatnonzero(state.alive & (state.lengths > 1))
    parts = [numbers[begin : begin + AT_ONCE] for begin in range(0, numbers.size, AT_ONCE)]
    loss = np.concatenate([np.zeros(0), *(_losses(state, part, used) for part in parts)])
    order = np.argsort(-loss, kind="stable")
    state.alive[
        numbers[order[max(size - int((state.alive & (state.lengths == 1)).sum()), 0) :]]
    ] = False
    state.alive[numbers[np.isneginf(loss)]] = False
    _compact(state)


def _losses(state: _State, numbers: np.ndarray, used: np.ndarray) -> np.ndarray:
    """What the log-likelihood loses when each of these pieces is written by others, -inf for one that nobody misses.

    used : how often each piece stands in the best cuts of the words
    """
    lengths = state.lengths[numbers]
    edges = np.cumsum(lengths) - lengths
    inside = np.arange(lengths.sum()) - np.repeat(edges, lengths)
    text = state.words[0][
        np.repeat(state.ends[numbers] - lengths, lengths) + inside
    ]  # all pieces, one after another
    owner, starts = np.repeat(np.arange(numbers.size), lengths), inside == 0
    whole, other = (np.full(text.size, -1, np.int64) for _ in range(2))
    viterbi(state.scores, text, starts, *state.trie, 0, 1, whole)
    viterbi(state.scores, text, starts, *state.trie, 0, 0, other)
    owner, other = owner[other >= 0], other[other >= 0]
    own = used[numbers]
    total = used.sum()
    parts = np.bincount(owner, minlength=numbers.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        alternative = np.bincount(owner, np.log(used[other] + own[owner]), numbers.size)
        alternative -= parts * np.log(total + own * (parts - 1))
        loss = np.where(own > 0, own * (np.log(own) - math.log(total) - alternative), 0.0)
    loss[
        (own == 0) & (whole[edges] != numbers)
    ] = -np.inf  # never used, and not even the best way to write itself
    return loss
