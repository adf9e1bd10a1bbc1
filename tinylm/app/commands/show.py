"""`tinylm show`: a page about what a model makes of one text."""

import argparse
from argparse import Namespace

from .. import options as values
from ..results import load, print_result

PAGE = "show.html"


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser(
        "show", help="a page about one text: attention, the choices at every place, losses"
    )
    p.add_argument("dir", metavar="DIR", help="any pretrained run, ours or published")
    p.add_argument("text", metavar="TEXT", help="for masked models it may have gaps: 'a [MASK]'")
    p.add_argument(
        "--out",
        type=values.ending(".html", ".htm"),
        default=PAGE,
        metavar="FILE.html",
        help=f"where the page goes (default {PAGE})",
    )
    p.add_argument(
        "--count",
        type=values.count,
        default=5,
        metavar="N",
        help="choices to show for each place (default 5)",
    )
    p.add_argument(
        "--tokens",
        type=values.count,
        default=64,
        metavar="N",
        help="tokens to read, special ones included (default 64, or what the model reads)",
    )
    values.add_overwrite(p)
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Read the text, write the page, and print what it says in a sentence."""
    from tinylm import folders
    from tinylm.report import html
    from tinylm.report import reading as readings
    from tinylm.report import show as pages

    folders.claim_file(options.out, options.overwrite or html.is_page(options.out))
    model, tokenizer = load(options.dir)
    reading = readings.read(model, tokenizer, options.text, options.count, options.tokens)
    layers = len(reading.attention)
    size = f"{sum(p.size for p in model.parameters()):,} numbers"
    about = f"The model stands in {options.dir}: {size}, {len(tokenizer.vocab):,} tokens"
    if layers:
        about += f", {layers} layers with {len(reading.attention[0])} heads each"
    pages.write(options.out, reading, model.name, f"{about}.")
    summary = pages.summary(reading, model.name)
    result = {
        "page": options.out,
        "summary": summary,
        "tokens": reading.tokens,
        "nats": pages.losses(reading),
        "replaced": None if reading.replaced is None else reading.replaced.tolist(),
        "layers": layers,
        "left_out": reading.left_out,
    }
    return print_result(options, result, [summary, f"Page: {options.out}"])
