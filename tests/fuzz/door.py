"""What a door is, and the parts that most doors are made of."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from tinylm import files


@dataclasses.dataclass(frozen=True)
class Door:
    """A kind of file.   weight : how often it is drawn, more for what is quick to read"""

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], None]
    weight: int = 10


def written(name, content):
    """A writer of one text file."""

    def write(folder):
        (folder / name).write_text(content, encoding="utf-8")

    return write


def written_json(name, value):
    """A writer of one JSON file."""
    return lambda folder: files.write_json(folder / name, value)


def written_rows(name, rows):
    """A writer of one file with a JSON object on each line."""
    return written(name, "".join(files.as_json(row) + "\n" for row in rows))


def reader(read, name, *options):
    """A reader of one file."""
    return lambda folder: read(folder / name, *options)
