"""Find texts in a text: the symbols of a user, which no encoding cuts.

Where several fit at a place, the longest one is meant. A table sorted once and one search in it
serve any number of symbols; a pattern of all of them would try each at each place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Symbols:
    """Texts that are looked up in others; empty ones are left out.

    texts : all strings, or all bytes

    >>> symbols = Symbols(["ab", "a", "abcd"])
    >>> symbols.at("xabcx", 1)
    'ab'
    >>> symbols.split("xabcx")
    ['x', 'ab', 'cx']
    """

    def __init__(self, texts: Iterable[str] | Iterable[bytes]):
        self._sorted = sorted({text for text in texts if text})
        self._firsts = {text[:1] for text in self._sorted}
        self._longest = max(map(len, self._sorted), default=0)
        # The place of the longest other text that each one begins with, or -1. Texts that begin
        # with another one follow it.
        self._shorter: list[int] = []
        open_ones: list[int] = []
        for place, text in enumerate(self._sorted):
            while open_ones and not text.startswith(self._sorted[open_ones[-1]]):
                open_ones.pop()
            self._shorter.append(open_ones[-1] if open_ones else -1)
            open_ones.append(place)

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def at(self, text, begin: int):
        """The longest symbol that begins at a place of a text, or None."""
        if text[begin : begin + 1] not in self._firsts:
            return None
        rest = text[begin : begin + self._longest]
        place = bisect_right(self._sorted, rest) - 1
        while place >= 0:
            if rest.startswith(self._sorted[place]):
                return self._sorted[place]
            place = self._shorter[place]
        return None

    def split(self, text: str) -> list[str]:
        """The symbols of a text and what stands between them, in order; no part is empty."""
        parts: list[str] = []
        begin = 0  # of the part that is not a symbol
        place = 0
        while place < len(text):
            found = self.at(text, place)
            if found is None:
                place += 1
                continue
            if place > begin:
                parts.append(text[begin:place])
            parts.append(found)
            place += len(found)
            begin = place
        if begin < len(text):
            parts.append(text[begin:])
        return parts
