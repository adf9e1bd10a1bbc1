"""Label budgets: choose the few examples that a system may look at, and split them again.

Draws are stratified, so every class gets the same number, and nested: the 2 labels of a class are
among its 10. A curve over budgets then compares amounts of labels, not different draws.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import DataError

SPARSE = 16  # times as many characters as the labels have, and SMALL more, for a fixed width
SMALL = 2**18


def label_array(labels: ArrayLike) -> np.ndarray:
    """Labels as an array; texts of very different lengths as one of objects.

    NumPy gives every text of an array the room of the longest one.
    raises DataError    for texts among numbers, which NumPy would turn into texts, and for whole
        numbers that it would round

    >>> label_array(["ice", "sea"]).dtype.kind, label_array(["ice"] * 999 + ["a" * 999]).dtype.kind
    ('U', 'O')
    """
    if isinstance(labels, np.ndarray) or not isinstance(labels, Sequence):
        return np.asarray(labels)
    texts = [label for label in labels if isinstance(label, str)]
    if not texts:
        found = np.asarray(labels)
        if found.dtype.kind == "f" and all(isinstance(i, int | np.integer) for i in labels):
            raise DataError(
                "No type of 64 bits holds all of these whole numbers; give labels as texts."
            )
        return found
    if len(texts) < len(labels):
        raise DataError("Some labels are texts and others are not; expected one kind.")
    longest = max(map(len, texts))
    if longest * len(texts) > SPARSE * sum(map(len, texts)) + SMALL:
        return np.array(texts, dtype=object)
    return np.asarray(texts)


def label_budget(labels: ArrayLike, per_class: int, seed: int) -> np.ndarray:
    """Draw `per_class` examples of every class.

    Each class, in the order of the names, is shuffled by its own generator, which depends on the
    seed but not on the budget. A budget is a prefix of that order, so smaller budgets are inside
    larger ones.

    labels : (N,) one label per example
    returns (per_class * classes,) int64 indices into labels, ascending
    raises DataError        if a class has fewer than `per_class` examples, or per_class < 1

    >>> labels = ["ice", "sea"] * 4
    >>> label_budget(labels, 1, seed=0).tolist(), label_budget(labels, 2, seed=0).tolist()
    ([2, 5], [0, 1, 2, 5])
    """
    labels = label_array(labels)
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    asked = f"A budget of {per_class} labels per class"
    if labels.ndim != 1 or labels.size == 0 or per_class < 1:
        raise DataError(f"{asked} from {labels.size} examples: both must be ≥ 1.")
    if counts.min() < per_class:
        scarce = names[counts.argmin()]
        raise DataError(
            f"{asked} needs {per_class} examples of every class, "
            f"but {str(scarce)!r} has {counts.min()}; choose a smaller budget."
        )
    chosen = []
    for code, class_seed in enumerate(np.random.SeedSequence(seed).spawn(names.size)):
        members = np.flatnonzero(codes == code)
        shuffled = np.random.default_rng(class_seed).permutation(members)
        chosen.append(shuffled[:per_class])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def example_budget(n_examples: int, n: int, seed: int) -> np.ndarray:
    """Draw n of the examples, where they have no single label to draw by; smaller draws are inside.

    returns (n,) int64 indices, ascending
    raises DataError        if there are fewer than n examples, or n < 1

    >>> example_budget(7, 2, seed=1).tolist(), example_budget(7, 4, seed=1).tolist()
    ([2, 4], [0, 1, 2, 4])
    """
    if not 1 <= n <= n_examples:
        raise DataError(
            f"A budget of {n} labelled examples from {n_examples}; expected at least 1, and no "
            "more than there are; choose a smaller budget."
        )
    shuffled = np.random.default_rng([seed, 21]).permutation(n_examples)
    return np.sort(shuffled[:n])


def folds(labels: ArrayLike, n_folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified cross-validation inside a budget: every example is held out exactly once.

    labels : (N,) one label per example
    n_folds : wanted number; lowered to the size of the smallest class, so that every training part
              contains every class
    returns [(train indices, held-out indices), ...]; empty when a class has a single example

    >>> splits = folds(["ice", "ice", "sea", "sea"], n_folds=2, seed=0)
    >>> [(train.tolist(), held.tolist()) for train, held in splits]
    [([1, 3], [0, 2]), ([0, 2], [1, 3])]
    """
    _, codes, counts = np.unique(label_array(labels), return_inverse=True, return_counts=True)
    n_folds = min(n_folds, int(counts.min()))
    if n_folds < 2:
        return []
    rng = np.random.default_rng(seed)
    fold = np.empty(codes.size, dtype=np.int64)
    for code in range(counts.size):
        members = rng.permutation(np.flatnonzero(codes == code))
        fold[members] = np.arange(members.size) % n_folds
    splits = []
    for number in range(n_folds):
        train = np.flatnonzero(fold != number)
        held_out = np.flatnonzero(fold == number)
        splits.append((train, held_out))
    return splits
