"""The options of the command that trains a student: distil."""

import argparse

from . import options as values


def distil(commands) -> argparse.ArgumentParser:
    """distil: a small model learns from a large one."""
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
    p.set_defaults(config=None, encoding=None, init=None, init_embeddings=None, replay=None)
    return p
