"""Characters: each code point seen in training is a token, or each byte.

The smallest vocabularies and the longest sequences. A code point costs one token and can be
unknown; a byte is never unknown, but 東 takes three of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tinylm.errors import VocabularyError

from .base import BYTE_TOKENS, Encoding, as_texts, decoded
from .checks import (
    as_json,
    check_different,
    check_numbers,
    check_vocab_size,
    check_whole,
    damaged,
    frequent,
    read_vocabulary,
)

SPECIALS = ("<unk>", "<pad>", "<eos>")


class Chars(Encoding):
    """One token per Unicode code point; a code point not seen in training becomes <unk>.

    The specials come first. decode(encode(text)) == text for text of trained characters.

    characters : the code points in the order of their ids

    >>> letters = Chars("abc")
    >>> letters.encode("cab?")
    [5, 3, 4, 0]
    """

    files = ("chars.json",)
    specials = SPECIALS
    spaces_alone = True
    unk_id = 0
    pad_id = 1
    end_id = 2

    def __init__(self, characters: Iterable[str]):
        self.vocab = [*SPECIALS, *characters]
        check_different(self.vocab)
        check_whole(self.vocab)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int | None = None, min_count: int = 1
    ) -> Chars:
        """Learn the alphabet of the texts: most frequent first, ties in code point order.

        vocab_size : at most this many tokens, specials included (None: no limit)
        min_count : characters seen less often become <unk>
        raises VocabularyError  if the texts hold no character

        >>> Chars.train(["banana"]).vocab
        ['<unk>', '<pad>', '<eos>', 'a', 'n', 'b']
        """
        check_numbers("Chars", vocab_size=vocab_size, min_count=min_count)
        check_vocab_size(vocab_size, len(SPECIALS) + 1, "the specials and one character")
        counts: Counter[str] = Counter()
        for text in as_texts(texts):
            counts.update(text)
        if not counts:
            raise VocabularyError(
                "The training text is empty; an alphabet needs at least one character."
            )
        kept = frequent(counts, min_count, "character")
        if vocab_size is not None:
            kept = kept[: vocab_size - len(SPECIALS)]
        return cls(kept)

    def units(self, text: str) -> str:
        """The characters, each of which is looked up whole."""
        return text

    def _encode(self, texts: list[str]) -> list[list[int]]:
        find = self._index().get  # <unk>, <pad> and <eos> are no single characters: none is found
        return [[find(character, 0) for character in text] for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The characters joined; specials appear by name."""
        return "".join(self._spellings(ids))

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Token i covers character i."""
        return [(i, i + 1) for i in range(len(text))]

    def _contents(self) -> dict[str, str]:
        characters = self.vocab[len(SPECIALS) :]
        return {"chars.json": as_json({"type": "chars", "vocab": characters})}

    @classmethod
    def _load(cls, folder: Path) -> Chars:
        path = folder / "chars.json"
        stored = read_vocabulary(path, "chars")
        with damaged(path):
            return cls(stored["vocab"])


class Bytes(Encoding):
    """One token per UTF-8 byte, id = 3 + byte: nothing to learn and nothing unknown.

    The specials of Chars come first. decode(encode(text)) == text for every text, lone surrogates
    included; bytes that are no UTF-8 decode to U+FFFD.

    >>> Bytes().encode("é")
    [198, 172]
    >>> Bytes().decode([198, 172])
    'é'
    """

    files = ("bytes.json",)
    specials = SPECIALS
    spaces_alone = True
    unk_id = 0
    pad_id = 1
    end_id = 2

    def __init__(self):
        self.vocab = [*SPECIALS, *BYTE_TOKENS]

    @classmethod
    def train(cls, texts: Iterable[str] = (), vocab_size: int | None = None) -> Bytes:
        """The encoding itself: texts teach it nothing.

        raises VocabularyError  for a vocab_size below the 259 tokens it always has
        """
        least = len(SPECIALS) + len(BYTE_TOKENS)
        check_vocab_size(vocab_size, least, "the specials and 256 bytes")
        return cls()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        first = len(SPECIALS)
        raw_texts = (text.encode("utf-8", "surrogatepass") for text in texts)
        return [[byte + first for byte in raw] for raw in raw_texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the bytes; specials appear by name."""
        return decoded(BYTE_TOKENS.get(token) or token.encode() for token in self._spellings(ids))

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """All bytes of a character cover that character."""
        found = []
        for i, character in enumerate(text):
            size = len(character.encode("utf-8", "surrogatepass"))
            found += [(i, i + 1)] * size
        return found

    def _contents(self) -> dict[str, str]:
        return {"bytes.json": as_json({"type": "bytes", "vocab": []})}

    @classmethod
    def _load(cls, folder: Path) -> Bytes:
        read_vocabulary(folder / "bytes.json", "bytes")
        return cls()
