"""From a name or a path to texts and labels: the toy language, a named set, or a file or folder.

Labelled data has two parts that never mix. A set that is published with a test part keeps it.
Elsewhere every fifth example, in an order fixed once, is the test part, after repeated texts were
dropped. Texts for pretraining come from the training part only.
"""

import difflib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tinylm.errors import DataError
from tinylm.files import is_file, read_text

from . import fetch, labelled, readers, tagged, toy
from .sets import sets

TEST_EVERY = 5  # a set without a published split gives one example of five to testing
SPLITS = ("train", "test", "all")
SIMILARITY = ("wordsim353", "simlex999")
TAGGED = ("entities", "toy")
Example = TypeVar("Example")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Labelled:
    """Texts with one label each, in the same order."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.texts)


# --- the labelled sets, by name: split -> rows


def _newsgroups(split: str) -> readers.Rows:
    paths = fetch.get("newsgroups")
    parts = ("train", "test") if split == "all" else (split,)
    rows = []
    for part in parts:
        rows += readers.newsgroups(paths[f"20newsgroups-{part}.tab"])
    return rows


def _questions(split: str, fine: bool = False) -> readers.Rows:
    return split_part(readers.questions(only_file("questions"), fine), split)


def _questions_fine(split: str) -> readers.Rows:
    return _questions(split, fine=True)


def _movies(split: str) -> readers.Rows:
    return split_part(readers.movies(only_file("movies")), split)


def _spam(split: str) -> readers.Rows:
    return split_part(readers.spam(only_file("spam")), split)


def _toy(split: str, task: str = "topic") -> readers.Rows:
    rows = []
    if split in ("train", "all"):
        rows += toy.labelled(3000, 1, task)
    if split in ("test", "all"):
        rows += toy.labelled(600, 2, task)
    return rows


def _toy_sentiment(split: str) -> readers.Rows:
    return _toy(split, "sentiment")


_LABELLED: Mapping[str, Callable[[str], readers.Rows]] = {
    "newsgroups": _newsgroups,
    "questions": _questions,
    "questions-fine": _questions_fine,
    "movies": _movies,
    "spam": _spam,
    "toy": _toy,
    "toy-sentiment": _toy_sentiment,
}


# --- the sets of plain text, by name: documents


def _kjv() -> list[str]:
    return readers.kjv(only_file("kjv"))


def _wikipedia() -> list[str]:
    articles = readers.articles(only_file("wikipedia"))
    return [readers.plain_text(markup) for _, markup in articles]


def dialogs(split: str) -> tuple[readers.Rows, list[int]]:
    """All pairs of `dialogs`, statement and reply, and the places of those in a part.

    A pair that people say again and again is never in both parts: the training part leaves it out.
    """
    pairs = [pair for pair in readers.dialogs(only_file("dialogs")) if all(pair)]
    places = split_part(list(range(len(pairs))), split)
    if split == "train":
        tested = {pairs[i] for i in split_part(list(range(len(pairs))), "test")}
        places = [i for i in places if pairs[i] not in tested]
    return pairs, places


def _dialogs() -> list[str]:
    pairs, places = dialogs("train")
    return ["\n".join(pairs[i]) for i in places]


def _entities() -> list[str]:
    return [" ".join(tokens) for tokens, _ in load_tagged("entities", "train")]


def _toy_markov() -> list[str]:
    model = toy.hidden_markov()
    rng = np.random.default_rng([0, 9])
    return [model.text(model.sample(1000, rng)) for _ in range(200)]


_TEXTS: Mapping[str, Callable[[], list[str]]] = {
    "kjv": _kjv,
    "wikipedia": _wikipedia,
    "dialogs": _dialogs,
    "entities": _entities,
    "toy-markov": _toy_markov,
}


def only_file(name: str) -> Path:
    """The file of a named set that has only one."""
    (path,) = fetch.get(name).values()
    return path


# --- loading


def load_texts(source: str | Path, leave_out: str | Path | None = None) -> list[str]:
    """The documents of a source, for pretraining. Of labelled data this is the training part only.

    source : a .txt file (one document), a folder of them (one document each), a labelled .tsv or
        .jsonl file (its labels are not read), a named set, "toy", or "toy-markov"
    leave_out : a folder whose files are not read if it lies in the source. A run that writes into
        its own source leaves out its own folder: it never trains on its own vocabulary, and finds
        the same text when it is resumed
    raises DataError        if the source is missing, unknown, empty or damaged

    >>> load_texts("toy")[0][:48]
    'Lonave Tobadu in Musude borezi the didaki poso .'
    """
    name = str(source)
    path = Path(source)
    if name in _LABELLED:
        texts = load_labelled(name, "train").texts
    elif name in _TEXTS:
        texts = _TEXTS[name]()
    elif os.path.isdir(path):
        texts = [read_text(file) for file in _documents(path, leave_out)]
    elif os.path.exists(path) and labelled.kind(path) != "text":
        rows = labelled.read(path, labelled=False)
        texts = [text for text, _ in split_part(rows, "train")]
    elif os.path.exists(path):
        texts = [read_text(path)]
    else:
        raise unknown_source(name, [*_LABELLED, *_TEXTS])
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError(f"{name!r} is empty: it holds no text; give a source with some text in it.")
    return texts


def _documents(folder: Path, leave_out: str | Path | None) -> list[Path]:
    """The .txt files in and below a folder, sorted, without those in `leave_out`."""
    files = sorted(folder.rglob("*"))
    found = [file for file in files if file.suffix.lower() == ".txt" and os.path.isfile(file)]
    if leave_out is not None:
        own = Path(leave_out).resolve()
        if own.is_relative_to(folder.resolve()):
            found = [file for file in found if not file.resolve().is_relative_to(own)]
    if not found:
        besides = "" if leave_out is None else f" besides those in {str(leave_out)!r}"
        raise DataError(
            f"The folder {str(folder)!r} holds no .txt file{besides}; put one document into each."
        )
    return found


def load_labelled(source: str | Path, split: str = "train") -> Labelled:
    """Texts and labels of a classification set.

    source : a .tsv file (text<TAB>label) or .jsonl file ({"text", "label"}), see labelled.py; a
        named set (newsgroups, questions, questions-fine, movies, spam); "toy" (topics) or
        "toy-sentiment"
    split : "train", "test" or "all"
    raises DataError        if the source is missing, unknown, empty or damaged

    >>> data = load_labelled("toy", "test")
    >>> len(data), data.labels[0]
    (600, 'cooking')
    """
    name = str(source)
    path = Path(source)
    check_split(split)
    if name in _LABELLED:
        rows = _LABELLED[name](split)
    elif is_file(path):
        rows = split_part(labelled.read(path), split)
    else:
        raise unknown_source(name, _LABELLED)
    if not rows:
        raise DataError(
            f"{name!r} holds no labelled text for {split!r}; "
            f"give at least {TEST_EVERY} different examples."
        )
    texts = [text for text, _ in rows]
    labels = [label for _, label in rows]
    return Labelled(texts, labels)


def load_parts(
    train: str | Path, test: str | Path | None = None
) -> tuple[Labelled, Labelled | None]:
    """Training data and test data, from the two sources that a command was given.

    A named set gives the part that is asked for. A file gives everything, unless both sources are
    the same file: then it gives its training part and its test part.

    train, test : sources as in load_labelled
    returns (training data, test data or None)
    """
    return both_parts(load_labelled, _LABELLED, train, test)


def both_parts(
    load: Callable[[str | Path, str], Loaded],
    named: Collection[str],
    train: str | Path,
    test: str | Path | None,
) -> tuple[Loaded, Loaded | None]:
    """`load_parts` of a kind of data: `load` reads a source, `named` are the sets of that kind."""
    is_one_source = test is not None and is_same(train, test)

    def part(source: str | Path, split: str) -> Loaded:
        is_split = is_one_source or str(source) in named
        return load(source, split if is_split else "all")

    training = part(train, "train")
    if test is None:
        return training, None
    return training, part(test, "test")


def is_same(first: str | Path, second: str | Path) -> bool:
    """Whether two sources are one name or one file.

    >>> is_same("toy", "toy"), is_same("a.txt", "./a.txt"), is_same("toy", "entities")
    (True, True, False)
    """
    return str(first) == str(second) or Path(first).resolve() == Path(second).resolve()


def load_tagged(source: str | Path, split: str = "train") -> tagged.Tagged:
    """Sentences with a tag for each token.

    source : a CoNLL-style file, see tagged.py; the named set "entities"; or "toy"
    split : "train", "test" or "all"
    returns [(tokens, tags)], tags of entities as BIO
    raises DataError        if the source is missing, unknown, empty or damaged

    >>> tokens, tags = load_tagged("toy")[0]
    >>> tokens[:3], tags[:3]
    (['Ludu', 'in', 'Gagi'], ['B-person', 'O', 'B-place'])
    """
    check_split(split)
    name = str(source)
    path = Path(source)
    if name == "toy":
        sentences = toy.tagged(2500)
    elif name == "entities":
        sentences = tagged.read(only_file(name))
    elif is_file(path):
        sentences = tagged.read(path)
    else:
        raise unknown_source(name, TAGGED)
    pairs = [(tuple(tokens), tuple(tags)) for tokens, tags in sentences]
    kept = split_part(labelled.different(pairs, name), split)
    if not kept:
        raise DataError(
            f"{name!r} holds no tagged sentence for {split!r}; "
            f"give at least {TEST_EVERY} different ones."
        )
    return [(list(tokens), list(tags)) for tokens, tags in kept]


def load_tagged_parts(
    train: str | Path, test: str | Path | None = None
) -> tuple[tagged.Tagged, tagged.Tagged | None]:
    """Training sentences and test sentences, by the rules of `load_parts`.

    train, test : sources as in load_tagged
    returns (training sentences, test sentences or None)
    """
    return both_parts(load_tagged, TAGGED, train, test)


def load_similarity(name: str) -> list[tuple[str, str, float]]:
    """Pairs of words with the similarity that people saw in them: (word, word, score 0 to 10).

    name : "wordsim353" or "simlex999"
    raises DataError        for another name
    """
    if name not in SIMILARITY:
        raise unknown_source(name, SIMILARITY)
    return readers.word_pairs(only_file(name))


def load_analogies() -> list[tuple[str, str, str, str, str]]:
    """The set "analogies" as (section, a, b, c, d): a is to b as c is to d."""
    return readers.analogies(only_file("analogies"))


def split_part(examples: list[Example], split: str) -> list[Example]:
    """The training or the test examples, in their old order.

    One of TEST_EVERY is for testing. The seed is fixed, so it is always the same ones.
    """
    if split == "all":
        return examples
    shuffled = np.random.default_rng([0, 8]).permutation(len(examples))
    is_test = shuffled % TEST_EVERY == 0
    wanted = is_test if split == "test" else ~is_test
    return [example for example, keep in zip(examples, wanted, strict=True) if keep]


def check_split(split: str) -> None:
    """raises DataError for a split that is none of SPLITS"""
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}; it is one of {', '.join(SPLITS)}.")


def unknown_source(name: str, fitting: Collection[str]) -> DataError:
    """The error for a source that is neither a file nor a fitting name."""
    names = ", ".join(fitting)
    if name in {row.name for row in sets()}:
        return DataError(
            f"The data set {name!r} is of another kind; fitting here are {names}, or a file."
        )
    near = difflib.get_close_matches(name, list(fitting), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return DataError(
        f"{name!r} is neither an existing file nor a known set; known are {names}{hint}"
    )
