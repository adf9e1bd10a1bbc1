"""Which tokens are hidden, and what is shown instead: shares within binomial bounds, whole words whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data.masking import corrupt, count_picks, pick_tokens, pick_words
from tinylm.objectives.bert import mask_tokens

V = 37
MASK = 4


def bound(share, n):
    """Five standard deviations of a share of n draws."""
    return 5 * np.sqrt(share * (1 - share) / n)


@given(st.integers(1, 512), st.floats(0, 1), st.integers(1, 80))
def test_the_number_of_picks_is_the_published_one(length, rate, most):
    n = count_picks(length, rate, most)
    assert n == min(most, max(1, int(round(length * rate))))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 9), st.data())
def test_the_corruption_on_paper_is_the_one_with_arrays(length, n, seed, data):
    ids = np.random.default_rng(seed).integers(V, size=length)
    candidates = np.array(sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1))))
    expected, places = mask_tokens(
        ids.tolist(), candidates, n, MASK, V, np.random.default_rng(seed)
    )
    rng = np.random.default_rng(seed)
    picks = pick_tokens(candidates, n, rng)
    assert picks.tolist() == places and len(picks) == min(n, len(candidates))
    assert corrupt(ids, picks, MASK, V, rng).tolist() == expected


@given(st.integers(1, 60), st.integers(0, 9), st.data())
def test_only_candidates_are_picked_each_once(length, seed, data):
    candidates = np.array(sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1))))
    picks = pick_tokens(candidates, length, np.random.default_rng(seed))
    assert picks.tolist() == candidates.tolist()


def test_every_candidate_is_picked_as_often_as_any_other():
    rng = np.random.default_rng(0)
    candidates = np.arange(3, 26)
    counts = np.zeros(29)
    for _ in range(5000):
        counts[pick_tokens(candidates, 5, rng)] += 1
    share = 5 / len(candidates)
    assert np.abs(counts[candidates] / 5000 - share).max() < bound(share, 5000)
    assert counts[:3].sum() == counts[26:].sum() == 0


@pytest.mark.parametrize("masked,random", [(0.8, 0.1), (0.5, 0.3), (1.0, 0.0), (0.0, 1.0)])
def test_picks_show_mask_random_words_and_themselves_in_their_shares(masked, random):
    n = 60_000
    ids = np.full(n, 11)
    shown = corrupt(ids, np.arange(n), MASK, V, np.random.default_rng(0), masked, random)
    shares = np.bincount(shown, minlength=V) / n
    expected = np.full(V, random / V)  # any word of the whole vocabulary, special or not
    expected[MASK] += masked
    expected[11] += 1 - masked - random
    assert (np.abs(shares - expected) <= bound(expected, n)).all()


def test_what_is_not_picked_stays():
    ids = np.random.default_rng(0).integers(V, size=1000)
    picks = pick_tokens(np.arange(1000), 300, np.random.default_rng(1))
    before = ids.copy()
    shown = corrupt(ids, picks, MASK, V, np.random.default_rng(2))
    others = np.delete(np.arange(1000), picks)
    assert np.array_equal(shown[others], ids[others]) and np.array_equal(ids, before)


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 9), st.data())
def test_whole_words_are_picked_whole(length, n, seed, data):
    flags = data.draw(st.lists(st.booleans(), min_size=length, max_size=length))
    starts = np.array(flags)
    candidates = np.array(sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1))))
    picks = pick_words(candidates, starts, n, np.random.default_rng(seed))
    assert len(picks) <= n and set(picks) <= set(candidates) and (np.diff(picks) > 0).all()
    picked = set(picks.tolist())
    for place in candidates[1:]:
        if not starts[place] and place - 1 in candidates:
            assert (place in picked) == (place - 1 in picked)


def test_words_are_passed_over_only_if_they_would_be_too_many():
    starts = np.array([True, False, False, True])  # a word of three, a word of one
    for seed in range(20):
        one = pick_words(np.arange(4), starts, 1, np.random.default_rng(seed))
        three = pick_words(np.arange(4), starts, 3, np.random.default_rng(seed))
        assert one.tolist() == [3] and three.tolist() in ([0, 1, 2], [3])


def test_the_tokens_of_a_word_draw_their_lots_one_by_one():
    ids = np.full(2000, 11)
    shown = corrupt(ids, np.arange(2000), MASK, V, np.random.default_rng(0)).reshape(-1, 2)
    mixed = (shown[:, 0] == MASK) != (shown[:, 1] == MASK)
    assert abs(mixed.mean() - 2 * 0.8 * 0.2) < bound(0.32, 1000) + 0.01
