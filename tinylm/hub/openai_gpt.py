"""GPT-1's published folder: an optional prefix, matrices [in, out], tokens and positions apart.

    theirs: transformer.tokens_embed.weight [V, C], transformer.positions_embed.weight [T, C]
    ours:   table.weight [V + T, C], the positions behind the tokens

Loading ignores the buffers of old files (attn.bias, position_ids). A head that differs from
`tokens_embed` is refused.
Source: the released checkpoints; transformers' OpenAIGPTLMHeadModel.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from tinylm import hub

from . import gpt2

PREFIX = "transformer."
BARE = re.compile(r"(tokens_embed|positions_embed|h)\..*")  # names that some files do not prefix
HEAD = "lm_head.weight"  # files may repeat the tokens under this name
IGNORED = re.compile(r"transformer\.(h\.\d+\.attn\.bias|position_ids)|position_ids")


def to_config(config, end_id: int | None) -> dict[str, Any]:
    """The fields that transformers needs beside those of GPT1Config.   end_id : or None"""
    return {"architectures": ["OpenAIGPTLMHeadModel"], "eos_token_id": end_id}


def canonical(name: str) -> str:
    """The name of a tensor, with the prefix that some files leave out.

    >>> canonical("tokens_embed.weight")
    'transformer.tokens_embed.weight'
    """
    return PREFIX + name if BARE.fullmatch(name) else name


def from_config(fields: dict[str, Any], config_class, names: Collection[str] = ()):
    """GPT1Config from a config.json.

    names : of the tensors in the file
    raises TinylmError  for a switch that our model does not have, or sizes that no model has
    """
    hub.refuse_others(fields, hub.tied(HEAD, names), "GPT1")
    return hub.fields_of(fields, config_class)


def layout(config) -> Iterator["hub.Stored"]:
    """Where the file keeps each tensor of a GPT1, layer by layer."""
    width = config.n_embd
    yield hub.Stored(
        "table.weight",
        (f"{PREFIX}tokens_embed.weight", f"{PREFIX}positions_embed.weight"),
        (config.vocab_size, width),
        rows=(config.vocab_size, config.n_positions),
        tied=(HEAD,),
    )
    for i in range(config.n_layer):
        yield from gpt2.layer(i, width, 4 * width)
