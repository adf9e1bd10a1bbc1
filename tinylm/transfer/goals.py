"""What a linear head on pooled states is for: classes, numbers, or the best of several answers.

    Classes    s = W x + b, (K,)                  −log softmax(s)[y]
    Towers     s = W (u, v, |u − v|, u·v) + b     the same, for two texts
    Values     s = w·x + b, a number              (s − y)²
    Answers    s_k = w·x_k for each answer        −log softmax_k(s)[y]

A goal says the head's loss, how well scores fit examples that were held out, and the best head on
features that stay as they are, from which fine-tuning begins. Everything else about adapting an
encoder is the same for all of them: pooled.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinylm import ops as F
from tinylm.tensor import Tensor

from .budgets import folds
from .features import take
from .linear import SoftmaxRegression
from .metrics import accuracy
from .tasks.ridge import ChoiceRegression, RidgeRegression

Encoded = dict[str, np.ndarray]
Split = tuple[np.ndarray, np.ndarray]  # numbers of training examples, and of held-out ones


class Classes:
    """One of K classes for each example: softmax and its cross-entropy.

    targets : (N,) class numbers from 0
    parts : the head reads so many vectors of an example, side by side

    >>> Classes().quality(np.array([[0.0, 1.0], [3.0, 1.0]]), np.array([1, 1]))
    1.0
    """

    parts: ClassVar[int] = 1

    def joined(self, rows: Tensor) -> Tensor:
        """What the head reads of N examples: standardised vectors (R, F) -> (N, parts·F)."""
        return rows

    def joined_rows(self, rows: np.ndarray) -> np.ndarray:
        """The same for arrays."""
        return self.joined(Tensor(rows)).data

    def regression(self, C: float | tuple[float, ...], seed: int) -> Any:
        """An unfitted linear model; `fit(rows, targets)` finds the head for fixed features.

        C : one trust in the data, or several to choose from     seed : of that choice
        """
        return SoftmaxRegression(C, seed=seed)

    def loss(self, scores: Tensor, targets: Any) -> Tensor:
        """The mean loss of the head's scores, (B, K) -> scalar."""
        return F.cross_entropy(scores, targets)

    def quality(self, scores: np.ndarray, targets: Any) -> float:
        """How well the scores of held-out examples fit, summed over them; more is better."""
        return len(targets) * accuracy(targets, np.argmax(scores, axis=1))

    def splits(self, targets: Any, n_folds: int, seed: int) -> list[Split]:
        """Cross-validation inside the examples."""
        return folds(targets, n_folds, seed)

    def pick(self, encoded: Encoded, targets: Any, chosen: np.ndarray) -> tuple[Encoded, Any]:
        """The encoded texts and the targets of some B examples."""
        return take(encoded, chosen), targets[chosen]

    def lengths(self, encoded: Encoded, targets: Any) -> np.ndarray:
        """The tokens of each example, (N,)."""
        return encoded["mask"].sum(axis=1)


CLASSES = Classes()


class Values(Classes):
    """One number for each example: the mean squared error.

    targets : (N,) floats of about mean 0 and deviation 1

    >>> Values().loss(Tensor([[1.0], [2.0]]), np.array([0.0, 4.0]))
    Tensor(2.5)
    """

    def regression(self, C: float | tuple[float, ...], seed: int) -> Any:
        """Ridge regression."""
        return RidgeRegression(C, seed=seed)

    def loss(self, scores: Tensor, targets: np.ndarray) -> Tensor:
        """The mean of (s − y)², (B, 1) -> scalar."""
        return F.mse_loss(scores.reshape(-1), targets.astype(scores.dtype))

    def quality(self, scores: np.ndarray, targets: np.ndarray) -> float:
        """Minus the sum of squared errors."""
        return -float(np.square(scores[:, 0] - targets).sum())

    def splits(self, targets: np.ndarray, n_folds: int, seed: int) -> list[Split]:
        """Cross-validation without regard to the numbers."""
        return folds(np.zeros(len(targets)), n_folds, seed)


class Towers(Classes):
    """A class for two texts that are read apart, so that each has its own vector.

    targets : (N,) class numbers from 0; `encoded` has two rows for each example, one behind the
        other

    >>> u, v = [1.0, 2.0], [3.0, 2.0]
    >>> Towers().joined(Tensor([u, v])).data.tolist()
    [[1.0, 2.0, 3.0, 2.0, 2.0, 0.0, 3.0, 4.0]]
    """

    parts = 4

    def joined(self, rows: Tensor) -> Tensor:
        """u, v, |u − v| and u·v (number by number), (2N, F) -> (N, 4F)."""
        both = rows.reshape(-1, 2, rows.shape[1])  # (2N,F) -> (N,2,F)
        u = both[:, 0]
        v = both[:, 1]
        return F.concatenate([u, v, F.abs(u - v), u * v], axis=1)

    def pick(self, encoded: Encoded, targets: Any, chosen: np.ndarray) -> tuple[Encoded, Any]:
        """Both texts of some B examples."""
        chosen = np.asarray(chosen)
        rows = np.stack([2 * chosen, 2 * chosen + 1], axis=1)  # (B,2)
        return take(encoded, rows.reshape(-1)), targets[chosen]

    def lengths(self, encoded: Encoded, targets: Any) -> np.ndarray:
        """The tokens of the longer text of each example, (N,)."""
        return encoded["mask"].sum(axis=1).reshape(-1, 2).max(axis=1)


@dataclass(frozen=True)
class Right:
    """Which of its answers is right for each of N examples.

    counts : (N,) answers of each example     right : (N,) number of the right one, from 0

    >>> Right(np.array([2, 3]), np.array([1, 0])).begins.tolist()
    [0, 2]
    """

    counts: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.right)

    def __getitem__(self, chosen: np.ndarray) -> "Right":
        """Some of the examples."""
        return Right(self.counts[chosen], self.right[chosen])

    @property
    def begins(self) -> np.ndarray:
        """The number of each example's first answer among all answers, (N,)."""
        return np.cumsum(self.counts) - self.counts

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """The numbers among all answers of those of some examples."""
        begins = self.begins
        return np.concatenate([begins[i] + np.arange(self.counts[i]) for i in chosen])

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each answer goes in a rectangle (N, K): places among the answers, and a mask.

        Where an example has fewer than K answers, the place is 0 and the mask False.
        """
        numbers = np.arange(self.counts.max())
        mask = numbers < self.counts[:, None]  # (N,K)
        return np.where(mask, self.begins[:, None] + numbers, 0), mask


class Answers(Classes):
    """One of several answers for each example, each a row of its own; they need not be as many.

    targets : Right of N examples; `encoded` has a row for every answer

    >>> two_of_three = Right(np.array([2, 3]), np.array([0, 2]))
    >>> Answers().quality(np.array([[1.0], [0.0], [0.1], [0.2], [0.0]]), two_of_three)
    1.0
    """

    def regression(self, C: float | tuple[float, ...], seed: int) -> Any:
        """Softmax regression in which the answers of an example compete."""
        return ChoiceRegression(C, seed=seed)

    def loss(self, scores: Tensor, targets: Right) -> Tensor:
        """Mean −log p of the right answers, (R, 1) for all R answers -> scalar."""
        return F.cross_entropy(grouped(scores, targets), targets.right)

    def quality(self, scores: np.ndarray, targets: Right) -> float:
        """How often the right answer has the highest score."""
        best = grouped(Tensor(scores), targets).data.argmax(axis=1)
        return float(np.sum(best == targets.right))

    def splits(self, targets: Right, n_folds: int, seed: int) -> list[Split]:
        """Cross-validation without regard to which answer is right."""
        return folds(np.zeros(len(targets)), n_folds, seed)

    def pick(self, encoded: Encoded, targets: Right, chosen: np.ndarray) -> tuple[Encoded, Right]:
        """All answers of some B examples."""
        return take(encoded, targets.rows(chosen)), targets[chosen]

    def lengths(self, encoded: Encoded, targets: Right) -> np.ndarray:
        """The tokens of the longest answer of each example, (N,)."""
        return np.maximum.reduceat(encoded["mask"].sum(axis=1), targets.begins)


IMPOSSIBLE = -1e30  # the score of an answer that an example does not have


def grouped(scores: Tensor, targets: Right) -> Tensor:
    """Scores of all answers side by side for each example, (R, 1) -> (N, K).

    >>> grouped(Tensor([[1.0], [2.0], [3.0]]), Right(np.array([1, 2]), np.zeros(2, int)))
    Tensor([[ 1.e+00 -1.e+30]
            [ 2.e+00  3.e+00]])
    """
    places, mask = targets.places()
    flat = F.embedding(places, scores)  # (R,1) -> (N,K,1)
    return F.where(mask, flat.reshape(*places.shape), IMPOSSIBLE)
