"""Checks of arguments that every floor shares."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import ArgumentError, ShapeError


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


def id_array(name: str, ids: ArrayLike) -> np.ndarray:
    """Ids as an array of any shape.

    name : who asks, for the error
    raises ShapeError  for rows of different lengths, which make no array
    """
    try:
        return np.asarray(ids)
    except ValueError:
        raise ShapeError(
            f"{name}: the rows of ids have different lengths; expected rows of one length: "
            "fill them up with tinylm.data.pad, which makes the mask too."
        ) from None


def id_rows(
    name: str, ids: ArrayLike, mask: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The ids (B, T) of some texts, and which of them are real: a mask (B, T) bool, or None.

    name : who asks, for the error
    raises ShapeError  for ids of another shape, or a mask of another one than the ids

    >>> id_rows("GPT", [[3, 1], [4, 0]], [[1, 1], [1, 0]])[1].tolist()
    [[True, True], [True, False]]
    >>> id_rows("GPT", [3, 1])
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: GPT: ids have shape (2,); expected (B, T), a row for each text.
    """
    rows = id_array(name, ids)
    if rows.ndim != 2:
        raise ShapeError(
            f"{name}: ids have shape {rows.shape}; expected (B, T), a row for each text."
        )
    if mask is None:
        return rows, None
    real = id_array(name, mask)
    if real.shape != rows.shape:
        raise ShapeError(
            f"{name}: the mask has shape {real.shape}; expected that of the ids, {rows.shape}."
        )
    return rows, real.astype(bool)
