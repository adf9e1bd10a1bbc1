"""Normalising in steps, as a tokenizer.json describes it: each step sees the text that the one before has made.

    XLNet    `` and '' become ", letters lose their accents, and then every word begins with ▁
    T5       characters by SentencePiece's map, then the same

A step says what each part of a text becomes, so that places in the original are known however many steps there are.
Source: Hugging Face's tokenizers. Differs: composition looks at a character with its marks, the map of characters takes the
longest match as SentencePiece does (theirs asks grapheme by grapheme), and the space before a word belongs to the word.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import regex

from tinylm.errors import DataError, VocabularyError
from tinylm.text.normalise.cleaning import is_accent
from tinylm.text.normalise.normalizing import SPACE, Normalizer

CLUSTER = regex.compile(
    r"\P{M}[\p{M}\u1160-\u11FF]*|[\p{M}\u1160-\u11FF]+"
)  # Hangul vowels and finals compose like marks
WORD = regex.compile(r"\P{White_Space}+")
ENDS, SEVERAL = (
    r"\A +| +\z",
    " {2,}",
)  # the patterns of published files; any other could take for ever
PATTERNS = {ENDS: regex.compile(r"\A +| +\Z"), SEVERAL: regex.compile(SEVERAL)}

Parts = Iterable[tuple[str, int]]  # (what it becomes, how many characters it was)
Step = Callable[[str], Parts]


class Steps:
    """A normaliser for Unigram made of steps; it cannot be written into a .model file.

    prefix : decoding removes the ▁ in front
    """

    collapse = True

    def __init__(self, steps: list[Step], prefix: bool):
        self.steps, self.prefix = steps, prefix

    @property
    def charsmap(self) -> str:
        """Nothing that a .model file could hold: raises VocabularyError."""
        raise VocabularyError(
            "A .model file cannot hold the normalisers of this tokenizer.json; keep that file instead."
        )

    def __call__(self, text: str) -> str:
        """The normalised text."""
        for step in self.steps:
            text = "".join(part for part, _ in step(text))
        return text

    def with_places(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters where in the original it begins; one more for the end."""
        places = list(range(len(text) + 1))
        for step in self.steps:
            made, new, at = [], [], 0
            for part, length in step(text):
                made.append(part)
                new += [places[at]] * len(part)
                at += length
            text, places = "".join(made), [*new, places[-1]]
        return text, places


def replace(pattern: regex.Pattern, content: str) -> Step:
    """Every match becomes `content`."""

    def parts(text: str) -> Parts:
        end = 0
        for match in pattern.finditer(text):
            yield from ((c, 1) for c in text[end : match.start()])
            yield content, len(match.group())
            end = match.end()
        yield from ((c, 1) for c in text[end:])

    return parts


def words(text: str) -> Parts:
    """Every word begins with ▁, and no other white space is left."""
    end = 0
    for match in WORD.finditer(text):
        yield "" if match.group().startswith(SPACE) else SPACE, match.start() - end
        yield from ((c, 1) for c in match.group())
        end = match.end()
    yield "", len(text) - end


def prepend(content: str, unless_there: bool = False) -> Step:
    """A text that is not empty begins with `content`. unless_there : only where it does not yet"""

    def parts(text: str) -> Parts:
        if text and not (unless_there and text.startswith(content)):
            yield content, 0
        yield from ((c, 1) for c in text)

    return parts


def of(description: dict[str, Any]) -> list[Step]:
    """The steps of a normaliser as the file describes it; raises DataError for one that the published files do not use."""
    kind = description.get("type")
    if kind == "Sequence":
        return [step for part in description["normalizers"] for step in of(part)]
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return [
            lambda text: ((unicodedata.normalize(kind, c), len(c)) for c in CLUSTER.findall(text))
        ]
    if kind == "StripAccents":
        return [lambda text: (("" if is_accent(c) else c, 1) for c in text)]
    if kind == "Lowercase":
        return [lambda text: ((c.lower(), 1) for c in text)]
    if kind == "Precompiled":
        return [Normalizer(charsmap(description))._parts]
    if kind == "Prepend":
        return [prepend(_text(description["prepend"]))]
    if kind == "Replace":
        pattern = description["pattern"]
        known = (
            regex.compile(regex.escape(pattern["String"]))
            if "String" in pattern
            else PATTERNS.get(pattern["Regex"])
        )
        if known is not None:
            return [replace(known, _text(description["content"]))]
    raise DataError(
        f"the normalizer {kind!r} is not one that BERT, GPT, XLNet, ALBERT or T5 use: {str(description)[:80]}"
    )


def _text(value: Any) -> str:
    """What must be a text; raises DataError if it is none."""
    if not isinstance(value, str):
        raise DataError(f"a normalizer puts {value!r} into the text, which is no text")
    return value


def charsmap(description: dict[str, Any]) -> bytes:
    """The character map of the normaliser Precompiled."""
    return base64.b64decode(description["precompiled_charsmap"] or "")
