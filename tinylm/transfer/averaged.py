"""Several classifiers of the same classes as one: the mean of their probabilities.

    p(y | text) = 1/M Σ_m p_m(y | text)

A model that reads forwards and one that reads backwards make different mistakes, so together they
make fewer (Howard & Ruder 2018, section 5).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import DataError

from .classifier import Classifier
from .metrics import accuracy


class Averaged:
    """The mean of M fitted classifiers, which may have other encoders and tokenizers each.

    classifiers : at least one, all of the same classes
    .classes_ : (K,)
    raises DataError    if there is none, or their classes differ
    raises TinylmError  if one is not fitted

    >>> Averaged([])
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: Averaged: got no classifier; expected at least one.
    """

    def __init__(self, classifiers: Sequence[Classifier]):
        self.classifiers = list(classifiers)
        if not self.classifiers:
            raise DataError("Averaged: got no classifier; expected at least one.")
        for each in self.classifiers:
            each.check_fitted()
        self.classes_ = self.classifiers[0].classes_
        for each in self.classifiers[1:]:
            if not np.array_equal(each.classes_, self.classes_):
                raise DataError(
                    f"Averaged: one classifier has the classes {_listed(self.classes_)}, another "
                    f"{_listed(each.classes_)}; train both on the same labels."
                )

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, (N,K), columns as in classes_."""
        return np.mean([each.predict_proba(texts) for each in self.classifiers], axis=0)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable label of each text, (N,)."""
        best = np.argmax(self.predict_proba(texts), axis=1)
        return self.classes_[best]

    def score(self, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))


def _listed(classes: np.ndarray) -> str:
    """The first few classes.

    >>> _listed(np.array(["ice", "sea"]))
    'ice, sea'
    """
    shown = ", ".join(str(label) for label in classes[:5])
    return shown + (", …" if len(classes) > 5 else "")
