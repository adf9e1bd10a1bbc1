"""Reading: the words of a text that answer a question, or none of them.

    h = encode([CLS] question [SEP] text [SEP])
    p(first = i) = softmax_i(w_1 · h_i + b_1),    p(last = j) = softmax_j(w_2 · h_j + b_2)
    loss = −½ (log p(right first) + log p(right last))
    answer = the words i … j with the largest w_1 · h_i + w_2 · h_j,  i ≤ j

A text that does not fit is read in windows: windows.py. Whether the text answers the question at
all is decided by comparing the best answer with the score of the token that means "nowhere".
Source: Devlin et al. 2019, sections 4.2 and 4.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from tinylm import hub, memory, nn, settings
from tinylm import ops as F
from tinylm.data.batching import by_length
from tinylm.data.squad import Question
from tinylm.errors import DataError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.settings import at_least
from tinylm.tensor import Tensor, no_grad

from ..adapted import Adapted, Split, best_rate
from ..budgets import folds
from ..features import take
from ..finetune import AdaptConfig, adapt, duplicate, refuse_own_loss
from .answers import reading_scores
from .windows import Span, Windows, best_spans, read_questions, targets

METHODS = ("finetune", "gradual")
AT_ONCE = 32  # inputs that are read together
IMPOSSIBLE = -1e30  # the score of a place where no answer may be


@dataclass(frozen=True)
class SpanConfig(AdaptConfig):
    """How a reader learns and reads: the fields of AdaptConfig, and these.

    max_length : tokens of an input, question and window together
    stride : tokens by which each window begins behind the one before
    max_question, max_answer : tokens of a question and of an answer at most
    n_best : answers among which probabilities are shared
    threshold : how much better than the best answer "none" must be to be given

    >>> SpanConfig(stride=0)
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: SpanConfig: stride is 0; expected a finite whole number of 1 or \
more.
    """

    ranges = {
        "stride": at_least(1),
        "max_question": at_least(1),
        "max_answer": at_least(1),
        "n_best": at_least(1, 1000),
    }
    max_length: int = 384
    stride: int = 128
    max_question: int = 64
    max_answer: int = 30
    n_best: int = 20
    threshold: float = 0.0

    def check(self) -> None:
        """Refuse what `AdaptConfig` refuses, and what no reader of spans does.

        raises TinylmError
        """
        super().check()
        refuse_own_loss(self)
        if self.mixes:
            raise TinylmError(
                f"SpanConfig: layers is {self.layers}, but the two scores of a span are read from "
                "the last layer; leave it out."
            )


class Network(nn.Module):
    """An encoder, and two scores for each of its states."""

    def __init__(self, encoder: Objective, width: int, config: SpanConfig):
        self.encoder = encoder
        self.dropout = nn.Dropout(config.dropout, nn.Noise(config.seed))
        self.head = nn.Linear(width, 2, rng=np.random.default_rng(config.seed), std=0.02)

    def forward(self, batch: dict[str, np.ndarray]) -> Tensor:
        """Keywords of `encode`, (B,T) each -> scores as first and as last token, (B,T,2)."""
        return self.head(self.dropout(self.encoder.encode(**batch)[-1]))

    def loss(self, batch: dict[str, np.ndarray], allowed: np.ndarray, right: np.ndarray) -> Tensor:
        """Half the mean −log p of the right first and last tokens.

        allowed : (B, T) bool, where an answer may begin or end     right : (B, 2) places
        """
        scores = F.where(allowed[:, :, None], self(batch), IMPOSSIBLE)
        first = F.cross_entropy(scores[:, :, 0], right[:, 0])
        last = F.cross_entropy(scores[:, :, 1], right[:, 1])
        return (first + last) * 0.5


class SpanReader(Adapted):
    """Answers questions with words of a text: `SpanReader(encoder, tokenizer).fit(questions)`.

    encoder, tokenizer : their template must know pairs; see `paired`. The encoder passed in is
        never changed
    method : "finetune" (all weights), or "gradual" (all weights, as `AdaptConfig.gradual` says)
    progress : called as progress(done, updates)
    After `fit`: encoder_; head_, a Linear(C, 2); rate_; and may_lack_, whether a question was
    without an answer. Where none was, the best answer is given however bad it is.

    >>> SpanReader(None, None, "features")
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: SpanReader: unknown method 'features'; expected 'finetune' or \
'gradual'.
    """

    task = "span"

    def __init__(
        self,
        encoder: Objective,
        tokenizer: Any,
        method: str = "finetune",
        config: SpanConfig | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        if method not in METHODS:
            expected = " or ".join(repr(name) for name in METHODS)
            raise TinylmError(f"SpanReader: unknown method {method!r}; expected {expected}.")
        config = config or SpanConfig()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.method = method
        self.config = config
        self.progress = progress or (lambda done, updates: None)

    # ---- fitting

    def fit(self, questions: Sequence[Question], answers: Any = None) -> "SpanReader":
        """Adapt to questions, which hold their right answers.

        questions : N of them     answers : ignored     returns self
        raises DataError    if there is no question, or none has an answer
        raises TinylmError  if training diverges
        """
        questions = list(questions)
        if not any(question.answers for question in questions):
            raise DataError("SpanReader: no question has an answer; expected at least one.")
        self.may_lack_ = any(question.impossible for question in questions)
        with self.fitting(), one_pool():
            self.rate_ = self._choose_rate(questions)
            self._keep(self._train(questions, self.rate_))
        return self

    def _choose_rate(self, questions: list[Question]) -> float:
        """The rate with the best held-out F1 inside the questions."""

        def quality(split: Split, rate: float) -> float:
            train, held = split
            self._keep(self._train([questions[i] for i in train], rate))
            return held.size * self.score([questions[i] for i in held])

        splits = folds(np.zeros(len(questions)), self.config.n_folds, self.config.seed)
        return best_rate(self.config.rates, splits, quality)

    def _read(self, encoder: Objective, questions: Sequence[Question]) -> Windows:
        """Questions as inputs of an encoder."""
        config = self.config
        return read_questions(
            encoder,
            self.tokenizer,
            questions,
            config.max_length,
            config.stride,
            config.max_question,
        )

    def _train(self, questions: list[Question], rate: float) -> Network:
        """Train a copy of the encoder and a new head."""
        reading = self._read(self.encoder, questions)
        right = targets(reading, questions)
        encoder = duplicate(self.encoder)
        with no_grad():
            states = encoder.encode(**take(reading.encoded, [0]))
        network = Network(encoder, states[-1].shape[-1], self.config)

        def loss(chosen: np.ndarray) -> Tensor:
            columns = reading.encoded["mask"][chosen].any(axis=0)
            column_now = np.cumsum(columns) - 1  # `take` leaves out columns of padding
            allowed = reading.allowed(chosen, columns)
            batch = take(reading.encoded, chosen)
            return network.loss(batch, allowed, column_now[right[chosen]])

        how = self.config.by(self.method)
        return adapt(network, loss, reading.lengths, rate, how, self.progress)

    def _keep(self, network: Network) -> None:
        """Take what predicts from a trained network."""
        self.encoder_ = network.encoder
        self.head_ = network.head

    # ---- answering

    def answers(self, questions: Sequence[Question]) -> list[list[Span]]:
        """The best answers to each question, the one to give first; probabilities sum to 1.

        "No answer" is among them if the reader has learned that there may be none.
        raises TinylmError before `fit`, DataError if there is no question
        """
        self.check_fitted()
        questions = list(questions)
        reading = self._read(self.encoder_, questions)
        found: list[list[tuple[float, int, int]]] = [[] for _ in questions]
        nowhere = np.full(len(questions), np.inf)  # the lowest score of "no answer here"
        with self.encoder_.evaluating(), no_grad(), one_pool():
            for rows in by_length(reading.lengths, AT_ONCE):
                scores = np.zeros((rows.size, *reading.encoded["mask"].shape[1:], 2))
                columns = reading.encoded["mask"][rows].any(axis=0)
                states = self.encoder_.encode(**take(reading.encoded, rows))[-1]
                scores[:, columns] = self.head_(states).data
                for row, own in zip(rows, scores, strict=True):
                    n = reading.question[row]
                    found[n] += best_spans(
                        reading, row, own, self.config.max_answer, self.config.n_best
                    )
                    nowhere[n] = min(nowhere[n], own[reading.nowhere[row]].sum())
        results = []
        for question, spans, none in zip(questions, found, nowhere, strict=True):
            results.append(self._ranked(question, spans, float(none)))
        return results

    def _ranked(
        self, question: Question, found: list[tuple[float, int, int]], nowhere: float
    ) -> list[Span]:
        """The n_best answers of one question from all its windows, with probabilities."""
        found = sorted(found, key=lambda span: -span[0])[: self.config.n_best]
        spans = [_trimmed(question.context, *place, score) for score, *place in found]
        none = Span("", 0, 0, nowhere)
        if self.may_lack_ or not spans:
            lacking = not spans or nowhere - spans[0].score > self.config.threshold
            spans = [none, *spans] if lacking else [*spans, none]
        p = special.softmax([span.score for span in spans])
        ranked = []
        for span, share in zip(spans, p, strict=True):
            ranked.append(Span(span.text, span.start, span.end, span.score, float(share)))
        return ranked

    def predict(self, questions: Sequence[Question]) -> list[str]:
        """The answer to each question, "" for none.   raises as `answers`"""
        return [spans[0].text for spans in self.answers(questions)]

    def evaluate(self, questions: Sequence[Question]) -> dict[str, float]:
        """Exact match and F1, see `reading_scores`.   raises as `answers`"""
        questions = list(questions)
        right = [[answer.text for answer in question.answers] for question in questions]
        return reading_scores(right, self.predict(questions))

    def score(self, questions: Sequence[Question], answers: Any = None) -> float:
        """F1 of the words, in [0, 1].   raises as `answers`"""
        return self.evaluate(questions)["f1"]

    # ---- folders

    def _arrays(self) -> dict[str, np.ndarray]:
        """The head's weights."""
        return self.head_.state_dict()

    def _facts(self) -> dict[str, Any]:
        """Settings, and whether a question may be without an answer."""
        return {
            "labels": ["first", "last"],
            "may_lack": self.may_lack_,
            "method": self.method,
            "config": asdict(self.config),
        }

    @classmethod
    def _assembled(cls, encoder, tokenizer, facts: dict, arrays: dict) -> "SpanReader":
        """The parts of a folder put together.   raises many kinds of error if a part is damaged"""
        config = settings.build(SpanConfig, facts["config"])
        self = cls(encoder, tokenizer, facts["method"], config)
        if not isinstance(facts["may_lack"], bool):
            raise TinylmError(f"may_lack is {facts['may_lack']!r}, expected true or false")
        self.may_lack_ = facts["may_lack"]
        width = arrays["weight"].shape[1]
        with memory.at_most(hub.SLACK + hub.BYTES_EACH * sum(a.size for a in arrays.values())):
            self.head_ = nn.Linear(width, 2, rng=np.random.default_rng(0))
        self.head_.load_state_dict(arrays)
        self.encoder_ = encoder
        return self


def _trimmed(context: str, start: int, end: int, score: float) -> Span:
    """An answer without the white space around it, which a token may bring along."""
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    return Span(text, start, start + len(text), score)
