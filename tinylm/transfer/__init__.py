"""Adaptation: a pretrained encoder, a few labels, and the honest baselines to compare with."""

from .baselines import Majority, Tfidf, TfidfClassifier
from .budgets import folds, label_budget
from .classifier import Classifier
from .features import Features
from .finetune import AdaptConfig
from .linear import SoftmaxRegression
from .metrics import accuracy, beats, macro_f1, summarise
from .sentences import SentenceEncoder
from .several import both_orders, choice_scores

__all__ = [
    "AdaptConfig",
    "Classifier",
    "Features",
    "Majority",
    "SentenceEncoder",
    "SoftmaxRegression",
    "Tfidf",
    "TfidfClassifier",
    "accuracy",
    "beats",
    "both_orders",
    "choice_scores",
    "folds",
    "label_budget",
    "macro_f1",
    "summarise",
]
