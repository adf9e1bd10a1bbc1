"""Characters: every code point seen in training is a token, or every byte. The smallest vocabularies, the longest sequences.

A code point costs one token and can be unknown; a byte never is, but 東 takes three of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tinylm.errors import VocabularyError
from tinylm.text.base import (
    BYTE_TOKENS,
    Encoding,
    as_json,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    check_whole,
    damaged,
    decoded,
    read_vocabulary,
)

SPECIALS = ("<unk>", "<pad>", "<eos>")


class Chars(Encoding):
    """One token per Unicode code point, the specials first; a code point not seen in training becomes <unk>.

    characters : the code points in the order of their ids

    decode(encode(text)) == text for every text made of trained characters.
    """

    files = ("chars.json",)
    specials = SPECIALS
    unk_id, pad_id, end_id = 0, 1, 2

    def __init__(self, characters: Iterable[str]):
        self.vocab = [*SPECIALS, *characters]
        check_different(self.vocab)
        check_whole(self.vocab)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int | None = None, min_count: int = 1
    ) -> Chars:
        """Learn the alphabet of the texts: most frequent first, ties in code point order.

        vocab_size : an upper bound, specials included; rarer characters become <unk> (None: no bound)
        min_count : characters seen less often become <unk>
        raises VocabularyError if the texts hold no character
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
        kept = sorted((c for c in counts if counts[c] >= min_count), key=lambda c: (-counts[c], c))
        return cls(kept if vocab_size is None else kept[: vocab_size - len(SPECIALS)])

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """One id per code point."""
        find = (
            self._index().get
        )  # a special's name is longer than one character, so no character finds a special
        return [[find(character, 0) for character in text] for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The characters joined; specials appear by name."""
        return "".join(self._spellings(ids))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Token i covers character i."""
        return [(i, i + 1) for i in range(len(text))]

    def _contents(self) -> dict[str, str]:
        return {"chars.json": as_json({"type": "chars", "vocab": self.vocab[len(SPECIALS) :]})}

    @classmethod
    def _load(cls, folder: Path) -> Chars:
        """Read what save() wrote; raises DataError for a missing or damaged file."""
        path = folder / "chars.json"
        stored = read_vocabulary(path, "chars")
        with damaged(path):
            return cls(stored["vocab"])


class Bytes(Encoding):
    """One token per UTF-8 byte, id = 3 + byte, after the specials of Chars: nothing to learn, nothing unknown.

    decode(encode(text)) == text for every text, lone surrogates included; bytes that are no UTF-8 decode to U+FFFD.
    """

    files = ("bytes.json",)
    specials = SPECIALS
    unk_id, pad_id, end_id = 0, 1, 2

    def __init__(self):
        self.vocab = [*SPECIALS, *BYTE_TOKENS]

    @classmethod
    def train(cls, texts: Iterable[str] = (), vocab_size: int | None = None) -> Bytes:
        """The encoding: there is nothing to learn from texts.   raises VocabularyError for fewer ids than it has"""
        check_vocab_size(vocab_size, len(SPECIALS) + len(BYTE_TOKENS), "the specials and 256 bytes")
        return cls()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [
            [byte + len(SPECIALS) for byte in text.encode("utf-8", "surrogatepass")]
            for text in texts
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the bytes; specials appear by name."""
        return decoded(BYTE_TOKENS.get(token) or token.encode() for token in self._spellings(ids))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Bytes of one character all cover that character."""
        return [
            (i, i + 1)
            for i, character in enumerate(text)
            for _ in character.encode("utf-8", "surrogatepass")
        ]

    def _contents(self) -> dict[str, str]:
        return {"bytes.json": as_json({"type": "bytes", "vocab": []})}

    @classmethod
    def _load(cls, folder: Path) -> Bytes:
        """Read what save() wrote; raises DataError for a missing or damaged file."""
        read_vocabulary(folder / "bytes.json", "bytes")
        return cls()
