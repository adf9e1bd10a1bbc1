"""`tinylm fill`: the most probable tokens of each gap in a text."""

import argparse
import dataclasses
from argparse import Namespace

from .. import options as values
from ..results import load, print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("fill", help="fill the gaps of a text")
    p.add_argument("dir", metavar="DIR", help="run of a masked model, ours or a published BERT")
    p.add_argument("text", metavar="TEXT", help="with gaps, for example 'a [MASK] text'")
    p.add_argument(
        "--count",
        type=values.count,
        default=5,
        metavar="N",
        help="tokens to show for each gap (default 5)",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print the choices for each gap, and the text with the best ones."""
    from tinylm.training.filling import GAP, fill

    model, tokenizer = load(options.dir)
    gaps = fill(model, tokenizer, options.text, options.count)
    filled = options.text.replace(tokenizer.vocab[model.gap_id], GAP)
    for choices in gaps:
        filled = filled.replace(GAP, choices[0].text, 1)
    lines = []
    for number, choices in enumerate(gaps, 1):
        lines += [f"gap {number}"] if len(gaps) > 1 else []
        lines += [f"{choice.probability:.3f}  {_shown(choice)}" for choice in choices]
    result = {
        "text": options.text,
        "filled": filled,
        "gaps": [[dataclasses.asdict(choice) for choice in choices] for choices in gaps],
    }
    return print_result(options, result, [*lines, filled])


def _shown(choice) -> str:
    """A token as it reads, and as it stands in the vocabulary if that is another thing."""
    if choice.token == choice.text:
        return choice.text
    return f"{choice.text} ({choice.token})"
