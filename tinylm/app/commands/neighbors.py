"""`tinylm neighbors`: the tokens whose vectors are nearest to a word's."""

import argparse
from argparse import Namespace

from .. import options as values
from ..results import load, print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("neighbors", help="nearest tokens by cosine in the input embedding")
    p.add_argument("dir", metavar="DIR", help="any pretrained run")
    p.add_argument("word", metavar="WORD")
    p.add_argument(
        "--count",
        type=values.count,
        default=10,
        metavar="N",
        help="how many (default 10)",
    )
    values.add_code(p)
    p.add_argument(
        "--centred",
        action="store_true",
        help="measure from the mean of all tokens (default: plain cosine)",
    )
    return p


def run(options: Namespace) -> int:
    """Print the tokens nearest to a word."""
    from tinylm.report.looking import nearest

    model, tokenizer = load(options.dir)
    found = nearest(model, tokenizer, options.word, options.count, options.centred)
    rows = [{"word": word, "cosine": cosine} for word, cosine in found]
    lines = [f"{cosine:.3f}  {word}" for word, cosine in found]
    return print_result(options, {"word": options.word, "neighbors": rows}, lines)
