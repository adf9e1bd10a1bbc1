"""Settings that come from outside (a command line, a config.json) as checked fields of a frozen dataclass."""

import dataclasses
import types
import typing

from tinylm.errors import TinylmError


def build(config_class, values, make=None):
    """A config with the given fields, the others as `make` (by default the class itself) sets them.

    values : dict of field name -> value; lists become tuples
    raises TinylmError naming the field if it does not exist, or its value is not of the kind the field is declared to be
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
