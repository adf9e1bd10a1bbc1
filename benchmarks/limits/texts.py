"""The text of the limits, its encodings, and the score of a model beside the exact answer."""

from dataclasses import dataclass

import numpy as np

import tinylm
from tinylm.data import Corpus
from tinylm.data.markov import HiddenMarkov
from tinylm.text import Words
from tinylm.text.base import Encoding

T = 64  # tokens of a text
RATE = 0.15  # of them are picked
LEAK = 1.005


@dataclass(frozen=True)
class Score:
    """Mean nats of n predictions: by counting tokens, by the model, by the exact answer."""

    n: int
    counts: float
    found: float
    exact: float

    @property
    def share(self) -> float:
        """The share of the gap that the model closes."""
        return (self.counts - self.found) / (self.counts - self.exact)

    def must_not_leak(self) -> None:
        """Nobody can know more than the exact answer, but for the chance of the texts."""
        assert self.share <= LEAK, f"a leak: {self}"

    def __str__(self) -> str:
        return (
            f"{self.n:,} predictions: counts {self.counts:.3f}, found {self.found:.3f}, "
            f"exact {self.exact:.3f} nats: {100 * self.share:.1f} % closed"
        )


def words_of(source: HiddenMarkov) -> Words:
    """An encoding of the source's tokens, with BERT's special tokens before them."""
    tokenizer = Words(source.words)
    tokenizer.add_specials(tinylm.Bert.needs_tokens)
    return tokenizer


def corpus_of(ids: np.ndarray, tokenizer: Words) -> Corpus:
    """One long document of the source's tokens. Any window of it is a text from the stationary start."""
    ends = np.array([0, len(ids)])
    return Corpus(
        ids + tokenizer.first,
        ends,
        tokenizer.vocab_size,
        words=len(ids),
        characters=3 * len(ids),
        special_ids=tokenizer.special_ids,
        sentences=ends,
        word_starts=np.ones(len(ids), bool),
    )


def texts_of(ids: np.ndarray, tokenizer: Encoding) -> Corpus:
    """A document of every T tokens of the source: each is a text from the stationary start.

    Its end token stands behind each of them.
    """
    rows = ids.reshape(-1, T) + tokenizer.first
    rows = np.pad(rows, ((0, 0), (0, 1)), constant_values=tokenizer.end_id)
    ends = np.arange(len(rows) + 1) * (T + 1)
    return Corpus(
        rows.reshape(-1).astype(np.int32),
        ends,
        tokenizer.vocab_size,
        words=len(ids),
        characters=3 * len(ids),
        special_ids=tokenizer.special_ids,
        sentences=ends,
    )


def some(texts: np.ndarray) -> list[np.ndarray]:
    """Texts in parts of 256, so that a model reads them in little memory."""
    return [texts[first : first + 256] for first in range(0, len(texts), 256)]
