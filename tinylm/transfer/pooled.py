"""What an encoder with a linear head on pooled states needs, whatever the head is for.

    scores = W standardise(pool(encode(text))) + b

    features    W and b learn, the encoder is frozen
    finetune    every weight learns, and the encoder's own `summary` does the pooling: finetune.py
    gradual     the same by ULMFiT's recipe: rates by layer, layers unfrozen one after another

All three end as an encoder and a linear head on pooled states, so all predict and save alike. What
the scores mean, and so the loss, is the `goal` of a subclass: goals.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np

from tinylm import ops as F
from tinylm import settings
from tinylm.errors import TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective

from .adapted import Adapted, Split, best_rate
from .estimator import Estimator
from .features import Features, encode_texts
from .finetune import AdaptConfig, Network, duplicate, tune
from .goals import Classes
from .mixing import MIX, learn_shares, mixed

METHODS = ("features", "finetune", "gradual")
DEFAULTS = AdaptConfig()


class Pooled(Estimator, Adapted):
    """An encoder and a linear head on its pooled states; a subclass says what the scores mean.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder passed in is never changed
    method : "features" (frozen encoder, a convex problem), "finetune" (all weights), or "gradual"
        (all weights, as `AdaptConfig.gradual` says)
    progress : called as progress(done, updates) during fine-tuning
    After `fit`: encoder_, the adapted one; head_ = (W (F,K), b (K,)); and after fine-tuning rate_,
    the learning rate used.
    """

    goal: ClassVar[Classes] = Classes()
    fitted = "head_"

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
            raise TinylmError(
                f"{type(self).__name__}: unknown method {method!r}; expected {expected}."
            )
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.method = method
        self.config = config
        self.progress = progress or (lambda done, updates: None)

    # ---- fitting

    def _adapt(self, texts: Sequence[Any], targets: Any) -> None:
        """Learn targets of texts, or of pairs of texts."""
        with self.fitting(), one_pool():
            if self.method == "features":
                self._fit_features(texts, targets)
            else:
                self._fit_all(texts, targets)

    @property
    def _tuned(self) -> tuple[str, ...]:
        """The layers that fine-tuning reads."""
        return (MIX,) if self.config.mixes else ("summary",)

    def _features(self, encoder: Objective, layers: Sequence[str | int]) -> Features:
        """Features of this tokenizer and text length; not fitted yet."""
        return Features(encoder, self.tokenizer, max_length=self.config.max_length, layers=layers)

    def _fit_features(self, texts: Sequence[Any], targets: Any) -> None:
        """A linear model on the states of the encoder as it is."""
        self.features_ = self._features(self.encoder, self.config.layers)
        regression = self.goal.regression(self.config.C, self.config.seed)
        if self.config.mixes:
            self._fit_mix(texts, targets, regression)
        else:
            rows = self.features_.fit_transform(texts)
            regression.fit(self.goal.joined_rows(rows), targets)
        self.encoder_ = self.encoder
        self.head_ = (regression.weights_, regression.bias_)

    def _fit_mix(self, texts: Sequence[Any], targets: Any, regression: Any) -> None:
        """Learn the shares of the layers from their equal mix, then the regression on that mix."""
        self.features_.means(texts[:1])  # fail on layers of different widths
        every = self._features(self.encoder, ("all",))
        rows = every.means(texts)  # (N, L·C)
        layers = np.stack(np.split(rows, every.depth_, axis=1))  # (L,N,C)
        equal = self.features_.fit_means(mixed(layers))
        regression.fit(self.goal.joined_rows(equal), targets)
        shares = learn_shares(layers, targets, regression, self.goal.loss, self.goal.joined)
        self.features_.mix_ = shares
        learned = self.features_.fit_means(mixed(layers, shares))
        regression.fit(self.goal.joined_rows(learned), targets)

    def _fit_all(self, texts: Sequence[Any], targets: Any) -> None:
        """Choose the rate, then tune a copy of the encoder on all examples."""
        encoded = encode_texts(self.encoder, self.tokenizer, texts, self.config.max_length)
        self.rate_ = self._choose_rate(encoded, targets)
        self.keep(self._tune(encoded, targets, self.rate_))

    def _choose_rate(self, encoded: dict[str, np.ndarray], targets: Any) -> float:
        """The rate with the best held-out score inside the labels; the smaller one at a tie.

        Where a class has one example, nothing can be held out, and the middle rate is taken.
        """

        def quality(split: Split, rate: float) -> float:
            train, held = split
            self.keep(self._tune(*self.goal.pick(encoded, targets, train), rate))
            batch, own = self.goal.pick(encoded, targets, held)
            means = self.features_.encode_means(batch)
            return self.goal.quality(self._logits(self.features_.standardise(means)), own)

        splits = self.goal.splits(targets, self.config.n_folds, self.config.seed)
        return best_rate(self.config.rates, splits, quality)

    def _tune(self, encoded: dict[str, np.ndarray], codes: Any, rate: float) -> Network:
        """Train a copy of the encoder and a new head."""
        features = self.features_of(duplicate(self.encoder))
        how = self.config.by(self.method)
        return tune(features, encoded, codes, rate, how, self.progress, self.goal)

    def features_of(self, encoder: Objective) -> Features:
        """The features that fine-tuning of an encoder learns on; not fitted yet."""
        return self._features(encoder, self._tuned)

    def keep(self, network: Network) -> None:
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
        """Standardised features (R,F) -> (N,K); R is N, or 2N where texts are joined."""
        weights, bias = self.head_
        return self.goal.joined_rows(rows) @ weights + bias

    def _scores(self, texts: Sequence[Any]) -> np.ndarray:
        """The head's scores of texts or pairs, (N,K).   raises TinylmError before `fit`"""
        self.check_fitted()
        return self._logits(self.features_.transform(texts))

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

    def _labels(self) -> list:
        """The names of the head's K outputs, as they are stored."""
        return ["score"]

    def _name(self, labels: list) -> None:
        """Take the stored names of the outputs back.   raises TinylmError if they are damaged"""

    def _facts(self) -> dict[str, Any]:
        """Labels and settings."""
        return {
            "labels": self._labels(),
            "method": self.method,
            "layers": list(self.features_.layers),
            "config": asdict(self.config),
        }

    @classmethod
    def _assembled(cls, encoder: Any, tokenizer: Any, facts: dict, arrays: dict) -> Self:
        """The parts of a folder put together.   raises many kinds of error if a part is damaged"""
        config = settings.build(AdaptConfig, facts["config"])
        self = cls(encoder, tokenizer, facts["method"], config)
        self.encoder_ = encoder
        self._name(facts["labels"])
        self.features_ = self._features(encoder, tuple(facts["layers"]))
        self.features_.mean_ = arrays["mean"]
        self.features_.std_ = arrays["std"]
        self.features_.mix_ = arrays.get("mix")
        if arrays["std"].shape != arrays["mean"].shape:
            raise TinylmError("std and mean differ in shape")
        if not (arrays["std"] > 0).all():
            raise TinylmError("std holds a number that is not above 0")
        self.head_ = (arrays["weight"], arrays["bias"])
        expected = (self.goal.parts * arrays["mean"].shape[0], len(facts["labels"]))
        shapes = (arrays["weight"].shape, arrays["bias"].shape)
        if shapes != (expected, expected[1:]) or min(expected) < 1:
            raise TinylmError(f"the weights are {shapes[0]}, expected {expected}")
        return self
