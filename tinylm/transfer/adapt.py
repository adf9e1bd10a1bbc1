"""Adaptation: a pretrained encoder and a few labelled texts become a classifier, in scikit-learn's shape.

    features    p(y | text) = softmax(W standardise(pool(encode(text))) + b), the encoder frozen
    finetune    p(y | text) = softmax(W dropout(standardise(mean_t h_t)) + b), every weight of encoder and head learns

Fine-tuning begins where the features end: with the head that softmax regression finds on the encoder as it is, so that
the first updates do not distort good features for the sake of a random head (Kumar et al. 2022). The scale of the
features is measured once, before the first update, and kept.

Both end as the same thing, an encoder and a linear head on pooled states, so they predict and are saved alike.
What may be tuned is tuned inside the labels given: a fixed schedule, and rates chosen by cross-validation.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tinylm import files, folders, hub, nn, optim, settings
from tinylm import ops as F
from tinylm.arguments import strings
from tinylm.data.batching import length_buckets
from tinylm.errors import CheckpointError, DataError, ShapeError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.settings import above, at_least, between, from_to_below
from tinylm.training.checkpoint import HEAD, LABELS, load_tensors, read_json, save_tensors
from tinylm.transfer.budgets import folds
from tinylm.transfer.features import LAYERS, Features, encode_texts, masked_mean, take
from tinylm.transfer.linear import GRID, SoftmaxRegression
from tinylm.transfer.metrics import accuracy
from tinylm.transfer.task import as_labels


@dataclass(frozen=True)
class AdaptConfig(settings.Config):
    """How an encoder is adapted.

    max_length : tokens read of each text          seed : order of the texts, dropout, the head's first weights
    layers, C : features only: see `pool` and `SoftmaxRegression`
    The rest is for fine-tuning. rates : peak learning rates; of several, cross-validation inside the labels takes the
    best · updates : how many, None for `updates_for` · batch_size : texts per update · warmup : share of the updates
    while the rate rises, before it falls linearly to 0 · weight_decay, clip : of AdamW · dropout : before the head
    """

    ranges = {
        "max_length": at_least(1),
        "C": above(0),
        "rates": above(0),
        "updates": at_least(1),
        "batch_size": at_least(1),
        "warmup": between(0, 1),
        "weight_decay": at_least(0),
        "clip": above(0),
        "dropout": from_to_below(0, 1),
        "n_folds": at_least(0),
        "seed": at_least(0),
    }
    max_length: int = 128
    layers: tuple[str | int, ...] = LAYERS
    C: tuple[float, ...] = GRID
    rates: tuple[float, ...] = (1e-3,)
    updates: int | None = None
    batch_size: int = 16
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.1
    n_folds: int = 2
    seed: int = 0

    def check(self):
        """There is a rate, a C and a layer to try.   raises TinylmError"""
        for name in ("rates", "C", "layers"):
            if not getattr(self, name):
                raise TinylmError(f"AdaptConfig: {name} is empty; expected at least one value.")


def updates_for(n_texts: int, batch_size: int) -> int:
    """The fixed schedule: five passes over the labels, but at least 60 updates and at most 320."""
    return int(np.clip(5 * n_texts // batch_size, 60, 320))


def twin(encoder, seed: int = 0):
    """The same architecture from scratch: what the encoder would be without its pretraining."""
    fresh = type(encoder)(encoder.config, np.random.default_rng(seed))
    if encoder.words is not None:
        fresh.spell(encoder.words, encoder.special_ids)
    return fresh


def duplicate(encoder):
    """An independent copy with the same weights, so that adapting it leaves the original as it was."""
    copy = twin(encoder)
    copy.load_state_dict({name: np.array(weight) for name, weight in encoder.state_dict().items()})
    return copy


def _batches(encoded, batch_size: int, seed: int):
    """Rows of texts of like length, epoch after epoch without end."""
    lengths, epoch = encoded["mask"].sum(axis=1), 0
    while True:
        yield from length_buckets(lengths, batch_size, seed, epoch)
        epoch += 1


def _rewind(network, seed: int, step: int) -> None:
    """Start every source of dropout noise at this step, the encoder's and the head's apart from each other."""
    for place, noise in enumerate(network.noises()):
        noise.at(seed, 2 * step + place)


class _Network(nn.Module):
    """Encoder, mean over real positions of its last layer, a fixed standardisation, dropout, linear head.

    features : Features of that last layer, fitted     regression : SoftmaxRegression on them, where the head starts
    """

    def __init__(
        self, encoder, features: Features, regression: SoftmaxRegression, config: AdaptConfig
    ):
        self.encoder = encoder
        self.mean, self.scale = (
            features.mean_.astype(np.float32),
            (1 / features.std_).astype(np.float32),
        )
        self.dropout = nn.Dropout(config.dropout, nn.Noise(config.seed))
        self.head = nn.Linear(*regression.weights_.shape, rng=np.random.default_rng(config.seed))
        self.head.weight.data[...], self.head.bias.data[...] = (
            regression.weights_.T,
            regression.bias_,
        )

    def forward(self, batch):
        """Keywords of `encode`, (B,T) each -> logits (B,K)."""
        pooled = masked_mean(self.encoder.encode(**batch)[-1], batch["mask"])  # (B,T,C) -> (B,C)
        return self.head(self.dropout((pooled - self.mean) * self.scale))


class Classifier:
    """A text classifier made of an encoder: `Classifier(encoder, tokenizer).fit(texts, labels).predict(texts)`.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder passed in is never changed
    method : "features" (frozen encoder, softmax regression) or "finetune" (all weights)
    progress : called as progress(done, updates) during fine-tuning
    After `fit`: classes_ (K,), encoder_ (the adapted one), head_ = (W (F,K), b (K,)), rate_ the learning rate used.
    """

    def __init__(
        self,
        encoder,
        tokenizer,
        method: str = "features",
        config: AdaptConfig = AdaptConfig(),
        progress=None,
    ):
        if method not in ("features", "finetune"):
            raise TinylmError(
                f"Classifier: unknown method {method!r}; expected 'features' or 'finetune'."
            )
        self.encoder, self.tokenizer, self.method, self.config = encoder, tokenizer, method, config
        self.progress = progress or (lambda done, updates: None)
        self.head_ = None  # until fit

    def fit(self, texts, labels) -> "Classifier":
        """Adapt to labelled texts. texts (N,) strings, labels (N,) of at least two classes; returns self.

        raises DataError for no texts or one class, ShapeError if the lengths differ, ArgumentError if texts is a string
        """
        texts = strings(texts, "texts")
        labels = as_labels(labels)
        if labels.shape != (len(texts),):
            raise ShapeError(
                f"Classifier: {len(texts)} texts, but labels of shape {labels.shape}; expected one for each."
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

    def _features(self, encoder, layers) -> Features:
        return Features(encoder, self.tokenizer, max_length=self.config.max_length, layers=layers)

    def _fit_features(self, texts, codes) -> None:
        self.features_ = self._features(self.encoder, self.config.layers)
        rows = self.features_.fit_transform(texts)
        regression = SoftmaxRegression(self.config.C, seed=self.config.seed).fit(rows, codes)
        self.encoder_, self.head_ = self.encoder, (regression.weights_, regression.bias_)

    def _fit_all(self, texts, codes) -> None:
        encoded = encode_texts(self.encoder, self.tokenizer, texts, self.config.max_length)
        self.rate_ = self._choose_rate(encoded, codes)
        self._keep(self._tune(encoded, codes, self.rate_))

    def _keep(self, network: _Network) -> None:
        """A tuned network as the parts from which every fitted classifier predicts."""
        self.encoder_, self.features_ = network.encoder, self._features(network.encoder, ("last",))
        self.features_.mean_, self.features_.std_ = (
            network.mean.astype(float),
            1 / network.scale.astype(float),
        )
        self.head_ = (
            network.head.weight.data.T.astype(float),
            network.head.bias.data.astype(float),
        )

    def _choose_rate(self, encoded, codes) -> float:
        """The rate of the grid with the best held-out accuracy inside the labels; the smaller at a tie."""
        rates, splits = (
            sorted(self.config.rates),
            folds(codes, self.config.n_folds, self.config.seed),
        )
        if len(rates) == 1 or not splits:
            return rates[len(rates) // 2]
        hits = np.zeros(len(rates))
        for train, held in splits:
            for i, rate in enumerate(rates):
                self._keep(self._tune(take(encoded, train), codes[train], rate))
                rows = self.features_.standardise(self.features_.encode_means(take(encoded, held)))
                hits[i] += held.size * accuracy(codes[held], np.argmax(self._logits(rows), axis=1))
        return rates[int(np.argmax(hits))]

    def _tune(self, encoded, codes, rate: float) -> _Network:
        """Train a copy of the encoder and a new head for the scheduled number of updates."""
        config = self.config
        features = self._features(duplicate(self.encoder), ("last",))
        rows = features.fit_encoded(encoded)
        network = _Network(
            features.encoder,
            features,
            SoftmaxRegression(config.C, seed=config.seed).fit(rows, codes),
            config,
        )
        optimiser = optim.AdamW(
            network.named_parameters(), lr=rate, weight_decay=config.weight_decay
        )
        updates = config.updates or updates_for(codes.size, config.batch_size)
        network.train()
        for step, rows in zip(
            range(updates), _batches(encoded, config.batch_size, config.seed), strict=False
        ):
            _rewind(network, config.seed, step)
            optimiser.zero_grad()
            F.cross_entropy(network(take(encoded, rows)), codes[rows]).backward()
            multiplier = optim.schedules.linear(step, updates, round(config.warmup * updates))
            norm = optimiser.step(lr=rate * multiplier, max_norm=config.clip)
            if not np.isfinite(norm):
                raise TinylmError(
                    f"fine-tuning diverged: the gradient norm became {norm} at update {step + 1} of "
                    f"{updates}; give smaller rates than {rate}"
                )
            self.progress(step + 1, updates)
        network.eval()
        return network

    def save(self, path, overwrite: bool = False) -> None:
        """Write a run folder: the adapted encoder as `hub.save` does, the head, the labels.

        overwrite : replace a model, run or classifier that the folder holds
        A save that fails or is killed leaves the classifier of before, the new one, or a folder that `load` refuses.
        raises TinylmError before `fit`; CheckpointError if the folder holds anything and overwrite is False;
        DataError if the disk refuses
        """
        self._check_fitted()
        with (
            folders.claim(path, overwrite=overwrite) as folder,
            files.together(folder, hub.HEADS, hub.OURS) as hidden,
        ):
            self._write(hidden)

    def _write(self, folder: Path) -> None:
        """Write all files into a folder that holds none."""
        hub.write(folder, self.encoder_, self.tokenizer)
        head = {"weight": self.head_[0], "bias": self.head_[1]}
        scale = {"mean": self.features_.mean_, "std": self.features_.std_}
        save_tensors(folder / HEAD, head | scale)
        facts = {
            "labels": self.classes_.tolist(),
            "method": self.method,
            "layers": list(self.features_.layers),
        }
        files.write_json(folder / LABELS, facts | {"config": asdict(self.config)})

    @classmethod
    def load(cls, path) -> "Classifier":
        """The fitted classifier that `save` wrote, or `tinylm finetune`.

        raises CheckpointError if a file is missing or damaged, or the parts do not fit together
        """
        path = Path(path)
        facts, (arrays, _) = read_json(path / LABELS), load_tensors(path / HEAD)
        encoder, tokenizer = hub.load(path)
        try:
            self = cls(
                encoder, tokenizer, facts["method"], settings.build(AdaptConfig, facts["config"])
            )
            self.classes_, self.encoder_ = np.array(facts["labels"]), encoder
            if self.classes_.ndim != 1 or self.classes_.dtype == object:
                raise TinylmError(f"labels is {facts['labels']!r}, expected a list of names")
            self.features_ = self._features(encoder, tuple(facts["layers"]))
            self.features_.mean_, self.features_.std_ = arrays["mean"], arrays["std"]
            if not (arrays["std"] > 0).all():
                raise TinylmError("std holds a number that is not above 0")
            self.head_ = (arrays["weight"], arrays["bias"])
            expected = (arrays["mean"].shape[0], len(facts["labels"]))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, TinylmError) as error:
            raise CheckpointError(
                f"{path / LABELS} or {HEAD} lacks a part or is damaged ({error!r}); train the classifier anew."
            ) from error
        if (
            arrays["weight"].shape != expected
            or arrays["bias"].shape != expected[1:]
            or min(expected) < 1
        ):
            raise CheckpointError(
                f"{path / HEAD} has weights {arrays['weight'].shape}, expected {expected}; train anew."
            )
        return self

    def _check_fitted(self) -> None:
        if self.head_ is None:
            raise TinylmError(
                "Classifier: not fitted yet; call fit(texts, labels) or Classifier.load(path) first."
            )

    def _logits(self, rows) -> np.ndarray:
        return rows @ self.head_[0] + self.head_[1]

    def predict_proba(self, texts) -> np.ndarray:
        """Probabilities, (N,K), columns in the order of classes_. raises TinylmError before `fit`."""
        self._check_fitted()
        logits = self._logits(self.features_.transform(texts))
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, texts) -> np.ndarray:
        """The most probable label of each text, (N,)."""
        best = np.argmax(self.predict_proba(texts), axis=1)
        return self.classes_[best]

    def score(self, texts, labels) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))
