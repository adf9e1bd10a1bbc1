"""`tinylm chat`: talk with a model that has learned to reply."""

import argparse
from argparse import Namespace
from collections.abc import Iterator

from tinylm.errors import visible

from .. import options as values
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("chat", help="talk with a model: each line is answered")
    p.add_argument("dir", metavar="DIR", help="folder that finetune --task chat wrote")
    p.add_argument(
        "file", metavar="FILE", nargs="?", help="what is said, a turn per line (default: you type)"
    )
    p.add_argument(
        "--persona",
        action="append",
        default=[],
        metavar="TEXT",
        help="a sentence about the one who answers, such as 'i like music .'; may be repeated",
    )
    p.add_argument(
        "--top-p",
        type=float,
        default=0.9,
        metavar="P",
        help="draw from a nucleus of most probable tokens of mass P (default 0.9)",
    )
    p.add_argument(
        "--temperature",
        type=float,
        default=0.7,
        help="0 = always the most probable token (default 0.7)",
    )
    p.add_argument(
        "--tokens",
        type=values.count,
        default=20,
        metavar="N",
        help="tokens of an answer at most (default 20)",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Answer line after line until the input ends or Ctrl-C."""
    import numpy as np

    from tinylm.transfer import Chat
    from tinylm.transfer.chat import ReplyConfig

    agent = Chat.load(options.dir)
    how = ReplyConfig(top_p=options.top_p, temperature=options.temperature, longest=options.tokens)
    rng = np.random.default_rng(options.seed)
    history: list[str] = []
    turns = []
    try:
        for said in _lines(options.file):
            answer = agent.reply(options.persona, [*history, said], rng, how)
            history += [said, answer]
            turns.append({"said": said, "reply": answer})
            if not options.json:
                print(visible(answer), flush=True)
    except KeyboardInterrupt:
        pass  # this is how one ends a talk
    if options.json:
        return print_result(options, {"persona": options.persona, "turns": turns}, [])
    return 0


def _lines(path: str | None) -> Iterator[str]:
    """What is said: the lines of a file, or of standard input as they come; no blank ones."""
    from tinylm.files import read_text, standard_lines

    lines = standard_lines() if path is None else read_text(path).split("\n")
    for line in lines:
        if line.strip():
            yield line.strip()
