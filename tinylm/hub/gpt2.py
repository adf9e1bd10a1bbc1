"""GPT-2's published folder: an optional prefix, matrices stored [in, out], the head tied to `wte`.

    theirs: transformer.h.N.attn.c_attn.weight [C, 3C]
    ours:   h.N.attn.c_attn.weight [3C, C], transposed

Loading ignores the buffers of old files (attn.bias, attn.masked_bias), which hold only constants.
A head that differs from `wte` is refused.
Source: the released checkpoints; transformers' GPT2LMHeadModel.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from tinylm import hub

PREFIX = "transformer."
BARE = re.compile(r"(wte|wpe|h|ln_f)\..*")  # names that some files write without the prefix
HEAD = "lm_head.weight"  # files may repeat wte.weight under this name
IGNORED = re.compile(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)")
# Switches of the published config that change the model, with the only value that our GPT computes.
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


def canonical(name: str) -> str:
    """The name of a tensor, with the prefix that some files leave out.

    >>> canonical("wte.weight")
    'transformer.wte.weight'
    """
    return PREFIX + name if BARE.fullmatch(name) else name


def to_config(config, end_id: int | None) -> dict[str, Any]:
    """The fields that transformers needs beside those of GPTConfig.

    end_id : id of the end of text, or None

    >>> to_config(None, 50256)["eos_token_id"]
    50256
    """
    return {"architectures": ["GPT2LMHeadModel"], "bos_token_id": end_id, "eos_token_id": end_id}


def from_config(fields: dict[str, Any], config_class, names: Collection[str] = ()):
    """GPTConfig from a config.json.

    names : of the tensors in the file
    raises TinylmError  for a switch that our model does not have, or sizes that no model has

    >>> from tinylm import GPTConfig
    >>> from_config({"n_embd": 48, "n_head": 4}, GPTConfig).n_embd
    48
    >>> from_config({"scale_attn_weights": False}, GPTConfig)
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: scale_attn_weights is False, tinylm's GPT computes only True
    """
    hub.refuse_others(fields, FIXED | hub.tied(HEAD, names), "GPT")
    return hub.fields_of(fields, config_class)


def layout(config) -> Iterator["hub.Stored"]:
    """Where the file keeps each tensor of a GPT, layer by layer.

    >>> from tinylm import GPTConfig
    >>> next(layout(GPTConfig())).theirs
    ('transformer.wte.weight',)
    """
    width = config.n_embd
    inner = config.n_inner or 4 * width
    yield _stored("wte.weight", (config.vocab_size, width), tied=(HEAD,))
    yield _stored("wpe.weight", (config.n_positions, width))
    for i in range(config.n_layer):
        yield from layer(i, width, inner)
    yield from _norm("ln_f", width)


def layer(i: int, width: int, inner: int) -> Iterator["hub.Stored"]:
    """Where the file keeps the tensors of layer i.   inner : units of the MLP"""
    yield from _norm(f"h.{i}.ln_1", width)
    yield from _conv1d(f"h.{i}.attn.c_attn", width, 3 * width)
    yield from _conv1d(f"h.{i}.attn.c_proj", width, width)
    yield from _norm(f"h.{i}.ln_2", width)
    yield from _conv1d(f"h.{i}.mlp.c_fc", width, inner)
    yield from _conv1d(f"h.{i}.mlp.c_proj", inner, width)


def _stored(name: str, shape: tuple[int, ...], **more) -> "hub.Stored":
    """A tensor under its published name."""
    return hub.Stored(name, (PREFIX + name,), shape, **more)


def _norm(name: str, width: int) -> Iterator["hub.Stored"]:
    """The two tensors of a layer norm."""
    yield _stored(f"{name}.weight", (width,))
    yield _stored(f"{name}.bias", (width,))


def _conv1d(name: str, n_in: int, n_out: int) -> Iterator["hub.Stored"]:
    """The two tensors of a linear layer, which GPT-2's code calls Conv1D."""
    yield _stored(f"{name}.weight", (n_in, n_out), transposed=True)
    yield _stored(f"{name}.bias", (n_out,))
