"""Beam search: the most probable continuation, not a random one, as far as a few texts can tell.

    score(y) = log p(y | prompt) / |y|^length_penalty

Every step extends each text of the beam by each id, and keeps the best `width` of all these. A text
that takes an end id, or reaches the longest length, is finished. Greedy search is a beam of width
1; a beam that holds all continuations is exhaustive search.

Source: Graves 2012; the length penalty as in transformers. Ours stops only when no text of the beam
can still beat a finished one, which transformers calls early_stopping="never".
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.sampling import log_probabilities
from tinylm.settings import argument, at_least, between

from .generate import Texts, end_ids


@dataclass(frozen=True)
class Continuation:
    """A finished text of a beam.

    ids : the new ids, an end id included     log_probability : of these ids together, in nats
    score : log_probability / len(ids)^length_penalty
    """

    ids: list[int]
    log_probability: float
    score: float


def beam_search(
    model: Any,
    ids: ArrayLike,
    steps: int,
    width: int = 4,
    length_penalty: float = 1.0,
    end_id: int | Collection[int] | None = None,
    vocab_size: int | None = None,
    count: int = 1,
    without: Collection[int] = (),
) -> list[Continuation]:
    """The best continuations of a prompt, best first, `count` at most.

    width : texts in the beam, at least `count`
    length_penalty : above 0 favours long continuations, below 0 short ones, 0 counts only log p;
        from -30 to 30
    The other arguments are those of `generate`. Of equally good ones, the earlier row of the beam
    and the smaller id come first. A beam of width 1 ends with its first end id, as greedy search.

    raises ShapeError, ArgumentError, TinylmError  as `generate`
    """
    steps = argument("beam_search", "steps", steps, int, at_least(1))
    width = argument("beam_search", "width", width, int, at_least(1))
    count = argument("beam_search", "count", count, int, at_least(1, width))
    length_penalty = argument(
        "beam_search", "length_penalty", length_penalty, float, between(-30, 30)
    )
    texts = Texts(model, [ids], steps, vocab_size, without)
    ends = end_ids(end_id)
    begun = len(texts.ids[0])
    totals = np.zeros(1)  # log p of each text of the beam
    finished: list[Continuation] = []
    with model.evaluating():
        for length in range(1, steps + 1):
            candidates = totals[:, None] + log_probabilities(texts.scores())  # (R,V)
            rows = []
            new = []
            for rank, place in enumerate(_best(candidates.ravel(), (1 + len(ends)) * width)):
                row, i = divmod(int(place), candidates.shape[1])
                if i not in ends and length < steps:
                    rows.append(row)
                    new.append(i)
                elif rank < width:
                    total = float(candidates[row, i])
                    text = [*texts.ids[row][begun:], i]
                    finished.append(Continuation(text, total, total / length**length_penalty))
            rows = rows[:width]
            new = new[:width]
            finished = sorted(finished, key=lambda found: -found.score)[:width]
            totals = candidates[rows, new]
            if not rows or (width == 1 and finished):
                break
            longest = steps if length_penalty > 0 else length + 1
            possible = totals.max() / longest**length_penalty
            if len(finished) >= count and finished[count - 1].score >= possible:
                break
            texts.extend(rows, new)
    return finished[:count]


def _best(values, count):
    """The places of the `count` largest values, falling; −inf is none, equals by their place.

    >>> _best(np.array([1.0, -np.inf, 3.0, 1.0]), 3).tolist()
    [2, 0, 3]
    """
    places = np.arange(len(values))
    if count < len(values):
        least = np.partition(values, -count)[-count]
        places = np.flatnonzero(values >= least)
    order = np.argsort(-values[places], kind="stable")[:count]
    best = places[order]
    return best[values[best] > -np.inf]
