"""`tinylm score`: how probable texts are after a prompt."""

import argparse
from argparse import Namespace

from .. import options as values
from ..results import load, print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("score", help="how probable texts are after a prompt")
    p.add_argument("dir", metavar="DIR", help=values.CAUSAL_RUN)
    p.add_argument("texts", metavar="TEXT", nargs="+", help="what may follow the prompt")
    p.add_argument(
        "--prompt",
        default="",
        metavar="TEXT",
        help="what stands before each (default: nothing, each begins a text)",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print how probable each text is after the prompt."""
    from tinylm.training.zero_shot import score as scores_of

    model, tokenizer = load(options.dir)
    rows = []
    lines = []
    scores = scores_of(model, tokenizer, options.prompt, options.texts)
    for text, found in zip(options.texts, scores, strict=True):
        row = {
            "text": text,
            "nats": found.total,
            "nats_per_token": found.mean,
            "tokens": len(found.nats),
        }
        rows.append(row)
        lines.append(f"{found.total:.3f}\t{found.mean:.3f}\t{text}")
    head = "log p (nats)\tper token\ttext"
    return print_result(options, {"prompt": options.prompt, "texts": rows}, [head, *lines])
