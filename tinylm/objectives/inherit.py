"""A new model takes over the weights of an older one that knows fewer kinds of tokens.

    old table (3, C)    the cat sat
    new table (4, C)    the cat sat slept      three rows as they were, one as it was drawn

Where the objective says `mean_rows`, a new row is the mean of the old ones, as in ULMFiT. Rows that
stand behind the tokens' (GPT-1's positions, fastText's pieces) stay behind them.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinylm.errors import TinylmError
from tinylm.text import template

from .base import Objective


def inherit(model: Objective, weights: Mapping[str, np.ndarray], n_tokens: int) -> None:
    """Set a model's weights to older ones; the rows of new tokens stay, or are means, see above.

    weights : name -> array, of a model of the same sizes
    n_tokens : kinds of tokens that the older model knew, the first ones of the new
    raises TinylmError  if the model has a tensor that cannot take more tokens
    """
    taken = {}
    for name, fresh in model.state_dict().items():
        old = weights[name]
        added = model.config.vocab_size - n_tokens
        if old.shape != fresh.shape:
            axis = _token_axis(old.shape, fresh.shape, added)
            if axis is None:
                raise TinylmError(
                    f"{name} cannot take {added} more tokens: it would grow from {old.shape} to "
                    f"{fresh.shape}; choose a text without new ones."
                )
            if model.mean_rows:
                fresh = mean_everywhere(old, fresh, n_tokens, axis)
            old = grown(old, fresh, n_tokens, axis)
        taken[name] = old
    model.load_state_dict(taken)


def with_tokens(model: Objective, vocab_size: int, rng: np.random.Generator) -> Objective:
    """A copy of a model that knows more kinds of tokens.

    vocab_size : of the copy     rng : draws the new rows, from the model's initial distribution,
        unless they are means
    raises TinylmError  as `inherit`
    """
    config = dataclasses.replace(model.config, vocab_size=vocab_size)
    larger = type(model)(config, rng)
    inherit(larger, model.state_dict(), model.config.vocab_size)
    return larger.train(model.training)


def for_tasks(
    model: Objective, tokenizer: Any, rng: np.random.Generator | None = None
) -> tuple[Objective, Any]:
    """Copies of a model and its tokenizer that read tasks: three new tokens, GPT-1's template.

        classification    <start> text <classify>
        entailment        <start> premise <delimiter> hypothesis <classify>

    Similarity and multiple choice are several such inputs, see transfer/several.py.
    rng : draws the three vectors, from the model's initial distribution (a fixed one by default).
        A table with rows to spare does not grow: the tokens take the first of these as they are
    returns model, tokenizer
    raises VocabularyError  if the tokenizer has one of the three already
    raises TinylmError      as `inherit`
    Source: Radford et al. 2018, section 3.3. Differs: where a pair is too long, the longer text is
    cut, not each at half of the length.

    >>> from tinylm import GPT1, GPT1Config
    >>> from tinylm.text import Chars
    >>> letters = Chars("ab")
    >>> model = GPT1(GPT1Config(letters.vocab_size, n_positions=7, n_embd=6, n_layer=1, n_head=3))
    >>> model, letters = for_tasks(model, letters)
    >>> [letters.vocab[i] for i in letters(["ab"], ["b"])["ids"][0]]
    ['<start>', 'a', 'b', '<delimiter>', 'b', '<classify>']
    """
    if rng is None:
        rng = np.random.default_rng(0)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_specials(template.TASK_TOKENS)
    tokenizer.arrange(template.GPT1)
    vocab_size = max(tokenizer.vocab_size, model.config.vocab_size)
    model = with_tokens(model, vocab_size, rng)
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model, tokenizer


def mean_everywhere(old: np.ndarray, fresh: np.ndarray, n_tokens: int, axis: int = 0) -> np.ndarray:
    """An array like the fresh one in which every token has the mean of the old tokens.

    Source: Howard & Ruder 2018, the released code: words that the older model did not know.

    >>> mean_everywhere(np.array([1.0, 2.0, 7.0]), np.zeros(4), n_tokens=2)
    array([1.5, 1.5, 1.5, 1.5])
    """
    tokens = np.moveaxis(old, axis, 0)[:n_tokens]
    mean = tokens.mean(axis=0, keepdims=True, dtype=np.float64)
    return np.broadcast_to(np.moveaxis(mean, 0, axis), fresh.shape).astype(old.dtype)


def grown(old: np.ndarray, fresh: np.ndarray, n_tokens: int, axis: int = 0) -> np.ndarray:
    """The fresh array with the old entries in it: those of tokens first, the others at the end.

    >>> old = np.array([1, 2, 7])  # two tokens, and a position behind them
    >>> grown(old, np.array([-1, -2, -3, -4]), n_tokens=2)
    array([ 1,  2, -3,  7])
    """
    result = np.moveaxis(fresh.copy(), axis, 0)
    rows = np.moveaxis(old, axis, 0)
    behind = len(rows) - n_tokens
    result[:n_tokens] = rows[:n_tokens]
    if behind:
        result[-behind:] = rows[-behind:]
    return np.moveaxis(result, 0, axis)


def rows_by_text(
    old: Sequence[str], new: Sequence[str], names: Mapping[str, Sequence[str]] | None = None
) -> np.ndarray:
    """The row that each token of a new vocabulary has in an old one, found by its text.

    names : token of the new vocabulary -> what the old one may call it
    returns (V,) int64, −1 for a token that the old vocabulary lacks

    >>> rows_by_text(["xxunk", "the", "cat"], ["<unk>", "cat", "dog"], {"<unk>": ["xxunk"]})
    array([ 0,  2, -1])
    """
    places: dict[str, int] = {}
    for row, token in enumerate(old):
        places.setdefault(token, row)
    rows = []
    for token in new:
        candidates = [token, *(names or {}).get(token, ())]
        known = [places[name] for name in candidates if name in places]
        rows.append(known[0] if known else -1)
    return np.array(rows, np.int64)


def picked(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows of a table by their number, and the mean of the table for −1.

    >>> picked(np.array([1.0, 2.0, 6.0]), np.array([2, -1, 0]))
    array([6., 3., 1.])
    """
    mean = table.mean(axis=0, keepdims=True, dtype=np.float64).astype(table.dtype)
    return np.concatenate([table, mean])[rows]  # −1 is the last row


def _token_axis(old: tuple[int, ...], new: tuple[int, ...], added: int) -> int | None:
    """The one axis along which a shape grew by the added tokens; None if it changed otherwise."""
    if len(old) != len(new):
        return None
    changes = [b - a for a, b in zip(old, new, strict=True)]
    axes = [axis for axis, change in enumerate(changes) if change]
    if len(axes) != 1 or changes[axes[0]] != added:
        return None
    return axes[0]
