"""Linear models for numbers and choices stand at the minimum of their objective."""

import numpy as np
import pytest
from scipy import optimize, special

from tinylm.errors import DataError, ShapeError
from tinylm.transfer.goals import Right
from tinylm.transfer.tasks.ridge import ChoiceRegression, RidgeRegression


def numbers(n, width):
    """Features (n, width) and numbers that depend on them."""
    rng = np.random.default_rng(width)
    x = rng.normal(size=(n, width)) + 3
    return x, x[:, 0] - 2 * x[:, -1] + rng.normal(size=n)


@pytest.mark.parametrize("n, width", [(41, 5), (7, 31)])
def test_no_step_from_the_ridge_solution_lowers_its_objective(n, width):
    x, y = numbers(n, width)
    model = RidgeRegression(C=0.7).fit(x, y)

    def objective(flat):
        w, b = flat[:-1], flat[-1]
        return 0.7 * np.square(x @ w + b - y).sum() + 0.5 * w @ w

    found = np.append(model.weights_[:, 0], model.bias_)
    slope = optimize.approx_fprime(found, objective, 1e-6)
    assert np.abs(slope).max() < 1e-2
    np.testing.assert_allclose(model.predict(x), x @ found[:-1] + found[-1])


@pytest.mark.peer
def test_ridge_is_scikit_learns():
    from sklearn.linear_model import Ridge

    x, y = numbers(23, 7)
    ours = RidgeRegression(C=0.25).fit(x, y)
    theirs = Ridge(alpha=2.0).fit(x, y)  # alpha = 1 / 2C
    np.testing.assert_allclose(ours.weights_[:, 0], theirs.coef_, rtol=1e-8)
    np.testing.assert_allclose(ours.bias_, theirs.intercept_, rtol=1e-8)


def choices():
    """Features of the answers of 29 examples, 2 to 5 each, and which is right: the longest one."""
    rng = np.random.default_rng(3)
    counts = rng.integers(2, 6, 29)
    x = rng.normal(size=(counts.sum(), 3))
    parts = np.split(x[:, 1], np.cumsum(counts)[:-1])
    return x, Right(counts, np.array([part.argmax() for part in parts]))


def test_the_choice_solution_is_the_minimum_that_a_search_without_gradients_finds():
    x, targets = choices()
    model = ChoiceRegression(C=0.5).fit(x, targets)
    ends = np.cumsum(targets.counts)[:-1]

    def objective(w):
        nats = 0.0
        for scores, right in zip(np.split(x @ w, ends), targets.right, strict=True):
            nats -= special.log_softmax(scores)[right]
        return 0.5 * nats + 0.5 * w @ w

    search = optimize.minimize(objective, np.zeros(3), method="Nelder-Mead", tol=1e-9)
    np.testing.assert_allclose(model.weights_[:, 0], search.x, atol=1e-3)
    assert np.abs(model.weights_[1, 0]) > 3 * np.abs(model.weights_[[0, 2], 0]).max()


def test_cross_validation_takes_the_c_that_predicts_best_and_the_smaller_at_a_tie():
    grid = (100.0, 1.0, 1e-4)
    assert RidgeRegression(grid).fit(*numbers(41, 5)).C_ in (1.0, 100.0)
    assert ChoiceRegression(grid).fit(*choices()).C_ == 1e-4  # its first direction separates all


def test_misshapen_targets_and_single_answers_are_refused():
    with pytest.raises(ShapeError, match="one number for each row"):
        RidgeRegression().fit(np.zeros((3, 2)), [1.0, 2.0])
    with pytest.raises(ShapeError, match="not fitted"):
        RidgeRegression().predict([[1.0]])
    with pytest.raises(DataError, match="at least two answers"):
        ChoiceRegression().fit(np.zeros((1, 2)), Right(np.array([1]), np.array([0])))


def test_weights_that_nothing_settles_are_one_sentence():
    x = np.array([[0, 0], [0, 0], [4, 4], [4, 4]], float)
    with pytest.raises(DataError, match="C = 1e.16.*smaller C"):
        RidgeRegression(C=1e16).fit(x, np.array([0, 0, 1, 1]))
