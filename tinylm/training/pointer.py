"""The continuous cache: a word that came up lately is likely to come up again.

    p(w) = (1 − λ) p_model(w) + λ Σ_{i<t} [x_{i+1} = w] · softmax_i(θ h_t·h_i)

A text has its names and its topic, which the weights of a trained model do not know. So each state
h_i is kept beside the word x_{i+1} that followed it, and a state that resembles h_i points at that
word. Nothing is trained: θ says how sharply to point, λ how much to believe it, and both are chosen
on held-out text. It takes the published AWD-LSTM from a perplexity of 57.3 to 52.8 on the Penn
Treebank (Merity et al. 2018).

Source: Grave et al. 2017, section 3. Any causal model can be asked, not LSTMs alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.arguments import id_array
from tinylm.errors import ShapeError
from tinylm.ops.registry import check_ids
from tinylm.sampling import log_probabilities
from tinylm.settings import Config, at_least, between
from tinylm.tensor import no_grad

SHARPNESS = (0.05, 0.1, 0.3, 0.6)  # the θ that `choose` tries
SHARES = (0.05, 0.1, 0.2, 0.3)  # and the λ


@dataclass(frozen=True)
class PointerConfig(Config):
    """How a text's own past is believed.

    theta : θ, 0 counts all words of the past alike     share : λ, 0 is the model alone
    window : how many tokens the past reaches back
    """

    ranges = {"theta": at_least(0), "share": between(0, 1), "window": at_least(1)}
    theta: float = 0.3
    share: float = 0.1
    window: int = 2000


def pointed(states: np.ndarray, ids: np.ndarray, t: int, config: PointerConfig) -> np.ndarray:
    """The cache's probability of each token that the past holds, to follow position t.

    states : (T, C)     ids : (T,), state i has seen ids[0] … ids[i]
    returns (P,) float64, summing to 1: entry p is the share of ids[t − P + 1 + p], so a token that
    occurs several times has several; none for t = 0, where nothing has been followed yet

    >>> states = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> pointed(states, np.array([5, 6, 7]), 2, PointerConfig(theta=np.log(3))).round(2)
    array([0.75, 0.25])
    """
    first = max(t - config.window, 0)
    closeness = config.theta * (states[first:t] @ states[t]).astype(np.float64)
    weights = np.exp(closeness - closeness.max(initial=-np.inf))
    return weights / weights.sum()


def next_token_nats(
    model: Any, ids: ArrayLike, config: PointerConfig = PointerConfig()
) -> np.ndarray:
    """−log p of each token of a text but the first, by a model with a cache.   (T,) -> (T − 1,)

    model : causal, with encode and logits     ids : (T,)
    A text longer than the model's max_length is read in windows that do not overlap; the cache
    reaches beyond them.
    raises ShapeError   if ids are not (T,)     raises TinylmError  for a model that is not causal
    """
    read = _Read(model, ids)
    return read.mixed(read.hits(config), config.share)


def choose(
    model: Any,
    texts: Iterable[ArrayLike],
    config: PointerConfig = PointerConfig(),
    sharpness: Iterable[float] = SHARPNESS,
    shares: Iterable[float] = SHARES,
) -> PointerConfig:
    """The θ and λ of the least loss on some held-out texts, or λ = 0 if none of them helps.

    texts : (T,) ids each     config : its window is kept
    """
    read = [_Read(model, ids) for ids in texts]
    shares = tuple(shares)
    best = replace(config, share=0.0)
    least = -sum(one.known.sum() for one in read)
    for theta in sharpness:
        pointing = replace(config, theta=theta)
        hits = [one.hits(pointing) for one in read]
        for share in shares:
            nats = sum(one.mixed(h, share).sum() for one, h in zip(read, hits, strict=True))
            if nats < least:
                best = replace(pointing, share=share)
                least = nats
    return best


class _Read:
    """A text with the model's states, and its own log p of the tokens that follow.

    .ids : (T,)     .states : (T, C)     .known : (T − 1,), log p of ids[1:]
    """

    def __init__(self, model: Any, ids: ArrayLike):
        model.need("generation")
        self.ids = id_array("pointer", ids)
        if self.ids.ndim != 1:
            raise ShapeError(f"pointer: ids have shape {self.ids.shape}; expected (T,).")
        if self.ids.size:
            self.ids = check_ids("pointer", self.ids, model.config.vocab_size)
        states = [np.empty((0, 1))] if not self.ids.size else []
        known = [np.empty(0)]
        size = model.max_length or max(len(self.ids), 1)
        with model.evaluating(), no_grad():
            for begin in range(0, len(self.ids), size):
                window = self.ids[None, begin : begin + size]
                following = self.ids[begin + 1 : begin + size + 1]
                states += list(model.encode(window)[-1].numpy())  # (1,T,C) -> (T,C)
                [scores] = model.logits(window).numpy()  # (1,T,V) -> (T,V)
                own = log_probabilities(scores[: len(following)])
                known.append(own[np.arange(len(following)), following])
        self.states = np.concatenate(states)
        self.known = np.concatenate(known)

    def hits(self, config: PointerConfig) -> np.ndarray:
        """The cache's probability of each token but the first, (T − 1,); NaN where it has none."""
        found = np.full(len(self.known), np.nan)
        for t in range(1, len(self.known)):
            past = pointed(self.states, self.ids, t, config)
            followed = self.ids[t - past.size + 1 : t + 1]
            found[t] = past[followed == self.ids[t + 1]].sum()
        return found

    def mixed(self, hits: np.ndarray, share: float) -> np.ndarray:
        """−log p of each token but the first, with a share of what the cache says."""
        with np.errstate(divide="ignore", invalid="ignore"):  # log 0 is −inf, and NaN stays
            both = np.logaddexp(np.log1p(-share) + self.known, np.log(share * hits))
        return -np.where(np.isnan(hits), self.known, both)
