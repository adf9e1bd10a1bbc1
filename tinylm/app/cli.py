"""The command line: the options of each command, and the exit status.

Exit status: 0 done · 1 `check` found a broken promise · 2 a mistake that one sentence explains ·
130 Ctrl-C and 143 SIGTERM, after a training run has been saved.
Results go to standard output, as JSON with --json; progress goes to standard error. `commands.py`
does the work. It is imported only when a command runs, so that `tinylm --help` answers at once.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from tinylm import __version__
from tinylm.errors import TinylmError
from tinylm.interrupt import Interrupted

from . import adapting_options, distil_options, rates, showing, writing_options
from . import options as values

OBJECTIVE = "gpt, word2vec, ..., or a file of yours: mine.py"
ENCODINGS = ("chars", "bytes", "words", "elmo", "bpe", "wordpiece", "unigram")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. arguments : sys.argv[1:] by default; returns the exit status."""
    options = parser().parse_args(arguments)
    # A model may sample characters that the terminal cannot show. A replacement of standard output
    # (in a test, a notebook) may have no encoding to change.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from . import commands

        return commands.run(options)
    except TinylmError as error:
        print(f"tinylm: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        advice = str(error) or "choose smaller sizes"
        print(f"tinylm: the memory is too small: {advice}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        print(f"tinylm: {_interrupted(stop, options.command)}", file=sys.stderr)
        return stop.status if isinstance(stop, Interrupted) else 130


def _interrupted(stop: KeyboardInterrupt, command: str) -> str:
    """`interrupted; saved at step 40, continue with --resume`, or only the first word."""
    if not str(stop):
        return "interrupted"
    how = "with --resume" if command in ("pretrain", "distil") else "with the same command"
    return f"interrupted; {stop}, continue {how}"


def parser() -> argparse.ArgumentParser:
    """The argparse parser of all commands.

    >>> options = parser().parse_args(["generate", "runs/gpt", "--top-k", "40"])
    >>> options.command, options.dir, options.top_k
    ('generate', 'runs/gpt', 40)
    """
    top = values.Parser(
        prog="tinylm", description="Self-supervised language learning, read and run on a laptop."
    )
    top.add_argument("--version", action="version", version=f"tinylm {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        command = add(commands)
        command.add_argument(
            "--seed",
            type=values.seed,
            default=0,
            help="of weights, batches, dropout, sampling (default 0)",
        )
        command.add_argument(
            "--threads",
            type=values.count,
            metavar="N",
            help="threads to use (default: all cores)",
        )
        command.add_argument("--quiet", action="store_true", help="say nothing but errors")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    return top


# ---- options that several commands share


def _encoding(p):
    """--encoding KIND"""
    p.add_argument(
        "--encoding",
        choices=ENCODINGS,
        help="how text becomes tokens (default: what the objective prefers)",
    )


def _code(p):
    """--objective FILE.py, for commands that read a run"""
    p.add_argument(
        "--objective",
        metavar="FILE.py",
        dest="code",
        help="the file that defines the run's objective, if it is one of yours",
    )


def _sizes(p):
    """--config SIZE and --set key=value"""
    p.add_argument(
        "--config",
        default="tiny",
        metavar="SIZE",
        help="tiny, small, ... (default tiny)",
    )
    values.add_settings(p, "schedule_options.floor=0.1")


def _overwrite(p):
    """--overwrite, for commands that write files"""
    p.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what tinylm has written there before; other files stay",
    )


# ---- one function per command


def _compare(commands):
    """compare: the main job."""
    p = commands.add_parser(
        "compare",
        help="pretrain, adapt with few labels, compare with honest baselines, report",
    )
    p.add_argument(
        "--data",
        default="newsgroups",
        metavar="NAME|FILE",
        help="labelled corpus (default newsgroups)",
    )
    p.add_argument(
        "--objectives",
        type=values.words,
        metavar="a,b,c",
        help="chapters to compare, or files of yours; all for the whole history "
        "(default: word2vec,gpt,bert)",
    )
    _encoding(p)
    p.add_argument(
        "--minutes",
        type=values.minutes,
        metavar="M",
        help="pretraining time of each objective",
    )
    p.add_argument(
        "--labels",
        type=values.counts,
        metavar="2,10,50",
        help="labels per class (default 2,10,50)",
    )
    p.add_argument(
        "--seeds",
        type=values.count,
        metavar="N",
        help="paired repetitions (default 3)",
    )
    p.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the report and the runs; finished parts are reused",
    )
    return p


def _pretrain(commands):
    """pretrain: learn from text."""
    p = commands.add_parser("pretrain", help="learn from text alone")
    p.add_argument("objective", metavar="OBJECTIVE", help=OBJECTIVE)
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
    _sizes(p)
    p.set_defaults(config=None, teacher=None)  # --init has sizes of its own
    _encoding(p)
    values.add_resume(p)
    _overwrite(p)
    return p


def _find_rate(commands):
    """find-rate: a learning rate to begin with."""
    p = rates.add(commands)
    _sizes(p)
    p.set_defaults(config=None)
    _encoding(p)
    return p


def _distil(commands):
    """distil: learn from a trained model."""
    p = distil_options.distil(commands)
    _overwrite(p)
    return p


def _check(commands):
    """check: prove an objective's promises."""
    p = commands.add_parser("check", help="try every promise of an objective on toy text")
    p.add_argument("objective", metavar="OBJECTIVE", help=f"{OBJECTIVE}, mine.py:NAME")
    _sizes(p)
    _encoding(p)
    return p


def _finetune(commands):
    """finetune: adapt to labels."""
    p = adapting_options.finetune(commands)
    _code(p)
    _overwrite(p)
    return p


def _predict(commands):
    """predict: apply a classifier."""
    p = adapting_options.predict(commands)
    _code(p)
    return p


def _generate(commands):
    """generate: continue a text."""
    p = writing_options.generate(commands)
    _code(p)
    return p


def _score(commands):
    """score: how probable texts are."""
    p = writing_options.score(commands)
    _code(p)
    return p


def _fill(commands):
    """fill: guess what stands in the gaps of a text."""
    p = commands.add_parser("fill", help="fill the gaps of a text")
    p.add_argument("dir", metavar="DIR", help="run of a masked model, ours or a published BERT")
    p.add_argument("text", metavar="TEXT", help="with gaps, for example 'a [MASK] text'")
    p.add_argument(
        "--count",
        type=values.count,
        default=5,
        metavar="N",
        help="tokens to show for each gap (default 5)",
    )
    _code(p)
    return p


def _show(commands):
    """show: a page about what a model makes of a text."""
    p = showing.add(commands)
    _code(p)
    return p


def _neighbors(commands):
    """neighbors: nearest words."""
    p = commands.add_parser("neighbors", help="nearest tokens by cosine in the input embedding")
    p.add_argument("dir", metavar="DIR", help="any pretrained run")
    p.add_argument("word", metavar="WORD")
    p.add_argument(
        "--count",
        type=values.count,
        default=10,
        metavar="N",
        help="how many (default 10)",
    )
    _code(p)
    p.add_argument(
        "--centred",
        action="store_true",
        help="measure from the mean of all tokens (default: plain cosine)",
    )
    return p


def _search(commands):
    """search: lines by meaning."""
    p = commands.add_parser("search", help="the lines of a file nearest to a query in meaning")
    p.add_argument(
        "dir",
        metavar="DIR|NAME",
        help="a sentence encoder, minilm, or any pretrained run",
    )
    p.add_argument("file", metavar="FILE", help="one text per line")
    p.add_argument("query", metavar="QUERY")
    p.add_argument(
        "--count",
        type=values.count,
        default=10,
        metavar="N",
        help="how many (default 10)",
    )
    _code(p)
    return p


def _evaluate_words(commands):
    """evaluate-words: word vectors against people's judgements."""
    p = commands.add_parser(
        "evaluate-words",
        help="word similarity and analogies: do the vectors agree with people?",
    )
    p.add_argument(
        "dir",
        metavar="DIR|FILE",
        help="a pretrained run, or a file of word vectors in any known format",
    )
    p.add_argument(
        "--restrict",
        type=values.count,
        default=300_000,
        metavar="N",
        help="most frequent words (default 300000)",
    )
    _code(p)
    return p


def _convert(commands):
    """convert: word vectors from one format to another."""
    p = commands.add_parser("convert", help="word vectors from any known format to another")
    p.add_argument(
        "source",
        metavar="IN",
        help="a pretrained run, or a file or folder of word vectors",
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
    _code(p)
    _overwrite(p)
    return p


def _data(commands):
    """data: the named sets."""
    p = commands.add_parser("data", help="list the named sets, or fetch one")
    p.add_argument("action", choices=("list", "get"))
    p.add_argument("name", nargs="?", metavar="NAME")
    return p


COMMANDS = (
    _compare,
    _pretrain,
    _find_rate,
    _distil,
    _check,
    _finetune,
    _predict,
    _generate,
    _score,
    _fill,
    _show,
    _neighbors,
    _search,
    _evaluate_words,
    _convert,
    _data,
)
