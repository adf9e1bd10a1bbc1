"""Fine-tuning: every weight of a pretrained encoder learns from a few labels.

    p(y | text) = softmax(W dropout(standardise(summary(h_1 … h_T))) + b)
    loss = −log p(y | text) + λ · (the text's own loss),    λ = lm_coef

Training starts from the head that softmax regression finds on the frozen encoder. A random head
would send large, meaningless gradients into good features and distort them (Kumar et al. 2022).
Mean and scale of the features are measured once, before the first update, and then stay fixed.

No label outside the given ones is used: the schedule is fixed, and `classifier.py` chooses the
learning rate by cross-validation inside the labels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tinylm import nn, optim, settings
from tinylm import ops as F
from tinylm.data.batching import length_buckets
from tinylm.errors import TinylmError
from tinylm.objectives import Objective
from tinylm.settings import above, at_least, between, from_to_below
from tinylm.tensor import Tensor

from .features import LAYERS, Features, take
from .linear import GRID, SoftmaxRegression
from .mixing import MIX

# Unless a config says how many: PASSES over the labels, but within these bounds.
PASSES = 5
FEWEST_UPDATES = 60
MOST_UPDATES = 320


@dataclass(frozen=True)
class AdaptConfig(settings.Config):
    """How an encoder is adapted.

    max_length : tokens read of each text
    seed : of the order of texts, the dropout and the folds of cross-validation
    layers, C : for frozen features, see `pool` and `SoftmaxRegression`. ("mix",) gives the task all
        layers in shares that it learns, in fine-tuning too, in place of the encoder's summary

    The other fields are for fine-tuning.
    rates : peak learning rates; cross-validation inside the labels chooses among several
    updates : how many; None lets `updates_for` decide
    batch_size : texts per update
    warmup : share of the updates in which the rate rises; after it the rate falls linearly to 0
    weight_decay, clip : of AdamW
    layer_decay : d, each layer learns d times as fast as the one above: the top layer d² as fast as
        the head, the embeddings of L layers d^(L+2), as in ELECTRA's code; None is one rate for all
    dropout : on the pooled features, before the head
    lm_coef : λ, the weight of the texts' own loss beside the task's (GPT-1: 0.5); above 0 the
        encoder must predict next tokens
    n_folds : of the cross-validation that chooses the rate

    >>> AdaptConfig(rates=())
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: AdaptConfig: rates is empty; expected at least one value.
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
        "layer_decay": above(0, 1),
        "dropout": from_to_below(0, 1),
        "lm_coef": at_least(0),
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
    layer_decay: float | None = None
    dropout: float = 0.1
    lm_coef: float = 0.0
    n_folds: int = 2
    seed: int = 0

    def check(self) -> None:
        """Refuse a config without a rate, a C or a layer to try.   raises TinylmError"""
        for name in ("rates", "C", "layers"):
            if not getattr(self, name):
                raise TinylmError(f"AdaptConfig: {name} is empty; expected at least one value.")
        if MIX in self.layers and len(self.layers) > 1:
            raise TinylmError(f"AdaptConfig: layers is {self.layers}; {MIX!r} stands alone.")

    @property
    def mixes(self) -> bool:
        """Whether the task learns a mix of the layers."""
        return self.layers == (MIX,)


def updates_for(n_texts: int, batch_size: int) -> int:
    """The number of updates: five passes over the labels, but at least 60 and at most 320.

    >>> [updates_for(n, batch_size=16) for n in (40, 400, 4000)]
    [60, 125, 320]
    """
    updates = PASSES * n_texts // batch_size
    return int(np.clip(updates, FEWEST_UPDATES, MOST_UPDATES))


def twin(encoder: Objective, seed: int = 0) -> Objective:
    """The same architecture with random weights: the encoder without its pretraining."""
    fresh = type(encoder)(encoder.config, np.random.default_rng(seed))
    if encoder.words is not None:
        fresh.spell(encoder.words, encoder.special_ids)
    return fresh


def duplicate(encoder: Objective) -> Objective:
    """An independent copy with the same weights; adapting the copy leaves the original alone."""
    copy = twin(encoder)
    weights = {name: np.array(weight) for name, weight in encoder.state_dict().items()}
    copy.load_state_dict(weights)
    return copy


class Network(nn.Module):
    """Encoder, its summary of a text or a mix of its layers, fixed standardisation, linear head.

    features : Features of that summary or mix, already fitted; their encoder is the one that learns
    regression : SoftmaxRegression fitted on those features; the head starts as a copy of it
    """

    def __init__(self, features: Features, regression: SoftmaxRegression, config: AdaptConfig):
        self.encoder = features.encoder
        self.mix = nn.ScalarMix(features.depth_) if config.mixes else None
        self.mean = features.mean_.astype(np.float32)
        self.scale = (1 / features.std_).astype(np.float32)
        self.dropout = nn.Dropout(config.dropout, nn.Noise(config.seed))
        n_features, n_classes = regression.weights_.shape
        self.head = nn.Linear(n_features, n_classes, rng=np.random.default_rng(config.seed))
        self.head.weight.data[...] = regression.weights_.T
        self.head.bias.data[...] = regression.bias_

    def forward(self, batch: dict[str, np.ndarray]) -> Tensor:
        """Keywords of `encode`, (B,T) each -> logits (B,K)."""
        states = self.encoder.encode(**batch)
        return self.classify(states, batch["mask"])

    def classify(self, states: list[Tensor], mask: np.ndarray) -> Tensor:
        """The states of every layer, (B,T,C) each -> logits (B,K)."""
        if self.mix is None:
            pooled = self.encoder.summary(states, mask)  # (B,T,C) -> (B,C)
        else:
            pooled = nn.masked_mean(self.mix(states), mask)
        standardised = (pooled - self.mean) * self.scale
        return self.head(self.dropout(standardised))  # (B,C) -> (B,K)

    def loss(self, batch: dict[str, np.ndarray], codes: np.ndarray, lm_coef: float) -> Tensor:
        """Mean cross-entropy of the classes plus lm_coef times the texts' own loss, in nats."""
        if not lm_coef:
            return F.cross_entropy(self(batch), codes)
        states, own = self.encoder.states_and_loss(**batch)
        return F.cross_entropy(self.classify(states, batch["mask"]), codes) + lm_coef * own


def tune(
    features: Features,
    encoded: dict[str, np.ndarray],
    codes: np.ndarray,
    rate: float,
    config: AdaptConfig,
    progress: Callable[[int, int], None],
) -> Network:
    """Train an encoder and a new head on labelled texts for the scheduled number of updates.

    features : of the encoder's summary, not fitted yet; their encoder changes, so give them a
        `duplicate`
    encoded : N texts as `encode_texts` returns them     codes : (N,) class numbers from 0
    progress : called as progress(done, updates)
    returns the network in evaluation mode
    raises TinylmError if training diverges, or if the encoder lacks the loss that lm_coef asks for
    """
    if config.lm_coef:
        features.encoder.need("auxiliary loss")
    rows = features.fit_encoded(encoded)
    regression = SoftmaxRegression(config.C, seed=config.seed).fit(rows, codes)
    network = Network(features, regression, config)
    trained = parameters_of(network, config.layer_decay)
    optimiser = optim.AdamW(trained, lr=rate, weight_decay=config.weight_decay)
    updates = config.updates or updates_for(codes.size, config.batch_size)
    warmup = round(config.warmup * updates)
    batches = _batches(encoded["mask"], config.batch_size, config.seed)
    network.train()
    for step in range(updates):
        chosen = next(batches)
        _set_noise(network, config.seed, step)
        optimiser.zero_grad()
        network.loss(take(encoded, chosen), codes[chosen], config.lm_coef).backward()
        multiplier = optim.schedules.linear(step, updates, warmup)
        norm = optimiser.step(lr=rate * multiplier, max_norm=config.clip)
        if not np.isfinite(norm):
            raise TinylmError(
                f"fine-tuning diverged: the gradient norm became {norm} "
                f"at update {step + 1} of {updates}; give smaller rates than {rate}"
            )
        progress(step + 1, updates)
    network.eval()
    return network


def parameters_of(network: Network, layer_decay: float | None) -> list:
    """What an optimiser trains: named parameters, or groups whose rates fall from layer to layer.

    layer_decay : as in AdaptConfig
    """
    if layer_decay is None:
        return network.named_parameters()
    layers = network.encoder.layer_groups()
    return optim.layerwise(network, layers, layer_decay, top=layer_decay**2)


def _batches(mask: np.ndarray, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of texts of similar length, epoch after epoch, without end."""
    lengths = mask.sum(axis=1)
    epoch = 0
    while True:
        yield from length_buckets(lengths, batch_size, seed, epoch)
        epoch += 1


def _set_noise(network: Network, seed: int, step: int) -> None:
    """Give each source of dropout noise its own draws: the encoder 2·step, the head 2·step + 1."""
    for place, noise in enumerate(network.noises()):
        noise.at(seed, 2 * step + place)
