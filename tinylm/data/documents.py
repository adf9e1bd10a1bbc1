"""A corpus: documents as one long array of token ids, and the word counts for a loss per word."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Protocol

import numpy as np

from tinylm.arguments import strings
from tinylm.errors import DataError, VocabularyError

from .cuts import cut, sentence_starts

CHUNK = 256  # the progress bar moves after this many documents


class Tokenizer(Protocol):
    """The part of an encoding that a corpus needs (any of tinylm.text has it)."""

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of tokens that no text produces."""

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of each text."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters that each token of a text covers."""

    def word_starts(self, text: str) -> np.ndarray:
        """Whether each token of a text begins a word."""


@dataclass(frozen=True)
class Corpus:
    """D documents, one after another.

    ids : (N,) int32            the tokens of all documents
    starts : (D + 1,) int64     document d is ids[starts[d]:starts[d + 1]]
    vocab_size : int            V
    words : int                 words of the text, separated by white space:
                                nats per word = nats per token * N / words
    characters : int            code points of the text
    special_ids : tuple         ids that stand for no text: the end of a document, unknown words
    sentences : (S + 1,) int64  sentence s is ids[sentences[s]:sentences[s + 1]]; every document
                                begins one. None unless asked for, see `encode_corpus`
    word_starts : (N,) bool     True for a token that begins a word. None unless asked for

    >>> corpus = Corpus(np.array([4, 2, 4, 3]), np.array([0, 3, 4]), 5, words=4, characters=15)
    >>> corpus.document(0).tolist(), corpus.counts.tolist()
    ([4, 2, 4], [0, 0, 1, 1, 2])
    """

    ids: np.ndarray
    starts: np.ndarray
    vocab_size: int
    words: int
    characters: int
    special_ids: tuple[int, ...] = ()
    sentences: np.ndarray | None = None
    word_starts: np.ndarray | None = None

    def __len__(self) -> int:
        """N, the number of tokens."""
        return len(self.ids)

    def document(self, d: int) -> np.ndarray:
        """The ids of document d, a view."""
        return self.ids[self.starts[d] : self.starts[d + 1]]

    @cached_property
    def counts(self) -> np.ndarray:
        """(V,) int64: how often each token occurs in the corpus."""
        return np.bincount(self.ids, minlength=self.vocab_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and the starts: equal for equal corpora only."""
        digest = hashlib.sha256(np.ascontiguousarray(self.ids))
        digest.update(np.ascontiguousarray(self.starts))
        return digest.hexdigest()

    def unigram_entropy(self) -> float:
        """The loss of the best guess from the counts alone, in nats per token.

        A trained model must beat it.
        """
        seen = self.counts[self.counts > 0]
        share = seen / len(self.ids)
        return float(-(share * np.log(share)).sum())


def encode_corpus(
    texts: Iterable[str],
    tokenizer: Tokenizer,
    end_id: int | None = None,
    progress: bool = False,
    structure: bool = False,
    begin_id: int | None = None,
) -> Corpus:
    """Encode documents one after another.

    texts : the documents; a single string counts as one
    end_id : a token written after every document, usually `tokenizer.end_id`; None writes nothing
    progress : show a progress bar on stderr
    structure : find sentences and the beginnings of words too, see `Corpus`
    begin_id : a token written before every document, usually `tokenizer.begin_id`
    raises DataError        if the texts hold no token at all
    raises VocabularyError  if end_id or begin_id is not in the vocabulary

    >>> from tinylm.text import Chars
    >>> corpus = encode_corpus(["ab", "abc"], Chars.train(["abc"]))
    >>> corpus.starts.tolist(), corpus.words, corpus.characters
    ([0, 2, 5], 2, 5)
    """
    begin = _mark("begin_id", begin_id, tokenizer)
    end = _mark("end_id", end_id, tokenizer)
    from tqdm import tqdm

    texts = [texts] if isinstance(texts, str) else texts
    total = len(texts) if isinstance(texts, Sequence) else None
    bar = tqdm(total=total, desc="encoding", unit=" documents", disable=not progress, leave=False)
    pieces: list[np.ndarray] = []
    lengths = [0]
    sentences: list[int] = []
    word_starts: list[np.ndarray] = []
    n_ids = 0
    words = 0
    characters = 0
    remaining = iter(texts)
    with bar:
        while chunk := list(islice(remaining, CHUNK)):
            encoded = tokenizer.encode_batch(chunk)
            for text, ids in zip(chunk, encoded, strict=True):
                if structure:  # `begin` belongs to the first sentence, and is a word
                    for start in _sentence_starts(text, tokenizer, len(ids)):
                        sentences.append(n_ids + start + len(begin) * (start > 0))
                    word_starts += [np.ones(len(begin), bool), tokenizer.word_starts(text)]
                    word_starts.append(np.ones(len(end), bool))
                length = len(begin) + len(ids) + len(end)
                n_ids += length
                pieces += [begin, ids, end]
                lengths.append(length)
                words += len(text.split())
                characters += len(text)
            bar.update(len(chunk))
    if characters == 0 or sum(lengths) == 0:
        raise DataError(
            "The text is empty: it holds no token; give documents with some text in them."
        )
    return Corpus(
        ids=np.concatenate(pieces),
        starts=np.cumsum(lengths, dtype=np.int64),
        vocab_size=tokenizer.vocab_size,
        words=words,
        characters=characters,
        special_ids=tokenizer.special_ids,
        sentences=np.array([*sentences, n_ids], np.int64) if structure else None,
        word_starts=np.concatenate(word_starts) if structure else None,
    )


def _mark(name: str, i: int | None, tokenizer: Tokenizer) -> np.ndarray:
    """The ids written beside every document: one, or none.   raises VocabularyError"""
    if i is None:
        return np.array([], np.int32)
    if not 0 <= i < tokenizer.vocab_size:
        last = tokenizer.vocab_size - 1
        raise VocabularyError(f"{name} is {i}, but the vocabulary has the ids 0 to {last}.")
    return np.array([i], np.int32)


def _sentence_starts(text: str, tokenizer: Tokenizer, n_ids: int) -> list[int]:
    """Which of the n_ids tokens of a text begin a sentence; the first one always does."""
    places = sentence_starts(text) if n_ids else []
    if not places:
        return [0]
    ends = np.array([end for _, end in tokenizer.offsets(text)])
    tokens = np.searchsorted(ends, places, side="right")  # the first ones that end behind a place
    return sorted({0, *(int(token) for token in tokens if token < n_ids)})


def split_documents(
    texts: Sequence[str], share: float = 0.05, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Split documents at random into a training part and a held-out part, both in their old order.

    Documents stay whole, so that neighbouring lines end in the same part. Only a single document is
    cut, and its last part is held out. The cut is at white space; in a script without it, at the
    end of a sentence or between two characters (see cuts.py).

    share : the held-out part of the documents; at least one document is held out
    raises DataError        if a part would be empty, or share is not between 0 and 1
    raises ArgumentError    if texts is one string

    >>> split_documents(["a", "b", "c", "d"], share=0.5)
    (['a', 'd'], ['b', 'c'])
    """
    if not 0 < share < 1:
        raise DataError(f"The held-out share is {share}; expected a number between 0 and 1.")
    texts = strings(texts, "texts")
    if not texts:
        raise DataError("There are no documents to split; give at least one.")
    if len(texts) == 1:
        parts = cut(texts[0], share)
        if parts is None:
            raise DataError(
                "The only document is too short to hold a part of it out; give more text."
            )
        first, last = parts
        return [first], [last]
    wanted = max(round(len(texts) * share), 1)
    n_held = min(wanted, len(texts) - 1)
    order = np.random.default_rng([seed, 3]).permutation(len(texts))
    is_held = np.zeros(len(texts), bool)
    is_held[order[:n_held]] = True
    training = [text for text, held in zip(texts, is_held, strict=True) if not held]
    held_out = [text for text, held in zip(texts, is_held, strict=True) if held]
    return training, held_out
