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
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=values.count, metavar="N", help="updates (default 1000)")
    length.add_argument(
        "--minutes",
        type=values.minutes,
        metavar="M",
        help="as many updates as fit into this time",
    )
    p.add_argument(
        "--set",
        action="settings",
        default=[],
        type=values.assignment,
        metavar="key=value",
        help="replace a field of the student's or the training's config, for example "
        "temperature=4; may be repeated",
    )
    p.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in DIR, or start it if DIR is empty",
    )
    p.set_defaults(config=None, encoding=None, init=None, init_embeddings=None, replay=None)
    return p
