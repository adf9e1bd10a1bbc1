"""Laws of XLNet's data: spans of whole words, orders by blocks, what may be seen, lanes that go on."""

import numpy as np
import pytest

from tinylm.data import Corpus
from tinylm.data.permutation import (
    AROUND,
    CLASSIFIER,
    SEPARATOR,
    Lanes,
    Plan,
    Spans,
    arrange,
    factorisation,
    sample_spans,
    visibility,
)
from tinylm.errors import TinylmError
from tinylm.objectives.xlnet import may_see

N = 503
RNG = np.random.default_rng(0)
SENTENCES = np.unique([0, *RNG.integers(1, N, 41), N])
WORDS = RNG.random(N) < 0.6
WORDS[SENTENCES[:-1]] = True
IDS = np.arange(N)
CORPUS = Corpus(IDS, np.array([0, 211, N]), N, N, 5 * N, (), SENTENCES, WORDS)
REUSE, TEXT, ROWS = 19, 29, 3


def runs(chosen):
    """(begin, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize("released", [False, True])
def test_exactly_so_many_places_are_chosen(released):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        length, count = int(rng.integers(1, 70)), int(rng.integers(1, 40))
        starts = rng.random(length) < 0.5
        chosen = sample_spans(starts, count, rng, Spans(released=released))
        assert chosen.sum() == min(count, length)


def test_spans_hold_whole_words_of_every_size_and_short_ones_most_often():
    starts = np.arange(30_000) % 3 == 0  # a word has three pieces
    found = np.zeros(6, int)
    for seed in range(9):
        chosen = sample_spans(starts, 2700, np.random.default_rng(seed), Spans(alpha=9))
        for begin, end in runs(chosen)[:-1]:
            if begin % 3 == 0 and (end - begin) % 3 == 0 and end - begin <= 15:
                found[(end - begin) // 3] += 1
    shares = found[1:] / found[1:].sum()
    expected = 1 / np.arange(1, 6)
    expected = expected / expected.sum()
    spread = np.sqrt(expected * (1 - expected) / found.sum())
    # Spans may touch, when the context before one is drawn as nothing; they then look like longer ones.
    assert (np.abs(shares - expected) < 5 * spread + 0.05).all()


def test_the_released_spans_count_pieces_for_words():
    starts = np.arange(30_000) % 3 == 0
    chosen = sample_spans(starts, 900, np.random.default_rng(0), Spans(released=True))
    sizes = np.array([end - begin for begin, end in runs(chosen)])
    assert (sizes % 3 != 0).mean() > 0.5 and np.median(sizes) < 3


def test_an_order_permutes_each_block_alike_and_keeps_the_blocks():
    for length, block in ((12, 4), (7, 7), (5, 11), (11, 4)):
        order = factorisation(length, block, np.random.default_rng(length))
        assert sorted(order // min(block, length)) == sorted(
            np.arange(length) // min(block, length)
        )
        if length % block == 0:
            assert sorted(order) == list(range(length))
            blocks = order.reshape(-1, block) - np.arange(0, length, block)[:, None]
            assert (blocks == blocks[0]).all()


def test_what_may_be_seen_is_the_rule_on_paper():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kinds = rng.integers(3, size=11)  # plain, target, special
        order = rng.permutation(11)
        targets, specials = np.flatnonzero(kinds == 1), np.flatnonzero(kinds == 2)
        seen = visibility(order, kinds == 1, kinds == 2)
        for i in range(11):
            for j in range(11):
                assert seen[i, j] == may_see(i, j, order, targets, specials)


def test_a_target_never_sees_itself_and_specials_do():
    kinds = np.array([0, 1, 2, 1, 0, 2])
    seen = visibility(np.array([3, 1, 5, 0, 2, 4]), kinds == 1, kinds == 2)
    assert not seen[kinds == 1, kinds == 1].any() and np.diag(seen)[kinds == 2].all()
    assert not seen[kinds == 0][:, kinds != 0].any() and seen[:, kinds == 0].all()


def test_with_one_rank_for_all_targets_they_see_exactly_the_others():
    is_target = np.array([0, 1, 1, 0, 1], bool)
    seen = visibility(np.zeros(5, int), is_target, np.zeros(5, bool))
    assert (seen[is_target] == ~is_target).all()


def test_in_natural_order_a_target_sees_what_stands_before_it():
    everything = np.ones(7, bool)
    seen = visibility(np.arange(7), everything, ~everything)
    assert (seen == np.tri(7, 7, -1, dtype=bool)).all()


def test_the_first_part_sees_nothing_of_the_second_which_sees_all_of_the_first():
    starts = np.ones(48, bool)
    specials = np.zeros(48, bool)
    specials[[40, 46, 47]] = True
    picks, seen = arrange(starts, specials, REUSE, Plan(14, 5), np.random.default_rng(3))
    assert not seen[:REUSE, REUSE:].any() and seen[REUSE:, :REUSE].all()
    assert (picks < REUSE).sum() == 7 and not specials[picks].any()


def lanes_of(backwards=False):
    return Lanes(CORPUS, REUSE, TEXT, ROWS, backwards)


def test_a_last_document_may_be_empty():
    bounds = np.array([0, 40, 40])
    lanes = Lanes(Corpus(np.arange(40), bounds, 40, words=40, characters=80), 3, 4, 2)
    assert lanes.begins_sentence.nonzero()[0].tolist() == [0]


@pytest.mark.parametrize("backwards", [False, True])
def test_each_step_goes_on_where_the_reused_part_of_the_last_one_ended(backwards):
    lanes = lanes_of(backwards)
    before = None
    for step in range(lanes.steps):
        rows, fresh = lanes.step(step, 5)
        assert fresh == (step == 0) and len(rows) == ROWS * (1 + backwards)
        for b, (places, segments) in enumerate(rows):
            sign = -1 if b >= ROWS else 1
            assert len(places) == len(segments) == REUSE + TEXT + AROUND
            first = places[places >= 0][:REUSE]
            assert (np.diff(first) % N == sign % N).all()
            if before is not None:
                assert (places[0] - before[b]) % N == sign % N
        before = [places[REUSE - 1] for places, _ in rows]


@pytest.mark.parametrize("backwards", [False, True])
def test_an_instance_is_reused_text_then_two_parts_between_special_tokens(backwards):
    lanes = lanes_of(backwards)
    follows = 0
    total = 0
    for step in range(60):
        for b, (places, segments) in enumerate(lanes.step(step, 0)[0]):
            assert (places < 0).sum() == AROUND and places[-1] == CLASSIFIER
            first, second = np.flatnonzero(places == SEPARATOR)
            assert second == len(places) - 2
            assert (segments[: first + 1] == 0).all() and (segments[first + 1 : -1] == 1).all()
            assert segments[-1] == 2
            sign = -1 if b >= ROWS else 1
            assert (np.diff(places[REUSE:first]) % N == sign % N).all()
            follows += (places[first + 1] - places[first - 1]) % N == sign % N
            total += 1
            window = (places[REUSE] + sign * np.arange(1, TEXT) + (sign < 0)) % N
            if np.isin(window, SENTENCES).any():
                assert (places[first - 1] + (sign > 0)) % N in SENTENCES
    assert 0.35 < follows / total < 0.65


def test_who_reads_backwards_finds_the_same_words():
    lanes = lanes_of(backwards=True)
    places = np.arange(100, 150)
    forward = lanes.words(places, 0)
    back = lanes.words(places[::-1], ROWS)
    assert (forward == WORDS[100:150]).all()
    assert (back[::-1][:-1] == WORDS[101:150]).all()  # a word begins where the next one ends


def test_epochs_cut_the_text_at_other_places():
    lanes = lanes_of()
    first = lanes.step(0, 0)[0][0][0][0]
    assert lanes.step(lanes.steps, 0)[0][0][0][0] != first


def test_a_text_too_short_for_a_step_is_refused():
    with pytest.raises(TinylmError, match="use more text"):
        Lanes(CORPUS, 100, 100, 3)
