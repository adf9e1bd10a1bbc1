"""Checks that all encodings share: on vocabularies, on their files, and on numbers for `train`."""

from __future__ import annotations

import contextlib
import difflib
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tinylm import files
from tinylm.errors import ArgumentError, DataError, VocabularyError, one_line
from tinylm.settings import argument, at_least, between

# the ranges of the numbers that `train` takes, in every encoding
LIMITS = {
    "vocab_size": at_least(1, 2**31 - 1),
    "min_count": at_least(1, 2**31 - 1),
    "phrases": between(0, 20),
}


def check_numbers(where: str, **given: int | None) -> None:
    """Check numbers for `train` against LIMITS; None stands for no number.

    raises ArgumentError    naming the encoding, the number and the range it should lie in
    """
    for name, value in given.items():
        argument(where, name, value, int | None, LIMITS[name])


def check_vocab_size(vocab_size: int | None, least: int, why: str) -> None:
    """Refuse a vocab_size too small for the tokens that the encoding always has.

    why : those tokens in words, for the message
    raises VocabularyError

    >>> check_vocab_size(3, 4, "the specials and one character")
    Traceback (most recent call last):
        ...
    tinylm.errors.VocabularyError: vocab_size is 3, but the specials and one character need at \
least 4; ask for 4 or more.
    """
    if vocab_size is not None and vocab_size < least:
        raise VocabularyError(
            f"vocab_size is {vocab_size}, but {why} need at least {least}; ask for {least} or more."
        )


def frequent(counts: Counter[str], min_count: int, what: str) -> list[str]:
    """What is seen min_count times or more, most frequent first, ties in code point order.

    what : its kind, for the message
    raises VocabularyError  if there is none

    >>> frequent(Counter("banana"), 2, "character")
    ['a', 'n']
    """
    kept = [each for each in counts if counts[each] >= min_count]
    if not kept:
        raise VocabularyError(
            f"No {what} is seen min_count = {min_count} times (the most frequent: "
            f"{max(counts.values())}); lower min_count or give more text."
        )
    return sorted(kept, key=lambda each: (-counts[each], each))


def check_different(tokens: Sequence[str]) -> None:
    """Raise VocabularyError if a token stands twice: a file would give back only one of the two."""
    if len(set(tokens)) < len(tokens):
        (twice, _), *_ = Counter(tokens).most_common(1)
        raise VocabularyError(
            f"The token {twice!r} stands twice in the vocabulary; "
            "give each token a name of its own."
        )


def check_whole(tokens: Sequence[str]) -> None:
    """Raise VocabularyError for tokens that JSON cannot store, or that make the file too large.

    See `files.as_json` and `files.read_json`.
    """
    halves = files.HALVES.search("\n".join(tokens))
    if halves:
        raise VocabularyError(
            f"A token holds a character in two halves, {halves.group()!a}, which no JSON file can "
            "hold; join them or remove them."
        )
    characters = sum(map(len, tokens))
    most = 6 * characters + 8 * len(tokens)  # bytes, if every character is escaped
    if most <= files.LARGEST_JSON:
        return
    size = len(files.as_json(list(tokens), indent=2).encode())
    if size > files.LARGEST_JSON:
        longest = max(tokens, key=len)
        raise VocabularyError(
            f"The vocabulary takes {size:,} bytes, a file of it may have "
            f"{files.LARGEST_JSON:,}; its longest token has {len(longest):,} characters "
            f"({longest[:20]!r}…): raise min_count, lower vocab_size, or clean the text."
        )


def whole_numbers(ids: Iterable[int]) -> Iterator[int]:
    """The ids.   raises ArgumentError for what are no whole numbers, such as a text's letters

    >>> list(whole_numbers([5, 3]))
    [5, 3]
    """
    try:
        yield from map(operator.index, ids)
    except TypeError:
        raise ArgumentError(
            f"ids is {one_line(repr(ids), 80)}; expected whole numbers, as `encode` returns them."
        ) from None


def decoded(parts: Iterable[bytes]) -> str:
    """UTF-8 bytes as text. Lone surrogates stay; other bytes that are no UTF-8 become U+FFFD.

    >>> decoded([b"caf", bytes([0xC3]), bytes([0xA9])])
    'café'
    """
    raw = b"".join(parts)
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def no_token(token: str, vocab: Sequence[str]) -> VocabularyError:
    """The error for a token that a vocabulary lacks, with those that are spelled like it."""
    similar = difflib.get_close_matches(token, vocab[:20000], n=3)
    hint = "no token is similar"
    if similar:
        hint = f"similar tokens are {', '.join(map(repr, similar))}"
    return VocabularyError(
        f"{token!r} is not one of the {len(vocab)} tokens of the vocabulary; {hint}."
    )


# --- our own vocabulary files


def as_json(value: dict[str, Any]) -> str:
    """JSON as our own vocabularies store it: UTF-8, readable, same value, same bytes.

    >>> print(as_json({"type": "bytes", "vocab": []}), end="")
    {
     "type": "bytes",
     "vocab": []
    }
    """
    return files.as_json(value, indent=1) + "\n"


def read_vocabulary(path: Path, kind: str) -> dict[str, Any]:
    """Read one of our own vocabulary files: an object with this "type" and a "vocab" of strings.

    raises DataError        if the file is missing, is of another type, or holds a string twice
    """
    value = files.read_json(path)
    if not isinstance(value, dict) or value.get("type") != kind:
        raise DataError(
            f"{str(path)!r} is not a vocabulary of type {kind!r}; "
            "the file is damaged or of another kind."
        )
    if not _different_strings(value.get("vocab")):
        raise DataError(
            f'{str(path)!r} must hold a list "vocab" of different strings; the file is damaged.'
        )
    return value


def _different_strings(vocab: Any) -> bool:
    """True for a list of strings that are all different."""
    if not isinstance(vocab, list):
        return False
    if not all(isinstance(token, str) for token in vocab):
        return False
    return len(set(vocab)) == len(vocab)


@contextlib.contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn a VocabularyError raised while reading a file into a DataError that names the file."""
    try:
        yield
    except VocabularyError as error:
        raise DataError(f"{str(path)!r} is damaged: {error}") from None
