"""A labelled task as the comparison sees it: training posts, test posts, and which of them are read."""

import hashlib
from dataclasses import dataclass

import numpy as np

from tinylm import data, files
from tinylm.errors import DataError

SAMPLE_SEED = 20  # one fixed draw of test texts, the same for every system, seed and run


@dataclass(frozen=True)
class Task:
    """Texts and labels to learn from and to be tested on; the two never overlap.

    name : what the user called it · texts, labels : training · test_texts, test_labels : test
    n_test : how many test texts there were before the draw
    """

    name: str
    texts: list[str]
    labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    n_test: int

    def fingerprint(self) -> str:
        """A hash of everything in it, by which a re-run knows that its results are about the same texts."""
        digest = hashlib.sha256()
        for part in (self.texts, self.labels.tolist(), self.test_texts, self.test_labels.tolist()):
            for item in part:
                digest.update(str(item).encode("utf-8", "surrogatepass") + b"\0")
            digest.update(b"\1")
        return digest.hexdigest()[:16]


def as_labels(labels) -> np.ndarray:
    """Labels as an array (N,) that keeps them apart and that classifier.json can give back.

    raises DataError        for a string that ends in NUL, which NumPy drops, and for what JSON does not hold
    """
    found = np.asarray(labels)
    if found.ndim == 1 and found.dtype.kind == "U":
        for label in labels:
            if isinstance(label, str) and label.endswith("\0"):
                raise DataError(
                    f"The label {label!r} ends in NUL, which NumPy drops; give it another name."
                )
    try:
        files.as_json(np.unique(found).tolist())
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The labels cannot be kept ({error}); give strings without halves of characters, or numbers."
        ) from None
    return found


def load_task(source: str, test_size: int) -> Task:
    """A named set with its own split, or a labelled file of which a fifth is set aside as the test.

    test_size : test texts are drawn down to this many, always the same ones; 0 keeps all
    raises DataError as `data.load_labelled`, or if there are fewer than two classes
    """
    train, test = (
        data.load_labelled(source, split="train"),
        data.load_labelled(source, split="test"),
    )
    texts, labels = train.texts, as_labels(train.labels)
    test_texts, test_labels = test.texts, as_labels(test.labels)
    if np.unique(labels).size < 2:
        raise DataError(
            f"{source}: the labels name {np.unique(labels).size} class; a task needs at least two."
        )
    n_test = len(test_texts)
    if test_size and n_test > test_size:
        rows = np.sort(np.random.default_rng(SAMPLE_SEED).permutation(n_test)[:test_size])
        test_texts, test_labels = [test_texts[i] for i in rows], test_labels[rows]
    return Task(str(source), list(texts), labels, list(test_texts), test_labels, n_test)
