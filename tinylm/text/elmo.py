"""ELMo's words: each as the 50 ids of its UTF-8 bytes, so that no word is unknown to the model that reads them.

    "cat" -> 259 100 98 117 260 261 261 …          id = 1 + byte, or 1 + 256 … 260: <S>, </S>, word begins, word ends, pad
                                                   0 is where no word stands
A word of more than 48 bytes is cut. The ids of the vocabulary are still there: they are what the model predicts.
Source: Peters et al. 2018, the released code: 261 ids, shifted by one where the model is used. Differs: shifted always.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from tinylm.text.base import Encoding, as_texts
from tinylm.text.template import Template
from tinylm.text.words import Words

LENGTH = 50  # ids of a word
SENTENCE_BEGINS, SENTENCE_ENDS, WORD_BEGINS, WORD_ENDS, PAD = 257, 258, 259, 260, 261


def character_ids(word: str) -> np.ndarray:
    """The ids of a word, (50,) int64: word begins, at most 48 bytes, word ends, pad."""
    return _framed([byte + 1 for byte in word.encode("utf-8", "ignore")[: LENGTH - 2]])


def _framed(inside: list[int]) -> np.ndarray:
    ids = np.full(LENGTH, PAD)
    ids[: len(inside) + 2] = [WORD_BEGINS, *inside, WORD_ENDS]
    return ids


class ElmoWords(Words):
    """Words whose call gives their characters too: what ELMo's model reads beside what it predicts.

    The vocabulary begins with <S>, </S> and <UNK> and is sorted by count, as the sampled softmax wants it; every text
    stands between <S> and </S>.
    """

    files = ("elmo.json",)
    kind = "elmo"
    specials = ("<S>", "</S>", "<UNK>", "<pad>")
    unk_id, pad_id, end_id = 2, 3, 1
    template = Template("<S> A </S>")

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> dict[str, np.ndarray]:
        """As of every encoding, and "chars": (B, T, 50) int64, 0 where no word stands."""
        texts, pairs = list(as_texts(texts)), None if pairs is None else list(as_texts(pairs))
        here = copy.copy(self)  # the same encoding with the words of these texts for a vocabulary
        here.vocab = list(
            dict.fromkeys(
                (*self.specials, *(w for t in (*texts, *(pairs or ())) for w in self.split(t)))
            )
        )
        here.__dict__.pop("_ids_of", None)
        found = Encoding.__call__(here, texts, pairs, max_length)
        framed = {
            "<S>": _framed([SENTENCE_BEGINS]),
            "</S>": _framed([SENTENCE_ENDS]),
            "<pad>": np.zeros(LENGTH, np.int64),
        }
        chars = np.stack(
            [framed[word] if word in framed else character_ids(word) for word in here.vocab]
        )
        ids = np.array([self._index().get(word, self.unk_id) for word in here.vocab])
        return found | {"ids": ids[found["ids"]], "chars": chars[found["ids"]]}
