"""Label budgets: which few examples may be looked at, drawn stratified and nested, and how to split them again.

Nested means that the 2 labels of a class are among its 10: more labels are then really more, and a curve over
budgets compares amounts and not draws.
"""

import numpy as np

from tinylm.errors import DataError


def label_budget(labels, per_class: int, seed: int) -> np.ndarray:
    """Draw `per_class` examples of every class.

    Every class is shuffled once, by a generator that depends on the seed and not on the budget; a budget is a prefix
    of that order, hence nested. Classes are taken in the order of their names.

    labels : (N,) one label per example
    returns (per_class * classes,) int64 indices into labels, ascending
    raises DataError        if a class has fewer than `per_class` examples, or per_class < 1
    """
    labels = np.asarray(labels)
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if labels.ndim != 1 or labels.size == 0 or per_class < 1:
        raise DataError(
            f"A budget of {per_class} labels per class from {labels.size} examples: both must be ≥ 1."
        )
    if counts.min() < per_class:
        scarce = names[counts.argmin()]
        raise DataError(
            f"A budget of {per_class} labels per class needs {per_class} examples of every class, but {str(scarce)!r} "
            f"has {counts.min()}; choose a smaller budget."
        )
    chosen = []
    for code, seeds in enumerate(np.random.SeedSequence(seed).spawn(names.size)):
        chosen.append(
            np.random.default_rng(seeds).permutation(np.flatnonzero(codes == code))[:per_class]
        )
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def folds(labels, n_folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified cross-validation inside a budget: every example is held out exactly once.

    labels : (N,) one label per example
    n_folds : wanted number; lowered to the size of the smallest class, so that every fold can learn every class
    returns [(train indices, held-out indices), ...]; empty when a class has a single example, which cannot be split
    """
    _, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    n_folds = min(n_folds, int(counts.min()))
    if n_folds < 2:
        return []
    rng = np.random.default_rng(seed)
    fold = np.empty(codes.size, dtype=np.int64)
    for code in range(counts.size):
        members = rng.permutation(np.flatnonzero(codes == code))
        fold[members] = np.arange(members.size) % n_folds
    return [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(n_folds)]
