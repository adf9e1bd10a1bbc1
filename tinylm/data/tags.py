"""Tags that mark entities: B- begins one, I- goes on with it, O is outside; and their dialects.

    John  lives  in  New    York   City        tokens
    B-PER O      O   B-LOC  I-LOC  I-LOC       BIO (IOB2), what tinylm learns and writes
    I-PER O      O   I-LOC  I-LOC  I-LOC       IOB1: B- only between two neighbours of one type
    S-PER O      O   B-LOC  I-LOC  E-LOC       IOBES: E- ends an entity, S- is a whole one
    U-PER O      O   B-LOC  I-LOC  L-LOC       BILOU: the same, L- and U-

One rule reads them all, that of the CoNLL evaluation script (`conlleval`): an entity begins at a
B-, S- or U-, and wherever an I-, E- or L- stands behind an O, another type, or the end of an
entity. So a tag I- without a B- before it is no mistake but the beginning of an entity.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

OUTSIDE = "O"
BEGIN = frozenset("BSU")
END = frozenset("ESLU")
LETTERS = frozenset("BIESLU")


class Span(NamedTuple):
    """An entity: its type, its first token, and the token behind its last one."""

    type: str
    start: int
    end: int


def split(tag: str) -> tuple[str, str]:
    """A tag as its letter and its type; the type of a bare letter is "".

    >>> split("B-geo-loc"), split("O")
    (('B', 'geo-loc'), ('O', ''))
    """
    letter, _, kind = tag.partition("-")
    return letter, kind


def mark_entities(tags: Iterable[str]) -> bool:
    """Whether all tags are those of some dialect, and some mark an entity; parts of speech do not.

    >>> mark_entities(["O", "I-PER", "B-PER"]), mark_entities(["NN", "VB", "I"])
    (True, False)
    """
    letters = {split(tag)[0] for tag in tags}
    return letters <= LETTERS | {OUTSIDE} and letters != {OUTSIDE} and bool(letters)


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of one sentence, by the rule above.

    >>> for span in spans(["B-PER", "I-PER", "O", "I-LOC", "I-ORG"]):
    ...     print(*span)
    PER 0 2
    LOC 3 4
    ORG 4 5
    """
    found = []
    begin = 0
    inside = None  # the type of the entity that is open
    for place, tag in enumerate(tags):
        letter, kind = split(tag)
        outside = letter == OUTSIDE
        if inside is not None and (outside or letter in BEGIN or kind != inside):
            found.append(Span(inside, begin, place))
            inside = None
        if outside:
            continue
        if inside is None:
            begin = place
            inside = kind
        if letter in END:
            found.append(Span(kind, begin, place + 1))
            inside = None
    if inside is not None:
        found.append(Span(inside, begin, len(tags)))
    return found


def to_bio(tags: Sequence[str]) -> list[str]:
    """The same entities as BIO tags.

    >>> to_bio(["I-PER", "I-PER", "B-PER", "O", "S-LOC"])
    ['B-PER', 'I-PER', 'B-PER', 'O', 'B-LOC']
    """
    found = [OUTSIDE] * len(tags)
    for kind, start, end in spans(tags):
        dash = "-" if kind else ""
        found[start] = f"B{dash}{kind}"
        for place in range(start + 1, end):
            found[place] = f"I{dash}{kind}"
    return found


def allowed(tags: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which of K BIO tags may follow which, and which may begin a text.

    I-x only goes on with B-x or I-x; everything else may follow everything. Tags that mark no
    entities may follow each other freely.
    returns bool (K, K), from the row's tag to the column's, and bool (K,)

    >>> follows, begins = allowed(["O", "B-x", "I-x"])
    >>> follows[0].tolist(), begins.tolist()
    ([True, True, False], [True, True, False])
    """
    follows = np.ones((len(tags), len(tags)), bool)
    begins = np.ones(len(tags), bool)
    if not mark_entities(tags):
        return follows, begins
    for j, tag in enumerate(tags):
        letter, kind = split(tag)
        if letter != "I":
            continue
        begins[j] = False
        for i, before in enumerate(tags):
            follows[i, j] = before != OUTSIDE and split(before)[1] == kind
    return follows, begins


def changed(before: Iterable[Sequence[str]], after: Iterable[Sequence[str]]) -> Iterator[tuple]:
    """(old tag, new tag) wherever two lists of sentences' tags differ."""
    for old_tags, new_tags in zip(before, after, strict=True):
        for old, new in zip(old_tags, new_tags, strict=True):
            if old != new:
                yield old, new
