"""Linear models for numbers and for choices among answers, on features that stay as they are.

    RidgeRegression     minimise  C * sum_n (x_n·w + b − y_n)²                          +  ½ ‖w‖²
    ChoiceRegression    minimise  C * sum_n −log softmax over the answers k of (x_nk·w)  +  ½ ‖w‖²

Both problems have one minimum, as softmax regression has (linear.py). The first is a system of
linear equations. The second is softmax regression with one vector for all answers: what counts is
how an answer differs from the others of the same example (McFadden 1973).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize, special

from tinylm.errors import ArgumentError, DataError, ShapeError
from tinylm.settings import above, argument

from ..adapted import best_rate
from ..budgets import folds

N_FOLDS = 3
LBFGS = {"maxiter": 1000, "gtol": 1e-6}


class RidgeRegression:
    """Least squares with an L2 penalty on the weights; the bias is not penalised.

    C : the trust in the data; or a grid from which cross-validation chooses the best
    seed : of the split of that cross-validation
    After `fit`: weights_ (F,1), bias_ (1,), C_ the one used.

    >>> model = RidgeRegression(C=1e6).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.predict([[5.0]]).round(3)
    array([11.])
    """

    def __init__(self, C: float | tuple[float, ...] = 1.0, seed: int = 0):
        grid = tuple(np.atleast_1d(C).tolist())
        argument("RidgeRegression", "C", grid, tuple[float, ...], above(0))
        if not grid:
            raise ArgumentError("RidgeRegression: C is empty; expected at least one number.")
        self.C = C
        self.seed = seed
        self.weights_ = None  # until fit
        self.bias_ = None

    def fit(self, features: ArrayLike, targets: ArrayLike) -> "RidgeRegression":
        """Find the minimum.   features : (N,F)   targets : (N,)   returns self

        raises ShapeError  if the lengths differ or N is 0
        raises DataError   if a number is not finite
        """
        x = np.asarray(features, np.float64)
        y = np.asarray(targets, np.float64)
        if x.ndim != 2 or y.shape != (len(x),) or not y.size:
            raise ShapeError(
                f"RidgeRegression: features of shape {x.shape} and targets of shape {y.shape}; "
                "expected (N, F) and (N,), one number for each row."
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise DataError("RidgeRegression: a feature or a target is NaN or infinite.")

        def score(split: tuple[np.ndarray, np.ndarray], c: float) -> float:
            train, held = split
            weights, bias = _least_squares(x[train], y[train], c)
            return -float(np.square(x[held] @ weights + bias - y[held]).sum())

        self.C_ = _choose(self.C, len(y), self.seed, score)
        weights, bias = _least_squares(x, y, self.C_)
        self.weights_ = weights[:, None]
        self.bias_ = np.array([bias])
        return self

    def predict(self, features: ArrayLike) -> np.ndarray:
        """The number of each row, (N,).   raises ShapeError before `fit`"""
        if self.weights_ is None:
            raise ShapeError("RidgeRegression: not fitted yet; call fit(features, targets) first.")
        return np.asarray(features) @ self.weights_[:, 0] + self.bias_[0]


def _least_squares(x: np.ndarray, y: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """w (F,) and b of the minimum.

    Centred, the problem has no bias: (XᵀX + I/2C) w = Xᵀy. With more features than examples the
    same w is Xᵀ(XXᵀ + I/2C)⁻¹y.
    """
    mean = x.mean(axis=0)
    centred = x - mean
    rest = y - y.mean()
    n_rows, width = x.shape
    if n_rows < width:
        gram = centred @ centred.T + np.eye(n_rows) / (2 * c)
        weights = centred.T @ _solved(gram, rest, c)
    else:
        gram = centred.T @ centred + np.eye(width) / (2 * c)
        weights = _solved(gram, centred.T @ rest, c)
    return weights, float(y.mean() - mean @ weights)


def _solved(gram: np.ndarray, rest: np.ndarray, c: float) -> np.ndarray:
    """The solution of gram w = rest.   raises DataError where I/2C is lost in rounding"""
    try:
        return linalg.solve(gram, rest, assume_a="pos")
    except linalg.LinAlgError:
        raise DataError(
            f"Ridge regression with C = {c:g} hardly holds its weights back, and these features "
            "do not settle them; choose a smaller C."
        ) from None


class ChoiceRegression:
    """Softmax regression in which the answers of one example compete; scores are x·w.

    C, seed : as in RidgeRegression
    After `fit`: weights_ (F,1), bias_ (1,) of 0, C_ the one used.

    >>> from tinylm.transfer.goals import Right
    >>> answers = [[0.0], [1.0], [5.0], [2.0], [3.0]]  # of two examples; the larger is right
    >>> model = ChoiceRegression(C=1.0).fit(answers, Right(np.array([2, 3]), np.array([1, 0])))
    >>> bool(model.weights_[0, 0] > 0)
    True
    """

    def __init__(self, C: float | tuple[float, ...] = 1.0, seed: int = 0):
        self.C = C
        self.seed = seed

    def fit(self, features: ArrayLike, targets: Any) -> "ChoiceRegression":
        """Find the minimum.   features : (R,F) of all answers   targets : a Right   returns self

        raises DataError  if an example has a single answer, or there is no example
        """
        x = np.asarray(features, np.float64)
        if not len(targets) or targets.counts.min() < 2:
            raise DataError("A choice needs at least two answers for each example; give some.")

        def score(split: tuple[np.ndarray, np.ndarray], c: float) -> float:
            train, held = split
            weights = _minimise(x[targets.rows(train)], targets[train], c)
            own = targets[held]
            log_p = _log_p(x[targets.rows(held)], own, weights)
            return float(np.sum(log_p.argmax(axis=1) == own.right))

        self.C_ = _choose(self.C, len(targets), self.seed, score)
        self.weights_ = _minimise(x, targets, self.C_)[:, None]
        self.bias_ = np.zeros(1)
        return self


def _log_p(x: np.ndarray, targets: Any, weights: np.ndarray) -> np.ndarray:
    """log p of every answer, (N, K); −inf where an example has fewer."""
    places, mask = targets.places()
    scores = np.where(mask, (x @ weights)[places], -np.inf)
    return scores - special.logsumexp(scores, axis=1, keepdims=True)


def _minimise(x: np.ndarray, targets: Any, c: float) -> np.ndarray:
    """L-BFGS on the mean loss, from 0.   x (R,F) -> w (F,)"""
    n = len(targets)
    places, mask = targets.places()
    right_rows = targets.begins + targets.right
    decay = 1.0 / (c * n)

    def objective(weights):
        log_p = _log_p(x, targets, weights)
        loss = -log_p[np.arange(n), targets.right].mean()
        share = np.zeros(len(x))  # p of each answer, less 1 for the right one
        share[places[mask]] = np.exp(log_p[mask])
        share[right_rows] -= 1
        slope = x.T @ share / n + decay * weights
        return loss + 0.5 * decay * (weights @ weights), slope

    first = np.zeros(x.shape[1])
    found = optimize.minimize(objective, first, jac=True, method="L-BFGS-B", options=LBFGS)
    return found.x


def _choose(C, n_examples, seed, score):
    """The one C that was given, or of several the best by cross-validation."""
    if np.isscalar(C):
        return float(C)
    return best_rate(C, folds(np.zeros(n_examples), N_FOLDS, seed), score)
