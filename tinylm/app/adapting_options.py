"""The options of the commands that adapt a model and apply it: finetune, predict."""

import argparse

from . import tagging


def finetune(commands) -> argparse.ArgumentParser:
    """finetune: adapt to labels."""
    p = commands.add_parser("finetune", help="adapt a pretrained run to labelled or tagged texts")
    p.add_argument("dir", metavar="DIR", help="pretrained run")
    tagging.add_options(p)
    p.add_argument(
        "--train",
        required=True,
        metavar="FILE|NAME",
        help="labelled texts: .tsv, .jsonl, or a named set; to tag, a CoNLL file, entities or toy",
    )
    p.add_argument("--test", metavar="FILE|NAME", help="labelled texts to measure on")
    p.add_argument(
        "--method",
        default="finetune",
        choices=("finetune", "features", "gradual"),
        help="all weights at once (default), features of the frozen encoder, or all weights from "
        "the top layer down at rates of their own, as ULMFiT",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="folder for the classifier")
    return p


def predict(commands) -> argparse.ArgumentParser:
    """predict: apply a classifier."""
    p = commands.add_parser("predict", help="label lines, or tag words: a file, or standard input")
    p.add_argument("dir", metavar="DIR", help="folder that finetune wrote")
    p.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="one text per line; for a tagger CoNLL columns (default: standard input)",
    )
    p.add_argument(
        "--with",
        dest="also",
        metavar="DIR",
        help="another classifier of the same labels: average its probabilities with DIR's, for "
        "example those of a model that reads backwards",
    )
    return p
