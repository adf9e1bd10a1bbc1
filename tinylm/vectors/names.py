"""Words as names in a file: what bytes they have, and what a format cannot hold of them.

A file has bytes that are no UTF-8, and Python has strings that are none. Both are kept, in both directions:

    byte 0xC3 of a file               <->  U+DCC3, as Python's surrogateescape has it
    any other lone surrogate, U+D83D  <->  the three bytes ED A0 BD that it would have in UTF-8

What a format's readers split at becomes "_". A name that is taken then gets one more "_", so that two words never
become one:

    a b, a_b, c   in text   ->   a_b_, a_b, c
"""

import codecs
import re

# Where readers end a word: binary ones at the space (and they drop newlines), text ones at ASCII white space.
BINARY, TEXT = re.compile("[ \n]"), re.compile("[ \t\n\v\f\r]")
SPLITS = {
    "word2vec": BINARY,
    "gensim": BINARY,
    "text": TEXT,
    "glove": TEXT,
    "folder": re.compile("\n"),
}
NEVER_EMPTY = (
    "text",
    "glove",
)  # their readers skip white space, and would take a number for the word
FOREIGN = re.compile("[\udc80-\udcff]")  # bytes of a file that were no UTF-8
KEPT = "tinylm.kept"


def _keep(error):
    """Python's error handler for what is no UTF-8: see the table above."""
    if isinstance(error, UnicodeEncodeError):
        return b"".join(map(_bytes_of, error.object[error.start : error.end])), error.end
    three = error.object[error.start : error.start + 3]
    try:
        found = three.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        found = ""
    if len(found) == 1 and not FOREIGN.match(found):
        return found, error.start + 3
    return chr(0xDC00 + three[0]), error.start + 1


def _bytes_of(surrogate):
    if FOREIGN.match(surrogate):
        return bytes([ord(surrogate) - 0xDC00])
    return surrogate.encode("utf-8", "surrogatepass")


codecs.register_error(KEPT, _keep)


def to_bytes(word):
    """The bytes of any string."""
    return word.encode("utf-8", KEPT)


def to_word(raw):
    """The string of any bytes; `to_bytes` of it gives the same bytes."""
    return raw.decode("utf-8", KEPT)


def changes(words, form):
    """The words that a format cannot hold as they are: {word: the name that it gets instead}, names all different.

    words : strings; equal ones are one word     form : one of SPLITS
    """
    taken, changed = set(words), {}
    for word in dict.fromkeys(words):
        name = _held(word, form)
        if name == word:
            continue
        while name in taken:
            name += "_"
        taken.add(name)
        changed[word] = name
    return changed


def _held(word, form):
    """The word with "_" for what the format cannot hold."""
    name = SPLITS[form].sub("_", word)
    if not name and form in NEVER_EMPTY:
        return "_"
    # U+DCC3 U+DCA9 has the bytes of "é" and would be read as that
    return name if to_word(to_bytes(name)) == name else FOREIGN.sub("_", name)
