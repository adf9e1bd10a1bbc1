"""Run tinylm and a peer in turn, each in a fresh process, and print medians and ratios.

    python -m benchmarks                        everything
    python -m benchmarks gpt gpt_small --pairs 7 --json

A ratio is peer / tinylm: above 1 we are faster. Keep the machine quiet: other work on its cores
falsifies every number.

A benchmark is a function of the options that yields (line, row): a line to read, and the numbers
in it as a dict for --json, or None.
"""

import argparse
import json
import sys
from functools import partial
from importlib.util import find_spec

from . import (
    busy,
    encodings,
    generate,
    machine,
    nanogpt,
    pairs,
    products,
    start,
    vectors,
)


def compared(names, options):
    """Rows of `pairs.PAIRS`."""
    for name in names:
        row = pairs.compare(name, options.pairs, options.compile)
        yield pairs.show(row), row


def encoded(name, options):
    """An encoding beside Hugging Face's tokenizers."""
    row = encodings.compare(name, options.pairs)
    yield encodings.show(row), row


def glove(options):
    """GloVe, which has no peer."""
    for line in vectors.speed(["glove"], options.pairs):
        yield line, None


def imported(options):
    """Seconds of `import tinylm`."""
    yield f"{'import':24} {start.import_time():.2f} s for tinylm with its GPT", None


def cold_start(options):
    """Seconds to the end of the first training step."""
    found = start.cold_start()
    cold = (
        f"{found['cold']:.1f} s with an empty kernel cache ({found['parallel']} parallel kernels)"
    )
    warm = f"{found['warm']:.2f} s with a filled one"
    yield f"{'cold_start':24} {cold}, {warm}\n  {found['told']}", None


def with_products(options):
    """What a user's own NumPy product costs a step."""
    for shape in ("gpt_small", "gpt"):
        found = products.compare(shape, options.pairs)
        before = f"before the import slows a step {found['before']:.2f} times"
        between = f"one between all steps {found['between']:.2f} times"
        yield f"products {shape:15} a NumPy product {before}, {between}", None


def beside_others(options):
    """A step and a token beside busy neighbours."""
    yield busy.show(busy.table(options.pairs)), None


def generated(options):
    """Greedy generation."""
    for size in generate.SHAPES:
        row = generate.compare(size, options.pairs)
        yield generate.show(row), row


def recipe(options):
    """nanoGPT's recipe for a laptop, on the text of --text."""
    if options.text is None:
        yield f"{'nanogpt':24} left out: it needs --text FILE", None
        return
    rows = []
    for row in nanogpt.compare(options.text):
        rows.append(row)
        yield nanogpt.show(row), None
    yield nanogpt.summary(rows), None


def by_first_word(names):
    """{"gpt": ["gpt dropout=0.1", "gpt dropout=0"], "bert": ["bert"], ...}"""
    groups = {}
    for name in names:
        groups.setdefault(name.split()[0], []).append(name)
    return groups


BENCHMARKS = {
    **{name: partial(compared, rows) for name, rows in by_first_word(pairs.PAIRS).items()},
    **{name: partial(encoded, name) for name in encodings.NAMES},
    "glove": glove,
    "import": imported,
    "cold_start": cold_start,
    "products": with_products,
    "busy": beside_others,
    "generate": generated,
    "nanogpt": recipe,
}


def meant(name):
    """The benchmark of a name, or those whose names it begins: "attention" means four."""
    if name in BENCHMARKS:
        return [name]
    return [each for each in BENCHMARKS if each.startswith(f"{name}_")]


def command_line():
    """The parser of the command line above."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    names = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {names} (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=5, help="alternating pairs of runs (default 5)"
    )
    parser.add_argument("--text", metavar="FILE", help="the text that nanogpt learns from")
    parser.add_argument("--json", action="store_true", help="print a list of rows as JSON")
    parser.add_argument(
        "--compile", action="store_true", help="compare with torch.compile instead of eager PyTorch"
    )
    return parser


def main():
    """Run the benchmarks that are asked for."""
    parser = command_line()
    options = parser.parse_args()
    if missing := [name for name in machine.PACKAGES if find_spec(name) is None]:
        parser.error(
            f"{', '.join(missing)} cannot be imported, and tinylm is compared with them; run "
            "pip install -e '.[peers]'"
        )
    chosen = []
    for name in options.names or BENCHMARKS:
        found = meant(name)
        if not found:
            expected = f"expected one of {', '.join(BENCHMARKS)} or the beginning of some"
            parser.error(f"unknown name {name!r}; {expected}")
        chosen += found
    out = sys.stderr if options.json else sys.stdout
    print(machine.describe(), file=out, flush=True)
    rows = []
    for name in chosen:
        for line, row in BENCHMARKS[name](options):
            print(line, file=out, flush=True)
            if row is not None:
                rows.append(row)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
