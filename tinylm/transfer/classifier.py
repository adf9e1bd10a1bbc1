"""A pretrained encoder and a few labelled texts become a classifier, in scikit-learn's shape.

    p(y | text) = softmax(W standardise(pool(encode(text))) + b)

How W, b and the encoder learn is the same for every head on pooled states, and stands in pooled.py.
Here are the classes: their names, probabilities, and the most probable one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tinylm.arguments import strings
from tinylm.errors import DataError, ShapeError, TinylmError

from .adapted import FIRST_TASK
from .budgets import label_array
from .metrics import accuracy
from .pooled import DEFAULTS, METHODS, Pooled
from .task import as_labels

__all__ = ["DEFAULTS", "METHODS", "Classifier"]


class Classifier(Pooled):
    """A text classifier: `Classifier(encoder, tokenizer).fit(texts, labels).predict(texts)`.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder passed in is never changed
    method : "features" (frozen encoder, softmax regression), "finetune" (all weights), or "gradual"
        (all weights, as `AdaptConfig.gradual` says)
    progress : called as progress(done, updates) during fine-tuning
    After `fit`: classes_ (K,); encoder_, the adapted one; head_ = (W (F,K), b (K,)); and after
    fine-tuning rate_, the learning rate used.

    >>> Classifier(None, None, "lora")
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: Classifier: unknown method 'lora'; expected 'features' or \
'finetune' or 'gradual'.
    """

    task = FIRST_TASK
    kind = "classifier"

    def fit(self, texts: Sequence[str], labels: ArrayLike) -> "Classifier":
        """Adapt to labelled texts.

        texts : (N,) strings     labels : (N,) of at least two classes     returns self
        raises DataError        for no texts, or for fewer than two classes
        raises ShapeError       if the lengths differ
        raises ArgumentError    if texts is a single string
        """
        texts, codes = self.check_labels(texts, labels)
        self._adapt(texts, codes)
        return self

    def check_labels(self, texts: Sequence[str], labels: ArrayLike) -> tuple[list[str], np.ndarray]:
        """Texts as a list and the number of each one's class, (N,); sets classes_.

        The arguments are those of `fit`, and so are the errors.
        """
        texts = self._checked(texts)
        labels = as_labels(labels)
        if labels.shape != (len(texts),):
            raise ShapeError(
                f"Classifier: {len(texts)} texts, but labels of shape {labels.shape}; "
                "expected one for each."
            )
        classes, codes = np.unique(labels, return_inverse=True)
        if classes.size < 2:
            raise DataError(
                f"Classifier: {classes.size} class in the labels; expected at least two."
            )
        self.classes_ = classes
        return texts, codes

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, (N,K), columns as in classes_.   raises TinylmError before `fit`"""
        self.check_fitted()
        logits = self._scores(self._checked(texts))
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable label of each text, (N,).   raises TinylmError before `fit`"""
        best = np.argmax(self.predict_proba(texts), axis=1)
        return self.classes_[best]

    def score(self, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in [0, 1].   raises TinylmError before `fit`"""
        return accuracy(labels, self.predict(texts))

    def _checked(self, texts: Sequence[str]) -> list[str]:
        """The texts as a list; a subclass that reads something else says what.   raises as fit"""
        return strings(texts, "texts")

    def _labels(self) -> list:
        return self.classes_.tolist()

    def _name(self, labels: list) -> None:
        is_list = isinstance(labels, list)
        if not is_list or any(isinstance(name, list | dict | None) for name in labels):
            raise TinylmError(f"labels is {labels!r}, expected a list of names")
        self.classes_ = label_array(labels)
