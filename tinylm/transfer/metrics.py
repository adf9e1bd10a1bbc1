"""How good is a classifier, and does it beat another: accuracy, macro-F1, spread over seeds, the paired comparison.

A number without its spread is an anecdote: with few labels the draw of the labels moves the accuracy by more than most
ideas do. So every system is measured on the same draws, and "A beats B" is said only where every draw says so.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tinylm.errors import ShapeError


def _pair(truth, predicted) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or truth.ndim != 1 or truth.size == 0:
        raise ShapeError(
            f"metrics: truth has shape {truth.shape} and predictions {predicted.shape}; expected two lists of the "
            "same length (N,), N ≥ 1; give one prediction for every true label."
        )
    return truth, predicted


def accuracy(truth, predicted) -> float:
    """The share of predictions that equal the truth.

    truth, predicted : (N,) labels      returns a number in [0, 1]
    raises ShapeError                   if the lengths differ or N is 0
    """
    truth, predicted = _pair(truth, predicted)
    return float(np.mean(truth == predicted))


def macro_f1(truth, predicted) -> float:
    """The F1 score of each class, averaged with every class counting the same, however rare.

        F1 = 2 TP / (2 TP + FP + FN)

    Classes are those that occur in either list; a class that is never right scores 0, as in scikit-learn with
    zero_division=0.

    truth, predicted : (N,) labels      returns a number in [0, 1]
    raises ShapeError                   if the lengths differ or N is 0
    """
    truth, predicted = _pair(truth, predicted)
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    true_codes, predicted_codes = codes[: truth.size], codes[truth.size :]
    hits = np.bincount(true_codes[true_codes == predicted_codes], minlength=classes.size)
    # 2 TP + FP + FN = how often the class was true + how often it was predicted; at least 1 for every listed class.
    seen = np.bincount(true_codes, minlength=classes.size) + np.bincount(
        predicted_codes, minlength=classes.size
    )
    return float(np.mean(2 * hits / seen))


@dataclass(frozen=True)
class Summary:
    """What several seeds say: mean, standard deviation, and a confidence interval of the mean.

    values : one score per seed · mean, std : n-1 in the denominator, 0 for one seed · low, high : the interval
    """

    values: tuple[float, ...]
    mean: float
    std: float
    low: float
    high: float

    def __str__(self) -> str:
        """Percent, as the tables print it: `61.3 ± 1.2`."""
        return f"{100 * self.mean:.1f} ± {100 * self.std:.1f}"


def summarise(values, level: float = 0.95) -> Summary:
    """Mean, standard deviation and Student's t interval of scores over seeds.

        mean ± t(level, n-1) * std / sqrt(n)

    values : n scores, one per seed     level : the coverage, e.g. 0.95
    returns a Summary; one seed tells nothing about the spread, so its interval is infinitely wide
    raises ShapeError                   if there is no score
    """
    values = np.asarray(list(values), dtype=np.float64)
    if values.size == 0:
        raise ShapeError("summarise: no scores were given; expected one per seed, at least one.")
    mean = float(values.mean())
    if values.size == 1:
        return Summary((mean,), mean, 0.0, -np.inf, np.inf)
    std = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, values.size - 1)) * std / np.sqrt(values.size)
    return Summary(tuple(values.tolist()), mean, std, mean - half, mean + half)


def beats(a, b) -> bool:
    """Does system A beat system B: every paired seed wins, and the mean difference exceeds the spread.

    a, b : (n,) scores on the same n seeds, in the same order
    The spread is the larger of the two standard deviations over seeds, the numbers printed behind the ± signs. A single
    seed has none, so it beats nothing.
    raises ShapeError                   if the lengths differ or are 0
    """
    a, b = (np.asarray(list(x), dtype=np.float64) for x in (a, b))
    if a.shape != b.shape or a.size == 0:
        raise ShapeError(
            f"beats: {a.size} scores against {b.size}; expected the same seeds for both systems, at least one; "
            "run the missing seeds first."
        )
    spread = max(summarise(a).std, summarise(b).std)
    return bool(a.size > 1 and np.all(a > b) and np.mean(a - b) > spread)
