"""The options of the commands that write and score text: generate, score."""

import argparse

from . import options as values

RUN = "run of a causal model, ours or a published GPT-2"


def generate(commands) -> argparse.ArgumentParser:
    """generate: continue a text."""
    p = commands.add_parser("generate", help="continue a text")
    p.add_argument("dir", metavar="DIR", help=RUN)
    p.add_argument("--prompt", default="", metavar="TEXT")
    p.add_argument(
        "--tokens",
        type=values.count,
        default=200,
        metavar="N",
        help="tokens to write at most (default 200)",
    )
    p.add_argument(
        "--n",
        type=values.count,
        default=1,
        metavar="N",
        help="texts to write (default 1, which appears as it is written)",
    )
    p.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="end before this text; may be repeated",
    )
    _sampling(p)
    p.add_argument(
        "--beam",
        type=values.count,
        metavar="WIDTH",
        help="search for the most probable texts with a beam, instead of sampling",
    )
    p.add_argument(
        "--length-penalty",
        type=float,
        metavar="P",
        help="a beam compares log p / length^P (default 1; 0 favours short texts)",
    )
    return p


def _sampling(p):
    """The fields of Sampling."""
    p.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="0 = always the most probable (default 1)",
    )
    p.add_argument(
        "--top-k",
        type=int,
        default=0,
        metavar="K",
        help="keep the K most probable (default 0 = all)",
    )
    p.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="keep a nucleus of most probable tokens of mass P (default 1)",
    )
    p.add_argument(
        "--top-p-rule",
        default="reaching",
        choices=("reaching", "within"),
        help="the smallest nucleus that reaches P (default), or the largest within P, as the "
        "released GPT-2 has it",
    )
    p.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="above 1 makes tokens that the text holds less probable (default 1)",
    )
    p.add_argument(
        "--no-repeat-ngram-size",
        type=int,
        default=0,
        metavar="N",
        help="no run of N tokens comes twice (default 0 = any may)",
    )


def score(commands) -> argparse.ArgumentParser:
    """score: how probable texts are."""
    p = commands.add_parser("score", help="how probable texts are after a prompt")
    p.add_argument("dir", metavar="DIR", help=RUN)
    p.add_argument("texts", metavar="TEXT", nargs="+", help="what may follow the prompt")
    p.add_argument(
        "--prompt",
        default="",
        metavar="TEXT",
        help="what stands before each (default: nothing, each begins a text)",
    )
    return p
