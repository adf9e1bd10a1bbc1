"""A small language with known structure, made from a seed: for tests, for demos, and for machines without a network.

Two kinds of text. `Language` writes sentences about topics, with sentiment and named entities, whose labels are known
because they were chosen first; each topic has many words, so a few labelled sentences show only a few of them, and
learning from unlabelled text pays. `hidden_markov` writes text whose exact loss, which no model can beat, is known.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, product

import numpy as np

from tinylm.errors import ShapeError, VocabularyError

TOPICS = ("cooking", "sailing", "music", "gardens", "racing", "stars")
FEELINGS = ("negative", "positive")
KINDS = ("person", "place")
WORDS_PER_TOPIC = {"noun": 50, "verb": 30}
STRAY = 0.15  # the chance that a word of a sentence comes from any topic at all


@dataclass(frozen=True)
class Sentence:
    """A sentence and everything that is true of it.

    tokens, tags : words and their BIO tags ("O", "B-person", "I-person", "B-place")
    topic, sentiment : one of TOPICS, one of FEELINGS
    meaning : (subject, verb, object): equal in a sentence and in its rewording
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    topic: str
    sentiment: str
    meaning: tuple[str, str, str]

    @property
    def text(self) -> str:
        """The tokens with spaces between them."""
        return " ".join(self.tokens)


class Language:
    """The lexicon of one toy language, and sentences drawn from it.

    seed : decides the words; the same seed, the same language
    """

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng([seed, 4])
        words = iter(_invent(rng, 800))

        def take(n: int) -> list[str]:
            return list(islice(words, n))

        self.lexicon = {(t, part): take(n) for t in TOPICS for part, n in WORDS_PER_TOPIC.items()}
        self.feeling = {feeling: take(20) for feeling in FEELINGS}
        self.first_names, self.last_names, self.places = (
            [word.capitalize() for word in take(n)] for n in (20, 20, 30)
        )
        self.foreign = {word: word[::-1] + "o" for part in self.lexicon.values() for word in part}
        self.foreign |= {
            word: word[::-1] + "a" for words in self.feeling.values() for word in words
        }
        self.foreign |= {"the": "lo", "by": "da", "in": "su", "was": "era", "not": "ne", ".": "."}

    def sentence(
        self, rng: np.random.Generator, topic: str | None = None, sentiment: str | None = None
    ) -> Sentence:
        """One sentence of a given or random topic and sentiment: "Fakimu Zatu in Pupizu tinora the not zuru vikovi ."

        (Who, where, does, how it is felt, what.) A feeling after "not" counts as its opposite.
        """
        topic = topic or TOPICS[int(rng.integers(len(TOPICS)))]
        sentiment = sentiment or FEELINGS[int(rng.integers(2))]
        verb, thing = self._word(rng, topic, "verb"), self._word(rng, topic, "noun")
        person = (_draw(rng, self.first_names), _draw(rng, self.last_names))[
            : 1 + (rng.random() < 0.5)
        ]
        place = _draw(rng, self.places) if rng.random() < 0.5 else None
        negated = rng.random() < 0.25
        feeling = _draw(rng, self.feeling[FEELINGS[FEELINGS.index(sentiment) ^ negated]])
        tokens = [
            *person,
            *(("in", place) if place else ()),
            verb,
            "the",
            *(("not",) if negated else ()),
            feeling,
            thing,
        ]
        return self._tagged(tokens, topic, sentiment, (" ".join(person), verb, thing))

    def document(
        self, rng: np.random.Generator, topic: str | None = None, sentiment: str | None = None
    ) -> str:
        """Three to six sentences of one topic and one sentiment."""
        topic = topic or TOPICS[int(rng.integers(len(TOPICS)))]
        sentiment = sentiment or FEELINGS[int(rng.integers(2))]
        return " ".join(
            self.sentence(rng, topic, sentiment).text for _ in range(int(rng.integers(3, 7)))
        )

    def pair(self, rng: np.random.Generator) -> tuple[str, str, str]:
        """Two sentences and "same" or "different": a rewording of the first, or one in which one word of it changed."""
        first = self.sentence(rng)
        subject, verb, thing = first.meaning
        if same := bool(rng.random() < 0.5):
            other = thing
        else:
            other = _draw(rng, [w for w in self.lexicon[first.topic, "noun"] if w != thing])
        return first.text, f"the {other} was {verb} by {subject} .", "same" if same else "different"

    def translation(self, rng: np.random.Generator) -> tuple[str, str]:
        """A sentence and its translation: other words, and the feeling stands after the noun that it describes."""
        sentence = self.sentence(rng)
        words = list(sentence.tokens)
        words[-3], words[-2] = words[-2], words[-3]
        return sentence.text, " ".join(self.foreign.get(word, word) for word in words)

    def _word(self, rng: np.random.Generator, topic: str, part: str) -> str:
        stray = rng.random() < STRAY
        return _draw(
            rng, self.lexicon[TOPICS[int(rng.integers(len(TOPICS)))] if stray else topic, part]
        )

    def _tagged(
        self, tokens: Sequence[str], topic: str, sentiment: str, meaning: tuple[str, str, str]
    ) -> Sentence:
        kind = {w: "B-person" for w in self.first_names} | {w: "I-person" for w in self.last_names}
        kind |= {w: "B-place" for w in self.places}
        tags = tuple(kind.get(token, "O") for token in tokens)
        return Sentence((*tokens, "."), (*tags, "O"), topic, sentiment, meaning)


def _draw(rng: np.random.Generator, words: Sequence[str]) -> str:
    """A word by Zipf's law: the n-th of the list with a chance proportional to 1 / (n + 2)."""
    chances = list(accumulate(1 / (n + 3) for n in range(len(words))))
    return words[bisect(chances, rng.random() * chances[-1], 0, len(words) - 1)]


def _invent(rng: np.random.Generator, n: int) -> list[str]:
    """n different words of two or three syllables, in an order that the generator decides."""
    syllables = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
    words: dict[str, None] = {}
    while len(words) < n:
        length = 2 + int(rng.random() < 0.5)
        words["".join(syllables[int(i)] for i in rng.integers(len(syllables), size=length))] = None
    return list(words)


def documents(n: int, seed: int = 0, language: Language | None = None) -> list[str]:
    """n unlabelled documents of the language."""
    rng, language = np.random.default_rng([seed, 5]), language or Language()
    return [language.document(rng) for _ in range(n)]


def labelled(
    n: int, seed: int = 0, task: str = "topic", language: Language | None = None
) -> list[tuple[str, str]]:
    """n documents with their topic, or with their sentiment (task="sentiment"), the labels in equal parts."""
    rng, language = np.random.default_rng([seed, 6]), language or Language()
    names = {"topic": TOPICS, "sentiment": FEELINGS}.get(task)
    if names is None:
        raise VocabularyError(
            f"The toy language has no task {task!r}; its tasks are topic and sentiment."
        )
    labels = [names[i % len(names)] for i in range(n)]
    return [(language.document(rng, **{task: label}), label) for label in labels]


def tagged(
    n: int, seed: int = 0, language: Language | None = None
) -> list[tuple[list[str], list[str]]]:
    """n sentences as (tokens, BIO tags)."""
    rng, language = np.random.default_rng([seed, 7]), language or Language()
    return [(list(s.tokens), list(s.tags)) for s in (language.sentence(rng) for _ in range(n))]


@dataclass(frozen=True)
class HiddenMarkov:
    """Text written by a hidden Markov model: states follow each other unseen, each writes one token.

        p(x_1 .. x_N) = sum over all state sequences s of  start[s_1] E[s_1,x_1] T[s_1,s_2] E[s_2,x_2] ...

    transition : (S, S) T[s, s'], rows sum to 1;  emission : (S, V) E[s, x], rows sum to 1
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
        equations = np.vstack([self.transition.T - np.eye(S), np.ones(S)])
        return np.linalg.lstsq(equations, np.append(np.zeros(S), 1.0), rcond=None)[0]

    @cached_property
    def words(self) -> list[str]:
        """A word for each token, for `text` and `ids`."""
        return ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")][: self.vocab_size]

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n tokens, (n,) int32, from a state drawn from `start`."""
        moves, writes = (
            np.cumsum(table, 1)[:, :-1].tolist() for table in (self.transition, self.emission)
        )
        state = bisect(np.cumsum(self.start)[:-1].tolist(), rng.random())
        ids = np.empty(n, np.int32)
        for i, (write, move) in enumerate(rng.random((n, 2)).tolist()):
            ids[i] = bisect(writes[state], write)
            state = bisect(moves[state], move)
        return ids

    def token_losses(self, ids: np.ndarray) -> np.ndarray:
        """(N,) nats: -log p(x_t | x_1 .. x_t-1) by the forward algorithm; on average no model can do better.

        belief[s] = p(state_t = s | x_1 .. x_t-1);  p(x_t | ...) = sum_s belief[s] E[s, x_t]
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and not 0 <= ids.min() <= ids.max() < self.vocab_size):
            raise ShapeError(
                f"Expected a (N,) array of ids 0 to {self.vocab_size - 1}; got shape {ids.shape}."
            )
        belief, losses, columns = self.start, np.empty(len(ids)), self.emission.T.copy()
        for t, token in enumerate(ids.tolist()):
            joint = belief * columns[token]
            chance = joint.sum()
            losses[t] = -np.log(chance)
            belief = (joint / chance) @ self.transition
        return losses

    def exact_loss(self, ids: np.ndarray) -> float:
        """Nats per token of the true model on this very text."""
        return float(self.token_losses(ids).mean())

    def text(self, ids: np.ndarray) -> str:
        """The tokens as words with spaces between them."""
        return " ".join(self.words[i] for i in ids)

    def ids(self, text: str) -> np.ndarray:
        """The tokens of a text that `text` wrote; raises VocabularyError for a word that is not one of `words`."""
        find = {word: i for i, word in enumerate(self.words)}
        try:
            return np.array([find[word] for word in text.split()], np.int32)
        except KeyError as error:
            raise VocabularyError(
                f"{error.args[0]!r} is not a word of this hidden Markov text."
            ) from None


def hidden_markov(
    states: int = 12, shift: int = 5, forward: float = 0.8, stay: float = 0.15
) -> HiddenMarkov:
    """States in a ring that is walked mostly forward; each writes four tokens, two of which it shares with another.

    A token alone leaves two states possible; only what came before tells which. With the defaults V = 24, the unigram
    entropy is log 24 = 3.18 nats, the exact loss about 2.17, and counting pairs closes three quarters of that gap.

    shift : state s shares tokens with the states s + shift and s - shift
    forward, stay : the chances of one step and of none; the rest is a jump to any state. Noise: 3 % of tokens are any
    """
    if not (
        3 <= states <= 35 and shift % states and 0 <= forward and 0 <= stay and forward + stay <= 1
    ):
        raise ShapeError(
            "hidden_markov needs 3 to 35 states, a shift that is no multiple of them, and chances up to 1."
        )
    step = np.roll(np.eye(states), 1, axis=1)
    transition = forward * step + stay * np.eye(states) + (1 - forward - stay) / states
    own = np.repeat(np.eye(states), 2, axis=1)  # (S, V), V = 2 S: two tokens of its own ...
    shared = own + np.roll(own, 2 * shift, axis=1)  # ... and two of the state further on
    return HiddenMarkov(transition, 0.97 * shared / 4 + 0.03 / (2 * states))
