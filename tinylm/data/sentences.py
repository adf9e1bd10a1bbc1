"""A corpus as sentences of words, in a new order in every epoch, as word2vec reads it."""

from functools import lru_cache

import numpy as np

from tinylm.errors import TinylmError

from .documents import Corpus

PART = 2**22  # words that are counted in one go


class Sentences:
    """The documents of a corpus, without its special tokens and cut after max_sentence words.

    ids : (N,) int32 words
    starts : (S + 1,) int64, sentence s is ids[starts[s]:starts[s + 1]]
    raises TinylmError  if the corpus holds special tokens only

    >>> words = np.array([5, 6, 0, 7, 8, 9, 2], np.int32)
    >>> corpus = Corpus(words, np.array([0, 7]), 10, 7, 35, special_ids=(0, 1, 2))
    >>> sentences = Sentences(corpus, max_sentence=3)
    >>> sentences.ids
    array([5, 6, 7, 8, 9], dtype=int32)
    >>> sentences.starts
    array([0, 3, 5])
    """

    def __init__(self, corpus: Corpus, max_sentence: int):
        dropped = np.flatnonzero(np.isin(corpus.ids, corpus.special_ids))
        self.ids = np.delete(corpus.ids, dropped)
        if not self.ids.size:
            raise TinylmError(
                "The text holds no word that the vocabulary knows; "
                "give more text or a larger vocabulary."
            )
        starts = corpus.starts - np.searchsorted(dropped, corpus.starts)  # of documents, (D + 1,)
        self.starts = cut_long(np.unique(starts), max_sentence, max_sentence)
        self.order = lru_cache(maxsize=2)(self._order)  # every step of an epoch asks for the same

    def counts(self, vocab_size: int) -> np.ndarray:
        """How often each word stands in the text, (V,)."""
        # Part by part, because bincount copies its input to int64.
        parts = np.array_split(self.ids, 1 + self.ids.size // PART)
        return sum(np.bincount(part, minlength=vocab_size) for part in parts)

    def _order(self, epoch, seed):
        """An epoch's shuffled sentences (S,), and how many words stand before each, and in all."""
        order = np.random.default_rng([seed, epoch, 9]).permutation(self.starts.size - 1)
        lengths = np.diff(self.starts)[order]
        return order, np.append(0, np.cumsum(lengths))

    def cuts(self, parts: int) -> np.ndarray:
        """Bounds (parts + 1,) between sentences, such that all parts hold about as many words."""
        return np.searchsorted(self.starts, self.ids.size * np.arange(parts + 1) / parts)

    def part(self, epoch: int, part: int, parts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Part number `part` of `parts` of an epoch, as `take` returns it."""
        order, starts = self.order(epoch, seed)
        bounds = self.ids.size * np.arange(part, part + 2) / parts
        first, last = np.searchsorted(starts, bounds)
        return self.take(order[first:last])

    def take(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some sentences as one text: ids (N,) int64, and begins (N,) bool, True where one begins.

        chosen : numbers of sentences
        """
        pieces = [self.ids[self.starts[s] : self.starts[s + 1]] for s in chosen]
        ids = np.concatenate([self.ids[:0], *pieces]).astype(np.int64)
        ends = np.cumsum([0, *map(len, pieces)])
        begins = np.zeros(ids.size, bool)
        begins[ends[:-1]] = True
        return ids, begins


def cut_long(starts: np.ndarray, longest: int, span: int) -> np.ndarray:
    """Bounds of pieces of a text; those with more than `longest` tokens are cut into spans.

    starts : (S + 1,), rising: piece s is the tokens starts[s] to starts[s + 1] − 1

    >>> cut_long(np.array([0, 3, 10, 12]), longest=4, span=3).tolist()
    [0, 3, 6, 9, 10, 12]
    """
    lengths = np.diff(starts)
    spans = np.where(lengths > longest, -(-lengths // span), 1)  # of each piece, rounded up
    spans_before = np.cumsum(spans) - spans
    within = np.arange(spans.sum()) - np.repeat(spans_before, spans)  # 0, 0, 1, 2, 0
    begins = np.repeat(starts[:-1], spans) + within * span
    return np.append(begins, starts[-1])
