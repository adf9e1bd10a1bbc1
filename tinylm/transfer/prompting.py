"""Prompting: a language model labels texts that nobody trained it to label.

    pattern        "{text} It was {label}."        a text, and a place for the answer
    label words    positive: great, good           negative: bad
    p(label | text) ∝ mean over its words w of exp score(w)
    score(w) = mean of log p(x_t | …) over the tokens of w + Σ log p(x_t | …) over those behind

A causal model reads from the left, so the words behind the place count as evidence too: in
"A {label} review: {text}" it is the text itself that the label must make probable. A masked model
sees both sides of the place, and fills one gap for each token of the word.

Some words are frequent anyway. `neutral` is a text that says nothing, such as "N/A": the score that
a word has there is subtracted.

Source: Radford et al. 2019, section 3 (continuations); Schick & Schütze 2021, section 3 (patterns,
label words, gaps); Zhao et al. 2021, section 5 (the neutral text). Differs: several tokens of a
word are filled independently of each other, not one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from tinylm.arguments import strings
from tinylm.errors import DataError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.tensor import no_grad
from tinylm.training.filling import arranged
from tinylm.training.generate import lead
from tinylm.training.zero_shot import log_probability_of

from .metrics import accuracy

PLACES = ("{text}", "{label}")
SPARE = 1  # a token that stands before a text that begins with its label


@dataclass(frozen=True)
class Option:
    """One label word where the pattern wants it.

    ids : the tokens of the whole, T     first, last : ids[first:last] are those of the word
    """

    ids: tuple[int, ...]
    first: int
    last: int


class PromptClassifier:
    """A text classifier without training: `PromptClassifier(model, tokenizer, …).predict(texts)`.

    model, tokenizer : a causal or a masked language model, as `tinylm.hub.load` returns them
    pattern : holds {text} and {label}, once each
    labels : label -> its word or words; or a list of labels, which are their own words
    neutral : a text that says nothing, whose scores are subtracted (None: none are)
    classes_ : (K,) the labels, in the order in which they were given

    A text that is too long for the model is read from its beginning, so far as the rest of the
    pattern leaves room.
    raises TinylmError  for a pattern without its places, fewer than two labels, or a model that
        neither continues text nor fills gaps
    raises DataError    for a label word that the model does not know

    >>> PromptClassifier(None, None, "It was {label}.", ["good", "bad"])
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: The pattern 'It was {label}.' must hold {text} and {label} once \
each, for example '{text} It was {label}.'.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        pattern: str,
        labels: Mapping[str, str | Sequence[str]] | Sequence[str],
        neutral: str | None = None,
    ):
        if any(pattern.count(place) != 1 for place in PLACES):
            raise TinylmError(
                f"The pattern {pattern!r} must hold {{text}} and {{label}} once each, for example "
                "'{text} It was {label}.'."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.pattern = pattern
        self.words = words_of(labels)
        self.neutral = neutral
        self.classes_ = np.array(list(self.words))
        if self.classes_.size < 2:
            raise TinylmError("PromptClassifier: there are fewer than two labels; give two.")
        model.need("scores" if model.causal else "filling")
        self.room = self._room()
        self.usual = np.zeros(sum(map(len, self.words.values())))
        if neutral is not None:
            with one_pool():
                self.usual = self._scores(neutral)

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, (N, K), columns as in classes_."""
        rows = []
        with one_pool():
            for text in strings(texts, "texts"):
                rows.append(self._probabilities(text))
        return np.array(rows).reshape(-1, self.classes_.size)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable label of each text, (N,); the one given first at a tie."""
        best = np.argmax(self.predict_proba(texts), axis=1)
        return self.classes_[best]

    def score(self, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))

    # ---- from label words to labels

    def _probabilities(self, text):
        """(K,) for one text."""
        scores = self._scores(text) - self.usual
        of_labels = []
        done = 0
        for words in self.words.values():
            own = scores[done : done + len(words)]
            of_labels.append(logsumexp(own) - np.log(len(words)))
            done += len(words)
        return np.exp(of_labels - logsumexp(of_labels))

    def _scores(self, text):
        """The score of every label word after one text, all labels' words in a row."""
        text = self._cut(text)
        read = self._continued if self.model.causal else self._filled
        shared: dict[tuple, Any] = {}  # label words that ask for the same input read it once
        scores = []
        with self.model.evaluating(), no_grad():
            for words in self.words.values():
                for word in words:
                    option = self._option(text, word)
                    nats = read(option, shared)
                    inside = option.last - option.first
                    scores.append(nats[:inside].mean() + nats[inside:].sum())
        return np.array(scores)

    def _continued(self, option, shared):
        """log p of the word's tokens and of those behind them, from the left."""
        before = lead(self.tokenizer, option.first)
        ids = (*before, *option.ids)
        first = len(before) + option.first
        if first == 0:
            raise DataError(
                "Nothing stands before the label, and the model has no token for the beginning of "
                "a text; let the pattern begin with a word."
            )
        read = ids[:-1]
        if read not in shared:
            shared[read] = self.model.logits(np.array([read])).data[0]  # (T,V)
        scores = shared[read][first - 1 :, : self.tokenizer.vocab_size]
        return log_probability_of(scores, ids[first:])

    def _filled(self, option, shared):
        """log p of the word's tokens in as many gaps."""
        ids = list(option.ids)
        ids[option.first : option.last] = [self.model.gap_id] * (option.last - option.first)
        read = tuple(ids)
        if read not in shared:
            keywords = arranged(self.model, self.tokenizer, ids)
            gaps = keywords["ids"][0] == self.model.gap_id
            shared[read] = self.model.logits(**keywords).data[0][gaps]  # (P,V)
        scores = shared[read][:, : self.tokenizer.vocab_size]
        return log_probability_of(scores, option.ids[option.first : option.last])

    # ---- from the pattern to tokens

    def _option(self, text, word):
        """The pattern with a text and a word in their places, as an Option."""
        before, after = self.pattern.split("{label}")
        before = before.replace("{text}", text)
        after = after.replace("{text}", text)
        whole = before + word + after
        begin = len(before)
        end = begin + len(word)
        places = []
        for place, span in enumerate(self.tokenizer.offsets(whole)):
            if span[0] < end and span[1] > begin:
                places.append(place)
        ids = tuple(self.tokenizer.encode(whole))
        unknown = self.tokenizer.unk_id
        if not places or unknown in [ids[place] for place in places]:
            raise DataError(
                f"The model's tokenizer has no token for the label word {word!r}; choose a word "
                "that the model has read, with --labels label=word."
            )
        return Option(ids, places[0], places[-1] + 1)

    def _room(self):
        """How many tokens a text may have; None if there is no limit."""
        if self.model.max_length is None:
            return None
        longest = SPARE
        for words in self.words.values():
            for word in words:
                ids = list(self._option("", word).ids)
                if not self.model.causal:
                    find = self.tokenizer.token_id
                    ids, _ = self.tokenizer.template.assemble(ids, None, find, None)
                longest = max(longest, len(ids) + SPARE)
        if longest >= self.model.max_length:
            raise TinylmError(
                f"The pattern and its label words take {longest} tokens, but the model reads "
                f"{self.model.max_length} at most; shorten the pattern."
            )
        return self.model.max_length - longest

    def _cut(self, text):
        """The beginning of a text, not longer than the room that there is."""
        if self.room is None:
            return text
        spans = self.tokenizer.offsets(text)
        kept = min(self.room, len(spans))
        while len(spans) > self.room:  # a cut inside a word may give it more tokens
            text = text[: spans[kept - 1][1]] if kept else ""
            kept -= 1
            spans = self.tokenizer.offsets(text)
        return text


def words_of(labels: Mapping[str, str | Sequence[str]] | Sequence[str]) -> dict[str, list[str]]:
    """The words of each label, as lists.   raises TinylmError  for a label without a word

    >>> words_of({"sea": ["boat", "wave"], "land": "rock"})
    {'sea': ['boat', 'wave'], 'land': ['rock']}
    >>> words_of(["sea", "land"])
    {'sea': ['sea'], 'land': ['land']}
    """
    if not isinstance(labels, Mapping):
        labels = {label: label for label in strings(labels, "labels")}
    found = {}
    for label, words in labels.items():
        found[label] = [words] if isinstance(words, str) else strings(words, f"labels[{label!r}]")
        if not found[label] or not all(word.strip() for word in found[label]):
            raise TinylmError(f"The label {label!r} has no word; give it one, or several.")
    return found
