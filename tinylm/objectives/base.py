"""What an objective is: the few methods that are its own, and everything that is the same for most.

    class LogBilinear(tinylm.Objective, name="lbl", encoding="words"):     # registered by being defined
        @dataclass(frozen=True)
        class Config(tinylm.Objective.Config):
            width: int = 64
        def build(self, config, rng): ...          the parameters
        def batch(self, step, seed): ...           a frozen dataclass with `tokens`, a pure function
        def loss(self, batch): ...                 (scalar Tensor, components)
        def encode(self, ids, mask=None): ...      the embeddings, then every layer

These five are enough to pretrain, resume, fine-tune, look at neighbours and stand in a comparison. An
ability that not every objective has is an attribute that is None where it is missing, and `need` says
so in a sentence.
"""

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinylm import nn, settings
from tinylm.data import Corpus
from tinylm.errors import TinylmError
from tinylm.objectives import registry
from tinylm.settings import at_least
from tinylm.tensor import Tensor, no_grad

OWN = ("build", "batch", "loss", "encode")  # what every objective defines
ABILITIES = {  # ability -> the attributes that make it, and what an objective without it cannot do
    "generation": (
        ("start_cache", "step"),
        "it cannot continue text; choose a causal one such as gpt",
    ),
    "scores": (("logits",), "it cannot score tokens; choose one that defines logits"),
}
MOST_TOKENS = 2**24  # kinds of tokens: more than any published vocabulary
TABLE_ROWS = 4096  # tokens whose vectors are read in one go


@dataclass(frozen=True)
class ObjectiveConfig(settings.Config):
    """Sizes and rates of an objective; a subclass adds its own fields, under their published names.

    vocab_size : V, kinds of tokens
    """

    ranges = {"vocab_size": at_least(1, MOST_TOKENS)}
    vocab_size: int

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "ObjectiveConfig":
        """Trains in a minute on a laptop; the defaults, unless a subclass says otherwise."""
        return cls(vocab_size, **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "ObjectiveConfig":
        """What `tinylm compare` trains in some minutes; the defaults, unless a subclass says otherwise."""
        return cls(vocab_size, **over)


class Objective(nn.Module):
    """A model together with what it learns from text. Subclasses are chapters, the package's or anybody's.

    config : of the class's own Config     rng : numpy Generator of the initial weights (a fixed one by default)

    Class attributes, each with a default:
    name : what commands call it            model_type : what config.json calls it, `tinylm-<name>` by default
    encoding : the encoding it prefers, a kind that text.learn knows
    causal : True where position t of `encode` sees nothing after t, and the loss is the text's probability
    unit : what the loss counts             by_line : True where each line of a text is a document of its own
    training_defaults : its values for TrainConfig
    steps_per_epoch : updates in which the whole text is seen once, 0 where that means nothing
    max_length : tokens that `encode` reads at most, None for any number
    not_derivatives : parameter name -> why its gradient is on purpose not the loss's derivative
    """

    Config: ClassVar[type] = ObjectiveConfig
    name: ClassVar[str] = ""
    model_type: ClassVar[str] = ""
    encoding: ClassVar[str] = "bpe"
    causal: ClassVar[bool] = False
    unit: ClassVar[str] = "nats per prediction"
    by_line: ClassVar[bool] = False
    training_defaults: ClassVar[dict[str, Any]] = {}
    steps_per_epoch: int = 0
    max_length: int | None = None
    not_derivatives: dict[str, str] = {}

    # Abilities. None: this objective does not have it, see `need`.
    fast_step = None  # (batch, lr) -> mean loss: a lock-free kernel that makes the update itself
    logits = None  # (ids, mask=None, **family) -> Tensor (B, T, V): the head's scores
    start_cache = None  # (batch_size, length) -> a cache for `step`
    step = None  # (ids (B, T), cache) -> array (B, V): the next token's scores

    def __init_subclass__(cls, name: str | None = None, encoding: str | None = None, **more):
        super().__init_subclass__(**more)
        if encoding is not None:
            cls.encoding = encoding
        if name is None:
            return
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise TinylmError(
                f"An objective cannot be called {name!r}; use small letters, digits, - and _."
            )
        missing = [method for method in OWN if getattr(cls, method) is vars(Objective)[method]]
        if missing:
            raise TinylmError(
                f"The objective {name} lacks {', '.join(missing)}; it must define {', '.join(OWN)}."
            )
        cls.name = name
        if "model_type" not in vars(cls):
            cls.model_type = f"tinylm-{name}"
        registry.add(cls)

    def __init__(self, config, rng: np.random.Generator | None = None):
        self.config = config
        self.corpus: Corpus | None = None
        self.fingerprint: str | None = None
        self.words: list[str] | None = None
        self.special_ids: tuple[int, ...] = ()
        try:
            self.build(config, np.random.default_rng(0) if rng is None else rng)
        except MemoryError as error:
            raise TinylmError(
                f"{type(self).__name__} does not fit into the memory of this machine ({error}); "
                "give a smaller vocabulary or smaller sizes."
            ) from error

    # -- what is an objective's own --------------------------------------------------------------

    def build(self, config, rng: np.random.Generator) -> None:
        """Make the parameters, as attributes of self: nn.Parameter, or modules that hold some."""
        registry.lacking(self, "build")

    def batch(self, step: int, seed: int) -> Any:
        """The batch of a step: a frozen dataclass whose `tokens` counts its predictions.

        A pure function of the prepared corpus, the step and the seed: so to seek is to resume.
        """
        registry.lacking(self, "batch")

    def loss(self, batch) -> tuple[Tensor, dict[str, float]]:
        """The mean loss of a batch, and its components by name, in nats per predicted token.

        Where the batch's `tokens` are not what the mean is over, the component "tokens" says how many.
        """
        registry.lacking(self, "loss")

    def encode(self, ids, mask=None, **family) -> list[Tensor]:
        """What adaptation builds on: the embeddings, then every layer's states.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token     returns Tensors (B, T, C)
        """
        registry.lacking(self, "encode")

    # -- what is the same for most ---------------------------------------------------------------

    def need(self, ability: str) -> None:
        """Insist on an ability, a key of ABILITIES.   raises TinylmError if this objective lacks it"""
        parts, without = ABILITIES[ability]
        if any(getattr(self, part) is None for part in parts):
            raise TinylmError(f"{self.name} has no {ability}: {without}.")

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """What the encoding says of its tokens: how they are spelled, and which of them are special.

        words : V strings at most, by id     special_ids : ids that no text produces
        """
        self.words = list(words)
        self.special_ids = tuple(special_ids)

    def prepare(self, corpus: Corpus) -> None:
        """Keep a corpus to learn from.

        raises TinylmError  if its ids do not fit the model
        """
        if corpus.vocab_size > self.config.vocab_size:
            raise TinylmError(
                f"The corpus has {corpus.vocab_size} kinds of tokens, the model "
                f"{self.config.vocab_size}; encode the text with the model's own tokenizer."
            )
        self.corpus = corpus
        self.fingerprint = corpus.fingerprint

    def prepared(self) -> Corpus:
        """The corpus that `prepare` was given.   raises TinylmError before that"""
        if self.corpus is None:
            raise TinylmError(
                f"This {type(self).__name__} has not seen a text yet; call prepare(corpus) first."
            )
        return self.corpus

    def evaluation_batches(self, corpus: Corpus) -> Iterator[Any]:
        """Batches that cover another corpus once: by default those of `batch`, until as many tokens were predicted.

        raises TinylmError  if the corpus cannot be used
        """
        other = copy.copy(self)  # it shares the weights
        other.prepare(corpus)
        predicted = 0
        step = 0
        while predicted < len(corpus) - 1:
            batch = other.batch(step, 0)
            if batch.tokens < 1:
                return
            predicted += batch.tokens
            step += 1
            yield batch

    def embedding_table(self) -> np.ndarray:
        """The vectors of all tokens, (V, C): by default what `encode` says of each token alone."""
        ids = np.arange(self.config.vocab_size)[:, None]  # (V,1)
        with no_grad():
            rows = [
                self.encode(ids[first : first + TABLE_ROWS])[0].data[:, 0]  # (B,1,C) -> (B,C)
                for first in range(0, len(ids), TABLE_ROWS)
            ]
        return np.concatenate(rows)

    def subwords(self) -> Any:
        """What gives vectors to words outside the vocabulary, see `Vectors`; by default nothing does, {}."""
        return {}

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Lists of Parameters from the bottom up, for freezing and layer-wise rates: by default all in one."""
        return [self.parameters()]

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that are carried from step to step beside the weights, by name: a resumed run needs them too."""
        return {}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take what `state` gave.   raises CheckpointError if something is missing or misshapen"""

    @classmethod
    def reader(cls, fields: dict[str, Any]) -> type["Objective"]:
        """The class that reads a config.json of this model_type: by default this one.

        fields : of the config.json, which an older version may have written
        """
        return cls

    def export(self, path: Path) -> None:
        """Write further files that follow from the weights into a folder that holds config and tokenizer."""
