"""CoNLL files: what tokens, tags and sentences are, what is converted and said, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import progress
from tinylm.data import load_tagged, load_tagged_parts, tagged
from tinylm.errors import DataError

CONLL_2003 = """-DOCSTART- -X- -X- O

U.N. NNP I-NP I-ORG
official NN I-NP O
Ekeus NNP I-NP I-PER

-DOCSTART- -X- -X- O

Baghdad NNP I-NP I-LOC
Rome NNP I-NP B-LOC
"""
words = st.text(st.characters(min_codepoint=33, max_codepoint=383), min_size=1, max_size=7)
words = words.filter(lambda word: word.strip() == word and word.isprintable())


def written(folder, text, name="a.conll"):
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def test_the_four_columns_of_conll_2003(tmp_path, capsys):
    found = tagged.read(written(tmp_path, CONLL_2003))
    assert found == [
        (["U.N.", "official", "Ekeus"], ["B-ORG", "O", "B-PER"]),
        (["Baghdad", "Rome"], ["B-LOC", "B-LOC"]),
    ]
    said = capsys.readouterr().err
    assert "3 tags became BIO" in said and "I-ORG -> B-ORG" in said


def test_nothing_is_said_of_tags_that_are_bio_already_or_no_entities(tmp_path, capsys):
    for tags in (("B-x", "I-x"), ("NN", "I-x"), ("O", "O")):
        text = "".join(f"a\t{tag}\n" for tag in tags)
        assert tagged.read(written(tmp_path, text)) == [(["a", "a"], list(tags))]
    assert not capsys.readouterr().err


def test_quiet_converts_without_a_word(tmp_path, capsys):
    with progress.hidden():
        tagged.read(written(tmp_path, "a I-quiet\n"))
    assert not capsys.readouterr().err


@given(
    st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=5),
    st.sampled_from(("\t", " ", "  ")),
    st.sampled_from(("\n", "\r\n")),
    st.sampled_from(("", " ", "\t")),
)
def test_separators_line_ends_and_blanks_do_not_matter(tmp_path_factory, drawn, gap, end, blank):
    texts = [[word for word in sentence if word != tagged.DOCUMENT] for sentence in drawn]
    texts = [sentence for sentence in texts if sentence]
    lines = []
    for sentence in texts:
        lines += [f"{word}{gap}X{gap}T" for word in sentence] + [blank, blank]
    path = written(tmp_path_factory.mktemp("conll"), end.join(lines))
    assert tagged.read(path) == [(sentence, ["T"] * len(sentence)) for sentence in texts]


@pytest.mark.parametrize(
    "text, fault",
    [
        ("a O\nb\n", "line 2: expected a token and its tag, got 'b'"),
        ("a\tO\nb\t\n", "line 2: expected a token and its tag"),
        ("a\tO\n\tO\n", "line 2: expected a token and its tag"),
        ("a NN O\n\nb O\n", "line 3: expected 3 columns, as in line 1, but there are 2"),
        ("a O\nNew York O\n", "line 2: expected 2 columns, as in line 1, but there are 3"),
    ],
)
def test_a_line_that_differs_is_refused_with_its_number(tmp_path, text, fault):
    with pytest.raises(DataError) as caught:
        tagged.read(written(tmp_path, text))
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_parts_follow_the_rules_of_labelled_files(tmp_path):
    lines = "".join(f"word{i} O\n\n" for i in range(23))
    path = written(tmp_path, lines)
    whole, nothing = load_tagged_parts(path)
    assert len(whole) == 23 and nothing is None
    train, test = load_tagged_parts(path, path)
    assert len(train) + len(test) == 23 and not [row for row in test if row in train]
    other = written(tmp_path, lines, "b.conll")
    assert [len(part) for part in load_tagged_parts(path, other)] == [23, 23]
    assert load_tagged_parts("toy", "toy")[1] == load_tagged("toy", "test")
