"""A user's own files, and the sentences for what is wrong with them."""

import json
import re

import pytest
from costs import cost_at_most
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import load_labelled, load_parts, load_tagged, load_texts, readers, tagged
from tinylm.errors import DataError

ROWS = [(f"text number {i}", "odd" if i % 2 else "even") for i in range(23)]


@pytest.fixture
def files(tmp_path):
    lines = [f"{text}\t{label}" for text, label in ROWS]
    (tmp_path / "plain.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    swapped = ["label\tid\ttext", *(f"{label}\t7\t{text}" for text, label in ROWS)]
    (tmp_path / "header.tsv").write_bytes("\r\n".join(swapped).encode("utf-8-sig"))
    objects = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (tmp_path / "rows.jsonl").write_text("\n".join(objects), encoding="utf-8")
    (tmp_path / "tags.conll").write_text(
        "-DOCSTART- -X- O\n\nJohn NNP B-PER\nruns VB O\n\n\nRome NN B-LOC\n"
    )
    return tmp_path


def test_the_folder_of_a_run_is_left_out_of_the_data_that_contains_it(tmp_path):
    for name in ("a.txt", "run/merges.txt", "run/deep/vocab.txt", "runs/b.txt", "run.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    own = ["run/deep/vocab.txt", "run/merges.txt"]
    everything = ["a.txt", "run.txt", *own, "runs/b.txt"]
    assert load_texts(tmp_path) == load_texts(tmp_path, tmp_path / "missing")
    assert sorted(load_texts(tmp_path)) == sorted(everything)
    besides = ["a.txt", "run.txt", "runs/b.txt"]
    assert sorted(load_texts(tmp_path, tmp_path / "run")) == besides
    assert load_texts(tmp_path / "runs" / "..", tmp_path / "runs" / ".." / "run") == besides
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert load_texts(tmp_path / "link", tmp_path / "run") == besides
    assert load_texts(tmp_path / "run", tmp_path) == own  # data that lies in the folder
    with pytest.raises(DataError, match="no .txt file besides those in"):
        load_texts(tmp_path / "run", tmp_path / "run")


@pytest.mark.parametrize("name", ["plain.tsv", "header.tsv", "rows.jsonl"])
def test_all_formats_give_the_same_rows(files, name):
    found = load_labelled(files / name, "all")
    assert list(zip(found.texts, found.labels, strict=True)) == ROWS


@pytest.mark.parametrize("name", ["plain.tsv", "rows.jsonl"])
def test_training_and_test_parts_are_a_partition_and_pretraining_sees_no_test_text(files, name):
    train, test = load_labelled(files / name, "train"), load_labelled(str(files / name), "test")
    assert len(test) == 5 and sorted(train.texts + test.texts) == sorted(text for text, _ in ROWS)
    assert load_texts(files / name) == train.texts


def test_two_files_are_used_whole_and_one_is_split(files):
    train, test = load_parts(files / "plain.tsv", files / "rows.jsonl")
    assert len(train) == len(test) == 23
    assert load_parts(files / "plain.tsv")[1] is None
    train, test = load_parts(files / "plain.tsv", files / "plain.tsv")
    assert len(train) + len(test) == 23 and not set(train.texts) & set(test.texts)
    again = load_parts(
        files / "plain.tsv", str(files / ".." / files.name / "plain.tsv")
    )  # the same file, spelled otherwise
    assert [part.texts for part in again] == [train.texts, test.texts]
    assert [len(part) for part in load_parts("toy", "toy")] == [3000, 600]


def test_repeated_texts_cannot_fall_on_both_sides(tmp_path):
    (tmp_path / "a.tsv").write_text("".join(f"same {i % 9}\tx\n" for i in range(90)))
    train, test = (load_labelled(tmp_path / "a.tsv", split).texts for split in ("train", "test"))
    assert len(train) + len(test) == 9


def test_conll_sentences_and_tags(files):
    assert tagged.read(files / "tags.conll") == [
        (["John", "runs"], ["B-PER", "O"]),
        (["Rome"], ["B-LOC"]),
    ]
    assert len(load_tagged(files / "tags.conll", "all")) == 2


def test_text_file_is_one_document_and_a_folder_holds_many(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_bytes("zwei\r\nZeilen ä".encode("utf-8-sig"))
    (tmp_path / "sub" / "a.txt").write_text("one")
    (tmp_path / "empty.txt").write_text(" \n")
    assert load_texts(tmp_path / "b.txt") == ["zwei\nZeilen ä"]
    assert load_texts(str(tmp_path)) == ["zwei\nZeilen ä", "one"]


def test_unlabelled_jsonl_is_a_corpus(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": f"t {i}"}) + "\n" for i in range(10))
    )
    assert len(load_texts(tmp_path / "a.jsonl")) == 8


def test_wiki_markup_leaves_its_words():
    markup = (
        "{{Box|a={{b}}}}'''Bold''' [[A|b c]] and [[d]]&nbsp;e<ref name=x>no</ref>.\n== Head ==\n"
    )
    markup += "* [http://x.y out]\n[[File:q|[[z]]]]"
    assert readers.plain_text(markup) == "Bold b c and d\u00a0e.\nHead\nout"


def by_definition(markup):
    """The notes, templates and tables of a markup left out as their definitions say, in time that is not linear."""
    notes = r"<!--.*?-->|<ref[^>/]*/>|<(ref|math|gallery|timeline|source|code)\b.*?</\1>"
    return re.sub(notes, "", markup, flags=re.S)


PIECES = (
    "<!-- --> <ref <ref> </ref> <references/> /> > / <math> </math> </code> <code x> <b> a".split()
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_notes_of_any_markup_are_left_out_as_they_are_defined(markup):
    assert readers._without_notes(markup) == by_definition(markup)


def test_a_web_link_ends_where_it_ends_and_a_sign_is_no_tag():
    assert (
        readers.plain_text("see [http://a.b] and [http://c.d there], [e]") == "see  and there, [e]"
    )
    assert readers.plain_text("if a < b and c <i>d</i>") == "if a < b and c d"


@pytest.mark.parametrize("digits", ["9" * 5000, "99999999", "1114112"])
def test_a_number_of_no_character_is_a_sign_for_one(digits):
    assert readers.plain_text(f"a&#{digits};b &#0065; &#65;") == "a\ufffdb A A"


HOSTILE = [
    "<!--",
    "<ref",
    "<ref>",
    "<math>",
    "{{",
    "{|",
    "{{a",
    "{",
    "[[",
    "[[a|",
    "[a://b",
    "[a://",
]
HOSTILE += [
    "<",
    "=",
    "= ",
    " ",
    "'",
    "__A",
    "&#",
    "&#9",
    "<!--<ref>",
    "{{a}}{",
    "<ref/",
    "a",
    "\n ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_twice_as_much_unclosed_markup_takes_twice_the_time(piece):
    once = "x" + piece * (100_000 // len(piece)) + "y"
    twice = "x" + piece * (200_000 // len(piece)) + "y"
    cost_at_most(3, lambda: readers.plain_text(once), lambda: readers.plain_text(twice), slack=0.02)


@pytest.mark.parametrize("opened, closed", [("{{a", "}}"), ("{|a", "|}"), ("[[", "]]")])
def test_twice_as_deep_markup_takes_twice_the_time(opened, closed):
    once = opened * 20_000 + closed * 20_000
    twice = opened * 40_000 + closed * 40_000
    cost_at_most(3, lambda: readers.plain_text(once), lambda: readers.plain_text(twice), slack=0.02)
    assert readers.plain_text(f"x{opened * 40}y{closed * 40}") in ("x", "xy")


def one_sentence(call, *words):
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert all(word in message for word in words) and "\n" not in message and message.endswith(".")


def test_mistakes_are_one_sentence(tmp_path):
    one_sentence(lambda: load_texts("nosuch.txt"), "nosuch.txt", "newsgroups", "toy")
    one_sentence(lambda: load_labelled("toy", "dev"), "'dev'", "train, test, all")
    one_sentence(lambda: load_labelled("minilm"), "another kind")
    one_sentence(lambda: load_texts(tmp_path), "no .txt file")
    (tmp_path / "empty.txt").write_text("")
    one_sentence(lambda: load_texts(tmp_path / "empty.txt"), "empty")
    (tmp_path / "empty.tsv").write_text("")
    one_sentence(lambda: load_labelled(tmp_path / "empty.tsv"), "no labelled text")
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    one_sentence(lambda: load_texts(tmp_path / "latin.txt"), "not UTF-8", "byte 2")
    (tmp_path / "bad.tsv").write_text("a\tb\nno label\n")
    one_sentence(lambda: load_labelled(tmp_path / "bad.tsv"), "line 2")
    (tmp_path / "bad.tsv").write_text("a\tb\nempty label\t\n")
    one_sentence(lambda: load_labelled(tmp_path / "bad.tsv"), "line 2")
    for content in ("{", "[1]", '{"text": 1, "label": 2}', '{"text": "a"}'):
        (tmp_path / "bad.jsonl").write_text('{"text": "a", "label": "b"}\n' + content)
        one_sentence(lambda: load_labelled(tmp_path / "bad.jsonl"), "line 2")
    for content in ("a O\nb\n", "a O\nb \n", "a\tO\nb\t\n"):
        (tmp_path / "bad.conll").write_text(content)
        one_sentence(lambda: load_tagged(tmp_path / "bad.conll"), "line 2")
    one_sentence(lambda: load_tagged("nosuch"), "entities, toy")


def test_close_name_is_proposed():
    with pytest.raises(DataError, match="did you mean 'newsgroups'"):
        load_texts("newsgroup")
