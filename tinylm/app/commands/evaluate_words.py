"""`tinylm evaluate-words`: word vectors against people's judgements."""

import argparse
from argparse import Namespace

from .. import options as values
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser(
        "evaluate-words",
        help="word similarity and analogies: do the vectors agree with people?",
    )
    p.add_argument(
        "dir",
        metavar="DIR|FILE",
        help="a pretrained run, or a file of word vectors in any known format",
    )
    p.add_argument(
        "--restrict",
        type=values.count,
        default=300_000,
        metavar="N",
        help="most frequent words (default 300000)",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print how well word vectors agree with people's judgements."""
    from tinylm import data
    from tinylm.hub.vectors import load_vectors

    vectors = load_vectors(options.dir)
    result = {}
    lines = []
    for name in ("wordsim353", "simlex999"):
        row = vectors.evaluate_word_pairs(data.load_similarity(name), options.restrict)
        result[name] = row
        agreement = f"Spearman {row['spearman']:.4f} over {row['pairs']} pairs"
        lines.append(f"{name}: {agreement} ({_percent(row['covered'])} covered)")
    found = vectors.evaluate_word_analogies(data.load_analogies(), options.restrict)
    result["analogies"] = found
    for section, row in found["sections"].items():
        lines.append(f"  {section}: {row['correct']} of {row['questions']}")
    right = f"{100 * found['accuracy']:.1f} % of {found['questions']:,} questions"
    lines.append(f"analogies: {right} ({_percent(found['covered'])} covered)")
    return print_result(options, result, lines)


def _percent(share: float) -> str:
    """A share as whole percent.

    >>> _percent(0.876)
    '88 %'
    """
    return f"{100 * share:.0f} %"
