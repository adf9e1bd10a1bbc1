"""Softmax regression: the classifier on top of frozen features, and of TF-IDF.

    minimise  C * sum_n -log softmax(x_n W + b)[y_n]  +  ½ ‖W‖²

The problem is convex, so there is nothing to tune but C, the trust in the data; L-BFGS finds the one minimum.
C is chosen by cross-validation inside the labels one has, or given.
"""

import numpy as np
from scipy import optimize, sparse, special

from tinylm.errors import DataError, ShapeError
from tinylm.settings import above, argument
from tinylm.transfer.budgets import folds
from tinylm.transfer.metrics import accuracy

GRID = tuple(10.0**k for k in range(-4, 3))


def _matrix(features):
    """float64 (N,F), dense or CSR; the one place where the two kinds are told apart."""
    x = (
        sparse.csr_array(features, dtype=np.float64)
        if sparse.issparse(features)
        else np.asarray(features, np.float64)
    )
    if x.ndim != 2:
        raise ShapeError(
            f"SoftmaxRegression: features have shape {x.shape}; expected (N, F), one row per example."
        )
    return x


def _rotate(x):
    """More features than examples: the best W lies in the span of the rows, so turn that span into the axes.

        X Xᵀ = U S Uᵀ,   Z = U √S  has the same inner products as X,   W = (Xᵀ U / √S) W_z

    Turning changes neither the scores nor ‖W‖, so the problem in Z, (N,N) at most, has the same solution: twenty
    thousand words become a few hundred columns. returns Z (N,R) dense and the map from W_z to W, or X as it is
    """
    if x.shape[0] >= x.shape[1]:
        return (x.toarray() if sparse.issparse(x) else x), lambda w: w
    gram = x @ x.T
    values, vectors = np.linalg.eigh(gram.toarray() if sparse.issparse(gram) else gram)
    kept = values > 1e-12 * max(values[-1], 1e-300)
    root, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return vectors * root, lambda w: x.T @ (vectors @ (w / root[:, None]))


class SoftmaxRegression:
    """Multinomial logistic regression with an L2 penalty on the weights (not on the bias), computed in float64.

    C : the trust in the data, scikit-learn's meaning; or a grid from which cross-validation chooses the best, the
        smaller at a tie
    n_folds, seed : the split of that cross-validation
    After `fit`: classes_ (K,), weights_ (F,K), bias_ (K,), C_ the one used.
    Source: the optimum is scikit-learn's `LogisticRegression`, for three classes and more. Differs: two classes get
    two weight vectors here (softmax), one there.
    """

    def __init__(self, C=1.0, n_folds: int = 3, seed: int = 0):
        grid = tuple(np.atleast_1d(C).tolist())
        argument("SoftmaxRegression", "C", grid, tuple[float, ...], above(0))
        self.C, self.n_folds, self.seed = C, n_folds, seed
        self.weights_ = self.bias_ = None  # until fit

    def fit(self, features, labels) -> "SoftmaxRegression":
        """Find the minimum. features (N,F) dense or scipy.sparse, labels (N,); returns self.

        raises ShapeError if the lengths differ, DataError if there are fewer than two classes
        """
        x, labels = _matrix(features), np.asarray(labels)
        if labels.shape != (x.shape[0],):
            raise ShapeError(
                f"SoftmaxRegression: {x.shape[0]} rows of features, but labels of shape {labels.shape}."
            )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if self.classes_.size < 2:
            raise DataError(
                f"SoftmaxRegression: {self.classes_.size} class in the labels; expected at least two."
            )
        z, back = _rotate(x)
        self.C_ = float(self.C) if np.isscalar(self.C) else self._choose(z, codes)
        weights, self.bias_ = self._minimise(z, codes, self.C_)
        self.weights_ = back(weights)
        return self

    def _choose(self, x, codes) -> float:
        """The C of the grid with the best held-out accuracy, every fold walked from the smallest C up (warm starts)."""
        grid, splits = sorted(float(c) for c in self.C), folds(codes, self.n_folds, self.seed)
        if (
            not splits or len(grid) == 1
        ):  # one example per class: nothing to hold out, the middle of the grid
            return grid[len(grid) // 2]
        hits = np.zeros(len(grid))
        for train, held in splits:
            start = None
            for i, c in enumerate(grid):
                start = self._minimise(x[train], codes[train], c, start)
                hits[i] += held.size * accuracy(
                    codes[held], np.argmax(x[held] @ start[0] + start[1], axis=1)
                )
        return grid[int(np.argmax(hits))]

    def _minimise(self, x, codes, c: float, start=None) -> tuple[np.ndarray, np.ndarray]:
        """L-BFGS on the mean loss, from `start` = (W, b) or zero. Returns W (F,K) and b (K,)."""
        n, width, n_classes = x.shape[0], x.shape[1], self.classes_.size
        target = np.zeros((n, n_classes))
        target[np.arange(n), codes] = 1.0
        decay = 1.0 / (c * n)

        def objective(flat):
            w, b = flat[: width * n_classes].reshape(width, n_classes), flat[width * n_classes :]
            scores = x @ w + b  # (N,F) @ (F,K) -> (N,K)
            log_p = scores - special.logsumexp(scores, axis=1, keepdims=True)
            residual = (np.exp(log_p) - target) / n
            dw = x.T @ residual + decay * w
            loss = -(target * log_p).sum() / n + 0.5 * decay * (w * w).sum()
            return loss, np.concatenate([dw.ravel(), residual.sum(axis=0)])

        first = (
            np.zeros((width + 1) * n_classes)
            if start is None
            else np.concatenate([start[0].ravel(), start[1]])
        )
        options = {"maxiter": 1000, "gtol": 1e-6, "ftol": 64 * np.finfo(float).eps}
        flat = optimize.minimize(objective, first, jac=True, method="L-BFGS-B", options=options).x
        return flat[: width * n_classes].reshape(width, n_classes), flat[width * n_classes :]

    def decision_function(self, features) -> np.ndarray:
        """The logits, (N,K). raises ShapeError before `fit` or if the number of features differs from it."""
        x = _matrix(features)
        if self.weights_ is None:
            raise ShapeError("SoftmaxRegression: not fitted yet; call fit(features, labels) first.")
        if x.shape[1] != self.weights_.shape[0]:
            raise ShapeError(
                f"SoftmaxRegression: {x.shape[1]} features, but it was fitted on {self.weights_.shape[0]}."
            )
        return x @ self.weights_ + self.bias_

    def predict_proba(self, features) -> np.ndarray:
        """Probabilities, (N,K), columns in the order of classes_."""
        return special.softmax(self.decision_function(features), axis=1)

    def predict(self, features) -> np.ndarray:
        """The most probable label of each row, (N,)."""
        return self.classes_[np.argmax(self.decision_function(features), axis=1)]

    def score(self, features, labels) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(features))
