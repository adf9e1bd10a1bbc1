"""Vectors of words: text that is split into words goes through any encoder.

    words      Unbelievable ,  no          given, one tag for each
    tokens     Un ##bel ##ievable ,  no    the encoder reads these, with its own special tokens
    vectors    ^                   ^  ^    a word's vector is the state of its first token

A word without a token (one that the encoding cannot spell) has a vector of zeros. A sentence of
more tokens than the encoder reads is read in two halves, these again in halves, and so on.
Source: Devlin et al. 2019, section 5.3 (the first piece stands for the word).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm import ops as F
from tinylm.data.batching import by_length
from tinylm.errors import DataError, ShapeError
from tinylm.finite import is_finite
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.tensor import Tensor, no_grad
from tinylm.text.template import parts_of

from .features import ALIKE_IN_ONE_LAYER, NO_LIMIT, chosen, encode_texts, take
from .mixing import MIX


@dataclass(frozen=True)
class Reading:
    """N sentences as R rows of tokens, and where each word's first token stands.

    encoded : the keywords of `encode`, (R, T) each; R ≥ N
    rows, places : for each sentence, the row and the place in it of every word, (W,) int64; the
        place is −1 for a word without a token
    """

    encoded: dict[str, np.ndarray]
    rows: list[np.ndarray]
    places: list[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        """The number of words of each sentence, (N,)."""
        return np.array([len(rows) for rows in self.rows])

    def batch(self, sentences: Sequence[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Some B sentences: the keywords of `encode` for their rows, and where each word is found.

        returns keywords (R', T'), and (B, W) numbers of tokens among the R'·T', −1 for no token and
            behind the end of a sentence
        """
        needed = np.unique(np.concatenate([self.rows[s] for s in sentences]))
        encoded = take(self.encoded, needed)
        columns = self.encoded["mask"][needed].any(axis=0)
        column_now = np.cumsum(columns) - 1  # `take` leaves out columns of padding
        width = encoded["mask"].shape[1]
        longest = max(len(self.rows[s]) for s in sentences)
        found = np.full((len(sentences), longest), -1)
        for b, s in enumerate(sentences):
            row_now = np.searchsorted(needed, self.rows[s])
            places = self.places[s]
            tokens = row_now * width + column_now[places]
            found[b, : places.size] = np.where(places < 0, -1, tokens)
        return encoded, found


def read(
    encoder: Objective,
    tokenizer: Any,
    sentences: Sequence[Sequence[str]],
    max_length: int | None = None,
) -> Reading:
    """Sentences of words as the encoder's tokens.

    max_length : tokens of a row; never more than the encoder has positions for
    raises DataError  if the special tokens leave no room for a text, or there is no sentence

    >>> import tinylm
    >>> tokenizer = tinylm.text.Chars("aceht ")
    >>> encoder = tinylm.Word2Vec(tinylm.Word2VecConfig(vocab_size=tokenizer.vocab_size, size=3))
    >>> reading = read(encoder, tokenizer, [["the", "cat"], ["cat"]])
    >>> [places.tolist() for places in reading.places]
    [[0, 3], [0]]
    """
    limits = [n for n in (max_length, encoder.max_length, NO_LIMIT) if n]
    names = [name for name, _ in parts_of(tokenizer.template.single)]
    room = min(limits) - (len(names) - 1)
    if room < 1:
        raise DataError(
            f"{min(limits)} tokens are too few: {len(names) - 1} special ones surround each text; "
            "give a larger max_length."
        )
    texts: list[str] = []  # of each row
    firsts: list[np.ndarray] = []  # of each row, the first token of each of its words, or −1
    rows_of: list[list[int]] = []  # of each sentence, its rows
    for words in sentences:
        numbers = []
        for part, owner in _halves(tokenizer, list(words), room):
            numbers.append(len(texts))
            texts.append(" ".join(part))
            firsts.append(_firsts(owner, len(part)))
        rows_of.append(numbers)

    encoded = encode_texts(encoder, tokenizer, texts, min(limits))
    begins = encoded["mask"].argmax(axis=1) + names.index("A")  # of each row's text
    rows = []
    places = []
    for numbers in rows_of:
        row_of_words = [np.full(firsts[r].size, r) for r in numbers]
        place_of_words = [np.where(firsts[r] < 0, -1, begins[r] + firsts[r]) for r in numbers]
        rows.append(np.concatenate(row_of_words))
        places.append(np.concatenate(place_of_words))
    return Reading(encoded, rows, places)


def _halves(tokenizer, words, room):
    """[(words, word of each token)] of at most `room` tokens each, or of a single word."""
    _, owner = tokenizer.encode_words(words)
    if len(owner) <= room or len(words) == 1:
        return [(words, np.array(owner, np.int64))]
    middle = len(words) // 2
    first = _halves(tokenizer, words[:middle], room)
    return first + _halves(tokenizer, words[middle:], room)


def _firsts(owner, count):
    """The first token of each of `count` words, (count,), or −1; owner : the word of each token.

    >>> _firsts(np.array([0, 0, 2]), 3)
    array([ 0, -1,  2])
    """
    firsts = np.full(count, -1)
    found, places = np.unique(owner, return_index=True)
    firsts[found] = places
    return firsts


def gather(states: Tensor, found: np.ndarray) -> Tensor:
    """The states of words, differentiable; zeros where a word has no token.

    states : (R, T, C)     found : (B, W) numbers of tokens among the R·T, or −1
    returns (B, W, C)

    >>> gather(Tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), np.array([[2, -1]])).data.tolist()
    [[[3.0], [0.0]]]
    """
    rows, length, width = states.shape
    flat = F.reshape(states, (rows * length, width))
    vectors = F.embedding(np.maximum(found, 0), flat)
    known = found >= 0
    return vectors if known.all() else F.where(known[..., None], vectors, 0.0)


def word_vectors(
    encoder: Objective, reading: Reading, layers: Sequence[str | int], batch_size: int = 32
) -> list[np.ndarray]:
    """The vectors of every word of N sentences, from a frozen encoder without dropout.

    layers : as in `pool`, without "summary"; or only "mix", which gives every layer side by side
    returns for each sentence (W, F) float32
    raises DataError   if the states are not finite
    raises ShapeError  for a layer that does not exist, or a mix of layers of different widths
    """
    lengths = reading.lengths
    vectors: list[np.ndarray] = [np.empty(0)] * lengths.size
    with encoder.evaluating(), no_grad(), one_pool():
        for sentences in by_length(lengths, batch_size):
            encoded, found = reading.batch(sentences)
            states = [gather(state, found).data for state in encoder.encode(**encoded)]
            for b, s in enumerate(sentences):
                words = [state[b, : lengths[s]] for state in states]  # (W,C) a layer
                vectors[s] = joined(words, layers)
    if not all(is_finite(rows) for rows in vectors):
        raise DataError(
            "Words: the encoder's states are NaN or infinite; its weights are damaged or its "
            "training diverged. Load another checkpoint, or train anew with a smaller learning "
            "rate."
        )
    return vectors


def joined(states: Sequence[np.ndarray], layers: Sequence[str | int]) -> np.ndarray:
    """Chosen layers side by side: (W, C) of every layer -> (W, F).

    >>> joined([np.zeros((1, 2)), np.ones((1, 2))], ["last", 0]).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    if MIX in layers:
        widths = {state.shape[1] for state in states}
        if len(widths) != 1 or len(layers) != 1:
            raise ShapeError(
                f"Words: the layers {tuple(layers)} of widths {sorted(widths)}; expected 'mix' "
                "alone, of layers of one width."
            )
        layers = ("all",)
    if len(states) == 1 and set(layers) <= ALIKE_IN_ONE_LAYER:
        layers = ("last",)
    parts = []
    for layer in layers:
        parts += chosen(states, layer)
    return np.concatenate(parts, axis=1).astype(np.float32)
