"""Where a text may be cut: at white space, behind a sentence, or between two characters.

`cut` cuts one long text in two; `sentence_starts` finds where its sentences begin.

Chinese, Japanese and Thai write no space between words. We cut such a text where a sentence of any
script ends. Where no sentence ends nearby, we cut between two characters as a reader sees them: `é`
written as two code points, a family joined by zero-width joiners and a flag stay whole.
"""

import re
import unicodedata

# In a script that separates words, white space is never farther away than this.
LONGEST_WORD = 100  # characters
ASCII_ENDS = frozenset(".!?")  # these stand inside numbers and addresses too: 3.14, www.example.org
ENDS = ASCII_ENDS | frozenset("。！？．｡…।॥؟۔።፧។៕၊။ๆฯ๚๛།༎")
# Quotes and brackets that follow the end of a sentence belong to it.
CLOSERS = frozenset("\"')]}»”’」』）】》〉］｝")
VIRAMA = 9  # the combining class of the sign that joins two consonants of an Indic script
# Unicode calls these letters, but they belong to the letter before them.
VOWELS_AFTER = frozenset("\u0e33\u0eb3\uff9e\uff9f")
# A mark and the quotes and brackets behind it, or a blank line.
_MAYBE_END = re.compile(
    f"[{re.escape(''.join(sorted(ENDS)))}][{re.escape(''.join(sorted(CLOSERS)))}]*"
    r"|\n[ \t]*\n\s*"
)


def cut(text: str, share: float) -> tuple[str, str] | None:
    """The beginning of a text and its last `share`, roughly; None if the text is too short.

    The cut falls at or before the place that `share` asks for: at the last white space if it is
    near, else behind the last sentence if its end is near, else between two characters. Near means
    that the second part is at most twice as long as asked for, or that a word of LONGEST_WORD
    characters explains the distance. White space at the cut is dropped.

    >>> cut("one two three four", 0.3)
    ('one two', 'three four')
    >>> cut("你好。世界很大！再见", 0.2)
    ('你好。世界很大！', '再见')
    """
    # Try the text as it is, then stripped, because blank lines at its end may be longer than the
    # share. After the loop `whole` is the stripped text.
    for whole in (text, text.strip()):
        goal, near = _window(whole, share)
        space = _last_space(whole, goal)
        if space is not None and space >= near and _holds_two(whole, space):
            return _at_space(whole, space)
    if len(whole) * share >= 1:  # a shorter text has no whole character to give away
        place = _last_sentence(whole, goal, near) or _last_character(whole, goal)
        if place is not None:
            return whole[:place], whole[place:]
    if space is not None:
        return _at_space(whole, space)
    return None


def sentence_starts(text: str) -> list[int]:
    """The places where a sentence begins, the first one excepted.

    A sentence ends at its mark and the quotes and brackets behind it, or at a blank line. In a
    script with spaces, white space must follow the mark.

    >>> text = 'He left. "Why?" she asked'
    >>> [text[start:] for start in sentence_starts(text)]
    ['"Why?" she asked', 'she asked']
    >>> sentence_starts("版本 3.14 好。世界")
    [10]
    """
    starts = []
    for found in _MAYBE_END.finditer(text):
        end = found.end()
        begins = end
        while begins < len(text) and text[begins].isspace():
            begins += 1
        if begins == len(text):
            break
        if begins in starts[-1:]:
            continue  # a blank line behind a mark
        if found.group().isspace() or _ends_here(text, found.start(), end):
            starts.append(begins)
    return starts


def _ends_here(text, mark, end):
    """Whether the mark at text[mark] ends a sentence; its closers end at `end`."""
    needs_space = text[mark] in ASCII_ENDS
    if needs_space and not text[end].isspace():
        return False
    return ends_sentence(text, end)


def _at_space(text: str, space: int) -> tuple[str, str]:
    """Both sides of a white space, without it."""
    return text[:space], text[space + 1 :]


def _window(text: str, share: float) -> tuple[int, int]:
    """The place where the last `share` of a text begins, and the first place that is near to it."""
    begin = int(len(text) * (1 - share))
    goal = min(begin, len(text) - 1)
    reach = max(int(len(text) * share), LONGEST_WORD)
    return goal, max(goal - reach, 1)


def _last_space(text: str, goal: int) -> int | None:
    """The last white space at or before `goal`, not at the very beginning."""
    for i in range(goal, 0, -1):
        if text[i].isspace():
            return i
    return None


def _last_sentence(text: str, goal: int, near: int) -> int | None:
    """The last place from `near` to `goal` before which a sentence ends."""
    for i in range(goal, near - 1, -1):
        if ends_sentence(text, i):
            return i
    return None


def _last_character(text: str, goal: int) -> int | None:
    """The last place up to `goal` between two characters as a reader sees them."""
    for i in range(goal, 0, -1):
        if not joined(text[i - 1], text[i]):
            return i
    return None


def _holds_two(text: str, space: int) -> bool:
    """Whether there is text on both sides of a white space."""
    first, last = _at_space(text, space)
    return bool(first.strip() and last.strip())


def ends_sentence(text: str, i: int) -> bool:
    """Whether a sentence, with the quotes and brackets that close it, ends before text[i].

    i : a place inside the text, 0 < i < len(text)

    >>> ends_sentence("你好。世界", 3), ends_sentence("3.14", 2)
    (True, False)
    """
    if text[i] in ENDS or text[i] in CLOSERS or joined(text[i - 1], text[i]):
        return False
    last = i - 1
    while last > 0 and text[last] in CLOSERS:
        last -= 1
    if text[last] in ASCII_ENDS and last == i - 1:
        return not (text[i].isascii() and text[i].isalnum())
    return text[last] in ENDS


def joined(before: str, after: str) -> bool:
    """Whether two neighbouring code points may belong to one character; in doubt, True.

    True for a mark and its letter, an emoji and its modifier, both sides of a zero-width
    joiner, two halves of a surrogate pair, two letters of a flag, the jamo of a Korean syllable,
    and consonants that a virama joins.
    Source: Unicode Standard Annex 29, rules GB3 to GB13. Differs: it keeps a little more together,
    and never less.

    >>> joined("e", "\\u0301"), joined("e", "f")
    (True, False)
    """
    category = unicodedata.category(after)
    if category.startswith("M") or after in VOWELS_AFTER:
        return True
    # Joiners, tags, signs that stand before numbers.
    if "Cf" in (category, unicodedata.category(before)):
        return True
    if unicodedata.combining(before) == VIRAMA:
        return True
    if before == "\r" and after == "\n":
        return True
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return True
    if _is_flag_letter(before) and _is_flag_letter(after):
        return True
    return "\U0001f3fb" <= after <= "\U0001f3ff" or (_is_jamo(after) and _is_korean(before))


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_jamo(character: str) -> bool:
    blocks = (("\u1100", "\u11ff"), ("\ua960", "\ua97f"), ("\ud7b0", "\ud7ff"))
    return any(first <= character <= last for first, last in blocks)


def _is_korean(character: str) -> bool:
    return _is_jamo(character) or "\uac00" <= character <= "\ud7a3"
