"""Multiple choice: which of several answers fits a text?

    s_k = w · standardise(summary(encode(text, answer_k))) + b,    p(k | text) = softmax_k(s)

Every answer is read together with the text, as a pair of its own; the answers meet only in the
softmax. Their number may differ from text to text.
Source: Radford et al. 2018, section 3.3; the loss alone, for one batch, is in several.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from tinylm.data.columns import Choice
from tinylm.errors import DataError

from ..features import Pair
from ..goals import Answers, Right
from ..metrics import accuracy
from ..pooled import Pooled


class Chooser(Pooled):
    """Chooses among answers: `Chooser(encoder, tokenizer).fit(choices).predict(choices)`.

    encoder, tokenizer : their template must know pairs; see `paired`
    method, config, progress : as for `Classifier`. With the method "features" the answers compete
        in a softmax regression on the frozen encoder's states
    After `fit`: encoder_, head_, features_, and after fine-tuning rate_.

    >>> Chooser(None, None).fit([Choice("He opens it.", ("He reads.", "It sinks."))])
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: Chooser: choices[0] does not say which answer is right; set `right`.
    """

    task = "choice"
    goal = Answers()

    def fit(self, choices: Sequence[Choice], right: Any = None) -> "Chooser":
        """Adapt to texts with answers.

        choices : N of them, which say the right answer     right : ignored     returns self
        raises DataError  for no choices, or one that says no right answer or has fewer than two
        """
        choices = _answered(choices)
        self._adapt(_pairs(choices), _targets(choices))
        return self

    def predict_proba(self, choices: Sequence[Choice]) -> list[np.ndarray]:
        """The probability of each answer, (K,) for each of N choices.

        raises TinylmError before `fit`, DataError for no choices
        """
        choices = _checked(choices)
        scores = self._scores(_pairs(choices))[:, 0]
        ends = np.cumsum([len(choice.answers) for choice in choices])
        return [special.softmax(part) for part in np.split(scores, ends[:-1])]

    def predict(self, choices: Sequence[Choice]) -> np.ndarray:
        """The number of the most probable answer of each, (N,).   raises as `predict_proba`"""
        return np.array([int(p.argmax()) for p in self.predict_proba(choices)])

    def score(self, choices: Sequence[Choice], right: Any = None) -> float:
        """Accuracy in [0, 1].   raises as `predict_proba`, and DataError as `fit`"""
        choices = _answered(choices)
        return accuracy([choice.right for choice in choices], self.predict(choices))


def _checked(choices: Sequence[Choice]) -> list[Choice]:
    """The choices as a list.   raises DataError"""
    choices = list(choices)
    if not choices:
        raise DataError("Chooser: there are no choices; give at least one.")
    for n, choice in enumerate(choices):
        if not isinstance(choice, Choice) or len(choice.answers) < 2:
            raise DataError(f"Chooser: choices[{n}] is no Choice of at least two answers.")
    return choices


def _answered(choices: Sequence[Choice]) -> list[Choice]:
    """The same, and each says which answer is right.   raises DataError"""
    choices = _checked(choices)
    for n, choice in enumerate(choices):
        is_number = isinstance(choice.right, int | np.integer)
        if not is_number or not 0 <= choice.right < len(choice.answers):
            raise DataError(
                f"Chooser: choices[{n}] does not say which answer is right; set `right`."
            )
    return choices


def _pairs(choices: Sequence[Choice]) -> list[Pair]:
    """(text, answer) of every answer of every choice."""
    return [(choice.context, answer) for choice in choices for answer in choice.answers]


def _targets(choices: Sequence[Choice]) -> Right:
    """Which answers are right."""
    counts = np.array([len(choice.answers) for choice in choices])
    return Right(counts, np.array([choice.right for choice in choices]))
