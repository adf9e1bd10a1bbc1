"""Filling gaps: the tokens that a masked language model finds most probable there.

    p(x_t | x̃) = softmax of the scores at the gap t, where x̃ is the text with its gaps

Several gaps are filled independently of each other, each as if the others stayed gaps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.errors import TinylmError
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad

GAP = "[MASK]"  # how a user may write a gap, whatever the tokenizer calls it


@dataclass(frozen=True)
class Choice:
    """A token for a gap.

    token : as it stands in the vocabulary     text : as it reads     probability : of it there
    """

    token: str
    text: str
    probability: float


def fill(model: Any, tokenizer: Any, text: str, count: int = 5) -> list[list[Choice]]:
    """The most probable tokens of each gap in a text, from left to right.

    text : with one or more gaps, written [MASK] or as the tokenizer's own token for it
    count : tokens for each gap, special ones left out
    returns one list for each gap, falling probabilities
    raises TinylmError  for a model that cannot fill gaps, a text without one or a text too long
    """
    model.need("filling")
    count = argument("fill", "count", count, int, at_least(1))
    ids = gapped(tokenizer, text, model.gap_id)
    if model.gap_id not in ids:
        raise TinylmError(f"The text has no gap; write {GAP} where a token is missing.")
    keywords = arranged(model, tokenizer, ids)
    with model.evaluating(), no_grad():
        scores = model.logits(**keywords).data[0]  # (T,V)
    gaps = np.flatnonzero(keywords["ids"][0] == model.gap_id)
    return [_best(scores[gap], tokenizer, count) for gap in gaps]


def gapped(tokenizer: Any, text: str, gap_id: int) -> list[int]:
    """The ids of a text with gaps.

    A space before a gap belongs to the missing word, unless spaces are tokens of their own.
    """
    own = tokenizer.vocab[gap_id]
    parts = text.replace(own, GAP).split(GAP)
    ids: list[int] = []
    for number, part in enumerate(parts, 1):
        if number < len(parts) and not tokenizer.spaces_alone:
            part = part.rstrip()
        ids += tokenizer.encode(part)
        if number < len(parts):
            ids.append(gap_id)
    return ids


def arranged(model: Any, tokenizer: Any, ids: list[int]) -> dict[str, np.ndarray]:
    """The keywords of `logits` for one text: its ids between the special tokens of the template.

    ids : T, gaps included     returns "ids" (1, T'), and "token_types" (1, T') if there are types
    raises TinylmError  for a text too long
    """
    row, types = tokenizer.template.assemble(ids, None, tokenizer.token_id, None)
    if model.max_length is not None and len(row) > model.max_length:
        raise TinylmError(
            f"The text has {len(row)} tokens, special ones included, but the model reads "
            f"{model.max_length} at most; give a shorter text."
        )
    keywords = {"ids": np.array([row])}
    if tokenizer.template.typed:
        keywords["token_types"] = np.array([types])
    return keywords


def _best(scores, tokenizer, count):
    """The most probable tokens by their scores (V,)."""
    chances = np.exp(scores - scores.max(), dtype=np.float64)
    chances /= chances.sum()
    found = []
    for i in np.argsort(-chances, kind="stable").tolist():
        if len(found) == count:
            break
        if i < tokenizer.vocab_size and i not in tokenizer.special_ids:
            text = tokenizer.decode([i]).strip()
            found.append(Choice(tokenizer.vocab[i], text, float(chances[i])))
    return found
