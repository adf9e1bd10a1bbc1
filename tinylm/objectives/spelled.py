"""Words as vectors from their bytes, with a vocabulary that is spelled once and for all.

    ids (B, T)  ->  characters (B, T, 50)  ->  nn.CharCNN  ->  vectors (B, T, P)

A finished model can keep the vectors of its vocabulary: then only words outside it are still read.
"""

from collections.abc import Sequence

import numpy as np

from tinylm import nn
from tinylm.errors import TinylmError
from tinylm.ops.registry import check_ids
from tinylm.tensor import Tensor, no_grad
from tinylm.text.elmo import character_ids, token_characters

from .base import TABLE_ROWS


class SpelledWords(nn.CharCNN):
    """A CharCNN that knows how the words of a vocabulary are spelled.

    .chars : (N + 1, 50) int16, the characters of N words, then of padding; None before `spell`
    .size : V, of the vocabulary; ids from N on are padding
    .kept : (V, P), the vocabulary's vectors after `keep`

    >>> config = nn.CharCNNConfig(filters=((1, 2), (3, 4)), projection_dim=5)
    >>> reader = SpelledWords(config, rng=np.random.default_rng(0))
    >>> reader.spell(["<pad>", "bank", "river"], 3)
    >>> reader.words(np.array([[1, 2, 1]])).shape, reader.word("riverbank").shape
    ((1, 3, 5), (5,))
    """

    chars: np.ndarray | None = None
    size = 0
    kept: np.ndarray | None = None

    def spell(self, words: Sequence[str], vocab_size: int) -> None:
        """Learn how the first words of a vocabulary are spelled; ids without a word are padding.

        words : by id, at most vocab_size
        """
        self.chars = np.stack([token_characters(word) for word in [*words, "<pad>"]])
        self.size = vocab_size
        self.kept = None

    def words(self, ids: np.ndarray, chars: np.ndarray | None = None, unknown: int = -1) -> Tensor:
        """The vectors of some words.   ids : (...) -> (..., P)

        chars : (..., 50), their spelling; None for that of the vocabulary
        unknown : the id of all words that are not in it; kept vectors never stand for these
        raises TinylmError before `spell`, ShapeError if an id is out of range
        """
        if self.training:
            self.kept = None
        if self.kept is not None and ids is not None:
            return self._looked_up(ids, chars, unknown)
        if chars is not None:
            return self.each_once(chars)
        ids = self._checked(ids)
        return self.each_once(self.chars[np.minimum(ids, len(self.chars) - 1)])

    def keep(self) -> None:
        """From now on look the vocabulary up, without a gradient, until the model is trained again.

        Where weights are loaded later, call it once more.
        """
        self.kept = self.table()

    def table(self) -> np.ndarray:
        """The vectors of the vocabulary, (V, P), read anew.   raises TinylmError as `words`"""
        self._need_characters()
        tables = []
        with no_grad():
            for first in range(0, len(self.chars), TABLE_ROWS):
                tables.append(self.each_once(self.chars[first : first + TABLE_ROWS]).data)
        rows = np.concatenate(tables)
        missing = max(self.size - len(rows), 0)
        return np.concatenate([rows[: self.size], np.repeat(rows[-1:], missing, axis=0)])

    def word(self, word: str) -> np.ndarray:
        """The vector of any word, (P,)."""
        with no_grad():
            return self.each_once(character_ids(word)[None]).data[0]

    def _looked_up(self, ids, chars, unknown):
        """Kept vectors; words outside the vocabulary are read."""
        ids = self._checked(ids)
        vectors = self.kept[ids].astype(self.char_embed.weight.dtype)
        outside = ids == unknown
        if chars is not None and outside.any():
            with no_grad():
                vectors[outside] = self.each_once(np.asarray(chars)[outside]).data
        return Tensor(vectors)

    def _checked(self, ids):
        """ids as an array.   raises ShapeError if one is not in the vocabulary"""
        self._need_characters()
        return check_ids("SpelledWords", ids, self.size)

    def _need_characters(self):
        """raises TinylmError before `spell`"""
        if self.chars is None:
            raise TinylmError(
                "This model does not know how its words are spelled; call spell(tokenizer.vocab)."
            )
