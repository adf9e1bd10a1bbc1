"""How good is a classifier, and does it beat another one?

With few labels, the draw of the labels moves the accuracy more than most ideas do. So every system
is measured on the same draws, a score is printed with its spread, and "A beats B" needs every draw.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tinylm.errors import ArgumentError, ShapeError
from tinylm.settings import argument, from_to_below

from .budgets import label_array

TEXT = "US"  # kinds of NumPy's arrays
NUMBERS = "biuf"


def _pair(truth: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both lists as arrays of one shape (N,), N ≥ 1.   raises ShapeError"""
    truth = label_array(truth)
    predicted = label_array(predicted)
    if truth.shape != predicted.shape or truth.ndim != 1 or truth.size == 0:
        raise ShapeError(
            f"metrics: truth has shape {truth.shape} and predictions {predicted.shape}; expected "
            "two lists of the same length (N,), N ≥ 1; give one prediction for every true label."
        )
    if truth.dtype.kind in TEXT and predicted.dtype.kind in NUMBERS:
        truth, predicted = predicted, truth
    if truth.dtype.kind in NUMBERS and predicted.dtype.kind in TEXT:
        raise ArgumentError(
            f"metrics: some labels are numbers, for example {truth[0].item()!r}, and others texts, "
            f"for example {str(predicted[0])!r}; expected one kind."
        )
    return truth, predicted


def _numbers(truth: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """As `_pair`, of numbers.   raises ShapeError; ArgumentError for labels that are no numbers"""
    truth, predicted = _pair(truth, predicted)
    for values in (truth, predicted):
        if values.dtype.kind not in NUMBERS:
            raise ArgumentError(
                f"metrics: {str(values[0])!r} is no number; "
                "a correlation and an error need numbers, accuracy and macro_f1 take any labels."
            )
    return truth, predicted


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The share of predictions that equal the truth.

    truth, predicted : (N,) labels      returns a number in [0, 1]
    raises ShapeError                   if the lengths differ or N is 0

    >>> accuracy(["ice", "sea", "sea", "sky"], ["ice", "sea", "sky", "sky"])
    0.75
    """
    truth, predicted = _pair(truth, predicted)
    return float(np.mean(truth == predicted))


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of the F1 scores of all classes; a rare class counts as much as a frequent one.

        F1 = 2 TP / (2 TP + FP + FN)

    The classes are those that occur in either list. A class that is never predicted correctly
    scores 0, as in scikit-learn with zero_division=0.

    truth, predicted : (N,) labels      returns a number in [0, 1]
    raises ShapeError                   if the lengths differ or N is 0

    >>> macro_f1(["ice", "ice", "ice", "sea"], ["ice", "ice", "sea", "sea"])  # (4/5 + 2/3) / 2
    0.7333333333333334
    """
    truth, predicted = _pair(truth, predicted)
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    true_codes = codes[: truth.size]
    predicted_codes = codes[truth.size :]
    correct = true_codes[true_codes == predicted_codes]
    hits = np.bincount(correct, minlength=classes.size)
    # 2 TP + FP + FN is how often the class was true plus how often it was predicted.
    # Every listed class occurs, so this is never 0.
    times_true = np.bincount(true_codes, minlength=classes.size)
    times_predicted = np.bincount(predicted_codes, minlength=classes.size)
    scores = 2 * hits / (times_true + times_predicted)
    return float(np.mean(scores))


def pearson(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Pearson's correlation: how nearly predictions lie on a line of the truth.

        r = Σ (x − mean)(y − mean) / √(Σ (x − mean)² · Σ (y − mean)²)

    truth, predicted : (N,) numbers     returns a number in [-1, 1]; 0 where one of them is constant
    raises ShapeError                   if the lengths differ or N is 0
    raises ArgumentError                for texts in place of numbers

    >>> round(pearson([1, 2, 3], [10, 20, 60]), 3)
    0.945
    """
    truth, predicted = _numbers(truth, predicted)
    x = truth - np.mean(truth, dtype=np.float64)
    y = predicted - np.mean(predicted, dtype=np.float64)
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    if not lengths or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return 0.0
    return float(np.clip(x @ y / lengths, -1, 1))


def spearman(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Spearman's correlation: Pearson's of the ranks; equal values share their mean rank.

    truth, predicted : (N,) numbers     returns a number in [-1, 1]; 0 where one of them is constant
    raises ShapeError                   if the lengths differ or N is 0
    raises ArgumentError                for texts in place of numbers

    >>> round(spearman([1, 2, 3], [10, 20, 60]), 3)
    1.0
    """
    truth, predicted = _numbers(truth, predicted)
    return pearson(stats.rankdata(truth), stats.rankdata(predicted))


def mean_squared_error(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of (x − y)².

    truth, predicted : (N,) numbers
    raises ShapeError   if the lengths differ or N is 0, ArgumentError  for texts

    >>> mean_squared_error([1, 2], [1, 4])
    2.0
    """
    truth, predicted = _numbers(truth, predicted)
    return float(np.mean(np.square(np.subtract(truth, predicted, dtype=np.float64))))


@dataclass(frozen=True)
class Summary:
    """The scores of several seeds: their mean, spread, and a confidence interval of the mean.

    values : one score per seed     mean, std : std divides by n - 1, and is 0 for one seed
    low, high : the ends of the interval
    """

    values: tuple[float, ...]
    mean: float
    std: float
    low: float
    high: float

    def __str__(self) -> str:
        """Percent, as the tables print it.

        >>> print(summarise([0.60, 0.62]))
        61.0 ± 1.4
        """
        return f"{100 * self.mean:.1f} ± {100 * self.std:.1f}"


def summarise(values: Iterable[float], level: float = 0.95) -> Summary:
    """Mean, standard deviation and Student's t interval of scores over seeds.

        mean ± t(level, n-1) * std / sqrt(n)

    values : n scores, one per seed     level : the coverage, e.g. 0.95
    returns a Summary; a single seed tells nothing about the spread, so its interval is infinite
    raises ShapeError                   if there is no score
    raises ArgumentError                for a level outside [0, 1), such as a percentage

    >>> interval = summarise([0.60, 0.62, 0.64])
    >>> print(f"{interval.low:.2f} to {interval.high:.2f}")
    0.57 to 0.67
    """
    level = argument("summarise", "level", level, float, from_to_below(0, 1))
    values = np.asarray(list(values), dtype=np.float64)
    if values.size == 0:
        raise ShapeError("summarise: no scores were given; expected one per seed, at least one.")
    mean = float(values.mean())
    if values.size == 1:
        return Summary((mean,), mean, 0.0, -np.inf, np.inf)
    std = float(values.std(ddof=1))
    quantile = float(stats.t.ppf(0.5 + level / 2, values.size - 1))
    half = quantile * std / np.sqrt(values.size)
    return Summary(tuple(values.tolist()), mean, std, mean - half, mean + half)


def beats(a: Iterable[float], b: Iterable[float]) -> bool:
    """Whether system A beats system B: on every seed, and in the mean by more than the spread.

    The spread is the larger of the two standard deviations, which the tables print after the ±. One
    seed has no spread, so it beats nothing.
    a, b : (n,) scores on the same n seeds, in the same order
    raises ShapeError                   if the lengths differ or are 0

    >>> beats([0.61, 0.63, 0.64], [0.55, 0.56, 0.58])
    True
    >>> beats([0.61, 0.63, 0.64], [0.55, 0.64, 0.58])  # the second seed loses
    False
    """
    a = np.asarray(list(a), dtype=np.float64)
    b = np.asarray(list(b), dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ShapeError(
            f"beats: {a.size} scores against {b.size}; expected the same seeds for both systems, "
            "at least one; run the missing seeds first."
        )
    spread = max(summarise(a).std, summarise(b).std)
    wins_everywhere = np.all(a > b)
    return bool(a.size > 1 and wins_everywhere and np.mean(a - b) > spread)
