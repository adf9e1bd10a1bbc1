"""Each token of an encoding under the name that a reader knows it by: "the", not "Ġthe".

>>> from tinylm.text import Chars
>>> names(Chars("ab"))
{'a': 3, 'b': 4}
"""

from .base import Encoding


def spellings(tokenizer: Encoding) -> list[str]:
    """Every token as text, without the space before it."""
    return [tokenizer.decode([i]).strip() for i in range(tokenizer.vocab_size)]


def names(tokenizer: Encoding) -> dict[str, int]:
    """name -> id of all tokens but the special ones; no two tokens have one name.

    Two tokens may read the same, for example "the" at the start of a text and after a space. The
    first keeps that name; the second gets its name in the vocabulary ("Ġthe").
    """
    specials = set(tokenizer.specials)
    spelled = spellings(tokenizer)
    found: dict[str, int] = {}
    for i, token in enumerate(tokenizer.vocab):
        if token in specials:
            continue
        name = spelled[i]
        if not name or name in found:
            name = token
        while name in found:
            name += "_"
        found[name] = i
    return found
