"""TinyBERT: a narrow model imitates what a wide one computes, layer by layer (Jiao et al. 2020).

The idea: a student need not wait for the teacher's answers, it can copy the way to them: the
vectors of the words, which words attend to which, and the states after each layer. Where the
student is narrower, one learned matrix W carries all of its states to the teacher's width. In the
general stage it does so on plain text. In the task stage, `tinylm.transfer.distil`, it does so on
the texts of a task and then learns the answers of a teacher that was fine-tuned there.

    loss = Σ_{m=0..M} mean((h_m W + b − h'_{k·m})²)       states; m = 0 are the embeddings
         + Σ_{m=1..M} mean((A_m − A'_{k·m})²)             scores of attention before the softmax

Student layer m learns from teacher layer k·m, k = L/M. Sees the masked text x̃; predicts numbers,
not words: no word is counted, no answer of the head is read. `tinybert_loss` below is the objective
as one writes it on paper.

Changes from distil.py: narrower, random first weights, no answers; so the heads of attention must
be as many as the teacher's, and its layers a multiple of the student's.

Source: Jiao et al. 2020, and the released code: its sums are unweighted, its means count padded
places too, where scores are 0 on both sides, and scores of at most −100 count as 0. Differs: W has
a bias, as in the code, not in the paper; texts are corrupted anew in every epoch, as our BERT's.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import TinylmError
from tinylm.settings import at_least
from tinylm.tensor import Tensor, no_grad

from .bert import Bert, BertBatch, BertConfig

LEAST_SCORE = -100.0  # scores up to this stand for "hidden"


def tinybert_loss(states, scores, their_states, their_scores, mask, w, b) -> float:
    """The loss of one batch.

    states, their_states : (B, T, C) and (B, T, C') each, the embeddings and then every layer
    scores, their_scores : (B, H, T, T) each, of every layer     mask : (B, T) bool, True = real
    w : (C', C)     b : (C',)

    >>> h, g, a = np.ones((1, 1, 2)), np.ones((1, 1, 3)), np.ones((1, 1, 1, 1))
    >>> tinybert_loss([h, h], [a], [g, g, 2 * g], [a, 3 * a], [[True]], np.ones((3, 2)), 0)
    5.0
    """
    step = len(their_scores) // len(scores)
    visible = np.asarray(mask)[:, None, None, :]
    loss = 0.0
    for m in range(len(states)):
        loss += np.mean((states[m] @ w.T + b - their_states[step * m]) ** 2)
    for m in range(1, len(states)):
        ours = scores[m - 1]
        theirs = their_scores[step * m - 1]
        ours = np.where(visible & (ours > LEAST_SCORE), ours, 0)
        theirs = np.where(visible & (theirs > LEAST_SCORE), theirs, 0)
        loss += np.mean((ours - theirs) ** 2)
    return float(loss)


@dataclass(frozen=True)
class TinyBertConfig(BertConfig):
    """Sizes as BERT's; the defaults are the published model of 4 layers, 14.5 million parameters.

    teacher_size : width of the teacher's states

    >>> TinyBertConfig(11).num_hidden_layers
    4
    """

    ranges = {"teacher_size": at_least(1, 2**16)}
    hidden_size: int = 312
    num_hidden_layers: int = 4
    intermediate_size: int = 1200
    heads: tuple[str, ...] = ()
    teacher_size: int = 768


class TinyBert(Bert, name="tinybert", encoding="wordpiece"):
    """The student, an encoder without heads. Call `learn_from(teacher)` before its `loss`.

    config : TinyBertConfig     rng : Generator of the initial weights (a fixed one by default)
    .fit : the projection to the teacher's width, shared by all layers

    >>> model = TinyBert(TinyBertConfig.tiny(11, num_hidden_layers=1))
    >>> model.plain().encode(np.array([[5, 6]]))[-1].shape
    (1, 2, 64)
    """

    Config = TinyBertConfig
    model_type = "tinylm-tinybert"
    unit = "squared differences to the teacher, summed over layers"

    def build(self, config: TinyBertConfig, rng: np.random.Generator) -> None:
        """Make the encoder and the projection."""
        super().build(config, rng)
        std = config.initializer_range
        self.fit = nn.Linear(config.hidden_size, config.teacher_size, rng=rng, std=std)
        self.teachers: tuple[Bert, ...] = ()  # no part of the student: a tuple is no Module

    def plain(self) -> Bert:
        """The student as a BERT that others can read, without the projection."""
        names = {field.name for field in dataclasses.fields(BertConfig)}
        model = Bert(BertConfig(**{name: getattr(self.config, name) for name in names}))
        weights = self.state_dict()
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
        if self.words is not None:
            model.spell(self.words, self.special_ids)
        return model.train(self.training)

    # -- the teacher -----------------------------------------------------------------------------

    @classmethod
    def student_config(
        cls, teacher: Any, size: str | None, options: Mapping[str, Any]
    ) -> TinyBertConfig:
        """The config of a teacher's student: half as deep and half as wide, unless options differ.

        Where half of the layers do not divide them, it has the next lower number that does.
        raises TinylmError  for a size: the teacher brings its own
        """
        known = _readable(teacher).config
        if size is not None:
            raise TinylmError(f"the teacher brings its sizes; leave out --config {size}")
        fields = dataclasses.asdict(known)
        heads = known.num_attention_heads
        layers = max(known.num_hidden_layers // 2, 1)
        while known.num_hidden_layers % layers:
            layers -= 1
        fields |= dict(
            num_hidden_layers=layers,
            hidden_size=heads * max(known.hidden_size // (2 * heads), 1),
            intermediate_size=max(known.intermediate_size // 2, 1),
            teacher_size=known.hidden_size,
            heads=(),
        )
        names = {field.name for field in dataclasses.fields(cls.Config)}
        taken = {name: value for name, value in fields.items() if name in names}
        return cls.Config(**taken | dict(options))

    @classmethod
    def stand_in(cls, config: TinyBertConfig, rng: np.random.Generator) -> Bert:
        """An untrained teacher of twice the layers."""
        names = {field.name for field in dataclasses.fields(BertConfig)}
        fields = {name: getattr(config, name) for name in names}
        width = config.teacher_size
        fields |= dict(hidden_size=width, num_hidden_layers=2 * config.num_hidden_layers)
        return Bert(BertConfig(**fields), rng)

    @property
    def teacher(self) -> Bert:
        """The teacher.   raises TinylmError before `learn_from`"""
        if not self.teachers:
            raise TinylmError("This student has no teacher yet; call learn_from(teacher) first.")
        return self.teachers[0]

    def learn_from(self, teacher: Any, begin: bool = True) -> None:
        """Keep a teacher, in evaluation mode; it gets no gradients and is not saved with us.

        begin : nothing to take over: the student's first weights are random
        raises TinylmError  if layers, heads, widths or vocabularies do not fit
        """
        theirs = _readable(teacher).config
        ours = self.config
        fits = (theirs.vocab_size, theirs.hidden_size) == (ours.vocab_size, ours.teacher_size)
        fits = fits and theirs.num_attention_heads == ours.num_attention_heads
        layers = ours.num_hidden_layers
        if not fits or not layers or theirs.num_hidden_layers % layers:
            raise TinylmError(
                f"A teacher of {theirs.num_hidden_layers} layers, {theirs.num_attention_heads} "
                f"heads, {theirs.hidden_size} wide, with {theirs.vocab_size} words does not fit "
                f"a student of {layers} layers, {ours.num_attention_heads} heads, teacher_size = "
                f"{ours.teacher_size}, with {ours.vocab_size} words; the teacher's layers must be "
                "a multiple of the student's, all else equal."
            )
        self.teachers = (teacher.eval(),)

    # -- learning --------------------------------------------------------------------------------

    def loss(self, batch: BertBatch) -> tuple[Tensor, dict[str, Any]]:
        """The sum of the squared differences, and its three kinds: embeddings, states, scores.

        raises TinylmError  before `learn_from`
        """
        loss, parts = self._compared(batch.ids, batch.mask, batch.token_types)
        parts["tokens"] = int(batch.mask.sum())
        return loss, parts

    def loss_of_texts(self, ids, mask, token_types=None) -> Tensor:
        """The same loss on texts without gaps, for the task stage.

        ids, token_types : (B, T) integers     mask : (B, T) bool, True = a real token
        """
        return self._compared(ids, mask, token_types)[0]

    def _compared(self, *text):
        states, scores = self.looked_into(self.encoder, *text)
        with no_grad():
            shown = self.looked_into(self.teacher.encoder, *text)
        return self.imitate(states, scores, *shown, text[1])

    @staticmethod
    def looked_into(
        encoder: nn.Encoder, ids, mask, token_types=None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The states and the attention's scores that an encoder computes.

        ids, token_types : (B, T) integers     mask : (B, T) bool, True = a real token
        returns L + 1 Tensors (B, T, C), L Tensors (B, H, T, T)
        """
        scores: list[Tensor] = []
        states = encoder(ids, mask, token_types, scores=scores)
        return states, scores

    def imitate(
        self,
        states: Sequence[Tensor],
        scores: Sequence[Tensor],
        their_states: Sequence[Tensor],
        their_scores: Sequence[Tensor],
        mask: np.ndarray,
    ) -> tuple[Tensor, dict[str, Any]]:
        """The loss and its parts, from what `looked_into` returns for student and teacher.

        mask : (B, T) bool, True = a real token
        """
        step = len(their_scores) // len(scores)
        visible = np.asarray(mask)[:, None, None, :]
        losses = []
        for m, state in enumerate(states):
            losses.append(_apart(self.fit(state), their_states[step * m]))
        embeddings, *hidden = losses
        attention = []
        for m, score in enumerate(scores):
            theirs = _shown(their_scores[step * (m + 1) - 1], visible)
            attention.append(_apart(_shown(score, visible), theirs))
        loss = embeddings + sum(hidden) + sum(attention)
        tokens = int(np.sum(mask))
        parts = {"embeddings": embeddings, "states": sum(hidden), "scores": sum(attention)}
        return loss, {name: (part.item() * tokens, tokens) for name, part in parts.items()}


def _shown(scores, visible):
    """The scores of the keys that may be seen, 0 for the others and for those up to −100."""
    return F.where(visible & (scores.data > LEAST_SCORE), scores, 0.0)


def _apart(ours, theirs):
    """The mean squared difference of two Tensors; no gradient reaches the second."""
    return F.mse_loss(ours, Tensor(theirs.data.astype(ours.dtype)))


def _readable(teacher):
    """The teacher as it is.   raises TinylmError  if it is no BERT"""
    if not isinstance(teacher, Bert) or isinstance(teacher, TinyBert):
        raise TinylmError(f"A {teacher.name} cannot teach this student; give a BERT.")
    return teacher
