"""The command line: what each command accepts, and how mistakes and interruptions end it.

Exit status: 0 done · 1 `check` found a broken promise · 2 a mistake that one sentence explains · 130 Ctrl-C, 143 SIGTERM
(a training run is saved first).
Results go to standard output, as JSON with --json; progress goes to standard error. What a command does stands in
`commands.py`, imported only when one runs, so that `tinylm --help` answers at once.
"""

import argparse
import contextlib
import os
import sys

from tinylm import __version__
from tinylm.errors import TinylmError
from tinylm.interrupt import Interrupted


def main(arguments=None):
    """Run one command. arguments : list of str, sys.argv by default; returns the exit status."""
    options = parser().parse_args(arguments)
    with contextlib.suppress(
        AttributeError
    ):  # what stands in for standard output may have no encoding
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a model may sample what the terminal cannot show
    try:
        from tinylm.app import commands

        return commands.run(options)
    except TinylmError as error:
        print(f"tinylm: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(
            f"tinylm: the memory is too small: {error or 'choose smaller sizes'}", file=sys.stderr
        )
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        how = "with --resume" if options.command == "pretrain" else "with the same command"
        print(
            "tinylm: interrupted" + (f"; {stop}, continue {how}" if str(stop) else ""),
            file=sys.stderr,
        )
        return stop.status if isinstance(stop, Interrupted) else 130


class _Parser(argparse.ArgumentParser):
    """A parser that refuses an option given twice; argparse silently keeps the last value."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        for name in (None, "store"):
            self.register("action", name, _Once)
        self.register("action", "settings", _Settings)


class _Once(argparse.Action):
    """Keep the value of an option that may stand once."""

    def __call__(self, parser, namespace, values, option_string=None):
        given = vars(namespace).setdefault("given", set())
        if option_string and self.dest in given:
            raise argparse.ArgumentError(self, "given twice; give it once")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _Settings(argparse.Action):
    """Collect (key, value) pairs; each key may stand once."""

    def __call__(self, parser, namespace, values, option_string=None):
        before = getattr(namespace, self.dest)
        key, value = values
        if key in dict(before):
            raise argparse.ArgumentError(self, f"{key} is given twice; give it once")
        setattr(namespace, self.dest, [*before, (key, value)])


def parser():
    """The argparse parser of all commands."""
    top = _Parser(
        prog="tinylm", description="Self-supervised language learning, read and run on a laptop."
    )
    top.add_argument("--version", action="version", version=f"tinylm {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _compare,
        _pretrain,
        _check,
        _finetune,
        _predict,
        _generate,
        _neighbors,
        _evaluate_words,
        _convert,
        _data,
    ):
        command = add(commands)
        command.add_argument(
            "--seed",
            type=_seed,
            default=0,
            help="of weights, batches, dropout, sampling (default 0)",
        )
        command.add_argument(
            "--threads", type=_count, metavar="N", help="threads to use (default: all cores)"
        )
        command.add_argument("--quiet", action="store_true", help="say nothing but errors")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    return top


def _add_encoding(p):
    """--encoding KIND"""
    p.add_argument(
        "--encoding",
        choices=("chars", "bytes", "words", "bpe", "wordpiece", "unigram"),
        help="how text becomes tokens (default: what the objective prefers)",
    )


def _add_code(p):
    """--objective FILE.py, for commands that read a run"""
    p.add_argument(
        "--objective",
        metavar="FILE.py",
        dest="code",
        help="the file that defines the run's objective, if it is one of yours",
    )


def _compare(commands):
    """compare: the main job."""
    p = commands.add_parser(
        "compare", help="pretrain, adapt with few labels, compare with honest baselines, report"
    )
    p.add_argument(
        "--data",
        default="newsgroups",
        metavar="NAME|FILE",
        help="labelled corpus (default newsgroups)",
    )
    p.add_argument(
        "--objectives",
        type=_words,
        metavar="a,b,c",
        help="chapters to compare, or files of yours (default: word2vec,gpt)",
    )
    _add_encoding(p)
    p.add_argument(
        "--minutes", type=_positive, metavar="M", help="pretraining time of each objective"
    )
    p.add_argument(
        "--labels", type=_counts, metavar="2,10,50", help="labels per class (default 2,10,50)"
    )
    p.add_argument("--seeds", type=_count, metavar="N", help="paired repetitions (default 3)")
    p.add_argument(
        "--out", metavar="DIR", help="folder of the report and the runs; finished parts are reused"
    )
    return p


def _pretrain(commands):
    """pretrain: learn from text."""
    p = commands.add_parser("pretrain", help="learn from text alone")
    p.add_argument(
        "objective", metavar="OBJECTIVE", help="gpt, word2vec, ..., or a file of yours: mine.py"
    )
    p.add_argument(
        "--data", required=True, metavar="NAME|FILE", help="text file, folder, named set, or toy"
    )
    p.add_argument("--out", required=True, metavar="DIR", help="run folder")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_count, metavar="N", help="updates (default 1000)")
    length.add_argument(
        "--minutes", type=_positive, metavar="M", help="as many updates as fit into this time"
    )
    length.add_argument(
        "--replay",
        metavar="DIR",
        help="the updates that the finished run in DIR made in its minutes",
    )
    p.add_argument(
        "--config", default="tiny", metavar="SIZE", help="tiny, small, ... (default tiny)"
    )
    _add_encoding(p)
    p.add_argument(
        "--set",
        action="settings",
        default=[],
        type=_assignment,
        metavar="key=value",
        help="replace a field of the model's or the training's config; may be repeated",
    )
    p.add_argument(
        "--resume", action="store_true", help="continue the run in DIR, or start it if DIR is empty"
    )
    _overwrite(p)
    return p


def _check(commands):
    """check: try what an objective promises."""
    p = commands.add_parser("check", help="try every promise of an objective on toy text")
    p.add_argument(
        "objective",
        metavar="OBJECTIVE",
        help="gpt, word2vec, ..., or a file of yours: mine.py, mine.py:NAME",
    )
    p.add_argument(
        "--config", default="tiny", metavar="SIZE", help="tiny, small, ... (default tiny)"
    )
    p.add_argument(
        "--set",
        action="settings",
        default=[],
        type=_assignment,
        metavar="key=value",
        help="replace a field of the model's or the training's config; may be repeated",
    )
    _add_encoding(p)
    return p


def _finetune(commands):
    """finetune: adapt to labels."""
    p = commands.add_parser("finetune", help="adapt a pretrained run to labelled texts")
    p.add_argument("dir", metavar="DIR", help="pretrained run")
    p.add_argument("--task", default="classify", choices=("classify",))
    p.add_argument(
        "--train",
        required=True,
        metavar="FILE|NAME",
        help="labelled texts: .tsv, .jsonl, or a named set",
    )
    p.add_argument("--test", metavar="FILE|NAME", help="labelled texts to measure on")
    p.add_argument("--method", default="finetune", choices=("finetune", "features"))
    p.add_argument("--out", required=True, metavar="DIR", help="folder for the classifier")
    _add_code(p)
    _overwrite(p)
    return p


def _predict(commands):
    """predict: apply a classifier."""
    p = commands.add_parser("predict", help="label the lines of a file, or of standard input")
    p.add_argument("dir", metavar="DIR", help="folder that finetune wrote")
    p.add_argument(
        "file", metavar="FILE", nargs="?", help="one text per line (default: standard input)"
    )
    _add_code(p)
    return p


def _generate(commands):
    """generate: continue a text."""
    p = commands.add_parser("generate", help="continue a text")
    p.add_argument("dir", metavar="DIR", help="run of a causal model, ours or a published GPT-2")
    p.add_argument("--prompt", default="", metavar="TEXT")
    p.add_argument(
        "--tokens",
        type=_count,
        default=200,
        metavar="N",
        help="tokens to write at most (default 200)",
    )
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
        help="keep the smallest set of mass P (default 1)",
    )
    _add_code(p)
    return p


def _neighbors(commands):
    """neighbors: nearest words."""
    p = commands.add_parser("neighbors", help="nearest tokens by cosine in the input embedding")
    p.add_argument("dir", metavar="DIR", help="any pretrained run")
    p.add_argument("word", metavar="WORD")
    p.add_argument("--count", type=_count, default=10, metavar="N", help="how many (default 10)")
    _add_code(p)
    p.add_argument(
        "--centred",
        action="store_true",
        help="measure from the mean of all tokens (default: plain cosine)",
    )
    return p


def _evaluate_words(commands):
    """evaluate-words: word vectors against people's judgements."""
    p = commands.add_parser(
        "evaluate-words", help="word similarity and analogies: do the vectors agree with people?"
    )
    p.add_argument(
        "dir",
        metavar="DIR|FILE",
        help="a pretrained run, or a file of word vectors in any known format",
    )
    p.add_argument(
        "--restrict",
        type=_count,
        default=300_000,
        metavar="N",
        help="most frequent words (default 300000)",
    )
    _add_code(p)
    return p


def _convert(commands):
    """convert: word vectors from one format to another."""
    p = commands.add_parser("convert", help="word vectors from any known format to another")
    p.add_argument(
        "source", metavar="IN", help="a pretrained run, or a file or folder of word vectors"
    )
    p.add_argument(
        "target",
        metavar="OUT",
        help=".bin word2vec, .vec text with header, .txt GloVe, no suffix: a folder",
    )
    p.add_argument(
        "--format",
        choices=("word2vec", "gensim", "text", "glove", "folder"),
        help="instead of OUT's suffix",
    )
    p.add_argument(
        "--errors",
        default="surrogateescape",
        choices=("surrogateescape", "strict", "replace", "ignore"),
        help="what to do with words that are not UTF-8 (default: keep their bytes)",
    )
    _add_code(p)
    _overwrite(p)
    return p


def _overwrite(command):
    """--overwrite, of every command that writes what others may have written before."""
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what tinylm has written there before; other files stay",
    )


def _data(commands):
    """data: the named sets."""
    p = commands.add_parser("data", help="list the named sets, or fetch one")
    p.add_argument("action", choices=("list", "get"))
    p.add_argument("name", nargs="?", metavar="NAME")
    return p


def _number(kind, low, high, expected):
    """A parser for numbers in a range, with the sentence that argparse prints otherwise."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} given, expected {expected}")
        return value

    return parse


_count = _number(int, 1, 10**9, "a whole number of at least 1")
_seed = _number(int, 0, 2**63 - 1, "a whole number of at least 0")
_positive = _number(float, 1e-3, 10**6, "a positive number of minutes")


def _counts(text):
    """'2,10,50' -> (2, 10, 50)."""
    return tuple(_count(part) for part in text.split(","))


def _words(text):
    """'a,b' -> ('a', 'b')."""
    return tuple(part.strip() for part in text.split(","))


def _assignment(text):
    """'key=value' -> (key, value): a number, true or false, numbers with commas between, or the text itself."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected key=value")
    return key.strip(), _value(value.strip())


def _value(text):
    if "," in text:
        return tuple(_value(part.strip()) for part in text.split(",") if part.strip())
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
