"""BERT's words: clean, lower-case without accents, cut at spaces, punctuation and Chinese.

    "Ünïted\\u200b 東京-3" -> united 東 京 - 3

Each character is decided by itself, so one table says what it becomes: nothing (controls, accents),
a space, itself in lower case, or itself between two spaces (punctuation and Chinese characters are
words of their own).
Source: Devlin et al. 2018, the released tokenizer. Differs: we follow Hugging Face's tokenizers,
with which models are published today. The classes of characters are those of Unicode 8 (a character
added later is an ordinary letter), private-use characters are removed, and accents are taken off
before lower-casing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from .ranges import lies_in

CHINESE = "3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2b81f 2b920-2ceaf 2f800-2fa1f"
# Where Unicode has added members to a class since version 8; no older member lies in these ranges.
LATER_ACCENTS = """
    5c8-5c9 7fd 897-8e1 9fe afa-aff b53-b55 c04-c3c d00 d3b-d3c d81 eba ece 180f-1886 1abf-1af0
    1df6-1dfb a82c a8c5 a8ff a9bd 10d24-10f85 11070-11074 110c2 111c9 111cf 1123e-11241 1133b
    113bb-1145e 1182f-1612f 16f4f 16fe4 1cf00-1d128 1d25b-1d25c 1e000-1e6f5 1e944-1e94a
"""
LATER_PUNCTUATION = """
    61d 9fd-a76 c77-c84 1b4e-1b4f 1b7d-1b7f 2e43-2e63 10d6e-10f89 113d4-1145d 11660-116b9
    1183b-11fff 12ff1-12ff2 16d6d-16fe2 1e5ff-1e95f
"""
LATER_CONTROLS = "890-8e2 110cd-1343f"
# Members in Unicode 8 that have left their class since.
FORMER_ACCENTS = "\u1734\U0001171e"
FORMER_PUNCTUATION = "\u166d\U000111c9"
# str.split() takes these controls for white space; BERT removes them.
SPLIT_BUT_REMOVED = re.compile("[\x0b\x0c\x1c-\x1f\x85]+")
CHUNK = re.compile(r"[\S\x0b\x0c\x1c-\x1f\x85]+")


def _is_control(c: str) -> bool:
    """True for a control, a format, a private or half a character, as of Unicode 8, and U+FFFD."""
    if c == "\ufffd":
        return True
    is_control_now = unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs")
    return is_control_now and not lies_in(c, LATER_CONTROLS)


def is_accent(c: str) -> bool:
    """True for a mark that stands on the letter before it, as of Unicode 8.

    >>> is_accent("\\u0301"), is_accent("e")
    (True, False)
    """
    if c in FORMER_ACCENTS:
        return True
    return unicodedata.category(c) == "Mn" and not lies_in(c, LATER_ACCENTS)


def _is_punctuation(c: str) -> bool:
    """True for punctuation as of Unicode 8, and for every other ASCII sign, such as $ and ^."""
    if c.isascii():
        return c.isprintable() and not c.isalnum() and c != " "
    if c in FORMER_PUNCTUATION:
        return True
    return unicodedata.category(c)[0] == "P" and not lies_in(c, LATER_PUNCTUATION)


class Cleaning(dict[int, str]):
    """Code point -> what it becomes: a table for `str.translate` that fills itself.

    lower : put text in lower case
    strip_accents : take accents off (None: if `lower` is set, which is how BERT was released)

    >>> Cleaning().words("Ünïted 東京-3")
    ['united', '東', '京', '-', '3']
    """

    def __init__(self, lower: bool = True, strip_accents: bool | None = None):
        super().__init__()
        self.lower = lower
        self.strip_accents = lower if strip_accents is None else strip_accents

    def __missing__(self, code: int) -> str:
        found = self._of(chr(code))
        self[code] = found
        return found

    def _of(self, c: str) -> str:
        """What a character becomes."""
        control = _is_control(c)
        if c.isspace() and (c in "\t\n\r" or not control):
            return " "
        if control:
            return ""
        parts = c
        if self.strip_accents:
            decomposed = unicodedata.normalize("NFD", c)
            parts = "".join(part for part in decomposed if not is_accent(part))
        if self.lower:
            parts = "".join(part.lower() for part in parts)
        parts = "".join(f" {part} " if _is_punctuation(part) else part for part in parts)
        return f" {parts} " if lies_in(c, CHINESE) else parts

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        return text.translate(self).split()

    def placed_chunks(self, text: str) -> Iterator[tuple[int, str]]:
        """The (place, chunk) of each chunk, see `chunks`; controls stay in."""
        return ((match.start(), match[0]) for match in CHUNK.finditer(text))

    def spans(self, text: str) -> list[tuple[str, list[int]]]:
        """Each word of a text, with the place in the text of each of its characters.

        >>> Cleaning().spans(" Né!")
        [('ne', [1, 2]), ('!', [3])]
        """
        found = []
        letters: list[str] = []
        places: list[int] = []
        for place, c in enumerate(text + " "):  # this space ends the last word
            for part in self[ord(c)]:
                if part != " ":
                    letters.append(part)
                    places.append(place)
                elif letters:
                    found.append(("".join(letters), places))
                    letters = []
                    places = []
        return found


def chunks(text: str) -> list[str]:
    """A text cut at white space, controls removed: `Cleaning.words` may be asked chunk by chunk.

    >>> chunks("the cat,\\tthe dog")
    ['the', 'cat,', 'the', 'dog']
    """
    return SPLIT_BUT_REMOVED.sub("", text).split()
