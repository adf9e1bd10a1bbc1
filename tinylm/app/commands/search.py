"""`tinylm search`: the lines of a file that mean nearly the same as a query."""

import argparse
from argparse import Namespace

from tinylm.errors import DataError

from .. import options as values
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("search", help="the lines of a file nearest to a query in meaning")
    p.add_argument(
        "dir",
        metavar="DIR|NAME",
        help="a sentence encoder, minilm, or any pretrained run",
    )
    p.add_argument("file", metavar="FILE", help="one text per line")
    p.add_argument("query", metavar="QUERY")
    p.add_argument(
        "--count",
        type=values.count,
        default=10,
        metavar="N",
        help="how many (default 10)",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print the nearest lines with their cosines."""
    from tinylm.files import read_text
    from tinylm.transfer import SentenceEncoder

    encoder = SentenceEncoder.load(options.dir)
    lines = [line.strip() for line in read_text(options.file).split("\n")]
    numbers = [number for number, line in enumerate(lines, 1) if line]
    if not numbers:
        raise DataError(f"{options.file} holds no text; give one text per line")
    texts = [lines[number - 1] for number in numbers]
    rows = []
    for place, cosine in encoder.search(options.query, encoder(texts), options.count):
        rows.append({"line": numbers[place], "cosine": cosine, "text": texts[place]})
    shown = [f"{row['cosine']:.3f}\t{row['line']}\t{row['text']}" for row in rows]
    return print_result(options, rows, shown)
