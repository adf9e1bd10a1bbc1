"""Tokens as people can read them: white space, control and invisible characters get a sign."""

import unicodedata

from .html import escape

SPACE = "␣"
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters that show nothing
PICTURES = 0x2400  # Unicode's pictures of the first 32 control characters
DELETE = 0x7F


def visible(token: str) -> str:
    """A token in which every character can be seen.

    >>> visible(" the"), visible("a\\nb"), visible("\\u202e")
    ('␣the', 'a␊b', '\\\\u202e')
    """
    found = []
    for letter in token:
        code = ord(letter)
        if letter == " ":
            found.append(SPACE)
        elif code < 32:
            found.append(chr(PICTURES + code))
        elif code == DELETE:
            found.append("␡")
        elif unicodedata.category(letter) in HIDDEN:
            found.append(f"\\u{code:04x}")
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
