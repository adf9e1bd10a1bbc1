"""Drawing ids by chance, from scores or from a word's rank. A draw has no gradient.

    argmax(logits + g), g = −log(−log u), u uniform     is a draw from softmax(logits): Gumbel-max
    p = softmax(logits / temperature), cut to the top_k most probable and to the nucleus of mass
        top_p, renormalised; a penalty on what the text holds already comes before all of these

Every function takes a numpy Generator: the same generator draws the same ids.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .errors import ShapeError, TinylmError
from .settings import Config, above, at_least, one_of

# So many scores get their noise at once: they fit into the cache, and no second array of all scores
# is needed.
_TOGETHER = 1 << 16


def gumbel_max(logits: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """A draw from softmax(logits) for every row; −inf is drawn only if a row has nothing else.

    logits : (..., V), V at least 1     returns (...) int64
    Source: Gumbel 1954; Maddison et al. 2014. −log u is a standard exponential, so draw that.

    >>> gumbel_max([[-np.inf, 0.0], [0.0, -np.inf]], np.random.default_rng(0)).tolist()
    [1, 0]
    """
    logits = np.asarray(logits)
    vocabulary = logits.shape[-1]
    rows = logits.reshape(-1, vocabulary)
    drawn = np.empty(len(rows), np.int64)
    step = max(_TOGETHER // vocabulary, 1)
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        noise = np.log(rng.standard_exponential(part.shape))
        drawn[first : first + step] = np.argmax(part - noise, axis=-1)
    return drawn.reshape(logits.shape[:-1])


@dataclass(frozen=True)
class Sampling(Config):
    """How the next id of a text is chosen by its score.

    temperature : 0 takes the most probable id (greedy), 1 samples from the scores, above 1 flattens
    top_k : keep this many most probable ids, 0 = all
    top_p : keep a nucleus of most probable ids with about this mass, 1 = all
    top_p_rule : which nucleus. "reaching" is the smallest one whose mass reaches top_p, so it
        keeps the id that crosses top_p (Holtzman et al. 2020; transformers). "within" is the
        largest one whose mass stays within top_p, or the most probable id alone (GPT-2's released
        code)
    repetition_penalty : the scores of ids that the text holds are divided by it if positive, else
        multiplied by it; 1 = no penalty, 1.2 is the paper's (Keskar et al. 2019; transformers)
    no_repeat_ngram_size : no run of so many ids comes twice in the text, 0 = any may (Paulus et al.
        2018; transformers)
    raises TinylmError on a value outside its range
    The order is transformers': penalty, ban of repeated runs, temperature, top-k, top-p.
    """

    ranges = {
        "temperature": at_least(0),
        "top_k": at_least(0),
        "top_p": above(0, 1),
        "top_p_rule": one_of("reaching", "within"),
        "repetition_penalty": above(0),
        "no_repeat_ngram_size": at_least(0),
    }
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    top_p_rule: str = "reaching"
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def check_generator(self, rng: np.random.Generator | None) -> None:
        """raises TinylmError  if ids are drawn by chance and no generator is given"""
        if rng is None and self.temperature > 0:
            raise TinylmError(
                "sampling needs a random generator: pass rng=np.random.default_rng(seed), "
                "or temperature=0"
            )

    def penalise(self, logits: ArrayLike, ids: ArrayLike) -> np.ndarray:
        """The scores after a text, changed by what the text holds.   (V,) -> (V,)

        ids : the text so far, prompt included; ids from V on are passed over
        If every id would repeat a run, none is banned.

        >>> Sampling(repetition_penalty=2).penalise([4.0, -4.0, 4.0, -4.0], [0, 1, 1]).tolist()
        [2.0, -8.0, 4.0, -4.0]
        >>> Sampling(no_repeat_ngram_size=2).penalise([0.0, 1.0, 2.0], [1, 2, 0, 1]).tolist()
        [0.0, 1.0, -inf]
        """
        logits = np.asarray(logits)
        size = self.no_repeat_ngram_size
        if self.repetition_penalty == 1 and size == 0:
            return logits
        scores = logits.astype(np.float64)
        known = np.asarray(ids, np.int64)
        seen = np.unique(known[known < len(scores)])
        before = scores[seen]
        divided = before / self.repetition_penalty
        scores[seen] = np.where(before < 0, before * self.repetition_penalty, divided)
        banned = _completions(known.tolist(), size) if size else set()
        banned = [i for i in banned if i < len(scores)]
        is_left = np.isfinite(scores)  # others may be excluded before
        is_left[banned] = False
        if is_left.any():
            scores[banned] = -np.inf
        return scores

    def restrict(self, logits: ArrayLike) -> np.ndarray:
        """The scores to draw from: (logits − max)/temperature, −inf where cut.   (..., V) float64

        raises TinylmError  if a score is NaN or +inf, or all of a row are −inf: no softmax has such
            scores

        >>> Sampling(top_k=2).restrict([1.0, 3.0, 2.0]).tolist()
        [-inf, 0.0, -1.0]
        """
        logits = np.asarray(logits, np.float64)
        peaks = _peaks(logits)
        if self.temperature == 0:
            best = logits.argmax(axis=-1)[..., None]  # of equals the smallest id
            vocabulary = np.arange(logits.shape[-1])
            return np.where(vocabulary == best, 0, -np.inf)
        with np.errstate(over="ignore"):  # near temperature 0 all but the largest become −inf
            scores = (logits - peaks) / self.temperature
        if not self.top_k and self.top_p == 1:
            return scores
        order = np.argsort(-scores, axis=-1, kind="stable")  # of equals the smaller id first
        p = np.exp(np.take_along_axis(scores, order, -1))
        if self.top_k:
            p[..., self.top_k :] = 0
        kept = self._nucleus(p)
        keep = np.empty(scores.shape, bool)
        np.put_along_axis(keep, order, kept, -1)
        return np.where(keep, scores, -np.inf)

    def _nucleus(self, p):
        """Which of some falling weights (..., V) the nucleus keeps.   (..., V) bool"""
        mass = np.cumsum(p, axis=-1)
        wanted = self.top_p * mass[..., -1:]
        if self.top_p_rule == "within":
            kept = mass <= wanted
            kept[..., 0] = True
            return kept & (p > 0)
        nothing = np.zeros_like(mass[..., :1])
        mass_before = np.concatenate([nothing, mass[..., :-1]], axis=-1)
        return mass_before < wanted

    def probabilities(self, logits: ArrayLike) -> np.ndarray:
        """The distribution to draw from.   (..., V) -> (..., V) float64, rows sum to 1

        >>> Sampling(top_k=1).probabilities([1.0, 3.0, 2.0]).tolist()
        [0.0, 1.0, 0.0]
        """
        p = np.exp(self.restrict(logits))
        return p / p.sum(axis=-1, keepdims=True)

    def draw(self, logits: ArrayLike, rng: np.random.Generator | None) -> np.ndarray:
        """One id per row of logits.   (..., V) -> (...) int64

        rng : not needed when temperature is 0     raises TinylmError  as restrict

        >>> int(Sampling(temperature=0).draw([1.0, 3.0, 2.0], None))
        1
        """
        if self.temperature > 0:
            return gumbel_max(self.restrict(logits), rng)
        _peaks(np.asarray(logits))
        return np.argmax(logits, axis=-1)


def _completions(ids, size):
    """The ids that would complete a run of `size` ids that the text holds already, a set.

    >>> _completions([1, 2, 3, 1, 2], 3)
    {3}
    """
    begun = ids[len(ids) - size + 1 :]
    found = set()
    for first in range(len(ids) - size + 1):
        last = first + size - 1
        if ids[first:last] == begun:
            found.add(ids[last])
    return found


def log_probabilities(logits: ArrayLike) -> np.ndarray:
    """log softmax of every row, in nats.   (..., V) -> (..., V) float64

    raises TinylmError  as `Sampling.restrict`

    >>> log_probabilities([[0.0, 0.0]]).round(4).tolist()
    [[-0.6931, -0.6931]]
    """
    logits = np.asarray(logits, np.float64)
    scores = logits - _peaks(logits)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def _peaks(logits):
    """The largest score of every row, (..., V) -> (..., 1); raises as restrict."""
    peaks = logits.max(axis=-1, keepdims=True)  # NaN where any score is
    if not np.isfinite(peaks).all():
        raise TinylmError(
            "The model's scores are not finite, so no token can be drawn: its weights are damaged "
            "or its training diverged; load another checkpoint or train anew with a smaller "
            "learning rate."
        )
    return peaks


def log_uniform(
    targets: ArrayLike, count: int, vocabulary: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`count` different ids, frequent ones more often, for the sampled losses of `tinylm.ops`.

        P(k) = log((k + 2)/(k + 1)) / log(V + 1)        E(k) = 1 − (1 − P(k))^tries

    P is the chance of one draw, E(k) the chance that k is among the ids, tries the number of draws
    that it took until S different ids were seen. Ids must be sorted by frequency, the most frequent
    first: then P is close to the text's own distribution (Zipf's law).
    targets : (...) the true ids     count : S ≤ V
    returns ids (S,) int64, log E of the targets (...), log E of the ids (S,), as
        ops.sampled_softmax_loss takes them
    raises ShapeError  if more ids are asked for than there are
    Source: TensorFlow's log_uniform_candidate_sampler (unique).

    >>> ids, log_targets, log_ids = log_uniform([0, 5], 3, 3, np.random.default_rng(0))
    >>> sorted(ids.tolist()), log_targets.shape, log_ids.shape
    ([0, 1, 2], (2,), (3,))
    """
    if not 1 <= count <= vocabulary:
        raise ShapeError(
            f"log_uniform: {count} different ids were asked for, but there are {vocabulary}; "
            f"expected 1 to {vocabulary}."
        )
    drawn = np.empty(0, np.int64)
    first = np.empty(0, np.int64)  # places in `drawn` where an id is seen for the first time
    while len(first) < count:
        u = rng.random(2 * count + len(drawn))
        ids = np.exp(u * np.log(vocabulary + 1)).astype(np.int64) - 1
        ids = np.minimum(ids, vocabulary - 1)
        drawn = np.concatenate([drawn, ids])
        _, places = np.unique(drawn, return_index=True)
        first = np.sort(places)
    ids = drawn[first[:count]]
    tries = first[count - 1] + 1

    def log_expected(ids):
        ids = np.maximum(ids, 0)
        chance = np.log1p(1 / (ids + 1)) / np.log(vocabulary + 1)  # P
        with np.errstate(divide="ignore"):  # the only id of a vocabulary of one has P = 1
            missed = tries * np.log1p(-chance)  # log (1 − P)^tries
            return np.log(-np.expm1(missed))

    return ids, log_expected(np.asarray(targets)), log_expected(ids)
