"""ELMo's words: each word as 50 ids of its UTF-8 bytes, so that the model can read any word.

    "cat" -> 259 100 98 117 260 261 261 …

    id         stands for
    0          no word stands here
    1 … 256    a byte, id = 1 + byte
    257, 258   <S> and </S>, a sentence begins and ends
    259, 260   a word begins and ends
    261        padding inside a word

A word of more than 48 bytes is cut. Words keep their ids in a vocabulary too: the model reads bytes
and predicts words.
Source: Peters et al. 2018, the released code, which has 261 ids and shifts them by one where the
model uses them. Differs: ours are always shifted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from .base import Encoding, as_texts
from .template import Template
from .words import Words

LENGTH = 50  # ids of a word
SENTENCE_BEGINS = 257
SENTENCE_ENDS = 258
WORD_BEGINS = 259
WORD_ENDS = 260
PAD = 261


def character_ids(word: str) -> np.ndarray:
    """The ids of a word, (50,) int16: word begins, at most 48 bytes, word ends, padding.

    >>> character_ids("cat")[:7].tolist()
    [259, 100, 98, 117, 260, 261, 261]
    """
    raw = word.encode("utf-8", "ignore")
    return _framed([byte + 1 for byte in raw[: LENGTH - 2]])


def _framed(inside: list[int]) -> np.ndarray:
    """The (50,) ids of a word: it begins, what stands inside it, it ends, padding."""
    ids = np.full(LENGTH, PAD, np.int16)
    ids[: len(inside) + 2] = [WORD_BEGINS, *inside, WORD_ENDS]
    return ids


class ElmoWords(Words):
    """Words that, when called, also give each word's characters: ELMo reads these.

    The vocabulary begins with <S>, </S> and <UNK>, then words by falling count, which is the order
    sampled softmax needs. Each text stands between <S> and </S>.
    """

    files = ("elmo.json",)
    kind = "elmo"
    specials = ("<S>", "</S>", "<UNK>", "<pad>")
    unk_id = 2
    pad_id = 3
    end_id = 1
    template = Template("<S> A </S>")

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> dict[str, np.ndarray]:
        """As in every encoding, and "chars": (B, T, 50) int16, 0 where no word stands.

        >>> found = ElmoWords(["cat"])(["a cat"])
        >>> found["ids"]
        array([[0, 2, 4, 1]])
        >>> found["chars"].shape
        (1, 4, 50)
        """
        texts = list(as_texts(texts))
        pairs = None if pairs is None else list(as_texts(pairs))
        # First encode with a vocabulary of just these texts' words, in which no word is unknown.
        words = dict.fromkeys(self.specials)
        for text in (*texts, *(pairs or ())):
            words.update(dict.fromkeys(self.split(text)))
        here = copy.copy(self)
        here.vocab = list(words)
        here.__dict__.pop("_ids_of", None)  # the copied index of the whole vocabulary
        found = Encoding.__call__(here, texts, pairs, max_length)
        # Then translate: places in `here.vocab` -> characters, and -> ids of the real vocabulary.
        places = found["ids"]  # (B, T)
        chars = np.stack([token_characters(word) for word in here.vocab])
        ids = np.array([self._index().get(word, self.unk_id) for word in here.vocab])
        return found | {"ids": ids[places], "chars": chars[places]}  # (B, T), (B, T, 50)


def token_characters(token: str) -> np.ndarray:
    """The (50,) ids of a word or of one of the special tokens <S>, </S> and <pad>.

    >>> token_characters("<S>")[:4].tolist()
    [259, 257, 260, 261]
    """
    if token == "<S>":
        return _framed([SENTENCE_BEGINS])
    if token == "</S>":
        return _framed([SENTENCE_ENDS])
    if token == "<pad>":
        return np.zeros(LENGTH, np.int16)
    return character_ids(token)


def sentence_characters(sentences: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Sentences that are cut into words, each between <S> and </S>.

    Any string is a word, so a word that is called <S> is spelled.
    returns ids (B, T, 50) int16, 0 where no word stands; mask (B, T) bool, True = something stands

    >>> chars, mask = sentence_characters([["a", "cat"], []])
    >>> chars.shape, mask.sum(axis=1).tolist()
    ((2, 4, 50), [4, 2])
    """
    longest = max(map(len, sentences), default=0)
    chars = np.zeros((len(sentences), longest + 2, LENGTH), np.int16)
    for row, words in zip(chars, sentences, strict=True):
        row[0] = token_characters("<S>")
        for place, word in enumerate(words, 1):
            row[place] = character_ids(word)
        row[len(words) + 1] = token_characters("</S>")
    return chars, chars.any(axis=2)
