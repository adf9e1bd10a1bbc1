"""Softmax regression: the classifier on top of frozen features, and of TF-IDF.

    minimise  C * sum_n -log softmax(x_n W + b)[y_n]  +  ½ ‖W‖²

The problem is convex, so L-BFGS finds its one minimum and only C, the trust in the data, is left to
choose. The caller gives one C, or a grid from which cross-validation inside the labels chooses.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, sparse, special

from tinylm.errors import ArgumentError, DataError, ShapeError
from tinylm.finite import is_finite
from tinylm.kernels.runtime.pool import one_pool
from tinylm.settings import above, argument, at_least

from .budgets import folds, label_array
from .estimator import Estimator
from .metrics import accuracy

FeatureMatrix = ArrayLike | sparse.sparray  # (N, F)

GRID = tuple(10.0**k for k in range(-4, 3))  # values of C to choose from
LBFGS = {"maxiter": 5000, "gtol": 1e-7, "ftol": 64 * np.finfo(float).eps}
ROUGHLY = {**LBFGS, "maxiter": 1000, "gtol": 1e-4}  # near enough to count hits; C is fitted anew


def _matrix(features: FeatureMatrix):
    """Features as float64 (N,F), dense or CSR; the rest of the file treats both kinds alike."""
    if sparse.issparse(features):
        x = sparse.csr_array(features, dtype=np.float64)
    else:
        x = np.asarray(features, np.float64)
    if x.ndim != 2:
        raise ShapeError(
            f"SoftmaxRegression: features have shape {x.shape}; "
            "expected (N, F), one row per example."
        )
    if not is_finite(x.data if sparse.issparse(x) else x):
        raise DataError(
            "SoftmaxRegression: the features hold NaN or infinity; expected finite numbers."
        )
    return x


def _dense(x) -> np.ndarray:
    """A matrix of either kind as a dense array."""
    return x.toarray() if sparse.issparse(x) else x


def _rotate(x) -> tuple[np.ndarray, Callable]:
    """Turn the axes of a problem to those along which its features vary independently.

        N ≥ F:   XᵀX = Q S Qᵀ,   Z = X Q,      W = Q W_z
        N < F:   X Xᵀ = U S Uᵀ,  Z = U √S,     W = Xᵀ U / √S · W_z

    Both have the inner products of X, so neither the scores nor ‖W‖ change, and the problem in Z
    has the same solution. The best W lies in the span of the rows of X: twenty thousand words
    become a few hundred columns.

    x : (N,F)     returns Z (N,R) dense, R ≤ N and R ≤ F, and the function from W_z to W
    raises DataError  if an inner product exceeds float64
    """
    narrow = x.shape[0] >= x.shape[1]
    if narrow:
        x = _dense(x)
    with np.errstate(over="ignore", invalid="ignore"):
        products = _dense(x.T @ x if narrow else x @ x.T)
    if not is_finite(products):
        raise DataError(
            "SoftmaxRegression: the squares of the features exceed float64; expected features "
            "below 1e150, such as standardised ones."
        )
    values, vectors = np.linalg.eigh(products)
    if narrow:
        return x @ vectors, lambda w: vectors @ w
    kept = values > 1e-12 * max(values[-1], 1e-300)
    root = np.sqrt(values[kept])
    vectors = vectors[:, kept]
    return vectors * root, lambda w: x.T @ (vectors @ (w / root[:, None]))


class SoftmaxRegression(Estimator):
    """Multinomial logistic regression with an L2 penalty on the weights, computed in float64.

    The bias is not penalised.
    C : the trust in the data, with scikit-learn's meaning; or a grid from which cross-validation
        chooses the best, the smaller at a tie
    n_folds, seed : the split of that cross-validation
    After `fit`: classes_ (K,), weights_ (F,K), bias_ (K,), C_ the one used.
    Source: the optimum is that of scikit-learn's `LogisticRegression`, for three classes and more.
    Differs: two classes get two weight vectors here (softmax), one there.

    >>> model = SoftmaxRegression(C=1.0).fit([[0.0], [1.0], [9.0]], ["low", "low", "high"])
    >>> model.predict([[2.0], [8.0]]).tolist()
    ['low', 'high']
    """

    kind = "classifier"
    fitted = "weights_"
    weights_: np.ndarray | None = None  # until fit
    bias_: np.ndarray | None = None

    def __init__(self, C: float | tuple[float, ...] = 1.0, n_folds: int = 3, seed: int = 0):
        grid = tuple(np.atleast_1d(C).tolist())
        argument("SoftmaxRegression", "C", grid, tuple[float, ...], above(0))
        if not grid:
            raise ArgumentError("SoftmaxRegression: C is empty; expected at least one number.")
        argument("SoftmaxRegression", "n_folds", n_folds, int, at_least(0))
        argument("SoftmaxRegression", "seed", seed, int, at_least(0))
        self.C = C
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, features: FeatureMatrix, labels: ArrayLike) -> "SoftmaxRegression":
        """Find the minimum.

        features : (N,F), dense or scipy.sparse     labels : (N,)     returns self
        raises ShapeError       if the lengths differ
        raises DataError        if there are fewer than two classes, or a feature is not finite or
            its square is not
        """
        x = _matrix(features)
        labels = label_array(labels)
        if labels.shape != (x.shape[0],):
            raise ShapeError(
                f"SoftmaxRegression: {x.shape[0]} rows of features, but labels of shape "
                f"{labels.shape}."
            )
        classes, codes = np.unique(labels, return_inverse=True)
        if classes.size < 2:
            raise DataError(
                f"SoftmaxRegression: {classes.size} class in the labels; expected at least two."
            )
        with one_pool():  # thousands of small products: a second pool would cost a factor of seven
            z, rotate_back = _rotate(x)
            self.classes_ = classes
            self.weights_ = None  # until the search ends
            self.C_ = float(self.C) if np.isscalar(self.C) else self._choose(z, codes)
            weights, self.bias_ = self._minimise(z, codes, self.C_)
            self.weights_ = rotate_back(weights)
        return self

    def _choose(self, x: np.ndarray, codes: np.ndarray) -> float:
        """The C of the grid with the best held-out accuracy.

        Within a fold, C grows and each minimum is the start of the next search. Where a class has
        one example, nothing can be held out, and the middle of the grid is taken.
        """
        grid = sorted(float(c) for c in self.C)
        splits = folds(codes, self.n_folds, self.seed)
        if not splits or len(grid) == 1:
            return grid[len(grid) // 2]
        hits = np.zeros(len(grid))
        for train, held in splits:
            start = None
            for i, c in enumerate(grid):
                start = self._minimise(x[train], codes[train], c, start, ROUGHLY)
                weights, bias = start
                predicted = np.argmax(x[held] @ weights + bias, axis=1)
                hits[i] += held.size * accuracy(codes[held], predicted)
        return grid[int(np.argmax(hits))]

    def _minimise(
        self,
        x: np.ndarray,
        codes: np.ndarray,
        c: float,
        start: tuple[np.ndarray, np.ndarray] | None = None,
        options: dict = LBFGS,
    ) -> tuple[np.ndarray, np.ndarray]:
        """L-BFGS on the mean loss, from `start` = (W, b) or zero. Returns W (F,K) and b (K,).

        It moves V = W / s. The curvature along feature j is at most ½ mean(x_j²) + λ (Böhning
        1992), and s_j is one over its root, so that no axis is much steeper than another.
        """
        n, width = x.shape
        n_classes = self.classes_.size
        size = width * n_classes
        rows = np.arange(n)
        decay = 1.0 / (c * n)
        scale = 1 / np.sqrt(0.5 * (x * x).mean(axis=0) + decay)[:, None]  # (F,1)
        scaled = x * scale.T  # (N,F)
        transposed = np.ascontiguousarray(scaled.T)
        penalty = decay * scale**2

        def parts(flat):
            """One vector of all parameters -> V (F,K), b (K,)."""
            return flat[:size].reshape(width, n_classes), flat[size:]

        def objective(flat):
            v, b = parts(flat)
            scores = scaled @ v + b  # (N,F) @ (F,K) -> (N,K)
            scores -= scores.max(axis=1, keepdims=True)
            p = np.exp(scores)
            total = p.sum(axis=1, keepdims=True)
            cross_entropy = (np.log(total[:, 0]) - scores[rows, codes]).mean()
            residual = p / total
            residual[rows, codes] -= 1.0
            residual /= n
            pull = penalty * v
            dv = transposed @ residual + pull  # (F,N) @ (N,K) -> (F,K)
            loss = cross_entropy + 0.5 * (pull * v).sum()
            return loss, np.concatenate([dv.ravel(), residual.sum(axis=0)])

        if start is None:
            first = np.zeros(size + n_classes)
        else:
            weights, bias = start
            first = np.concatenate([(weights / scale).ravel(), bias])
        found = optimize.minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
        v, b = parts(found.x)
        return v * scale, b

    def decision_function(self, features: FeatureMatrix) -> np.ndarray:
        """The logits, (N,K).

        raises ShapeError before `fit`, or if the number of features is not that of `fit`
        raises DataError if a feature is not finite
        """
        x = _matrix(features)
        if self.weights_ is None:
            raise ShapeError("SoftmaxRegression: not fitted yet; call fit(features, labels) first.")
        expected = self.weights_.shape[0]
        if x.shape[1] != expected:
            raise ShapeError(
                f"SoftmaxRegression: {x.shape[1]} features, but it was fitted on {expected}."
            )
        return x @ self.weights_ + self.bias_

    def predict_proba(self, features: FeatureMatrix) -> np.ndarray:
        """Probabilities, (N,K), columns in the order of classes_."""
        return special.softmax(self.decision_function(features), axis=1)

    def predict(self, features: FeatureMatrix) -> np.ndarray:
        """The most probable label of each row, (N,)."""
        best = np.argmax(self.decision_function(features), axis=1)
        return self.classes_[best]

    def score(self, features: FeatureMatrix, labels: ArrayLike) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(features))
