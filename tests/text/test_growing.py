"""Laws of a vocabulary that grows: old ids stay, nothing of the text is unknown, files keep it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import text
from tinylm.text import Words
from tinylm.text.growing import lacking

OLD = "the cat sat on the mat"
NEW = ["a dog sat, a dog ran", "the ox"]
words = st.lists(st.sampled_from("ant bee cow dog eel fox".split()), min_size=1, max_size=13)


@pytest.mark.parametrize("kind", text.GROWING)
@given(old=words, new=words)
def test_old_tokens_keep_their_ids_and_no_unit_stays_unknown(kind, old, new):
    encoding = text.learn(kind, [" ".join(old)])
    vocab = list(encoding.vocab)
    added = text.grow(encoding, [" ".join(new)])
    assert encoding.vocab[: len(vocab)] == vocab
    assert encoding.vocab_size == len(vocab) + added == len(set(encoding.vocab))
    assert encoding.unk_id not in encoding.encode(" ".join(new))
    assert text.grow(encoding, [" ".join(new)]) == 0


@pytest.mark.parametrize("kind", text.GROWING)
def test_a_grown_vocabulary_survives_its_files_with_added_specials_in_between(kind, tmp_path):
    encoding = text.learn(kind, OLD)
    encoding.add_specials(["<start>", "<other>"])
    text.grow(encoding, NEW)
    encoding.save(tmp_path)
    again = text.load(tmp_path)
    assert again.vocab == encoding.vocab and again.specials == encoding.specials
    assert [again.encode(each) for each in NEW] == [encoding.encode(each) for each in NEW]


def test_frequent_tokens_come_first_and_ties_by_spelling():
    encoding = Words(["the", "sat"])
    text.grow(encoding, NEW)
    assert encoding.vocab[5:] == ["a", "dog", ",", "ox", "ran"]


def test_vocab_size_bounds_all_tokens_and_takes_none_away():
    encoding = Words(["the", "sat"])
    assert text.grow(encoding, NEW, vocab_size=7) == 2 and encoding.vocab_size == 7
    assert text.grow(encoding, NEW, vocab_size=3) == 0 and encoding.vocab_size == 7


def test_words_are_cut_and_lowered_as_the_vocabulary_does():
    encoding = Words(["the"], lower=True)
    assert dict(lacking(encoding, ["The CAT, the cat"])) == {"cat": 2, ",": 1}


@pytest.mark.parametrize("kind", [kind for kind in text.KINDS if kind not in text.GROWING])
def test_encodings_that_spell_from_parts_never_grow(kind):
    encoding = text.learn(kind, [OLD], 400 if kind == "bytes" else 300)
    before = list(encoding.vocab)
    assert text.grow(encoding, ["zebra 東京"]) == 0 and encoding.vocab == before


def test_every_kind_knows_its_name():
    for kind in text.KINDS:
        assert text.kind_of(text.learn(kind, [OLD], 400)) == kind


def test_an_encoding_that_nobody_learns_by_name_is_of_no_kind():
    class Mine(text.Chars):
        """Another class, though it reads the same letters."""

    assert text.kind_of(Mine("abc")) is None
