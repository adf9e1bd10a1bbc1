"""A labelled task as the comparison sees it: training posts, test posts, and which of them are read."""

import hashlib
from dataclasses import dataclass

import numpy as np

from tinylm import data
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


def load_task(source: str, test_size: int) -> Task:
    """A named set with its own split, or a labelled file of which a fifth is set aside as the test.

    test_size : test texts are drawn down to this many, always the same ones; 0 keeps all
    raises DataError as `data.load_labelled`, or if there are fewer than two classes
    """
    train, test = (
        data.load_labelled(source, split="train"),
        data.load_labelled(source, split="test"),
    )
    texts, labels, test_texts, test_labels = (
        train.texts,
        np.array(train.labels),
        test.texts,
        np.array(test.labels),
    )
    if np.unique(labels).size < 2:
        raise DataError(
            f"{source}: the labels name {np.unique(labels).size} class; a task needs at least two."
        )
    n_test = len(test_texts)
    if test_size and n_test > test_size:
        rows = np.sort(np.random.default_rng(SAMPLE_SEED).permutation(n_test)[:test_size])
        test_texts, test_labels = [test_texts[i] for i in rows], test_labels[rows]
    return Task(str(source), list(texts), labels, list(test_texts), test_labels, n_test)
