"""Laws of a corpus in both directions: each sentence whole, once, forwards and from its end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Corpus, Lanes, both_ways
from tinylm.errors import DataError

BEGIN, END = 0, 1
WORDS = st.lists(st.integers(2, 11), max_size=5)
DOCUMENTS = st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=7)


def corpus(documents, marked=True):
    """A Corpus of documents of sentences; each document ends with END if it is marked."""
    ids, starts, sentences = [], [0], []
    for document in documents:
        for sentence in document:
            sentences.append(len(ids))
            ids += sentence
        ids += [END] * marked
        starts.append(len(ids))
    bounds = np.array([*sentences, len(ids)])
    return Corpus(np.array(ids, np.int32), np.array(starts), 12, 1, 1, sentences=bounds)


def by_hand(documents):
    """Inputs and targets of both directions, sentence by sentence."""
    inputs, targets = ([], []), ([], [])
    for document in documents:
        for sentence in filter(None, document):
            whole = [BEGIN, *sentence, END]
            for way, line in enumerate((whole, whole[::-1])):
                inputs[way].extend(line[:-1])
                targets[way].extend(line[1:])
    return inputs, targets


@given(documents=DOCUMENTS, marked=st.booleans())
def test_both_streams_are_their_definition(documents, marked):
    inputs, targets = by_hand(documents)
    if not inputs[0]:
        with pytest.raises(DataError, match="no word"):
            both_ways(corpus(documents, marked), BEGIN, END)
        return
    stream = both_ways(corpus(documents, marked), BEGIN, END)
    assert stream.inputs.tolist() == list(inputs)
    assert stream.targets.tolist() == list(targets)
    assert stream.starts[0] == 0 and stream.starts[-1] == len(stream)


@given(documents=DOCUMENTS, seed=st.integers(0, 9))
def test_shuffling_moves_whole_documents(documents, seed):
    if not any(map(any, documents)):
        return
    stream = both_ways(corpus(documents), BEGIN, END)
    moved = stream.shuffled(np.random.default_rng(seed))

    def parts(of):
        bounds = zip(of.starts[:-1], of.starts[1:], strict=True)
        return sorted(of.inputs[:, a:b].tolist() + of.targets[:, a:b].tolist() for a, b in bounds)

    assert parts(moved) == parts(stream) and len(moved) == len(stream)


@given(
    documents=DOCUMENTS,
    lanes=st.sampled_from((1, 2, 5)),
    length=st.sampled_from((1, 3, 7)),
)
def test_reading_once_counts_every_place_once(documents, lanes, length):
    if not any(map(any, documents)):
        return
    stream = both_ways(corpus(documents), BEGIN, END)
    read = list(stream.once(lanes, length))
    rows = np.concatenate([targets for _, targets, _ in read], axis=2)
    assert rows.shape[1] <= lanes
    for way in (0, 1):
        counted = rows[way].ravel()
        assert counted[counted >= 0].tolist() == stream.targets[way].tolist()
    assert [fresh for *_, fresh in read] == [True] + [False] * (len(read) - 1)


def test_lanes_go_on_where_they_stopped_and_repeat_for_a_step_and_a_seed():
    documents = [[[2 + (i * j) % 10 for j in range(5)]] for i in range(23)]
    lanes = Lanes(both_ways(corpus(documents), BEGIN, END), 3, 7)
    steps = lanes.steps_per_epoch
    assert steps == 23 * 6 // 3 // 7
    first = [lanes.at(step, 5) for step in range(steps)]
    text = np.concatenate([inputs for inputs, _, _ in first], axis=2)
    follows = np.concatenate([targets for _, targets, _ in first], axis=2)
    ends = np.isin(follows[0, :, :-1], END)
    assert np.array_equal(text[0, :, 1:][~ends], follows[0, :, :-1][~ends])
    assert (text[0, :, 1:][ends] == BEGIN).all()
    for step in reversed(range(steps)):
        assert all(map(np.array_equal, lanes.at(step, 5), first[step]))
    assert not np.array_equal(lanes.at(0, 6)[0], first[0][0])
    assert not np.array_equal(lanes.at(steps, 5)[0], first[0][0])
    with pytest.raises(DataError, match="3 lanes of 47 words need 141"):
        Lanes(lanes.stream, 3, 47)
