"""BERT's words: text cleaned, lower-cased without accents, cut at white space, punctuation and Chinese characters.

    "Ünïted\\u200b 東京-3" -> united 東 京 - 3

Everything is decided character by character, so one table says what becomes of each: removed (controls, accents), a
space, itself in lower case, or itself between two spaces (punctuation and Chinese characters are words of their own).
Source: Devlin et al. 2018, the released tokenizer. Differs: as in Hugging Face's tokenizers, which models are published
with today, the classes of characters are those of Unicode 8 (what was added later is an ordinary letter), private-use
characters are removed, and accents are taken off before lower-casing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

CHINESE = "3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2b81f 2b920-2ceaf 2f800-2fa1f"
# Where Unicode has added members to a class since its version 8; no older member lies in these ranges.
LATER_ACCENTS = (
    "5c8-5c9 7fd 897-8e1 9fe afa-aff b53-b55 c04-c3c d00 d3b-d3c d81 eba ece 180f-1886 1abf-1af0 1df6-1dfb a82c a8c5 "
    "a8ff a9bd 10d24-10f85 11070-11074 110c2 111c9 111cf 1123e-11241 1133b 113bb-1145e 1182f-1612f 16f4f 16fe4 "
    "1cf00-1d128 1d25b-1d25c 1e000-1e6f5 1e944-1e94a"
)
LATER_PUNCTUATION = (
    "61d 9fd-a76 c77-c84 1b4e-1b4f 1b7d-1b7f 2e43-2e63 10d6e-10f89 113d4-1145d 11660-116b9 1183b-11fff 12ff1-12ff2 "
    "16d6d-16fe2 1e5ff-1e95f"
)
LATER_CONTROLS = "890-8e2 110cd-1343f"
FORMER_ACCENTS, FORMER_PUNCTUATION = "\u1734\U0001171e", "\u166d\U000111c9"
SPLIT_BUT_REMOVED = re.compile(
    "[\x0b\x0c\x1c-\x1f\x85]+"
)  # str.split() takes these controls for white space
CHUNK = re.compile(r"[\S\x0b\x0c\x1c-\x1f\x85]+")


def _in(character: str, ranges: str) -> bool:
    """True if a character lies in one of the hexadecimal ranges."""
    return any(low <= ord(character) <= high for low, high in _bounds(ranges))


@cache
def _bounds(ranges: str) -> list[tuple[int, int]]:
    pairs = (part.partition("-") for part in ranges.split())
    return [(int(low, 16), int(high or low, 16)) for low, _, high in pairs]


def _is_control(c: str) -> bool:
    return c == "\ufffd" or (
        unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") and not _in(c, LATER_CONTROLS)
    )


def is_accent(c: str) -> bool:
    """True for a mark that stands on the letter before it (of Unicode 8)."""
    return c in FORMER_ACCENTS or (unicodedata.category(c) == "Mn" and not _in(c, LATER_ACCENTS))


def _is_punctuation(c: str) -> bool:
    if c.isascii():
        return c.isprintable() and not c.isalnum() and c != " "
    return c in FORMER_PUNCTUATION or (
        unicodedata.category(c)[0] == "P" and not _in(c, LATER_PUNCTUATION)
    )


class Cleaning(dict):
    """Code point -> what it becomes, worked out when it is first met: a table for `str.translate`.

    lower : lower case
    strip_accents : accents are taken off (None: as `lower` says, which is how BERT was released)
    """

    def __init__(self, lower: bool = True, strip_accents: bool | None = None):
        super().__init__()
        self.lower, self.strip_accents = lower, lower if strip_accents is None else strip_accents

    def __missing__(self, code: int) -> str:
        self[code] = found = self._of(chr(code))
        return found

    def _of(self, c: str) -> str:
        if c.isspace() and (c in "\t\n\r" or not _is_control(c)):
            return " "
        if _is_control(c):
            return ""
        parts = c
        if self.strip_accents:
            parts = "".join(p for p in unicodedata.normalize("NFD", c) if not is_accent(p))
        if self.lower:
            parts = "".join(p.lower() for p in parts)
        parts = "".join(f" {p} " if _is_punctuation(p) else p for p in parts)
        return f" {parts} " if _in(c, CHINESE) else parts

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        return text.translate(self).split()

    def placed_chunks(self, text: str) -> Iterator[tuple[int, str]]:
        """The `chunks` of a text as they stand there, removed controls included, each with the place where it begins."""
        return ((match.start(), match[0]) for match in CHUNK.finditer(text))

    def spans(self, text: str) -> list[tuple[str, list[int]]]:
        """Every word of a text with the place in the text of each of its characters."""
        found: list[list[tuple[str, int]]] = [[]]
        for place, c in enumerate(text):
            for part in self[ord(c)]:
                if part == " ":
                    found.append([])
                else:
                    found[-1].append((part, place))
        return [
            ("".join(part for part, _ in word), [place for _, place in word])
            for word in found
            if word
        ]


def chunks(text: str) -> list[str]:
    """A text cut at white space: parts that `Cleaning.words` can be asked about one by one."""
    return SPLIT_BUT_REMOVED.sub("", text).split()
