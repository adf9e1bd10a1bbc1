"""A corpus: documents as one long array of token ids, with what is needed to speak of its loss per word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Protocol

import numpy as np

from tinylm.arguments import strings
from tinylm.data.cuts import cut
from tinylm.errors import DataError, VocabularyError

CHUNK = 256  # documents encoded between two movements of the progress bar


class Tokenizer(Protocol):
    """What a corpus needs of an encoding (any of tinylm.text)."""

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of tokens that no text produces."""

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of each text."""


@dataclass(frozen=True)
class Corpus:
    """D documents, one after another.

    ids : (N,) int32            the tokens of all documents
    starts : (D + 1,) int64     document d is ids[starts[d]:starts[d + 1]]
    vocab_size : int            V
    words : int                 words of the text as white space separates them; nats per word = nats * N / words
    characters : int            code points of the text
    special_ids : tuple         ids that are no part of the text: the end of a document, what is unknown
    """

    ids: np.ndarray
    starts: np.ndarray
    vocab_size: int
    words: int
    characters: int
    special_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        """N, the number of tokens."""
        return len(self.ids)

    def document(self, d: int) -> np.ndarray:
        """The ids of document d, a view."""
        return self.ids[self.starts[d] : self.starts[d + 1]]

    @cached_property
    def counts(self) -> np.ndarray:
        """(V,) int64: how often each token stands in the corpus."""
        return np.bincount(self.ids, minlength=self.vocab_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and of where the documents begin: corpora with the same one are the same."""
        digest = hashlib.sha256(np.ascontiguousarray(self.ids))
        digest.update(np.ascontiguousarray(self.starts))
        return digest.hexdigest()

    def unigram_entropy(self) -> float:
        """Nats per token of the best guess that knows nothing but the counts: what a trained model must beat."""
        share = self.counts[self.counts > 0] / len(self.ids)
        return float(-(share * np.log(share)).sum())


def encode_corpus(
    texts: Iterable[str], tokenizer: Tokenizer, end_id: int | None = None, progress: bool = False
) -> Corpus:
    """Encode documents one after another.

    texts : the documents; a single string counts as one
    end_id : a token written after every document, usually `tokenizer.end_id` (None: nothing separates documents)
    progress : show a progress bar on stderr
    raises DataError        if the texts hold no token at all; VocabularyError if end_id is not in the vocabulary
    """
    if end_id is not None and not 0 <= end_id < tokenizer.vocab_size:
        raise VocabularyError(
            f"end_id is {end_id}, but the vocabulary has the ids 0 to {tokenizer.vocab_size - 1}."
        )
    from tqdm import tqdm

    texts = [texts] if isinstance(texts, str) else texts
    total = len(texts) if isinstance(texts, Sequence) else None
    end = np.array([] if end_id is None else [end_id], np.int32)
    pieces: list[np.ndarray] = []
    lengths, words, characters, remaining = [0], 0, 0, iter(texts)
    with tqdm(
        total=total, desc="encoding", unit=" documents", disable=not progress, leave=False
    ) as bar:
        while chunk := list(islice(remaining, CHUNK)):
            for text, ids in zip(chunk, tokenizer.encode_batch(chunk), strict=True):
                pieces += [ids, end]
                lengths.append(len(ids) + len(end))
                words += len(text.split())
                characters += len(text)
            bar.update(len(chunk))
    if characters == 0 or sum(lengths) == 0:
        raise DataError(
            "The text is empty: it holds no token; give documents with some text in them."
        )
    return Corpus(
        np.concatenate(pieces),
        np.cumsum(lengths, dtype=np.int64),
        tokenizer.vocab_size,
        words,
        characters,
        tokenizer.special_ids,
    )


def split_documents(
    texts: Sequence[str], share: float = 0.05, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Training and held-out documents: whole documents, drawn at random; both parts keep the order of the original.

    A single document is cut once, and its last part is held out: neighbouring lines never fall apart. The cut falls at
    white space; where a script has none, at the end of a sentence or between two characters, see cuts.py.

    share : the held-out part of the documents, at least one of them
    raises DataError        if a part would be empty; ArgumentError if texts is one string
    """
    if not 0 < share < 1:
        raise DataError(f"The held-out share is {share}; expected a number between 0 and 1.")
    texts = strings(texts, "texts")
    if len(texts) == 1:
        parts = cut(texts[0], share)
        if parts is None:
            raise DataError(
                "The only document is too short to hold a part of it out; give more text."
            )
        first, last = parts
        return [first], [last]
    if not texts:
        raise DataError("There are no documents to split; give at least one.")
    n = min(max(round(len(texts) * share), 1), len(texts) - 1)
    held = set(np.random.default_rng([seed, 3]).permutation(len(texts))[:n].tolist())
    return [t for d, t in enumerate(texts) if d not in held], [
        t for d, t in enumerate(texts) if d in held
    ]
