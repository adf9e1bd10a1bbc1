"""Files of pairs, numbers and choices: published layouts are read, and whatever differs is refused."""

import codecs
import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Choice, columns, load_example_parts, load_examples, read_examples
from tinylm.errors import DataError

PAIR = [(("It rains.", "It is wet."), "yes"), (("It snows.", "It is hot."), "no")]
PAIR_LAYOUTS = {
    "plain.tsv": "It rains.\tIt is wet.\tyes\nIt snows.\tIt is hot.\tno\n",
    "rte.tsv": "index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\tyes\n"
    "1\tIt snows.\tIt is hot.\tno\n",
    "mrpc.txt": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    "yes\t1\t2\tIt rains.\tIt is wet.\r\nno\t3\t4\tIt snows.\tIt is hot.\r\n",
    "qqp.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    "1\t1\t2\tIt rains.\tIt is wet.\tyes\n2\t3\t4\tIt snows.\tIt is hot.\tno\n",
    "snli.tsv": "gold_label\tsentence1_parse\tsentence1\tsentence2\tlabel1\tlabel2\n"
    "yes\t(..)\tIt rains.\tIt is wet.\tyes\tno\n"
    "-\t(..)\tIt hails.\tIt is dry.\tyes\tno\n"
    "no\t(..)\tIt snows.\tIt is hot.\tno\tno\n",
    "qnli.tsv": "index\tquestion\tsentence\tlabel\n0\tIt rains.\tIt is wet.\tyes\n"
    "1\tIt snows.\tIt is hot.\tno\n",
    "cb.jsonl": '{"premise": "It rains.", "hypothesis": "It is wet.", "label": "yes", "idx": 0}\n'
    '{"hypothesis": "It is hot.", "label": "no", "premise": "It snows."}\n',
}


@pytest.mark.parametrize("name", PAIR_LAYOUTS)
def test_published_layouts_of_pairs_give_the_same_examples(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PAIR_LAYOUTS[name].encode())
    assert columns.pairs(path) == PAIR
    read = [pair for pair, _ in read_examples("pair", path)]
    assert [pair for pair in read if pair[0] != "It hails."] == [pair for pair, _ in PAIR]


NUMBER_LAYOUTS = {
    "plain.tsv": ("calm sea\t2.5\nice\t-1\n", [("calm sea", 2.5), ("ice", -1.0)]),
    "named.tsv": (
        "score\tid\treview\n2.5\t1\tcalm sea\n-1\t2\tice\n",
        [("calm sea", 2.5), ("ice", -1.0)],
    ),
    "sts-b.tsv": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tnews\tf\t2012\t1\tnone\tnone\tsea\tice\t2.5\n"
        "1\tnews\tf\t2012\t2\tnone\tnone\ta\tb\t-1\n",
        [(("sea", "ice"), 2.5), (("a", "b"), -1.0)],
    ),
    "pairs.tsv": ("sea\tice\t2.5\na\tb\t-1\n", [(("sea", "ice"), 2.5), (("a", "b"), -1.0)]),
    "sick.tsv": (
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
        "1\tsea\tice\t2.5\tNEUTRAL\n2\ta\tb\t-1\tNEUTRAL\n",
        [(("sea", "ice"), 2.5), (("a", "b"), -1.0)],
    ),
    "one.jsonl": (
        '{"text": "calm sea", "rating": 2.5}\n{"text": "ice", "rating": -1}\n',
        [("calm sea", 2.5), ("ice", -1.0)],
    ),
    "two.jsonl": (
        '{"sentence1": "sea", "sentence2": "ice", "score": 2.5}\n'
        '{"sentence1": "a", "sentence2": "b", "score": "-1"}\n',
        [(("sea", "ice"), 2.5), (("a", "b"), -1.0)],
    ),
}


@pytest.mark.parametrize("name", NUMBER_LAYOUTS)
def test_a_file_of_numbers_says_whether_texts_stand_alone_or_in_pairs(tmp_path, name):
    text, expected = NUMBER_LAYOUTS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert columns.numbers(tmp_path / name) == expected


CHOICE = Choice("He opens it.", ("He reads.", "It sinks.", "No."), 1)
CHOICE_LAYOUTS = {
    "plain.tsv": "He opens it.\tHe reads.\tIt sinks.\tNo.\t1\n",
    "swag.tsv": "video-id\tfold-ind\tstartphrase\tsent1\tsent2\tgold-source\tending0\tending1\t"
    "ending2\tlabel\n7\t3\tHe opens it.\tHe\topens\tgold\tHe reads.\tIt sinks.\tNo.\t1\n",
    "list.jsonl": '{"context": "He opens it.", "answers": ["He reads.", "It sinks.", "No."], '
    '"right": 1}\n',
    "hellaswag.jsonl": '{"ind": 4, "ctx": "He opens it.", "label": 1, "endings": ["He reads.", '
    '"It sinks.", "No."]}\n',
    "copa.jsonl": '{"premise": "He opens it.", "choice1": "He reads.", "choice2": "It sinks.", '
    '"choice3": "No.", "label": 1, "idx": 0}\n',
    "arc.jsonl": '{"id": "x", "question": {"stem": "He opens it.", "choices": [{"text": '
    '"He reads.", "label": "A"}, {"text": "It sinks.", "label": "B"}, {"text": "No.", "label": '
    '"C"}]}, "answerKey": "B"}\n',
    "ones.jsonl": '{"question": {"stem": "He opens it.", "choices": [{"text": "He reads.", '
    '"label": "1"}, {"text": "It sinks.", "label": "2"}, {"text": "No.", "label": "3"}]}, '
    '"answerKey": "2"}\n',
    "words.jsonl": '{"context": "He opens it.", "options": ["He reads.", "It sinks.", "No."], '
    '"answer": "It sinks."}\n',
}


def test_copas_question_is_part_of_what_is_to_be_continued(tmp_path):
    row = {"premise": "The glass fell.", "choice1": "It broke.", "choice2": "I let it go."}
    rows = []
    for asked, label in (("effect", 0), ("cause", 1)):
        rows.append(json.dumps(row | {"question": asked, "idx": 0, "label": label}))
    (tmp_path / "copa.jsonl").write_text("\n".join(rows), encoding="utf-8")
    answers = ("It broke.", "I let it go.")
    assert columns.choices(tmp_path / "copa.jsonl") == [
        Choice("The glass fell. effect", answers, 0),
        Choice("The glass fell. cause", answers, 1),
    ]


def test_a_premise_that_is_no_text_is_refused_beside_a_question_too(tmp_path):
    row = {"premise": 3, "question": "cause", "choice1": "a", "choice2": "b", "label": 0}
    (tmp_path / "copa.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match="all strings"):
        columns.choices(tmp_path / "copa.jsonl")


def test_numbers_come_from_a_pipe_too(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"calm sea\t2.5\nice\t-1\n")
    os.close(writing)
    with os.fdopen(reading):
        assert columns.numbers(f"/dev/fd/{reading}") == [("calm sea", 2.5), ("ice", -1.0)]


@pytest.mark.parametrize("name", CHOICE_LAYOUTS)
def test_published_layouts_of_choices_give_the_same_choice(tmp_path, name):
    (tmp_path / name).write_text(CHOICE_LAYOUTS[name], encoding="utf-8")
    assert columns.choices(tmp_path / name) == [CHOICE]


def test_what_is_to_be_predicted_needs_no_label(tmp_path):
    files = {
        ("pair", "a.tsv"): "It rains.\tIt is wet.\n",
        ("pair", "a.jsonl"): '{"premise": "It rains.", "hypothesis": "It is wet."}\n',
        ("regress", "b.tsv"): "calm sea\n",
        ("regress", "b.jsonl"): '{"text": "calm sea"}\n',
        ("regress", "d.tsv"): "calm sea\t2.5\n",
        ("choice", "c.tsv"): "He opens it.\tHe reads.\tIt sinks.\n",
        ("choice", "c.jsonl"): '{"ctx": "He opens it.", "endings": ["He reads.", "It sinks."]}\n',
    }
    found = []
    for (task, name), text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        found += read_examples(task, tmp_path / name)
    assert found[0] == found[1] == (("It rains.", "It is wet."), "")
    assert found[2][0] == found[3][0] == found[4][0] == "calm sea" and math.isnan(found[4][1])
    assert found[5] == found[6] == Choice("He opens it.", ("He reads.", "It sinks."))


BAD = {
    ("pair", "a.tsv", "one\ttwo\n"): "line 1: expected first<TAB>second<TAB>label",
    ("pair", "b.tsv", "a\tb\tc\nd\te\n"): "line 2: expected 3 columns, as in line 1",
    ("pair", "c.tsv", "sentence1\tlabel\na\tb\n"): "one column for the second",
    (
        "pair",
        "d.jsonl",
        '{"premise": "a", "hypothesis": 5, "label": 1}\n',
    ): "line 1: expected a str",
    (
        "pair",
        "e.jsonl",
        '{"premise": "a", "hypothesis": "b", "label": 1}\n[]\n',
    ): "line 2: expected",
    ("pair", "f.jsonl", '{"premise": "a", "hypothesis": "b", "label": 1.5}\n'): "the label is 1.5",
    ("pair", "g.jsonl", '{"premise": "a", "premise": "b"}\n'): "line 1: expected a JSON object",
    ("pair", "h.tsv", "a\tb\t\n"): "label",
    ("regress", "a.tsv", "sea\tgood\n"): 'the score is "good"',
    ("regress", "b.tsv", "sea\t1\nice\tnan\n"): "line 2: the score is",
    ("regress", "c.jsonl", '{"text": "sea", "score": true}\n'): "the score is true",
    (
        "regress",
        "d.jsonl",
        '{"text": "a", "score": 1}\n{"text": "b"}\n',
    ): "line 2: expected the key",
    ("choice", "a.tsv", "sea\tice\n"): "line 1: expected a text, at least two answers",
    ("choice", "b.tsv", "sea\tice\tfog\t2\n"): "names none of the 2 answers",
    ("choice", "c.jsonl", '{"ctx": "a", "endings": ["b"], "label": 0}\n'): "at least two answers",
    ("choice", "d.jsonl", '{"ctx": "a", "endings": "bc", "label": 0}\n'): "list of at least two",
    ("choice", "e.jsonl", '{"endings": ["a", "b"], "label": 0}\n'): "one column for the context",
    ("choice", "f.jsonl", '{"ctx": "a", "endings": ["b", "c"]}\n'): "one column for the right",
    ("choice", "g.jsonl", '{"ctx": "a", "endings": ["b", "c"], "label": -1}\n'): "names none",
    ("pair", "empty.tsv", "\n\n"): "holds no pair with a label",
    ("choice", "empty.jsonl", ""): "holds no text with answers",
    ("pair", "a.csv", "a,b,c\n"): "of a kind that tinylm does not read",
}


@pytest.mark.parametrize("task, name, text", BAD)
def test_a_bad_file_is_one_sentence_with_its_line(tmp_path, task, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_examples(task, path, "all")
    sentence = str(caught.value)
    assert BAD[task, name, text] in sentence and str(path) in sentence and "\n" not in sentence


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(codecs.BOM_UTF16_LE + "a\tb\tc".encode("utf-16-le"))
    with pytest.raises(DataError, match="not UTF-8"):
        columns.pairs(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=7,
)
keys = st.sampled_from(
    "premise hypothesis label text score context answers right question ending0 ending1".split()
)


@given(
    st.sampled_from(["pair", "regress", "choice"]),
    st.lists(st.dictionaries(keys, values, max_size=6), max_size=3),
)
def test_any_json_objects_are_read_or_refused_in_one_sentence(tmp_path_factory, task, rows):
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    try:
        found = load_examples(task, path, "all")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert found


@given(
    st.sampled_from(["pair", "regress", "choice"]),
    st.lists(st.lists(st.sampled_from(["a", "text", "1", "", "premise", "é"]), min_size=1)),
)
def test_any_table_is_read_or_refused_in_one_sentence(tmp_path_factory, task, rows):
    path = tmp_path_factory.mktemp("any") / "a.tsv"
    path.write_text("\n".join("\t".join(row) for row in rows), encoding="utf-8")
    try:
        found = load_examples(task, path, "all")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert found


def test_one_file_for_both_parts_is_split_and_two_files_are_not(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"text {i}\tother\tyes\n" for i in range(20)), encoding="utf-8")
    training, test = load_example_parts("pair", path, path)
    assert len(training) == 16 and len(test) == 4 and not set(training) & set(test)
    assert len(load_example_parts("pair", path)[0]) == 20


@pytest.mark.named_set
def test_movies_are_texts_with_the_mean_of_peoples_scores():
    training, test = load_example_parts("regress", "movies", "movies")
    texts = [text for text, _ in training + test]
    assert len(texts) == len(set(texts)) > 10_000
    assert all(-4 <= score <= 4 for _, score in training + test)


@pytest.mark.parametrize("digits", ["9" * 10, "9" * 5000, "1" + "0" * 400])
def test_a_number_of_an_answer_that_no_file_has_is_one_sentence(tmp_path, digits):
    path = tmp_path / "a.tsv"
    path.write_text(f"He opens it.\tHe reads.\tIt sinks.\t{digits}\n", encoding="utf-8")
    with pytest.raises(DataError, match="names none of the 2 answers"):
        columns.choices(path)


@pytest.mark.parametrize(
    "right, expected", [("5", 1), ("0", 0), (0, 0), ("B", 1), ("1", "two"), ("9", "none")]
)
def test_answers_that_are_numbers_are_named_by_what_they_say_too(tmp_path, right, expected):
    path = tmp_path / "sums.jsonl"
    path.write_text(json.dumps({"ctx": "1 + 4 =", "endings": ["4", "5", "1"], "label": right}))
    if isinstance(expected, str):
        with pytest.raises(DataError, match=f"names {expected} of the 3 answers"):
            columns.choices(path)
    else:
        assert columns.choices(path)[0].right == expected


def test_an_unknown_task_is_one_sentence(tmp_path):
    for load in (load_examples, load_example_parts, read_examples):
        with pytest.raises(DataError, match="no task 'pairs'; it is one of .*pair"):
            load("pairs", str(tmp_path))


@pytest.mark.parametrize("text", [
    "question\toption_a\toption_b\toption_c\tanswer\nQ\t\tyes\tno\tB\n",
    "context\tending0\tending1\tending2\tlabel\nHe\ta\t \tb\t1\n",
])  # fmt: skip
def test_an_empty_answer_before_another_would_shift_the_right_one(tmp_path, text):
    path = tmp_path / "choices.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match="line 2.*an answer is empty"):
        columns.choices(path)
    path.write_text("context\tending0\tending1\tending2\tlabel\nHe\ta\tb\t\t1\n")
    assert columns.choices(path) == [Choice("He", ("a", "b"), 1)]


@pytest.mark.parametrize("row, answers", [
    ("2+3 is ?\t4\t6\t5", ("4", "6", "5")),
    ("2+3 is ?\t4\t5", ("4", "5")),
    ("He\ta\tb\t1", ("a", "b")),  # the number of the right one
])  # fmt: skip
def test_without_labels_a_number_that_names_no_answer_is_one(tmp_path, row, answers):
    path = tmp_path / "choices.tsv"
    path.write_text(row + "\n")
    [found] = columns.choices(path, labelled=False)
    assert found.answers == answers
