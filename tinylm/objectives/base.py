"""The base of every objective: a subclass gives a config and four methods, this class the rest.

    class LogBilinear(tinylm.Objective, name="lbl", encoding="words"):  # registers itself
        @dataclass(frozen=True)
        class Config(tinylm.Objective.Config):
            width: int = 64
        def build(self, config, rng): ...          makes the parameters
        def batch(self, step, seed): ...           a pure function; a frozen dataclass with `tokens`
        def loss(self, batch): ...                 returns (scalar Tensor, components)
        def encode(self, ids, mask=None): ...      returns the embeddings, then every layer's states

That is enough to pretrain, resume, fine-tune, look at neighbours and stand in a comparison. Some
objectives can do more, such as generate text. The methods for that are attributes of this class,
None by default; `need` raises an error that says what is missing.
"""

import copy
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinylm import nn, settings
from tinylm.data import Corpus
from tinylm.errors import TinylmError
from tinylm.settings import at_least
from tinylm.tensor import Tensor, no_grad
from tinylm.text import Template

from . import registry

OWN = ("build", "batch", "loss", "encode")  # the methods that every objective must define
ABILITIES = {  # ability -> the attributes that it needs, and what to do where they are missing
    "generation": (
        ("start_cache", "step"),
        "it cannot continue text; choose a causal one such as gpt",
    ),
    "scores": (("logits",), "it cannot score tokens; choose one that defines logits"),
    "auxiliary loss": (
        ("states_and_loss",),
        "it does not predict a text's next tokens; choose one that does, such as gpt1, or set "
        "lm_coef to 0",
    ),
    "conversation": (
        ("start_cache", "step", "speaks"),
        "it does not read who speaks; choose a causal one that does, such as gpt",
    ),
    "own vectors": (
        ("token_table",),
        "its tokens have no vectors that could begin as others; choose one with a table of them, "
        "such as bert or gpt",
    ),
    "teacher": (
        ("student_config", "learn_from", "stand_in"),
        "it learns from text alone; choose one that learns from a teacher, such as distil",
    ),
    "imitation": (
        ("learn_from", "loss_of_texts"),
        "it imitates no layers of a teacher; choose one that does, such as tinybert",
    ),
    "judgement": (
        ("judge",),
        "it cannot judge whether tokens are replaced; choose one that learned to, such as electra "
        "with its electra_objective",
    ),
    "filling": (
        ("logits", "gap_id"),
        "it cannot fill gaps in a text; choose one that learned to, such as bert",
    ),
}
MOST_TOKENS = 2**24  # kinds of tokens: more than any published vocabulary
TABLE_ROWS = 4096  # how many tokens `embedding_table` encodes at a time


@dataclass(frozen=True)
class ObjectiveConfig(settings.Config):
    """Sizes and rates of an objective; a subclass adds its own fields, under their published names.

    vocab_size : V, kinds of tokens

    Class attributes, for a subclass to set:
    changeable : fields that no weight depends on; a run that goes on from a trained model may
        change them
    recipes : name of a size -> what it is trained with unless told otherwise: fields of
        TrainConfig, and the encoding and the share held out of PretrainConfig

    >>> ObjectiveConfig.tiny(300)
    ObjectiveConfig(vocab_size=300)
    """

    ranges = {"vocab_size": at_least(1, MOST_TOKENS)}
    changeable: ClassVar[tuple[str, ...]] = ()
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    vocab_size: int

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "ObjectiveConfig":
        """Trains in a minute on a laptop; the defaults, unless a subclass says otherwise."""
        return cls(vocab_size, **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "ObjectiveConfig":
        """`tinylm compare` trains this; the defaults, unless a subclass says otherwise."""
        return cls(vocab_size, **over)


class Objective(nn.Module):
    """A model and its task on plain text. Subclasses are chapters, the package's or anybody's.

    config : of the class's own Config
    rng : numpy Generator of the initial weights (a fixed one by default)

    Class attributes, each with a default:
    name : its name in commands
    model_type : its name in config.json, `tinylm-<name>` by default
    encoding : the encoding it prefers, a kind that text.learn knows
    vocab_sizes : kind of encoding -> the tokens it asks for unless told otherwise; for the other
        kinds text.learn has usual numbers
    causal : True if position t of `encode` sees nothing after t, and the loss is −log of the next
        token's probability
    backward : True if it sees nothing before t instead, and `logits` at t score the token before
    unit : the unit of the loss
    guesses : names of the loss's parts that are −log of a token's probability in the whole
        vocabulary, each for tokens drawn evenly from the text; () for the loss itself, None if it
        is of another kind. Counting single tokens reaches the unigram entropy there
    by_line : True if each line of a text is a document of its own
    structured : True if it reads `corpus.sentences` and `corpus.word_starts`, see `Corpus`
    needs_tokens : names of special tokens that it needs; an encoding without them gets them
    template : how an encoding arranges texts for it, None for the encoding's own way
    training_defaults : the fields of TrainConfig that it wants to have other values
    steps_per_epoch : batches that read the whole text once; 0 if it does not count epochs
    max_length : the most tokens that `encode` can read, None for no limit
    mean_rows : a token that joins the vocabulary of a trained model gets the mean of the old
        tokens' rows; by default it gets a row drawn as those of a new model
    not_derivatives : parameter name -> why its gradient is not the derivative of the loss, if that
        is on purpose

    >>> Objective(config=None)
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: Objective does not define build(), which it needs.
    """

    Config: ClassVar[type] = ObjectiveConfig
    name: ClassVar[str] = ""
    model_type: ClassVar[str] = ""
    encoding: ClassVar[str] = "bpe"
    vocab_sizes: ClassVar[dict[str, int]] = {}
    causal: ClassVar[bool] = False
    backward: bool = False
    unit: ClassVar[str] = "nats per prediction"
    guesses: ClassVar[tuple[str, ...] | None] = None
    by_line: ClassVar[bool] = False
    structured: ClassVar[bool] = False
    needs_tokens: ClassVar[tuple[str, ...]] = ()
    template: ClassVar[Template | None] = None
    training_defaults: ClassVar[dict[str, Any]] = {}
    steps_per_epoch: int = 0
    max_length: int | None = None
    mean_rows: bool = False
    not_derivatives: dict[str, str] = {}

    # Abilities: None where the objective has none, see `need`.
    fast_step = None  # (batch, lr) -> mean loss: a lock-free kernel that updates the weights itself
    logits = None  # (ids, mask=None, **family) -> Tensor (B, T, V): the head's scores
    states_and_loss = None  # (ids, mask, **family) -> states as of encode, the texts' own mean loss
    # Generation. Left-padded batches give `step` a mask (B, T), beams and samples call the cache's
    # `reorder(rows)`, see nn.Cache; one text alone needs neither.
    start_cache = None  # (batch_size, length) -> a cache for `step`
    step = None  # (ids (B, T), cache, mask=None) -> array (B, V): the next token's scores
    speaks: bool | None = None  # True: `encode` and `step` take `speakers`, ids of tokens (B, T)
    token_table: nn.Parameter | None = None  # a table whose first V rows are the tokens' vectors
    # Learning from a teacher, a trained model of any class that the student can read.
    student_config = None  # class method (teacher, size, options) -> the config of its student
    learn_from = None  # (teacher, begin=True) -> None: keeps it; begin takes over its layers too
    loss_of_texts = None  # (ids, mask, **family) -> Tensor: how far it is from its teacher on them
    stand_in = None  # class method (config, rng) -> an untrained teacher, to try a student with
    gap_id: int | None = None  # the token that stands for a gap, which `logits` can fill
    # (ids, picks (B, K), mask=None, **family) -> Tensor (B, K, V): scores at places that it may not
    # see, from all the others
    predict = None
    judge = None  # (ids, mask=None, **family) -> Tensor (B, T): logits that a token is replaced

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
        if rng is None:
            rng = np.random.default_rng(0)
        try:
            self.build(config, rng)
        except MemoryError as error:
            raise TinylmError(
                f"{type(self).__name__} does not fit into the memory of this machine ({error}); "
                "give a smaller vocabulary or smaller sizes."
            ) from error

    # -- the methods that a subclass defines -----------------------------------------------------

    def build(self, config, rng: np.random.Generator) -> None:
        """Make the parameters, as attributes of self: nn.Parameter, or modules that hold some."""
        self._lacks("build")

    def batch(self, step: int, seed: int) -> Any:
        """The batch of a step: a frozen dataclass whose `tokens` counts its predictions.

        A pure function of the prepared corpus, the step and the seed, so that a resumed run sees
        the same batches.
        """
        self._lacks("batch")

    def loss(self, batch) -> tuple[Tensor, dict[str, Any]]:
        """The mean loss of a batch, and its components by name, for the log and evaluation.

        A component is a mean over the batch's predictions in nats, or a pair (sum, count) where
        something else is counted: sentences, right guesses. If the loss is a mean over another
        number than the batch's `tokens`, the component "tokens" gives it.
        """
        self._lacks("loss")

    def encode(self, ids, mask=None, **family) -> list[Tensor]:
        """The embeddings, then every layer's states; adaptation builds on these.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        returns Tensors (B, T, C)
        """
        self._lacks("encode")

    def _lacks(self, method: str):
        raise TinylmError(f"{type(self).__name__} does not define {method}(), which it needs.")

    # -- the methods that most subclasses inherit ------------------------------------------------

    def need(self, ability: str) -> None:
        """Insist on an ability, a key of ABILITIES.   raises TinylmError if it is missing"""
        attributes, advice = ABILITIES[ability]
        if any(getattr(self, name) is None for name in attributes):
            raise TinylmError(f"{self.name} has no {ability}: {advice}.")

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn from the encoding how its tokens are spelled, and which of them are special.

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

    def tokens_read(self, batch: Any) -> int:
        """The tokens that the model reads for a batch; by default as many as it predicts."""
        return batch.tokens

    def rate_scale(self, batch: Any) -> float:
        """A factor on the learning rate of the update that a batch makes; by default 1.

        Where batches differ in length, a long one can weigh as much as it has tokens.
        """
        return 1.0

    def evaluation_batches(self, corpus: Corpus) -> Iterator[Any]:
        """Batches that cover another corpus once.

        By default those of `batch`, until they have predicted as many tokens as the corpus holds.
        raises TinylmError  if the corpus cannot be used
        """
        other = copy.copy(self)  # with the same weights, but a corpus of its own
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

    def summary(self, states: list[Tensor], mask: np.ndarray) -> Tensor:
        """One vector for a text, which fine-tuning builds on: the mean of its last layer.

        states : as `encode` returns them     mask : (B, T) bool, True = a real token
        returns (B, C)
        """
        return nn.masked_mean(states[-1], mask)

    def one_sided(self, ids, mask=None, **family) -> dict[str, Tensor]:
        """Scores of each token of some texts from what stands on one side of it alone.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        returns {"left": (B, T − 1, V)} for all tokens but the first, {"right": (B, T − 1, V)} for
            all but the last, both, or neither
        """
        if self.logits is None or not (self.causal or self.backward):
            return {}
        scores = self.logits(ids, mask, **family)  # (B,T) -> (B,T,V)
        return {"right": scores[:, 1:]} if self.backward else {"left": scores[:, :-1]}

    def embedding_table(self) -> np.ndarray:
        """The vectors of all tokens, (V, C): `token_table`'s, or else `encode` of each alone."""
        if self.token_table is not None:
            return self.token_table.data[: self.config.vocab_size]
        ids = np.arange(self.config.vocab_size)[:, None]  # (V,1)
        tables = []
        with no_grad():
            for first in range(0, len(ids), TABLE_ROWS):
                embeddings = self.encode(ids[first : first + TABLE_ROWS])[0]  # (B,1,C)
                tables.append(embeddings.data[:, 0])
        return np.concatenate(tables)

    def subwords(self) -> Any:
        """word -> vector for words outside the vocabulary, as `Vectors` takes it; {} by default."""
        return {}

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Lists of Parameters from the bottom up, for freezing and layer-wise rates.

        By default a single list of all.
        """
        return [self.parameters()]

    def state(self) -> dict[str, np.ndarray]:
        """The arrays, by name, that a resumed run needs beside the weights."""
        return {}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the arrays of `state`; by default there are none.

        raises CheckpointError  if one is missing or misshapen
        """

    @classmethod
    def reader(cls, fields: dict[str, Any]) -> type["Objective"]:
        """The class that reads a config.json of this model_type: by default this one.

        fields : of the config.json, which an older version may have written
        """
        return cls

    def export(self, path: Path) -> None:
        """Write further files that follow from the weights.

        path : a folder that holds config and tokenizer
        """


def read_by(encoder: Objective, encoded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of a tokenizer's arrays that an encoder's `encode` has arguments for.

    encoded : name -> (N,T), as calling the tokenizer returns them
    """
    arguments = inspect.signature(encoder.encode).parameters
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        return dict(encoded)
    return {name: array for name, array in encoded.items() if name in arguments}
