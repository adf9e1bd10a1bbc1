"""What functions take: checks that every floor shares."""

from collections.abc import Iterable

from tinylm.errors import ArgumentError


def strings(values: Iterable[str], what: str) -> list[str]:
    """The values as a list of strings, for a function that takes a list of them.

    Python reads a string as a list of letters: `predict("sea wave")` would label eight texts of one
    letter each.

    what : the argument's name, for the error
    raises ArgumentError    for one string instead of a list, for no list at all, for a member that
        is no string

    >>> strings(("sea", "wave"), "texts")
    ['sea', 'wave']
    >>> strings("sea", "texts")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: texts is one string, 'sea'; expected a list of strings, ...
    """
    if isinstance(values, str | bytes):
        shown = values if len(values) <= 40 else values[:40]
        raise ArgumentError(
            f"{what} is one string, {shown!r}; expected a list of strings, for example [{shown!r}]."
        )
    try:
        found = list(values)
    except TypeError:
        raise ArgumentError(
            f"{what} is of type {type(values).__name__}; expected a list of strings."
        ) from None
    for place, value in enumerate(found):
        if not isinstance(value, str):
            raise ArgumentError(
                f"{what}[{place}] is {value!r}, of type {type(value).__name__}; expected a string."
            )
    return found
