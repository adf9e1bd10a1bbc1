"""DistilBERT's published folder, read as a BERT without token types, pooler and second task.

    theirs: distilbert.transformer.layer.N.attention.{q_lin, k_lin, v_lin}.weight [C, C] each
    ours:   encoder.h.N.attn.c_attn.weight [3C, C]

The model is a Bert. A Bert that DistilBERT's code can compute is saved in this form, see `fits`.
Source: transformers' DistilBertForMaskedLM.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from tinylm import hub

from . import encoder

PREFIX = "distilbert."
DECODER = "vocab_projector.weight"  # files may repeat the table of words under it
HEAD = "vocab_transform.weight"  # a file with the head of masked words holds it
IGNORED = re.compile(r"distilbert\.embeddings\.(position_ids|token_type_ids)")
# Published names -> those of BertConfig.
NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "initializer_range": "initializer_range",
}
EPS = 1e-12  # of all norms; no field of config.json changes it
ARCHITECTURES = {(): "DistilBertModel", ("masked",): "DistilBertForMaskedLM"}
# What a config.json that leaves fields out means, where BertConfig's defaults are others.
DEFAULTS = {"n_layers": 6}


def fits(config) -> bool:
    """Whether DistilBERT's code computes what a Bert of this config does.

    >>> from tinylm.objectives.bert import BertConfig
    >>> fits(BertConfig(type_vocab_size=0, heads=("masked",))), fits(BertConfig())
    (True, False)
    """
    plain = config.type_vocab_size == 0 and config.layer_norm_eps == EPS
    return plain and config.heads in ARCHITECTURES


def to_config(config, end_id: int | None) -> dict[str, Any]:
    """The fields that transformers needs beside those of BertConfig.

    >>> from tinylm.objectives.bert import BertConfig
    >>> to_config(BertConfig(hidden_size=48, heads=("masked",)), None)["dim"]
    48
    """
    named = {theirs: getattr(config, ours) for theirs, ours in NAMES.items()}
    return {"architectures": [ARCHITECTURES[config.heads]], **named}


def canonical(name: str) -> str:
    """Today's name of a tensor, see `encoder.canonical`."""
    return encoder.canonical(name, PREFIX)


def from_config(fields: dict[str, Any], config_class, names: Collection[str]):
    """BertConfig from a config.json of a DistilBERT.

    names : of the tensors in the file, which tell whether it has the head of masked words
    raises TinylmError  for a switch that our model does not have, or sizes that no model has

    >>> from tinylm.objectives.bert import BertConfig
    >>> from_config({"dim": 48, "n_heads": 4}, BertConfig, [HEAD]).heads
    ('masked',)
    """
    hub.refuse_others(fields, hub.tied(DECODER, names), "BERT")
    heads = ["masked"] if HEAD in names else []
    given = DEFAULTS | fields
    trained = ("sinusoids", *config_class.changeable)  # how one of ours was trained
    found = {name: fields[name] for name in trained if name in fields}
    found |= {ours: given[theirs] for theirs, ours in NAMES.items() if theirs in given}
    found |= {"type_vocab_size": 0, "layer_norm_eps": EPS, "heads": heads}
    found.setdefault("next_sentence", False)
    return hub.fields_of(found, config_class)


def layout(config) -> Iterator["hub.Stored"]:
    """Where the file keeps each tensor: the encoder, then the head of masked words."""
    width = config.hidden_size
    inner = config.intermediate_size
    tied = (DECODER,)
    theirs = f"{PREFIX}embeddings"
    yield from encoder.embeddings("encoder.embeddings", theirs, config, width, tied)
    for i in range(config.num_hidden_layers):
        own = f"encoder.h.{i}"
        layer = f"{PREFIX}transformer.layer.{i}"
        stacked = tuple(f"{layer}.attention.{part}_lin" for part in "qkv")
        yield from encoder.linear(f"{own}.attn.c_attn", stacked, width, width)
        yield from encoder.linear(f"{own}.attn.c_proj", f"{layer}.attention.out_lin", width, width)
        yield from encoder.norm(f"{own}.ln_1", f"{layer}.sa_layer_norm", width)
        yield from encoder.linear(f"{own}.mlp.c_fc", f"{layer}.ffn.lin1", width, inner)
        yield from encoder.linear(f"{own}.mlp.c_proj", f"{layer}.ffn.lin2", inner, width)
        yield from encoder.norm(f"{own}.ln_2", f"{layer}.output_layer_norm", width)
    if "masked" in config.heads:
        yield from encoder.linear("head.dense", "vocab_transform", width, width)
        yield from encoder.norm("head.norm", "vocab_layer_norm", width)
        yield hub.Stored("head.bias", ("vocab_projector.bias",), (config.vocab_size,))
