"""Entities in tags: conlleval's rule for every dialect, and BIO that says the same."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import tags as bio

KINDS = ("a", "b")
anything = st.lists(
    st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BIESLU" for kind in KINDS)]),
    max_size=7,
)


@st.composite
def some_spans(draw):
    """(length, entities that do not overlap) of one sentence."""
    place = 0
    found = []
    for _ in range(draw(st.integers(0, 4))):
        start = place + draw(st.integers(0, 2))
        place = start + draw(st.integers(1, 3))
        found.append((draw(st.sampled_from(KINDS)), start, place))
    return place + draw(st.integers(0, 2)), found


def spelled(length, spans, dialect):
    """Tags of entities, as the definition of each dialect says."""
    tags = ["O"] * length
    for n, (kind, start, end) in enumerate(spans):
        marks = ["I"] * (end - start)
        if dialect == "IOB1":
            neighbour = n and spans[n - 1][0] == kind and spans[n - 1][2] == start
            marks[0] = "B" if neighbour else "I"
        else:
            marks[0] = "B"
        if dialect in ("IOBES", "BILOU"):
            marks[-1] = "E" if dialect == "IOBES" else "L"
            if end - start == 1:
                marks = ["S" if dialect == "IOBES" else "U"]
        for place, mark in zip(range(start, end), marks, strict=True):
            tags[place] = f"{mark}-{kind}"
    return tags


@given(some_spans(), st.sampled_from(("BIO", "IOB1", "IOBES", "BILOU")))
def test_every_dialect_gives_its_entities_back_and_the_same_bio(drawn, dialect):
    length, spans = drawn
    tags = spelled(length, spans, dialect)
    assert [tuple(span) for span in bio.spans(tags)] == spans
    assert bio.to_bio(tags) == spelled(length, spans, "BIO")


def begins(before, tag):
    """conlleval's rule for the start of a chunk, clause by clause."""
    (p, p_kind), (t, kind) = bio.split(before), bio.split(tag)
    if (p, t) in {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}:
        return True
    if (p, t) in {("E", "E"), ("E", "I"), ("O", "E")}:
        return True
    return t != "O" and p_kind != kind


def ends(before, tag):
    """conlleval's rule for the end of a chunk, clause by clause."""
    (p, p_kind), (t, kind) = bio.split(before), bio.split(tag)
    if (p, t) in {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}:
        return True
    if (p, t) in {("E", "E"), ("E", "I"), ("E", "O")}:
        return True
    return p != "O" and p_kind != kind


def by_the_script(tags):
    """Chunks as the script finds them: walking over pairs of neighbours, an O before and behind."""
    found = []
    start = None
    for place, (before, tag) in enumerate(itertools.pairwise(["O", *tags, "O"])):
        if start is not None and ends(before, tag):
            found.append((bio.split(before)[1], start, place))
            start = None
        if begins(before, tag):
            start = place
    return found


@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), max_size=9))
def test_entities_are_those_of_the_conll_script_malformed_ones_included(tags):
    assert [tuple(span) for span in bio.spans(tags)] == by_the_script(tags)


@given(anything)
def test_bio_says_the_same_and_is_its_own_bio(tags):
    new = bio.to_bio(tags)
    assert bio.spans(new) == bio.spans(tags) and bio.to_bio(new) == new


@given(anything)
def test_legal_sequences_are_those_that_are_bio_already(tags):
    tags = [tag for tag in tags if tag[0] in "OBI"]
    names = ["O", "I-a", "B-b", "B-a", "I-b"]
    follows, starts = bio.allowed(names)
    ids = [names.index(tag) for tag in tags]
    legal = all(follows[i, j] for i, j in itertools.pairwise(ids))
    legal = legal and (not ids or starts[ids[0]])
    assert legal == (bio.to_bio(tags) == tags)


def test_parts_of_speech_follow_each_other_freely():
    follows, starts = bio.allowed(["NN", "VB", "I-x"])
    assert follows.all() and starts.all() and follows.dtype == np.bool_


def test_tags_without_types_are_entities_of_one_kind():
    assert bio.mark_entities(["B", "I", "O"])
    assert bio.spans(["B", "I", "B", "O"]) == [("", 0, 2), ("", 2, 3)]
    assert bio.to_bio(["I", "I", "O"]) == ["B", "I", "O"]
