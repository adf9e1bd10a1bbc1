"""A labelled task for the comparison: training posts, and a fixed sample of the test posts.

A task is texts with a label each, or sentences with a tag for each word. It knows how a budget of
labels is drawn from it, and how predictions are scored.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tinylm import data, files
from tinylm.data import tags as bio
from tinylm.errors import DataError

from .budgets import example_budget, label_array, label_budget
from .entities import entity_scores
from .metrics import accuracy, macro_f1

CLASSIFY = "classify"
TAG = "tag"
ALL = "all"  # as a budget: every label that the training set has
AS_TAGS = "tag:"  # before the name of a set that has tags and labels, or of a file
ONLY_TAGS = ("entities",)  # named sets that have tags alone
TAGGED_FILES = (".conll", ".bio")

Budget = int | str  # labels per class, or ALL
SAMPLE_SEED = 20  # fixed: every system, seed and run reads the same test texts


@dataclass(frozen=True)
class Task:
    """Texts and labels to learn from, and others to be tested on.

    name : as the user called it
    texts, labels : training     test_texts, test_labels : test; no text is in both
    n_test : how many test texts there were, of which `test_texts` is a sample
    """

    metric: ClassVar[str] = "accuracy"
    name: str
    texts: list[str]
    labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    n_test: int

    @property
    def inputs(self) -> list:
        """What a system learns from, in the order of `labels`."""
        return self.texts

    @property
    def test_inputs(self) -> list:
        """What a system is tested on, in the order of `test_labels`."""
        return self.test_texts

    @property
    def n_classes(self) -> int:
        """The number of classes, by which budgets count."""
        return np.unique(self.labels).size

    @property
    def largest_budget(self) -> int:
        """The labels per class that the training set can give."""
        return int(np.unique(self.labels, return_counts=True)[1].min())

    def draw(self, budget: Budget, seed: int) -> np.ndarray:
        """The rows of the training set that a system with a budget may look at, ascending.

        raises DataError    if there are not so many
        """
        if budget == ALL:
            return np.arange(len(self.labels))
        return label_budget(self.labels, budget, seed)

    def scores(self, predicted: ArrayLike) -> dict[str, float]:
        """The scores of predictions for the test part, by name."""
        return {
            "accuracy": accuracy(self.test_labels, predicted),
            "macro_f1": macro_f1(self.test_labels, predicted),
        }

    def fingerprint(self) -> str:
        """A hash of all texts and labels; a re-run compares it to be sure of the same data."""
        digest = hashlib.sha256()
        for part in (self.texts, self.labels.tolist(), self.test_texts, self.test_labels.tolist()):
            for item in part:
                digest.update(str(item).encode("utf-8", "surrogatepass"))
                digest.update(b"\0")
            digest.update(b"\1")
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class TaggedTask(Task):
    """Sentences with a tag for each word.

    texts, test_texts : the sentences, words with spaces between them
    labels, test_labels : objects, a tuple of tags for each sentence
    words, test_words : the words of each sentence

    A budget of n per class is as many sentences as n for each type of entity; which types are in
    them is left to chance, as it is where people label sentences.
    """

    metric: ClassVar[str] = "f1"
    words: list[list[str]]
    test_words: list[list[str]]

    @property
    def inputs(self) -> list:
        """The words of each sentence."""
        return self.words

    @property
    def test_inputs(self) -> list:
        """The words of each test sentence."""
        return self.test_words

    @property
    def n_classes(self) -> int:
        """The types of entities, at least one; tags without a type, such as "B", have the same."""
        found = {tag for tags in self.labels for tag in tags}
        types = {bio.split(tag)[1] for tag in found - {bio.OUTSIDE}}
        return max(len(types), 1)

    @property
    def largest_budget(self) -> int:
        """The sentences per type that the training set can give."""
        return len(self.labels) // self.n_classes

    def draw(self, budget: Budget, seed: int) -> np.ndarray:
        """As of a Task: the rows of the sentences."""
        n = len(self.labels)
        if budget == ALL:
            return np.arange(n)
        return example_budget(n, budget * self.n_classes, seed)

    def scores(self, predicted: Sequence[Sequence[str]]) -> dict[str, float]:
        """F1 of all entities, the mean F1 of their types, and the share of right tags."""
        found = entity_scores(self.test_labels.tolist(), predicted)
        of_types = [score.f1 for score in found.types.values()]
        return {
            "f1": found.f1,
            "macro_f1": float(np.mean(of_types)) if of_types else 0.0,
            "accuracy": found.accuracy,
        }


def kind_of(source: str | Path) -> tuple[str, str]:
    """What a source is read as, and its name: CLASSIFY, or TAG.

    >>> kind_of("newsgroups"), kind_of("entities"), kind_of("tag:toy"), kind_of("mine.conll")
    (('classify', 'newsgroups'), ('tag', 'entities'), ('tag', 'toy'), ('tag', 'mine.conll'))
    """
    name = str(source)
    if name.startswith(AS_TAGS):
        return TAG, name.removeprefix(AS_TAGS)
    if name in ONLY_TAGS or name.lower().endswith(TAGGED_FILES):
        return TAG, name
    return CLASSIFY, name


def as_labels(labels: ArrayLike) -> np.ndarray:
    """Labels as an array (N,) that classifier.json can store and give back unchanged.

    raises DataError    for a string that ends in NUL, which NumPy drops, and for labels that JSON
                        cannot hold

    >>> as_labels(["ice", "sea"]).tolist()
    ['ice', 'sea']
    """
    found = label_array(labels)
    if found.ndim == 1 and found.dtype.kind == "U":
        for label in labels:
            if isinstance(label, str) and label.endswith("\0"):
                raise DataError(
                    f"The label {label!r} ends in NUL, which NumPy drops; give it another name."
                )
    try:
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError("a number is not finite")
        files.as_json(np.unique(found).tolist())
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The labels cannot be kept ({error}); "
            "give strings without halves of characters, or numbers."
        ) from None
    return found


def load_task(source: str | Path, test_size: int) -> Task:
    """A named set with its own split, or a labelled file, a fifth of which becomes the test.

    test_size : keep a fixed sample of this many test texts; 0 keeps all
    raises DataError as `data.load_labelled`, or if there are fewer than two classes
    """
    kind, name = kind_of(source)
    if kind == TAG:
        return _tagged(str(source), name, test_size)
    train = data.load_labelled(source, split="train")
    test = data.load_labelled(source, split="test")
    labels = as_labels(train.labels)
    test_texts = list(test.texts)
    test_labels = as_labels(test.labels)
    n_classes = np.unique(labels).size
    if n_classes < 2:
        raise DataError(f"{source}: the labels name {n_classes} class; a task needs at least two.")
    n_test = len(test_texts)
    rows = _sample(n_test, test_size)
    test_texts = [test_texts[i] for i in rows]
    test_labels = test_labels[rows]
    return Task(str(source), list(train.texts), labels, test_texts, test_labels, n_test)


def _sample(n_test: int, test_size: int) -> np.ndarray:
    """The rows of the test part that are read, ascending: always the same ones."""
    if not test_size or n_test <= test_size:
        return np.arange(n_test)
    order = np.random.default_rng(SAMPLE_SEED).permutation(n_test)
    return np.sort(order[:test_size])


def _tagged(source: str, name: str, test_size: int) -> TaggedTask:
    """`load_task` for sentences with tags.   raises DataError if the tags mark no entities"""
    train = data.load_tagged(name, split="train")
    test = data.load_tagged(name, split="test")
    n_test = len(test)
    test = [test[i] for i in _sample(n_test, test_size)]
    if not bio.mark_entities(tag for _, tags in train for tag in tags):
        raise DataError(
            f"{name}: the tags mark no entities (B-type, I-type, O); a comparison of taggers "
            "measures entities."
        )
    words, labels = _parted(train)
    test_words, test_labels = _parted(test)
    texts = [" ".join(sentence) for sentence in words]
    test_texts = [" ".join(sentence) for sentence in test_words]
    parts = (texts, labels, test_texts, test_labels, n_test, words, test_words)
    return TaggedTask(source, *parts)


def _parted(sentences: list[tuple[list[str], list[str]]]) -> tuple[list[list[str]], np.ndarray]:
    """The words of sentences, and their tags as an array of objects."""
    labels = np.empty(len(sentences), dtype=object)
    for i, (_, tags) in enumerate(sentences):
        labels[i] = tuple(tags)
    return [words for words, _ in sentences], labels
