"""Text from a hidden Markov model, whose exact loss is known: no model can do better on average.

    p(x_1 .. x_N) = sum over all state sequences s of
                    start[s_1] E[s_1, x_1] T[s_1, s_2] E[s_2, x_2] ...

States follow each other unseen, and each writes one token.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from tinylm.errors import ShapeError, VocabularyError


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
