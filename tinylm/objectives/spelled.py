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

    .chars : (V, 50) int16, the vocabulary's characters, None before `spell`
    .kept : (V, P), the vocabulary's vectors after `keep`

    >>> config = nn.CharCNNConfig(filters=((1, 2), (3, 4)), projection_dim=5)
    >>> reader = SpelledWords(config, rng=np.random.default_rng(0))
    >>> reader.spell(["<pad>", "bank", "river"], 3)
    >>> reader.words(np.array([[1, 2, 1]])).shape, reader.word("riverbank").shape
    ((1, 3, 5), (5,))
    """

    chars: np.ndarray | None = None
    kept: np.ndarray | None = None

    def spell(self, words: Sequence[str], vocab_size: int) -> None:
        """Learn how the first words of a vocabulary are spelled; rows without a word are padding.

        words : by id, at most vocab_size
        """
        unused = ["<pad>"] * (vocab_size - len(words))
        self.chars = np.stack([token_characters(word) for word in [*words, *unused]])
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
        return self.each_once(self._characters()[self._checked(ids)])

    def keep(self) -> None:
        """From now on look the vocabulary up, without a gradient, until the model is trained again.

        Where weights are loaded later, call it once more.
        """
        self.kept = self.table()

    def table(self) -> np.ndarray:
        """The vectors of the vocabulary, (V, P), read anew.   raises TinylmError as `words`"""
        tables = []
        chars = self._characters()
        with no_grad():
            for first in range(0, len(chars), TABLE_ROWS):
                tables.append(self.each_once(chars[first : first + TABLE_ROWS]).data)
        return np.concatenate(tables)

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
        return check_ids("SpelledWords", ids, len(self._characters()))

    def _characters(self):
        """The vocabulary's characters.   raises TinylmError before `spell`"""
        if self.chars is None:
            raise TinylmError(
                "This model does not know how its words are spelled; call spell(tokenizer.vocab)."
            )
        return self.chars
