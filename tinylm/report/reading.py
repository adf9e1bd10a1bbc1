"""What a model makes of one text: its choices at every place, its losses, its attention.

    choices    p(x | what it may see)       from the left, from the right, or from all other tokens
    loss       −log p of the token that stands there, in nats
    replaced   p(this token is not the text's own), of a model that learned to judge
    nearest    the tokens with the nearest vectors, of a model that has no choices

Which of these there are follows from what an objective offers: `one_sided`, `predict`, `judge`,
layers of attention. No objective has a case of its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.errors import DataError
from tinylm.sampling import log_probabilities
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad
from tinylm.text.template import parts_of
from tinylm.training.filling import GAP, gapped
from tinylm.vectors.search import best, row_lengths

from .looking import attention_weights

TOGETHER = 8  # copies of the text, each with another place hidden, that are read together
CONTINUES = "##"  # how WordPiece spells a token that goes on with a word


@dataclass(frozen=True)
class Guess:
    """What a model expects at one place.

    choices : [(token, probability), ...], falling; cosines where the nearest tokens stand for them
    nats : −log p of the token that stands there     rank : the number of more probable ones, plus 1
        Both are None where nothing stands, or the model has no score for it.
    """

    choices: list[tuple[str, float]]
    nats: float | None = None
    rank: int | None = None


Guesses = list[Guess | None]  # one for each token, None where the model was not asked


@dataclass(frozen=True)
class Reading:
    """What a model makes of a text of T tokens.

    tokens : T strings as they read     own : T bool, True = the text's own, False = a special one
    guesses : what the model saw ("left", "right", "others") -> Guesses; {} of one without choices
    following : what comes behind the text, of a model that reads from the left
    nearest : Guesses by cosine, of a model without choices
    replaced : (T,) probabilities, of a model that judges
    attention : (H,T,T) for every layer, from the bottom up; none without layers of attention
    vocabulary : V, tokens that there are     left_out : tokens of the text that were not read
    """

    tokens: list[str]
    own: list[bool]
    guesses: dict[str, Guesses]
    following: Guess | None
    nearest: Guesses | None
    replaced: np.ndarray | None
    attention: list[np.ndarray]
    vocabulary: int
    left_out: int


def read(model: Any, tokenizer: Any, text: str, count: int = 5, most: int = 64) -> Reading:
    """Read a text, which may hold gaps if the model can fill them.

    model, tokenizer : as `hub.load` gives them     count : choices for each place
    most : tokens to read, special ones included; fewer if the model reads fewer
    A text that is read from the left begins where another one ends, as in `zero_shot.score`.
    raises DataError        if the text holds no token
    raises VocabularyError  if the special tokens alone are more than `most`
    """
    argument("read", "count", count, int, at_least(1))
    argument("read", "most", most, int, at_least(1))
    if model.max_length is not None:
        most = min(most, model.max_length)
    keywords, places, length = _arranged(model, tokenizer, text, most)
    ids = keywords["ids"][0]
    own = [t in places for t in range(len(ids))]
    labels = [label(tokenizer, i) for i in ids.tolist()]
    if model.gap_id not in ids:
        for place, (start, end) in zip(places, tokenizer.offsets(text), strict=False):
            if ids[place] == tokenizer.unk_id:
                labels[place] = text[start:end]
    following = None
    nearest = None
    replaced = None
    with model.evaluating():
        with no_grad():
            guesses = _guesses(model, tokenizer, keywords, own, count)
            if model.causal and guesses:
                scores = model.logits(**keywords).data[0, -1:]
                [following] = _guessed(tokenizer, scores, [None], count)
            if not guesses:
                nearest = _nearest(model, tokenizer, ids, labels, own, count)
            if model.judge is not None:
                logits = model.judge(**keywords).data[0].astype(np.float64)
                replaced = 1 / (1 + np.exp(-logits))
        attention = attention_weights(model, **keywords)
    return Reading(
        labels,
        own,
        guesses,
        following,
        nearest,
        replaced,
        attention,
        tokenizer.vocab_size,
        length - len(places),
    )


def label(tokenizer: Any, i: int) -> str:
    """A token as it reads alone; as it stands in the vocabulary if it is no text or half a word.

    >>> from tinylm.text import WordPiece
    >>> tokenizer = WordPiece(["[UNK]", "un", "##able"])
    >>> label(tokenizer, 1), label(tokenizer, 2)
    ('un', '##able')
    """
    known = tokenizer.vocab[i]
    if i in tokenizer.special_ids or known.startswith(CONTINUES):
        return known
    text = tokenizer.decode([i])
    return known if not text or "\N{REPLACEMENT CHARACTER}" in text else text


def _arranged(model, tokenizer, text, most):
    """The keywords of `encode`, the range of places of the text's tokens, and how many it has."""
    template = tokenizer.template
    names = [name for name, _ in parts_of(template.single)]
    begin = []
    if model.causal and names[0] == "A" and tokenizer.end_id is not None and most > 1:
        begin = [tokenizer.end_id]
    room = most - len(begin)
    if _has_gaps(model, tokenizer, text):
        row = gapped(tokenizer, text, model.gap_id)
        ids, types = template.assemble(row, None, tokenizer.token_id, room)
        keywords = {"ids": np.array([ids])}
        if template.typed:
            keywords["token_types"] = np.array([types])
    else:
        row = tokenizer.encode(text)
        keywords = dict(tokenizer(text, max_length=room))
        del keywords["mask"]  # there is no padding beside one text
    if not row:
        raise DataError("The text holds no token that the model knows; give another one.")
    if begin:
        keywords["ids"] = np.insert(keywords["ids"], 0, begin, axis=1)
    first = len(begin) + names.index("A")
    kept = keywords["ids"].shape[1] - len(begin) - len(names) + 1
    return keywords, range(first, first + kept), len(row)


def _has_gaps(model, tokenizer, text):
    """Whether a text has gaps for this model."""
    if model.gap_id is None:
        return False
    return GAP in text or tokenizer.vocab[model.gap_id] in text


# ---- what the model says


def _guesses(model, tokenizer, keywords, own, count):
    """What the model saw -> Guesses, for every way in which it can be asked."""
    ids = keywords["ids"][0].tolist()
    found: dict[str, Guesses] = {}
    for side, scores in model.one_sided(**keywords).items():
        asked = ids[1:] if side == "left" else ids[:-1]
        guesses = _guessed(tokenizer, scores.data[0], asked, count)
        found[side] = [None, *guesses] if side == "left" else [*guesses, None]
    if model.predict is not None:
        places = [t for t in range(len(ids)) if own[t]]
        found["others"] = [None] * len(ids)
        for first in range(0, len(places), TOGETHER):
            picks = places[first : first + TOGETHER]
            rows = {name: np.repeat(array, len(picks), axis=0) for name, array in keywords.items()}
            scores = model.predict(picks=np.array(picks)[:, None], **rows).data[:, 0]  # (K,V)
            asked = [None if ids[t] == model.gap_id else ids[t] for t in picks]
            for t, guess in zip(picks, _guessed(tokenizer, scores, asked, count), strict=True):
                found["others"][t] = guess
    return found


def _guessed(tokenizer, scores, asked, count):
    """A Guess for each row of scores (K, V).   asked : K ids that stand there, or None"""
    guesses = []
    for nats, i in zip(-log_probabilities(scores[:, : tokenizer.vocab_size]), asked, strict=True):
        best = np.argsort(nats, kind="stable")[:count].tolist()
        choices = [(label(tokenizer, j), float(np.exp(-nats[j]))) for j in best]
        if i is None or i >= len(nats):
            guesses.append(Guess(choices))
            continue
        rank = 1 + int((nats < nats[i]).sum())
        guesses.append(Guess(choices, float(nats[i]), rank))
    return guesses


def _nearest(model, tokenizer, ids, labels, own, count):
    """Guesses by the cosine of the tokens' vectors; special tokens have none and are none."""
    table = model.embedding_table()[: tokenizer.vocab_size].astype(np.float64)
    subwords = model.subwords()
    lengths = row_lengths(table)
    guesses: Guesses = []
    for i, own_token, word in zip(ids.tolist(), own, labels, strict=True):
        vector = table[i]
        if i == tokenizer.unk_id:
            vector = subwords[word] if word in subwords else None
        if not own_token or vector is None:
            guesses.append(None)
            continue
        left_out = [i, *tokenizer.special_ids]
        found, cosines = best(table, lengths, vector, left_out, count)
        names = [label(tokenizer, j) for j in found.tolist()]
        guesses.append(Guess(list(zip(names, cosines.tolist(), strict=True))))
    return guesses
