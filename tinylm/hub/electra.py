"""ELECTRA's published folders: the discriminator and the generator are two models there, one here.

    theirs: electra.encoder.layer.N.…, discriminator_predictions.{dense, dense_prediction}
            electra.encoder.layer.N.…, generator_predictions.{dense, LayerNorm}, generator_lm_head
    ours:   the discriminator under its published names, and beside it the generator's own tensors
            under the names of its published folder behind `generator.`

So transformers' ElectraForPreTraining loads our folder. A folder of a discriminator alone is read
as a model without a generator (uniform_generator), one of a generator alone as a plain masked
language model (electra_objective = False).
Source: transformers' ElectraForPreTraining and ElectraForMaskedLM.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from tinylm import hub
from tinylm.errors import TinylmError

from . import encoder

OWN = "generator."  # before the names of a generator that stands beside its discriminator
DECODER = "generator_lm_head.weight"  # files of generators may repeat the table of words under it
JUDGE = "discriminator_predictions.dense.weight"
FILLER = "generator_predictions.dense.weight"
IGNORED = re.compile(r"(generator\.)?electra\.embeddings\.(position_ids|token_type_ids)")
# Switches of the published config that change the model, with the only value that we compute.
FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}


def to_config(config, end_id: int | None) -> dict[str, Any]:
    """The fields that transformers needs beside those of ElectraConfig.

    >>> from tinylm.objectives.electra import ElectraConfig
    >>> to_config(ElectraConfig.electra_small(), None)["architectures"]
    ['ElectraForPreTraining']
    """
    name = "ElectraForPreTraining" if config.electra_objective else "ElectraForMaskedLM"
    return {"architectures": [name], "position_embedding_type": "absolute"}


def canonical(name: str) -> str:
    """Today's name of a tensor, see `encoder.canonical`."""
    return encoder.canonical(name, "electra.")


def from_config(fields: dict[str, Any], config_class, names: Collection[str]):
    """ElectraConfig from a config.json.

    names : of the tensors in the file, which tell which of the two models it holds
    raises TinylmError  for a switch that our model does not have, sizes that no model has, or a
        file with neither head

    >>> from tinylm.objectives.electra import ElectraConfig
    >>> from_config({}, ElectraConfig, [JUDGE]).uniform_generator
    True
    """
    hub.refuse_others(fields, FIXED | hub.tied(DECODER, names), "ELECTRA")
    if JUDGE not in names and FILLER not in names:
        raise TinylmError(f"the weights hold neither {JUDGE} nor {FILLER}")
    found = {"electra_objective": JUDGE in names}
    if JUDGE in names:
        found["uniform_generator"] = FILLER not in names and OWN + FILLER not in names
        if not found["uniform_generator"]:
            found["untied_generator"] = FILLER not in names
    return hub.fields_of({**fields, **found}, config_class)


def layout(config) -> Iterator["hub.Stored"]:
    """Where the file keeps each tensor: the discriminator, then what the generator has of its own.

    >>> from tinylm.objectives.electra import ElectraConfig
    >>> list(layout(ElectraConfig.electra_small()))[-1].theirs
    ('generator.generator_lm_head.bias',)
    """
    width = config.hidden_size
    tied = (DECODER,)
    table = config.embedding_size
    yield from encoder.embeddings("encoder.embeddings", "electra.embeddings", config, table, tied)
    inner = config.intermediate_size
    count = config.num_hidden_layers
    yield from _blocks("encoder", "electra", count, table, width, inner)
    if config.electra_objective:
        head = "discriminator_predictions"
        yield from encoder.linear("dense", f"{head}.dense", width, width)
        yield from encoder.linear("out", f"{head}.dense_prediction", width, 1)
        if config.uniform_generator:
            return
    if not config.electra_objective or not config.untied_generator:
        yield from _filler("", config.vocab_size, table, width)
        return
    sizes, block = config.generator_sizes()
    if config.untied_generator_embeddings:
        theirs = f"{OWN}electra.embeddings"
        table = sizes.table_width
        yield from encoder.embeddings("generator.embeddings", theirs, config, table)
    theirs = f"{OWN}electra"
    yield from _blocks("generator", theirs, sizes.layers, table, block.width, block.hidden)
    yield from _filler(OWN, config.vocab_size, table, block.width)


def _blocks(
    ours: str, theirs: str, count: int, table: int, width: int, inner: int
) -> Iterator["hub.Stored"]:
    """The projection of the embeddings, where they are narrower, and the layers."""
    if table != width:
        yield from encoder.linear(f"{ours}.project", f"{theirs}.embeddings_project", table, width)
    yield from encoder.layers(f"{ours}.h", f"{theirs}.encoder.layer", count, width, inner)


def _filler(prefix: str, vocab_size: int, table: int, width: int) -> Iterator["hub.Stored"]:
    """The generator's head."""
    theirs = f"{prefix}generator_predictions"
    yield from encoder.linear("generator_head.dense", f"{theirs}.dense", width, table)
    yield from encoder.norm("generator_head.norm", f"{theirs}.LayerNorm", table)
    bias = (f"{prefix}generator_lm_head.bias",)
    yield hub.Stored("generator_head.bias", bias, (vocab_size,))
