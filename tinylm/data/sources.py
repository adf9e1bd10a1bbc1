"""From a name or a path to texts and labels: the toy language, a named set, or a user's own file or folder.

Labelled data has two parts that never mix. Where a set is published with a test part, that is it; otherwise every
fifth example, in an order fixed once, is the test part, after repeated texts were dropped. Texts for pretraining come
from the training part only.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tinylm.data import fetch, labelled, readers, toy
from tinylm.data.sets import sets
from tinylm.errors import DataError
from tinylm.files import read_text

TEST_EVERY = 5  # one example of five is for testing, where nobody published a split
SPLITS = ("train", "test", "all")
Example = TypeVar("Example")


@dataclass(frozen=True)
class Labelled:
    """Texts with one label each, in the same order."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.texts)


def _file(name: str) -> Path:
    """The only file of a named set that has one."""
    return next(iter(fetch.get(name).values()))


def _newsgroups(split: str) -> readers.Rows:
    paths = fetch.get("newsgroups")
    parts = ("train", "test") if split == "all" else (split,)
    return [row for part in parts for row in readers.newsgroups(paths[f"20newsgroups-{part}.tab"])]


def _toy(split: str, task: str = "topic") -> readers.Rows:
    parts = {"train": [(3000, 1)], "test": [(600, 2)], "all": [(3000, 1), (600, 2)]}[split]
    return [row for n, seed in parts for row in toy.labelled(n, seed, task)]


_LABELLED: Mapping[str, Callable[[str], readers.Rows]] = {
    "newsgroups": _newsgroups,
    "questions": lambda split: _part(readers.questions(_file("questions")), split),
    "questions-fine": lambda split: _part(readers.questions(_file("questions"), fine=True), split),
    "movies": lambda split: _part(readers.movies(_file("movies")), split),
    "spam": lambda split: _part(readers.spam(_file("spam")), split),
    "toy": _toy,
    "toy-sentiment": lambda split: _toy(split, "sentiment"),
}

_TEXTS: Mapping[str, Callable[[], list[str]]] = {
    "kjv": lambda: readers.kjv(_file("kjv")),
    "wikipedia": lambda: [
        readers.plain_text(markup) for _, markup in readers.articles(_file("wikipedia"))
    ],
    "dialogs": lambda: [
        f"{statement}\n{reply}" for statement, reply in readers.dialogs(_file("dialogs"))
    ],
    "entities": lambda: [" ".join(tokens) for tokens, _ in load_tagged("entities", "train")],
    "toy-markov": lambda: _markov_documents(),
}


def load_texts(source: str | Path, leave_out: str | Path | None = None) -> list[str]:
    """The documents of a source, for pretraining.

    source : a .txt file (one document), a folder of them (one document each), a labelled .tsv or .jsonl file (its
        labels are not read), a named set, "toy", or "toy-markov"; of labelled data the training part only
    leave_out : a folder whose files are no documents where it is the source or lies in it: that of the run which reads
        them, so that a run never trains on its own vocabulary, and finds the same text when it is resumed
    raises DataError        if the source is missing, unknown, empty or damaged
    """
    name, path = str(source), Path(source)
    if name in _LABELLED:
        texts = load_labelled(name, "train").texts
    elif name in _TEXTS:
        texts = _TEXTS[name]()
    elif path.is_dir():
        files = _documents(path, leave_out)
        if not files:
            besides = "" if leave_out is None else f" besides those in {str(leave_out)!r}"
            raise DataError(
                f"The folder {name!r} holds no .txt file{besides}; put one document into each."
            )
        texts = [read_text(file) for file in files]
    elif path.exists() and labelled.kind(path) != "text":
        texts = [text for text, _ in _part(labelled.read(path, labelled=False), "train")]
    elif path.exists():
        texts = [read_text(path)]
    else:
        raise _unknown(name, [*_LABELLED, *_TEXTS])
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError(f"{name!r} is empty: it holds no text; give a source with some text in it.")
    return texts


def _documents(folder: Path, leave_out: str | Path | None) -> list[Path]:
    """The .txt files of a folder, sorted, without those in a folder that is inside it (or is the folder itself)."""
    everything = sorted(folder.rglob("*"))
    found = [file for file in everything if file.suffix.lower() == ".txt" and file.is_file()]
    if leave_out is None:
        return found
    without = Path(leave_out).resolve()
    if not without.is_relative_to(folder.resolve()):
        return found
    return [file for file in found if not file.resolve().is_relative_to(without)]


def load_labelled(source: str | Path, split: str = "train") -> Labelled:
    """Texts and labels of a classification set.

    source : a .tsv file (text<TAB>label) or .jsonl file ({"text", "label"}), see labelled.py, a named set (newsgroups,
        questions, questions-fine, movies, spam), "toy" (topics) or "toy-sentiment"
    split : "train", "test" or "all"
    raises DataError        if the source is missing, unknown, empty or damaged
    """
    name, path = str(source), Path(source)
    _check_split(split)
    if name in _LABELLED:
        rows = _LABELLED[name](split)
    elif path.is_file():
        rows = _part(labelled.read(path), split)
    else:
        raise _unknown(name, list(_LABELLED))
    if not rows:
        raise DataError(
            f"{name!r} holds no labelled text for {split!r}; give at least {TEST_EVERY} different examples."
        )
    return Labelled([text for text, _ in rows], [label for _, label in rows])


def load_parts(
    train: str | Path, test: str | Path | None = None
) -> tuple[Labelled, Labelled | None]:
    """What to learn from and what to test on, as commands take it: two files are used whole, one source is split.

    train, test : sources as in load_labelled. A named set gives the part that is asked for; a file gives everything,
        unless both are the same file, which then gives its training and its test part
    returns (training data, test data or None)
    """
    one = test is not None and (
        str(train) == str(test) or Path(train).resolve() == Path(test).resolve()
    )

    def part(source: str | Path, split: str) -> Labelled:
        return load_labelled(source, split if one or str(source) in _LABELLED else "all")

    return part(train, "train"), None if test is None else part(test, "test")


def load_tagged(source: str | Path, split: str = "train") -> readers.Tagged:
    """Sentences as (tokens, tags): a CoNLL-style file (token, tag), "entities", or "toy"; split as in load_labelled."""
    _check_split(split)
    name, path = str(source), Path(source)
    if name == "toy":
        sentences = toy.tagged(2500)
    elif name == "entities" or path.is_file():
        sentences = readers.conll(_file(name) if name == "entities" else path)
    else:
        raise _unknown(name, ["entities", "toy"])
    pairs = [(tuple(tokens), tuple(tags)) for tokens, tags in sentences]
    kept = _part(labelled.different(pairs, name), split)
    sentences = [(list(tokens), list(tags)) for tokens, tags in kept]
    if not sentences:
        raise DataError(
            f"{name!r} holds no tagged sentence for {split!r}; give at least {TEST_EVERY} different ones."
        )
    return sentences


def load_similarity(name: str) -> list[tuple[str, str, float]]:
    """(word, word, human score) of "wordsim353" or "simlex999"."""
    if name not in ("wordsim353", "simlex999"):
        raise _unknown(name, ["wordsim353", "simlex999"])
    return readers.word_pairs(_file(name))


def load_analogies() -> list[tuple[str, str, str, str, str]]:
    """(section, a, b, c, d) of the set "analogies": a is to b as c is to d."""
    return readers.analogies(_file("analogies"))


def _part(examples: list[Example], split: str) -> list[Example]:
    """The training or the test examples: a fixed shuffle, one of TEST_EVERY for testing, original order kept."""
    if split == "all":
        return examples
    place = np.random.default_rng([0, 8]).permutation(len(examples)) % TEST_EVERY == 0
    return [
        example for example, test in zip(examples, place, strict=True) if test == (split == "test")
    ]


def _markov_documents() -> list[str]:
    model, rng = toy.hidden_markov(), np.random.default_rng([0, 9])
    return [model.text(model.sample(1000, rng)) for _ in range(200)]


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}; it is one of {', '.join(SPLITS)}.")


def _unknown(name: str, fitting: list[str]) -> DataError:
    """The sentence for a source that is neither a file nor a name that fits."""
    if name in {row.name for row in sets()}:
        return DataError(
            f"The data set {name!r} is of another kind; fitting here are {', '.join(fitting)}, or a file."
        )
    near = difflib.get_close_matches(name, fitting, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return DataError(
        f"{name!r} is neither an existing file nor a known set; known are {', '.join(fitting)}{hint}"
    )
