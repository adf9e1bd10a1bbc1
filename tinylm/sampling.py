"""Drawing ids by chance, from scores or from a word's rank. No gradients: a draw is an array of integers.

    argmax(logits + g), g = −log(−log u), u uniform     is a draw from softmax(logits): Gumbel-max
    p = softmax(logits / temperature), cut to the top_k most probable and to the nucleus of mass top_p, renormalised

Every function takes a numpy Generator: the same generator draws the same ids.
"""

from dataclasses import dataclass

import numpy as np

from .errors import ShapeError, TinylmError
from .settings import Config, above, at_least

_TOGETHER = (
    1 << 16
)  # scores that get their noise at once: they stay in cache, and no second array of all of them exists


def gumbel_max(logits, rng):
    """A draw from softmax(logits) for every row; an entry of −inf is never drawn where there is another.

    logits : (..., V) array, V at least 1   rng : numpy Generator   returns (...) int64
    Source: Gumbel 1954; Maddison et al. 2014. −log u is drawn as a standard exponential, which is what it is.
    """
    logits = np.asarray(logits)
    rows, drawn = logits.reshape(-1, logits.shape[-1]), np.empty(logits.shape[:-1], np.int64)
    flat, step = drawn.reshape(-1), max(_TOGETHER // logits.shape[-1], 1)
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        flat[first : first + step] = np.argmax(
            part - np.log(rng.standard_exponential(part.shape)), axis=-1
        )
    return drawn


@dataclass(frozen=True)
class Sampling(Config):
    """How an id is chosen by its score.

    temperature : 0 takes the most probable id (greedy), 1 samples from the scores, above 1 flattens
    top_k : keep this many most probable ids, 0 = all
    top_p : keep the smallest set of most probable ids whose mass reaches top_p, 1 = all
    raises TinylmError on a value outside its range
    Source: Radford et al. 2019 (temperature, then top-k, then top-p); Holtzman et al. 2020 for the nucleus. Ours keeps the
    id that crosses top_p, as transformers does; GPT-2's released code drops it.
    """

    ranges = {"temperature": at_least(0), "top_k": at_least(0), "top_p": above(0, 1)}
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def restrict(self, logits):
        """Scores whose softmax is drawn from: −inf where cut, else (logits − max)/temperature.   (..., V) -> float64

        raises TinylmError  if a score is NaN or +inf, or all of a row are −inf: no softmax has such scores
        """
        logits = np.asarray(logits, np.float64)
        peaks = _peaks(logits)
        if self.temperature == 0:  # of equals the smallest id
            return np.where(
                np.arange(logits.shape[-1]) == logits.argmax(axis=-1)[..., None], 0, -np.inf
            )
        with np.errstate(over="ignore"):  # near temperature 0 all but the largest become −inf
            scores = (logits - peaks) / self.temperature
        if not self.top_k and self.top_p == 1:
            return scores
        order = np.argsort(
            -scores, axis=-1, kind="stable"
        )  # most probable first; of equals the smaller id
        p = np.exp(np.take_along_axis(scores, order, -1))
        p[..., self.top_k or p.shape[-1] :] = 0
        mass = np.cumsum(p, axis=-1)
        before = np.concatenate([np.zeros_like(mass[..., :1]), mass[..., :-1]], axis=-1)
        keep = np.empty(scores.shape, bool)
        np.put_along_axis(keep, order, before < self.top_p * mass[..., -1:], -1)
        return np.where(keep, scores, -np.inf)

    def probabilities(self, logits):
        """The distribution that is drawn from.   (..., V) -> (..., V) float64, rows sum to 1"""
        p = np.exp(self.restrict(logits))
        return p / p.sum(axis=-1, keepdims=True)

    def draw(self, logits, rng):
        """One id per row of logits (..., V) -> (...) int64; rng : numpy Generator, not needed when temperature is 0.

        raises TinylmError  as restrict
        """
        if self.temperature > 0:
            return gumbel_max(self.restrict(logits), rng)
        _peaks(np.asarray(logits))
        return np.argmax(logits, axis=-1)


def _peaks(logits):
    """The largest score of every row, (..., V) -> (..., 1), which is NaN where any score is; raises as restrict."""
    peaks = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(peaks).all():
        raise TinylmError(
            "The model's scores are not finite, so no token can be drawn: its weights are damaged or its "
            "training diverged; load another checkpoint or train anew with a smaller learning rate."
        )
    return peaks


def log_uniform(targets, count, vocabulary, rng):
    """`count` different ids, the frequent ones more often, and how often each was to be expected: for sampled losses.

        P(k) = log((k + 2)/(k + 1)) / log(V + 1)        E(k) = 1 − (1 − P(k))^tries

    Ids must be sorted by frequency, the most frequent first: then this is close to the text's own distribution (Zipf's law).
    targets : (...) the true ids   count : S ≤ V   tries : draws that it took until S different ids were seen
    returns ids (S,) int64 and the logs of E of the targets (...) and of the ids (S,), as ops.sampled_softmax_loss wants them
    raises ShapeError  if more ids are asked for than there are
    Source: TensorFlow's log_uniform_candidate_sampler (unique).
    """
    if not 1 <= count <= vocabulary:
        raise ShapeError(
            f"log_uniform: {count} different ids were asked for, but there are {vocabulary}; "
            f"expected 1 to {vocabulary}."
        )
    drawn = first = np.empty(0, np.int64)
    while len(first) < count:
        ids = (
            np.exp(rng.random(2 * count + len(drawn)) * np.log(vocabulary + 1)).astype(np.int64) - 1
        )
        drawn = np.concatenate([drawn, np.minimum(ids, vocabulary - 1)])
        first = np.sort(np.unique(drawn, return_index=True)[1])
    ids, tries = drawn[first[:count]], first[count - 1] + 1

    def log_expected(ids):
        with np.errstate(divide="ignore"):  # the only id of a vocabulary of one has P = 1
            return np.log(
                -np.expm1(
                    tries
                    * np.log1p(-np.log1p(1 / (np.maximum(ids, 0) + 1)) / np.log(vocabulary + 1))
                )
            )

    return ids, log_expected(np.asarray(targets)), log_expected(ids)
