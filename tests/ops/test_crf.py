"""The CRF against all K^T sequences of short texts: partition, marginals, loss, best path, constraints."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

import tinylm.ops as F
from tinylm.errors import ArgumentError, ShapeError
from tinylm.gradcheck import check_grads
from tinylm.tensor import Tensor, no_grad


def drawn(rng, batch, length, width, scale=2.0):
    """scores, transitions, starts, ends."""
    shapes = ((batch, length, width), (width, width), (width,), (width,))
    return [scale * rng.normal(size=shape) for shape in shapes]


def paths(scores, transitions, starts, ends):
    """{sequence: its score} of one text (T, K), every one of them, added up by hand."""
    length, width = scores.shape
    found = {}
    for tags in itertools.product(range(width), repeat=length):
        total = starts[tags[0]] + ends[tags[-1]]
        for t, tag in enumerate(tags):
            total += scores[t, tag]
        for before, after in itertools.pairwise(tags):
            total += transitions[before, after]
        found[tags] = total
    return found


some = pytest.mark.parametrize("length, width", [(1, 1), (1, 5), (2, 3), (3, 5), (5, 3), (7, 2)])


@some
@given(rng=generators)
def test_the_partition_function_is_the_sum_over_all_sequences(length, width, rng):
    scores, *rest = drawn(rng, 2, length, width)
    found = F.crf_log_partition(scores, *rest).data
    for b in range(2):
        totals = np.array([*paths(scores[b], *rest).values()])
        wanted = np.log(np.exp(totals).sum())  # may be near 0, where terms of size 10 cancel
        np.testing.assert_allclose(found[b], wanted, rtol=1e-12, atol=1e-12)


@some
@given(rng=generators)
def test_marginals_are_shares_of_all_sequences(length, width, rng):
    scores, *rest = drawn(rng, 1, length, width)
    wanted = np.zeros((length, width))
    every = paths(scores[0], *rest)
    weights = np.exp([*every.values()])
    for tags, weight in zip(every, weights / weights.sum(), strict=True):
        wanted[np.arange(length), tags] += weight
    with no_grad():
        found = F.crf_marginals(scores, *rest)
    np.testing.assert_allclose(found[0], wanted, atol=1e-12)


@some
@given(rng=generators)
def test_the_best_path_is_the_best_of_all_sequences(length, width, rng):
    scores, *rest = drawn(rng, 2, length, width)
    found = F.crf_decode(scores, *rest)
    for b in range(2):
        every = paths(scores[b], *rest)
        assert tuple(found[b]) == max(every, key=every.get)


@given(rng=generators)
def test_the_best_allowed_path_is_the_best_of_the_allowed_sequences(rng):
    width = 3
    scores, *rest = drawn(rng, 2, 5, width)
    allowed = rng.random((width, width)) < 0.6
    allowed[0] = True  # from 0, and to 0, every way is open: some path is left
    allowed[:, 0] = True
    allowed_starts = np.array([True, False, rng.random() < 0.5])
    found = F.crf_decode(scores, *rest, allowed=allowed, allowed_starts=allowed_starts)
    for b in range(2):
        legal = {
            tags: score
            for tags, score in paths(scores[b], *rest).items()
            if allowed_starts[tags[0]] and all(allowed[i, j] for i, j in itertools.pairwise(tags))
        }
        assert tuple(found[b]) == max(legal, key=legal.get)


@some
@given(rng=generators)
def test_the_score_is_that_of_the_sequence(length, width, rng):
    scores, *rest = drawn(rng, 2, length, width)
    tags = rng.integers(0, width, (2, length))
    found = F.crf_score(scores, tags, *rest).data
    wanted = [paths(scores[b], *rest)[tuple(tags[b])] for b in range(2)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@given(rng=generators)
def test_the_probabilities_of_all_sequences_sum_to_one(rng):
    scores, *rest = drawn(rng, 1, 3, 5)
    every = np.array([*itertools.product(range(5), repeat=3)])
    losses = F.crf_loss(np.repeat(scores, len(every), 0), every, *rest, reduction="none")
    np.testing.assert_allclose(np.exp(-losses.data).sum(), 1, rtol=1e-12)


@given(rng=generators)
def test_places_that_the_mask_leaves_out_might_as_well_not_be_there(rng):
    scores, *rest = drawn(rng, 3, 7, 5)
    tags = rng.integers(0, 5, (3, 7))
    mask = rng.random((3, 7)) < 0.6
    mask[2] = False
    log_z = F.crf_log_partition(scores, *rest, mask).data
    losses = F.crf_loss(scores, tags, *rest, mask, reduction="none").data
    best = F.crf_decode(scores, *rest, mask)
    shares = F.crf_marginals(scores, *rest, mask)
    assert log_z[2] == losses[2] == 0
    assert (best[~mask] == -1).all() and not shares[~mask].any()
    for b in np.flatnonzero(mask.any(axis=1)):
        short = scores[b : b + 1, mask[b]]
        right = tags[b : b + 1, mask[b]]
        sum_of_short = F.crf_log_partition(short, *rest).data[0]
        np.testing.assert_allclose(log_z[b], sum_of_short, rtol=1e-12, atol=1e-12)
        alone = F.crf_loss(short, right, *rest, reduction="none").data[0]
        np.testing.assert_allclose(losses[b], alone, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(best[b, mask[b]], F.crf_decode(short, *rest)[0])
        np.testing.assert_allclose(shares[b, mask[b]], F.crf_marginals(short, *rest)[0], atol=1e-12)


@given(rng=generators)
def test_without_transitions_it_is_a_softmax_at_every_place(rng):
    scores, *_ = drawn(rng, 3, 5, 7)
    zeros = np.zeros((7, 7)), np.zeros(7), np.zeros(7)
    tags = rng.integers(0, 7, (3, 5))
    mask = rng.random((3, 5)) < 0.7
    mask[0, 0] = True
    wanted = F.cross_entropy(scores, np.where(mask, tags, -100)).item()
    found = F.crf_loss(scores, tags, *zeros, mask, reduction="token_mean").item()
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    softmax = F.softmax(scores).data * mask[..., None]
    np.testing.assert_allclose(F.crf_marginals(scores, *zeros, mask), softmax, atol=1e-12)
    best = np.where(mask, scores.argmax(-1), -1)
    np.testing.assert_array_equal(F.crf_decode(scores, *zeros, mask), best)


@given(rng=generators, reduction=st.sampled_from(("mean", "token_mean", "sum", "none")))
def test_the_gradient_of_the_loss_is_proven(rng, reduction):
    arrays = drawn(rng, 3, 5, 2)
    tags = rng.integers(0, 2, (3, 5))
    mask = rng.random((3, 5)) < 0.7

    def loss(scores, transitions, starts, ends):
        return F.crf_loss(scores, tags, transitions, starts, ends, mask, reduction)

    check_grads(loss, *arrays, draws=1)


def test_reductions_divide_by_texts_and_by_places():
    rng = np.random.default_rng(3)
    scores, *rest = drawn(rng, 3, 7, 2)
    tags = rng.integers(0, 2, (3, 7))
    mask = np.arange(7) < np.array([2, 7, 4])[:, None]
    each = F.crf_loss(scores, tags, *rest, mask, "none").data
    for reduction, count in (("sum", 1), ("mean", 3), ("token_mean", 13)):
        found = F.crf_loss(scores, tags, *rest, mask, reduction).item()
        np.testing.assert_allclose(found, each.sum() / count, rtol=1e-12)


def test_a_long_text_of_large_scores_keeps_its_precision_in_float32():
    rng = np.random.default_rng(5)
    arrays = drawn(rng, 1, 4999, 3, scale=9.0)
    exact = F.crf_marginals(*arrays)
    single = F.crf_marginals(*(a.astype(np.float32) for a in arrays))
    assert np.isfinite(single).all()
    np.testing.assert_allclose(single.sum(-1), 1, atol=2e-3)
    np.testing.assert_allclose(single, exact, atol=2e-3)


def test_the_gradient_of_a_long_text_keeps_its_precision_in_float32():
    """Each of 521 tokens multiplies the gradient once more."""
    arrays = [a.astype(np.float32) for a in drawn(np.random.default_rng(5), 13, 521, 13)]
    found = []
    for dtype in (np.float32, np.float64):
        given = [Tensor(a.astype(dtype), requires_grad=True) for a in arrays]
        F.sum(F.crf_log_partition(*given)).backward()
        found.append(given[1].grad)
    single, double = found
    assert np.abs(single - double).max() < 1e-6 * np.abs(double).max()


def test_equal_sequences_are_told_apart_by_a_fixed_rule():
    zeros = np.zeros((1, 3, 5)), np.zeros((5, 5)), np.zeros(5), np.zeros(5)
    assert F.crf_decode(*zeros).tolist() == [[0, 0, 0]]


def test_shapes_tags_and_reductions_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    scores, a, start, end = drawn(rng, 2, 3, 5)
    with pytest.raises(ShapeError, match=r"\(B, T, K\), \(K, K\)"):
        F.crf_log_partition(scores, a[:3], start, end)
    with pytest.raises(ShapeError, match="mask has shape"):
        F.crf_log_partition(scores, a, start, end, np.ones((2, 5), bool))
    with pytest.raises(ShapeError, match="tags have shape"):
        F.crf_score(scores, np.zeros((2, 2), int), a, start, end)
    with pytest.raises(ShapeError, match="id 5 is out of range"):
        F.crf_loss(scores, np.full((2, 3), 5), a, start, end)
    with pytest.raises(ShapeError, match="dtypes"):
        F.crf_log_partition(Tensor(scores.astype(np.float32)), Tensor(a), start, end)
    with pytest.raises(ArgumentError, match="'token_mean'"):
        F.crf_loss(scores, np.zeros((2, 3), int), a, start, end, reduction="median")
