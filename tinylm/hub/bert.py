"""BERT's published folder: queries, keys and values apart, the head tied to the table of words.

    theirs: bert.encoder.layer.N.attention.self.{query,key,value}.weight [C, C] each
    ours:   encoder.h.N.attn.c_attn.weight [3C, C]

Names without the prefix `bert.` and TensorFlow's LayerNorm.{gamma,beta} are read too. The tensors
in the file tell which heads a model has: a BertModel has none, or only a pooler.
Source: transformers' BertForPreTraining.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from tinylm import hub

from . import encoder

DECODER = "cls.predictions.decoder"  # files may repeat the table and the head's bias under it
IGNORED = re.compile(r"bert\.embeddings\.(position_ids|token_type_ids)")
# A head -> a tensor that a file with this head holds.
SIGNS = {
    "pooler": "bert.pooler.dense.weight",
    "masked": "cls.predictions.transform.dense.weight",
    "next": "cls.seq_relationship.weight",
}
# Switches of the published config that change the model, with the only value that Bert computes.
FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
ARCHITECTURES = {  # heads -> transformers' class that has them
    ("pooler", "masked", "next"): "BertForPreTraining",
    ("pooler", "next"): "BertForNextSentencePrediction",
    ("masked",): "BertForMaskedLM",
}


def to_config(config, end_id: int | None) -> dict[str, Any]:
    """The fields that transformers needs beside those of BertConfig.

    >>> from tinylm.objectives.bert import BertConfig
    >>> to_config(BertConfig(heads=()), None)
    {'architectures': ['BertModel'], 'position_embedding_type': 'absolute'}
    """
    name = ARCHITECTURES.get(config.heads, "BertModel")
    return {"architectures": [name], "position_embedding_type": "absolute"}


def canonical(name: str) -> str:
    """Today's name of a tensor, see `encoder.canonical`."""
    return encoder.canonical(name, "bert.")


def from_config(fields: dict[str, Any], config_class, names: Collection[str]):
    """BertConfig from a config.json.

    names : of the tensors in the file, which tell the heads
    raises TinylmError  for a switch that our model does not have, or sizes that no model has

    >>> from tinylm.objectives.bert import BertConfig
    >>> from_config({"hidden_size": 48}, BertConfig, ["bert.pooler.dense.weight"]).heads
    ('pooler',)
    """
    hub.refuse_others(fields, FIXED | hub.tied(f"{DECODER}.weight", names), "BERT")
    heads = [head for head, sign in SIGNS.items() if sign in names]
    usual = {"next_sentence": "next" in heads}  # of a model that others published
    return hub.fields_of({**usual, **fields, "heads": heads}, config_class)


def layout(config) -> Iterator["hub.Stored"]:
    """Where the file keeps each tensor of a Bert: the encoder, then the heads."""
    width = config.hidden_size
    tied = (f"{DECODER}.weight",)
    yield from encoder.embeddings("encoder.embeddings", "bert.embeddings", config, width, tied)
    yield from encoder.layers(
        "encoder.h",
        "bert.encoder.layer",
        config.num_hidden_layers,
        width,
        config.intermediate_size,
    )
    if "pooler" in config.heads:
        yield from encoder.linear("pooler.dense", "bert.pooler.dense", width, width)
    if "masked" in config.heads:
        transform = "cls.predictions.transform"
        yield from encoder.linear("head.dense", f"{transform}.dense", width, width)
        yield from encoder.norm("head.norm", f"{transform}.LayerNorm", width)
        bias = ("cls.predictions.bias",)
        yield hub.Stored("head.bias", bias, (config.vocab_size,), tied=(f"{DECODER}.bias",))
    if "next" in config.heads:
        yield from encoder.linear("next", "cls.seq_relationship", width, 2)
