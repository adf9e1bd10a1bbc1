"""Habits from NumPy and slips of the fingers: the right answer, or one sentence that says what was expected."""

import datetime

import numpy as np
import pytest

import tinylm
import tinylm.ops as F
from tinylm import Tensor, optim, text
from tinylm.errors import TinylmError
from tinylm.nn import LayerNorm
from tinylm.transfer import Majority, SoftmaxRegression, accuracy, macro_f1
from tinylm.transfer.task import as_labels
from tinylm.vectors import Vectors

X = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], np.float32)


def test_comparing_is_elementwise_and_a_tensor_is_still_a_key():
    x = Tensor(X)
    np.testing.assert_array_equal(x == 2, X == 2)
    np.testing.assert_array_equal(x != Tensor(X[0]), X != X[0])
    assert not (x == None).any()  # noqa: E711
    assert {x: "kept"}[x] == "kept" and len({x, Tensor(X)}) == 2
    with pytest.raises(TinylmError, match="do not broadcast"):
        _ = x == np.ones(7)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var"])
def test_numpys_reductions_of_a_tensor_are_ours(name):
    x = Tensor(X, requires_grad=True)
    for axis in (None, 0, 1):
        found = getattr(np, name)(x, axis=axis)
        assert isinstance(found, Tensor)
        np.testing.assert_allclose(found.data, getattr(np, name)(X, axis=axis), rtol=1e-6)
    np.sum(getattr(np, name)(x)).backward()
    assert x.grad.shape == X.shape


def test_a_tensor_of_a_tensor_keeps_its_numbers_and_their_precision():
    for kind in (np.float32, np.float64):
        assert Tensor(Tensor(X.astype(kind))).dtype == kind


def test_the_largest_of_nothing_is_one_sentence():
    for function in (F.max, F.min):
        with pytest.raises(TinylmError, match="no entry over axis"):
            function(Tensor(np.zeros((0, 3))), axis=0)
    assert F.max(Tensor(np.zeros((0, 3))), axis=1).shape == (0,)


ENCODINGS = [
    text.Chars("abc"),
    text.Bytes(),
    text.Words(["a"]),
    text.ElmoWords(["a"]),
    text.WordPiece(["[UNK]", "a"]),
    text.BPE.train("the cat", 257),
    text.Unigram.train("the cat sat on the mat", 20, exact=False),
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: type(encoding).__name__)
@pytest.mark.parametrize("wrong", [None, 7, b"ab", 1.5])
def test_what_is_no_text_is_one_sentence(encoding, wrong):
    for call in (
        encoding.encode,
        encoding.tokens,
        encoding.offsets,
        encoding.word_starts,
        encoding.token_id,
        encoding.arrange,
        encoding,
        encoding.encode_batch,
        encoding.decode,
    ):
        if call == encoding.decode and wrong == b"ab":
            continue  # bytes are whole numbers
        with pytest.raises(TinylmError):
            call(wrong)
    with pytest.raises(TinylmError):
        encoding.encode_batch([wrong])
    with pytest.raises(TinylmError):
        encoding.decode([wrong, "a"])


@pytest.mark.parametrize("wrong", [None, 7, b"ab"])
def test_no_random_cut_is_made_of_what_is_no_text(wrong):
    *_, pairs, unigram = ENCODINGS
    rng = np.random.default_rng(0)
    for call in (
        lambda: pairs.sample(wrong, 0.1, rng),
        lambda: unigram.sample(wrong, 0.1, rng),
        lambda: unigram.n_best(wrong, 2),
    ):
        with pytest.raises(TinylmError, match="expected a string"):
            call()


@pytest.fixture(scope="module")
def vectors():
    return Vectors(["sea", "lake", "bread"], np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32))


@pytest.mark.parametrize("wrong", [None, 7, [None], [["sea"]]])
def test_what_is_no_word_is_one_sentence(vectors, wrong):
    for call in (vectors.most_similar, vectors.most_similar_cosmul, vectors.doesnt_match):
        with pytest.raises(TinylmError):
            call(wrong)
    with pytest.raises(TinylmError):
        vectors.similarity("sea", wrong)


@pytest.mark.parametrize("more", [{"n": -1}, {"n": 1.5}, {"n": None}, {"restrict_vocab": -1}])
def test_a_number_of_words_that_cannot_be_is_one_sentence(vectors, more):
    for call in (vectors.most_similar, vectors.most_similar_cosmul):
        with pytest.raises(TinylmError, match="Vectors: "):
            call("sea", **more)
    assert vectors.most_similar("sea", n=0) == []


def test_labels_of_two_kinds_are_never_compared():
    for score in (accuracy, macro_f1):
        with pytest.raises(TinylmError, match="expected one kind"):
            score(["1", "2"], [1, 2])
        with pytest.raises(TinylmError, match="expected one kind"):
            score([1, 2], ["1", "2"])


DAYS = [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)]


@pytest.mark.parametrize(
    "labels",
    [[None, "a"], [1, "a"], [float("nan"), 1.0], DAYS, np.array(DAYS, "M8[D]"), [b"a", b"b"]],
)
def test_labels_that_no_file_can_keep_are_one_sentence(labels):
    with pytest.raises(TinylmError):
        as_labels(labels)
    with pytest.raises(TinylmError):
        Majority().fit(["x", "y"], labels)


def test_one_long_label_does_not_take_the_room_of_all():
    """NumPy gives every text of an array the room of the longest: here 2,000 times 4 million bytes."""
    labels = ["a", "b"] * 1000 + ["c" * 10**6]
    found = as_labels(labels)
    assert found.nbytes < 10**6 and found.tolist() == labels
    classes, codes = np.unique(found, return_inverse=True)
    assert classes.tolist() == sorted(set(labels)) and accuracy(found, classes[codes]) == 1


@pytest.mark.parametrize("pattern", ["(", "[a", "!*", None, 7])
def test_a_pattern_that_is_none_is_one_sentence(pattern):
    with pytest.raises(TinylmError, match="no_decay"):
        optim.AdamW(LayerNorm(3), lr=0.1, no_decay=(pattern,))
    with pytest.raises(TinylmError, match="no_decay"):
        tinylm.TrainConfig(steps=1, no_decay=(pattern,))


@pytest.mark.parametrize("C", [0, -1, (), None, float("nan"), "1"])
def test_a_trust_that_cannot_be_is_one_sentence(C):
    with pytest.raises(TinylmError, match="SoftmaxRegression: C"):
        SoftmaxRegression(C)
