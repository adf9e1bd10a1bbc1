"""A dialogue as a model reads it: persona, turns, who speaks each token, and what the loss counts.

    <bos> i like music . <speaker2> hello ! <speaker1> hi there . <eos>
    1     1 1    1     1 2          2     2 1          1  1     1 1       who speaks
                                                       hi there . <eos>   targets

Each token's vector is the sum of its own, its place's and its speaker's, and the vectors of both
speakers stand in the word table. Two rules say who speaks, and they are not the same one. The token
before a turn alternates backwards from the reply, which is speaker 1's; the speaker beside each
token alternates forwards from the persona. They agree if the history has an odd number of turns.

Source: Wolf et al. 2019, "TransferTransfo"; the released code. Differs: what is too long is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinylm.arguments import strings
from tinylm.data import pad
from tinylm.data.dialogues import Utterance
from tinylm.errors import TinylmError

NAMES = ("<bos>", "<eos>", "<speaker1>", "<speaker2>", "<pad>")  # the tokens that are added
NOT_COUNTED = -100
FEWEST = 8  # tokens of a model's window in which something can be said


@dataclass(frozen=True)
class Specials:
    """The ids of the tokens in NAMES.

    >>> Specials(5, 6, 7, 8, 9).of(0), Specials(5, 6, 7, 8, 9).of(1)
    (7, 8)
    """

    bos: int
    eos: int
    speaker1: int
    speaker2: int
    pad: int

    @classmethod
    def of_tokenizer(cls, tokenizer: Any) -> "Specials":
        """Those of a tokenizer that has them.   raises VocabularyError  if it lacks one"""
        return cls(*[tokenizer.token_id(name) for name in NAMES])

    def of(self, number: int) -> int:
        """The speaker of an even number, and that of an odd one."""
        return self.speaker2 if number % 2 else self.speaker1


@dataclass(frozen=True)
class Arranged:
    """One dialogue with one reply.

    ids, speakers, targets : T numbers each; targets[t] is ids[t] where the loss counts it

    >>> Arranged([5, 7], [7, 7], [-100, -100]).ids
    [5, 7]
    """

    ids: list[int]
    speakers: list[int]
    targets: list[int]


def arrange(
    persona: Sequence[Sequence[int]],
    history: Sequence[Sequence[int]],
    reply: Sequence[int],
    specials: Specials,
    ends: bool = True,
) -> Arranged:
    """The tokens of a dialogue, one segment after another.

    persona, history : the ids of each sentence and turn     reply : ids
    ends : the reply is complete, so <eos> stands behind it

    >>> found = arrange([[1]], [[2], [3]], [4], Specials(10, 11, 12, 13, 14))
    >>> found.ids
    [10, 1, 12, 2, 13, 3, 12, 4, 11]
    >>> found.speakers  # by segments from the persona on: with two turns they disagree
    [12, 12, 13, 13, 12, 12, 13, 13, 13]
    >>> found.targets
    [-100, -100, -100, -100, -100, -100, -100, 4, 11]
    """
    first = [specials.bos]
    for sentence in persona:
        first += sentence
    segments = [first]
    turns = [*history, [*reply, specials.eos] if ends else reply]
    for place, turn in enumerate(turns):
        from_the_end = len(turns) - 1 - place  # 0: the reply
        segments.append([specials.of(from_the_end), *turn])
    ids: list[int] = []
    speakers: list[int] = []
    for place, segment in enumerate(segments):
        ids += segment
        speakers += [specials.of(place)] * len(segment)
    said = segments[-1][1:]  # the token that says who speaks is given, not predicted
    targets = [NOT_COUNTED] * (len(ids) - len(said)) + said
    return Arranged(ids, speakers, targets)


def fitting(
    persona: list[list[int]], history: list[list[int]], reply: list[int], most: int | None
) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """The parts of a dialogue, cut so that `arrange` makes at most so many tokens of them.

    The oldest turns go first, two by two, so that the speakers stay who they were; then the last
    sentences of the persona; then the beginning of the oldest turn; then the end of the reply; at
    last turns of a single token.

    >>> fitting([[1, 1]], [[2, 2], [3], [4]], [5], most=9)
    ([[1, 1]], [[4]], [5])
    >>> fitting([[1, 1]], [[4, 6, 7]], [5, 5, 5], most=8)
    ([], [[7]], [5, 5, 5])
    """
    persona = list(persona)
    history = [list(turn) for turn in history]
    reply = list(reply)

    def excess():
        texts = [*persona, *history, reply]
        around = 3 + len(history)  # <bos>, <eos>, and who speaks each turn and the reply
        return 0 if most is None else around + sum(map(len, texts)) - most

    while excess() > 0 and len(history) > 2:
        del history[:2]
    while excess() > 0 and persona:
        persona.pop()
    for turn in history:
        cut = min(max(excess(), 0), len(turn) - 1) if turn else 0
        del turn[:cut]
    if excess() > 0:
        del reply[max(len(reply) - excess(), 0) :]
    while excess() > 0 and history:
        history.pop(0)
    return persona, history, reply


class Reader:
    """Turns utterances into arrays.

    tokenizer : with the tokens in NAMES     most : tokens of a dialogue (None: no limit)
    max_history : h, the last 2h + 1 turns are read
    raises TinylmError  if hardly anything fits
    """

    def __init__(self, tokenizer: Any, most: int | None, max_history: int):
        if most is not None and most < FEWEST:
            raise TinylmError(
                f"The model reads {most} tokens at most, too few for a dialogue; choose one of "
                f"{FEWEST} or more."
            )
        self.tokenizer = tokenizer
        self.specials = Specials.of_tokenizer(tokenizer)
        self.most = most
        self.turns = 2 * max_history + 1

    def arranged(
        self, persona: Sequence[str], history: Sequence[str], reply: str | None, room: int = 0
    ) -> Arranged:
        """One dialogue; without a reply it ends where one begins, with room for so many tokens."""
        persona = strings(persona, "persona")
        history = strings(history, "history")
        encode = self.tokenizer.encode
        said = [] if reply is None else encode(reply)
        parts = (
            [encode(text) for text in persona],
            [encode(text) for text in history[-self.turns :]],
            said,
        )
        most = None if self.most is None else self.most - room
        return arrange(*fitting(*parts, most), self.specials, ends=reply is not None)

    def batch(self, utterances: Sequence[Utterance], candidates: int | None = None) -> dict:
        """The arrays of some utterances with equally many candidates.

        candidates : N, the last ones are read (None: all)
        returns as `arrays`, for B·N rows, all candidates of an utterance one after another; only
            the targets of the last one are counted
        """
        rows = []
        for utterance in utterances:
            chosen = (
                utterance.candidates if candidates is None else utterance.candidates[-candidates:]
            )
            for place, text in enumerate(chosen, 1):
                row = self.arranged(utterance.persona, utterance.history, text)
                if place < len(chosen):
                    row = replace(row, targets=[NOT_COUNTED] * len(row.ids))
                rows.append(row)
        return self.arrays(rows)

    def arrays(self, rows: Sequence[Arranged]) -> dict:
        """Dialogues as arrays, padded on the right.

        returns "ids", "speakers", "targets" (R, T) int; "mask" (R, T) bool, True = a real token;
            "words" (R, T) bool, True = a token of somebody's words, no special one
        """
        ids, mask = pad([row.ids for row in rows], self.specials.pad)
        speakers, _ = pad([row.speakers for row in rows], self.specials.pad)
        targets, _ = pad([row.targets for row in rows], NOT_COUNTED)
        words = mask & ~np.isin(ids, self.tokenizer.special_ids)
        return {"ids": ids, "speakers": speakers, "mask": mask, "targets": targets, "words": words}
