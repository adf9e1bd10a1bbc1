"""Tokens as people can read them: white space, control and invisible characters get a sign."""

import unicodedata

from .html import escape, sign

SPACE = "␣"
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters that show nothing


def visible(token: str) -> str:
    """A token in which every character can be seen.

    >>> visible(" the"), visible("a\\nb"), visible("\\u202e")
    ('␣the', 'a␊b', '\\\\u202e')
    """
    found = []
    for letter in token:
        if letter == " ":
            found.append(SPACE)
        elif unicodedata.category(letter) in HIDDEN:
            found.append(sign(letter))
        else:
            found.append(letter)
    return "".join(found)


def shown(text: str) -> str:
    """A visible token within a sentence: without the sign of the space in front of a word.

    >>> shown("␣the"), shown("␣")
    ('the', '␣')
    """
    return text.removeprefix(SPACE) or text


def word(text: str, tag: str = "span") -> str:
    """A visible token as markup: the sign of the space in front of a word is faint.

    >>> word("␣a<b")
    '<span class="faint">␣</span>a&lt;b'
    """
    rest = shown(text)
    if rest == text:
        return escape(text)
    return f'<{tag} class="faint">{SPACE}</{tag}>{escape(rest)}'


def line(text: str, most: int | None = None) -> str:
    """A text in one line: white space becomes one space, and at most so many characters are kept.

    >>> line(" a\\n\\n b  c", most=5), line("a longer text", most=5)
    ('a b c', 'a lo…')
    """
    short = " ".join(text.split())
    if most is not None and len(short) > most:
        return short[: most - 1].rstrip() + "…"
    return short
