"""A corpus cut into pieces for BERT: two spans of sentences, which belong together or do not.

    document        s1 s2 s3 | s4 s5 s6 | ...         chunks that reach the target length
    it follows      s1 / s2 s3                        a chunk, cut behind a random sentence
    it does not     s1 / t7 t8                        t: another document; s2 s3 come again next

A piece is two pairs of places in the corpus, so no token is copied before a batch needs it.

Source: Devlin et al. 2019 and the released data builder. Differs: sentences are found in plain
text; the tokens that a span loses at its front are counted by one binomial draw, where the release
tosses a coin for each; every epoch cuts the text anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinylm.errors import TinylmError

from .documents import Corpus

SPAN = 20  # tokens that stand for a sentence where a document has none; English has about as many
TRIES = 10  # draws of a document for a random second part, until it is another one


class Piece(NamedTuple):
    """One example: ids[begin:end], then ids[other_begin:other_end].

    is_random : 1 if the second span does not follow the first, else 0

    >>> Piece(1, 3, 5, 6, 1).framed(np.arange(10, 17), 0, 9).tolist()
    [0, 11, 12, 9, 15, 9]
    """

    begin: int
    end: int
    other_begin: int
    other_end: int
    is_random: int

    def framed(self, array: np.ndarray, first: Any, last: Any) -> np.ndarray:
        """The parts of an array (N,) over the corpus, with `first` before and `last` behind each.

        returns (T,): [CLS] A [SEP] B [SEP], or [CLS] A [SEP] if there is no second span
        """
        parts = [[first], array[self.begin : self.end], [last]]
        if self.other_end > self.other_begin:
            parts += [array[self.other_begin : self.other_end], [last]]
        return np.concatenate(parts)


@dataclass(frozen=True)
class Outline:
    """Where the sentences of a corpus are, without the special token that ends a document.

    begins, ends : S places each; sentence s is ids[begins[s]:ends[s]]
    documents : D + 1 numbers of sentences; document d has the sentences documents[d] to
        documents[d + 1] − 1, at least one
    n_cut : documents in which spans of about SPAN tokens stand for sentences

    >>> ids = np.array([5, 6, 7, 8, 9, 2])
    >>> starts, words = np.array([0, 4, 6]), np.ones(6, bool)
    >>> corpus = Corpus(ids, starts, 10, 6, 30, (2,), np.array([0, 2, 4, 6]), words)
    >>> outline = Outline.of(corpus)
    >>> outline.begins, outline.ends, outline.documents
    ([0, 2, 4], [2, 4, 5], [0, 2, 3])
    """

    begins: list[int]
    ends: list[int]
    documents: list[int]
    n_cut: int

    def __len__(self) -> int:
        """D, the number of documents that hold a sentence."""
        return len(self.documents) - 1

    @classmethod
    def of(cls, corpus: Corpus) -> Outline:
        """The outline of a corpus that was encoded with its structure.

        raises TinylmError  if it was not, or if it holds nothing but special tokens
        """
        if corpus.sentences is None or corpus.word_starts is None:
            raise TinylmError(
                "This corpus knows no sentences; encode it with encode_corpus(..., structure=True)."
            )
        begins: list[int] = []
        ends: list[int] = []
        documents = [0]
        n_cut = 0
        for sentences in _by_document(corpus):
            cuts = sentences
            if len(sentences) == 2:
                cuts = _spans(*sentences, corpus.word_starts)
            n_cut += len(cuts) > len(sentences)
            begins += cuts[:-1]
            ends += cuts[1:]
            documents.append(len(begins))
        if not begins:
            raise TinylmError("The text holds no token that is not special; give more text.")
        return cls(begins, ends, documents, n_cut)


def _by_document(corpus: Corpus) -> Iterator[list[int]]:
    """The bounds of the sentences of each document: n + 1 places for n sentences of some tokens."""
    specials = np.isin(corpus.ids, corpus.special_ids)
    bounds = np.unique(corpus.sentences)
    for d in range(len(corpus.starts) - 1):
        begin = int(corpus.starts[d])
        end = int(corpus.starts[d + 1])
        if end > begin and specials[end - 1]:
            end -= 1
        if end > begin:
            first, last = np.searchsorted(bounds, (begin, end))
            yield [*bounds[first:last].tolist(), end]


def _spans(begin: int, end: int, word_starts: np.ndarray) -> list[int]:
    """Cuts of one long sentence every SPAN tokens, moved on to where the next word begins.

    >>> _spans(0, 50, np.arange(50) % 3 == 0)  # a word has three tokens
    [0, 21, 42, 50]
    """
    places = np.arange(begin + SPAN, end, SPAN)
    words = begin + np.flatnonzero(word_starts[begin:end])
    if words.size * SPAN >= end - begin:  # else the script has no spaces, or no words at all
        at = np.searchsorted(words, places)
        places = words[at[at < words.size]]
    return [begin, *np.unique(places).tolist(), end]


def pairs(outline: Outline, size: int, short_rate: float, rng: np.random.Generator) -> list[Piece]:
    """All pieces of an epoch, in the order of the text, as published.

    size : tokens of a piece at most, specials not counted
    short_rate : share of the documents whose pieces aim at a random shorter length

    >>> outline = Outline([0, 5, 9], [5, 9, 12], [0, 2, 3], n_cut=0)
    >>> for piece in pairs(outline, 20, 0, np.random.default_rng(0)):
    ...     print(*piece)
    0 5 9 12 1
    5 9 9 12 1
    9 12 5 9 1
    """
    made = []
    begins = outline.begins
    ends = outline.ends
    for d in range(len(outline)):
        target = size
        if rng.random() < short_rate:
            target = int(rng.integers(2, size + 1))
        first = outline.documents[d]
        stop = outline.documents[d + 1]
        while first < stop:
            last = first + 1  # the chunk is the sentences first … last − 1
            while last < stop and ends[last - 1] - begins[first] < target:
                last += 1
            n = last - first
            cut = first + 1 if n == 1 else first + int(rng.integers(1, n))
            a = (begins[first], ends[cut - 1])
            is_random = n == 1 or rng.random() < 0.5
            if is_random:
                b = _elsewhere(outline, d, target - (a[1] - a[0]), rng)
                first = cut  # what the chunk did not use is put back
            else:
                b = (begins[cut], ends[last - 1])
                first = last
            made.append(Piece(*_trimmed(a, b, size, rng), int(is_random)))
    return made


def _elsewhere(outline, d, wanted, rng):
    """A span of at least `wanted` tokens, or to the end of its document, which is not d.

    Only if d comes up TRIES times, as it must where there is no other, the span is from d.
    """
    for _ in range(TRIES):
        other = int(rng.integers(len(outline)))
        if other != d:
            break
    first = outline.documents[other]
    stop = outline.documents[other + 1]
    first = int(rng.integers(first, stop))
    last = first
    while last < stop - 1 and outline.ends[last] - outline.begins[first] < wanted:
        last += 1
    return outline.begins[first], outline.ends[last]


def _trimmed(a, b, size, rng):
    """Two spans with at most `size` tokens together, as four places.

    The longer one loses a token, at its front or at its end, until they fit; of two equally long
    ones the second does.
    """
    a_begin, a_end = a
    b_begin, b_end = b
    longer = (a_end - a_begin) - (b_end - b_begin)  # negative: the second one is
    surplus = max(a_end - a_begin + b_end - b_begin - size, 0)
    alone = min(surplus, abs(longer))  # lost by the longer one, until both are as long
    by_turns = surplus - alone
    from_a = by_turns // 2 + (alone if longer > 0 else 0)
    from_b = surplus - from_a
    a_front = int(rng.binomial(from_a, 0.5))
    b_front = int(rng.binomial(from_b, 0.5))
    return a_begin + a_front, a_end - from_a + a_front, b_begin + b_front, b_end - from_b + b_front


def stretches(
    n_ids: int, size: int, short_rate: float, rng: np.random.Generator, first: int | None = None
) -> list[Piece]:
    """The whole corpus in pieces of one span, one behind the other, across the ends of documents.

    short_rate : share of the pieces that have a random shorter length
    first : length of the first piece; None draws it, so that epochs cut at different places
    returns Pieces without a second span

    >>> for piece in stretches(10, 4, 0, np.random.default_rng(0), first=3):
    ...     print(piece.begin, piece.end)
    0 3
    3 7
    7 10
    """
    made = []
    begin = 0
    length = int(rng.integers(1, size + 1)) if first is None else first
    while begin < n_ids:
        end = min(begin + length, n_ids)
        made.append(Piece(begin, end, end, end, 0))
        begin = end
        length = size
        if rng.random() < short_rate:
            length = int(rng.integers(2, size + 1))
    return made


class Epochs:
    """The pieces of a corpus, epoch by epoch: a pure function of corpus, epoch and seed.

    size, short_rate : as in `pairs`
    next_sentence : two spans a piece, see `pairs`; False: one, see `stretches`
    duplicates : the epochs repeat after so many; 0: every epoch is another one
    """

    def __init__(
        self,
        corpus: Corpus,
        size: int,
        short_rate: float,
        next_sentence: bool = True,
        duplicates: int = 0,
    ):
        self.n_ids = len(corpus)
        self.outline = Outline.of(corpus) if next_sentence else None
        self.size = size
        self.short_rate = short_rate
        self.duplicates = duplicates
        self.pieces = lru_cache(maxsize=3)(self._pieces)
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _pieces(self, version: int, seed: int) -> list[Piece]:
        """All pieces of a version of the corpus, in the order of the text."""
        rng = np.random.default_rng([seed, 11, version])
        if self.outline is None:
            return stretches(self.n_ids, self.size, self.short_rate, rng)
        return pairs(self.outline, self.size, self.short_rate, rng)

    def in_order(self) -> list[Piece]:
        """The pieces for an evaluation, always the same; stretches all have the full length."""
        if self.outline is None:
            rng = np.random.default_rng(0)
            return stretches(self.n_ids, self.size, 0.0, rng, first=self.size)
        return self.pieces(0, 0)

    def _shuffled(self, epoch, n, seed):
        return np.random.default_rng([seed, 12, epoch]).permutation(n)

    def take(self, step: int, batch_size: int, seed: int) -> list[tuple[int, int, Piece]]:
        """The pieces of a batch, each with its version and its number in it.

        Every epoch has as many pieces as epoch 0. If its cuts made more, some are left out by
        chance; if they made fewer, some come twice.
        """
        n = len(self.pieces(0, seed))
        taken = []
        for place in range(step * batch_size, (step + 1) * batch_size):
            epoch, row = divmod(place, n)
            version = epoch % self.duplicates if self.duplicates else epoch
            made = self.pieces(version, seed)
            order = self._order(epoch, len(made), seed)
            number = int(order[row % len(made)])
            taken.append((version, number, made[number]))
        return taken
