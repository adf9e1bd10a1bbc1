"""SentencePiece's normaliser: characters replaced by longest match, spaces collapsed and written as ▁, one put in front.

    " Ｈｅllo  world " -> "▁Hello▁world"

The character map of a `.model` file is a double-array trie over UTF-8 bytes, followed by the replacements; it is read as
it is. Without one, characters stay themselves ("identity") or become their compatibility form ("nfkc").
Source: SentencePiece's normalizer and Darts-clone. Differs: "nfkc" composes character by character with its marks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import numpy as np
import regex

from tinylm.errors import DataError

SPACE = "▁"
CLUSTER = regex.compile(r"\P{M}\p{M}*|\p{M}+")
ASCII = re.compile("[ -~]*")


class Normalizer:
    """Text as the pieces are spelled, with the place in the original of every character.

    charsmap : bytes of a `.model` file's map, "nfkc", or empty for identity
    prefix : a space is put in front     collapse : spaces at the ends are removed, and of several one is left
    """

    def __init__(self, charsmap: bytes | str = b"", prefix: bool = True, collapse: bool = True):
        self.charsmap, self.prefix, self.collapse = charsmap, prefix, collapse
        if isinstance(charsmap, bytes) and charsmap:
            size = int.from_bytes(charsmap[:4], "little")
            if size % 4 or size + 4 > len(charsmap):
                raise DataError("The character map of the SentencePiece model is damaged: its trie is cut off.")
            self._units = np.frombuffer(charsmap[4 : 4 + size], "<u4").tolist()
            self._texts = charsmap[4 + size :]
        plain = "".join(map(chr, range(32, 127)))
        self._ascii_is_itself = all(part == source for part, source in self._parts(plain))

    def __call__(self, text: str) -> str:
        """The normalised text."""
        if self.charsmap and not (self._ascii_is_itself and ASCII.fullmatch(text)):
            return self.with_places(text)[0]
        if self.collapse:
            text = " ".join(filter(None, text.split(" ")))
        return (SPACE if self.prefix and text else "") + text.replace(" ", SPACE)

    def with_places(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters where in the original it begins; one more for the end."""
        parts, consumed = list(self._parts(text)), 0
        first = next((i for i, (part, _) in enumerate(parts) if part != " " or not self.collapse), len(parts))
        consumed = sum(len(source) for _, source in parts[:first])
        out: list[str] = []
        places: list[int] = []
        if self.prefix and first < len(parts):
            out.append(SPACE)
            places.append(consumed)
        after_space = self.collapse
        for part, source in parts[first:]:
            kept = part.lstrip(" ") if after_space else part
            out += kept.replace(" ", SPACE)
            places += [consumed] * len(kept)
            after_space = self.collapse and (kept.endswith(" ") if kept else after_space)
            consumed += len(source)
        places.append(consumed)
        while self.collapse and out and out[-1] == SPACE:
            out.pop()
            places.pop()
        return "".join(out), places

    def _parts(self, text: str) -> Iterator[tuple[str, str]]:
        """(what it becomes, the original) of the parts of a text, in order."""
        if not self.charsmap:
            yield from zip(text, text, strict=True)
        elif self.charsmap == "nfkc":
            yield from ((unicodedata.normalize("NFKC", c), c) for c in CLUSTER.findall(text))
        else:
            raw, place = text.encode("utf-8", "surrogatepass"), 0
            while place < len(raw):
                part, length = self._longest(raw, place)
                yield part, raw[place : place + length].decode("utf-8", "surrogatepass")
                place += length

    def _longest(self, raw: bytes, place: int) -> tuple[str, int]:
        """The replacement of the longest entry that begins here and the bytes it takes; else the character itself."""
        units, node, found, length = self._units, _offset(self._units[0]), None, 0
        for i in range(place, len(raw)):
            node ^= raw[i]
            unit = units[node] if node < len(units) else 0
            if unit & 0x800000FF != raw[i]:
                break
            node ^= _offset(unit)
            if unit >> 8 & 1 and node < len(units):
                found, length = units[node] & 0x7FFFFFFF, i + 1 - place
        if found is None:
            lead = raw[place]
            length = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return raw[place : place + length].decode("utf-8", "surrogatepass"), length
        return self._texts[found : self._texts.find(b"\0", found)].decode("utf-8", "replace"), length


def _offset(unit: int) -> int:
    """Darts-clone: 21 bits, shifted by 8 more where bit 9 says so."""
    return unit >> 10 << ((unit & 0x200) >> 6)
