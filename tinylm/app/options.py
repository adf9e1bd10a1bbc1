"""The values of options, and the options that several commands share.

Text from the command line becomes a number, a tuple or a pair. Text that cannot be used raises
`argparse.ArgumentTypeError`, which argparse prints as a sentence.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from tinylm.errors import TinylmError, one_line
from tinylm.progress import say

OBJECTIVE = "gpt, word2vec, ..., or a file of yours: mine.py"  # what a command's OBJECTIVE may be
CAUSAL_RUN = "run of a causal model, ours or a published GPT-2"
ENCODINGS = ("chars", "bytes", "words", "elmo", "bpe", "wordpiece", "unigram")


class Parser(argparse.ArgumentParser):
    """A parser that refuses an option given twice; argparse silently keeps the last value."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)
        self.register("action", "settings", _Settings)
        self.register("action", "several", _Several)

    def error(self, message: str) -> NoReturn:
        """Say how to use it and, on one line, what is wrong; end with status 2.

        Differs from argparse where standard error is closed: nothing is said. There argparse of
        Python 3.11.2 ends with status 1, and later ones write the usage to standard output.
        """
        for line in self.format_usage().splitlines():
            say(line)
        say(f"{self.prog}: error: {one_line(message)}")
        raise SystemExit(2)


class _Once(argparse.Action):
    """Store the value of an option, which may be given once."""

    def __call__(self, parser, namespace, values, option_string=None):
        given = vars(namespace).setdefault("given", set())
        if option_string and self.dest in given:
            raise argparse.ArgumentError(self, "given twice; give it once")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _Settings(argparse.Action):
    """Collect the (key, value) pairs of a repeated option; each key may be given once."""

    def __call__(self, parser, namespace, values, option_string=None):
        before = getattr(namespace, self.dest)
        key, value = values
        if key in dict(before):
            raise argparse.ArgumentError(self, f"{key} is given twice; give it once")
        setattr(namespace, self.dest, [*before, (key, value)])


class _Several(argparse.Action):
    """Collect the values of a repeated option; each value may be given once."""

    def __call__(self, parser, namespace, values, option_string=None):
        before = getattr(namespace, self.dest) or []
        if values in before:
            raise argparse.ArgumentError(self, f"{values!r} is given twice; give it once")
        setattr(namespace, self.dest, [*before, values])


def number(kind: type, low: float, high: float, expected: str) -> Callable[[str], float]:
    """A parser for numbers of a kind from low to high.

    >>> percent = number(int, 0, 100, "a whole number up to 100")
    >>> percent("42")
    42
    >>> percent("101")
    Traceback (most recent call last):
        ...
    argparse.ArgumentTypeError: '101' given, expected a whole number up to 100
    """

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} given, expected {expected}")
        return value

    return parse


whole = number(int, 0, 10**9, "a whole number of at least 0")
count = number(int, 1, 10**9, "a whole number of at least 1")
seed = number(int, 0, 2**63 - 1, "a whole number of at least 0")
rate = number(float, 1e-30, 1e30, "a learning rate above 0")
share = number(float, 1e-9, 1, "a number from above 0 to 1")
power = number(float, 0, 1, "a number from 0 to 1")
minutes = number(float, 1e-3, 10**6, "a positive number of minutes")


def ending(*endings: str) -> Callable[[str], str]:
    """A parser for the name of a file that we write in one format, which its ending must say.

    >>> page = ending(".html", ".htm")
    >>> page("out/Page.HTML")
    'out/Page.HTML'
    >>> page("page.pdf")
    Traceback (most recent call last):
        ...
    argparse.ArgumentTypeError: 'page.pdf' given, expected a name that ends in .html or .htm
    """

    def parse(text):
        if not text.lower().endswith(endings):
            raise argparse.ArgumentTypeError(
                f"{text!r} given, expected a name that ends in {' or '.join(endings)}"
            )
        return text

    return parse


def some_text(text: str) -> str:
    """Any text but an empty one.

    >>> some_text("")
    Traceback (most recent call last):
        ...
    argparse.ArgumentTypeError: '' given, expected some text
    """
    if not text:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected some text")
    return text


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them.

    >>> counts("2,10,50")
    (2, 10, 50)
    """
    return tuple(count(part) for part in text.split(","))


def budgets(text: str) -> tuple[int | str, ...]:
    """Whole numbers with commas between them, or "all" among them.

    >>> budgets("100, all")
    (100, 'all')
    """
    return tuple("all" if part.strip() == "all" else count(part) for part in text.split(","))


def rates(text: str) -> tuple[float, ...]:
    """Learning rates with commas between them.

    >>> rates("1e-3,3e-4")
    (0.001, 0.0003)
    """
    return tuple(rate(part) for part in text.split(","))


def words(text: str) -> tuple[str, ...]:
    """Words with commas between them.

    >>> words("word2vec, gpt")
    ('word2vec', 'gpt')
    """
    return tuple(part.strip() for part in text.split(","))


def label_words(text: str) -> dict[str, list[str]]:
    """Labels with commas between them, each with the words that stand for it.

    >>> label_words("sea=boat|wave, land")
    {'sea': ['boat', 'wave'], 'land': ['land']}
    """
    found: dict[str, list[str]] = {}
    for part in words(text):
        label, equals, own = part.partition("=")
        label = label.strip()
        some = [word.strip() for word in own.split("|")] if equals else [label]
        if not label or not all(some):
            problem = f"{text!r} given, expected label,label or label=word|word,label=word"
            raise argparse.ArgumentTypeError(problem)
        if label in found:
            raise argparse.ArgumentTypeError(f"the label {label!r} is given twice; give it once")
        found[label] = some
    return found


def assignment(text: str) -> tuple[str, object]:
    """A field of a config and its value: a number, true or false, a tuple, or text.

    >>> [assignment(text) for text in ("lr=3e-4", "tied=false", "sizes=2,3", "schedule=cosine")]
    [('lr', 0.0003), ('tied', False), ('sizes', (2, 3)), ('schedule', 'cosine')]
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected key=value")
    return key.strip(), _value(value.strip())


def named(text: str) -> tuple[str, str]:
    """A name and what it stands for.

    >>> named("topic=news.tsv")
    ('topic', 'news.tsv')
    """
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+", name) or not value.strip():
        expected = "NAME=VALUE, the name of letters, digits, - and _"
        raise argparse.ArgumentTypeError(f"{text!r} given, expected {expected}")
    return name, value.strip()


def nested(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The pairs of `assignment` as fields; a dot reaches into a field that holds options by name.

    >>> nested([("lr", 0.1), ("schedule_options.floor", 0.1)])
    {'lr': 0.1, 'schedule_options': {'floor': 0.1}}
    """
    fields: dict[str, object] = {}
    for key, value in pairs:
        outer, dot, inner = key.partition(".")
        if dot:
            options = fields.setdefault(outer, {})
            if not isinstance(options, dict):
                raise TinylmError(f"--set gives {outer} a value and {key} too; give one of them")
            options[inner] = value
        elif key in fields:
            raise TinylmError(f"--set gives {key} a value and an option of it; give one of them")
        else:
            fields[key] = value
    return fields


def refuse_twice(given: Iterable[str], fields: Mapping[str, object]) -> None:
    """Refuse a field of --set that another option gives too.   raises TinylmError

    given : names of options that the user gave
    """
    for name in given:
        if name in fields:
            raise TinylmError(
                f"--{name} and --set {name} say the same thing twice; give one of them"
            )


def _value(text: str):
    """The right-hand side of an assignment."""
    if "," in text:
        parts = [part.strip() for part in text.split(",")]
        return tuple(_value(part) for part in parts if part)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# ---- options that several commands share


def add_length(p: argparse.ArgumentParser, default: str) -> Any:
    """--steps, --minutes or --tokens, one of them; returns their group, for further ones.

    default : what holds without them, for the help
    """
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=count, metavar="N", help=f"updates (default {default})")
    length.add_argument(
        "--minutes", type=minutes, metavar="M", help="as many updates as fit into this time"
    )
    length.add_argument(
        "--tokens", type=count, metavar="N", help="as many updates as read so many tokens"
    )
    return length


def add_settings(
    p: argparse.ArgumentParser, example: str, whose: str = "the model's or the training's"
) -> None:
    """--set key=value, as often as wanted.   example, whose : for the help"""
    p.add_argument(
        "--set",
        action="settings",
        default=[],
        type=assignment,
        metavar="key=value",
        help=f"replace a field of {whose} config, for example {example}; may be repeated",
    )


def add_resume(p: argparse.ArgumentParser) -> None:
    """--resume"""
    p.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in DIR, or start it if DIR is empty",
    )


def add_encoding(p: argparse.ArgumentParser) -> None:
    """--encoding KIND"""
    p.add_argument(
        "--encoding",
        choices=ENCODINGS,
        help="how text becomes tokens (default: what the objective prefers)",
    )


def add_code(p: argparse.ArgumentParser) -> None:
    """--objective FILE.py, for commands that read a run"""
    p.add_argument(
        "--objective",
        metavar="FILE.py",
        dest="code",
        help="the file that defines the run's objective, if it is one of yours",
    )


def add_sizes(p: argparse.ArgumentParser) -> None:
    """--config SIZE and --set key=value"""
    p.add_argument(
        "--config",
        default="tiny",
        metavar="SIZE",
        help="tiny, small, ... (default tiny)",
    )
    add_settings(p, "schedule_options.floor=0.1")


def add_licence(p: argparse.ArgumentParser) -> None:
    """--licence TEXT, for commands that make a model"""
    p.add_argument(
        "--licence",
        metavar="TEXT",
        help="under which others may use the model, for its card (default: not stated)",
    )


def add_overwrite(p: argparse.ArgumentParser) -> None:
    """--overwrite, for commands that write files"""
    p.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what tinylm has written there before; other files stay",
    )
