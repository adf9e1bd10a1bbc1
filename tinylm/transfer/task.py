"""A labelled task for the comparison: training posts, and a fixed sample of the test posts."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tinylm import data, files
from tinylm.errors import DataError

from .budgets import label_array

SAMPLE_SEED = 20  # fixed: every system, seed and run reads the same test texts


@dataclass(frozen=True)
class Task:
    """Texts and labels to learn from, and others to be tested on.

    name : as the user called it
    texts, labels : training     test_texts, test_labels : test; no text is in both
    n_test : how many test texts there were, of which `test_texts` is a sample
    """

    name: str
    texts: list[str]
    labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    n_test: int

    def fingerprint(self) -> str:
        """A hash of all texts and labels; a re-run compares it to be sure of the same data."""
        digest = hashlib.sha256()
        for part in (self.texts, self.labels.tolist(), self.test_texts, self.test_labels.tolist()):
            for item in part:
                digest.update(str(item).encode("utf-8", "surrogatepass"))
                digest.update(b"\0")
            digest.update(b"\1")
        return digest.hexdigest()[:16]


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


def load_task(source: str, test_size: int) -> Task:
    """A named set with its own split, or a labelled file, a fifth of which becomes the test.

    test_size : keep a fixed sample of this many test texts; 0 keeps all
    raises DataError as `data.load_labelled`, or if there are fewer than two classes
    """
    train = data.load_labelled(source, split="train")
    test = data.load_labelled(source, split="test")
    labels = as_labels(train.labels)
    test_texts = list(test.texts)
    test_labels = as_labels(test.labels)
    n_classes = np.unique(labels).size
    if n_classes < 2:
        raise DataError(f"{source}: the labels name {n_classes} class; a task needs at least two.")
    n_test = len(test_texts)
    if test_size and n_test > test_size:
        order = np.random.default_rng(SAMPLE_SEED).permutation(n_test)
        rows = np.sort(order[:test_size])
        test_texts = [test_texts[i] for i in rows]
        test_labels = test_labels[rows]
    return Task(str(source), list(train.texts), labels, test_texts, test_labels, n_test)
