"""SentencePiece's normaliser: replace characters, collapse spaces, put one in front, write them ▁.

    " Ｈｅllo  world " -> "▁Hello▁world"

Source: SentencePiece's normalizer. Differs: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tinylm.errors import VocabularyError

from ..wordcache import Remembered
from .charsmap import CharsMap, named
from .symbols import Symbols

SPACE = "▁"
RULES = ("identity", "nfkc", "nmt_nfkc")
SPACES = re.compile("  +")
RUNS = re.compile(" |[^ ]+")  # where nothing is replaced: a space, or what stands between two


class Normalizer:
    """Text as the pieces are spelled; on demand, with each character's place in the original.

    rules : "identity", "nfkc" or "nmt_nfkc", see `charsmap.named`; or the bytes of a `.model`
        file's map, where b"" stands for identity
    prefix : put a space in front
    collapse : remove spaces at the ends, and leave one of several
    kept : texts to which no rule applies
    raises VocabularyError  for another name

    >>> normal = Normalizer()
    >>> normal(" Hello  world ")
    '▁Hello▁world'
    >>> normal.with_places("a  b")
    ('▁a▁b', [0, 0, 1, 3, 4])
    """

    def __init__(
        self,
        rules: bytes | str = "identity",
        prefix: bool = True,
        collapse: bool = True,
        kept: Iterable[str] = (),
    ):
        if isinstance(rules, bytes):
            self.charsmap = rules
        elif rules == "identity":
            self.charsmap = b""
        elif rules not in RULES:
            raise VocabularyError(
                f"There is no normaliser {rules!r}; "
                f"it is {', '.join(RULES)}, or the bytes of a map."
            )
        else:
            self.charsmap = named(rules)
        self.prefix = prefix
        self.collapse = collapse
        self._map = CharsMap(self.charsmap) if self.charsmap else None
        self.kept = frozenset(kept)
        self._kept = Symbols(text.encode("utf-8", "surrogatepass") for text in self.kept)
        self._replaced = Remembered(self._replace)
        self._keeps_spaces = any(" " in text for text in self.kept)
        # Replacing word by word lets the cache help, but is right only if rules respect spaces.
        words_alone = self._map is not None and self._map.words_stand_alone()
        self._by_words = words_alone and self._replaced[" "] == " "

    def keeping(self, symbols: Iterable[str]) -> Normalizer:
        """The normaliser of a vocabulary with these symbols: it leaves them as they are.

        raises VocabularyError  if it keeps another text, since files name the symbols alone

        >>> Normalizer("nfkc").keeping(["ﬁ"])("ﬁ ﬂ")
        '▁ﬁ▁fl'
        """
        symbols = frozenset(symbols)
        if others := sorted(self.kept - symbols):
            raise VocabularyError(
                f"The normaliser keeps {others[0]!r}, which is no symbol of the vocabulary; "
                "make it one, or leave it out of `kept`."
            )
        if self.kept == symbols:
            return self
        return Normalizer(self.charsmap, self.prefix, self.collapse, symbols)

    def __call__(self, text: str) -> str:
        """The normalised text."""
        if self._keeps_spaces:  # the spaces of a kept text are never collapsed
            return self.with_places(text)[0]
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
        """The normalised text, and where in the original each of its characters begins.

        One more place, the last, says where the text ends.
        """
        parts = list(self._placed(text))
        first = 0
        end = 0
        while self.collapse and first < len(parts) and parts[first][0] == " ":
            end = parts[first][2]
            first += 1
        out: list[str] = []
        places: list[int] = []
        if self.prefix and first < len(parts):
            out.append(SPACE)
            places.append(end)
        after_space = self.collapse
        for part, begins, behind in parts[first:]:
            shown = part.lstrip(" ") if after_space else part
            out.append(shown.replace(" ", SPACE))
            places += begins[len(part) - len(shown) :]
            if shown:
                after_space = self.collapse and shown.endswith(" ")
            end = behind
        normal = "".join(out)
        if self.collapse and normal.endswith(SPACE):
            normal = normal.rstrip(SPACE)
            end = places[len(normal)]
            del places[len(normal) :]
        return normal, [*places, end]

    def _placed(self, text: str) -> Iterator[tuple[str, Sequence[int], int]]:
        """Each part of a text in order: (its replacement, the place of each character, its end)."""
        place = 0
        if not self._map and not self._kept:
            for run in RUNS.findall(text):
                end = place + len(run)
                yield run, range(place, end), end
                place = end
            return
        for part, length in self.parts(text):
            yield part, [place] * len(part), place + length
            place += length

    def _replace(self, texts: list[str]) -> list[str]:
        """Each text with the rules applied, and its spaces as they are."""
        return ["".join(part for part, _ in self.parts(text)) for text in texts]

    def parts(self, text: str) -> Iterator[tuple[str, int]]:
        """Each part of a text in order: (its replacement, how many characters it was).

        >>> list(Normalizer("nfkc").parts("ﬁn"))
        [('fi', 1), ('n', 1)]
        """
        if not self._map and not self._kept:
            yield from ((c, 1) for c in text)
            return
        raw = text.encode("utf-8", "surrogatepass")
        at = 0  # place in the text
        place = 0  # the same place in its bytes
        while place < len(raw):
            kept = self._kept.at(raw, place) if self._kept else None
            rule = self._map.longest(raw, place) if self._map and not kept else None
            if kept:
                part = kept.decode("utf-8", "surrogatepass")
                size = len(part)
                end = place + len(kept)
            elif rule:
                part, length = rule
                end = place + length
                size = sum(byte & 0xC0 != 0x80 for byte in raw[place:end])
            else:
                part = text[at]
                size = 1
                end = place + len(part.encode("utf-8", "surrogatepass"))
            yield part, size
            place = end
            at += size
