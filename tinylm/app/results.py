"""The parts that commands share: read a folder, collect the given options, print the result."""

import json
import sys
from argparse import Namespace
from typing import Any

from tinylm.errors import TinylmError, visible
from tinylm.files import without_nan


def print_result(options: Namespace, result: Any, lines: list[str]) -> int:
    """Print the result as one JSON document, or as lines for people; returns 0."""
    print(document(result) if options.json else visible("\n".join(lines)))
    return 0


def document(result: Any) -> str:
    """A result as JSON. Letters beyond ASCII are escaped unless standard output is UTF-8."""
    encoding = "" if sys.stdout is None else sys.stdout.encoding or ""
    readable = encoding.lower().replace("-", "") == "utf8"
    text = json.dumps(without_nan(result), indent=2, ensure_ascii=not readable)
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    """A character as JSON writes it in ASCII; a terminal would obey some of those below 128."""
    if character.isascii():
        return f"\\u{ord(character):04x}"
    return json.dumps(character)[1:-1]


def load(folder: str) -> tuple[Any, Any]:
    """Model and tokenizer of a folder.   raises TinylmError if the folder holds no tokenizer"""
    from tinylm import hub

    model, tokenizer = hub.load(folder)
    if tokenizer is None:
        raise TinylmError(
            f"{folder} holds no tokenizer, so text cannot be read; copy its files into the folder"
        )
    return model, tokenizer


def origin_of(options: Namespace, *data: str) -> Any:
    """The origin of a model that a command adapts, for its card: its --licence and the line itself.

    data : what it learned from
    """
    from tinylm import hub

    return hub.Origin(", ".join(data), options.typed, options.licence, options.dir)


def given_of(options: Namespace, names: str) -> dict:
    """The options that the user gave, of some names with spaces between them: {name: value}."""
    found = {name: getattr(options, name) for name in names.split()}
    return {name: value for name, value in found.items() if value is not None}
