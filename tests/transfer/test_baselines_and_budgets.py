"""Laws of the metrics, the budgets, the linear classifier and the word-counting baseline."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from threadpoolctl import ThreadpoolController

from tinylm.errors import ArgumentError, DataError, ShapeError
from tinylm.transfer import (
    Majority,
    SoftmaxRegression,
    Tfidf,
    TfidfClassifier,
    accuracy,
    beats,
    folds,
    label_budget,
    macro_f1,
    summarise,
)

labels = st.lists(st.sampled_from("abcde"), min_size=1, max_size=40)


def posts(n_per_class, rng):
    """Three topics; half the words of a text belong to its topic, half to everyone."""
    topics = {
        "sky": "star orbit moon comet",
        "ice": "puck goal skate rink",
        "god": "faith prayer church saint",
    }
    common = "the and with from about there because people".split()
    texts, names = [], []
    for name, words in topics.items():
        for _ in range(n_per_class):
            texts.append(" ".join([*rng.choice(words.split(), 3), *rng.choice(common, 7)]))
            names.append(name)
    return texts, np.array(names)


# ---- metrics


@given(labels, st.randoms(use_true_random=False))
def test_scores_lie_in_the_unit_interval_and_are_1_for_the_truth(truth, random):
    guess = [random.choice("abcde") for _ in truth]
    assert 0 <= accuracy(truth, guess) <= 1 and 0 <= macro_f1(truth, guess) <= 1
    assert accuracy(truth, truth) == macro_f1(truth, truth) == 1


@given(st.data())
def test_scores_do_not_depend_on_the_order_of_the_examples(data):
    truth = np.array(data.draw(labels))
    guess = np.array(
        data.draw(st.lists(st.sampled_from("abcde"), min_size=truth.size, max_size=truth.size))
    )
    order = np.array(data.draw(st.permutations(range(truth.size))))
    assert accuracy(truth, guess) == accuracy(truth[order], guess[order])
    assert macro_f1(truth, guess) == macro_f1(truth[order], guess[order])


def test_macro_f1_of_a_hand_computed_case():
    # a: TP 1, FP 0, FN 1 -> 2/3;  b: TP 1, FP 1, FN 0 -> 2/3;  c: only predicted -> 0;  d: only true -> 0
    assert macro_f1(list("aabd"), list("abbc")) == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)


def test_metrics_refuse_lists_of_different_lengths():
    with pytest.raises(ShapeError, match="same length"):
        accuracy(["a"], ["a", "b"])


def test_the_interval_of_three_seeds_is_students():
    summary = summarise([0.5, 0.6, 0.7])
    assert summary.mean == pytest.approx(0.6) and summary.std == pytest.approx(0.1)
    assert summary.high - summary.mean == pytest.approx(4.302652729696142 * 0.1 / np.sqrt(3))
    assert str(summary) == "60.0 ± 10.0"


def test_one_seed_says_nothing_about_the_spread():
    assert summarise([0.5]).low == -np.inf and summarise([0.5]).std == 0


@pytest.mark.parametrize("level", [95, 1, -0.1, "0.95"])
def test_the_coverage_of_an_interval_is_a_share(level):
    with pytest.raises(ArgumentError, match="level is .* expected"):
        summarise([0.5, 0.6], level)


def test_beating_needs_every_seed_and_more_than_the_spread():
    assert beats([0.6, 0.7, 0.8], [0.3, 0.4, 0.5])
    assert not beats([0.6, 0.7, 0.3], [0.3, 0.4, 0.5])  # one seed loses
    assert not beats([0.51, 0.71, 0.91], [0.5, 0.7, 0.9])  # by less than the spread
    assert not beats([0.6], [0.5])  # one seed has no spread
    with pytest.raises(ShapeError, match="same seeds"):
        beats([0.5], [0.4, 0.5])


# ---- budgets


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 5))
def test_budgets_are_stratified_and_nested(seed, small, more):
    names = np.array(list("abc") * 11)
    few, many = label_budget(names, small, seed), label_budget(names, small + more, seed)
    assert set(few) <= set(many)
    assert np.unique(names[few], return_counts=True)[1].tolist() == [small] * 3
    assert np.all(np.diff(many) > 0)


def test_a_budget_larger_than_a_class_names_the_class():
    with pytest.raises(DataError, match="'b' has 2"):
        label_budget(list("aaabb"), 3, seed=0)


@given(st.integers(2, 5), st.integers(0, 2**32))
def test_folds_hold_every_example_out_once_and_leave_every_class_to_learn_from(n_folds, seed):
    names = np.array(list("abc") * 7)
    splits = folds(names, n_folds, seed)
    assert np.sort(np.concatenate([held for _, held in splits])).tolist() == list(range(21))
    for train, held in splits:
        assert set(train).isdisjoint(held) and set(names[train]) == set("abc")


def test_one_example_per_class_cannot_be_split():
    assert folds(list("abc"), 3, seed=0) == []


# ---- softmax regression


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_sparse_and_dense_features_give_the_same_classifier(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((23, 7)) * (rng.random((23, 7)) < 0.5)
    y = np.arange(23) % 3
    dense, thin = SoftmaxRegression().fit(x, y), SoftmaxRegression().fit(sparse.csr_array(x), y)
    np.testing.assert_allclose(dense.weights_, thin.weights_, atol=1e-4)


@pytest.mark.parametrize("make", [np.array, sparse.csr_array])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(make, wrong):
    x = np.eye(4)
    model = SoftmaxRegression().fit(make(x), list("aabb"))
    x[1, 1] = wrong
    for use in (lambda x: SoftmaxRegression().fit(x, list("aabb")), model.predict):
        with pytest.raises(DataError, match="NaN or infinity"):
            use(make(x))


@pytest.mark.parametrize("make", [np.array, sparse.csr_array])
@pytest.mark.parametrize("features", [2, 9], ids=["narrow", "wide"])
def test_features_whose_squares_overflow_are_refused(make, features):
    x = np.full((4, features), 1e160)
    model = SoftmaxRegression().fit(make(np.eye(4, features)), list("aabb"))
    with pytest.raises(DataError, match="squares of the features"):
        model.fit(make(x), list("ccdd"))
    assert set(model.predict(make(np.eye(4, features)))) <= {"a", "b"}


def test_the_gradient_vanishes_at_the_solution():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((37, 11)), np.arange(37) % 5
    model = SoftmaxRegression(C=0.7).fit(x, y)
    residual = model.predict_proba(x) - np.eye(5)[y]
    np.testing.assert_allclose(0.7 * x.T @ residual + model.weights_, 0, atol=1e-3)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("n_examples", [9, 61])  # fewer and more of them than features
def test_the_gradient_vanishes_where_features_differ_in_scale_a_millionfold(n_examples):
    rng = np.random.default_rng(7)
    scales = 10.0 ** np.linspace(-3, 3, 12)
    x, y = rng.standard_normal((n_examples, 12)) * scales, np.arange(n_examples) % 3
    model = SoftmaxRegression(C=1.0).fit(x, y)
    residual = model.predict_proba(x) - np.eye(3)[y]
    gradient = x.T @ residual + model.weights_
    np.testing.assert_allclose(gradient / scales[:, None], 0, atol=1e-3)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("c", [1.0, 1e4])
def test_the_minimum_is_reached_however_large_the_trust_and_the_correlations(c):
    """A search that ends at a gradient of 1e-6 has a larger one in the axes of the features."""
    rng = np.random.default_rng(3)
    y = np.arange(300) % 10
    x = rng.standard_normal((10, 40))[y] + 1.5 * rng.standard_normal((300, 40))
    x = x @ (rng.standard_normal((40, 40)) * 10.0 ** np.linspace(-2, 1, 40))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = SoftmaxRegression(c).fit(x, y)
    residual = (model.predict_proba(x) - np.eye(10)[y]) / 300
    gradient = x.T @ residual + model.weights_ / (c * 300)
    np.testing.assert_allclose(gradient, 0, atol=2e-7)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=2e-7)


def test_softmax_regression_runs_in_one_pool(monkeypatch):
    """In two, its thousands of small products took seven times as long."""
    seen = []
    minimise = SoftmaxRegression._minimise

    def watched(*args):
        pools = ThreadpoolController().select(user_api="blas").info()
        seen.append([each["num_threads"] for each in pools])
        return minimise(*args)

    monkeypatch.setattr(SoftmaxRegression, "_minimise", watched)
    SoftmaxRegression().fit(np.eye(3).repeat(2, axis=0), list("aabbcc"))
    assert seen and set(seen[0]) == {1}


def test_cross_validation_takes_the_trust_that_the_held_out_labels_support():
    y = np.repeat([0, 1, 2], [40, 7, 7])
    x = np.eye(3)[y] * 0.1
    assert (
        SoftmaxRegression(C=(1e-4, 1e4)).fit(x, y).C_ == 1e4
    )  # with little trust only the bias learns: majority
    assert SoftmaxRegression(C=(1e3, 1e4)).fit(x, y).C_ == 1e3  # a tie: the simpler model
    assert (
        SoftmaxRegression(C=(0.3, 3.0, 30.0)).fit(np.eye(3), list("abc")).C_ == 3.0
    )  # nothing to hold out


def test_probabilities_sum_to_one_and_classes_keep_their_names():
    x, y = np.eye(3).repeat(5, axis=0), np.array(["sky", "ice", "god"]).repeat(5)
    model = SoftmaxRegression().fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)
    assert model.classes_.tolist() == ["god", "ice", "sky"] and model.score(x, y) == 1


def test_softmax_regression_explains_wrong_shapes():
    with pytest.raises(ShapeError, match="rows of features"):
        SoftmaxRegression().fit(np.ones((3, 2)), ["a", "b"])
    with pytest.raises(DataError, match="at least two"):
        SoftmaxRegression().fit(np.ones((2, 2)), ["a", "a"])
    with pytest.raises(ShapeError, match="fitted on 2"):
        SoftmaxRegression().fit(np.eye(2), ["a", "b"]).predict(np.ones((1, 3)))


# ---- baselines


def test_majority_says_the_commonest_label():
    assert Majority().fit(["x"] * 3, list("bab")).predict(["y", "z"]).tolist() == ["b", "b"]


def test_tfidf_rows_have_length_one_and_unknown_words_are_dropped():
    vectors = Tfidf().fit(["star moon", "moon puck"])
    rows = vectors.transform(["star star moon", "comet", ""]).toarray()
    np.testing.assert_allclose((rows**2).sum(axis=1), [1, 0, 0])
    with pytest.raises(DataError, match="no word"):
        Tfidf().fit(["", "?"])


def test_word_counting_learns_topics():
    rng = np.random.default_rng(3)
    texts, names = posts(10, rng)
    test, truth = posts(30, rng)
    assert TfidfClassifier().fit(texts, names).score(test, truth) > 0.9


# ---- equality with scikit-learn


@pytest.mark.peer
@pytest.mark.parametrize("sublinear", [False, True])
def test_tfidf_is_scikit_learns(sublinear):
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = posts(7, np.random.default_rng(1))[0] + ["Ünïcode café, it's a-b x_y 12 moon MOON", ""]
    ours, peer = Tfidf(sublinear), TfidfVectorizer(sublinear_tf=sublinear)
    theirs = peer.fit_transform(texts)
    np.testing.assert_allclose(ours.fit_transform(texts).toarray(), theirs.toarray(), atol=1e-12)
    assert list(ours.vocabulary_) == peer.get_feature_names_out().tolist()


@pytest.mark.peer
@pytest.mark.parametrize("c", [0.01, 1.0, 30.0])
def test_softmax_regression_is_scikit_learns(c):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((53, 7)), np.arange(53) % 5
    theirs = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(
        SoftmaxRegression(c).fit(x, y).predict_proba(x), theirs.predict_proba(x), atol=1e-4
    )


@pytest.mark.peer
def test_metrics_are_scikit_learns():
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(4)
    for _ in range(20):
        truth, guess = rng.choice(list("abcdef"), 17), rng.choice(list("abcdef"), 17)
        assert macro_f1(truth, guess) == pytest.approx(
            f1_score(truth, guess, average="macro", zero_division=0)
        )
        assert accuracy(truth, guess) == pytest.approx(accuracy_score(truth, guess))


@pytest.mark.peer
@pytest.mark.named_set
def test_word_counting_on_newsgroups_is_within_a_point_of_scikit_learns():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from tinylm.transfer.task import load_task

    task, ours, theirs = load_task("newsgroups", 1000), [], []
    for seed in range(3):
        rows = label_budget(task.labels, 10, seed)
        texts, names = [task.texts[i] for i in rows], task.labels[rows]
        peer = make_pipeline(
            TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
        )
        theirs.append(peer.fit(texts, names).score(task.test_texts, task.test_labels))
        ours.append(TfidfClassifier().fit(texts, names).score(task.test_texts, task.test_labels))
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01
