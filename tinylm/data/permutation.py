"""A text in a random order: what XLNet reads, which tokens it predicts, and what each may see.

    tokens      T1 T2 T3 T4 T5 <sep>       T2 and T5 are to be predicted
    order       −1  7 −1 −1  3   9         of targets and special tokens; −1 is seen by all
    T5 sees     T1 T3 T4                   what comes before it in the order
    T2 sees     T1 T3 T4 T5                so it is predicted after T5

`may_see` in objectives/xlnet.py is the rule as one writes it on paper; `visibility` is the same for
all pairs at once. An instance is [ reused | A <sep> B <sep> <cls> ]. The next one begins where the
reused part ends, so that the model's memory of it stands right before the new text.

Source: Yang et al. 2019, sections 2.2 to 2.5, and the released data builder. Differs: each epoch
cuts the text at another place; A and B fill their part exactly; `sample_spans` ends a span where
its last word ends, `released` does as the release.
"""

from dataclasses import dataclass

import numpy as np

from tinylm.errors import TinylmError

from .documents import Corpus

AROUND = 3  # special tokens of an instance: A <sep> B <sep> <cls>
SEPARATOR = -1  # stands for a special token among places of the corpus
CLASSIFIER = -2
NEAR = 200  # tokens among which a random second text looks for the beginning of a sentence


@dataclass(frozen=True)
class Spans:
    """How targets are chosen.

    longest : words of a span at most; n words are drawn with probability ∝ 1/n
    alpha, beta : a span of n words has n · alpha/beta tokens of context around it
    released : end a span after n pieces, as the release does by mistake, not after n words
    """

    longest: int = 5
    alpha: int = 6
    beta: int = 1
    released: bool = False


def sample_spans(
    starts: np.ndarray, count: int, rng: np.random.Generator, spans: Spans
) -> np.ndarray:
    """Choose `count` places of a text in spans of whole words, the rest at random.

    starts : (T,) bool, True where a token begins a word, or is special
    returns (T,) bool, True = chosen; `count` of them, or all if there are fewer
    The last span is cut where it would choose too many.

    >>> starts = np.array([True, False, True, False] * 5)
    >>> chosen = sample_spans(starts, 4, np.random.default_rng(0), Spans())
    >>> int(chosen.sum())
    4
    """
    length = len(starts)
    count = min(count, length)
    chosen = np.zeros(length, bool)
    sizes = np.arange(1, spans.longest + 1)
    chances = (1 / sizes) / (1 / sizes).sum()
    here = 0
    left = count
    while here < length and left:
        n = min(int(rng.choice(sizes, p=chances)), left)
        context = max(n * spans.alpha // spans.beta, 1)
        before = int(rng.integers(context))
        begin = _next_start(starts, here + before)
        end = begin + n if spans.released else _behind_words(starts, begin, n)
        if end >= length:
            break
        end = min(end, begin + left)
        chosen[begin:end] = True
        left -= end - begin
        here = end + context - before
    others = np.flatnonzero(~chosen)
    chosen[rng.permutation(others)[:left]] = True
    return chosen


def _next_start(starts, place):
    """The first place from `place` on where a word begins; T if there is none."""
    found = np.flatnonzero(starts[place:])
    return place + int(found[0]) if found.size else len(starts)


def _behind_words(starts, begin, n):
    """The place behind n words from `begin` on; T if the text ends before."""
    found = np.flatnonzero(starts[begin + 1 :])
    return begin + 1 + int(found[n - 1]) if found.size >= n else len(starts)


def factorisation(length: int, block: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of T places: blocks keep theirs, and share one permutation inside.

    block : places of a block
    returns (T,), the rank of each place

    >>> factorisation(6, 3, np.random.default_rng(0))
    array([2, 0, 1, 5, 3, 4])
    """
    block = min(block, length)
    ranks = rng.permutation(block)
    places = np.arange(length)
    return places // block * block + ranks[places % block]


def visibility(order: np.ndarray, is_target: np.ndarray, is_special: np.ndarray) -> np.ndarray:
    """Which tokens each query may see, as published.

    order : (T,) ranks     is_target, is_special : (T,) bool
    returns (T, T) bool, True = query i may see token j: the opposite of the published perm_mask.
    A target does not see itself; the content stream lets every token see itself besides.

    >>> targets = np.array([False, True, True])
    >>> visibility(np.array([0, 2, 1]), targets, np.zeros(3, bool)).astype(int)
    array([[1, 0, 0],
           [1, 0, 1],
           [1, 0, 0]])
    """
    plain = ~(is_target | is_special)
    rank = np.where(plain, -1, order)
    before = rank[:, None] > rank[None, :]
    same_or_before = rank[:, None] >= rank[None, :]
    return plain[None, :] | np.where(is_target[:, None], before, same_or_before)


def in_two_parts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Join what two parts may see: the second sees all of the first, the first nothing of it.

    (T, T) and (U, U) bool -> (T + U, T + U)

    >>> in_two_parts(np.ones((1, 1), bool), np.zeros((1, 1), bool)).astype(int)
    array([[1, 0],
           [1, 0]])
    """
    n = len(first)
    whole = np.zeros((n + len(second), n + len(second)), bool)
    whole[:n, :n] = first
    whole[n:, :n] = True
    whole[n:, n:] = second
    return whole


@dataclass(frozen=True)
class Plan:
    """What is predicted: `count` tokens of a row, in blocks of `block` places, chosen in spans."""

    count: int
    block: int
    spans: Spans = Spans()


def arrange(
    starts: np.ndarray, is_special: np.ndarray, reuse: int, plan: Plan, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a row's targets and their order, in the reused part and in the rest by themselves.

    starts : (T,) bool, True where a word begins     is_special : (T,) bool
    reuse : tokens of the first part
    returns the places to predict (K',), rising, and what each token may see (T, T) bool
    A special token may be chosen, as published: it counts, but it is not predicted.
    """
    parts = (slice(0, reuse), slice(reuse, None))
    counts = (plan.count // 2, plan.count - plan.count // 2)
    targets = np.zeros(len(starts), bool)
    views = []
    for part, count in zip(parts, counts, strict=True):
        chosen = sample_spans(starts[part], count, rng, plan.spans)
        targets[part] = chosen & ~is_special[part]
        order = factorisation(len(chosen), plan.block, rng)
        views.append(visibility(order, targets[part], is_special[part]))
    return np.flatnonzero(targets), in_two_parts(*views)


class Lanes:
    """A corpus cut into lanes that are read in parallel, step by step.

    reuse : tokens by which a step moves on     text : tokens of A and B together
    rows : lanes that are read forward     backwards : rows to rows·2 − 1 read them backwards
    raises TinylmError  if the corpus is too short for a single step

    >>> corpus = Corpus(np.arange(40), np.array([0, 40]), 40, words=40, characters=80)
    >>> lanes = Lanes(corpus, reuse=3, text=4, rows=2)
    >>> lanes.steps
    5
    >>> lanes.row(1, 0, 0, np.random.default_rng(2))[0].tolist()
    [3, 4, 5, 6, 7, 8, -1, 5, -1, -2]
    """

    def __init__(self, corpus: Corpus, reuse: int, text: int, rows: int, backwards: bool = False):
        self.corpus = corpus
        self.reuse = reuse
        self.text = text
        self.rows = rows
        self.backwards = backwards
        self.lane = len(corpus.ids) // rows
        self.steps = (self.lane - text) // reuse
        if self.steps < 1:
            raise TinylmError(
                f"The text has {len(corpus.ids)} tokens; {rows} rows of {reuse + text} tokens need "
                f"{rows * (reuse + text)}; use more text, fewer rows or a shorter seq_len."
            )
        self.begins_sentence = np.zeros(len(corpus.ids), bool)
        starts = corpus.starts if corpus.sentences is None else corpus.sentences
        self.begins_sentence[starts[starts < len(corpus.ids)]] = True
        self.begins_word = corpus.word_starts
        if self.begins_word is None:
            self.begins_word = np.ones(len(corpus.ids), bool)

    def step(self, step: int, seed: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], bool]:
        """All rows of a step as `row` returns them, and whether a new epoch begins there."""
        epoch, number = divmod(step, self.steps)
        offset = 0
        if seed or epoch:
            offset = int(np.random.default_rng([seed, 17, epoch]).integers(len(self.corpus.ids)))
        found = []
        for b in range(self.rows * (1 + self.backwards)):
            rng = np.random.default_rng([seed, 18, step, b])
            found.append(self.row(number, b, offset, rng))
        return found, number == 0

    def row(
        self, number: int, b: int, offset: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row b of a step: the places of its tokens in the corpus, and their segments.

        number : of the step in its epoch     offset : the place where the first lane begins
        returns places (T,), SEPARATOR and CLASSIFIER for special tokens; segments (T,) 0, 1 or 2
        A ends at a random end of a sentence, if there is one. B goes on, or in half of the cases
        is from elsewhere in the lane.
        """
        begin = number * self.reuse
        reused = self._places(b, offset, begin, self.reuse)
        text = self._places(b, offset, begin + self.reuse, self.text)
        cuts = 1 + np.flatnonzero(self._begins(text, b, self.begins_sentence)[1:])
        size = int(rng.choice(cuts)) if cuts.size else int(rng.integers(1, self.text))
        second = text[size:]
        if rng.random() < 0.5:
            last = self.lane - len(second)
            start = int(rng.integers(last + 1))
            nearby = self._places(b, offset, start, min(NEAR, last - start + 1))
            first = np.flatnonzero(self._begins(nearby, b, self.begins_sentence))
            start += int(first[0]) if first.size else 0
            second = self._places(b, offset, start, len(second))
        places = [reused, text[:size], [SEPARATOR], second, [SEPARATOR, CLASSIFIER]]
        segments = np.zeros(self.reuse + self.text + AROUND, np.int64)
        segments[self.reuse + size + 1 :] = 1
        segments[-1] = 2
        return np.concatenate(places).astype(np.int64), segments

    def _places(self, b, offset, begin, count):
        """`count` places of row b's lane from number `begin` on, in the order of its reader."""
        numbers = np.arange(begin, begin + count)
        if b >= self.rows:
            numbers = self.lane - 1 - numbers
        return (offset + b % self.rows * self.lane + numbers) % len(self.corpus.ids)

    def _begins(self, places, b, begins):
        """Whether a unit begins at each place, for the reader of row b.

        begins : (N,) bool, True where one begins for a forward reader
        """
        if b >= self.rows:  # what ends before the next one begins, begins for who comes from there
            places = (places + 1) % len(begins)
        return begins[places]

    def words(self, places: np.ndarray, b: int) -> np.ndarray:
        """Where a word begins for the reader of row b of a step, special tokens included.

        places : (T,), of `row`     returns (T,) bool
        """
        begins = self._begins(np.maximum(places, 0), b, self.begins_word)
        return begins | (places < 0)
