"""Fine-tuning: every weight of a pretrained encoder learns from a few labels.

    p(y | text) = softmax(W dropout(standardise(summary(h_1 … h_T))) + b)
    loss = −log p(y | text) + λ · (the text's own loss),    λ = lm_coef

Training starts from the head that softmax regression finds on the frozen encoder. A random head
would send large, meaningless gradients into good features and distort them (Kumar et al. 2022).
Mean and scale of the features are measured once, before the first update, and then stay fixed.

Gradual fine-tuning (Howard & Ruder 2018) protects these features further: the head learns alone at
first, then each pass over the labels unfreezes one layer more, from the top down; a lower layer
learns more slowly than the one above it; and the rate rises for a tenth of a stage and then falls.
Any encoder can be adapted so, layer by layer of its `layer_groups`.

No label outside the given ones is used: the schedule is fixed, and `pooled.py` chooses the rate by
cross-validation inside the labels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinylm import nn, optim, settings
from tinylm.data.batching import endless_buckets
from tinylm.errors import TinylmError
from tinylm.objectives import Objective
from tinylm.settings import above, at_least, between, from_to_below, one_of
from tinylm.tensor import Tensor

from .features import LAYERS, Features
from .goals import CLASSES, Classes
from .linear import GRID, SoftmaxRegression
from .mixing import MIX
from .updates import Stage, learn

# Unless a config says how many: PASSES over the labels, but within these bounds.
PASSES = 5
FEWEST_UPDATES = 60
MOST_UPDATES = 320
GRADUAL: dict[str, Any] = {  # the fields that `AdaptConfig.gradual` sets
    "warmup": 0.1,
    "schedule": "slanted_triangular",
    "schedule_options": {"ratio": 32},
    "layer_decay": 1 / 2.6,
    "head_gap": 1,
    "unfreeze": True,
}

FROZEN = ("max_length", "layers", "C", "seed")  # the fields that count where nothing is fine-tuned


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
    warmup : share of the updates in which the rate rises; after it `schedule` brings it down
    schedule, schedule_options : a name in optim.SCHEDULES, and more arguments for it
    weight_decay, clip : of AdamW
    layer_decay : d, each layer learns d times as fast as the one above; None is one rate for all
    head_gap : g, the top layer learns d^g times as fast as the head; 2 in ELECTRA's code, where the
        embeddings of L layers have d^(L+2), 1 in ULMFiT
    unfreeze : begin with the head alone, and train one layer more after each pass over the labels
    dropout : on the pooled features, before the head
    lm_coef : λ, the weight of the texts' own loss beside the task's (GPT-1: 0.5); above 0 the
        encoder must predict next tokens
    n_folds : of the cross-validation that chooses the rate

    >>> AdaptConfig(rates=())
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: AdaptConfig: rates is empty; expected at least one value.
    >>> AdaptConfig(max_length=512).gradual().schedule
    'slanted_triangular'
    """

    ranges = {
        "max_length": at_least(1),
        "C": above(0),
        "rates": above(0),
        "updates": at_least(1),
        "batch_size": at_least(1),
        "warmup": between(0, 1),
        "schedule": one_of(*optim.SCHEDULES),
        "weight_decay": at_least(0),
        "clip": above(0),
        "layer_decay": above(0, 1),
        "head_gap": at_least(0),
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
    schedule: str = "linear"
    schedule_options: dict = field(default_factory=dict)
    weight_decay: float = 0.01
    clip: float = 1.0
    layer_decay: float | None = None
    head_gap: int = 2
    unfreeze: bool = False
    dropout: float = 0.1
    lm_coef: float = 0.0
    n_folds: int = 2
    seed: int = 0

    def check(self) -> None:
        """Refuse a config without a rate, a C or a layer to try.   raises TinylmError

        raises ArgumentError for options that the schedule lacks
        """
        for name in ("rates", "C", "layers"):
            if not getattr(self, name):
                raise TinylmError(f"AdaptConfig: {name} is empty; expected at least one value.")
        if MIX in self.layers and len(self.layers) > 1:
            raise TinylmError(f"AdaptConfig: layers is {self.layers}; {MIX!r} stands alone.")
        optim.schedules.check_options(self.schedule, self.schedule_options)

    @property
    def mixes(self) -> bool:
        """Whether the task learns a mix of the layers."""
        return self.layers == (MIX,)

    @property
    def middle_rate(self) -> float:
        """The rate to take where nothing can be held out to choose by."""
        return sorted(self.rates)[len(self.rates) // 2]

    def multiplier(self, step: int, steps: int) -> float:
        """The schedule's share of the peak rate at update `step` of `steps`, counted from 0."""
        options = self.schedule_options
        return optim.schedules.multiplier(self.schedule, step, steps, self.warmup, **options)

    def by(self, method: str) -> "AdaptConfig":
        """How a method adapts: as `gradual` says for the one of that name, else as these fields."""
        return self.gradual() if method == "gradual" else self

    def gradual(self) -> "AdaptConfig":
        """The same with ULMFiT's three means against forgetting: how the method "gradual" adapts.

        Slanted triangular rates (up for a tenth of a stage, down to 1/32), a rate of 1/2.6 from
        each layer to the one below, gradual unfreezing. `rates` stay: they are the head's, 0.01 in
        the paper.
        Source: Howard & Ruder 2018, sections 3.2 and 3.3.
        """
        return replace(self, **GRADUAL)


def refuse_own_loss(config: AdaptConfig) -> None:
    """Refuse lm_coef where a task learns from its labels alone.   raises TinylmError"""
    if config.lm_coef:
        raise TinylmError(
            f"{type(config).__name__}: lm_coef is {config.lm_coef}, but this task has no place for "
            "the texts' own loss; leave it out."
        )


def updates_for(n_texts: int, batch_size: int, most: int = MOST_UPDATES) -> int:
    """The number of updates: five passes over the labels, but at least 60 and at most 320.

    most : another number than 320

    >>> [updates_for(n, batch_size=16) for n in (40, 400, 4000)]
    [60, 125, 320]
    >>> updates_for(4000, batch_size=16, most=10_000)
    1250
    """
    updates = PASSES * n_texts // batch_size
    return int(np.clip(updates, FEWEST_UPDATES, most))


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
    regression : SoftmaxRegression, or another linear model, fitted on those features; the head
        starts as a copy of it
    goal : what the head is for
    """

    def __init__(
        self,
        features: Features,
        regression: SoftmaxRegression,
        config: AdaptConfig,
        goal: Classes = CLASSES,
    ):
        self.goal = goal
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
        """Keywords of `encode`, (R,T) each -> scores (B,K). R is B, or 2B if texts are joined."""
        states = self.encoder.encode(**batch)
        return self.classify(states, batch["mask"])

    def classify(self, states: list[Tensor], mask: np.ndarray) -> Tensor:
        """The states of every layer, (R,T,C) each -> scores (B,K)."""
        if self.mix is None:
            pooled = self.encoder.summary(states, mask)  # (R,T,C) -> (R,C)
        else:
            pooled = nn.masked_mean(self.mix(states), mask)
        joined = self.goal.joined((pooled - self.mean) * self.scale)
        return self.head(self.dropout(joined))  # (B,F) -> (B,K)

    def loss(self, batch: dict[str, np.ndarray], targets: Any, lm_coef: float) -> Tensor:
        """The goal's mean loss plus lm_coef times the texts' own loss, in nats."""
        if not lm_coef:
            return self.goal.loss(self(batch), targets)
        states, own = self.encoder.states_and_loss(**batch)
        return self.goal.loss(self.classify(states, batch["mask"]), targets) + lm_coef * own


def tune(
    features: Features,
    encoded: dict[str, np.ndarray],
    targets: Any,
    rate: float,
    config: AdaptConfig,
    progress: Callable[[int, int], None],
    goal: Classes = CLASSES,
) -> Network:
    """Train an encoder and a new head on labelled texts for the scheduled number of updates.

    features : of the encoder's summary, not fitted yet; their encoder changes, so give them a
        `duplicate`
    encoded : N texts as `encode_texts` returns them
    targets : what the goal says of them, by default (N,) class numbers from 0
    progress : called as progress(done, updates)
    returns the network in evaluation mode
    raises TinylmError if training diverges, or if the encoder lacks the loss that lm_coef asks for
    """
    network = started(features, encoded, targets, config, goal)

    def loss(chosen: np.ndarray) -> Tensor:
        return network.loss(*goal.pick(encoded, targets, chosen), config.lm_coef)

    lengths = goal.lengths(encoded, targets)
    return adapt(network, loss, lengths, rate, config, progress)


def started(
    features: Features,
    encoded: dict[str, np.ndarray],
    targets: Any,
    config: AdaptConfig,
    goal: Classes = CLASSES,
) -> Network:
    """A network before its first update: the head is what regression finds on the features.

    The arguments are those of `tune`.
    raises TinylmError if the encoder lacks the loss that lm_coef asks for
    """
    if config.lm_coef:
        features.encoder.need("auxiliary loss")
    rows = goal.joined_rows(features.fit_encoded(encoded))
    regression = goal.regression(config.C, config.seed).fit(rows, targets)
    return Network(features, regression, config, goal)


def adapt(
    network: nn.Module,
    loss: Callable[[np.ndarray], Tensor],
    lengths: np.ndarray,
    rate: float,
    config: AdaptConfig,
    progress: Callable[[int, int], None],
) -> nn.Module:
    """Lower a task's loss on N examples for the scheduled number of updates, all stages of it.

    network : has an `encoder`, an Objective, and a `head`, a Module
    loss : the numbers (B,) of some examples -> their mean loss
    lengths : (N,) tokens of each example; those of similar length share a batch
    returns the network in evaluation mode
    raises TinylmError if training diverges
    """
    n_examples = len(lengths)
    updates = config.updates or updates_for(n_examples, config.batch_size)
    groups = [*network.encoder.layer_groups(), network.head.parameters()]
    per_epoch = -(-n_examples // config.batch_size)  # rounded up
    parts = stages_of(updates, len(groups), per_epoch) if config.unfreeze else [updates]

    def stages() -> Iterator[Stage]:
        for lowest, length in zip(reversed(range(len(parts))), parts, strict=True):
            if config.unfreeze:
                nn.freeze_to(groups, lowest)
            # As in the release, every stage has an optimiser and a schedule of its own.
            trained = parameters_of(network, config.layer_decay, config.head_gap)
            optimiser = optim.AdamW(trained, lr=rate, weight_decay=config.weight_decay)
            yield Stage(optimiser, rate, length)

    def noisy_loss(step: int, chosen: np.ndarray) -> Tensor:
        set_noise(network, config.seed, step)
        return loss(chosen)

    batches = endless_buckets(lengths, config.batch_size, config.seed)
    learn(network, noisy_loss, batches, stages(), updates, config, "fine-tuning", progress)
    return network


def stages_of(updates: int, groups: int, per_epoch: int) -> list[int]:
    """The updates of each stage of gradual unfreezing; a stage trains one group more than before.

    updates : in all     groups : of parameters, the head included
    per_epoch : updates that see every label once. Each stage but the last takes one epoch, or less
        where the updates do not suffice; all that is left is the last one's

    >>> stages_of(60, groups=5, per_epoch=3), stages_of(20, groups=3, per_epoch=11)
    ([3, 3, 3, 3, 48], [6, 6, 8])
    """
    early = min(per_epoch, updates // groups)
    last = updates - early * (groups - 1)
    return [early] * (groups - 1) + [last]


def parameters_of(network: Network, layer_decay: float | None, head_gap: int = 2) -> list:
    """What an optimiser trains: named parameters, or groups whose rates fall from layer to layer.

    layer_decay, head_gap : as in AdaptConfig
    """
    if layer_decay is None:
        return network.named_parameters()
    layers = network.encoder.layer_groups()
    return optim.layerwise(network, layers, layer_decay, top=layer_decay**head_gap)


def set_noise(network: Network, seed: int, step: int) -> None:
    """Give each source of dropout noise its own draws: the encoder 2·step, the head 2·step + 1."""
    for place, noise in enumerate(network.noises()):
        noise.at(seed, 2 * step + place)
