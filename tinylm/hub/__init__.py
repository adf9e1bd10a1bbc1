"""Model folders in the published layout: `load(path) -> (model, tokenizer)` and `save(path, model, tokenizer)`.

A folder holds `config.json`, `model.safetensors` and the tokenizer's own files. One module per family, named after its
`model_type`, knows how the family's names, shapes and config differ from ours:

    to_config(config, end_id) -> dict               what stands in config.json beside our own field names
    from_config(fields, config_class) -> config
    shapes(config) -> iterator of (our name, published name, published shape)
    also(published name) -> other names it goes by
    export(path, model)                             writes further files that follow from the weights
    LAYOUT                                          patterns of our names whose matrices are published [in, out]

The shapes are compared with the file before a model is built, so a config cannot ask for more memory than the file
holds.
"""

import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np

from tinylm import checkpoint, files, folders, settings, text
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.objectives import protocol

CONFIG, WEIGHTS, VECTORS = "config.json", "model.safetensors", "vectors.bin"
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


def save(path, model, tokenizer=None, overwrite=False):
    """Write a model folder that `load`, and for published families also transformers, can read.

    overwrite : replace a model, run or classifier that the folder holds; files that are not ours stay
    A save that fails or is killed leaves the model of before, the new one, or a folder that `load` refuses.
    raises CheckpointError if the folder holds anything and overwrite is False, or the family has no layout;
    DataError if a file cannot be written
    """
    with (
        folders.claim(path, overwrite=overwrite) as path,
        files.together(path, HEADS, OURS) as hidden,
    ):
        write(hidden, model, tokenizer)


def write(path, model, tokenizer=None):
    """Write a model's files into a folder that holds none, `config.json` last.

    raises CheckpointError if the family has no layout, DataError if a file cannot be written
    """
    path = Path(path)
    family = _family(model.model_type)
    if tokenizer is not None:
        tokenizer.save(path)
    save_weights(path, model)
    known = family.to_config(model.config, getattr(tokenizer, "end_id", None))
    fields = {"model_type": model.model_type, **known, **dataclasses.asdict(model.config)}
    files.write_json(path / CONFIG, fields)


def save_weights(path, model):
    """Write only the weights, into a folder that holds the other files of the same model."""
    family, own = _family(model.model_type), model.state_dict()
    arrays = {
        theirs: _turn(family, ours, own[ours]) for ours, theirs, _ in family.shapes(model.config)
    }
    checkpoint.save_tensors(Path(path) / WEIGHTS, arrays)
    family.export(Path(path), model)


def load(path):
    """The model and the tokenizer of a folder, written by us or published in the same layout.

    returns model (in evaluation mode), tokenizer (None where the folder holds none)
    raises CheckpointError if something is missing, damaged, of an unknown family, or does not fit together
    """
    path = Path(path)
    fields = checkpoint.read_json(path / CONFIG)
    try:
        model_class = protocol.by_model_type(fields.get("model_type"))
        family = _family(model_class.model_type)
        config = family.from_config(fields, model_class.config_class)
    except TinylmError as error:
        raise CheckpointError(
            f"{path / CONFIG} describes no model that tinylm has: {error}"
        ) from error
    arrays, _ = checkpoint.load_tensors(path / WEIGHTS)
    state = _read(path / WEIGHTS, family, config, arrays)
    model = model_class(config)
    model.load_state_dict(state)
    model.eval()
    tokenizer = _tokenizer(path, config)
    if tokenizer is not None and hasattr(model, "spell"):
        model.spell(tokenizer.vocab)
    return model, tokenizer


def fields_of(fields, config_class):
    """A config from the fields of a config.json that its class knows; the other fields are somebody else's.

    raises TinylmError if one is of another kind than the class declares, or a negative number
    """
    known = {f.name: fields[f.name] for f in dataclasses.fields(config_class) if f.name in fields}
    for name, value in known.items():
        if isinstance(value, int | float) and not 0 <= value < 2**31:
            raise TinylmError(f"{name} is {value}, expected a number from 0 to 2^31")
    return settings.build(config_class, known)


def _read(path, family, config, arrays):
    """Our state dict from published arrays, every shape checked before anything of the config's size is made."""
    state = {}
    for ours, theirs, shape in family.shapes(config):
        found = next(
            (arrays[name] for name in (theirs, *family.also(theirs)) if name in arrays), None
        )
        if found is None:
            raise CheckpointError(
                f"{path} lacks the tensor {theirs}, which its {CONFIG} asks for; the two files do not belong together"
            )
        if found.shape != tuple(shape):
            raise CheckpointError(
                f"{path}: {theirs} has the shape {found.shape}, its {CONFIG} asks for "
                f"{tuple(shape)}; the two files do not belong together"
            )
        state[ours] = _turn(family, ours, found)
    return state


def _turn(family, name, array):
    """Our [out, in] from their [in, out], or back, for the names that the family publishes the other way round."""
    if any(re.fullmatch(pattern, name) for pattern in family.LAYOUT):
        return np.ascontiguousarray(array.T)
    return array


def _family(model_type):
    """The module that knows a family's layout; chapters without a published one are named `tinylm-...`."""
    module = f"tinylm.hub.{str(model_type).removeprefix('tinylm-').replace('-', '_')}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise CheckpointError(f"models of type {model_type!r} have no folder layout yet") from error


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
