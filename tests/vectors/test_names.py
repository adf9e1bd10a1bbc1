"""Every word that Python can hold comes back from every format; what a format cannot hold is counted, and never merged."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm import Vectors
from tinylm.app.cli import main
from tinylm.errors import CheckpointError
from tinylm.vectors import FORMATS, NGrams, names, read_vectors, write_vectors

ANY_CHARACTER = st.one_of(
    st.characters(exclude_categories=()),
    st.sampled_from("ab_ \t\n\r\x0b\x0c\x1c\x85\u00a0\u2028\u3000\ufeff\0é1.-"),
    st.sampled_from("\ud83d\ude00\udcc3\udca9\udced\udca0\udcbd\udc80"),
)
WORDS = st.lists(st.text(ANY_CHARACTER, max_size=7), min_size=1, max_size=7, unique=True)


def round_trip(words, form, width=3):
    """The names that come back, and the changes that were told."""
    table = np.random.default_rng(0).normal(size=(len(words), width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        changed = write_vectors(Path(folder) / "v", words, table, form=form)
        back, again = read_vectors(Path(folder) / "v")
    np.testing.assert_array_equal(again, table)
    return back, changed


@pytest.mark.parametrize("form", FORMATS)
@given(WORDS, st.integers(1, 5))
@example(["a b", "a_b", "a\u00a0b", "a\u3000b", "a\nb", "", "_"], 3)
@example(["\ud83d", "\udcc3\udca9", "é", "\udced\udca0\udcbd"], 3)
def test_every_word_comes_back_or_is_told_and_no_two_become_one(form, words, width):
    back, changed = round_trip(words, form, width)
    assert back == [changed.get(word, word) for word in words]
    assert len(set(back)) == len(words)
    for word in changed:
        foreign = names.FOREIGN.search(word)
        assert names.SPLITS[form].search(word) or foreign or word == ""


@pytest.mark.parametrize("form", FORMATS)
def test_spaces_that_no_reader_splits_at_stay(form):
    words = ["a\u00a0b", "a\u3000b", "a\x85b", "a\u2028b", "\ufeffa", "\ud83d", "\udc80", "a\0"]
    assert round_trip(words, form) == (words, {})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("length", [4095, 4096, 4097, 100_000])
def test_a_word_of_any_length_comes_back(form, length):
    for words in (["x" * length], ["a", "é" * length, "b"], ["1" * length]):
        for width in (1, 3, 200):
            assert round_trip(words, form, width) == (words, {})


def test_equal_words_stay_equal():
    assert round_trip(["a b", "c", "a b"], "text")[0] == ["a_b", "c", "a_b"]


@given(st.binary(max_size=12))
def test_bytes_that_are_no_text_are_kept(raw):
    assert names.to_bytes(names.to_word(raw)) == raw


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_to_write_is_one_sentence(tmp_path, shape):
    with pytest.raises(CheckpointError, match="both at least 1"):
        write_vectors(tmp_path / "v.bin", ["a"] * shape[0], np.ones(shape))
    assert not list(tmp_path.iterdir())


@given(st.text(ANY_CHARACTER, max_size=9))
def test_any_word_has_n_grams(word):
    assert len(NGrams(2, 3, 101).rows(word)) == len(NGrams(2, 3, 101).pieces(word))


def test_convert_tells_what_changed(tmp_path, capsys):
    words = ["a b", "a_b", "a\u00a0b", "c", "c"]
    Vectors(words, np.random.default_rng(0).normal(size=(5, 3))).save(tmp_path / "v")
    assert main(["convert", str(tmp_path / "v"), str(tmp_path / "v.bin"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["words"], found["changed"], found["repeated"]) == (5, 1, 1)
    assert read_vectors(tmp_path / "v.bin")[0] == ["a_b_", "a_b", "a\u00a0b", "c", "c"]
    assert main(["convert", str(tmp_path / "v"), str(tmp_path / "v.bin"), "--overwrite"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "1 words changed" in said[1] and "'a b' is 'a_b_'" in said[1]
    assert "1 words stand there more than once" in said[2]


def test_convert_that_makes_words_equal_says_so(tmp_path, capsys):
    Vectors(["a\udcc3", "a\udcc4"], np.eye(2)).save(tmp_path / "v.bin")
    command = ["convert", str(tmp_path / "v.bin"), str(tmp_path / "v.vec"), "--errors", "ignore"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repeated"] == 1


@pytest.mark.parametrize("first", [
    "\ufeffsea", "PK\x03\x04", "\udc80", "\x1f\udc8b", "\udc93NUMPY", "\udc89HDF",
])  # fmt: skip
@pytest.mark.parametrize("form", FORMATS)
def test_a_first_word_is_never_taken_for_the_beginning_of_another_format(first, form):
    words = [first, "sea", first + "b"]
    back, changed = round_trip(words, form)
    assert back == [changed.get(word, word) for word in words]
    assert len(set(back)) == 3 and set(changed) <= {first}
