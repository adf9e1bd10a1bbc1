"""`tinylm check`: try every promise of an objective on toy text."""

import argparse
import dataclasses
from argparse import Namespace

from .. import options as values
from ..options import nested
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("check", help="try every promise of an objective on toy text")
    p.add_argument("objective", metavar="OBJECTIVE", help=f"{values.OBJECTIVE}, mine.py:NAME")
    values.add_sizes(p)
    values.add_encoding(p)
    return p


def run(options: Namespace) -> int:
    """Print a line for each promise; returns 1 if one is broken."""
    from tinylm.training import check

    settings = nested(options.set)
    lines = check.lines(options.objective, options.config, settings, options.seed, options.encoding)
    found = []
    for line in lines:
        found.append(line)
        if not options.json:
            print(line, flush=True)
    passed = all(line.status != "FAIL" for line in found)
    if options.json:
        rows = [dataclasses.asdict(line) for line in found]
        print_result(options, {"objective": options.objective, "passed": passed, "lines": rows}, [])
    return 0 if passed else 1
