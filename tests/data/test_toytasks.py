"""The toy tasks: their answers are right by the words of the language, and no text gives them alone."""

from collections import Counter

import pytest

from tinylm.data import load_examples, toytasks
from tinylm.data.examples import KINDS
from tinylm.data.toy import Language

LANGUAGE = Language()
POSITIVE, NEGATIVE = set(LANGUAGE.feeling["positive"]), set(LANGUAGE.feeling["negative"])
SAYS = {"they like it .": 1, "they hate it .": 0, "they say nothing .": 2}


def feeling(text):
    """0 negative, 1 positive, 2 none, by the words alone."""
    words = text.split()
    found = [int(word in POSITIVE) for word in words if word in POSITIVE | NEGATIVE]
    return found[0] ^ ("not" in words) if found else 2


def claim(text):
    """The feeling that a hypothesis claims."""
    return SAYS[text]


def test_a_hypothesis_follows_where_it_claims_the_feeling_of_the_premise():
    rows = toytasks.entailment(301, seed=3)
    for (premise, hypothesis), label in rows:
        felt = feeling(premise)
        right = "neutral" if felt == 2 else "entailment" if felt == claim(hypothesis) else None
        assert label == (right or "contradiction")
    counts = Counter(label for _, label in rows)
    assert set(counts) == set(toytasks.LABELS) and max(counts.values()) - min(counts.values()) <= 1
    both = Counter((claim(hypothesis), label) for (_, hypothesis), label in rows)
    assert len(both) == 6  # the hypothesis alone does not tell the label


def test_the_right_answer_of_a_choice_says_the_feeling_of_its_text():
    rows = toytasks.choices(301, seed=3)
    for choice in rows:
        assert claim(choice.answers[choice.right]) == feeling(choice.context)
        assert sorted(map(claim, choice.answers)) == [0, 1, 2]
    assert set(Counter(choice.right for choice in rows)) == {0, 1, 2}


def test_the_answer_to_a_question_is_the_person_or_the_place_of_its_text():
    people = {*LANGUAGE.first_names, *LANGUAGE.last_names}
    rows = toytasks.reading(301, seed=3)
    for question in rows:
        words = question.context.split()
        wanted = people if question.question.startswith("who") else set(LANGUAGE.places)
        right = " ".join(word for word in words if word in wanted)
        assert [answer.text for answer in question.answers] == ([right] if right else [])
        for answer in question.answers:
            assert question.context[answer.start : answer.end] == right
    share = sum(question.impossible for question in rows) / len(rows)
    assert 0.2 < share < 0.7 and len({question.id for question in rows}) == 301


def test_the_number_of_a_text_is_its_positive_sentences_less_its_negative_ones():
    for text, number in toytasks.scored(101, seed=3):
        felt = [feeling(sentence) for sentence in text.split(" .") if sentence]
        assert len(felt) == 4 and number == (felt.count(1) - felt.count(0)) / 4


@pytest.mark.parametrize("task", ["pair", "regress", "choice", "span"])
def test_a_seed_gives_the_same_examples_and_the_parts_differ(task):
    assert load_examples(task, "toy", "test") == load_examples(task, "toy", "test")
    text = KINDS[task].text
    training = {text(example) for example in load_examples(task, "toy")}
    test = {text(example) for example in load_examples(task, "toy", "test")}
    assert not training & test and len(test) > 200
