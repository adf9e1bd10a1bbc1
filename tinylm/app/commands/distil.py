"""`tinylm distil`: a small model learns from a large one."""

import argparse
from argparse import Namespace

from .. import options as values
from . import pretrain


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("distil", help="train a small model on what a trained one says")
    p.add_argument(
        "teacher",
        metavar="TEACHER",
        help="a trained BERT: a run of ours or a published folder, BERT's or DistilBERT's",
    )
    p.add_argument(
        "--data",
        required=True,
        metavar="NAME|FILE",
        help="text file, folder, named set, or toy; its labels are not read",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="run folder of the student")
    p.add_argument(
        "--method",
        dest="objective",
        default="distil",
        choices=("distil", "tinybert"),
        help="learn the teacher's answers, or imitate its layers, half as wide (default distil)",
    )
    p.add_argument(
        "--layers",
        type=values.count,
        metavar="N",
        help="of the student (default: half of the teacher's)",
    )
    p.add_argument(
        "--twin",
        action="store_true",
        help="the same student without the teacher's answers, to compare with",
    )
    values.add_length(p, "1000")
    values.add_settings(p, "temperature=4")
    values.add_resume(p)
    values.add_overwrite(p)
    values.add_licence(p)
    p.set_defaults(config=None, encoding=None, init=None, init_embeddings=None, replay=None)
    return p


def run(options: Namespace) -> int:
    """A run of `pretrain` whose objective and options say who teaches."""
    if options.layers:
        options.set.append(("num_hidden_layers", options.layers))
    if options.twin:
        options.set.append(("twin", True))
    return pretrain.run(options)
