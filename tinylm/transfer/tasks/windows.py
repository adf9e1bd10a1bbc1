"""Questions and long texts as overlapping inputs, and scores of tokens as answers again.

    text      t1 t2 t3 t4 t5 t6 t7            does not fit beside its question
    inputs    [CLS] q [SEP] t1 t2 t3 t4 [SEP]
              [CLS] q [SEP] t3 t4 t5 t6 [SEP]      begins `stride` tokens later
              [CLS] q [SEP] t5 t6 t7 [SEP]

A token in several windows counts only in the one where it sees most: its smaller context, to the
left or to the right, is largest there ("max context"). An input without the answer, and a question
that the text does not answer, point at the special token that stands for the whole input.
Source: Devlin et al. 2019, sections 4.2 and 4.3, and the released run_squad.py. Differs: scores of
the question and of padding do not take part in the softmax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.data.squad import Question
from tinylm.errors import DataError
from tinylm.objectives import Objective, read_by
from tinylm.text.cutting import Window, windows

from ..features import NO_LIMIT

WHOLE = ("[CLS]", "<cls>", "<classify>")  # special tokens that stand for a whole input
LENGTH_BONUS = 0.01  # of a window, in comparing contexts


@dataclass(frozen=True)
class Windows:
    """R inputs made of N questions.

    encoded : the keywords of `encode`, (R, T) each
    question : (R,) the number of each input's question
    begin, count : (R,) where the text's tokens stand in the input, and how many
    nowhere : (R,) the place that means "no answer here"
    offsets : for each input, (count, 2) the characters that each of the text's tokens covers
    best : for each input, (count,) bool, whether a token has its largest context here
    """

    encoded: dict[str, np.ndarray]
    question: np.ndarray
    begin: np.ndarray
    count: np.ndarray
    nowhere: np.ndarray
    offsets: list[np.ndarray]
    best: list[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        """The tokens of each input, (R,)."""
        return self.encoded["mask"].sum(axis=1)

    def allowed(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Where an answer may begin or end in some inputs, (B, T') bool.

        columns : (T,) bool, the columns that are kept
        """
        places = np.flatnonzero(columns)
        behind = places >= self.begin[rows, None]
        inside = behind & (places < (self.begin + self.count)[rows, None])
        return inside | (places == self.nowhere[rows, None])


def read_questions(
    encoder: Objective,
    tokenizer: Any,
    questions: Sequence[Question],
    max_length: int | None,
    stride: int,
    max_question: int,
) -> Windows:
    """Questions and their texts as inputs.

    max_length : tokens of an input; never more than the encoder has positions for
    stride : tokens by which each window begins behind the one before, fewer where windows are small
    max_question : tokens of a question; longer ones are cut at the end
    raises DataError  if a question leaves no room for its text, or there is no question
    """
    if not questions:
        raise DataError("Reading questions: there are none; give at least one.")
    limit = min(n for n in (max_length, encoder.max_length, NO_LIMIT) if n)
    template = tokenizer.template
    n_specials = len(template.assemble([], [], tokenizer.token_id, None)[0])
    firsts: list[list[int]] = []
    parts: list[Window] = []
    numbers: list[int] = []
    best: list[np.ndarray] = []
    for n, question in enumerate(questions):
        asked = tokenizer.encode(question.question)[:max_question]
        room = limit - n_specials - len(asked)
        if room < 1:
            raise DataError(
                f"{limit} tokens are too few for the question {question.question!r:.80} and a "
                "text; give a larger max_length or a smaller max_question."
            )
        ids = tokenizer.encode(question.context)
        found = windows(ids, tokenizer.offsets(question.context), room, min(stride, room))
        parts += found
        best += max_context([window.first for window in found], [len(w.ids) for w in found])
        firsts += [asked] * len(found)
        numbers += [n] * len(found)

    seconds = [window.ids for window in parts]
    encoded = template.arrays(firsts, seconds, tokenizer.token_id, None, tokenizer.pad_id)
    first_real = encoded["mask"].argmax(axis=1)  # behind the padding on the left
    begin = np.array([template.places(len(asked))["B"] for asked in firsts])
    counts = np.array([len(ids) for ids in seconds])
    nowhere = _nowhere(tokenizer, encoded, first_real)
    offsets = [np.array(window.offsets, np.int64).reshape(-1, 2) for window in parts]
    kept = read_by(encoder, encoded)
    return Windows(kept, np.array(numbers), first_real + begin, counts, nowhere, offsets, best)


def _nowhere(tokenizer: Any, encoded: dict[str, np.ndarray], first_real: np.ndarray) -> np.ndarray:
    """The place of each input's token for the whole of it: a name of WHOLE, or else its last."""
    ids = encoded["ids"]
    for name in WHOLE:
        if name in tokenizer.specials:
            is_whole = ids == tokenizer.token_id(name)
            if is_whole.any(axis=1).all():
                return is_whole.argmax(axis=1)
    return first_real + encoded["mask"].sum(axis=1) - 1


def max_context(firsts: Sequence[int], counts: Sequence[int]) -> list[np.ndarray]:
    """For each window of one text, whether each of its tokens has its largest context there.

    firsts : the number in the text of each window's first token     counts : tokens of each window
    returns a (count,) bool array for each window; the first of equal windows has the token

    >>> [part.tolist() for part in max_context([0, 2], [4, 4])]
    [[True, True, True, False], [False, True, True, True]]
    """
    length = max(first + count for first, count in zip(firsts, counts, strict=True))
    context = np.full((len(firsts), length), -1.0)
    for w, (first, count) in enumerate(zip(firsts, counts, strict=True)):
        left = np.arange(count)
        context[w, first : first + count] = np.minimum(left, left[::-1]) + LENGTH_BONUS * count
    winner = context.argmax(axis=0)
    found = []
    for w, (first, count) in enumerate(zip(firsts, counts, strict=True)):
        found.append(winner[first : first + count] == w)
    return found


def targets(reading: Windows, questions: Sequence[Question]) -> np.ndarray:
    """The first and the last token of the right answer in each input, (R, 2) places.

    Of several right answers the first counts. Both are `nowhere` where the input does not hold all
    of it.
    """
    found = np.repeat(reading.nowhere[:, None], 2, axis=1)
    for r, n in enumerate(reading.question):
        answers = questions[n].answers
        if not answers or not reading.count[r]:
            continue
        offsets = reading.offsets[r]
        overlaps = (offsets[:, 0] < answers[0].end) & (offsets[:, 1] > answers[0].start)
        tokens = np.flatnonzero(overlaps)
        if not tokens.size:
            continue
        whole = offsets[0, 0] <= answers[0].start and offsets[-1, 1] >= answers[0].end
        if whole:
            found[r] = reading.begin[r] + tokens[[0, -1]]
    return found


@dataclass(frozen=True)
class Span:
    """An answer that a reader found: context[start:end], "" for no answer.

    score : of its first and last token together     probability : among the best answers found
    """

    text: str
    start: int
    end: int
    score: float
    probability: float = 0.0


def best_spans(
    reading: Windows, row: int, scores: np.ndarray, max_answer: int, count: int
) -> list[tuple[float, int, int]]:
    """The best answers in one input: (score, first character, character behind the last).

    scores : (T, 2) of every place of the input, as the first and as the last token of an answer
    max_answer : tokens of an answer     count : how many answers at most
    Only a token with its largest context here may begin an answer.
    """
    n_tokens = reading.count[row]
    if not n_tokens:
        return []
    begin = reading.begin[row]
    first, last = scores[begin : begin + n_tokens].T.astype(np.float64)
    distance = np.arange(n_tokens) - np.arange(n_tokens)[:, None]  # last − first
    legal = (distance >= 0) & (distance < max_answer) & reading.best[row][:, None]
    sums = np.where(legal, first[:, None] + last, -np.inf).ravel()
    found = []
    offsets = reading.offsets[row]
    for place in np.argsort(-sums, kind="stable")[:count]:
        if not np.isfinite(sums[place]):
            break
        i, j = divmod(int(place), n_tokens)
        found.append((float(sums[place]), int(offsets[i, 0]), int(offsets[j, 1])))
    return found
