"""Training a unigram vocabulary: start with far too many pieces, drop those the text misses least.

    E: expect how often each piece is used, over all cuts: cₚ
    M: P(p) = exp(ψ(cₚ) − ψ(Σ c))
    loss of a piece = the log-likelihood lost if its best alternative writes it

ψ, the digamma function, makes rare pieces rarer: it gives the mean of log P under a sparse prior
(Bayesian EM).

Source: Kudo 2018, section 3.2, and SentencePiece's trainer. Differs: seeds are weighted by how
often their words occur (SentencePiece counts each different word once), and all repeated
substrings are seeds, not only those that can be continued in several ways; single characters are
never dropped.
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

from .merging import Counted, spread
from .trie import Tree, Trie, code_points, count_substrings, pack, pruned

PENALTY = 10.0  # nats by which an unknown character is worse than the worst piece
LEAST = 0.5  # a piece expected less often is dropped
AT_ONCE = 50_000  # pieces whose losses one call finds: memory stays small


@dataclass(frozen=True)
class EMConfig(Config):
    """How a unigram vocabulary is trained.

    seeds : pieces to start with, at most
    longest : characters of a piece, at most
    shrinking : share of the pieces that a pruning keeps
    coverage : share of the characters of the text that get a piece; the rarest do not
    rounds : EM steps between two prunings
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
    """The words, and the pieces that are left. Piece 0 is the unknown one.

    words : those of the text, in symbols
    tree, trie : the pieces; the trie is None until the first `_compact`
    scores : log-probability of each piece
    lengths, ends : piece p is spelled symbols[ends[p] - lengths[p] : ends[p]]
    alive : False for a piece that is dropped at the next `_compact`
    """

    words: Counted
    tree: Tree
    trie: Trie | None
    scores: np.ndarray
    lengths: np.ndarray
    ends: np.ndarray
    alive: np.ndarray


def required(counts: Counter[str], coverage: float) -> list[str]:
    """The most frequent characters that make up this share of the text.

    >>> required(Counter("aaaabbc"), 0.8)
    ['a', 'b']

    Characters with equal counts come in code point order.
    """
    kept = []
    seen = 0
    total = sum(counts.values())
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

    NUL and lone surrogates, which a `.model` file cannot hold, get no piece.

    words : emptied, because the next step needs the memory
    raises VocabularyError  if there is no text, or fewer pieces are wanted than characters need one
    """
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    storable = Counter()
    for character, count in characters.items():
        if character != "\0" and not "\ud800" <= character <= "\udfff":
            storable[character] = count

    kept = required(storable, config.coverage)
    if not kept:
        raise VocabularyError(
            "The training text is empty; a unigram vocabulary needs text to learn pieces from."
        )
    if len(kept) > wanted:
        raise VocabularyError(
            f"The text has {len(kept)} characters that need a piece, but there is room for "
            f"{wanted}; ask for a larger vocabulary or a smaller coverage."
        )

    rare = set(characters) - set(kept)
    usable = _without(words, rare) if rare else words
    letters, symbols = np.unique(code_points("".join(usable)), return_inverse=True)
    written = Counted(symbols, *spread(usable))
    words.clear()
    usable.clear()

    state = _compact(_seeds(written, config))
    excess = max(state.alive.sum() / (1.1 * wanted), 1.0)
    prunings = 1 + math.ceil(math.log(excess, 1 / config.shrinking))
    for _ in watched(_steps(state, wanted, config), "prunings", prunings):
        pass
    return _best(state, wanted, letters)


def _best(state: _State, wanted: int, letters: np.ndarray) -> list[tuple[str, float]]:
    """All characters and the best longer pieces, sorted by their scores.

    letters : the code points that the symbols stand for
    """
    single = np.flatnonzero(state.alive & (state.lengths == 1))
    longer = _sorted(state, np.flatnonzero(state.alive & (state.lengths > 1)))
    best = _sorted(state, np.concatenate([single, longer[: wanted - single.size]]))
    scores = state.scores[best].astype(np.float32)  # as files hold them
    learned = []
    for p, score in zip(best.tolist(), scores.tolist(), strict=True):
        end = state.ends[p]
        symbols = state.words.symbols[end - state.lengths[p] : end]
        learned.append(("".join(map(chr, letters[symbols].tolist())), score))
    return learned


def _sorted(state: _State, pieces: np.ndarray) -> np.ndarray:
    """Pieces by falling score."""
    return pieces[np.argsort(-state.scores[pieces], kind="stable")]


def _steps(state: _State, wanted: int, config: EMConfig) -> Iterator[None]:
    """EM and pruning in turn, down to a tenth more pieces than are wanted."""
    enough = 1.1 * wanted
    while True:
        for _ in range(config.rounds):
            _expect_and_maximise(state)
        yield
        left = state.alive.sum()
        if left <= enough:
            return
        _prune(state, max(int(enough), int(config.shrinking * left)))


def _without(words: Counter[str], rare: set[str]) -> Counter[str]:
    """Words cut at the characters that get no piece."""
    table = {ord(c): " " for c in rare}
    cut: Counter[str] = Counter()
    for word, count in words.items():
        for part in filter(None, word.translate(table).split(" ")):
            cut[part] += count
    return cut


def _seeds(words: Counted, config: EMConfig) -> _State:
    """The pieces to start with: all characters, and the substrings with the best count · length."""
    tree, counts, lengths, ends = count_substrings(*words, config.longest)
    value = counts * lengths
    alive = lengths == 1
    longer = np.flatnonzero(lengths > 1)
    order = np.argsort(-value[longer], kind="stable")
    alive[longer[order][: config.seeds]] = True
    scores = np.log(np.maximum(value, 1) / value[alive].sum())
    return _State(words, tree, None, scores, lengths, ends, alive)


def _compact(state: _State) -> _State:
    """Remove dead pieces from the tree, number the others anew, and pack the trie."""
    first, label, piece = pruned(state.tree, state.alive)
    kept = state.alive.copy()
    kept[0] = True
    number = np.cumsum(kept) - 1
    state.tree = Tree(first, label, np.where(piece >= 0, number[piece], -1))
    state.trie = pack(state.tree, int(label.max()))
    state.scores = state.scores[kept]
    state.lengths = state.lengths[kept]
    state.ends = state.ends[kept]
    state.alive = state.alive[kept]
    return state


def _expect_and_maximise(state: _State) -> None:
    """One E and one M step: new scores, and pieces that are hardly used are dropped."""
    from scipy.special import digamma  # slow to import, and only training needs it

    symbols, begins, times = state.words
    expected = np.empty_like(state.scores)
    likelihood = np.empty(1)  # the kernel writes it; training does not need it
    state.scores[0] = state.scores[state.alive].min() - PENALTY
    expectation(state.scores, symbols, begins, times, *state.trie, 0, expected, likelihood)
    single = state.lengths == 1
    expected[single] = np.maximum(expected[single], LEAST)
    state.alive &= expected >= LEAST
    total = expected[state.alive].sum()
    state.scores = digamma(np.maximum(expected, LEAST)) - digamma(total)
    piece = state.trie.piece
    piece[(piece >= 0) & ~state.alive[piece]] = -1


def _prune(state: _State, size: int) -> None:
    """Keep the `size` pieces whose loss is largest, and all characters."""
    symbols, begins, times = state.words
    state.scores[0] = state.scores[state.alive].min() - PENALTY
    chosen = np.full(symbols.size, -1, np.int64)
    viterbi(state.scores, symbols, begins, *state.trie, 0, 1, chosen)
    begins_piece = chosen >= 0
    used = np.bincount(chosen[begins_piece], times[begins_piece], state.scores.size)
    longer = np.flatnonzero(state.alive & (state.lengths > 1))
    losses = [np.zeros(0)]
    for begin in range(0, longer.size, AT_ONCE):
        losses.append(_losses(state, longer[begin : begin + AT_ONCE], used))
    loss = np.concatenate(losses)
    characters = np.count_nonzero(state.alive & (state.lengths == 1))
    room = max(size - characters, 0)
    order = np.argsort(-loss, kind="stable")
    state.alive[longer[order[room:]]] = False
    state.alive[longer[np.isneginf(loss)]] = False
    _compact(state)


def _losses(state: _State, pieces: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The log-likelihood lost if others write each of these pieces, -inf if nobody misses it.

    used : how often each piece stands in the best cuts of the words

    The pieces are read as a text of their own, one word for each: once to see whether a piece is
    the best way to write itself, and once with all pieces forbidden to write themselves whole.
    """
    lengths = state.lengths[pieces]
    edges = np.cumsum(lengths) - lengths
    inside = np.arange(lengths.sum()) - np.repeat(edges, lengths)
    places = np.repeat(state.ends[pieces] - lengths, lengths) + inside
    text = state.words.symbols[places]  # all pieces, one after another
    starts = inside == 0

    whole = np.full(text.size, -1, np.int64)
    viterbi(state.scores, text, starts, *state.trie, 0, 1, whole)
    other = np.full(text.size, -1, np.int64)
    viterbi(state.scores, text, starts, *state.trie, 0, 0, other)
    owner = np.repeat(np.arange(pieces.size), lengths)[other >= 0]
    other = other[other >= 0]  # the alternatives, and the number of the piece that each helps write

    own = used[pieces]
    total = used.sum()
    count = np.bincount(owner, minlength=pieces.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        # If the alternatives write the piece, each is used `own` times more often.
        alternative = np.bincount(owner, np.log(used[other] + own[owner]), pieces.size)
        alternative -= count * np.log(total + own * (count - 1))
        lost = own * (np.log(own) - math.log(total) - alternative)
    loss = np.where(own > 0, lost, 0.0)
    useless = (own == 0) & (whole[edges] != pieces)  # it is not even the best way to write itself
    loss[useless] = -np.inf
    return loss
