"""`tinylm pretrain`: learn from text alone."""

import argparse
from argparse import Namespace

from tinylm.progress import duration

from .. import options as values
from ..options import nested
from ..results import given_of, print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("pretrain", help="learn from text alone")
    p.add_argument("objective", metavar="OBJECTIVE", help=values.OBJECTIVE)
    p.add_argument(
        "--data",
        required=True,
        metavar="NAME|FILE",
        help="text file, folder, named set, or toy",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="run folder")
    p.add_argument(
        "--init",
        metavar="DIR",
        help="go on from the model in DIR, a run of ours or a published folder, "
        "with its sizes and its encoding",
    )
    p.add_argument(
        "--init-embeddings",
        metavar="DIR|FILE",
        help="let the tokens begin with the word vectors of a run, or of a file of vectors, "
        "as wide as the model's",
    )
    length = values.add_length(p, "1000, or what --config says")
    length.add_argument(
        "--replay",
        metavar="DIR",
        help="the updates that the finished run in DIR made in its minutes",
    )
    values.add_sizes(p)
    p.set_defaults(config=None, teacher=None)  # --init has sizes of its own
    values.add_encoding(p)
    values.add_resume(p)
    values.add_overwrite(p)
    values.add_licence(p)
    return p


def run(options: Namespace) -> int:
    """Train, or resume a run, and print its losses."""
    from tinylm.training.evaluation import in_words
    from tinylm.training.pretrain import PretrainConfig, pretrain

    config = PretrainConfig(
        objective=options.objective,
        data=options.data,
        out=options.out,
        size=options.config,
        options=_settings(options),
        seed=options.seed,
        encoding=options.encoding,
        init=options.init,
        init_embeddings=options.init_embeddings,
        teacher=options.teacher,
        command=options.typed,
        licence=options.licence,
    )
    objective, _, result = pretrain(
        config, resume=options.resume, quiet=options.quiet, overwrite=options.overwrite
    )
    used = f"{result['steps']} steps in {duration(result['seconds'])}"
    loss = f"training loss {result['loss']:.3f} {objective.unit}"
    lines = [f"{options.out}: {used}, {loss}"]
    if result["held_out"]:
        lines.append(f"held-out text: {in_words(result['held_out'])}")
    return print_result(options, {"out": options.out, **result}, lines)


def _settings(options: Namespace) -> dict:
    """The fields of --set and the length of the run, if one is given.

    raises TinylmError if an option and --set give the same field
    """
    from tinylm.training import budget

    length = given_of(options, "steps minutes tokens")
    if options.replay:
        length["plan"] = budget.recorded(options.replay)
    fields = nested(options.set)
    values.refuse_twice(length, fields)
    return fields | length
