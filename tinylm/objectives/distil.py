"""DistilBERT: a small model learns what a large one would say (Sanh et al. 2019).

The idea: a trained model knows more than the one right word. Of "the [MASK] barked" it says that
dog is likely, puppy less so, and theory not at all. A student of half the layers learns these
soft answers at every token beside the gaps themselves, and it begins with every other layer of its
teacher. It keeps most of what the teacher can do at half the cost.

    q = softmax(s/τ), p = softmax(z/τ)          scores of student and teacher, temperature τ
    loss = α_ce · τ² · 1/N Σ_t KL(p_t ‖ q_t)                      over all N real tokens
         + α_mlm · −1/P Σ_{t masked} log p(x_t | x̃)               as in bert.py
         + α_cos · 1/N Σ_t (1 − cos(h_t, h'_t))                   the last layers' states

Sees x̃, both directions; predicts the teacher's distribution at every token. The factor τ² makes up
for gradients that shrink with 1/τ². `soft_loss` below is the first line as one writes it on paper.

Changes from bert.py: no token types, no pooler, no second task; half the layers; rare words are
masked more often, in proportion to count^−0.7. Its folder is a DistilBERT's. With `twin` the same
student begins with the same layers and then learns the gaps alone: what did the soft answers add?

Source: Sanh et al. 2019, and the released code. Differs: a share of each piece is masked, where the
release draws the same share of the whole batch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm import ops as F
from tinylm.data import Corpus, masking
from tinylm.errors import ArgumentError, TinylmError
from tinylm.settings import above, at_least
from tinylm.tensor import Tensor, no_grad

from .bert import Bert, BertBatch, BertConfig

EPS = 1e-12  # of every norm of a DistilBERT; its config.json has no field for it
OWN = ("type_vocab_size", "heads", "next_sentence")  # a student's, whatever its teacher has


def soft_loss(student, teacher, temperature: float = 2.0) -> float:
    """τ² · KL(p ‖ q) in nats, for the scores of one token.

    student, teacher : (V,) scores

    >>> soft_loss([0.0, 1.0], [5.0, 6.0])
    0.0
    >>> round(soft_loss([0.0, 0.0], [0.0, 99.0], temperature=1.0), 4)  # a sure teacher: log 2
    0.6931
    """

    def softened(scores):
        chances = np.exp((np.asarray(scores) - max(scores)) / temperature)
        return chances / chances.sum()

    loss = 0.0
    for p, q in zip(softened(teacher), softened(student), strict=True):
        if p > 0:
            loss += p * np.log(p / q)
    return float(temperature**2 * loss)


def layers_taken(of_teacher: int, layers: int) -> list[int]:
    """The teacher's layers that a student begins with: evenly spaced, the first and the last too.

    >>> layers_taken(12, 6)
    [0, 2, 4, 7, 9, 11]
    >>> layers_taken(4, 1)
    [0]
    """
    return np.linspace(0, of_teacher - 1, layers).round().astype(int).tolist()


@dataclass(frozen=True)
class DistilConfig(BertConfig):
    """Sizes as BERT's, and the published recipe.

    temperature : τ     alpha_ce, alpha_mlm, alpha_cos : weights of the three losses
    alpha_mse : weight of the squared distance of the scores, summed over the vocabulary
    restrict_ce_to_mask : soft answers at the masked places only
    mlm_smoothing : words are masked in proportion to count^−mlm_smoothing; 0: all alike
    freeze_pos_embs : the positions stay the teacher's
    twin : the teacher gives the first layers, but no answers; evaluation still measures against it

    >>> DistilConfig(11).num_hidden_layers
    6
    >>> DistilConfig(11, type_vocab_size=2)
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: DistilConfig: a DistilBERT has type_vocab_size = 0, heads = \
('masked',), next_sentence = False and layer_norm_eps = 1e-12; leave them so.
    """

    ranges = {
        "temperature": above(0),
        "alpha_ce": at_least(0),
        "alpha_mlm": at_least(0),
        "alpha_cos": at_least(0),
        "alpha_mse": at_least(0),
        "mlm_smoothing": at_least(0),
    }
    changeable = (
        *BertConfig.changeable,
        *"temperature alpha_ce alpha_mlm alpha_cos alpha_mse".split(),
        *"restrict_ce_to_mask mlm_smoothing freeze_pos_embs twin".split(),
    )
    num_hidden_layers: int = 6
    type_vocab_size: int = 0
    heads: tuple[str, ...] = ("masked",)
    next_sentence: bool = False
    temperature: float = 2.0
    alpha_ce: float = 5.0
    alpha_mlm: float = 2.0
    alpha_cos: float = 1.0
    alpha_mse: float = 0.0
    restrict_ce_to_mask: bool = False
    mlm_smoothing: float = 0.7
    freeze_pos_embs: bool = True
    twin: bool = False

    def check(self) -> None:
        """Check the fields that depend on each other.

        raises ArgumentError  for a model that no DistilBERT is     ShapeError  as BertConfig
        """
        super().check()
        has = (self.type_vocab_size, self.heads, self.next_sentence, self.layer_norm_eps)
        if has != (0, ("masked",), False, EPS):
            raise ArgumentError(
                "DistilConfig: a DistilBERT has type_vocab_size = 0, heads = ('masked',), "
                f"next_sentence = False and layer_norm_eps = {EPS}; leave them so."
            )


class Distil(Bert, name="distil", encoding="wordpiece"):
    """The student. Call `learn_from(teacher)` before its `loss`; all else is as in Bert.

    config : DistilConfig     rng : numpy Generator of the initial weights (a fixed one by default)

    >>> model = Distil(DistilConfig.tiny(11, num_hidden_layers=1))
    >>> teacher = Distil.stand_in(model.config, np.random.default_rng(0))
    >>> model.learn_from(teacher)
    >>> len(teacher.encoder.h), len(model.encoder.h), model.teacher is teacher
    (2, 1, True)
    """

    Config = DistilConfig
    model_type = "distilbert"
    unit = "nats, weighted sum of soft, masked and cosine loss"
    guesses = None  # rare tokens are masked more often than they stand in the text
    training_defaults = dict(
        lr=5e-4,
        eps=1e-6,
        weight_decay=0.0,
        warmup=0.05,
        schedule="linear",
        clip=5.0,
    )

    def build(self, config: DistilConfig, rng: np.random.Generator) -> None:
        """Make the encoder and the head of masked words."""
        super().build(config, rng)
        self.teachers: tuple[Bert, ...] = ()  # no part of the student: a tuple is no Module
        self.pick_weights: np.ndarray | None = None

    @classmethod
    def reader(cls, fields: dict[str, Any]) -> type[Bert]:
        """The class that reads a config.json: ours has the losses' weights, others' are a Bert."""
        return cls if "alpha_ce" in fields else Bert

    # -- the teacher -----------------------------------------------------------------------------

    @classmethod
    def student_config(
        cls, teacher: Any, size: str | None, options: Mapping[str, Any]
    ) -> DistilConfig:
        """The config of a teacher's student: half the layers, all other sizes the teacher's.

        size : None, the teacher brings its sizes     options : fields of the config
        raises TinylmError  for a size, or an option that does not fit weights of the teacher
        """
        known = _readable(teacher).config
        fields = dataclasses.asdict(known)
        fields["num_hidden_layers"] = max(known.num_hidden_layers // 2, 1)
        for name in OWN:
            del fields[name]
        free = {"num_hidden_layers", *cls.Config.changeable}
        for name, value in options.items():
            if name not in free and fields.get(name) != value:
                raise TinylmError(
                    f"{name} is the teacher's and cannot become {value}; "
                    f"you may change {', '.join(sorted(free))}"
                )
        if size is not None:
            raise TinylmError(f"the teacher brings its sizes; leave out --config {size}")
        names = {field.name for field in dataclasses.fields(cls.Config)}
        taken = {name: value for name, value in fields.items() if name in names}
        return cls.Config(**taken | dict(options))

    @classmethod
    def stand_in(cls, config: DistilConfig, rng: np.random.Generator) -> Bert:
        """An untrained teacher of twice the layers."""
        names = {field.name for field in dataclasses.fields(BertConfig)} - set(OWN)
        fields = {name: getattr(config, name) for name in names}
        fields["num_hidden_layers"] = 2 * config.num_hidden_layers
        return Bert(BertConfig(**fields), rng)

    @property
    def teacher(self) -> Bert:
        """The teacher.   raises TinylmError before `learn_from`"""
        if not self.teachers:
            raise TinylmError("This student has no teacher yet; call learn_from(teacher) first.")
        return self.teachers[0]

    def learn_from(self, teacher: Any, begin: bool = True) -> None:
        """Keep a teacher, in evaluation mode; it gets no gradients and is not saved with us.

        begin : also take over its tables, its head and some of its layers, see `layers_taken`
        raises TinylmError  if it fills no gaps, or has another width or vocabulary
        """
        teacher = _readable(teacher)
        for name in ("vocab_size", "hidden_size"):
            theirs = getattr(teacher.config, name)
            ours = getattr(self.config, name)
            if theirs != ours:
                raise TinylmError(
                    f"The teacher's {name} is {theirs}, the student's {ours}; they must agree."
                )
        self.teachers = (teacher.eval(),)
        if begin:
            self._begin_as(teacher)
        positions = self.encoder.embeddings.positions.weight
        positions.requires_grad = not self.config.freeze_pos_embs

    def _begin_as(self, teacher):
        """Take over the teacher's weights as far as we have their places."""
        depth = teacher.config.num_hidden_layers
        if self.config.num_hidden_layers > depth:
            raise TinylmError(
                f"The student has {self.config.num_hidden_layers} layers, its teacher {depth}; "
                "give num_hidden_layers of at most so many."
            )
        taken = layers_taken(depth, self.config.num_hidden_layers)
        weights = teacher.state_dict()
        own = {}
        for name in self.state_dict():
            source = name
            if name.startswith("encoder.h."):
                number, rest = name.removeprefix("encoder.h.").split(".", 1)
                source = f"encoder.h.{taken[int(number)]}.{rest}"
            own[name] = weights[source]
        self.load_state_dict(own)

    # -- learning --------------------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus, and how often each word is to be masked.   raises TinylmError as Bert"""
        super().prepare(corpus)
        counts = np.maximum(corpus.counts, 1).astype(float)
        self.pick_weights = counts**-self.config.mlm_smoothing

    def choose(self, ids, candidates, begins_word, n, rng) -> np.ndarray:
        """n places of a piece to hide, rare words more often; whole words are all alike."""
        if begins_word is not None or self.pick_weights is None:
            return super().choose(ids, candidates, begins_word, n, rng)
        weights = self.pick_weights[ids[candidates]]
        return masking.pick_weighted(candidates, weights, n, rng)

    def loss(self, batch: BertBatch) -> tuple[Tensor, dict[str, Any]]:
        """The weighted sum, and its parts; in evaluation also "kl", to the teacher at τ = 1.

        raises TinylmError  before `learn_from`
        """
        c = self.config
        states = self.encode(batch.ids, batch.mask)[-1]
        picked = F.gather_positions(states, batch.picks)  # (B,T,C) -> (B,P,C)
        masked = self.head.loss(picked, self.token_table, batch.targets)
        parts: dict[str, Any] = {"masked": masked.item()}
        loss = c.alpha_mlm * masked
        if c.twin and (self.training or not self.teachers):
            return loss, parts
        soft, cosine = self._compare(batch, states, parts)
        return (loss if c.twin else loss + soft + c.alpha_cos * cosine), parts

    def _compare(self, batch, states, parts):
        """What the student says and holds beside its teacher: weighted soft loss, cosine loss.

        states : (B, T, C)     parts : gets the parts of the loss
        """
        c = self.config
        real = np.flatnonzero(batch.mask)  # of the flattened (B·T,)
        with no_grad():
            shown = self.teacher.encode(batch.ids, batch.mask)[-1]
        own = _rows(states, real)  # (B,T,C) -> (N,C)
        theirs = Tensor(_rows(shown, real).data.astype(own.dtype))
        cosine = F.cosine_embedding_loss(own, theirs, np.ones(real.size))
        parts["cosine"] = (cosine.item() * real.size, real.size)
        if c.restrict_ce_to_mask:
            own = _rows(states, _places(batch))
            shown = _rows(shown, _places(batch))
        else:
            shown = _rows(shown, real)
        with no_grad():
            answers = self.teacher.head(shown, self.teacher.token_table).data
        answers = answers.astype(own.dtype)
        scores = self.head(own, self.token_table)  # (N,C) -> (N,V)
        count = len(answers)
        soft = soften(scores, answers, c.temperature)
        parts["soft"] = (soft.item() * count, count)
        if not self.training:
            parts["kl"] = (soften(scores, answers, 1.0).item() * count, count)
        loss = c.alpha_ce * c.temperature**2 * soft
        if c.alpha_mse:
            loss = loss + (c.alpha_mse / count) * F.mse_loss(scores, answers, reduction="sum")
        return loss, cosine


def soften(scores: Tensor, answers: np.ndarray, temperature: float) -> Tensor:
    """The mean of KL(p ‖ q) in nats over tokens, p and q softened by the temperature.

    scores : (N, V) of the student     answers : (N, V), the teacher's scores
    """
    return F.kl_div_with_logits(scores, answers, temperature)


def _readable(teacher):
    """The teacher as it is.   raises TinylmError  if it is no model that fills gaps"""
    if not isinstance(teacher, Bert) or teacher.head is None:
        raise TinylmError(
            f"A {teacher.name} cannot teach this student; "
            "give a BERT or DistilBERT with its head of masked words."
        )
    return teacher


def _rows(states, places):
    """Some rows of states.   (B, T, C), places (N,) in the flattened (B·T,) -> (N, C)"""
    return F.embedding(places, states.reshape(-1, states.shape[-1]))


def _places(batch):
    """The masked places in the flattened (B·T,)."""
    rows, columns = np.nonzero(batch.picks >= 0)
    return rows * batch.ids.shape[1] + batch.picks[rows, columns]
