"""Each encoding cuts as its definition on paper does: the few lines at the head of its chapter."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.kernels import expectation
from tinylm.text import BPE, Unigram, WordPiece
from tinylm.text.bpe import apply_merges, find_merges
from tinylm.text.formats.protobuf import NORMAL, UNKNOWN
from tinylm.text.merging import learn, spell
from tinylm.text.normalise.normalizing import Normalizer
from tinylm.text.spelling import BYTES
from tinylm.text.trie import Dictionary
from tinylm.text.unigram import best_cut, log_probability
from tinylm.text.wordpiece import longest_pieces

WORDS = st.lists(st.text("ab", min_size=1, max_size=13), min_size=1, max_size=7)
COUNTED = st.dictionaries(
    st.text("abc", min_size=1, max_size=11), st.integers(1, 5), min_size=1, max_size=7
)
SCORES = st.integers(-72, -1).map(lambda n: n / 8)  # exact in float32, and so are their sums
PIECES = st.dictionaries(st.text("ab", min_size=1, max_size=5), SCORES, max_size=11)


@settings(deadline=None)
@given(COUNTED, st.integers(0, 11), st.integers(1, 4))
def test_merges_are_learned_as_on_paper(words, wanted, min_count):
    alphabet, counted = spell(dict(words))
    vocab, merges = learn(alphabet, counted, wanted, min_count)
    assert merges == find_merges(words, wanted, min_count)
    assert len(vocab) <= len(alphabet) + wanted


@settings(deadline=None)
@given(
    st.lists(st.text("ab c.", min_size=1, max_size=31), min_size=1, max_size=3), st.text("ab c.")
)
def test_bpe_merges_as_on_paper(texts, text):
    bpe = BPE.train(texts, 277, specials=(), exact=False)
    words = map(BYTES.letters, BYTES.words(text, False))
    assert bpe.tokens(text) == [token for word in words for token in apply_merges(word, bpe.merges)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=11), st.randoms(), WORDS
)
def test_merges_of_any_order_are_applied_as_on_paper(numbers, random, words):
    vocab = ["a", "b"]
    merges = []
    for a, b in numbers:
        pair = vocab[a % len(vocab)], vocab[b % len(vocab)]
        if "".join(pair) not in vocab:
            merges.append(pair)
            vocab.append("".join(pair))
    random.shuffle(merges)
    bpe = BPE(vocab, merges, specials=())
    for word in words:
        assert bpe.tokens(word) == apply_merges(word, merges)


@settings(deadline=None)
@given(st.sets(st.text("ab", min_size=1, max_size=5)), st.sets(st.text("ab", min_size=1)), WORDS)
def test_wordpiece_takes_the_longest_piece_as_on_paper(firsts, others, words):
    pieces = [*sorted(firsts), *sorted(f"##{piece}" for piece in others)]
    encoding = WordPiece(["[UNK]", *pieces])
    cut = [token for word in words for token in longest_pieces(word, pieces)]
    assert encoding.tokens(" ".join(words)) == cut


def test_a_word_of_more_than_a_hundred_characters_is_unknown():
    encoding = WordPiece(["[UNK]", "a", "##a"])
    for word in ("a" * 100, "a" * 101):
        assert encoding.tokens(word) == longest_pieces(word, encoding.vocab)


@settings(deadline=None)
@given(PIECES, st.text("abc", max_size=17))
def test_unigram_takes_the_best_cut_as_on_paper(pieces, text):
    normal = [(piece, score, NORMAL) for piece, score in pieces.items()]
    encoding = Unigram([("<unk>", 0.0, UNKNOWN), *normal], Normalizer(prefix=False))
    cut = best_cut(text, pieces, unknown=float(encoding.scores[0]))
    named = [piece if piece in pieces else "<unk>" for piece in cut]
    fused = []
    for name, group in itertools.groupby(named):  # neighbouring unknown characters are one token
        fused += [name] if name == "<unk>" else group
    assert encoding.tokens(text) == fused


@settings(deadline=None)
@given(PIECES, st.lists(st.text("abc", min_size=1, max_size=7), min_size=1, max_size=5))
def test_the_likelihood_of_words_is_that_of_the_forward_pass_on_paper(pieces, words):
    dictionary = Dictionary.of(["", *pieces])
    scores = np.array([-11.0, *pieces.values()])
    begins = np.array([i == 0 for word in words for i in range(len(word))])
    times = np.array([1 + n for n, word in enumerate(words) for _ in word])
    symbols = dictionary.symbols("".join(words))
    likelihood = np.empty(1)
    expected = np.empty_like(scores)
    expectation(scores, symbols, begins, times, *dictionary.trie, 0, expected, likelihood)
    total = 0.0
    for n, word in enumerate(words):
        total += (1 + n) * log_probability(word, pieces, unknown=-11.0)
    assert math.isclose(likelihood[0], total, rel_tol=1e-9, abs_tol=1e-9)


@given(PIECES, st.text("ab", min_size=1, max_size=7))
def test_the_forward_pass_sums_over_every_cut(pieces, text):
    scores = {"a": -1.0, "b": -2.0} | pieces
    total = 0.0
    best = -math.inf
    for n in range(len(text)):
        for places in itertools.combinations(range(1, len(text)), n):
            edges = itertools.pairwise([0, *places, len(text)])
            score = sum(scores.get(text[begin:end], -math.inf) for begin, end in edges)
            total += math.exp(score)
            best = max(best, score)
    assert math.isclose(log_probability(text, scores), math.log(total), abs_tol=1e-9)
    assert math.isclose(sum(scores[piece] for piece in best_cut(text, scores)), best)
