"""scikit-learn's habits, without scikit-learn; and its own checks, with it (marked peer)."""

import subprocess
import sys

import numpy as np
import pytest

from tinylm import GPT, GPTConfig
from tinylm.errors import ArgumentError, TinylmError
from tinylm.text import Words
from tinylm.transfer import AdaptConfig, Classifier, Features, SoftmaxRegression, TagConfig, Tagger
from tinylm.transfer.baselines import Tfidf

WORDS = Words("sea wave boat rock hill sand a the is".split())
TEXTS = [f"{filler} {word}" for word in WORDS.vocab[3:9] for filler in ("a", "the", "is", "a the")]
LABELS = ["sea"] * 12 + ["land"] * 12
CONFIG = AdaptConfig(updates=3, max_length=8, C=(1.0,))


def encoder():
    """A GPT that learned nothing."""
    return GPT(GPTConfig(WORDS.vocab_size, n_positions=11, n_embd=12, n_layer=2, n_head=3))


def estimators():
    """One of each, not fitted."""
    model = encoder()
    tagger = TagConfig(embeddings=3, updates=2)
    return {
        "features": Features(model, WORDS, max_length=8),
        "classifier": Classifier(model, WORDS, config=CONFIG),
        "gradual": Classifier(model, WORDS, "gradual", CONFIG),
        "tagger": Tagger(model, WORDS, "crf", config=tagger),
        "regression": SoftmaxRegression(C=2.0),
        "tfidf": Tfidf(sublinear=True),
    }


every = pytest.mark.parametrize("name", estimators())


@every
def test_the_parameters_are_the_arguments_of_the_constructor(name):
    estimator = estimators()[name]
    params = estimator.get_params(deep=False)
    again = type(estimator)(**params)
    for key, value in again.get_params(deep=False).items():
        assert value is params[key] or value == params[key]
    deep = estimator.get_params()
    assert deep.items() >= params.items()
    assert all("__" in key for key in deep.keys() - params.keys())


@every
def test_what_is_set_is_got_and_setting_what_is_there_changes_nothing(name):
    estimator = estimators()[name]
    params = estimator.get_params()
    assert estimator.set_params(**params) is estimator
    assert estimator.get_params() == params
    assert estimator.set_params() is estimator


def test_a_field_of_the_config_is_set_and_checked():
    model = Classifier(encoder(), WORDS, config=CONFIG)
    model.set_params(config__max_length=5, method="finetune")
    assert (model.config.max_length, model.method, model.config.updates) == (5, "finetune", 3)
    assert CONFIG.max_length == 8
    with pytest.raises(ArgumentError, match="max_length is 0"):
        model.set_params(config__max_length=0)
    with pytest.raises(TinylmError, match="unknown method 'lora'"):
        model.set_params(method="lora")
    assert (model.config.max_length, model.method) == (5, "finetune")
    for wrong in ("depth", "config__depth", "method__depth"):
        with pytest.raises(TinylmError, match=f"no parameter '{wrong}'; it has encoder"):
            model.set_params(**{wrong: 1})


@pytest.mark.parametrize("wrong", [
    dict(batch_size=0), dict(batch_size=2.5), dict(max_length=-1), dict(max_length=True),
])  # fmt: skip
def test_sizes_of_features_are_checked_when_they_are_set(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ArgumentError, match=f"Features: {name} is {value}; expected"):
        Features(encoder(), WORDS, **wrong)
    with pytest.raises(ArgumentError, match=f"Features: {name} is {value}; expected"):
        Features(encoder(), WORDS).set_params(**wrong)


def test_folds_and_seed_are_checked_when_they_are_set():
    for wrong in (dict(n_folds=-3), dict(n_folds=1.5), dict(seed=-1)):
        with pytest.raises(ArgumentError, match="SoftmaxRegression: (n_folds|seed) is"):
            SoftmaxRegression(**wrong)


def test_a_change_forgets_what_was_fitted():
    model = Classifier(encoder(), WORDS, config=CONFIG).fit(TEXTS, LABELS)
    with pytest.raises(TinylmError, match="not fitted yet"):
        model.set_params(config__C=(2.0,)).predict(TEXTS)


def test_tinylm_does_not_need_scikit_learn():
    missing = "import sys; sys.modules['sklearn'] = None"
    source = f"{missing}; from tinylm.transfer import Tfidf; Tfidf().set_params(sublinear=True)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0


# --- with scikit-learn


@pytest.mark.peer
@every
def test_a_clone_has_the_parameters_and_is_not_fitted(name):
    from sklearn.base import clone, is_classifier
    from sklearn.utils.validation import check_is_fitted

    estimator = estimators()[name]
    if name == "tagger":
        estimator.fit([["sea", "rock"]] * 3, [["a", "b"]] * 3)
    elif name == "tfidf":
        estimator.fit(TEXTS)
    else:
        estimator.fit(np.eye(24) if name == "regression" else TEXTS, LABELS)
    check_is_fitted(estimator)
    copy = clone(estimator)
    assert copy is not estimator and copy.get_params() == estimator.get_params()
    assert not copy.__sklearn_is_fitted__()
    assert is_classifier(estimator) == (name in ("classifier", "gradual", "regression"))


@pytest.mark.peer
def test_a_pipeline_of_features_and_a_regression_is_the_classifier():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = encoder()
    ours = make_pipeline(Features(model, WORDS, max_length=8), SoftmaxRegression(C=1.0))
    ours.fit(TEXTS, LABELS)
    whole = Classifier(model, WORDS, config=CONFIG).fit(TEXTS, LABELS)
    np.testing.assert_allclose(ours.predict_proba(TEXTS), whole.predict_proba(TEXTS), atol=1e-6)
    three = [
        ["sea", "land", "sky"][i % 3] for i in range(24)
    ]  # with two theirs has one vector less
    theirs = make_pipeline(Features(model, WORDS, max_length=8), LogisticRegression(tol=1e-8))
    found = theirs.fit(TEXTS, three).predict_proba(TEXTS)
    np.testing.assert_allclose(ours.fit(TEXTS, three).predict_proba(TEXTS), found, atol=1e-3)


@pytest.mark.peer
def test_a_grid_search_chooses_parameters_and_fields_of_the_config():
    from sklearn.model_selection import GridSearchCV

    grid = {"method": ["features", "finetune"], "config__max_length": [3, 8]}
    search = GridSearchCV(Classifier(encoder(), WORDS, config=CONFIG), grid, cv=2)
    search.fit(TEXTS, LABELS)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_params_.keys() == grid.keys()
    assert set(search.predict(TEXTS)) <= {"sea", "land"}
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


@pytest.mark.peer
def test_a_grid_search_reaches_into_a_pipeline():
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    steps = [("features", Features(encoder(), WORDS)), ("regression", SoftmaxRegression())]
    grid = {"features__layers": [("last",), ("mean",)], "regression__C": [0.1, 1.0]}
    search = GridSearchCV(Pipeline(steps), grid, cv=3).fit(TEXTS, LABELS)
    assert len(search.cv_results_["params"]) == 4


@pytest.mark.peer
def test_a_grid_search_takes_taggers_too():
    from sklearn.model_selection import GridSearchCV

    sentences = [["the", word] for word in WORDS.vocab[3:9]] * 2
    tags = [["O", "B-x" if place % 2 else "O"] for place in range(12)]
    tagger = Tagger(encoder(), WORDS, config=TagConfig(embeddings=3, updates=2))
    search = GridSearchCV(tagger, {"head": ["linear", "crf"]}, cv=2).fit(sentences, tags)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert len(search.predict([["the", "sea"]])[0]) == 2


# scikit-learn's checks that give an estimator no table of numbers: ours read texts. Left out are two
# that want wrong arguments to be accepted until `fit`, and one that wants no argument to be needed.
CHECKS = (
    "check_get_params_invariance",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_valid_tag_types",
)


@pytest.mark.peer
@every
@pytest.mark.parametrize("check", CHECKS)
def test_the_estimator_checks_that_apply_pass(name, check):
    from sklearn.utils import estimator_checks

    run = vars(estimator_checks)[check]
    run(name, estimators()[name])
