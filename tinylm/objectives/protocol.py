"""What a chapter promises to the floors above, and the list of chapters."""

import importlib
from typing import Protocol

from ..errors import TinylmError

_CHAPTERS = (
    "word2vec",
    "glove",
    "gpt",
)  # in the order of history; a chapter registers itself when its file is imported
_CLASSES = {}


class Objective(Protocol):
    """A chapter's class: an nn.Module with these methods and attributes.

    name, model_type : what commands and config.json call it     config_class : its frozen config dataclass
    text : the encoding it trains on, "bpe" or "words"           training_defaults : its values for TrainConfig
    Optional: steps_per_epoch; by_line, True where a line of text is a document of its own; unit, what the loss counts, if
    not nats; spell(words), called with the vocabulary before prepare, and subwords(), for chapters that look into words;
    state() and load_state(arrays) for what is carried between batches; fast_step(batch, lr) -> loss for
    objectives that are also a lock-free kernel; start_cache(batch_size, length) and step(ids, cache) -> (B, V) array for
    models that generate.
    """

    def prepare(self, corpus):
        """Read what is needed from a data.Corpus, once, and keep its `fingerprint`: a run resumes only on the same text."""

    def batch(self, step, seed):
        """The batch of a step, a frozen dataclass: a pure function, so that to seek is to resume."""

    def evaluation_batches(self, corpus):
        """Batches that cover a corpus once, in order, for loss() in evaluation mode."""

    def loss(self, batch):
        """(scalar Tensor, dict of components) in nats per predicted token (batch.tokens counts those)."""

    def encode(self, ids, mask=None, **family):
        """ids, mask : (B, T) -> list of Tensors (B, T, C): the embeddings, then every layer."""

    def logits(self, ids, mask=None, **family):
        """ids, mask : (B, T) -> the head's scores (B, T, V)."""

    def embedding_table(self):
        """The vectors of all tokens as an array (V, C): what neighbours are looked for in."""

    def layer_groups(self):
        """Lists of Parameters from the bottom up, for freezing and layer-wise rates."""


def at_least(config, above=(), **least):
    """Hold the numbers of a config to their bounds; a field that is None has none.

    above : names of fields that must be more than 0     least : field name = its smallest value
    raises TinylmError naming the config, the field and the bound; NaN is below every bound
    """
    for name, low in (*least.items(), *((name, 0) for name in above)):
        value = getattr(config, name)
        if value is not None and not (value > low if name in above else value >= low):
            bound = f"{'more than' if name in above else 'at least'} {low}"
            raise TinylmError(f"{type(config).__name__}: {name} is {value}; expected {bound}.")


def register(name):
    """Class decorator: the chapter `name`."""

    def decorate(cls):
        cls.name = name
        _CLASSES[name] = cls
        return cls

    return decorate


def names():
    """Names of all chapters, in the order of history."""
    return list(_CHAPTERS)


def objective(name):
    """The class of a chapter.

    raises TinylmError  for an unknown name, listing the known ones
    """
    if name not in _CHAPTERS:
        raise TinylmError(
            f"There is no objective {name!r}; expected one of {', '.join(_CHAPTERS)}."
        )
    if name not in _CLASSES:
        importlib.import_module(f".{name}", __package__)
    return _CLASSES[name]


def by_model_type(model_type):
    """The chapter whose config.json says `model_type`.

    raises TinylmError  for an unknown one
    """
    for name in _CHAPTERS:
        if objective(name).model_type == model_type:
            return objective(name)
    known = ", ".join(objective(name).model_type for name in _CHAPTERS)
    raise TinylmError(f"No chapter reads models of type {model_type!r}; expected one of {known}.")
