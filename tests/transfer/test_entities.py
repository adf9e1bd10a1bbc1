"""Entity scores: cases worked by hand, and a plain transcription of the CoNLL script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import tags as bio
from tinylm.errors import ShapeError
from tinylm.transfer import entity_scores, token_accuracy

KINDS = ("a", "b", "c")
tag = st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BI" for kind in KINDS)])
pairs = st.lists(st.lists(st.tuples(tag, tag), min_size=1, max_size=9), min_size=1, max_size=5)


def starts(before, now):
    """Whether the script begins a chunk between two neighbouring tags."""
    (p, p_kind), (t, kind) = bio.split(before), bio.split(now)
    return (p, t) in {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")} or t != "O" and p_kind != kind


def stops(before, now):
    """Whether the script ends a chunk between two neighbouring tags."""
    (p, p_kind), (t, kind) = bio.split(before), bio.split(now)
    return (p, t) in {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")} or p != "O" and p_kind != kind


def by_the_script(sentences):
    """(right, found, true) by type, counted token by token as the script does, in one pass."""
    right, found, true = ({kind: 0 for kind in KINDS} for _ in range(3))
    inside = False  # in a chunk that both began together and with one type
    kind_inside = ""
    last = last_guess = "O"
    lines = []
    for sentence in sentences:
        lines += [*sentence, ("O", "O")]  # the boundary between sentences
    for correct, guessed in lines:
        if inside:
            both_stop = stops(last, correct) and stops(last_guess, guessed)
            if both_stop and bio.split(last)[1] == bio.split(last_guess)[1]:
                inside = False
                right[kind_inside] += 1
            elif stops(last, correct) != stops(last_guess, guessed):
                inside = False
            elif bio.split(correct)[1] != bio.split(guessed)[1]:
                inside = False
        both_start = starts(last, correct) and starts(last_guess, guessed)
        if both_start and bio.split(correct)[1] == bio.split(guessed)[1]:
            inside = True
            kind_inside = bio.split(correct)[1]
        true[bio.split(correct)[1] or "a"] += starts(last, correct)
        found[bio.split(guessed)[1] or "a"] += starts(last_guess, guessed)
        last, last_guess = correct, guessed
    return right, found, true


@given(pairs)
def test_the_counts_are_those_of_the_conll_script(sentences):
    truth = [[a for a, _ in sentence] for sentence in sentences]
    predicted = [[b for _, b in sentence] for sentence in sentences]
    scores = entity_scores(truth, predicted)
    right, found, true = by_the_script(sentences)
    for kind in KINDS:
        counted = scores.types.get(kind)
        counts = (counted.right, counted.found, counted.true) if counted else (0, 0, 0)
        assert counts == (right[kind], found[kind], true[kind])
    assert scores.overall.right == sum(right.values())
    assert scores.overall.found == sum(found.values())
    assert scores.overall.true == sum(true.values())


HAND = {  # truth, predicted -> right, found, true
    "exact": ("B-a I-a O B-b", "B-a I-a O B-b", (2, 2, 2)),
    "a wrong end": ("B-a I-a O", "B-a O O", (0, 1, 1)),
    "a wrong type": ("B-a I-a O", "B-b I-b O", (0, 1, 1)),
    "I- for B-, the same span": ("B-a I-a O", "I-a I-a O", (1, 1, 1)),
    "one entity cut in two": ("B-a I-a I-a", "B-a I-a B-a", (0, 2, 1)),
    "two neighbours as one": ("B-a B-a O", "B-a I-a O", (0, 1, 2)),
    "a type that changes inside": ("B-a I-a I-b", "B-a I-a B-b", (2, 2, 2)),
    "nothing found": ("B-a O O", "O O O", (0, 0, 1)),
    "nothing there": ("O O O", "O B-a O", (0, 1, 0)),
}


@pytest.mark.parametrize("case", HAND)
def test_cases_worked_by_hand(case):
    truth, predicted, counts = HAND[case]
    overall = entity_scores([truth.split()], [predicted.split()]).overall
    assert (overall.right, overall.found, overall.true) == counts


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    scores = entity_scores([["B-a", "B-a", "B-b", "O"]], [["B-a", "O", "B-b", "B-b"]])
    precision, recall = scores.overall.precision, scores.overall.recall
    assert (precision, recall) == (2 / 3, 2 / 3)
    assert scores.types["a"].recall == 0.5 and scores.types["b"].precision == 0.5
    a = scores.types["a"]
    assert a.f1 == pytest.approx(2 * a.precision * a.recall / (a.precision + a.recall))


def test_an_entity_never_reaches_into_the_next_sentence():
    split = entity_scores([["B-a"], ["I-a"]], [["B-a"], ["I-a"]])
    assert split.overall.true == 2


@given(pairs)
def test_token_accuracy_counts_tokens(sentences):
    truth = [[a for a, _ in sentence] for sentence in sentences]
    predicted = [[b for _, b in sentence] for sentence in sentences]
    flat = [a == b for sentence in sentences for a, b in sentence]
    assert token_accuracy(truth, predicted) == pytest.approx(sum(flat) / len(flat))
    assert entity_scores(truth, predicted).accuracy == token_accuracy(truth, predicted)


def test_sentences_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="sentence 1 has 2 and 1 tags"):
        entity_scores([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ShapeError, match="1 true and 2 predicted"):
        token_accuracy([["O"]], [["O"], ["O"]])
    with pytest.raises(ShapeError, match="at least one token"):
        token_accuracy([[]], [[]])
