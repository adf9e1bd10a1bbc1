"""Text from a hidden Markov model, whose exact loss is known: no model can do better on average.

    p(x_1 .. x_N) = sum over all state sequences s of
                    start[s_1] E[s_1, x_1] T[s_1, s_2] E[s_2, x_2] ...

States follow each other unseen, and each writes one token.

A reader may see the text through noise: tokens are hidden, replaced or doubtful. `token_chances` is
the best that anybody can then say about every token, `masked_loss` the best that a masked language
model can reach, `visible_losses` one that predicts in a random order, and `replaced_chances` the
best that one who looks for wrong tokens can.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from tinylm.errors import ShapeError, VocabularyError


@dataclass(frozen=True)
class Masking:
    """The noise of a masked language model, which picks every token with the same chance.

    rate : p, the chance that a token is picked, whatever happens to the others
    masked_share : of the picks that show the mask     random_share : that show a random word;
        the others show the token itself
    random_words : R, how many words the random ones are drawn from; None for V

        P(y | x) = (1 − p (m + r)) [y = x] + p r / R     at a place that may have been picked
        P(y | x) = (1 − m − r) [y = x] + r / R           at a place that was picked

    >>> Masking(0.5, masked_share=0, random_share=1).evidence(np.array([[1]]), 2)  # ½ [y = x] + ¼
    array([[[0.25, 0.75]]])
    """

    rate: float
    masked_share: float = 0.8
    random_share: float = 0.1
    random_words: int | None = None

    def evidence(self, seen: np.ndarray, vocab_size: int) -> np.ndarray:
        """P(seen | x) up to a factor, for every token x.   seen : (B, T) -> (B, T, V)

        Everything outside the V tokens, such as the mask, tells nothing about x.
        """
        changed = self.masked_share + self.random_share
        return self._evidence(seen, vocab_size, 1 - self.rate * changed, self.rate)

    def picked_evidence(self, seen: np.ndarray, vocab_size: int) -> np.ndarray:
        """The same for places that are known to be picked.   seen : (B, T) -> (B, T, V)"""
        kept = 1 - self.masked_share - self.random_share
        return self._evidence(seen, vocab_size, kept, 1.0)

    def _evidence(self, seen, vocab_size, same, picked):
        """(B, T, V): `same` where x is what is seen, and everywhere the chance of a random word."""
        words = self.random_words or vocab_size
        evidence = np.full((*seen.shape, vocab_size), picked * self.random_share / words)
        evidence += same * (seen[..., None] == np.arange(vocab_size))
        evidence[(seen < 0) | (seen >= vocab_size)] = 1
        return evidence


@dataclass(frozen=True)
class HiddenMarkov:
    """A hidden Markov model that writes text and knows how likely every text is.

    transition : (S, S)     T[s, s'], the chance that state s' follows s; rows sum to 1
    emission : (S, V)       E[s, x], the chance that state s writes token x; rows sum to 1
    """

    transition: np.ndarray
    emission: np.ndarray

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""
        return self.emission.shape[1]

    @cached_property
    def start(self) -> np.ndarray:
        """(S,) the stationary distribution, start T = start: a text may begin anywhere."""
        S = len(self.transition)
        unchanged = self.transition.T - np.eye(S)  # times start, this is 0
        equations = np.vstack([unchanged, np.ones(S)])  # and start sums to 1
        wanted = np.append(np.zeros(S), 1.0)
        solution, *_ = np.linalg.lstsq(equations, wanted, rcond=None)
        return solution

    @cached_property
    def words(self) -> list[str]:
        """A word for each token, for `text` and `ids`."""
        syllables = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
        return syllables[: self.vocab_size]

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n tokens, (n,) int32, from a state drawn from `start`."""
        moves = _cumulative(self.transition)
        writes = _cumulative(self.emission)
        state = bisect(_cumulative(self.start), rng.random())
        ids = np.empty(n, np.int32)
        for i, (write, move) in enumerate(rng.random((n, 2)).tolist()):
            ids[i] = bisect(writes[state], write)
            state = bisect(moves[state], move)
        return ids

    def token_losses(self, ids: np.ndarray) -> np.ndarray:
        """The loss of every token given those before it, by the forward algorithm.

            loss_t = -log p(x_t | x_1 .. x_t-1),  p(x_t | ...) = sum_s belief[s] E[s, x_t]
            belief[s] = p(state_t = s | x_1 .. x_t-1)

        ids : (N,) int
        returns (N,) nats
        raises ShapeError       for another shape, or for ids outside the vocabulary
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and not 0 <= ids.min() <= ids.max() < self.vocab_size):
            last = self.vocab_size - 1
            raise ShapeError(f"Expected a (N,) array of ids 0 to {last}; got shape {ids.shape}.")
        losses = np.empty(len(ids))
        columns = self.emission.T.copy()
        belief = self.start
        for t, token in enumerate(ids.tolist()):
            joint = belief * columns[token]
            chance = joint.sum()
            losses[t] = -np.log(chance)
            belief = (joint / chance) @ self.transition
        return losses

    def exact_loss(self, ids: np.ndarray) -> float:
        """The true model's loss on this text, in nats per token."""
        return float(self.token_losses(ids).mean())

    def token_chances(self, evidence: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """What a reader of noisy texts can know of every token, by the forward-backward algorithm.

            p(x_t | all y) ~ own[t, x_t] · sum_s before_t[s] after_t[s] E[s, x_t]
            before_t[s] = p(s_t = s | y_1 .. y_t-1),    after_t[s] ~ p(y_t+1 .. y_T | s_t = s)

        evidence : (B, T, V), P(y_t | x_t = x) up to a factor: what is seen at t, if x stands there.
            A row of ones tells nothing, a row with a single 1 everything
        own : (B, T, V), what a place tells about its own token, if that is another thing than what
            it tells to the other places; by default the same
        returns (B, T, V), sums to 1 over V. Every text begins with a state from `start`
        raises ShapeError  for another shape, or for evidence that no text can give

        >>> model = hidden_markov()
        >>> nothing = np.ones((1, 3, 24))
        >>> np.allclose(model.token_chances(nothing), model.start @ model.emission)
        True
        """
        evidence = np.asarray(evidence, np.float64)
        if evidence.ndim != 3 or evidence.shape[2] != self.vocab_size:
            raise ShapeError(
                f"Evidence has the shape {evidence.shape}; expected (B, T, {self.vocab_size})."
            )
        own = evidence if own is None else own
        seen = evidence @ self.emission.T  # (B,T,V) -> (B,T,S), P(y_t | s_t)
        states = np.empty_like(seen)
        belief = np.broadcast_to(self.start, states[:, 0].shape)
        for t in range(seen.shape[1]):
            states[:, t] = belief
            belief = _scaled(belief * seen[:, t]) @ self.transition
        future = np.ones_like(seen[:, 0])
        for t in reversed(range(seen.shape[1])):
            states[:, t] *= future
            future = _scaled(future * seen[:, t]) @ self.transition.T
        return _scaled((states @ self.emission) * own)  # (B,T,S) -> (B,T,V)

    def masked_loss(
        self,
        ids: np.ndarray,
        seen: np.ndarray,
        picks: np.ndarray,
        masking: Masking,
        blind: bool = False,
    ) -> float:
        """The exact loss of predicting the picked tokens from the corrupted texts around them.

        No masked language model can do better on average. It does not know which tokens were
        picked, except for the one that it predicts and those that show the mask.

        ids : (B, T), the texts     seen : (B, T), what is shown; the mask is any number outside V
        picks : (B, T) bool, the places to predict     masking : how `seen` came about
        blind : only use what a place shows itself and the counts of the tokens, no neighbour
        returns the mean over all picks, in nats
        raises ShapeError  for other shapes, or for texts that this masking cannot show
        """
        if not ids.shape == seen.shape == picks.shape:
            raise ShapeError(
                f"ids {ids.shape}, seen {seen.shape} and picks {picks.shape} differ in shape."
            )
        evidence = masking.evidence(seen, self.vocab_size)
        if blind:
            evidence = np.ones_like(evidence)
        own = np.where(picks[..., None], masking.picked_evidence(seen, self.vocab_size), 1)
        chances = self.token_chances(evidence, own)  # (B,T,V)
        right = np.take_along_axis(chances, ids[..., None], axis=2)[..., 0]  # (B,T)
        return float(-np.log(right[picks]).mean())

    def visible_losses(self, ids: np.ndarray, visible: np.ndarray, picks: np.ndarray) -> np.ndarray:
        """The exact loss of predicting some tokens, each from the tokens that it may see.

            loss_k = −log p(x_i | x_j for all j that i may see),    i = picks[k]

        No permutation language model can do better on average.

        ids : (B, T), the texts     visible : (B, T, T) bool, True = i may see j
        picks : (B, K), the places to predict
        returns (B, K) nats
        raises ShapeError  for other shapes

        >>> model = hidden_markov()
        >>> ids = np.array([[9, 21, 22]])
        >>> nothing = np.zeros((1, 3, 3), bool)
        >>> model.visible_losses(ids, nothing, np.array([[1]])).round(2)  # log 24
        array([[3.18]])
        >>> others = ~np.eye(3, dtype=bool)[None]
        >>> model.visible_losses(ids, others, np.array([[1]])).round(2)
        array([[1.47]])
        """
        rows, length = ids.shape
        if visible.shape != (rows, length, length) or picks.shape[:1] != (rows,):
            raise ShapeError(
                f"visible {visible.shape} and picks {picks.shape} do not fit ids {ids.shape}; "
                f"expected {(rows, length, length)} and ({rows}, K)."
            )
        seen = np.take_along_axis(visible, picks[..., None], axis=1)  # (B,K,T)
        tokens = ids[:, None, :, None] == np.arange(self.vocab_size)  # (B,1,T,V)
        evidence = np.where(seen[..., None], tokens, 1.0)  # (B,K,T,V)
        chances = self.token_chances(evidence.reshape(-1, length, self.vocab_size))
        targets = np.take_along_axis(ids, picks, axis=1)
        right = chances[np.arange(picks.size), picks.reshape(-1), targets.reshape(-1)]
        return -np.log(right).reshape(picks.shape)

    def replaced_chances(
        self, seen: np.ndarray, rate: float, words: int | None = None
    ) -> np.ndarray:
        """The chance that each token of corrupted texts is not the original, given the whole text.

        Every token was picked with the chance `rate`, whatever happened to the others, and a random
        word took its place. A random word that is the original replaces nothing.

        seen : (B, T), the corrupted texts     words : how many words the random ones are drawn
            from; None for V. Those outside V never stand in a text
        returns (B, T). The mean entropy of these chances is the least that a discriminator can lose

        >>> model = hidden_markov()
        >>> model.replaced_chances(np.array([[9, 21, 22]]), rate=0.15).round(2)
        array([[0.06, 0.03, 0.03]])
        >>> model.replaced_chances(np.array([[9, 9, 9]]), rate=0.15).round(2)
        array([[0.17, 0.08, 0.17]])
        """
        masking = Masking(rate, masked_share=0.0, random_share=1.0, random_words=words)
        chances = self.token_chances(masking.evidence(seen, self.vocab_size))  # (B,T,V)
        known = (seen >= 0) & (seen < self.vocab_size)
        place = np.where(known, seen, 0)[..., None]
        original = np.take_along_axis(chances, place, axis=2)[..., 0]  # (B,T)
        return np.where(known, 1 - original, 1.0)

    def text(self, ids: np.ndarray) -> str:
        """The tokens as words with spaces between them.

        >>> model = hidden_markov()
        >>> model.text([9, 21, 22])
        'du ke ki'
        >>> model.ids("du ke ki").tolist()
        [9, 21, 22]
        """
        return " ".join(self.words[i] for i in ids)

    def ids(self, text: str) -> np.ndarray:
        """The tokens of a text that `text` wrote, (N,) int32.

        raises VocabularyError  for a word that is not in `words`
        """
        id_of = {word: i for i, word in enumerate(self.words)}
        try:
            return np.array([id_of[word] for word in text.split()], np.int32)
        except KeyError as error:
            word = error.args[0]
            raise VocabularyError(f"{word!r} is not a word of this hidden Markov text.") from None


def _scaled(chances: np.ndarray) -> np.ndarray:
    """The same, summing to 1 along the last axis.   raises ShapeError if all of a row are 0"""
    total = chances.sum(axis=-1, keepdims=True)
    if not (total > 0).all():
        raise ShapeError("This evidence contradicts itself: no text can give it.")
    return chances / total


def _cumulative(table: np.ndarray) -> list:
    """Cumulative chances along the last axis, without the final 1, for bisect."""
    return np.cumsum(table, axis=-1)[..., :-1].tolist()


def hidden_markov(
    states: int = 12, shift: int = 5, forward: float = 0.8, stay: float = 0.15
) -> HiddenMarkov:
    """States in a ring, walked mostly forward. Each writes four tokens and shares two of them.

    A single token leaves two states possible; only the tokens before it tell which one. With the
    defaults V = 24, the unigram entropy is log 24 = 3.18 nats and the exact loss about 2.17.
    Counting pairs of tokens closes three quarters of that gap. 3 % of the tokens are any token.

    shift : state s shares tokens with the states s + shift and s - shift
    forward, stay : the chances of one step and of none; otherwise the walk jumps to any state
    raises ShapeError       for other states, shifts or chances than the model can have

    >>> model = hidden_markov()
    >>> model.vocab_size, round(float(model.start.sum()), 6)
    (24, 1.0)
    """
    are_chances = 0 <= forward and 0 <= stay and forward + stay <= 1
    if not (3 <= states <= 35 and shift % states and are_chances):
        raise ShapeError(
            "hidden_markov needs 3 to 35 states, a shift that is no multiple of them, "
            "and chances up to 1."
        )
    stand = np.eye(states)
    step = np.roll(stand, 1, axis=1)
    transition = forward * step + stay * stand + (1 - forward - stay) / states
    own = np.repeat(stand, 2, axis=1)  # (S, V), V = 2 S: two tokens of its own ...
    shared = own + np.roll(own, 2 * shift, axis=1)  # ... and two of the state further on
    emission = 0.97 * shared / 4 + 0.03 / (2 * states)
    return HiddenMarkov(transition, emission)
