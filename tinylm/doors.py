"""What the readers of all kinds of files share: one way to read JSON, one place for other errors.

with parsing(path, "a SentencePiece model"):     # whatever the parser raises becomes a DataError
    ...
parse_json(text, "config.json")                  # every number is finite, nothing is endless
"""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import DataError, TinylmError, one_line

MOST_PARTS = 4_000_000  # lists and objects of a JSON text; the largest vocabularies have 300,000
MOST_DIGITS = 308  # of a whole number; any longer one is no float
MOST_DEPTH = 100  # lists and objects inside one another
TOO_DEEP = "it is nested too deeply"
SHOWN = 160  # characters of a parser's reason


@contextlib.contextmanager
def parsing(
    path: str | Path,
    what: str,
    error_class: type[TinylmError] = DataError,
    advice: str = "copy it again from its source",
    also_ours: bool = False,
) -> Iterator[None]:
    """Context for parsing a file: whatever the parser raises becomes one sentence about the file.

    A parser may raise anything when a file is damaged, so nothing is listed here. The original
    error stays the cause of ours.

    what : the kind of the file, with its article     error_class : of the error
    advice : what to do about it
    also_ours : begin our own errors with the file's name too, for they do not know it

    >>> with parsing("a.model", "a SentencePiece model"):
    ...     {}["pieces"]
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: a.model is damaged or not a SentencePiece model (KeyError: \
'pieces'); copy it again from its source
    """
    try:
        yield
    except TinylmError as error:
        if not also_ours:
            raise
        raise error_class(f"{path}: {error}") from error
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}", SHOWN)
        raise error_class(f"{path} is damaged or not {what} ({reason}); {advice}") from error


def parse_json(text: str, name: str, distinct: bool = False) -> Any:
    """The value of a JSON text; its numbers are finite, and floats can hold the whole ones.

    name : where the text comes from, for the error     distinct : refuse a key that comes twice
    raises DataError    if the text is no JSON, is nested too deeply, holds NaN, an infinity or a
        number that no float can hold, or more than MOST_PARTS lists and objects

    >>> parse_json('{"rate": 1e-3}', "config.json")
    {'rate': 0.001}
    >>> parse_json('{"rate": 1e999}', "config.json")
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: 'config.json' is not valid JSON (the number 1e999 is too large); the \
file is damaged or of another kind.
    """
    try:
        return json_value(text, distinct)
    except ValueError as error:
        reason = one_line(str(error), SHOWN)
    raise DataError(
        f"{name!r} is not valid JSON ({reason}); the file is damaged or of another kind."
    )


def json_value(text: str, distinct: bool = False, finite: bool = True) -> Any:
    """`parse_json` within `parsing`, which knows the file's name.

    finite : False lets NaN and infinities pass, where most values are read by nobody
    raises ValueError
    """
    parts = text.count("[") + text.count("{")
    if parts > MOST_PARTS:
        raise ValueError(f"it holds more than {MOST_PARTS:,} lists and objects")
    try:
        value = json.loads(
            text,
            parse_float=_finite if finite else None,
            parse_int=_whole,
            parse_constant=_no_constant if finite else None,
            object_pairs_hook=_distinct if distinct else None,
        )
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if parts > MOST_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Raise ValueError for a value that is nested too deeply for functions that call themselves."""
    open_ones = [_members(value)]
    while open_ones:
        inner = next(open_ones[-1], None)
        if inner is None:
            open_ones.pop()
        elif len(open_ones) == MOST_DEPTH:
            raise ValueError(TOO_DEEP)
        else:
            open_ones.append(_members(inner))


def _members(value: Any) -> Iterator[list | dict]:
    """The lists and objects that stand directly in a JSON value."""
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, list | dict):
                yield part


def _finite(digits: str) -> float:
    """A number with a point or an exponent."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {one_line(digits, 40)} is too large")
    return value


def _whole(digits: str) -> int:
    """A whole number that a float can hold."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"the number {one_line(digits, 40)} is too large")
    return int(digits)


def _no_constant(name: str) -> Any:
    """Refuse NaN and the infinities, which JSON does not know and Python reads."""
    raise ValueError(f"{name} is no number in JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys all differ; Python would keep the last of equal ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is repeated")
    return found
