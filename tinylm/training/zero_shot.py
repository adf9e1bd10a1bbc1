"""Tasks without training: a causal model scores or continues a prompt that shows what is wanted.

    log p(continuation | prompt) = Σ_t log p(x_t | x_1 … x_{t−1}),   t over its tokens

GPT-2's paper reads tasks out of a language model so: an article and "TL;DR:" ask for a summary,
lines of "english = french" for a translation, a document and "A:" for an answer; of several
answers, the most probable one is chosen.

Source: Radford et al. 2019, section 3; GPT-1's probes (Radford et al. 2018, section 5) choose by
the mean, as `choose` does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.arguments import id_array, strings
from tinylm.data.cuts import sentence_starts
from tinylm.errors import DataError, ShapeError, TinylmError
from tinylm.ops.registry import check_ids
from tinylm.sampling import log_probabilities
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad

from .generate import before_first, continuation, generate, lead, unwritten

ROWS = 64  # positions whose probabilities are computed together


@dataclass(frozen=True)
class Score:
    """How probable a continuation is.

    nats : log p of each of its tokens, (P,)

    >>> score = Score(np.array([-1.0, -2.0]))
    >>> score.total, score.mean
    (-3.0, -1.5)
    """

    nats: np.ndarray

    @property
    def total(self) -> float:
        """log p of the whole continuation, in nats."""
        return float(self.nats.sum())

    @property
    def mean(self) -> float:
        """log p per token, in nats."""
        return float(self.nats.mean())


# ---- scores


def token_log_probabilities(
    model: Any, ids: ArrayLike, vocab_size: int | None = None
) -> np.ndarray:
    """log p(x_t | x_1 … x_{t−1}) of every token of a text but the first, in nats.

    ids : (T,), at least one     vocab_size : tokens that there are, see `generate`
    returns (T − 1,) float64
    A text longer than the model's n_positions is read in windows that overlap by half. So each
    token is scored once, and sees at least half a window.
    raises TinylmError  on a model that cannot score text, ShapeError  for another shape
    """
    model.need("scores")
    if not model.causal:
        raise TinylmError(
            f"{model.name} gives no probability to a text, because its tokens see what follows "
            "them; choose a causal objective such as gpt."
        )
    ids = id_array("token_log_probabilities", ids)
    if ids.ndim != 1 or not len(ids):
        raise ShapeError(f"token_log_probabilities: ids have shape {ids.shape}; expected (T,).")
    known = model.config.vocab_size
    ids = check_ids("token_log_probabilities", ids, min(known, vocab_size or known))
    size = model.max_length or len(ids)
    nats = np.empty(len(ids) - 1)
    done = 0  # tokens after the first that have their score
    start = 0
    with model.evaluating(), no_grad():
        while done < len(nats):
            window = ids[start : start + size]
            read = window[: len(nats) - start]  # the last token of the text predicts nothing
            logits = model.logits(read[None]).data[0, done - start :, :vocab_size]  # (P,V)
            found = log_probability_of(logits, ids[done + 1 :])
            nats[done : done + len(found)] = found
            done += len(found)
            start = done - size // 2
    return nats


def log_probability_of(logits: np.ndarray, ids: ArrayLike) -> np.ndarray:
    """log p of one id for each row, in nats.

    logits : (P, V)     ids : P or more, the first P count     returns (P,) float64

    >>> log_probability_of(np.log([[0.25, 0.75], [0.5, 0.5]]), [0, 1]).round(3).tolist()
    [-1.386, -0.693]
    """
    ids = np.asarray(ids)
    found = np.empty(len(logits))
    for first in range(0, len(logits), ROWS):
        part = log_probabilities(logits[first : first + ROWS])
        rows = np.arange(len(part))
        found[first : first + len(part)] = part[rows, ids[first + rows]]
    return found


def score(model: Any, tokenizer: Any, prompt: str, continuations: Iterable[str]) -> list[Score]:
    """The Score of each continuation of a prompt.

    A token that reaches beyond the prompt counts as part of the continuation. So the space between
    both may stand on either side. An empty prompt stands for the beginning of a text.
    raises DataError    for a continuation without a token, or a first token that has nothing before
        it
    raises TinylmError  on a model that cannot score text
    """
    scores = []
    for text in strings(continuations, "continuations"):
        whole = prompt + text
        ids = tokenizer.encode(whole)
        ends = [end for _, end in tokenizer.offsets(whole)]
        first = sum(end <= len(prompt) for end in ends)
        if first == len(ids):
            raise DataError(f"The continuation {text!r} holds no token; give more text.")
        before = lead(tokenizer, first)
        if len(before) + first == 0:
            raise DataError("The prompt holds no token that the model knows; give a longer one.")
        nats = token_log_probabilities(model, [*before, *ids], tokenizer.vocab_size)
        scores.append(Score(nats[len(before) + first - 1 :]))
    return scores


def choose(
    model: Any, tokenizer: Any, prompt: str, candidates: Sequence[str], by: str = "mean"
) -> int:
    """Which of some continuations is the most probable: its place in `candidates`.

    by : "mean", nats per token, so that a long one is not at a disadvantage; or "total"
    raises TinylmError  for another `by`, no candidates, or as `score`
    """
    if by not in ("mean", "total"):
        raise TinylmError(f"choose: by is {by!r}; expected 'mean' or 'total'.")
    candidates = strings(candidates, "candidates")
    if not candidates:
        raise TinylmError("choose: there are no candidates; give at least one.")
    scores = score(model, tokenizer, prompt, candidates)
    values = [found.mean if by == "mean" else found.total for found in scores]
    return int(np.argmax(values))


# ---- prompts


def summarise(
    model: Any,
    tokenizer: Any,
    article: str,
    rng: np.random.Generator,
    steps: int = 100,
    top_k: int = 2,
    sentences: int = 3,
) -> str:
    """A summary: the first sentences of what follows the article and "TL;DR:".

    steps : tokens to write     top_k : each is drawn from so many most probable ones
    raises TinylmError  on a model that cannot continue text, ArgumentError  for no sentences
    Source: Radford et al. 2019, section 3.6.
    """
    argument("summarise", "sentences", sentences, int, at_least(1))
    prompt = f"{article}\nTL;DR:"
    text = _continued(model, tokenizer, prompt, steps, rng=rng, top_k=top_k)
    return first_sentences(text, sentences)


def translate(
    model: Any,
    tokenizer: Any,
    examples: Iterable[tuple[str, str]],
    sentence: str,
    steps: int = 100,
) -> str:
    """A translation: the first sentence that the most probable text after "sentence =" holds.

    examples : pairs (sentence, its translation), which show what is wanted
    raises TinylmError  on a model that cannot continue text
    Source: Radford et al. 2019, section 3.7.
    """
    prompt = translation_prompt(examples, sentence)
    text = _continued(model, tokenizer, prompt, steps, temperature=0)
    return first_sentences(before_first(text.lstrip(), ["\n"]), 1)


def translation_prompt(examples: Iterable[tuple[str, str]], sentence: str) -> str:
    r"""Lines "sentence = translation", and the last one without its translation.

    >>> translation_prompt([("good day", "bonjour")], "thank you")
    'good day = bonjour\nthank you ='
    """
    lines = [f"{source} = {target}" for source, target in examples]
    return "\n".join([*lines, f"{sentence} ="])


def answer(
    model: Any,
    tokenizer: Any,
    document: str,
    question: str,
    history: Iterable[tuple[str, str]] = (),
    steps: int = 100,
) -> str:
    """An answer: the first line of the most probable text after document, history and "A:".

    history : earlier questions with their answers
    raises TinylmError  on a model that cannot continue text
    Source: Radford et al. 2019, section 3.5.
    """
    turns = [f"Q: {asked}\nA: {answered}\n" for asked, answered in history]
    prompt = f"{document}\n{''.join(turns)}Q: {question}\nA:"
    text = _continued(model, tokenizer, prompt, steps, temperature=0)
    return before_first(text.strip(), ["\n"])


def first_sentences(text: str, count: int) -> str:
    """The first sentences of a text, without white space around them.

    raises ArgumentError  unless the count is at least 1

    >>> first_sentences(" It rained. We left! Nobody knew.", 2)
    'It rained. We left!'
    """
    argument("first_sentences", "count", count, int, at_least(1))
    text = text.strip()
    starts = [*sentence_starts(text), len(text)]
    return text[: starts[min(count, len(starts)) - 1]].rstrip()


def _continued(model, tokenizer, prompt, steps, **how):
    """The text that a model writes after a prompt, up to its end of text."""
    ids = tokenizer.encode(prompt)
    if not ids:
        raise DataError("The prompt holds no token that the model knows; give a longer one.")
    end = tokenizer.end_id
    how |= {"vocab_size": tokenizer.vocab_size, "without": unwritten(tokenizer)}
    begin = [*lead(tokenizer, len(ids)), *ids]
    new = list(generate(model, begin, steps, end_id=end, **how))
    if new and new[-1] == end:
        new.pop()
    return continuation(tokenizer, ids, new)
