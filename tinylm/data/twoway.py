"""A corpus as two streams: each sentence as it stands, and each sentence from its end.

    sentence   <S> a b c </S>
    forward    inputs <S> a b c       targets a b c </S>
    backward   inputs </S> c b a      targets c b a <S>

Both streams hold the sentences in the same order, so that sentence s begins at the same place in
both. A model that carries its state reads on from one sentence into the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinylm.errors import DataError

from .documents import Corpus

NOT_COUNTED = -100  # the target of a place behind the end of the text
LEAST = 4  # a lane that is read once is at least so many parts long, for it begins without a past


@dataclass(frozen=True)
class TwoWay:
    """Inputs and targets of both directions.

    inputs, targets : (2, N) int32, forward and backward
    starts : (D + 1,) int64, document d stands at starts[d] … starts[d + 1] − 1
    """

    inputs: np.ndarray
    targets: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        """N, the number of predictions in each direction."""
        return self.inputs.shape[1]

    def shuffled(self, rng: np.random.Generator) -> "TwoWay":
        """The same documents in random order; each keeps the order of its sentences."""
        order = rng.permutation(len(self.starts) - 1)
        lengths = np.diff(self.starts)[order]
        ends = np.cumsum(lengths)
        moved = np.repeat(self.starts[order] - (ends - lengths), lengths)
        places = moved + np.arange(len(self))
        starts = np.concatenate([[0], ends])
        return TwoWay(self.inputs[:, places], self.targets[:, places], starts)

    def part(self, lanes: int, first: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """`length` places of each lane, from its place `first` on.

        lanes : B, so many lanes of equal length share the stream; what is left at its end is not
            read
        returns inputs and targets, (2, B, length) int64

        >>> stream = TwoWay(np.array([[0, 5, 6, 7]] * 2), np.array([[5, 6, 7, 1]] * 2), None)
        >>> stream.part(lanes=2, first=1, length=1)[0][0].tolist()
        [[5], [7]]
        """
        lane = len(self) // lanes
        parts = np.empty((2, 2, lanes, min(length, lane - first)), np.int64)
        for which, both in enumerate((self.inputs, self.targets)):
            for direction, ids in enumerate(both):
                whole = ids[: lanes * lane].reshape(lanes, lane)
                parts[which, direction] = whole[:, first : first + length]
        inputs, targets = parts
        return inputs, targets

    def once(self, lanes: int, length: int) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
        """Read everything once: inputs and targets as of `part`, and whether the lanes begin there.

        lanes : at most so many, fewer where they would be shorter than LEAST parts
        A place that only fills a lane has the target −100.
        """
        enough = len(self) // (LEAST * length)
        lanes = min(lanes, max(enough, 1))
        width = ((0, 0), (0, -len(self) % lanes))
        inputs = np.pad(self.inputs, width, mode="edge")
        targets = np.pad(self.targets, width, constant_values=NOT_COUNTED)
        whole = TwoWay(inputs, targets, self.starts)
        for first in range(0, len(whole) // lanes, length):
            yield *whole.part(lanes, first, length), first == 0


class Lanes:
    """A stream that B lanes read for ever, T places a step; every epoch shuffles the documents.

    stream : TwoWay     lanes, length : B, T
    raises DataError  if the stream is too short for a step

    >>> ids = np.array([[0, 5, 6, 7]] * 2)
    >>> stream = TwoWay(ids, np.roll(ids, -1, axis=1), np.array([0, 4]))
    >>> lanes = Lanes(stream, 2, 1)
    >>> lanes.steps_per_epoch, lanes.at(3, seed=0)[0][0].tolist(), lanes.at(3, seed=0)[2]
    (2, [[5], [7]], False)
    """

    def __init__(self, stream: TwoWay, lanes: int, length: int):
        self.stream = stream
        self.lanes = lanes
        self.length = length
        self.steps_per_epoch = len(stream) // lanes // length
        self._shuffled = (None, stream)  # (seed, epoch), and the stream in that epoch's order
        if self.steps_per_epoch < 1:
            raise DataError(
                f"The text has {len(stream)} words to predict, but {lanes} lanes of {length} words "
                f"need {lanes * length}; give more text, fewer lanes or fewer words a step."
            )

    def at(self, step: int, seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Inputs and targets, (2, B, T) int64 each, and whether the lanes begin there.

        They depend on the step and the seed alone.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._shuffled[0] != (seed, epoch):
            rng = np.random.default_rng([seed, 12, epoch])
            self._shuffled = ((seed, epoch), self.stream.shuffled(rng))
        stream = self._shuffled[1]
        return *stream.part(self.lanes, place * self.length, self.length), place == 0


def both_ways(corpus: Corpus, begin_id: int, end_id: int) -> TwoWay:
    """The two streams of a corpus.

    begin_id, end_id : of <S> and </S>; where the corpus holds them itself, they are not read twice
    A document counts as one sentence if the corpus knows no sentences. Empty ones are left out.
    raises DataError  if the corpus holds no word

    >>> corpus = Corpus(np.array([5, 6, 7, 1]), np.array([0, 4]), 8, words=3, characters=5)
    >>> stream = both_ways(corpus, begin_id=0, end_id=1)
    >>> stream.inputs.tolist(), stream.targets.tolist()
    ([[0, 5, 6, 7], [1, 7, 6, 5]], [[5, 6, 7, 1], [7, 6, 5, 0]])
    """
    bounds = corpus.starts if corpus.sentences is None else corpus.sentences
    of_token = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    kept = ~np.isin(corpus.ids, (begin_id, end_id))
    words = corpus.ids[kept]
    if words.size == 0:
        raise DataError("The corpus holds no word; give documents with some text in them.")
    sentences, of_word, counts = np.unique(of_token[kept], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts + 1) - 1  # the place of each sentence's last prediction
    starts = ends - counts
    before = np.cumsum(counts) - counts  # words before each sentence
    rank = np.arange(words.size) - before[of_word]  # of a word in its sentence
    forward = starts[of_word] + rank
    backward = ends[of_word] - 1 - rank

    inputs = np.empty((2, ends[-1] + 1), np.int32)
    targets = np.empty_like(inputs)
    inputs[0, starts] = begin_id
    inputs[1, starts] = end_id
    targets[0, ends] = end_id
    targets[1, ends] = begin_id
    for direction, place in enumerate((forward, backward)):
        targets[direction, place] = words
        inputs[direction, place + 1] = words
    document = np.searchsorted(corpus.starts, bounds[sentences], side="right")
    first = np.flatnonzero(np.diff(document, prepend=-1))
    return TwoWay(inputs, targets, np.append(starts[first], ends[-1] + 1))
