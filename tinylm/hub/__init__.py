"""Model folders: `load(path) -> (model, tokenizer)` and `save(path, model, tokenizer)`.

A folder holds `config.json`, `model.safetensors` and the tokenizer's own files. Names and shapes of
the tensors are those of the model's state_dict. A family that others publish too has a module here,
named after its `model_type`, which says how the published folder differs:

    to_config(config, end_id) -> dict      further fields of config.json, beside our own
    from_config(fields, config_class)      our config from a config.json
    layout(config)                         iterator of `Stored`: where the file keeps each tensor

A config cannot ask for more memory than its file justifies. For a published family, loading
compares every shape with the file before it builds a model. Any other model may ask nn's layers
for some times the bytes of its file, see `memory.at_most`; its shapes are compared after that.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tinylm import files, folders, memory, objectives, settings, text
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.objectives import Objective
from tinylm.training import checkpoint
from tinylm.vectors import VECTORS

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
HEADS = (
    checkpoint.STATE,
    checkpoint.LABELS,
    CONFIG,
)  # loading a run, classifier, model begins here
OURS = (  # all files that we write into such a folder; overwriting removes them all
    *HEADS,
    WEIGHTS,
    VECTORS,
    checkpoint.SUMMARY,
    checkpoint.HEAD,
    checkpoint.PRETRAINED,
    *text.FILES,
    checkpoint.LOG,  # last: a folder without a state is still known as our run while this is there
)
# A model may ask for so many bytes for each number in its file, and some more.
BYTES_EACH = 32
SLACK = 2**20
PUBLISHED = ("gpt2",)  # model types whose folders other programs write and read too


@dataclass(frozen=True)
class Stored:
    """Where a published folder keeps one of our tensors.

    ours : its name in our state_dict
    theirs : its published name; several are stacked along our first axis (query, key, value)
    shape : of each published tensor
    transposed : published [in, out], ours [out, in]
    also : names of the first published tensor in older files
    tied : names under which files may repeat it; loading refuses a repetition that differs

    >>> stored = Stored("w", ("q", "k"), (2, 1), transposed=True)
    >>> stored.write(np.array([[1, 2], [3, 4]]))["k"]
    array([[3],
           [4]])
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
        return dict(zip(self.theirs, self._turned(parts), strict=True))

    def read(self, path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Our array, from the published ones.

        raises CheckpointError  if one is missing or misshapen, or a repetition differs from it
        """
        parts = [self._find(path, arrays, name) for name in self.theirs]
        for name in self.tied:
            if name in arrays and not np.array_equal(arrays[name], parts[0]):
                raise CheckpointError(
                    f"{path}: {name} differs from {self.theirs[0]}, "
                    "which this model shares with it; a model with its own head cannot be loaded."
                )
        turned = self._turned(parts)
        return np.concatenate(turned) if len(turned) > 1 else turned[0]

    def _turned(self, parts: Iterable[np.ndarray]) -> list[np.ndarray]:
        """The parts, transposed if published and ours are transposed."""
        if not self.transposed:
            return list(parts)
        return [np.ascontiguousarray(part.T) for part in parts]

    def _find(self, path: Path, arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        """A published tensor under the first of its names that the file has."""
        names = [name]
        if name == self.theirs[0]:
            names.extend(self.also)
        found = None
        for each in names:
            if found is None:
                found = arrays.get(each)
        if found is None:
            raise CheckpointError(
                f"{path} lacks the tensor {name}, which its {CONFIG} asks for; "
                "the two files do not belong together"
            )
        if found.shape != self.shape:
            raise CheckpointError(
                f"{path}: {name} has the shape {found.shape}, its {CONFIG} asks for {self.shape}; "
                "the two files do not belong together"
            )
        return found


def save(path, model: Objective, tokenizer=None, overwrite: bool = False) -> None:
    """Write a model folder that `load`, and for published families also transformers, can read.

    overwrite : replace a model, run or classifier in the folder; other people's files stay A save
    that fails or is killed leaves the old model, the new one, or a folder that `load` refuses.
    raises CheckpointError  if the folder holds anything and overwrite is False
    raises VocabularyError  if the tokenizer's files could not give it back
    raises DataError        if a file cannot be written
    """
    if tokenizer is not None:
        tokenizer.check_storable()
    with (
        folders.claim(path, overwrite=overwrite) as path,
        files.together(path, HEADS, OURS) as hidden,
    ):
        write(hidden, model, tokenizer)


def write(path, model: Objective, tokenizer=None) -> None:
    """Write a model's files into a folder that holds none, `config.json` last.

    raises DataError  if a file cannot be written
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


def save_weights(path, model: Objective) -> None:
    """Write only the weights, into a folder that holds the other files of the same model."""
    own = model.state_dict()
    family = _family(model.model_type)
    if family is None:
        arrays = own
    else:
        arrays = {}
        for stored in family.layout(model.config):
            arrays |= stored.write(own[stored.ours])
    checkpoint.save_tensors(Path(path) / WEIGHTS, arrays)
    model.export(Path(path))


def load(path) -> tuple[Objective, Any]:
    """The model and the tokenizer of a folder, written by us or published in the same layout.

    returns model (in evaluation mode), tokenizer (None if the folder holds none)
    raises CheckpointError  if a file is missing, damaged, of an unknown kind, or does not fit the
    others
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
    arrays, _ = checkpoint.load_tensors(path / WEIGHTS)
    state = arrays
    if family is not None:
        state = {s.ours: s.read(path / WEIGHTS, arrays) for s in family.layout(config)}
    tokenizer = _tokenizer(path, config)
    try:
        with memory.at_most(_justified(arrays)):
            model = model_class(config)
        if tokenizer is not None:
            model.spell(tokenizer.vocab, tokenizer.special_ids)
        model.load_state_dict(state)
    except TinylmError as error:
        raise CheckpointError(
            f"{path / WEIGHTS} does not fit its {CONFIG}, "
            f"the two files do not belong together: {error}"
        ) from error
    return model.eval(), tokenizer


def fields_of(fields: Mapping[str, Any], config_class: type) -> Any:
    """A config from the fields of a config.json that its class knows; it ignores the others.

    raises TinylmError  if a field has another type than the class declares, or is out of its range

    >>> fields_of({"vocab_size": 11, "architectures": ["Mine"]}, Objective.Config)
    ObjectiveConfig(vocab_size=11)
    """
    names = [field.name for field in dataclasses.fields(config_class)]
    known = {name: fields[name] for name in names if name in fields}
    return settings.build(config_class, known)


def _justified(arrays):
    """Bytes that the weights of a file justify for building their model; temporaries included."""
    return SLACK + BYTES_EACH * sum(array.size for array in arrays.values())


def _family(model_type: str) -> ModuleType | None:
    """The module of a published family; None for a model type that only we write."""
    if model_type not in PUBLISHED:
        return None
    return importlib.import_module(f"tinylm.hub.{model_type}")


def _tokenizer(path, config):
    """The encoding beside the weights, or None.

    raises CheckpointError  if it is damaged or has more ids than the model has rows
    """
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
