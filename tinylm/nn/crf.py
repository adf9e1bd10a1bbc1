"""A conditional random field on top of scores: which tag follows which is learned too."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F
from tinylm.ops.registry import Operand
from tinylm.settings import argument, at_least
from tinylm.tensor import Tensor

from .module import Module, Parameter, full


class CRF(Module):
    """−log p(y | x) of tags y, given scores of every tag at every place.   (B, T, K) -> loss

    tags : K     Parameters: transitions (K, K) from the row's tag to the column's, starts and ends
    (K,). All begin at 0, where the loss is a softmax at every place.
    Source: Lample et al. 2016, section 2.2.

    >>> crf = CRF(3)
    >>> crf(Tensor(np.zeros((1, 2, 3), np.float32)), [[0, 2]])  # 9 equal sequences: log 9
    Tensor(2.1972, made by mul)
    """

    def __init__(self, tags: int):
        argument("CRF", "tags", tags, int, at_least(1))
        self.transitions = Parameter(full((tags, tags), 0))
        self.starts = Parameter(full((tags,), 0))
        self.ends = Parameter(full((tags,), 0))

    def forward(
        self,
        scores: Operand,
        tags: ArrayLike,
        mask: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> Tensor:
        """The loss in nats.   scores : (B, T, K)   tags : (B, T) integers   mask : bool (B, T)

        reduction : "mean" over texts, "token_mean" over places, "sum", or "none", which gives (B,)
        """
        weights = (self.transitions, self.starts, self.ends)
        return F.crf_loss(scores, tags, *weights, mask, reduction)

    def decode(
        self,
        scores: Operand,
        mask: ArrayLike | None = None,
        allowed: ArrayLike | None = None,
        allowed_starts: ArrayLike | None = None,
    ) -> np.ndarray:
        """The best tags, (B, T) int64, −1 where the mask is False.   arguments : ops.crf_decode"""
        weights = (self.transitions, self.starts, self.ends)
        return F.crf_decode(scores, *weights, mask, allowed, allowed_starts)

    def marginals(self, scores: Operand, mask: ArrayLike | None = None) -> np.ndarray:
        """The probability of each tag at each place, (B, T, K)."""
        return F.crf_marginals(scores, self.transitions, self.starts, self.ends, mask)
