"""Checks of arguments that every floor shares."""

from collections.abc import Iterable, Iterator
from typing import Any

from .errors import ArgumentError


def strings(values: Iterable[str], what: str) -> list[str]:
    """The values as a list of strings, for a function that takes a list of them.

    Python reads a string as a list of letters: `predict("sea wave")` would label eight texts of one
    letter each.

    what : the argument's name, for the error
    raises ArgumentError    for one string, for no list at all, or for a member that is no string

    >>> strings(("sea", "wave"), "texts")
    ['sea', 'wave']
    >>> strings(["sea", 7], "texts")
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: texts[1] is 7, of type int; expected a string.
    """
    if isinstance(values, str | bytes):
        shown = values[:40]
        raise ArgumentError(
            f"{what} is one string, {shown!r}; expected a list of strings, for example [{shown!r}]."
        )
    try:
        found = list(values)
    except TypeError:
        kind = type(values).__name__
        raise ArgumentError(f"{what} is of type {kind}; expected a list of strings.") from None
    return list(each_string(found, what))


def each_string(values: Iterable[Any], what: str) -> Iterator[str]:
    """The values one by one, each of which must be a string; the rest is as for `strings`.

    >>> next(each_string(["sea", 7], "texts"))
    'sea'
    """
    for place, value in enumerate(values):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise ArgumentError(f"{what}[{place}] is {value!r}, of type {kind}; expected a string.")
        yield value
