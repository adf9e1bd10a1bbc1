"""`tinylm find-rate`: a learning rate for an objective on a text, and its picture."""

import argparse
import dataclasses
from argparse import Namespace

from .. import options as values
from ..options import nested
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser(
        "find-rate", help="raise the learning rate until the loss explodes, and suggest one"
    )
    p.add_argument("objective", metavar="OBJECTIVE", help="gpt, ulmfit, ..., or mine.py")
    p.add_argument(
        "--data", required=True, metavar="NAME|FILE", help="text file, folder, named set, or toy"
    )
    p.add_argument("--init", metavar="DIR", help="begin with the model in DIR, as pretrain does")
    p.add_argument(
        "--out",
        type=values.ending(".svg"),
        metavar="FILE.svg",
        help="the picture, if there is to be one",
    )
    p.add_argument(
        "--steps",
        type=values.count,
        default=100,
        metavar="N",
        help="rates to try, one update each (default 100)",
    )
    p.add_argument("--low", type=values.rate, default=1e-6, help="the first rate (default 1e-6)")
    p.add_argument("--high", type=values.rate, default=100.0, help="the last rate (default 100)")
    values.add_sizes(p)
    p.set_defaults(config=None)
    values.add_encoding(p)
    values.add_overwrite(p)
    return p


def run(options: Namespace) -> int:
    """Search, print what was found, and draw it."""
    from tinylm import errors, files, folders
    from tinylm.report import pictures
    from tinylm.training import rates
    from tinylm.training.pretrain import PretrainConfig, prepared

    if options.out is not None and not pictures.available():
        raise errors.TinylmError(pictures.MISSING)
    if options.out is not None:
        folders.claim_file(options.out, options.overwrite, reading=(options.data,))
    config = PretrainConfig(
        objective=options.objective,
        data=options.data,
        size=options.config,
        options=nested(options.set),
        seed=options.seed,
        encoding=options.encoding,
        init=options.init,
    )
    trainer = prepared(config, quiet=options.quiet)
    found = rates.find_rate(trainer, options.low, options.high, options.steps)
    lines = [
        f"the loss falls fastest at {found.suggested:.2g}; it is least at {found.largest:.2g}, "
        f"after {len(found.rates)} updates"
    ]
    if options.out is not None:
        picture = pictures.rate_curve(found.rates, found.losses, found.suggested)
        files.write_bytes(options.out, picture)
        lines.append(f"Picture: {options.out}")
    return print_result(options, dataclasses.asdict(found), lines)
