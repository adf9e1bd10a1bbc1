"""Several patterns for one task: what a prompt says matters by chance, so ask in many words.

    p(label | text) = mean over the patterns of p(label | text, pattern)

Each pattern is a `PromptClassifier`. A task that people often have brings patterns of its own:

    topic        "{text} This is about {label}."    sentiment    "{text} It was {label}."
                 ...                                             ...

Source: Schick & Schütze 2021, section 3.4 (all patterns weighted alike). Differs: the probabilities
are averaged, not the scores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinylm.arguments import strings
from tinylm.errors import TinylmError

from .prompting import PromptClassifier

PATTERNS = {  # task -> patterns that a model without training can answer
    "topic": (
        "{text} This is about {label}.",
        "{text} The topic is {label}.",
        "{text} Category: {label}",
    ),
    "sentiment": (
        "{text} It was {label}.",
        "{text} All in all, it was {label}.",
        "{text} In short: {label}",
    ),
}


class PatternClassifier(PromptClassifier):
    """A text classifier without training that asks in several patterns and takes the mean.

    patterns : the name of a task, a key of PATTERNS, or one pattern or several
    The other arguments, and what is raised, are those of `PromptClassifier`.

    >>> PatternClassifier(None, None, "weather", ["wet", "dry"])
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: The pattern 'weather' must hold {text} and {label} once each, for \
example '{text} It was {label}.'; or give a task: topic, sentiment.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        patterns: str | Sequence[str],
        labels: Mapping[str, str | Sequence[str]] | Sequence[str],
        neutral: str | None = None,
    ):
        self.patterns = patterns_of(patterns)
        self.each = []
        for pattern in self.patterns:
            self.each.append(PromptClassifier(model, tokenizer, pattern, labels, neutral))
        self.classes_ = self.each[0].classes_

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, (N, K), columns as in classes_: the mean over the patterns."""
        return np.mean([one.predict_proba(texts) for one in self.each], axis=0)


def patterns_of(patterns: str | Sequence[str]) -> list[str]:
    """The patterns that a task's name stands for, or those that were given.

    raises TinylmError  for none, for the same one twice, or for an unknown task

    >>> patterns_of("sentiment")[0], patterns_of("{text} {label}")
    ('{text} It was {label}.', ['{text} {label}'])
    """
    if isinstance(patterns, str):
        if patterns not in PATTERNS and "{" not in patterns:
            tasks = ", ".join(PATTERNS)
            raise TinylmError(
                f"The pattern {patterns!r} must hold {{text}} and {{label}} once each, for example "
                f"'{{text}} It was {{label}}.'; or give a task: {tasks}."
            )
        return list(PATTERNS.get(patterns, [patterns]))
    found = strings(patterns, "patterns")
    if not found or len(set(found)) < len(found):
        raise TinylmError(f"patterns is {found!r}; give at least one, and each of them once.")
    return found
