"""Model folders: `load(path) -> (model, tokenizer)` and `save(path, model, tokenizer)`.

A folder holds `config.json`, `model.safetensors` and the tokenizer's own files. Names and shapes of the
tensors are those of the model's state_dict. A family that others publish too has a module here, named
after its `model_type`, which says how the published folder differs:

    to_config(config, end_id) -> dict      what stands in config.json beside our own field names
    from_config(fields, config_class)      our config from a config.json
    layout(config)                         iterator of `Stored`: where each of our tensors is kept

Every shape is compared with the file before a model is built, so a config cannot ask for more memory than
the file holds.
"""

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinylm import files, folders, objectives, settings, text
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.training import checkpoint
from tinylm.vectors import VECTORS

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEADS = (
    checkpoint.STATE,
    checkpoint.LABELS,
    CONFIG,
)  # what is read first of a run, classifier, model
OURS = (
    *HEADS,
    WEIGHTS,
    VECTORS,
    checkpoint.SUMMARY,
    checkpoint.HEAD,
    checkpoint.PRETRAINED,
    *text.FILES,
    checkpoint.LOG,  # last: while it is there, a folder without a state is known as a run of ours
)  # all that we write into such a folder, and all that overwriting removes
PUBLISHED = ("gpt2",)  # model types whose folders others write and read too


@dataclass(frozen=True)
class Stored:
    """Where a published folder keeps one of our tensors.

    ours : its name in our state_dict
    theirs : its published name; several are stacked along our first axis (query, key, value)
    shape : of each published tensor
    transposed : published [in, out], ours [out, in]
    also : other names that the first published tensor goes by in older files
    tied : names under which files may repeat it; a repetition that differs is refused
    """

    ours: str
    theirs: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool = False
    also: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()

    def write(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """Published name -> array, from our array."""
        parts = np.split(array, len(self.theirs)) if len(self.theirs) > 1 else [array]
        turned = [np.ascontiguousarray(part.T) if self.transposed else part for part in parts]
        return dict(zip(self.theirs, turned, strict=True))

    def read(self, path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Our array, from the published ones.   raises CheckpointError if one is missing, misshapen or contradicted"""
        parts = [self._find(path, arrays, name) for name in self.theirs]
        for name in self.tied:
            if name in arrays and not np.array_equal(arrays[name], parts[0]):
                raise CheckpointError(
                    f"{path}: {name} differs from {self.theirs[0]}, which this model shares with it; "
                    "a model with a head of its own cannot be loaded."
                )
        turned = [np.ascontiguousarray(part.T) if self.transposed else part for part in parts]
        return np.concatenate(turned) if len(turned) > 1 else turned[0]

    def _find(self, path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
        names = (name, *self.also) if name == self.theirs[0] else (name,)
        found = next((arrays[each] for each in names if each in arrays), None)
        if found is None:
            raise CheckpointError(
                f"{path} lacks the tensor {name}, which its {CONFIG} asks for; the two files do not belong together"
            )
        if found.shape != self.shape:
            raise CheckpointError(
                f"{path}: {name} has the shape {found.shape}, its {CONFIG} asks for {self.shape}; "
                "the two files do not belong together"
            )
        return found


def save(path, model, tokenizer=None, overwrite=False):
    """Write a model folder that `load`, and for published families also transformers, can read.

    overwrite : replace a model, run or classifier that the folder holds; files that are not ours stay
    A save that fails or is killed leaves the model of before, the new one, or a folder that `load` refuses.
    raises CheckpointError if the folder holds anything and overwrite is False, VocabularyError if the tokenizer's files
    could not give it back, DataError if a file cannot be written
    """
    if tokenizer is not None:
        tokenizer.check_storable()
    with (
        folders.claim(path, overwrite=overwrite) as path,
        files.together(path, HEADS, OURS) as hidden,
    ):
        write(hidden, model, tokenizer)


def write(path, model, tokenizer=None):
    """Write a model's files into a folder that holds none, `config.json` last.

    raises DataError if a file cannot be written
    """
    path = Path(path)
    family = _family(model.model_type)
    if tokenizer is not None:
        tokenizer.save(path)
    save_weights(path, model)
    end_id = None if tokenizer is None else tokenizer.end_id
    known = {} if family is None else family.to_config(model.config, end_id)
    fields = {"model_type": model.model_type, **known, **dataclasses.asdict(model.config)}
    files.write_json(path / CONFIG, fields)


def save_weights(path, model):
    """Write only the weights, into a folder that holds the other files of the same model."""
    arrays = model.state_dict()
    family = _family(model.model_type)
    if family is not None:
        own, arrays = arrays, {}
        for stored in family.layout(model.config):
            arrays |= stored.write(own[stored.ours])
    checkpoint.save_tensors(Path(path) / WEIGHTS, arrays)
    model.export(Path(path))


def load(path):
    """The model and the tokenizer of a folder, written by us or published in the same layout.

    returns model (in evaluation mode), tokenizer (None where the folder holds none)
    raises CheckpointError if something is missing, damaged, of an unknown kind, or does not fit together
    """
    path = Path(path)
    fields = checkpoint.read_json(path / CONFIG)
    try:
        model_class = objectives.by_model_type(fields.get("model_type")).reader(fields)
        family = _family(model_class.model_type)
        read_config = fields_of if family is None else family.from_config
        config = read_config(fields, model_class.Config)
    except TinylmError as error:
        raise CheckpointError(
            f"{path / CONFIG} describes no model that tinylm has: {error}"
        ) from error
    state, _ = checkpoint.load_tensors(path / WEIGHTS)
    if family is None:
        _check_rows(path / WEIGHTS, config, state)
    else:
        state = {s.ours: s.read(path / WEIGHTS, state) for s in family.layout(config)}
    tokenizer = _tokenizer(path, config)
    try:
        model = model_class(config)
        if tokenizer is not None:
            model.spell(tokenizer.vocab, tokenizer.special_ids)
        model.load_state_dict(state)
    except TinylmError as error:
        raise CheckpointError(
            f"{path / WEIGHTS} does not fit its {CONFIG}, the two files do not belong together: {error}"
        ) from error
    return model.eval(), tokenizer


def fields_of(fields, config_class):
    """A config from the fields of a config.json that its class knows; the other fields are somebody else's.

    raises TinylmError if one is of another kind than the class declares, or out of its range
    """
    known = {f.name: fields[f.name] for f in dataclasses.fields(config_class) if f.name in fields}
    return settings.build(config_class, known)


def _check_rows(path, config, arrays):
    """What a config may ask for is bounded by the file before anything is built: some tensor has a row for each token.

    raises CheckpointError if none has
    """
    rows = max((size for array in arrays.values() for size in array.shape), default=0)
    if config.vocab_size > rows:
        raise CheckpointError(
            f"{path} has no tensor with {config.vocab_size} rows, its {CONFIG} asks for that many tokens; "
            "the two files do not belong together"
        )


def _family(model_type):
    """The module of a published family; None for a model whose folder is all its own."""
    if model_type not in PUBLISHED:
        return None
    return importlib.import_module(f"tinylm.hub.{model_type}")


def _tokenizer(path, config):
    """The encoding beside the weights, which must not have more ids than the model has rows."""
    if text.find(path) is None:
        return None
    try:
        tokenizer = text.load(path)
    except DataError as error:
        raise CheckpointError(f"the tokenizer in {path} is damaged: {error}") from error
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"the tokenizer in {path} has {tokenizer.vocab_size} ids, the model only "
            f"{config.vocab_size}; they do not belong together"
        )
    return tokenizer
