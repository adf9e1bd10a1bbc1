"""Sentence vectors: one vector for each text, so that similar texts have a large product.

    encoder = SentenceEncoder.load("minilm")
    vectors = encoder(["The sea is calm.", "No waves today.", "Taxes rise."])     # (N, C)
    similarity = vectors @ vectors.T                                              # cosines, (N, N)

Source: Reimers & Gurevych 2019 (mean pooling); the folder says how its own model pools.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import hub
from tinylm.arguments import strings
from tinylm.data.batching import by_length
from tinylm.errors import ShapeError, TinylmError
from tinylm.hub.sentences import Pooling, read_pooling
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad

from .features import encode_texts, take

SMALLEST = 1e-12  # shorter vectors are divided by this, not by their length


class SentenceEncoder:
    """Texts in, vectors out: the last layer's states, pooled.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder is read, never changed
    pooling : how states become a vector; by default their mean, of length 1
    batch_size : texts that are read together

    >>> import tinylm
    >>> tokenizer = tinylm.text.Words(["sea", "ice"])
    >>> model = tinylm.Word2Vec(tinylm.Word2VecConfig(vocab_size=5, size=3))
    >>> encoder = SentenceEncoder(model, tokenizer)
    >>> vectors = encoder(["ice", "sea sea", "sea"])
    >>> vectors.shape
    (3, 3)
    >>> [place for place, cosine in encoder.search("sea", vectors, count=2)]
    [1, 2]
    """

    def __init__(
        self,
        encoder: Objective,
        tokenizer: Any,
        pooling: Pooling | None = None,
        batch_size: int = 32,
    ):
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.pooling = pooling or Pooling()
        self.batch_size = argument("SentenceEncoder", "batch_size", batch_size, int, at_least(1))

    @classmethod
    def load(cls, path: str | Path) -> "SentenceEncoder":
        """The encoder of a folder: of a sentence encoder, a run, or any published model.

        path : the folder, or the name of a named set that holds a model ("minilm")
        raises CheckpointError  if a file is missing, damaged or of an unknown kind
        raises TinylmError      if the folder holds no tokenizer
        """
        folder, pooling = read_pooling(hub.folder_of(path))
        encoder, tokenizer = hub.load(folder)
        if tokenizer is None:
            raise TinylmError(
                f"{folder} holds no tokenizer, so text cannot be read; copy its files there"
            )
        return cls(encoder, tokenizer, pooling)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, (N, C) float32; each has length 1 if `pooling` says so.

        Texts of similar length share a batch, so that little of it is padding.
        raises ArgumentError for one string instead of a list, DataError if there is no text
        """
        texts = strings(texts, "texts")
        if self.pooling.lower:
            texts = [text.lower() for text in texts]
        encoded = encode_texts(self.encoder, self.tokenizer, texts, self.pooling.max_length)
        lengths = encoded["mask"].sum(axis=1)
        rows: dict[int, np.ndarray] = {}
        with self.encoder.evaluating(), no_grad(), one_pool():
            for chosen in by_length(lengths, self.batch_size):
                batch = take(encoded, chosen)
                states = self.encoder.encode(**batch)[-1].data  # (B,T,C)
                rows |= zip(chosen.tolist(), self._pooled(states, batch["mask"]), strict=True)
        return np.stack([rows[i] for i in range(lengths.size)])

    def _pooled(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """States (B, T, C) of real and padded positions -> vectors (B, F)."""
        parts = [pool(states, mask, mode) for mode in self.pooling.modes]
        vectors = np.concatenate(parts, axis=1)
        if self.pooling.normalised:
            vectors = unit(vectors)
        return vectors

    def search(self, query: str, vectors: np.ndarray, count: int = 10) -> list[tuple[int, float]]:
        """The texts nearest to a query: (place, cosine), the nearest first.

        vectors : those of the texts, (N, C), as the encoder returned them
        raises ShapeError       if they have another width
        raises ArgumentError    for a negative count
        """
        argument("search", "count", count, int, at_least(0))
        [question] = unit(self([query]))
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.shape[1] != question.size:
            raise ShapeError(
                f"search: vectors have the shape {vectors.shape}; expected (N, {question.size}), "
                "as this encoder returns them."
            )
        cosines = unit(vectors) @ question  # (N,C) @ (C,) -> (N,)
        best = np.argsort(-cosines, kind="stable")[:count]
        return [(int(place), float(cosines[place])) for place in best]


def pool(states: np.ndarray, mask: np.ndarray, mode: str) -> np.ndarray:
    """One vector for each text.   states (B, T, C), mask (B, T) bool -> (B, C)

    mode : as in `hub.sentences.Pooling`

    >>> states = np.array([[[1.0, 2.0], [3.0, -4.0], [9.0, 9.0]]])
    >>> pool(states, np.array([[True, True, False]]), "mean")
    array([[ 2., -1.]])
    """
    real = mask[:, :, None]  # (B,T) -> (B,T,1)
    if mode == "first":
        first = mask.argmax(axis=1)  # a text may be padded on the left
        return states[np.arange(len(states)), first]
    if mode == "max":
        return np.where(real, states, -np.inf).max(axis=1)
    n_real = mask.sum(axis=1, keepdims=True)
    if mode == "root":
        n_real = np.sqrt(n_real)
    total = (states * real).sum(axis=1, dtype=np.float64)
    return (total / n_real).astype(states.dtype)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length, (N, C).

    >>> unit(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, SMALLEST)
