"""Examples of one or two pieces: they cut the text without a gap, inside documents, at sentences."""

import numpy as np
import pytest

from tinylm.data import Corpus
from tinylm.data.gaps import fill, pick
from tinylm.data.pieces import Pieces
from tinylm.errors import TinylmError

CLS, SEP, MASK, PAD = 2, 3, 4, 0
T = 67


def corpus(n_documents=211, longest=11, seed=0):
    """Documents of some sentences of 1 to `longest` tokens, each document closed by [SEP]."""
    rng = np.random.default_rng(seed)
    ids, starts, sentences = [], [0], []
    for _ in range(n_documents):
        for _ in range(int(rng.integers(1, 41))):
            sentences.append(len(ids))
            ids += rng.integers(5, 97, int(rng.integers(1, longest + 1))).tolist()
        ids.append(SEP)
        starts.append(len(ids))
    sentences.append(len(ids))
    return Corpus(
        np.array(ids, np.int32), np.array(starts), 97, 1, 1, sentences=np.array(sentences)
    )


def test_the_examples_of_an_epoch_hold_every_token_once_and_in_order():
    pieces = Pieces(corpus(), [CLS, SEP, MASK, PAD], T)
    examples = pieces.examples(0)
    assert examples[0, 0] == 0 and examples[-1, 2] == len(pieces.ids)
    assert np.array_equal(examples[1:, 0], examples[:-1, 2])
    assert (examples[:, 0] < examples[:, 1]).all() and (examples[:, 1] <= examples[:, 2]).all()


def test_examples_and_their_pieces_begin_and_end_with_sentences_of_one_document():
    pieces = Pieces(corpus(), [SEP], T)
    examples = pieces.examples(0)
    assert np.isin(examples, pieces.sentences).all()
    document = np.searchsorted(pieces.documents, examples[:, 0], side="right")
    assert (examples[:, 2] <= pieces.documents[document]).all()


def test_an_example_ends_as_soon_as_it_is_long_enough_or_its_document_ends():
    pieces = Pieces(corpus(), [SEP], T)
    examples = pieces.examples(0)
    lengths = examples[:, 2] - examples[:, 0]
    ends = np.isin(examples[:, 2], pieces.documents)
    assert lengths.max() < T + 11
    short = ~ends & (lengths < T)
    usual = ~ends & ~short
    low, high = binomial(usual.sum() + short.sum(), 0.05 * (T - 5 - 5) / (T - 4))
    assert low <= short.sum() <= high


def binomial(n, p):
    """Five standard deviations around the mean."""
    spread = 5 * np.sqrt(n * p * (1 - p))
    return n * p - spread, n * p + spread


def test_one_example_in_ten_has_a_single_piece_and_the_others_are_cut_near_the_middle():
    pieces = Pieces(corpus(2003), [SEP], T)
    examples = pieces.examples(0)
    lengths = examples[:, 2] - examples[:, 0]
    full = examples[(lengths >= T) & (lengths < T + 11)]
    single = full[:, 1] == full[:, 2]
    low, high = binomial(len(full), 0.1)
    assert low <= single.sum() <= high
    first = (full[:, 1] - full[:, 0])[~single]
    half = (T - 3) // 2
    assert abs(first.mean() - half) < 6 and first.max() <= half + 11


def test_rows_are_cls_a_sep_b_sep_with_types_and_padding():
    pieces = Pieces(corpus(), [SEP], T)
    examples = pieces.examples(0)
    ids, types, mask = pieces.rows(examples, CLS, SEP, PAD)
    lengths = mask.sum(axis=1)
    assert ids.shape[1] <= T and (ids[~mask] == PAD).all() and (types[~mask] == 0).all()
    assert (ids[:, 0] == CLS).all() and (ids[np.arange(len(ids)), lengths - 1] == SEP).all()
    for row, kinds, n, (begin, second, end) in zip(ids, types, lengths, examples, strict=True):
        seps = np.flatnonzero(row[:n] == SEP)
        a = row[1 : seps[0]]
        b = row[seps[0] + 1 : n - 1]
        assert np.array_equal(a, pieces.ids[begin:second][: T - 2])
        assert np.array_equal(b, pieces.ids[second:end][: len(b)])
        assert len(seps) == 1 + (len(b) > 0)
        assert np.array_equal(kinds[:n], np.arange(n) > seps[0])
        assert n == min(T, end - begin + (3 if len(b) else 2)) or second == end


def test_a_text_without_sentences_is_cut_into_spans():
    ids = np.arange(5, 2005).astype(np.int32)
    text = Corpus(ids, np.array([0, 2000]), 2005, 1, 1)
    pieces = Pieces(text, [SEP], T)
    assert np.diff(pieces.sentences).max() == T // 8
    examples = pieces.examples(0)
    assert (examples[:, 2] - examples[:, 0]).max() < T + T // 8


def test_examples_depend_on_the_seed_alone_and_a_text_of_specials_is_refused():
    text = corpus()
    one, other = Pieces(text, [SEP], T), Pieces(text, [SEP], T)
    assert np.array_equal(one.examples(3), other.examples(3))
    assert not np.array_equal(one.examples(3)[:9], one.examples(4)[:9])
    with pytest.raises(TinylmError, match="no token besides special ones"):
        Pieces(Corpus(np.array([SEP, SEP]), np.array([0, 2]), 5, 1, 1), [SEP], T)


def rows():
    """Rows of 5 to 67 tokens: [CLS] text [SEP] and padding."""
    rng = np.random.default_rng(1)
    ids = rng.integers(5, 97, (101, T))
    lengths = rng.integers(5, T + 1, 101)
    mask = np.arange(T) < lengths[:, None]
    ids[~mask] = PAD
    ids[:, 0] = CLS
    ids[np.arange(101), lengths - 1] = SEP
    return ids, mask


def test_picks_are_as_many_as_the_formula_says_and_never_special_or_padding():
    ids, mask = rows()
    picks = pick(ids, mask, [CLS, SEP, MASK], 0.15, 7, np.random.default_rng(0))
    wanted = np.clip(np.round(0.15 * mask.sum(axis=1)), 1, 7)
    assert np.array_equal(np.bincount(picks // T, minlength=101), wanted)
    assert mask.reshape(-1)[picks].all() and not np.isin(ids.reshape(-1)[picks], [CLS, SEP]).any()


def test_every_token_of_a_row_is_picked_equally_often_and_some_twice():
    ids = np.full((1, 13), 7)
    mask = np.ones((1, 13), bool)
    rng = np.random.default_rng(0)
    draws = [pick(ids, mask, [], 0.3, 9, rng) for _ in range(5000)]
    counts = np.bincount(np.concatenate(draws))
    low, high = binomial(4 * 5000, 1 / 13)
    assert counts.size == 13 and low <= counts.min() <= counts.max() <= high
    twice = sum(len(np.unique(draw)) < 4 for draw in draws)
    low, high = binomial(5000, 1 - 12 * 11 * 10 / 13**3)
    assert low <= twice <= high


def test_filling_changes_the_picked_places_only_and_leaves_the_text_alone():
    ids, mask = rows()
    before = ids.copy()
    picks = pick(ids, mask, [CLS, SEP], 0.15, 7, np.random.default_rng(0))
    filled = fill(ids, picks, np.full(picks.size, 96))
    flat = filled.reshape(-1)
    assert (flat[picks] == 96).all() and np.array_equal(ids, before)
    others = np.setdiff1d(np.arange(ids.size), picks)
    assert np.array_equal(flat[others], ids.reshape(-1)[others])
