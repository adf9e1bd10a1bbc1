"""Laws of words' vectors: each is the state of the word's first token, whatever stands around it in the batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.errors import DataError, ShapeError
from tinylm.gradcheck import check_grads
from tinylm.tensor import Tensor
from tinylm.text import BPE, Chars, Template, WordPiece, Words
from tinylm.transfer.words import gather, joined, read, word_vectors

TEXT = ["the unbelievable cat sat on an unbelievably long mat , the end", "an ox"]
BERT = Template("[CLS] A [SEP]")
LEFT = Template("A [SEP] [CLS]", pad_left=True)


def wordpiece(template):
    pieces = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "un", "##able", "an", "ox", "a", "##b", "##x"]
    encoding = WordPiece(pieces)
    encoding.arrange(template)
    return encoding


ENCODINGS = {
    "words": Words.train(TEXT),
    "chars": Chars("abcdefghilmnotuv ,x"),
    "bpe": BPE.train(TEXT, 270),
    "wordpiece in BERT's frame": wordpiece(BERT),
    "wordpiece padded on the left": wordpiece(LEFT),
}
words = st.sampled_from(["an", "ox", "unable", "axb", "a", "unx", "cat", "the"])
some_sentences = st.lists(st.lists(words, min_size=1, max_size=9), min_size=1, max_size=5)


def table(encoding, max_length=None):
    """An encoder without context: the vector of a token says which token it is."""
    config = tinylm.Word2VecConfig(vocab_size=encoding.vocab_size, size=1)
    encoder = tinylm.Word2Vec(config)
    encoder.vectors.data[:, 0] = np.arange(encoding.vocab_size)
    encoder.max_length = max_length
    return encoder


def first_ids(encoding, sentence):
    """The id of each word's first token, by the encoding's own account."""
    ids, owner = encoding.encode_words(sentence)
    return [float(ids[owner.index(w)]) if w in owner else 0.0 for w in range(len(sentence))]


@pytest.mark.parametrize("name", ENCODINGS)
@given(sentences=some_sentences, batch_size=st.sampled_from([1, 2, 7]))
def test_a_word_has_the_state_of_its_first_token(name, sentences, batch_size):
    encoding = ENCODINGS[name]
    encoder = table(encoding)
    reading = read(encoder, encoding, sentences)
    vectors = word_vectors(encoder, reading, ("last",), batch_size)
    for sentence, rows in zip(sentences, vectors, strict=True):
        assert rows[:, 0].tolist() == first_ids(encoding, sentence)


APART = [name for name in ENCODINGS if name not in ("bpe", "chars")]  # a space is no part of a word


@pytest.mark.parametrize("name", APART)
@given(sentences=some_sentences)
def test_a_long_sentence_is_read_in_parts_and_no_word_is_lost(name, sentences):
    encoding = ENCODINGS[name]
    encoder = table(encoding, max_length=7)
    reading = read(encoder, encoding, sentences)
    assert reading.encoded["ids"].shape[1] <= 7
    vectors = word_vectors(encoder, reading, ("last",))
    for sentence, rows in zip(sentences, vectors, strict=True):
        assert rows[:, 0].tolist() == [first_ids(encoding, [word])[0] for word in sentence]


def test_a_word_of_more_tokens_than_the_encoder_reads_has_its_first():
    encoding = ENCODINGS["chars"]
    reading = read(table(encoding, max_length=5), encoding, [["unbelievable", "cat"]])
    assert [places.tolist() for places in reading.places] == [[0, 0]]
    assert [rows.tolist() for rows in reading.rows] == [[0, 1]]


def test_words_without_a_token_have_a_vector_of_zeros():
    encoding = Words(["sea"])
    encoder = table(encoding)
    encoder.vectors.data += 1
    reading = read(encoder, encoding, [["sea", "", "sea"], [""]])
    vectors = word_vectors(encoder, reading, ("last",))
    assert (vectors[0][:, 0] != 0).tolist() == [True, False, True]
    assert not vectors[1].any()


def test_gathered_states_pass_their_gradient_back():
    rng = np.random.default_rng(0)
    found = np.array([[3, 0, -1], [5, 3, 3]])
    check_grads(lambda states: gather(states, found), rng.normal(size=(2, 3, 5)))


def test_layers_stand_side_by_side_and_a_mix_needs_equal_widths():
    states = [np.full((2, 3), 1.0), np.full((2, 3), 5.0)]
    assert joined(states, ("mean", 0))[0].tolist() == [3, 3, 3, 1, 1, 1]
    assert joined(states, ("mix",)).shape == (2, 6)
    with pytest.raises(ShapeError, match="layers of one width"):
        joined([*states, np.ones((2, 5))], ("mix",))
    with pytest.raises(ShapeError, match="'mix' alone"):
        joined(states, ("mix", "last"))


def test_too_little_room_and_damaged_weights_are_one_sentence():
    encoding = wordpiece(BERT)
    with pytest.raises(DataError, match="2 special ones surround"):
        read(table(encoding, max_length=2), encoding, [["an"]])
    encoder = table(encoding)
    encoder.vectors.data[:] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        word_vectors(encoder, read(encoder, encoding, [["an"]]), ("last",))
    assert isinstance(gather(Tensor(np.ones((1, 1, 1))), np.array([[0]])), Tensor)
