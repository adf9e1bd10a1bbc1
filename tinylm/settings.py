"""Settings from outside (a command line, a config.json) as checked fields of a frozen dataclass.

>>> @dataclass(frozen=True)
... class Sizes(Config):
...     ranges = {"width": at_least(1, 65_536), "rate": between(0, 1)}
...     width: int = 64
...     rate: float = 0.1
>>> Sizes(width=0)
Traceback (most recent call last):
    ...
tinylm.errors.ArgumentError: Sizes: width is 0; expected a whole number from 1 to 65536.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import ArgumentError, TinylmError

STORED = 2**63  # a whole number beyond it fits neither NumPy nor a file
LARGEST = 2**31 - 1  # of a whole number whose field declares no range


@dataclass(frozen=True)
class Range:
    """The numbers that a field may take, from `low` to `high`.

    closed : `low` itself is inside
    ends : `high` itself is inside

    >>> print(Range(0, 1, ends=False))
    a number from 0 to below 1
    >>> Range(0, 1, ends=False).holds(1)
    False
    """

    low: float = -math.inf
    high: float = math.inf
    closed: bool = True
    ends: bool = True

    def holds(self, value: float) -> bool:
        """Whether a number is inside; NaN and the infinities never are."""
        if isinstance(value, float) and not math.isfinite(value):
            return False
        from_below = value >= self.low if self.closed else value > self.low
        from_above = value <= self.high if self.ends else value < self.high
        return from_below and from_above

    def __str__(self) -> str:
        low = f"{self.low:.12g}"
        high = f"{self.high:.12g}"
        end = f"to {high}" if self.ends else f"to below {high}"
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.low == -math.inf:
            return f"a number up {end}"
        if self.high == math.inf and self.closed:
            return f"a finite number of {low} or more"
        if self.high == math.inf:
            return f"a number above {low}"
        if self.closed:
            return f"a number from {low} {end}"
        return f"a number above {low}, up {end}"


@dataclass(frozen=True)
class Choice:
    """The words that a field may take.

    >>> print(Choice(("adam", "sgd")))
    one of adam, sgd
    """

    words: tuple[str, ...]

    def holds(self, value: str) -> bool:
        """Whether a word is one of them."""
        return value in self.words

    def __str__(self) -> str:
        return "one of " + ", ".join(self.words)


def at_least(low: float, high: float = math.inf) -> Range:
    """`low` or more, up to `high`.

    >>> at_least(1).holds(1)
    True
    """
    return Range(low, high)


def above(low: float, high: float = math.inf) -> Range:
    """More than `low`, up to `high`.

    >>> above(0).holds(0)
    False
    """
    return Range(low, high, closed=False)


def between(low: float, high: float) -> Range:
    """From `low` to `high`, both included."""
    return Range(low, high)


def from_to_below(low: float, high: float) -> Range:
    """`low` or more, less than `high`."""
    return Range(low, high, ends=False)


def one_of(*words: str) -> Choice:
    """One of some words."""
    return Choice(words)


class Config:
    """Base of every config dataclass: making one checks its fields.

    ranges : field -> Range or Choice, for this class; those of its base classes hold too

    A number without a range must be finite; a whole number must also lie within ±(2³¹ − 1). A range
    holds for each member of a tuple, and None is always inside.
    """

    ranges: ClassVar[Mapping[str, Range | Choice]] = {}

    def __post_init__(self) -> None:
        check(self)
        self.check()

    def check(self) -> None:
        """Check a rule about several fields together; a config that has such a rule overrides this.

        raises TinylmError      naming the fields
        """


@functools.cache
def _hints(config_class):
    """Field name -> declared kind."""
    return typing.get_type_hints(config_class)


def check(config: Any) -> None:
    """Hold every field of a config to its declared kind and to its range.

    NumPy's numbers become Python's, and lists become tuples.
    raises ArgumentError    naming the config, the field, its value and what was expected
    """
    kinds = _hints(type(config))
    ranges: dict[str, Range | Choice] = {}
    for parent in reversed(type(config).__mro__):
        ranges |= vars(parent).get("ranges", {})
    where = type(config).__name__
    for field in dataclasses.fields(config):
        name = field.name
        given = getattr(config, name)
        value = argument(where, name, given, kinds[name], ranges.get(name))
        if value is not given:
            object.__setattr__(config, name, value)  # the dataclass is frozen


def argument(
    where: str, name: str, value: Any, kind: Any = float, limit: Range | Choice | None = None
) -> Any:
    """Check one value from outside, as a config's field is checked.

    where, name : how the error calls the value, for example "AdamW" and "lr"
    kind : a type or a type hint: float, int | None, tuple[float, float]
    limit : without one a number must be finite, and a whole number lie within ±(2³¹ − 1)
    returns the value, with Python's numbers for NumPy's and tuples for lists
    raises ArgumentError    naming the value and what was expected

    >>> argument("AdamW", "betas", [0.9, np.float64(0.5)], tuple[float, float])
    (0.9, 0.5)
    >>> argument("AdamW", "lr", -1.0, float, above(0))
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: AdamW: lr is -1.0; expected a number above 0.
    """
    if type(value) is kind and kind in (int, float) and limit is not None and limit.holds(value):
        return value  # the quick way, for arguments that are checked in every training step
    value = _plain(value)
    if not _is_a(value, kind):
        expected = spoken(kind) if limit is None else _said(kind, limit)
        raise ArgumentError(f"{where}: {name} is {value!r}; expected {expected}.")
    if isinstance(value, dict):
        return _members(where, name, value)
    for part in _parts(value):
        if not _fits(part, limit):
            raise ArgumentError(f"{where}: {name} is {value!r}; expected {_said(kind, limit)}.")
    return value


def _members(where: str, name: str, value: dict) -> dict:
    """A dict whose values are checked as `argument` checks one; itself where none changes.

    How large a whole number may be, the config says for which the values are meant.
    raises ArgumentError
    """
    found = {}
    for key, part in value.items():
        part = _plain(part)
        limit = Range(-STORED, STORED) if type(part) is int else None
        found[key] = argument(where, f"{name}[{key!r}]", part, type(part), limit)
    unchanged = all(found[key] is value[key] for key in value)
    return value if unchanged else found


def _plain(value: Any) -> Any:
    """The value with Python's numbers for NumPy's and tuples for lists, at any depth.

    A value without either is returned itself, not as a copy.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        parts = tuple(_plain(part) for part in value)
        unchanged = all(new is old for new, old in zip(parts, value, strict=True))
        return value if unchanged and isinstance(value, tuple) else parts
    return value


def _parts(value: Any) -> Iterator[Any]:
    """The members of a tuple at any depth, or the value itself."""
    if not isinstance(value, tuple):
        yield value
        return
    for part in value:
        yield from _parts(part)


def _fits(part: Any, limit: Range | Choice | None) -> bool:
    """Whether a single value is inside its limit, or without one inside the usual limits."""
    if part is None or isinstance(part, bool):
        return True
    if limit is not None:
        return limit.holds(part)
    if isinstance(part, int):
        return abs(part) <= LARGEST
    return not isinstance(part, float) or math.isfinite(part)


def _said(kind: Any, limit: Range | Choice | None) -> str:
    """The expected values in words: "a whole number from 1 to 65536"."""
    whole = _is_a(0, kind) and not _is_a(0.5, kind)
    if limit is None:
        return f"a whole number up to {LARGEST}" if whole else "a finite number"
    said = str(limit)
    return said.replace("number", "whole number") if whole else said


def build(
    config_class: type, values: Mapping[str, Any], make: Callable[..., Any] | None = None
) -> Any:
    """A config with the given fields; the others as `make` sets them.

    values : field name -> value; lists become tuples
    make : the class itself, or a class method of it
    raises TinylmError      naming a field that does not exist, is of another kind than declared, or
        is out of its range
    """
    hints = _hints(config_class)
    known = [field.name for field in dataclasses.fields(config_class)]
    given = {}
    for name, value in values.items():
        if name not in known:
            names = ", ".join(known)
            raise TinylmError(f"{config_class.__name__} has no option {name!r}; it knows {names}")
        given[name] = _plain(value) if isinstance(value, list) else value
        if not _is_a(given[name], hints[name]):
            raise TinylmError(f"{name} is {value!r}, expected {spoken(hints[name])}")
    return (make or config_class)(**given)


def refuse_repeated(what: str, values: Sequence) -> None:
    """Refuse a list that names something twice.

    what : the list's name, for the error
    raises ArgumentError    naming the first value that comes again

    >>> refuse_repeated("seeds", [3, 5, 3])
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: seeds names 3 twice; give each one once.
    """
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ArgumentError(f"{what} names {value!r} twice; give each one once.")


def _is_a(value, hint):
    """Whether a value is of the kind that a field declares.

    A whole number counts as a number; true and false do not.
    """
    if hint is float and type(value) is float:
        return True
    if hint in (int, float):
        return type(value) is int and abs(value) < STORED
    origin = typing.get_origin(hint)
    parts = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and _members_are(value, parts)
    return not isinstance(hint, type) or isinstance(value, hint)


def _members_are(members, hints):
    """Whether the members of a tuple are of the kinds (int, float) or (int, ...)."""
    if hints[-1] is Ellipsis:
        return all(_is_a(member, hints[0]) for member in members)
    return len(members) == len(hints) and all(map(_is_a, members, hints))


def spoken(hint: Any) -> str:
    """The kind of a field in words.

    >>> spoken(int | None)
    'a whole number or nothing'
    >>> spoken(tuple[float, float])
    '2 values with commas between, each a number'
    """
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        types.NoneType: "nothing",
    }
    origin = typing.get_origin(hint)
    parts = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(spoken(part) for part in parts)
    if origin is tuple:
        some = "several values" if parts[-1] is Ellipsis else f"{len(parts)} values"
        return f"{some} with commas between, each {spoken(parts[0])}"
    if hint in names:
        return names[hint]
    return hint.__name__ if isinstance(hint, type) else str(hint)
