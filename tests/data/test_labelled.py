"""Labelled files: every layout gives the same examples, whatever differs is refused, and nothing disappears unsaid."""

import codecs
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm import files, progress
from tinylm.data import labelled, load_labelled, load_tagged, load_texts
from tinylm.errors import DataError

LINE_ENDS = ("\n", "\r\n", "\r")
OUTSIDE = [  # header cells that name neither a text nor a label
    "id",
    "index",
    "source",
    "sentence1",
    "pairID",
]

# Cells as a table can hold them: no tab, no line end, no white space around them, no byte order mark before them.
cells = (
    st.text(
        st.characters(exclude_characters="\t\r\n\ufeff", exclude_categories=("Cs",)), min_size=1
    )
    .map(str.strip)
    .filter(bool)
)
ordinary = cells.filter(lambda cell: cell.lower() not in labelled.TEXT_NAMES | labelled.LABEL_NAMES)
examples = st.dictionaries(ordinary, ordinary, min_size=1, max_size=7).map(
    lambda d: list(d.items())
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("labelled")


def written(folder, name, lines, end="\n", mark=False, last=True):
    """A UTF-8 file of some lines."""
    text = end.join(lines) + (end if last else "")
    raw = text.encode("utf-8")
    (folder / name).write_bytes(codecs.BOM_UTF8 + raw if mark else raw)
    return folder / name


def refused(call, *words):
    """The call raises one sentence that holds these words."""
    with pytest.raises(DataError) as caught:
        call()
    sentence = str(caught.value)
    assert all(word in sentence for word in words) and "\n" not in sentence, sentence


@st.composite
def layouts(draw):
    """(columns in some order, which of them is the text, which the label, the header's cells or None)."""
    others = draw(st.lists(st.sampled_from(OUTSIDE), unique=True, max_size=3))
    text = draw(st.sampled_from(sorted(labelled.TEXT_NAMES)))
    label = draw(st.sampled_from(sorted(labelled.LABEL_NAMES)))
    columns = draw(st.permutations([*others, text, label]))
    place = columns.index(text), columns.index(label)
    spelled = [draw(st.sampled_from([c, c.upper(), c.title(), f" {c} "])) for c in columns]
    if others or place != (0, 1) or draw(st.booleans()):
        return len(columns), *place, spelled
    return 2, 0, 1, None


@given(
    rows=examples,
    layout=layouts(),
    end=st.sampled_from(LINE_ENDS),
    mark=st.booleans(),
    last=st.booleans(),
    suffix=st.sampled_from([".tsv", ".TSV", ".Tsv"]),
)
@example(
    [("great", "1"), ("bad", "0")], (2, 0, 1, ["sentence", "label"]), "\n", False, True, ".tsv"
)
def test_any_column_layout_gives_the_same_examples(folder, rows, layout, end, mark, last, suffix):
    width, text, label, header = layout
    lines = []
    for row in rows:
        row_cells = ["7"] * width
        row_cells[text], row_cells[label] = row
        lines.append("\t".join(row_cells))
    head = [] if header is None else ["\t".join(header)]
    path = written(folder, f"a{suffix}", [*head, *lines], end, mark, last)
    found = load_labelled(path, "all")
    assert list(zip(found.texts, found.labels, strict=True)) == rows
    if len(rows) > 1:  # of a single example nothing is left for training
        assert load_texts(path) == load_labelled(path, "train").texts


@given(
    rows=examples,
    names=st.tuples(
        st.sampled_from(sorted(labelled.TEXT_NAMES)), st.sampled_from(sorted(labelled.LABEL_NAMES))
    ),
    end=st.sampled_from(LINE_ENDS),
    mark=st.booleans(),
    suffix=st.sampled_from([".jsonl", ".JSONL", ".ndjson"]),
    plain=st.booleans(),
)
def test_any_json_keys_give_the_same_examples(folder, rows, names, end, mark, suffix, plain):
    objects = [{names[0]: text, "id": i, names[1]: label} for i, (text, label) in enumerate(rows)]
    lines = [json.dumps(value, ensure_ascii=plain) for value in objects]
    path = written(folder, f"a{suffix}", lines, end, mark)
    found = load_labelled(path, "all")
    assert list(zip(found.texts, found.labels, strict=True)) == rows
    if len(rows) > 1:
        assert load_texts(path) == load_labelled(path, "train").texts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(value=json_values)
@example(None)
@example(float("nan"))
@example(["a", "b"])
@example("")
@example(1.0)
@example(True)
def test_a_json_label_is_a_word_a_whole_number_or_a_truth_value_and_nothing_else(folder, value):
    lines = [
        json.dumps({"text": "first", "label": "a"}),
        json.dumps({"text": "second", "label": value}),
    ]
    path = written(folder, "value.jsonl", lines)
    if isinstance(value, str | int) and str(value).strip():
        assert load_labelled(path, "all").labels == ["a", str(value).strip()]
    else:
        refused(lambda: load_labelled(path, "all"), "value.jsonl", "line 2", "label")
    assert labelled.read(path, labelled=False) == [("first", ""), ("second", "")]


@given(rows=examples, where=st.integers(0, 6), width=st.integers(1, 5))
def test_a_row_of_another_width_is_refused_with_its_line(folder, rows, where, width):
    """The smallest example is a tab inside a text: the second part of the text would be the label."""
    where = min(where, len(rows) - 1) + 1  # never the first row, which decides
    lines = ["\t".join(row) for row in rows]
    lines.insert(where, "\t".join(["a cell"] * width))
    path = written(folder, "width.tsv", lines)
    if width == 2:
        assert ("a cell", "a cell") in labelled.read(path)
    else:
        for call in (load_labelled, load_texts):
            refused(lambda call=call: call(path), "width.tsv", f"line {where + 1}", "column")


@pytest.mark.parametrize(
    "lines, words",
    [
        (["a text\twith a tab\tpositive", "another\tpositive"], ["line 1", "3 columns"]),
        (["only a text"], ["line 1", "no tab"]),
        (["text"], ["line 1", "label"]),
        (["sentence\tstars\tid", "a\t1\t7", "b\t2\t8"], []),
        (["sentence\tgrade\tid", "a\t1\t7"], ["line 1", "'grade'", "call the right one 'label'"]),
        (["sentence\tgrade", "a\tpositive"], ["line 1", "call the right one 'label'"]),
        (["phrase_en\tlabel", "a\tpositive"], ["line 1", "call the right one 'text'"]),
        (["sentence1\tsentence2\tlabel", "a\tb\t1"], ["line 1", "'text'"]),
        (["question\tsentence\tlabel", "a\tb\t1"], ["line 1", "'text'"]),
        (["text\tlabel\tlabel", "a\tb\tc"], ["line 1", "'label'"]),
        (["text\tlabel", "a\t1", "\n", "b\t "], ["line 5", "label"]),
    ],
)
def test_what_the_columns_do_not_say_is_asked_and_never_guessed(tmp_path, lines, words):
    path = written(tmp_path, "a.tsv", lines)
    if words:
        refused(lambda: load_labelled(path, "all"), "a.tsv", *words)
    else:
        assert load_labelled(path, "all").labels == ["1", "2"]


def test_an_ordinary_label_may_be_the_name_of_a_column(tmp_path):
    lines = ["who is it\tquestion", "what now\tquestion", "I see\tanswer"]
    assert len(load_labelled(written(tmp_path, "a.tsv", lines), "all")) == 3


def test_text_and_label_themselves_come_before_other_names(tmp_path):
    lines = ["title\ttext\tlabel\ttopic", "a\tb\tc\td"]
    assert labelled.read(written(tmp_path, "a.tsv", lines)) == [("b", "c")]


@pytest.mark.parametrize(
    "line",
    ['{"text": "a", "label": "x", "label": "y"}', '{"text": "a"}', '{"label": "a"}', '{"text": ["a"], "label": 1}',
     '{"Text": "a", "label": "x"}', "[]", "{", "NaN", "7", '"a"'],
)  # fmt: skip
def test_a_json_row_that_differs_is_refused_with_its_line(tmp_path, line):
    first = '{"text": "first", "label": "x"}'
    refused(
        lambda: load_labelled(written(tmp_path, "a.jsonl", [first, "", line])), "a.jsonl", "line 3"
    )


@given(rows=st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("xyz")), min_size=1))
def test_the_first_of_several_is_kept_and_the_others_are_counted(folder, rows):
    first = {}
    for text, label in rows:
        first.setdefault(text, label)
    contradictory = sum(first[text] != label for text, label in rows)
    repeated = len(rows) - len(first) - contradictory
    path = written(folder, "again.tsv", ["\t".join(row) for row in rows])
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled, "note", lambda line, once: said.append(line))
        assert labelled.read(path) == list(first.items())
    assert len(said) == bool(contradictory or repeated)
    assert not said or "again.tsv" in said[0]
    assert bool(repeated) == any(f" {repeated} that repeat" in line for line in said)
    assert bool(contradictory) == any(f" {contradictory} that give" in line for line in said)


def test_what_is_left_out_is_said_once_on_stderr_unless_quiet(tmp_path, capsys):
    lines = ["a\tx", "a\ty", "a\tx", "\tx", "b\tx"]
    with progress.hidden():
        load_labelled(written(tmp_path, "quiet.tsv", lines), "all")
    assert capsys.readouterr() == ("", "")
    for split in ("train", "test"):
        load_labelled(written(tmp_path, "a.tsv", lines), split)
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    for words in ("a.tsv", "1 without a text", "1 that repeat", "1 that give an earlier text"):
        assert words in said.err


def test_of_contradictory_tags_the_first_stay(tmp_path, capsys):
    lines = ["a X", "", "a Y", "", "b X"]
    assert load_tagged(written(tmp_path, "a.conll", lines), "all") == [
        (["a"], ["X"]),
        (["b"], ["X"]),
    ]
    assert "1 that give an earlier text" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, instead",
    [("a.json", ".jsonl"), ("a.JSON", ".jsonl"), ("a.csv", ".tsv"), ("A.CSV", ".tsv")],
)
def test_a_table_of_a_foreign_kind_is_not_read_as_one_document(tmp_path, name, instead):
    path = written(tmp_path, name, ["a,b"])
    for call in (load_texts, load_labelled):
        refused(lambda call=call: call(path), name, instead)


def test_the_case_of_a_suffix_does_not_matter(tmp_path):
    written(tmp_path, "A.TXT", ["one"])
    written(tmp_path, "b.txt", ["two"])
    assert load_texts(tmp_path) == ["one\n", "two\n"] and load_texts(tmp_path / "A.TXT") == [
        "one\n"
    ]


@given(
    text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r")),
    end=st.sampled_from(LINE_ENDS),
    mark=st.booleans(),
)
def test_a_file_and_standard_input_are_read_by_one_rule(folder, text, end, mark):
    raw = text.replace("\n", end).encode("utf-8")
    raw = codecs.BOM_UTF8 + raw if mark else raw
    (folder / "a.txt").write_bytes(raw)
    expected = text if mark else text.removeprefix("\ufeff")
    assert files.read_text(folder / "a.txt") == files.decode_text(raw, "standard input") == expected
