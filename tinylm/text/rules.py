"""fastai's rules for words: what upper case and repetition say is kept, in marks of its own, and the words stay few.

    "Hello THE sooo"  -> xxmaj hello xxup the s xxrep 3 o          "no no no" -> xxwrep 3 no

xxmaj: the next word begins with a capital · xxup: it is all capitals · xxrep n c: the character c, n ≥ 3 times ·
xxwrep n w: the word w, n ≥ 3 times · xxbos: a text begins. A word of one letter is only put in lower case. A word of the
text that is spelled like a mark is cut in two, xx and the rest: a mark is always a mark.
Source: Howard & Ruder 2018 and fastai's rules. Differs: they change the words of our split, not the text before spaCy cuts
it, so a mark also stands before a word that touches punctuation; HTML is not mended.
"""

from __future__ import annotations

import re

import regex

BEGINS, CAPITAL, CAPITALS, REPEATED, WORD_REPEATED = MARKS = (
    "xxbos",
    "xxmaj",
    "xxup",
    "xxrep",
    "xxwrep",
)
# A run of one character; a word up to such a run; a sign.
PLAIN = re.compile(r"(\S)\1\1+|(?:(?!(\w)\2\2)\w)+|[^\w\s]")
# The same where combining marks belong to what they stand on: a letter with marks is no part of a run.
MARKED = regex.compile(
    r"([^\s\x1c-\x1f])\1\1+(?!\p{M})"
    r"|(?:(?!([\p{L}\p{N}_])\2\2+(?!\p{M}))[\p{L}\p{N}_]\p{M}*)+"
    r"|[^\s\x1c-\x1f\p{L}\p{N}_]\p{M}*"
)
MARK = regex.compile(r"\p{M}+")

Cut = list[tuple[str, tuple[int, int]]]


def cut(text: str, marks: bool = True) -> Cut:
    """The words and marks of a text, each with the characters text[start:end] that it stands for.

    marks : combining marks belong to the word that they stand in, see words.py
    """
    found: Cut = []
    marks = marks and not text.isascii()
    matches = list((MARKED if marks else PLAIN).finditer(text))
    place = 0
    while place < len(matches):
        word, span = matches[place].group(), matches[place].span()
        end = place + 1
        if matches[place].group(1):
            found += [(part, span) for part in (REPEATED, str(len(word)), word[0].lower())]
        else:
            while word[0].isalnum() and end < len(matches) and matches[end].group() == word:
                end += 1
            if end - place >= 3:
                span = span[0], matches[end - 1].end()
                found += [(WORD_REPEATED, span), (str(end - place), span)]
            else:
                end = place + 1
            letters = len(MARK.sub("", word)) if marks else len(word)
            found += [(part, span) for part in _lowered(word, letters)]
        place = end
    return found


def _lowered(word: str, letters: int) -> list[str]:
    """A word of so many letters in lower case, after what its capitals say."""
    low = word.lower()
    spelled = [low[:2], low[2:]] if low in MARKS else [low]
    if letters == 1 or not word[0].isupper():
        return spelled
    if word.upper() == word:
        return [CAPITALS, *spelled]
    return [CAPITAL, *spelled] if sum(map(str.isupper, word)) == 1 else spelled
