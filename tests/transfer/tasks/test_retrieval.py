"""Correlations are scipy's; recall and rank are those of a sorted list; no text is favoured by chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinylm.errors import ArgumentError, DataError, ShapeError
from tinylm.transfer import mean_squared_error, pearson, spearman
from tinylm.transfer.tasks.retrieval import retrieval_scores, similarity_scores

numbers = st.lists(st.tuples(st.integers(-5, 5), st.floats(-9, 9)), min_size=2, max_size=30)


@given(numbers)
def test_correlations_are_those_of_scipy_and_0_for_constants(pairs):
    x = np.array([a for a, _ in pairs], float)
    y = np.array([b for _, b in pairs]).round(3)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert pearson(x, y) == spearman(x, y) == 0.0
        return
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-7)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-7)
    assert mean_squared_error(x, y) == pytest.approx(np.mean((x - y) ** 2))


@given(st.integers(0, 1000))
def test_recall_and_rank_are_those_of_a_sorted_list(seed):
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(13, 5))
    queries = rng.normal(size=(7, 5))
    right = rng.integers(13, size=7)
    found = retrieval_scores(queries, texts, right, counts=(1, 3))
    ranks = []
    for query, number in zip(queries, right, strict=True):
        cosines = texts @ query / np.linalg.norm(texts, axis=1)
        ranks.append(np.argsort(-cosines).tolist().index(number) + 1)
    ranks = np.array(ranks)
    assert found["recall@1"] == pytest.approx(np.mean(ranks == 1))
    assert found["recall@3"] == pytest.approx(np.mean(ranks <= 3))
    assert found["mrr"] == pytest.approx(np.mean(1 / ranks))


def test_texts_that_are_all_alike_are_not_found():
    same = np.ones((11, 3))
    assert retrieval_scores(same[:2], same, [0, 5])["recall@10"] == 0.0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_vectors_that_are_not_finite_are_no_perfect_find(broken, place):
    both = [np.eye(2), np.eye(2)]
    both[place][0, 0] = broken
    with pytest.raises(DataError, match="NaN or infinity"):
        retrieval_scores(*both, [0, 1], counts=(1,))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_whole_numbers_of_few_bits_are_squared_in_float64(dtype):
    top = np.iinfo(dtype).max
    truth, predicted = np.array([top, 0], dtype), np.array([0, 3], dtype)
    assert mean_squared_error(truth, predicted) == (float(top) ** 2 + 9) / 2


def test_lengths_of_vectors_do_not_count():
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(11, 3))
    long = texts * rng.uniform(1, 9, size=(11, 1))
    right = np.arange(11)
    assert retrieval_scores(long, texts, right)["recall@1"] == 1.0

    def encoder(words):
        return long[[int(word) for word in words]]

    pairs = [("0", str(i)) for i in range(1, 11)]
    cosines = texts[1:] @ texts[0] / np.linalg.norm(texts[1:], axis=1)
    assert similarity_scores(encoder, pairs, cosines)["spearman"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "shape, right", [((2, 4), [0, 1]), ((2, 3), [0]), ((2, 3), [0, 5]), ((0, 3), [])]
)
def test_shapes_that_do_not_fit_are_refused(shape, right):
    with pytest.raises(ShapeError, match="retrieval"):
        retrieval_scores(np.ones(shape), np.ones((5, 3)), np.array(right, int))


def test_numbers_of_right_texts_are_whole():
    with pytest.raises(ShapeError, match="right holds float64; expected whole numbers"):
        retrieval_scores(np.eye(2), np.eye(2), [0.0, 1.0])


def test_lists_of_vectors_do():
    rows = [[1.0, 0.0], [0.0, 1.0]]
    assert retrieval_scores(rows, rows, [0, 1], counts=(1,)) == {"recall@1": 1.0, "mrr": 1.0}


@pytest.mark.parametrize("made", [np.ones(2), np.ones((3, 4)), np.ones((2, 3, 4))])
def test_an_encoder_makes_a_vector_of_each_text(made):
    pairs = [("sea", "lake"), ("sea", "tax")]
    with pytest.raises(ShapeError, match="of 2 pairs; expected"):
        similarity_scores(lambda texts: made, pairs, [5, 1])


@pytest.mark.parametrize("pairs", [[], ["sea", "ice"]])
def test_similarity_is_of_pairs(pairs):
    with pytest.raises(ShapeError, match="no pairs of texts"):
        similarity_scores(lambda texts: np.ones((len(texts), 2)), pairs, [1, 2][: len(pairs)])


@pytest.mark.parametrize("metric", [pearson, spearman, mean_squared_error])
@pytest.mark.parametrize("predicted", [["sea", "ice"], [None, 1.0]])
def test_a_metric_of_numbers_names_what_is_none(metric, predicted):
    with pytest.raises(ArgumentError, match="metrics"):
        metric(predicted, predicted)
