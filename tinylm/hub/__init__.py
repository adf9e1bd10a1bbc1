"""Model folders: `load(path) -> (model, tokenizer)` and `save(path, model, tokenizer)`.

A folder holds `config.json`, `model.safetensors`, the tokenizer's own files, and what it says of
itself, see card.py. Names and shapes of the tensors are those of the model's state_dict. A family
that others publish too has a module here, named after its `model_type`, which says how the
published folder differs:

    to_config(config, end_id) -> dict          further fields of config.json, beside our own
    canonical(name) -> name                    an older or shorter name of a tensor -> today's
    from_config(fields, config_class, names)   our config from a config.json and the names of the
                                               file's tensors, which tell the heads that it has
    layout(config)                             iterator of `Stored`: the place of each tensor
    IGNORED                                    pattern of harmless buffers in older files
    fits(config) -> bool                       of a type that is read as another one, DistilBERT as
                                               BERT: whether such a model is saved as this type

ELMo's, AWD-LSTM's and fastai's folders have other files, see elmo.py and awd_lstm.py; they are only
read.

A config cannot ask for more memory than its file justifies. For a published family, loading
compares every shape with the file before it builds a model. Any other model may ask nn's layers
for some times the bytes of its file, see `memory.at_most`; its shapes are compared after that.
"""

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tinylm import data, files, folders, memory, nn, objectives, settings, text
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.objectives import Objective
from tinylm.training import checkpoint
from tinylm.vectors import VECTORS

from . import awd_lstm, card, elmo, weights
from .card import NOTHING_SAID, Origin, origin_of
from .sentences import SENTENCES
from .stored import Stored, match, renamed
from .weights import INDEX, WEIGHTS

__all__ = [
    "CONFIG",
    "HEADS",
    "NOTHING_SAID",
    "OURS",
    "WEIGHTS",
    "Origin",
    "Stored",
    "fields_of",
    "load",
    "origin_of",
    "save",
]

CONFIG = "config.json"
GENERATION = "generation_config.json"
HEADS = (checkpoint.STATE, checkpoint.LABELS, CONFIG)  # a run, classifier, model is read from here
OURS = (  # all files that we write into such a folder; overwriting removes them all
    *HEADS,
    WEIGHTS,
    INDEX,
    GENERATION,
    card.SIGNATURE,
    card.CARD,
    *SENTENCES,
    VECTORS,
    checkpoint.SUMMARY,
    checkpoint.HEAD,
    checkpoint.PRETRAINED,
    *text.FILES,
    checkpoint.LOG,  # last: a folder without a state is still known as our run while this is there
)
# A model may ask for so many bytes for each number in its file, and some more.
BYTES_EACH = 32
BYTES_SPELLED = 16  # and so many for each character of its words
SLACK = 2**20
# Model types whose folders other programs write and read too.
PUBLISHED = ("openai-gpt", "gpt2", "bert", "electra", "distilbert", "xlnet")
# Model types that are read as another one; the module's `fits` says which models are saved so.
ALIASES = {"distilbert": "bert"}


def save(
    path,
    model: Objective,
    tokenizer=None,
    overwrite: bool = False,
    origin: Origin = NOTHING_SAID,
) -> None:
    """Write a model folder that `load`, and for published families also transformers, can read.

    overwrite : replace a model, run or classifier in the folder; other people's files stay
    origin : text, command and licence of the model, for its card

    A save that fails or is killed leaves the old model, the new one, or a folder that `load`
    refuses.
    raises CheckpointError  if the folder holds anything and overwrite is False, or if the tokenizer
        has more ids than the model
    raises VocabularyError  if the tokenizer's files could not give it back
    raises DataError        if a file cannot be written
    """
    if tokenizer is not None:
        tokenizer.check_storable()
        _must_belong(tokenizer, model.config, "the tokenizer")
    with (
        folders.claim(path, overwrite=overwrite) as path,
        files.together(path, HEADS, OURS) as hidden,
    ):
        write(hidden, model, tokenizer, origin)


def write(path, model: Objective, tokenizer=None, origin: Origin = NOTHING_SAID) -> None:
    """Write a model's files into a folder that holds none, `config.json` last.

    The arguments are those of `save`.

    raises DataError  if a file cannot be written
    """
    path = Path(path)
    model_type = _written_type(model)
    family = _family(model_type)
    if tokenizer is not None:
        tokenizer.save(path)
    save_weights(path, model)
    card.write(path, model, tokenizer, origin)
    end_id = None if tokenizer is None else tokenizer.end_id
    known = {} if family is None else family.to_config(model.config, end_id)
    fields = {"model_type": model_type, **known, **dataclasses.asdict(model.config)}
    files.write_json(path / CONFIG, fields)


def save_weights(path, model: Objective) -> None:
    """Write only the weights, into a folder that holds the other files of the same model."""
    own = model.state_dict()
    family = _family(_written_type(model))
    if family is None:
        arrays = own
    else:
        arrays = {}
        for stored in family.layout(model.config):
            arrays |= stored.write(own[stored.ours])
    checkpoint.save_tensors(Path(path) / WEIGHTS, arrays)
    model.export(Path(path))


def load(path, trainable: bool = True) -> tuple[Objective, Any]:
    """The model and the tokenizer of a folder, written by us or published in the same layout.

    path : the folder, or the name of a named set that holds a model, which is fetched if need be
    trainable : False freezes every weight: as a part of another model it gets no gradient, and
        every optimiser leaves it alone
    returns model (in evaluation mode), tokenizer (None if the folder holds none)
    raises CheckpointError  if a file is missing, damaged, of an unknown kind, or does not fit the
        others
    raises DataError        if a named set cannot be fetched
    """
    model, tokenizer = _load(folder_of(path))
    if not trainable:
        nn.freeze_to([model.parameters()], 1)
    return model, tokenizer


def _load(path: Path) -> tuple[Objective, Any]:
    """`load` of a folder."""
    if elmo.found(path):
        return elmo.load(path)
    if awd_lstm.found(path):
        return awd_lstm.load(path)
    fields = checkpoint.read_json(path / CONFIG)
    with _described(path):
        model_type = fields.get("model_type")
        model_class = objectives.by_model_type(model_type).reader(fields)
        family = _family(model_type)
    place, arrays = weights.read(path)
    n_numbers = sum(array.size for array in arrays.values())
    with _described(path):
        if family is None:
            config = fields_of(fields, model_class.Config)
            state = arrays
        else:
            arrays = renamed(place, arrays, family.canonical)
            config = family.from_config(fields, model_class.Config, frozenset(arrays))
            state = match(place, arrays, family.layout(config), family.IGNORED)
    tokenizer = _tokenizer(path, fields, config)
    try:
        with memory.at_most(SLACK + BYTES_EACH * n_numbers):
            model = model_class(config)
        if tokenizer is not None:
            n_characters = sum(map(len, tokenizer.vocab))
            with memory.at_most(SLACK + BYTES_EACH * n_numbers + BYTES_SPELLED * n_characters):
                model.spell(tokenizer.vocab, tokenizer.special_ids)
        model.load_state_dict(state)
    except TinylmError as error:
        raise CheckpointError(
            f"{place} does not fit its {CONFIG}, the two files do not belong together: {error}"
        ) from error
    return model.eval(), tokenizer


def folder_of(path) -> Path:
    """A folder as a Path; the name of a named set that holds a model is the folder of its files.

    raises DataError  if the set cannot be fetched

    >>> folder_of("runs/gpt").name
    'gpt'
    """
    names = [row.name for row in data.sets() if CONFIG in {member.name for member in row.files}]
    if str(path) in names and not os.path.exists(Path(path)):
        return data.get(str(path))[CONFIG].parent
    return Path(path)


@contextlib.contextmanager
def _described(path):
    """Context in which a TinylmError is about the config.json of a folder."""
    try:
        yield
    except CheckpointError:
        raise
    except TinylmError as error:
        raise CheckpointError(
            f"{path / CONFIG} describes no model that tinylm has: {error}"
        ) from error


def fields_of(fields: Mapping[str, Any], config_class: type) -> Any:
    """A config from the fields of a config.json that its class knows; it ignores the others.

    raises TinylmError  if a field has another type than the class declares, or is out of its range

    >>> fields_of({"vocab_size": 11, "architectures": ["Mine"]}, Objective.Config)
    ObjectiveConfig(vocab_size=11)
    """
    names = [field.name for field in dataclasses.fields(config_class)]
    known = {name: fields[name] for name in names if name in fields}
    return settings.build(config_class, known)


def refuse_others(fields: Mapping[str, Any], fixed: Mapping[str, Any], name: str) -> None:
    """Refuse a config.json with a switch that changes the model to one that tinylm does not have.

    fixed : switch -> the only value that the model computes     name : of the model
    raises TinylmError  naming the switch
    """
    for switch, value in fixed.items():
        if fields.get(switch, value) != value:
            raise TinylmError(
                f"{switch} is {fields[switch]}, tinylm's {name} computes only {value}"
            )


def tied(head: str, names: Collection[str]) -> dict[str, bool]:
    """The switch that a config.json must leave on if its file holds no head of its own.

    A head in the file needs no switch: it is compared with the table.
    head : the tensor's published name     names : of the tensors in the file

    >>> tied("lm_head.weight", ["wte.weight"]), tied("lm_head.weight", ["lm_head.weight"])
    ({'tie_word_embeddings': True}, {})
    """
    return {} if head in names else {"tie_word_embeddings": True}


def _written_type(model: Objective) -> str:
    """The model type under which a model is saved: its own, or one that is read as it and fits."""
    for alias, model_type in ALIASES.items():
        if model_type == model.model_type and _family(alias).fits(model.config):
            return alias
    return model.model_type


def _family(model_type: str) -> ModuleType | None:
    """The module of a published family; None for a model type that only we write."""
    if model_type not in PUBLISHED:
        return None
    return importlib.import_module(f"tinylm.hub.{model_type.replace('-', '_')}")


def _must_belong(tokenizer, config, what):
    """Refuse an encoding with more ids than the model has rows.   raises CheckpointError"""
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{what} has {tokenizer.vocab_size} ids, the model only {config.vocab_size}; they do "
            "not belong together"
        )


def _tokenizer(path, fields, config):
    """The encoding beside the weights, with the folder's own end of text; or None.

    raises CheckpointError  if it is damaged or has more ids than the model has rows
    """
    if text.find(path) is None:
        return None
    try:
        tokenizer = text.load(path)
    except DataError as error:
        raise CheckpointError(f"the tokenizer in {path} is damaged: {error}") from error
    _must_belong(tokenizer, config, f"the tokenizer in {path}")
    generation = {}
    if os.path.exists(path / GENERATION):
        generation = checkpoint.read_json(path / GENERATION)
    for source in (fields, generation):  # the later one counts
        ends = source.get("eos_token_id")
        first = ends[0] if isinstance(ends, list) and ends else ends
        if type(first) is int and 0 <= first < tokenizer.vocab_size:
            tokenizer.end_id = first
    return tokenizer
