"""Words as names in a file: their bytes, and the names of words that a format cannot hold.

A file can hold bytes that are not UTF-8, and a Python string can hold code points that UTF-8 lacks.
Both are kept, in both directions:

    byte 0xC3 of a file               <->  U+DCC3, as Python's surrogateescape has it
    any other lone surrogate, U+D83D  <->  the three bytes ED A0 BD that it would have in UTF-8

A character at which a format's readers split becomes "_". A name that is taken then gets one more
"_", so that two words never become one:

    a b, a_b, c   in text   ->   a_b_, a_b, c
"""

import codecs
import re
from collections.abc import Collection

from .packed import STARTS

# What a word must not contain. Binary readers end a word at a space and drop newlines; text readers
# end it at ASCII white space.
BINARY = re.compile("[ \n]")
TEXT = re.compile("[ \t\n\v\f\r]")
SPLITS = {
    "word2vec": BINARY,
    "gensim": BINARY,
    "text": TEXT,
    "glove": TEXT,
    "folder": re.compile("\n"),
}
# Readers of these skip white space, and would take a number for an empty word.
NEVER_EMPTY = ("text", "glove")
FOREIGN = re.compile("[\udc80-\udcff]")  # code points that stand for bytes outside UTF-8
KEPT = "tinylm.kept"  # the name of the error handler below


def _keep(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler that Python calls where text is not UTF-8; it follows the table above.

    returns the replacement, and the place where the codec goes on
    """
    if isinstance(error, UnicodeEncodeError):
        surrogates = error.object[error.start : error.end]
        return b"".join(map(_bytes_of, surrogates)), error.end
    # Decoding: the three bytes of a lone surrogate, or else a single byte.
    three = error.object[error.start : error.start + 3]
    try:
        found = three.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        found = ""
    if len(found) == 1 and not FOREIGN.match(found):
        return found, error.start + 3
    return chr(0xDC00 + three[0]), error.start + 1


def _bytes_of(surrogate: str) -> bytes:
    """The byte, or the three bytes, for which a lone surrogate stands."""
    if FOREIGN.match(surrogate):
        return bytes([ord(surrogate) - 0xDC00])
    return surrogate.encode("utf-8", "surrogatepass")


codecs.register_error(KEPT, _keep)


def to_bytes(word: str) -> bytes:
    """The bytes of any string.

    >>> to_bytes("caf\\udcc3")
    b'caf\\xc3'
    """
    return word.encode("utf-8", KEPT)


def to_word(raw: bytes) -> str:
    """The string of any bytes; `to_bytes` gives the same bytes back.

    >>> to_word(b"caf\\xc3")
    'caf\\udcc3'
    """
    return raw.decode("utf-8", KEPT)


def changes(words: Collection[str], form: str) -> dict[str, str]:
    """New names for the words that a format cannot hold as they are, all different.

    words : strings; equal ones are one word
    form : one of SPLITS, see formats.py
    returns {word: its name in the file}

    >>> changes(["a b", "a_b", "c"], "text")
    {'a b': 'a_b_'}
    """
    taken = set(words)
    changed = {}
    for place, word in enumerate(dict.fromkeys(words)):
        name = _cleaned(word, form)
        if form == "glove" and not place and to_bytes(name).startswith(STARTS):
            name = "_" + name[1:]  # GloVe's file begins with this word
        if name == word:
            continue
        while name in taken:
            name += "_"
        taken.add(name)
        changed[word] = name
    return changed


def _cleaned(word: str, form: str) -> str:
    """The word, with "_" in place of each character that the format cannot hold."""
    name = SPLITS[form].sub("_", word)
    if not name and form in NEVER_EMPTY:
        return "_"
    if to_word(to_bytes(name)) == name:
        return name
    # U+DCC3 U+DCA9 has the bytes of "é" and would be read as that.
    return FOREIGN.sub("_", name)
