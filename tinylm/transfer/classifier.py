"""A pretrained encoder and a few labelled texts become a classifier, in scikit-learn's shape.

    p(y | text) = softmax(W standardise(pool(encode(text))) + b)

    features    W and b learn, the encoder is frozen
    finetune    every weight learns, and the encoder's own `summary` does the pooling: finetune.py
    gradual     the same by ULMFiT's recipe: rates by layer, layers unfrozen one after another

Both methods end as an encoder and a linear head on pooled states, so both predict and save alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F
from tinylm import settings
from tinylm.arguments import strings
from tinylm.errors import DataError, ShapeError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective

from .adapted import FIRST_TASK, Adapted, Split, best_rate
from .budgets import folds
from .features import Features, encode_texts, take
from .finetune import AdaptConfig, Network, duplicate, tune
from .linear import SoftmaxRegression
from .metrics import accuracy
from .mixing import MIX, learn_shares, mixed
from .task import as_labels

METHODS = ("features", "finetune", "gradual")
DEFAULTS = AdaptConfig()


class Classifier(Adapted):
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

    def __init__(
        self,
        encoder: Objective,
        tokenizer: Any,
        method: str = "features",
        config: AdaptConfig = DEFAULTS,
        progress: Callable[[int, int], None] | None = None,
    ):
        if method not in METHODS:
            expected = " or ".join(repr(name) for name in METHODS)
            raise TinylmError(f"Classifier: unknown method {method!r}; expected {expected}.")
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.method = method
        self.config = config.gradual() if method == "gradual" else config
        self.progress = progress or (lambda done, updates: None)

    def fit(self, texts: Sequence[str], labels: ArrayLike) -> "Classifier":
        """Adapt to labelled texts.

        texts : (N,) strings     labels : (N,) of at least two classes     returns self
        raises DataError        for no texts, or for fewer than two classes
        raises ShapeError       if the lengths differ
        raises ArgumentError    if texts is a single string
        """
        texts = strings(texts, "texts")
        labels = as_labels(labels)
        if labels.shape != (len(texts),):
            raise ShapeError(
                f"Classifier: {len(texts)} texts, but labels of shape {labels.shape}; "
                "expected one for each."
            )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if self.classes_.size < 2:
            raise DataError(
                f"Classifier: {self.classes_.size} class in the labels; expected at least two."
            )
        with one_pool():
            if self.method == "features":
                self._fit_features(texts, codes)
            else:
                self._fit_all(texts, codes)
        return self

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, (N,K), columns as in classes_.   raises TinylmError before `fit`"""
        self.check_fitted()
        logits = self._logits(self.features_.transform(texts))
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable label of each text, (N,).   raises TinylmError before `fit`"""
        best = np.argmax(self.predict_proba(texts), axis=1)
        return self.classes_[best]

    def score(self, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in [0, 1].   raises TinylmError before `fit`"""
        return accuracy(labels, self.predict(texts))

    # ---- fitting

    @property
    def _tuned(self) -> tuple[str, ...]:
        """The layers that fine-tuning reads."""
        return (MIX,) if self.config.mixes else ("summary",)

    def _features(self, encoder: Objective, layers: Sequence[str | int]) -> Features:
        """Features of this classifier's tokenizer and text length; not fitted yet."""
        return Features(encoder, self.tokenizer, max_length=self.config.max_length, layers=layers)

    def _fit_features(self, texts: list[str], codes: np.ndarray) -> None:
        """Softmax regression on the states of the encoder as it is."""
        self.features_ = self._features(self.encoder, self.config.layers)
        regression = SoftmaxRegression(self.config.C, seed=self.config.seed)
        if self.config.mixes:
            self._fit_mix(texts, codes, regression)
        else:
            regression.fit(self.features_.fit_transform(texts), codes)
        self.encoder_ = self.encoder
        self.head_ = (regression.weights_, regression.bias_)

    def _fit_mix(self, texts: list[str], codes: np.ndarray, regression: SoftmaxRegression) -> None:
        """Learn the shares of the layers from their equal mix, then the regression on that mix."""
        self.features_.means(texts[:1])  # fail on layers of different widths
        every = self._features(self.encoder, ("all",))
        rows = every.means(texts)  # (N, L·C)
        layers = np.stack(np.split(rows, every.depth_, axis=1))  # (L,N,C)
        regression.fit(self.features_.fit_means(mixed(layers)), codes)
        self.features_.mix_ = learn_shares(layers, codes, regression)
        regression.fit(self.features_.fit_means(mixed(layers, self.features_.mix_)), codes)

    def _fit_all(self, texts: list[str], codes: np.ndarray) -> None:
        """Choose the rate, then tune a copy of the encoder on all labels."""
        encoded = encode_texts(self.encoder, self.tokenizer, texts, self.config.max_length)
        self.rate_ = self._choose_rate(encoded, codes)
        self._keep(self._tune(encoded, codes, self.rate_))

    def _choose_rate(self, encoded: dict[str, np.ndarray], codes: np.ndarray) -> float:
        """The rate with the best held-out accuracy inside the labels; the smaller one at a tie.

        Where a class has one example, nothing can be held out, and the middle rate is taken.
        """

        def hits(split: Split, rate: float) -> float:
            train, held = split
            self._keep(self._tune(take(encoded, train), codes[train], rate))
            means = self.features_.encode_means(take(encoded, held))
            logits = self._logits(self.features_.standardise(means))
            return held.size * accuracy(codes[held], np.argmax(logits, axis=1))

        splits = folds(codes, self.config.n_folds, self.config.seed)
        return best_rate(self.config.rates, splits, hits)

    def _tune(self, encoded: dict[str, np.ndarray], codes: np.ndarray, rate: float) -> Network:
        """Train a copy of the encoder and a new head."""
        features = self._features(duplicate(self.encoder), self._tuned)
        return tune(features, encoded, codes, rate, self.config, self.progress)

    def _keep(self, network: Network) -> None:
        """Take a tuned network apart into the encoder, features and head that predict."""
        self.encoder_ = network.encoder
        self.features_ = self._features(network.encoder, self._tuned)
        if network.mix is not None:
            self.features_.mix_ = (F.softmax(network.mix.w) * network.mix.gamma).data
        self.features_.mean_ = network.mean.astype(float)
        self.features_.std_ = 1 / network.scale.astype(float)
        weights = network.head.weight.data.T.astype(float)
        bias = network.head.bias.data.astype(float)
        self.head_ = (weights, bias)

    def _logits(self, rows: np.ndarray) -> np.ndarray:
        """Standardised features (N,F) -> (N,K)."""
        weights, bias = self.head_
        return rows @ weights + bias

    # ---- folders

    def _arrays(self) -> dict[str, np.ndarray]:
        """The head, the mean and deviation of its features, and the shares of a learned mix."""
        weights, bias = self.head_
        arrays = {
            "weight": weights,
            "bias": bias,
            "mean": self.features_.mean_,
            "std": self.features_.std_,
        }
        if self.features_.mix_ is not None:
            arrays["mix"] = self.features_.mix_
        return arrays

    def _facts(self) -> dict[str, Any]:
        """Labels and settings."""
        return {
            "labels": self.classes_.tolist(),
            "method": self.method,
            "layers": list(self.features_.layers),
            "config": asdict(self.config),
        }

    @classmethod
    def _assembled(cls, encoder, tokenizer, facts: dict, arrays: dict) -> "Classifier":
        """The parts of a folder put together.   raises many kinds of error if a part is damaged"""
        config = settings.build(AdaptConfig, facts["config"])
        self = cls(encoder, tokenizer, facts["method"], config)
        self.encoder_ = encoder
        self.classes_ = np.array(facts["labels"])
        if self.classes_.ndim != 1 or self.classes_.dtype == object:
            raise TinylmError(f"labels is {facts['labels']!r}, expected a list of names")
        self.features_ = self._features(encoder, tuple(facts["layers"]))
        self.features_.mean_ = arrays["mean"]
        self.features_.std_ = arrays["std"]
        self.features_.mix_ = arrays.get("mix")
        if arrays["std"].shape != arrays["mean"].shape:
            raise TinylmError("std and mean differ in shape")
        if not (arrays["std"] > 0).all():
            raise TinylmError("std holds a number that is not above 0")
        self.head_ = (arrays["weight"], arrays["bias"])
        expected = (arrays["mean"].shape[0], len(facts["labels"]))
        shapes = (arrays["weight"].shape, arrays["bias"].shape)
        if shapes != (expected, expected[1:]) or min(expected) < 1:
            raise TinylmError(f"the weights are {shapes[0]}, expected {expected}")
        return self
