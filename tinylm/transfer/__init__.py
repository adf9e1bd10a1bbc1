"""Adaptation: a pretrained encoder, a few labels, and the honest baselines it must be compared with."""

from tinylm.transfer.adapt import AdaptConfig, Classifier
from tinylm.transfer.baselines import Majority, Tfidf, TfidfClassifier
from tinylm.transfer.budgets import folds, label_budget
from tinylm.transfer.features import Features
from tinylm.transfer.linear import SoftmaxRegression
from tinylm.transfer.metrics import accuracy, beats, macro_f1, summarise

__all__ = [
    "AdaptConfig",
    "Classifier",
    "Features",
    "Majority",
    "SoftmaxRegression",
    "Tfidf",
    "TfidfClassifier",
    "accuracy",
    "beats",
    "folds",
    "label_budget",
    "macro_f1",
    "summarise",
]
