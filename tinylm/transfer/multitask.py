"""Several tasks at once: one trunk learns from all of them, each has a head of its own.

    draw task i with p_i = n_i^a / Σ_j n_j^a,   n_i its labelled texts     a = 1: in proportion
    take one batch of task i;   update the trunk and head i

A batch is of one task alone, so the heads of the others stand still: they get no gradient, and no
weight decay either. What one task learns reaches another through the trunk only. With one task this
is fine-tuning, bit for bit.

Source: Caruana 1997 (hard parameter sharing); Stickland & Murray 2019, section 4.1, for a = 1, 1/2.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm import hub, nn, optim
from tinylm.data.batching import endless_buckets
from tinylm.errors import TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.settings import argument, between
from tinylm.tensor import Tensor

from .classifier import DEFAULTS, Classifier
from .features import encode_texts, take
from .finetune import (
    AdaptConfig,
    Network,
    duplicate,
    parameters_of,
    set_noise,
    started,
    updates_for,
)
from .updates import Stage, learn

FOLDER = re.compile(r"[^/\\\0.][^/\\\0]*")  # a task's name, and that of its folder

Labelled = tuple[Sequence[str], ArrayLike]  # N texts, N labels


class MultiTask:
    """Classifiers that share an encoder: `fit({"topic": (texts, labels)})`, `predict("topic", …)`.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder passed in is never changed
    config : AdaptConfig with one rate, for all tasks
    power : a, how much more often a larger task is drawn
    progress : called as progress(done, updates)
    After `fit`: classifiers_, name -> fitted Classifier, all of one encoder; drawn_, name ->
        batches
    raises TinylmError  for several rates or gradual unfreezing, which are for one task

    >>> MultiTask(None, None, AdaptConfig(rates=(1e-3, 1e-4)))
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: MultiTask: config has 2 rates; give one, which all tasks share.
    """

    def __init__(
        self,
        encoder: Objective,
        tokenizer: Any,
        config: AdaptConfig = DEFAULTS,
        power: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
    ):
        if len(config.rates) != 1:
            raise TinylmError(
                f"MultiTask: config has {len(config.rates)} rates; give one, which all tasks share."
            )
        if config.unfreeze:
            raise TinylmError(
                "MultiTask: gradual unfreezing follows the passes over one task's labels; set "
                "unfreeze to False."
            )
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.config = config
        self.power = argument("MultiTask", "power", power, float, between(0, 1))
        self.progress = progress or (lambda done, updates: None)
        self.classifiers_: dict[str, Classifier] | None = None

    def fit(self, tasks: Mapping[str, Labelled]) -> "MultiTask":
        """Adapt one copy of the encoder to all tasks.

        tasks : name -> (texts, labels)     returns self
        raises TinylmError      for no task, or a name that is no folder's
        raises DataError, ShapeError  as Classifier.fit, for one of them
        """
        if not tasks:
            raise TinylmError("MultiTask: there is no task; give at least one.")
        for name in tasks:
            if not isinstance(name, str) or not FOLDER.fullmatch(name):
                raise TinylmError(
                    f"MultiTask: a task is called {name!r}; expected a name that a folder may have."
                )
        trunk = duplicate(self.encoder)
        classifiers = {}
        data = {}
        networks = {}
        with one_pool():
            for name, (texts, labels) in tasks.items():
                classifier = Classifier(self.encoder, self.tokenizer, "finetune", self.config)
                texts, codes = classifier.check_labels(texts, labels)
                limit = self.config.max_length
                encoded = encode_texts(self.encoder, self.tokenizer, texts, limit)
                classifiers[name] = classifier
                data[name] = (encoded, codes)
                features = classifier.features_of(trunk)
                networks[name] = started(features, encoded, codes, self.config)
            self._train(networks, data)
        for name, classifier in classifiers.items():
            classifier.keep(networks[name])
        self.classifiers_ = classifiers
        return self

    def predict(self, task: str, texts: Sequence[str]) -> np.ndarray:
        """The labels of some texts in one task, (N,).   raises TinylmError  as `of`"""
        return self.of(task).predict(texts)

    def score(self, task: str, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in one task, in [0, 1].   raises TinylmError  as `of`"""
        return self.of(task).score(texts, labels)

    def of(self, task: str) -> Classifier:
        """The classifier of one task.   raises TinylmError  before `fit`, or for an unknown task"""
        if self.classifiers_ is None:
            raise TinylmError("MultiTask: not fitted yet; call fit first.")
        if task not in self.classifiers_:
            known = ", ".join(self.classifiers_)
            raise TinylmError(f"MultiTask: there is no task {task!r}; there are {known}.")
        return self.classifiers_[task]

    def save(
        self,
        path: str | Path,
        overwrite: bool = False,
        origin: hub.Origin = hub.NOTHING_SAID,
    ) -> None:
        """Write a folder for each task, path/name, as Classifier.save does.

        raises TinylmError  before `fit`; the errors of Classifier.save
        """
        if self.classifiers_ is None:
            raise TinylmError("MultiTask: not fitted yet; call fit first.")
        for name, classifier in self.classifiers_.items():
            classifier.save(Path(path) / name, overwrite, origin)

    # ---- training

    def _train(self, networks: dict[str, Network], data: dict) -> None:
        """All updates; each is one batch of one task."""
        config = self.config
        [rate] = config.rates
        sizes = {name: codes.size for name, (_, codes) in data.items()}
        updates = config.updates or updates_for(sum(sizes.values()), config.batch_size)
        trained = []
        batches = {}
        for name, network in networks.items():
            trained += list(parameters_of(network, config.layer_decay, config.head_gap))
            lengths = data[name][0]["mask"].sum(axis=1)
            batches[name] = endless_buckets(lengths, config.batch_size, config.seed)
        optimiser = optim.AdamW(trained, lr=rate, weight_decay=config.weight_decay)
        self.drawn_ = dict.fromkeys(networks, 0)

        def loss(done: int, name: str) -> Tensor:
            self.drawn_[name] += 1
            _only(networks, name)
            set_noise(networks[name], config.seed, done)
            encoded, codes = data[name]
            chosen = next(batches[name])
            return networks[name].loss(take(encoded, chosen), codes[chosen], config.lm_coef)

        order = drawn(sizes, self.power, config.seed)
        stages = [Stage(optimiser, rate, updates)]
        what = "MultiTask: training"
        learn(Together(networks), loss, order, stages, updates, config, what, self.progress)
        for network in networks.values():
            _thaw(network)


class Together(nn.Module):
    """The networks of all tasks as one Module.   networks : name -> Network"""

    def __init__(self, networks: Mapping[str, Network]):
        for number, network in enumerate(networks.values()):
            setattr(self, f"task_{number}", network)


def drawn(sizes: Mapping[str, int], power: float, seed: int) -> Iterator[str]:
    """The tasks of all updates, without end: each drawn with p ∝ size^power.

    >>> order = drawn({"large": 900, "small": 100}, power=1.0, seed=0)
    >>> [next(order) for _ in range(1000)].count("small")
    96
    """
    names = list(sizes)
    weights = np.array([sizes[name] for name in names], float) ** power
    edges = np.cumsum(weights / weights.sum())
    rng = np.random.default_rng([seed, 14])
    while True:
        place = int(np.searchsorted(edges, rng.random(), side="right"))
        yield names[min(place, len(names) - 1)]  # the last edge may be rounded below 1


def _only(networks, name):
    """Freeze what belongs to the other tasks alone: an optimiser leaves frozen parameters be."""
    for network in networks.values():
        for p in own_parameters(network):
            p.requires_grad = False
            p.grad = None
    for p in own_parameters(networks[name]):
        p.requires_grad = True


def _thaw(network):
    """Let all learn again."""
    for p in own_parameters(network):
        p.requires_grad = True


def own_parameters(network: Network) -> list:
    """The parameters of one task: its head, and its mix of the layers if it has one."""
    mix = [] if network.mix is None else network.mix.parameters()
    return [*network.head.parameters(), *mix]
