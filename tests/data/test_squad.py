"""SQuAD's files: what they hold comes back, and a damaged one is a sentence with the place."""

import json

import pytest
from costs import cost_at_most
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Answer, Question, load_example_parts, read_examples, squad, toytasks
from tinylm.errors import DataError

TEXT = "The sea is calm; the sky is not."
FILE = {
    "version": "v2.0",
    "data": [
        {
            "title": "Sea",
            "paragraphs": [
                {
                    "context": TEXT,
                    "qas": [
                        {
                            "id": "a1",
                            "question": " How is the sea? ",
                            "answers": [
                                {"text": "calm", "answer_start": 11},
                                {"text": "is calm", "answer_start": 8},
                            ],
                        },
                        {
                            "id": "a2",
                            "question": "How is the ice?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "calm", "answer_start": 11}],
                        },
                    ],
                }
            ],
        }
    ],
}


def written(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_questions_of_both_versions_are_read(tmp_path):
    found = squad.read(written(tmp_path / "a.json", FILE))
    assert found == [
        Question("a1", "How is the sea?", TEXT, (Answer("calm", 11), Answer("is calm", 8))),
        Question("a2", "How is the ice?", TEXT),
    ]
    assert [question.impossible for question in found] == [False, True]


@given(st.integers(0, 100))
def test_toy_questions_survive_their_file(tmp_path_factory, seed):
    questions = toytasks.reading(7, seed)
    path = written(tmp_path_factory.mktemp("squad") / "a.json", squad.written(questions))
    found = squad.read(path)
    assert sorted(found, key=lambda q: q.id) == sorted(questions, key=lambda q: q.id)


def changed(where, value):
    """FILE with one value replaced; where : keys from the top."""
    copy = json.loads(json.dumps(FILE))
    inner = copy
    for key in where[:-1]:
        inner = inner[key]
    if value is None:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    return copy


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = (*PARAGRAPH, "qas", 0)
FAULTS = {
    "a list as the file": ([], "an object with the key"),
    "no data": (changed(("data",), None), "a list as 'data', but it is missing"),
    "an article that is a word": (changed(("data", 0), "x"), "data[0]: expected an object"),
    "no context": (changed((*PARAGRAPH, "context"), None), "paragraphs[0]: expected a string"),
    "a question without words": (changed((*QUESTION, "question"), 7), "qas[0]: expected a string"),
    "no id": (changed((*QUESTION, "id"), None), "'id', but it is missing"),
    "no answers": (changed((*QUESTION, "answers"), None), "a list as 'answers'"),
    "a start that is a truth": (
        changed((*QUESTION, "answers", 0, "answer_start"), True),
        "answers[0]: expected a whole number as 'answer_start', but it is True",
    ),
    "an id twice": (changed((*PARAGRAPH, "qas", 1, "id"), "a1"), "1 ids of questions are repeated"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_one_sentence_with_the_place(tmp_path, fault):
    value, words = FAULTS[fault]
    path = written(tmp_path / "a.json", value)
    with pytest.raises(DataError) as caught:
        squad.read(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_file_that_is_no_json_names_the_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"data":\n[}', encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        squad.read(path)


def test_an_answer_in_the_wrong_place_is_found_and_one_that_is_nowhere_leaves_out_its_question(
    tmp_path, capsys
):
    place = (*QUESTION, "answers")
    moved = changed(place, [{"text": "calm", "answer_start": 3}])
    assert squad.read(written(tmp_path / "a.json", moved))[0].answers == (Answer("calm", 11),)
    lost = changed(place, [{"text": "storm", "answer_start": 3}])
    assert [q.id for q in squad.read(written(tmp_path / "b.json", lost))] == ["a2"]
    assert "0 answers were found elsewhere in their text, 1 nowhere" in capsys.readouterr().err


def test_questions_to_be_predicted_need_no_answers(tmp_path):
    bare = changed((*QUESTION, "answers"), None)
    assert len(read_examples("span", written(tmp_path / "a.json", bare))) == 2


def test_questions_about_one_text_stay_on_one_side(tmp_path):
    questions = []
    for n in range(20):
        for k in range(3):
            questions.append(Question(f"{n}-{k}", "who?", f"text {n}", (Answer("text", 0),)))
    path = written(tmp_path / "a.json", squad.written(questions))
    training, test = load_example_parts("span", path, path)
    assert len(training) == 48 and len(test) == 12
    assert not {q.context for q in training} & {q.context for q in test}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from("data paragraphs context qas id question answers text".split()),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused_in_one_sentence(tmp_path_factory, value):
    path = written(tmp_path_factory.mktemp("any") / "a.json", value)
    try:
        squad.read(path)
    except DataError as error:
        assert "\n" not in str(error)


def test_the_nearest_place_of_an_answer_counts():
    @given(
        st.text("ab", min_size=1, max_size=30),
        st.text("ab", min_size=1, max_size=4),
        st.integers(-5, 40),
    )
    def holds(context, words, start):
        places = [i for i in range(len(context)) if context.startswith(words, i)]
        found = squad._placed(context, Answer(words, start))
        assert (found is None) == (not places)
        if places:
            assert abs(found.start - start) == min(abs(place - start) for place in places)

    holds()


def test_answers_that_stand_elsewhere_cost_as_much_as_they_are_long():
    def place(n, answer):
        return lambda: squad._placed("a" * n, answer)

    half = "a" * 100_000  # stands at 100,001 places
    assert squad._placed("a" * 200_000, Answer(half, 100_007)) == Answer(half, 100_000)
    once = place(200_000, Answer(half, 100_007))
    cost_at_most(3, once, place(400_000, Answer(half + half, 200_007)))


def test_an_answer_that_stands_very_far_away_is_nowhere():
    context = "x" * (2 * squad.FAR) + "sea"
    assert squad._placed(context, Answer("sea", 0)) is None
    assert squad._placed(context, Answer("sea", squad.FAR + 7)).start == 2 * squad.FAR
