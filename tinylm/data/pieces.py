"""A corpus as examples of one or two neighbouring pieces of text, as ELECTRA reads it.

    some sentences | the sentences that follow          one document, 128 tokens or a little more

Sentences are added until the example is long enough or the document ends. The first ones become the
first piece, up to half of the example; the others become the second. What is too long is cut off
when the example is read.

Source: Clark et al. 2020, the released data builder. Differs: once the second piece has begun, all
further sentences belong to it. There a short one may still join the first.
"""

from functools import lru_cache

import numpy as np

from tinylm.errors import TinylmError

from .batching import pad
from .documents import Corpus
from .sentences import cut_long

SINGLE = 0.1  # of the examples have one piece, as texts to classify do
SHORT = 0.05  # of the examples are shorter, by chance
SHORTEST = 5  # tokens of those
SPECIALS = 3  # [CLS], and [SEP] behind each piece


class Pieces:
    """The sentences of a corpus, and the examples that they make.

    corpus : with its `sentences`; without them whole documents take their place
    dropped : ids to leave out, as is a special token that ends a document
    length : T, tokens of an example, specials included; at least 5
    ids : (N,) int32, the tokens that are left
    raises TinylmError  if none is left

    A sentence that fills more than half of an example is cut into spans of T/8 tokens.

    >>> words = np.array([5, 6, 7, 2, 8, 9, 2], np.int32)
    >>> corpus = Corpus(words, np.array([0, 4, 7]), 10, 7, 35)
    >>> pieces = Pieces(corpus, dropped=[2], length=9)
    >>> pieces.ids.tolist(), pieces.sentences.tolist(), pieces.documents.tolist()
    ([5, 6, 7, 8, 9], [0, 3, 5], [0, 3, 5])
    """

    def __init__(self, corpus: Corpus, dropped: np.ndarray, length: int):
        is_gone = np.isin(corpus.ids, dropped)
        last = corpus.starts[1:][np.diff(corpus.starts) > 0] - 1
        is_gone[last] |= np.isin(corpus.ids[last], corpus.special_ids)
        gone = np.flatnonzero(is_gone)
        self.ids = np.delete(corpus.ids, gone)
        self.length = length
        if not self.ids.size:
            raise TinylmError("The text holds no token besides special ones; give more text.")

        def kept(places):
            """The same places among the tokens that are left, each once."""
            return np.unique(places - np.searchsorted(gone, places))

        sentences = corpus.starts if corpus.sentences is None else corpus.sentences
        half = (length - SPECIALS) // 2
        self.documents = kept(corpus.starts)
        self.sentences = cut_long(kept(sentences), half, max(length // 8, 1))
        self.examples = lru_cache(maxsize=2)(self._examples)

    def _examples(self, seed: int) -> np.ndarray:
        """The examples of the whole text, in its order; a call as `examples` remembers them.

        returns (E, 3) int64: each one's first token, the first one of its second piece, its end
        """
        rng = np.random.default_rng([seed, 7])
        bounds = np.searchsorted(self.sentences, self.documents)
        found = []
        target = self.length
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            stops = self.sentences[first + 1 : last + 1].tolist()
            begin = int(self.sentences[first])
            read = []  # ends of the sentences of the example so far
            for stop in stops:
                read.append(stop)
                if stop - begin >= target or stop == stops[-1]:
                    found.append((begin, _second(begin, read, target, rng), stop))
                    begin = stop
                    read = []
                    target = self.length
                    if rng.random() < SHORT:
                        target = int(rng.integers(SHORTEST, self.length + 1))
        return np.array(found, np.int64)

    def rows(
        self, examples: np.ndarray, cls: int, sep: int, pad_id: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some examples as [CLS] A [SEP] or [CLS] A [SEP] B [SEP], padded on the right.

        examples : (B, 3), rows of `examples`     cls, sep, pad_id : ids of the special tokens
        returns ids (B, T) int64, token types (B, T) int64: 1 for B and its [SEP], mask (B, T) bool
        """
        rows = []
        types = []
        for begin, second, end in examples:
            a = self.ids[begin:second][: self.length - 2]
            room = max(self.length - SPECIALS - len(a), 0)
            b = self.ids[second:end][:room]
            row = [cls, *a, sep]
            if b.size:
                row += [*b, sep]
            rows.append(row)
            types.append(np.arange(len(row)) >= len(a) + 2)
        ids, mask = pad(rows, pad_id)
        token_types, _ = pad(types)
        return ids, token_types, mask


def _second(begin, stops, target, rng):
    """Where the second piece of an example begins; at its end if it has none.

    The sentence that would overfill the first piece joins it every other time.

    begin : first token     stops : where each sentence ends     target : tokens of the example
    """
    if rng.random() < SINGLE:
        return stops[-1]
    half = (target - SPECIALS) // 2
    second = begin
    for stop in stops:
        fits = second == begin or stop - begin < half
        if not fits and (second - begin >= half or rng.random() >= 0.5):
            break
        second = stop
    return second
