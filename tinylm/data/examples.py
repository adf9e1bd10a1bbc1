"""From a name or a path to the examples of a task: pairs, numbers, choices, questions.

The rules are those of sources.py: a set that is published with a test part keeps it, elsewhere one
example of five is for testing, and a file gives everything unless it is asked for both parts.

>>> training, test = load_example_parts("pair", "toy", "toy")
>>> len(training), len(test), training[0][1]
(4000, 459, 'contradiction')
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm.errors import DataError
from tinylm.files import is_file

from . import columns, readers, squad, toytasks
from .sources import TEST_EVERY, both_parts, check_split, only_file, split_part, unknown_source

TOY = {"train": (4000, 1), "test": (500, 2)}  # of each toy set: how many, and the seed


@dataclass(frozen=True)
class Kind:
    """How the examples of one task are read.

    read : (path, labelled) -> examples of a file
    toy : (n, seed) -> examples of the toy language
    named : name of a set -> the examples of a split
    text : example -> its text or texts; no text is in the training part and in the test part
    what : the examples, in errors
    """

    read: Callable[[Any, bool], list]
    toy: Callable[[int, int], list]
    named: dict[str, Callable[[str], list]]
    text: Callable[[Any], Any]
    what: str


def _first(example: tuple[Any, Any]) -> Any:
    return example[0]


def _context(example: columns.Choice | squad.Question) -> str:
    return example.context


def _movies(split: str) -> list[tuple[str, float]]:
    """Snippets and scores; those with a label are split as the labelled set is."""
    scores: dict[str, float] = {}
    for text, score in readers.movie_scores(only_file("movies")):
        scores.setdefault(text, score)
    clear = [(text, score) for text, score in scores.items() if score]
    neutral = [(text, score) for text, score in scores.items() if not score]
    return split_part(clear, split) + split_part(neutral, split)


KINDS = {
    "regress": Kind(
        columns.numbers, toytasks.scored, {"movies": _movies}, _first, "text with a number"
    ),
    "pair": Kind(columns.pairs, toytasks.entailment, {}, _first, "pair with a label"),
    "choice": Kind(columns.choices, toytasks.choices, {}, _context, "text with answers"),
    "span": Kind(squad.read, toytasks.reading, {}, _context, "question"),
}


def load_examples(task: str, source: str | Path, split: str = "train") -> list:
    """The examples of a task: what its reader returns.

    task : a key of KINDS     source : a file, "toy", or a named set of the task
    split : "train", "test" or "all"
    raises DataError  if the task or the source is unknown, or the source missing, empty or damaged

    >>> load_examples("regress", "toy", "test")[0][1]
    0.5
    """
    check_split(split)
    kind = _kind(task)
    name = str(source)
    path = Path(source)
    if name == "toy":
        examples = _toy(kind, split)
    elif name in kind.named:
        examples = kind.named[name](split)
    elif is_file(path):
        examples = _split(kind, kind.read(path, True), split)
    else:
        raise unknown_source(name, [*kind.named, "toy"])
    if not examples:
        raise DataError(
            f"{name!r} holds no {kind.what} for {split!r}; "
            f"give at least {TEST_EVERY} different examples."
        )
    return examples


def _kind(task: str) -> Kind:
    """What a task's examples are.   raises DataError for an unknown task"""
    if task not in KINDS:
        raise DataError(f"There is no task {task!r}; it is one of {', '.join(KINDS)}.")
    return KINDS[task]


def _toy(kind: Kind, split: str) -> list:
    """Examples of the toy language."""
    training = kind.toy(*TOY["train"])
    if split == "train":
        return training
    known = {kind.text(example) for example in training}
    test = [example for example in kind.toy(*TOY["test"]) if kind.text(example) not in known]
    return test if split == "test" else training + test


def _split(kind: Kind, examples: list, split: str) -> list:
    """The part of a file's examples; those about one text stay together."""
    texts = dict.fromkeys(kind.text(example) for example in examples)
    wanted = set(split_part(list(texts), split))
    return [example for example in examples if kind.text(example) in wanted]


def load_example_parts(
    task: str, train: str | Path, test: str | Path | None = None
) -> tuple[list, list | None]:
    """Training examples and test examples, by the rules of `load_parts`.

    task, train, test : as for `load_examples`     returns (training, test or None)
    """

    def load(source: str | Path, split: str) -> list:
        return load_examples(task, source, split)

    return both_parts(load, [*_kind(task).named, "toy"], train, test)


def read_examples(task: str, path: str | Path) -> list:
    """The examples of a file to be predicted: their labels may be missing.

    raises DataError  if the task is unknown, or the file is missing, empty or damaged
    """
    kind = _kind(task)
    examples = kind.read(path, False)
    if not examples:
        raise DataError(f"{str(path)!r} holds no {kind.what}; give at least one.")
    return examples
