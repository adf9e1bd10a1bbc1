"""Exact match and F1 are SQuAD's: by hand, and against a scorer written from the paper's sentences."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import ShapeError
from tinylm.transfer import replies
from tinylm.transfer.tasks.answers import exact_match, normalised, reading_scores, word_f1


@pytest.mark.parametrize(
    "answer, found",
    [
        ("The cat", "cat"),
        ("an  apple,\ta day.", "apple day"),
        ("U.S.A.", "usa"),
        ("a-b", "ab"),
        ("theatre anthem", "theatre anthem"),
        ("THE", ""),
        ("", ""),
        ("Über «a» the—end", "über « » the—end".replace("the", " ", 1)),
        ("5% of $3.50", "5 of 350"),
    ],
)
def test_an_answer_is_normalised_as_by_hand(answer, found):
    assert normalised(answer) == " ".join(found.split())


@pytest.mark.parametrize(
    "right, answer, exact, f1",
    [
        (["Denver Broncos", "Broncos"], "the Broncos", 1, 1.0),
        (["Denver Broncos"], "Broncos", 0, 2 / 3),
        (["in the year 1066"], "1066", 0, 0.5),
        (["red red blue"], "red blue blue", 0, 2 / 3),
        (["sea"], "", 0, 0.0),
        ([], "", 1, 1.0),
        ([], "sea", 0, 0.0),
        ([], "the", 1, 1.0),
        (["the"], "a", 1, 1.0),
        (["the", "sea"], "", 0, 0.0),
    ],
)
def test_scores_are_those_found_by_hand(right, answer, exact, f1):
    assert exact_match(right, answer) == exact
    assert word_f1(right, answer) == pytest.approx(f1)


def by_the_book(right, answer):
    """Exact match and F1 as the paper tells them, word by word; slow and without a Counter."""

    def plain(text):
        text = text.lower()
        for mark in string.punctuation:
            text = text.replace(mark, "")
        words = re.split(r"\s+", re.sub(r"\b(?:a|an|the)\b", " ", text))
        return [word for word in words if word]

    def f1(true, found):
        if not true or not found:
            return float(true == found)
        left, common = list(true), 0
        for word in found:
            if word in left:
                left.remove(word)
                common += 1
        p, r = common / len(found), common / len(true)
        return 2 * p * r / (p + r) if common else 0.0

    kept = [plain(each) for each in right if plain(each)] or [[]]
    return float(plain(answer) in kept), max(f1(true, plain(answer)) for true in kept)


words = st.sampled_from(
    ["the", "a", "an", "The", "sea", "Sea", "sea.", "ice,", "-", "5", "  ", "é"]
)
answers = st.lists(words, max_size=6).map(" ".join)


@given(st.lists(answers, max_size=3), answers)
def test_scores_equal_a_scorer_written_from_the_definition(right, answer):
    exact, f1 = by_the_book(right, answer)
    assert (exact_match(right, answer), word_f1(right, answer)) == (exact, pytest.approx(f1))


@given(st.lists(st.tuples(st.lists(answers, max_size=2), answers), min_size=1, max_size=7))
def test_the_scores_of_a_set_are_means_over_all_and_over_both_kinds(pairs):
    right = [true for true, _ in pairs]
    scores = reading_scores(right, [answer for _, answer in pairs])
    exact = [by_the_book(*pair)[0] for pair in pairs]
    assert scores["exact"] == pytest.approx(sum(exact) / len(exact))
    parts = 0.0
    for name in ("HasAns", "NoAns"):
        n = scores.get(f"{name}_total", 0)
        parts += n * scores.get(f"{name}_exact", 0.0)
    assert parts == pytest.approx(sum(exact)) and scores["total"] == len(pairs)


def test_another_number_of_answers_is_refused():
    with pytest.raises(ShapeError, match="2 questions and 1 answers"):
        reading_scores([[], []], [""])


PLAIN_WORDS = st.lists(st.sampled_from("sea wave Gull the an".split()), max_size=7).map(" ".join)


@given(PLAIN_WORDS, PLAIN_WORDS)
def test_without_signs_the_scorer_of_replies_agrees_except_on_two_texts_without_words(one, other):
    if normalised(one) or normalised(other):
        assert replies.word_f1(one, other) == pytest.approx(word_f1([one], other))
    else:
        assert (replies.word_f1(one, other), word_f1([one], other)) == (0.0, 1.0)


def test_a_sign_parts_words_in_replies_and_is_dropped_in_answers():
    assert replies.word_f1("sea-bird", "bird") == pytest.approx(2 / 3)
    assert word_f1(["sea-bird"], "bird") == 0.0 and word_f1(["sea-bird"], "seabird") == 1.0
