"""Settings that come from outside (a command line, a config.json) as checked fields of a frozen dataclass.

@dataclass(frozen=True)
class Sizes(settings.Config):
    ranges = {"width": at_least(1, 65_536), "rate": between(0, 1)}
    width: int = 64
    rate: float = 0.1

>>> Sizes(width=0)
Traceback (most recent call last):
    ...
tinylm.errors.ArgumentError: Sizes: width is 0; expected a whole number from 1 to 65536.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinylm.errors import ArgumentError, TinylmError

LARGEST = 2**31 - 1  # of a whole number whose field declares no range


@dataclass(frozen=True)
class Range:
    """The numbers that a field may take, from `low` to `high`.

    closed : `low` itself is inside     ends : `high` itself is inside
    """

    low: float = -math.inf
    high: float = math.inf
    closed: bool = True
    ends: bool = True

    def holds(self, value: float) -> bool:
        """Whether a number is inside; NaN and the infinities never are."""
        if not math.isfinite(value):
            return False
        from_below = value >= self.low if self.closed else value > self.low
        from_above = value <= self.high if self.ends else value < self.high
        return from_below and from_above

    def __str__(self) -> str:
        low, high = f"{self.low:.12g}", f"{self.high:.12g}"
        end = f"to {high}" if self.ends else f"to below {high}"
        if self.low == -math.inf:
            return "a finite number" if self.high == math.inf else f"a number up {end}"
        if self.high == math.inf:
            return f"a finite number of {low} or more" if self.closed else f"a number above {low}"
        return f"a number from {low} {end}" if self.closed else f"a number above {low}, up {end}"


@dataclass(frozen=True)
class Choice:
    """The words that a field may take."""

    words: tuple[str, ...]

    def holds(self, value: str) -> bool:
        """Whether a word is one of them."""
        return value in self.words

    def __str__(self) -> str:
        return "one of " + ", ".join(self.words)


def at_least(low: float, high: float = math.inf) -> Range:
    """`low` or more, up to `high`."""
    return Range(low, high)


def above(low: float, high: float = math.inf) -> Range:
    """More than `low`, up to `high`."""
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
    """Base of every config dataclass: its fields are checked when it is made, wherever it comes from.

    ranges : field -> Range or Choice, for this class; those of its base classes hold too
    A number without a range must be finite; a whole number also lies within ±(2³¹ − 1). None, and the
    members of a tuple, are checked in the same way.
    """

    ranges: ClassVar[Mapping[str, Range | Choice]] = {}

    def __post_init__(self) -> None:
        check(self)
        self.check()

    def check(self) -> None:
        """What several fields must fulfil together; a config that has such a rule overrides this.

        raises TinylmError  naming the fields
        """


def check(config: Any) -> None:
    """Hold every field of a config to its declared kind and to its range.

    NumPy's numbers become Python's, and lists become tuples.
    raises ArgumentError    naming the config, the field, its value and what was expected
    """
    kinds = typing.get_type_hints(type(config))
    ranges: dict[str, Range | Choice] = {}
    for parent in reversed(type(config).__mro__):
        ranges |= vars(parent).get("ranges", {})
    for field in dataclasses.fields(config):
        given = getattr(config, field.name)
        value = argument(
            type(config).__name__, field.name, given, kinds[field.name], ranges.get(field.name)
        )
        if value is not given:
            object.__setattr__(config, field.name, value)


def argument(
    where: str, name: str, value: Any, kind: Any = float, limit: Range | Choice | None = None
) -> Any:
    """One value that came from outside, held to its kind and to its range as a config's field is.

    where, name : what the error calls the value, for example "AdamW" and "lr"
    kind : a type or a type hint: float, int | None, tuple[float, float]
    limit : None asks of a number only to be finite, and of a whole number to lie within ±(2³¹ − 1)
    returns the value, with Python's numbers for NumPy's and tuples for lists
    raises ArgumentError    naming the value and what was expected
    """
    if type(value) is kind and kind in (int, float) and limit is not None and limit.holds(value):
        return value  # what stands in every step of a training loop is soon said
    value = _plain(value)
    if not _is_a(value, kind):
        expected = spoken(kind) if limit is None else _said(kind, limit)
        raise ArgumentError(f"{where}: {name} is {value!r}; expected {expected}.")
    if isinstance(value, dict):
        for key, part in value.items():
            argument(where, f"{name}[{key!r}]", part, type(part))
        return value
    for part in _parts(value):
        if not _fits(part, limit):
            raise ArgumentError(f"{where}: {name} is {value!r}; expected {_said(kind, limit)}.")
    return value


def _plain(value: Any) -> Any:
    """Python's numbers for NumPy's, tuples for lists, at any depth; anything else as it is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        parts = tuple(_plain(part) for part in value)
        same = isinstance(value, tuple) and all(a is b for a, b in zip(parts, value, strict=True))
        return value if same else parts
    return value


def _parts(value: Any) -> Iterator[Any]:
    """The members of a tuple at any depth, or the value itself."""
    if not isinstance(value, tuple):
        yield value
        return
    for part in value:
        yield from _parts(part)


def _fits(part: Any, limit: Range | Choice | None) -> bool:
    """Whether a single value is inside its limit; without a limit a number must be finite, a whole one 31 bits long."""
    if part is None or isinstance(part, bool):
        return True
    if limit is not None:
        return limit.holds(part)
    if isinstance(part, int):
        return abs(part) <= LARGEST
    return not isinstance(part, float) or math.isfinite(part)


def _said(kind: Any, limit: Range | Choice | None) -> str:
    """What was expected of a value, in words."""
    whole = _is_a(0, kind) and not _is_a(0.5, kind)
    if limit is None:
        return f"a whole number up to {LARGEST}" if whole else "a finite number"
    said = str(limit)
    return said.replace("number", "whole number") if whole else said


def build(config_class, values, make=None):
    """A config with the given fields, the others as `make` (by default the class itself) sets them.

    values : dict of field name -> value; lists become tuples
    raises TinylmError naming the field if it does not exist, is of another kind than it is declared to be, or is
    out of its range
    """
    hints = typing.get_type_hints(config_class)
    known = [field.name for field in dataclasses.fields(config_class)]
    given = {}
    for name, value in values.items():
        if name not in known:
            raise TinylmError(
                f"{config_class.__name__} has no option {name!r}; it knows {', '.join(known)}"
            )
        given[name] = tuple(value) if isinstance(value, list) else value
        if not _is_a(given[name], hints[name]):
            raise TinylmError(f"{name} is {value!r}, expected {spoken(hints[name])}")
    return (make or config_class)(**given)


def refuse_repeated(what, values):
    """Refuse a list that names something twice: the second time says nothing, or something else.

    raises ArgumentError    naming `what`, and the first value that comes again
    """
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ArgumentError(f"{what} names {value!r} twice; give each one once.")


def _is_a(value, hint):
    """Whether a value is of the kind a field is declared to be; a whole number is a number, true and false are none."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, part) for part in parts)
    if origin is tuple:
        parts = (
            parts[:1] * len(value) if isinstance(value, tuple) and parts[-1] is Ellipsis else parts
        )
        return (
            isinstance(value, tuple) and len(value) == len(parts) and all(map(_is_a, value, parts))
        )
    if hint is float and type(value) is float:
        return True
    if hint in (int, float):
        return type(value) is int and abs(value) < 2**63
    return not isinstance(hint, type) or isinstance(value, hint)


def spoken(hint):
    """The kind of a field in words."""
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        types.NoneType: "nothing",
    }
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(spoken(part) for part in parts)
    if typing.get_origin(hint) is tuple:
        some = "several values" if parts[-1] is Ellipsis else f"{len(parts)} values"
        return f"{some} with commas between, each {spoken(parts[0])}"
    return names.get(hint, hint.__name__ if isinstance(hint, type) else str(hint))
