"""A classifier teaches a smaller one: soft answers, no labels (Hinton et al. 2015).

    loss = τ² · KL(p ‖ q),    p = softmax(log p_teacher / τ),  q = softmax(s / τ)

Texts need no labels: the teacher's probabilities take their place. Any classifier can teach any
encoder; each reads the texts by its own encoding. A student that imitates layers may first
do so with a teacher that was fine-tuned on the task: layers, then answers is TinyBERT's way.

Source: Jiao et al. 2020, section 3.2. Differs: no augmented texts; the head reads our `summary`,
standardised, not relu(pooled).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinylm import ops as F
from tinylm import optim
from tinylm.arguments import strings
from tinylm.data.batching import endless_buckets
from tinylm.errors import TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.settings import above, argument
from tinylm.tensor import Tensor

from .classifier import DEFAULTS, Classifier
from .features import encode_texts, take
from .finetune import (
    AdaptConfig,
    Network,
    duplicate,
    parameters_of,
    refuse_own_loss,
    updates_for,
)
from .linear import SoftmaxRegression
from .updates import Stage, learn

Progress = Callable[[int, int], None]
Encoded = dict[str, np.ndarray]


def distilled(
    teacher: Classifier,
    student: Objective,
    tokenizer: Any,
    texts: Sequence[str],
    config: AdaptConfig = DEFAULTS,
    temperature: float = 1.0,
    progress: Progress = lambda done, updates: None,
) -> Classifier:
    """A classifier on a copy of `student` that gives the teacher's answers.

    teacher : fitted     student, tokenizer : a smaller encoder, as hub.load returns them
    texts : (N,) strings, without labels
    config : its middle rate is used; the number of updates is `updates_for` unless it says
    temperature : τ; 1 as in TinyBERT
    raises TinylmError  if the teacher is not fitted, for lm_coef or unfreeze, or if training
        diverges
    raises DataError    if there is no text
    """
    refuse_own_loss(config)
    if config.unfreeze:
        raise TinylmError("distilled: all layers learn at once; set unfreeze to False.")
    temperature = argument("distilled", "temperature", temperature, float, above(0))
    texts = strings(texts, "texts")
    chances = teacher.predict_proba(texts)  # (N,K)
    encoded = encode_texts(student, tokenizer, texts, config.max_length)
    found = Classifier(student, tokenizer, "finetune", config)
    features = found.features_of(duplicate(student))
    rows = features.fit_encoded(encoded)
    network = Network(features, _blank(rows.shape[1], chances.shape[1]), config)
    answers = _softened(chances, temperature)

    def loss(chosen: np.ndarray) -> Tensor:
        scores = network(take(encoded, chosen))  # (B,K)
        log_q = F.log_softmax(scores * (1 / temperature))
        return temperature**2 * F.kl_div(log_q, answers[chosen], reduction="batchmean")

    with one_pool():
        trained = parameters_of(network, config.layer_decay, config.head_gap)
        _learn(network, trained, loss, encoded, config, progress)
    found.classes_ = teacher.classes_
    found.rate_ = config.middle_rate
    found.keep(network)
    return found


def imitated(
    teacher: Classifier,
    student: Objective,
    texts: Sequence[str],
    config: AdaptConfig = DEFAULTS,
    progress: Progress = lambda done, updates: None,
) -> Objective:
    """A copy of a student that has imitated the layers of a fine-tuned teacher on a task's texts.

    teacher : fitted, with the student's words     texts : (N,) strings
    raises TinylmError  if the student imitates no layers or does not fit the teacher
    """
    student.need("imitation")
    copy = duplicate(student)
    copy.learn_from(teacher.encoder_)
    encoded = encode_texts(copy, teacher.tokenizer, strings(texts, "texts"), config.max_length)

    def loss(chosen: np.ndarray) -> Tensor:
        return copy.loss_of_texts(**take(encoded, chosen))

    with one_pool():
        named = copy.named_parameters()
        _learn(copy, named, loss, encoded, config, progress)
    return copy


def _learn(model, trained, loss, encoded, config, progress) -> None:
    """Lower a loss of some rows of the texts, with the schedule of fine-tuning.

    trained : what the optimiser moves     loss : row numbers -> Tensor
    """
    updates = config.updates or updates_for(len(encoded["ids"]), config.batch_size)
    batches = endless_buckets(encoded["mask"].sum(axis=1), config.batch_size, config.seed)
    rate = config.middle_rate
    optimiser = optim.AdamW(trained, lr=rate, weight_decay=config.weight_decay)

    def noisy_loss(step, chosen):
        model.rewind(config.seed, step)
        return loss(chosen)

    stages = [Stage(optimiser, rate, updates)]
    learn(model, noisy_loss, batches, stages, updates, config, "distillation", progress)


def _blank(n_features, n_classes):
    """A head that prefers no class yet."""
    head = SoftmaxRegression()
    head.weights_ = np.zeros((n_features, n_classes))
    head.bias_ = np.zeros(n_classes)
    return head


def _softened(chances, temperature):
    """softmax(log p / τ).   (N, K) -> (N, K) float32

    >>> _softened(np.array([[0.2, 0.8]]), 2.0).round(3)
    array([[0.333, 0.667]], dtype=float32)
    """
    with np.errstate(divide="ignore"):  # log 0
        scores = np.log(chances) / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
