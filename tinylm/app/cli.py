"""The command line: the options that every command has, and the exit status.

Exit status: 0 done · 1 `check` found a broken promise · 2 a mistake that one sentence explains ·
130 Ctrl-C and 143 SIGTERM, after a training run has been saved.
Results go to standard output, as JSON with --json; progress goes to standard error. Each command
has a file of its own in `commands/`.
"""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence

from tinylm import __version__
from tinylm.errors import TinylmError, one_line
from tinylm.interrupt import Interrupted
from tinylm.progress import say

from . import commands
from . import options as values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. arguments : sys.argv[1:] by default; returns the exit status."""
    options = parser().parse_args(arguments)
    typed = sys.argv[1:] if arguments is None else arguments
    options.typed = shlex.join(["tinylm", *_without_place(typed)])
    # A model may sample characters that the terminal cannot show. A replacement of standard output
    # (in a test, a notebook) may have no encoding to change.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = commands.run(options)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk shows here
        return status
    except TinylmError as error:
        say(f"tinylm: {error}")
        return 2
    except MemoryError as error:
        advice = str(error) or "choose smaller sizes"
        say(f"tinylm: the memory is too small: {advice}")
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        place = f"{error.filename}: " if error.filename else ""
        say(f"tinylm: {one_line(place)}{error.strerror or error}; nothing more could be done")
        return 2
    except KeyboardInterrupt as stop:
        say(f"tinylm: {_interrupted(stop, options.command)}")
        return stop.status if isinstance(stop, Interrupted) else 130


def _without_place(arguments: Sequence[str]) -> list[str]:
    """Arguments without --out: the same command gives the same files, wherever they stand.

    >>> _without_place(["pretrain", "gpt", "--out", "runs/gpt", "--steps", "5"])
    ['pretrain', 'gpt', '--steps', '5']
    """
    kept = []
    skipped = False
    for argument in arguments:
        if not skipped and not argument.startswith("--out="):
            kept.append(argument)
        skipped = argument == "--out"
    return [argument for argument in kept if argument != "--out"]


def _discard_output() -> None:
    """Let Python write what is left of the output into nothing when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def _interrupted(stop: KeyboardInterrupt, command: str) -> str:
    """`interrupted; saved at step 40, continue with --resume`, or what there is of it."""
    if not str(stop):
        return "interrupted"
    if not str(stop).startswith("saved"):  # nothing is kept
        return f"interrupted; {stop}"
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
    added = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for each in commands.COMMANDS.values():
        command = each.add(added)
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
