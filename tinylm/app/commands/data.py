"""`tinylm data`: list the named sets, or fetch one."""

import argparse
from argparse import Namespace
from pathlib import Path

from tinylm.errors import TinylmError

from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("data", help="list the named sets, or fetch one")
    p.add_argument("action", choices=("list", "get"))
    p.add_argument("name", nargs="?", metavar="NAME")
    return p


def run(options: Namespace) -> int:
    """Print the sets, or where the files of a set are after fetching it."""
    from tinylm import data

    if options.action == "list" and options.name:
        raise TinylmError(
            f"data list shows all sets; `tinylm data get {options.name}` fetches one of them"
        )
    if options.action == "list":
        return _list_sets(options)
    if not options.name:
        raise TinylmError("data get needs the name of a set; `tinylm data list` shows them")
    members = {name: str(Path(path)) for name, path in data.get(options.name).items()}
    return print_result(options, members, [f"{name}: {path}" for name, path in members.items()])


def _list_sets(options: Namespace) -> int:
    """One row per named set: name, package, licence, content."""
    from tinylm import data

    rows = []
    for known in data.sets():
        row = {
            "name": known.name,
            "package": f"{known.package}=={known.version}",
            "licence": known.licence,
            "what": known.what,
        }
        rows.append(row)
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        source = f"{row['package']}, {row['licence']}"
        lines.append(f"{row['name']:{width}}  {row['what']} ({source})")
    return print_result(options, rows, lines)
