"""fastai's rules for words: marks keep capitals and repetitions, so that the words stay few.

    "Hello THE sooo"  -> xxmaj hello xxup the s xxrep 3 o
    "no no no"        -> xxwrep 3 no

    xxbos         a text begins
    xxmaj         the next word begins with a capital
    xxup          the next word is all capitals
    xxrep n c     the character c stands n >= 3 times
    xxwrep n w    the word w stands n >= 3 times

A word of one letter is only put in lower case. A word of the text that is spelled like a mark is
cut in two, xx and the rest, so a mark is always a mark.
Source: Howard & Ruder 2018 and fastai's rules. Differs: fastai changes the text before spaCy cuts
it; we change the words after our own split, so a mark also stands before a word that touches
punctuation. HTML is not mended.
"""

from __future__ import annotations

import re

import regex

BEGINS = "xxbos"
CAPITAL = "xxmaj"
CAPITALS = "xxup"
REPEATED = "xxrep"
WORD_REPEATED = "xxwrep"
MARKS = (BEGINS, CAPITAL, CAPITALS, REPEATED, WORD_REPEATED)

# A run of one character; a word up to such a run; a sign.
PLAIN = re.compile(r"(\S)\1\1+|(?:(?!(\w)\2\2)\w)+|[^\w\s]")
# The same, with combining marks kept on their letter: a letter with marks is no part of a run.
MARKED = regex.compile(
    r"([^\s\x1c-\x1f])\1\1+(?!\p{M})"
    r"|(?:(?!([\p{L}\p{N}_])\2\2+(?!\p{M}))[\p{L}\p{N}_]\p{M}*)+"
    r"|[^\s\x1c-\x1f\p{L}\p{N}_]\p{M}*"
)
COMBINING = regex.compile(r"\p{M}+")

Cut = list[tuple[str, tuple[int, int]]]


def cut(text: str, marks: bool = True) -> Cut:
    """The words and marks of a text, each with the characters text[start:end] it stands for.

    marks : combining marks belong to the word they stand in, see words.py

    >>> cut("Hello sooo")
    [('xxmaj', (0, 5)), ('hello', (0, 5)), ('s', (6, 7)), \
('xxrep', (7, 10)), ('3', (7, 10)), ('o', (7, 10))]
    """
    found: Cut = []
    marks = marks and not text.isascii()
    matches = list((MARKED if marks else PLAIN).finditer(text))
    place = 0
    while place < len(matches):
        match = matches[place]
        word = match.group()
        span = match.span()
        if match.group(1):  # a run of one character
            parts = [REPEATED, str(len(word)), word[0].lower()]
            times = 1
        else:
            times = _times(matches, place)
            letters = len(COMBINING.sub("", word)) if marks else len(word)
            parts = _lowered(word, letters)
        if times >= 3:
            span = (span[0], matches[place + times - 1].end())
            parts = [WORD_REPEATED, str(times), *parts]
        else:
            times = 1
        found += [(part, span) for part in parts]
        place += times
    return found


def _times(matches: list[re.Match], place: int) -> int:
    """How many times the word at `place` stands in a row; 1 for a sign, which never counts."""
    word = matches[place].group()
    end = place + 1
    while word[0].isalnum() and end < len(matches) and matches[end].group() == word:
        end += 1
    return end - place


def _lowered(word: str, letters: int) -> list[str]:
    """A word in lower case, behind the mark of its capitals.

    letters : its length without combining marks

    >>> _lowered("Cat", 3), _lowered("USA", 3), _lowered("xxmaj", 5)
    (['xxmaj', 'cat'], ['xxup', 'usa'], ['xx', 'maj'])
    """
    low = word.lower()
    spelled = [low[:2], low[2:]] if low in MARKS else [low]
    if letters == 1 or not word[0].isupper():
        return spelled
    if word.upper() == word:
        return [CAPITALS, *spelled]
    capitals = sum(map(str.isupper, word))
    return [CAPITAL, *spelled] if capitals == 1 else spelled
