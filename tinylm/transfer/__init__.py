"""Floor 7: adapt a pretrained encoder to a few labels, and compare it with honest baselines.

Read in this order: budgets.py, metrics.py, estimator.py, linear.py, baselines.py, mixing.py,
features.py, sentences.py, task.py, adapted.py, tasks/ridge.py, goals.py, updates.py, finetune.py,
pooled.py, classifier.py, averaged.py, multitask.py, distil.py, words.py, entities.py, tagging.py,
tagger.py, then tasks/, prompting.py, patterns.py, naming.py, turns.py, replies.py, chat.py,
experiment.py, compare.py, verdict.py, findings.py.

>>> from tinylm.data import load_labelled
>>> train = load_labelled("toy", "train")
>>> test = load_labelled("toy", "test")
>>> few = label_budget(train.labels, per_class=10, seed=0)
>>> model = TfidfClassifier().fit([train.texts[i] for i in few], [train.labels[i] for i in few])
>>> model.score(test.texts, test.labels) > 0.5
True
"""

from .adapted import task_of
from .averaged import Averaged
from .baselines import Majority, Tfidf, TfidfClassifier
from .budgets import folds, label_budget
from .chat import Chat, ChatConfig
from .classifier import Classifier
from .distil import distilled, imitated
from .entities import EntityScores, entity_scores, token_accuracy
from .features import Features
from .finetune import AdaptConfig
from .linear import SoftmaxRegression
from .metrics import accuracy, beats, macro_f1, mean_squared_error, pearson, spearman, summarise
from .multitask import MultiTask
from .naming import UnsupervisedTagger
from .patterns import PatternClassifier
from .prompting import PromptClassifier
from .sentences import SentenceEncoder
from .several import both_orders, choice_scores
from .tagger import Tagger
from .tagging import TagConfig
from .tasks.answers import reading_scores
from .tasks.choice import Chooser
from .tasks.overlap import bleu, rouge
from .tasks.pairs import PairClassifier, TowerClassifier, paired
from .tasks.regression import Regressor
from .tasks.retrieval import retrieval_scores, similarity_scores
from .tasks.ridge import RidgeRegression
from .tasks.spans import SpanConfig, SpanReader

__all__ = [
    "AdaptConfig",
    "Averaged",
    "Chat",
    "ChatConfig",
    "Chooser",
    "Classifier",
    "EntityScores",
    "Features",
    "Majority",
    "MultiTask",
    "PairClassifier",
    "PatternClassifier",
    "PromptClassifier",
    "Regressor",
    "RidgeRegression",
    "SentenceEncoder",
    "SoftmaxRegression",
    "SpanConfig",
    "SpanReader",
    "TagConfig",
    "Tagger",
    "Tfidf",
    "TfidfClassifier",
    "TowerClassifier",
    "UnsupervisedTagger",
    "accuracy",
    "beats",
    "bleu",
    "both_orders",
    "choice_scores",
    "distilled",
    "entity_scores",
    "folds",
    "imitated",
    "label_budget",
    "macro_f1",
    "mean_squared_error",
    "paired",
    "pearson",
    "reading_scores",
    "retrieval_scores",
    "rouge",
    "similarity_scores",
    "spearman",
    "summarise",
    "task_of",
    "token_accuracy",
]
