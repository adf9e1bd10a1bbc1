"""Normalising in steps, as a tokenizer.json describes it: each step reads the text of the last.

    XLNet    `` and '' become ", letters lose their accents, then each word begins with ▁
    T5       characters are replaced by SentencePiece's map, then each word begins with ▁

A step yields each part of a text with the number of characters it was, so that places in the
original are known after any number of steps.
Source: Hugging Face's tokenizers. Differs: composition looks at a character with its marks; the map
of characters takes the longest match as SentencePiece does (theirs asks grapheme by grapheme); and
the space before a word belongs to the word. As there, marks and decompositions are those of
Unicode 9, whatever Python knows of later characters.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import regex

from tinylm.errors import DataError, VocabularyError

from .charsmap import CharsMap
from .normalizing import SPACE, Normalizer
from .ranges import characters, lies_in

# Where Unicode has added marks since version 9; no older mark lies in these ranges.
LATER_MARKS = """
    5c8-5c9 7fd 897-8d3 9fe afa-aff b53-b55 c04-c3c cf3-d00 d3b-d3c d81 eba ece 1715 180f 1abf-1af0
    1cf7 1df6-1dfa a82c a8ff 10d24-10f85 11070-11074 110c2 11145-11146 111c9 111ce-111cf 11241 1133b
    113b8-113e2 1145e 1182c-11b67 11d31-1612f 16f4f 16f7f-16f87 16fe4-16ff1 1cf00-1d128 1d250-1d281
    1e08f-1e6f5
"""
FORMER_MARKS = "\u1cf2\u1cf3"  # marks in Unicode 9 that are letters now
# Characters that Unicode has added since version 9 and that have a decomposition: they stay.
LATER_COMPOSED = """
    32ff a7f1-a7f4 ab69 105c9 105e4 10781-107ba 11383-11391 113c5-113c8 11938 16121-16128
    16d68-16d6a 1ccd6-1ccf9 1e030-1e06d 1f16c 1fbf0-1fbf9
"""
STAYS = regex.compile(f"([{''.join(characters(LATER_COMPOSED))}])")
# A character and its marks; Hangul vowels and finals compose as marks do.
CLUSTER = regex.compile(r"\P{M}[\p{M}\u1160-\u11FF]*|[\p{M}\u1160-\u11FF]+")
WORD = regex.compile(r"\P{White_Space}+")
# The patterns of published files. Any other is refused, since it could take for ever.
ENDS = r"\A +| +\z"
SEVERAL = " {2,}"
PATTERNS = {SEVERAL: regex.compile(SEVERAL)}  # of ENDS see `replace_ends`
MOST_GROWTH = 2000  # characters that the steps may make of one; the published ones make 400
LONGEST_CONTENT = 100  # characters that a step puts into the text

Parts = Iterable[tuple[str, int]]  # (replacement, how many characters it was)
Step = Callable[[str], Parts]


class Steps:
    """A normaliser made of steps, for Unigram; a .model file cannot store it.

    prefix : decoding removes the ▁ in front

    >>> lower_then_mark = Steps([lowercase, words], prefix=True)
    >>> lower_then_mark("The Cat")
    '▁the▁cat'
    >>> lower_then_mark.with_places("a  b")
    ('▁a▁b', [0, 0, 1, 3, 4])
    """

    collapse = True

    def __init__(self, steps: list[Step], prefix: bool):
        self.steps = steps
        self.prefix = prefix

    @property
    def charsmap(self) -> str:
        """The map for a .model file; always raises VocabularyError, since there is none."""
        raise VocabularyError(
            "A .model file cannot hold the normalisers of this tokenizer.json; "
            "keep that file instead."
        )

    def keeping(self, symbols: Iterable[str]) -> Steps:
        """As of `Normalizer`; the steps of a tokenizer.json see its symbols too."""
        return self

    def __call__(self, text: str) -> str:
        """The normalised text."""
        for step in self.steps:
            text = "".join(part for part, _ in step(text))
        return text

    def with_places(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and where in the original each of its characters begins.

        One more place, the last, says where the text ends.
        """
        places = list(range(len(text) + 1))
        for step in self.steps:
            made = []
            new_places = []
            at = 0
            for part, length in step(text):
                made.append(part)
                new_places += [places[at]] * len(part)
                at += length
            new_places.append(places[-1])
            text = "".join(made)
            places = new_places
        return text, places


# --- the steps


def unchanged(text: str) -> Parts:
    """Each character as it is.

    >>> list(unchanged("ab"))
    [('a', 1), ('b', 1)]
    """
    return ((c, 1) for c in text)


def lowercase(text: str) -> Parts:
    """Each character in lower case."""
    return ((c.lower(), 1) for c in text)


def strip_accents(text: str) -> Parts:
    """Each character; marks, which stand on the letter before them, are removed.

    >>> "".join(part for part, _ in strip_accents("e\\u0301 \\u0915\\u093f")) == "e \\u0915"
    True
    """
    return (("" if _is_mark(c) else c, 1) for c in text)


def _is_mark(c):
    """True for a mark as of Unicode 9, such as an accent, a vowel sign or an enclosing circle."""
    if c in FORMER_MARKS:
        return True
    return unicodedata.category(c)[0] == "M" and not lies_in(c, LATER_MARKS)


def composed(form: str) -> Step:
    """Each character with its marks in a Unicode normal form: NFC, NFD, NFKC or NFKD.

    >>> ascii("".join(part for part, _ in composed("NFKD")("\\u00bd\\U0001f16c")))
    "'1\\\\u20442\\\\U0001f16c'"
    """

    def parts(text: str) -> Parts:
        for piece in STAYS.split(text):
            if STAYS.fullmatch(piece):
                yield piece, 1
                continue
            for cluster in CLUSTER.findall(piece):
                yield unicodedata.normalize(form, cluster), len(cluster)

    return parts


def replace(pattern: regex.Pattern, content: str) -> Step:
    """Each match of the pattern becomes `content`.

    >>> list(replace(regex.compile("``"), '"')("``a"))
    [('"', 2), ('a', 1)]
    """

    def parts(text: str) -> Parts:
        end = 0
        for match in pattern.finditer(text):
            yield from unchanged(text[end : match.start()])
            yield content, len(match.group())
            end = match.end()
        yield from unchanged(text[end:])

    return parts


def replace_ends(content: str) -> Step:
    """The spaces at the beginning become `content`, and so do those at the end.

    A pattern would look for the end behind every space of a run.

    >>> list(replace_ends("_")(" a  "))
    [('_', 1), ('a', 1), ('_', 2)]
    """

    def parts(text: str) -> Parts:
        begin = len(text) - len(text.lstrip(" "))
        end = max(begin, len(text.rstrip(" ")))
        if begin:
            yield content, begin
        yield from unchanged(text[begin:end])
        if end < len(text):
            yield content, len(text) - end

    return parts


def words(text: str) -> Parts:
    """Each word begins with ▁, and other white space is removed.

    >>> list(words(" a b"))
    [('▁', 1), ('a', 1), ('▁', 1), ('b', 1), ('', 0)]
    """
    end = 0
    for match in WORD.finditer(text):
        mark = "" if match.group().startswith(SPACE) else SPACE
        yield mark, match.start() - end
        yield from unchanged(match.group())
        end = match.end()
    yield "", len(text) - end


def prepend(content: str, unless_there: bool = False) -> Step:
    """Put `content` before a text that is not empty.

    unless_there : only if the text does not begin with it yet
    """

    def parts(text: str) -> Parts:
        there = unless_there and text.startswith(content)
        if text and not there:
            yield content, 0
        yield from unchanged(text)

    return parts


# --- reading a description


def of(description: dict[str, Any]) -> list[Step]:
    """The steps of the normaliser that a file describes.

    raises DataError        for a normaliser that the published files do not use, or one that makes
        more than MOST_GROWTH characters of one

    >>> [step] = of({"type": "Prepend", "prepend": "▁"})
    >>> list(step("a"))
    [('▁', 0), ('a', 1)]
    """
    parts = _flat(description)
    growth = 1.0
    for part in parts:
        growth *= _growth(part)
    growth *= max(map(_letters, parts), default=1)
    if growth > MOST_GROWTH:
        raise DataError(
            f"the normalizer makes up to {growth:.0e} characters of one; "
            f"those of BERT, GPT, XLNet, ALBERT and T5 make less than {MOST_GROWTH}"
        )
    return [step for part in parts for step in _steps(part)]


def _flat(description: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a normaliser, those of sequences inside sequences too."""
    found: list[dict[str, Any]] = []
    waiting = [description]
    while waiting:
        part = waiting.pop()
        if part.get("type") == "Sequence":
            waiting += reversed(part["normalizers"])
        else:
            found.append(part)
    return found


def _growth(part: dict[str, Any]) -> float:
    """How many times longer a step can make a text, if it can do so again and again."""
    if part.get("type") == "Replace":
        shortest = len(part["pattern"].get("String", " "))
        return max(1.0, len(part["content"]) / max(shortest, 1))
    if part.get("type") == "Precompiled" and (rules := charsmap(part)):
        return max(1, CharsMap(rules).longest_text)
    return 1.0


def _letters(part: dict[str, Any]) -> int:
    """How many characters a step makes of one at most; doing it again adds nothing."""
    return {"NFKC": 18, "NFKD": 18, "NFC": 3, "NFD": 4, "Lowercase": 2}.get(part.get("type"), 1)


def _steps(description: dict[str, Any]) -> list[Step]:
    """The steps of one part."""
    kind = description.get("type")
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return [composed(kind)]
    if kind == "StripAccents":
        return [strip_accents]
    if kind == "Lowercase":
        return [lowercase]
    if kind == "Precompiled":
        return [Normalizer(charsmap(description)).parts]
    if kind == "Prepend":
        return [prepend(_text(description["prepend"]))]
    if kind == "Replace":
        content = _text(description["content"])
        if description["pattern"].get("Regex") == ENDS:
            return [replace_ends(content)]
        pattern = _pattern(description["pattern"])
        if pattern is not None:
            return [replace(pattern, content)]
    shown = str(description)[:80]
    raise DataError(
        f"the normalizer {kind!r} is not one that BERT, GPT, XLNet, ALBERT or T5 use: {shown}"
    )


def _pattern(description: dict[str, str]) -> regex.Pattern | None:
    """The pattern of a Replace; None for a regular expression that published files do not use."""
    if "String" in description:
        if not description["String"]:
            raise DataError("a normalizer replaces an empty text, which is everywhere")
        return regex.compile(regex.escape(description["String"]))
    return PATTERNS.get(description["Regex"])


def _text(value: Any) -> str:
    """The value, if it is a string; raises DataError if not."""
    if not isinstance(value, str) or len(value) > LONGEST_CONTENT:
        raise DataError(
            f"a normalizer puts {value!r} into the text; "
            f"expected a text of at most {LONGEST_CONTENT} characters"
        )
    return value


def charsmap(description: dict[str, Any]) -> bytes:
    """The bytes of the character map in the normaliser Precompiled."""
    return base64.b64decode(description["precompiled_charsmap"] or "")
