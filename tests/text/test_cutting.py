"""Words that are given, and windows: every token is kept, and belongs where its characters are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import ArgumentError, VocabularyError
from tinylm.text import BPE, Bytes, Chars, Template, Unigram, WordPiece, Words, load

TEXT = "the unhappy cat can't see café or naïve dogs; it sat on a mat , with 42 words."
ENCODINGS = {
    "chars": Chars.train([TEXT]),
    "bytes": Bytes(),
    "words": Words.train([TEXT]),
    "bpe": BPE.train([TEXT] * 3, 290),
    "wordpiece": WordPiece.train([TEXT] * 3, 70),
    "unigram": Unigram.train([TEXT] * 3, 60, exact=False),
}
every = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
WORDS = st.lists(st.sampled_from(TEXT.split() + ["", "東京", "zzz", "!?"]), max_size=13)


@every
@given(words=WORDS)
def test_words_are_encoded_as_the_text_that_they_make(encoding, words):
    ids, places = encoding.encode_words(words)
    assert ids == encoding.encode(" ".join(words))
    assert len(places) == len(ids) and places == sorted(places)
    assert set(places) <= set(range(max(len(words), 1)))


@every
@given(words=st.lists(st.sampled_from(TEXT.split()), min_size=1, max_size=13))
def test_the_tokens_of_a_word_are_its_own(encoding, words):
    ids, places = encoding.encode_words(words)
    assert set(places) == set(range(len(words)))
    text = " ".join(words)
    for place, (start, end) in zip(places, encoding.offsets(text), strict=True):
        before = " ".join(words[:place])
        begin = len(before) + bool(place)
        inside = text[begin : begin + len(words[place])]
        assert inside == words[place]
        assert start >= begin - 1 and end <= begin + len(inside)


def test_word_pieces_of_given_words_are_those_of_each_word():
    encoding = ENCODINGS["wordpiece"]
    words = "unhappy can't 42 zzz".split()
    ids, places = encoding.encode_words(words)
    for w, word in enumerate(words):
        own = [i for i, place in zip(ids, places, strict=True) if place == w]
        assert own == encoding.encode(word)


@every
@given(text=st.text(st.sampled_from(TEXT + "\u0301東 \n"), max_size=60), data=st.data())
def test_windows_hold_every_token_with_its_offsets(encoding, text, data):
    longest = data.draw(st.integers(1, 17))
    stride = data.draw(st.integers(1, longest))
    ids, offsets = encoding.encode(text), encoding.offsets(text)
    found = encoding.windows(text, longest, stride)
    held = set()
    for number, window in enumerate(found):
        last = window.first + len(window.ids)
        assert window.first == number * stride and len(window.ids) <= longest
        assert window.ids == ids[window.first : last]
        assert window.offsets == offsets[window.first : last]
        held |= set(range(window.first, last))
    assert held == set(range(len(ids)))
    if len(found) > 1:
        assert found[-2].first + longest < len(ids)  # no window repeats another one's end


def test_mistakes_are_one_sentence():
    letters = ENCODINGS["chars"]
    for longest, stride in ((0, 1), (3, 0), (3, 4)):
        with pytest.raises(VocabularyError, match="leave tokens out"):
            letters.windows("the cat", longest, stride)
    with pytest.raises(ArgumentError, match="list of strings"):
        letters.encode_words("the cat")


@every
def test_another_template_is_saved_and_loaded_with_the_encoding(encoding, tmp_path):
    encoding.save(tmp_path / "before")
    assert not (tmp_path / "before" / "template.json").exists()
    again = load(tmp_path / "before")
    again.arrange(Template("A <end>:3", "A <end>:3 B:1", typed=True, pad_type=5, pad_left=True))
    again.add_specials(["<end>"])
    again.save(tmp_path / "after")
    loaded = load(tmp_path / "after")
    assert loaded.template == again.template and loaded.arranged
    assert loaded(["the", "the cat"])["token_types"].tolist() == (
        again(["the", "the cat"])["token_types"].tolist()
    )
    encoding.save(tmp_path / "after")  # takes the template of the other one away
    assert load(tmp_path / "after").template == encoding.template


@pytest.mark.parametrize("content", ["[]", '{"single": 3}', '{"other": "A"}', "{"])
def test_a_damaged_template_is_one_sentence(tmp_path, content):
    Chars("abc").save(tmp_path)
    (tmp_path / "template.json").write_text(content, encoding="utf-8")
    with pytest.raises(Exception, match="template") as caught:
        load(tmp_path)
    assert type(caught.value).__module__ == "tinylm.errors"
