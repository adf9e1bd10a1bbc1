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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinylm.errors import ArgumentError, TinylmError

LARGEST = 2**31 - 1  # of a whole number whose field declares no range


@dataclass(frozen=True)
class Range:
    """The numbers that a field may take: from `low` to `high`, `low` itself only where `closed`."""

    low: float = -math.inf
    high: float = math.inf
    closed: bool = True

    def holds(self, value: float) -> bool:
        """Whether a number is inside; NaN and the infinities never are."""
        if not math.isfinite(value):
            return False
        from_below = value >= self.low if self.closed else value > self.low
        return from_below and value <= self.high

    def __str__(self) -> str:
        low, high = f"{self.low:.12g}", f"{self.high:.12g}"
        if self.low == -math.inf:
            return "a finite number" if self.high == math.inf else f"a number up to {high}"
        if self.high == math.inf:
            return f"a finite number of {low} or more" if self.closed else f"a number above {low}"
        return f"a number from {low} to {high}" if self.closed else f"above {low}, up to {high}"


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
    """Hold every field of a config to its declared kind and to its range; NumPy's numbers become Python's.

    raises ArgumentError    naming the config, the field, its value and what was expected
    """
    kinds = typing.get_type_hints(type(config))
    ranges: dict[str, Range | Choice] = {}
    for parent in reversed(type(config).__mro__):
        ranges |= vars(parent).get("ranges", {})
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, field.name, value)
        kind = kinds[field.name]
        if not _is_a(value, kind):
            _refuse(config, field.name, spoken(kind))
        limit = ranges.get(field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, bool) or part is None:
                continue
            if limit is not None and not limit.holds(part):
                whole = _is_a(0, kind) and not _is_a(0.5, kind)
                said = str(limit)
                _refuse(
                    config, field.name, said.replace("number", "whole number") if whole else said
                )
            if isinstance(part, float) and not math.isfinite(part):
                _refuse(config, field.name, "a finite number")
            if isinstance(part, int) and limit is None and abs(part) > LARGEST:
                _refuse(config, field.name, f"a whole number up to {LARGEST}")


def _refuse(config: Any, name: str, expected: str) -> typing.NoReturn:
    value = getattr(config, name)
    raise ArgumentError(f"{type(config).__name__}: {name} is {value!r}; expected {expected}.")


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
    if hint is float:
        return type(value) in (int, float)
    if hint is int:
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
    return names.get(hint, getattr(hint, "__name__", str(hint)))
