"""SentencePiece's normaliser: characters replaced by longest match, spaces collapsed and written as ▁, one put in front.

    " Ｈｅllo  world " -> "▁Hello▁world"

Source: SentencePiece's normalizer. Differs: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tinylm.errors import VocabularyError
from tinylm.text.base import Remembered
from tinylm.text.normalise.charsmap import CharsMap, named

SPACE = "▁"
RULES = ("identity", "nfkc", "nmt_nfkc")
SPACES = re.compile("  +")


class Normalizer:
    """Text as the pieces are spelled, with the place in the original of every character.

    rules : "identity", "nfkc", "nmt_nfkc" (see `charsmap.named`), or the bytes of a `.model` file's map, empty for identity
    prefix : a space is put in front     collapse : spaces at the ends are removed, and of several one is left
    kept : texts to which no rule applies
    """

    def __init__(
        self, rules: bytes | str = "identity", prefix: bool = True, collapse: bool = True, kept: Iterable[str] = ()
    ):  # fmt: skip
        if isinstance(rules, str) and rules not in RULES:
            raise VocabularyError(
                f"There is no normaliser {rules!r}; it is {', '.join(RULES)}, or the bytes of a map."
            )
        self.charsmap = (
            rules if isinstance(rules, bytes) else b"" if rules == "identity" else named(rules)
        )
        self.prefix, self.collapse = prefix, collapse
        self._map = CharsMap(self.charsmap) if self.charsmap else None
        kept = sorted(filter(None, kept), key=len, reverse=True)
        self._kept = (
            re.compile(b"|".join(re.escape(t.encode("utf-8", "surrogatepass")) for t in kept))
            if kept
            else None
        )
        self._replaced = Remembered(
            lambda texts: ["".join(part for part, _ in self._parts(text)) for text in texts]
        )
        self._by_words = (
            self._map and not any(" " in t for t in kept) and self._map.words_stand_alone()
        )
        self._by_words = self._by_words and self._replaced[" "] == " "

    def __call__(self, text: str) -> str:
        """The normalised text."""
        prefix = SPACE if self.prefix and text else ""
        if self._by_words:
            text = " ".join(map(self._replaced.__getitem__, text.split(" ")))
        elif self._map:
            text = self._replaced[text]
        if not self.collapse:
            return prefix + text.replace(" ", SPACE)
        text = text.strip(" ")
        if "  " in text:
            text = SPACES.sub(" ", text)
        return (prefix + text.replace(" ", SPACE)).rstrip(SPACE)

    def with_places(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters where in the original it begins; one more for the end."""
        parts, consumed = list(self._parts(text)), 0
        first = next(
            (i for i, (part, _) in enumerate(parts) if part != " " or not self.collapse), len(parts)
        )
        consumed = sum(length for _, length in parts[:first])
        out: list[str] = []
        places: list[int] = []
        if self.prefix and first < len(parts):
            out.append(SPACE)
            places.append(consumed)
        after_space = self.collapse
        for part, length in parts[first:]:
            kept = part.lstrip(" ") if after_space else part
            out += kept.replace(" ", SPACE)
            places += [consumed] * len(kept)
            after_space = self.collapse and (kept.endswith(" ") if kept else after_space)
            consumed += length
        while self.collapse and out and out[-1] == SPACE:
            out.pop()
            consumed = places.pop()
        return "".join(out), [*places, consumed]

    def _parts(self, text: str) -> Iterator[tuple[str, int]]:
        """(what it becomes, how many characters it was) of the parts of a text, in order."""
        if not self._map and not self._kept:
            yield from ((c, 1) for c in text)
            return
        raw, place, begin = text.encode("utf-8", "surrogatepass"), 0, 0
        while place < len(raw):
            if self._kept and (match := self._kept.match(raw, place)):
                part, end = match[0].decode("utf-8", "surrogatepass"), match.end()
                size = len(part)
            elif found := self._map and self._map.longest(raw, place):
                part, end = found[0], place + found[1]
                size = sum(byte & 0xC0 != 0x80 for byte in raw[place:end])
            else:
                part, size = text[begin], 1
                end = place + len(part.encode("utf-8", "surrogatepass"))
            yield part, size
            place, begin = end, begin + size
