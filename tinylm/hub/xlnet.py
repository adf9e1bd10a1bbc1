"""XLNet's published folder: products with the heads apart, the head tied to the table of tokens.

    theirs: transformer.layer.N.rel_attn.{q, k, v, r} [C, H, D]     rel_attn.o [C, H, D]
    ours:   network.layer.N.rel_attn.{q, k, v, r}.weight [H·D, C]   rel_attn.o.weight [C, H·D]

Published layers always have biases of their own. Where ours share them (untie_r = False), we write
them once for each layer. transformers reads every row forward: its bi_data stays false.
Source: transformers' XLNetLMHeadModel.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from tinylm import hub

from . import encoder

PREFIX = "transformer."
BARE = re.compile(r"(word_embedding|mask_emb|layer)\b.*")  # names without the prefix
HEAD = "lm_loss.weight"  # files may repeat the table of tokens under this name
SHORTEST = 16  # tokens beside the reused ones, where others' folders do not say
BIASES = ("r_w_bias", "r_r_bias", "r_s_bias")
IGNORED = re.compile(r"$^")  # nothing


def to_config(config, end_id: int | None) -> dict[str, Any]:
    """The fields that transformers needs beside those of XLNetConfig.

    >>> from tinylm.objectives.xlnet import XLNetConfig
    >>> to_config(XLNetConfig.base(), 2)["d_head"]
    64
    """
    return {
        "architectures": ["XLNetLMHeadModel"],
        "d_head": config.d_model // config.n_head,
        "bi_data": False,
        "eos_token_id": end_id,
    }


def canonical(name: str) -> str:
    """The name of a tensor, with the prefix that some files leave out.

    >>> canonical("layer.0.rel_attn.q")
    'transformer.layer.0.rel_attn.q'
    """
    return PREFIX + name if BARE.fullmatch(name) else name


def from_config(fields: dict[str, Any], config_class, names: Collection[str] = ()):
    """XLNetConfig from a config.json.

    names : of the tensors in the file
    raises TinylmError  for a switch that our model does not have, or sizes that no model has

    >>> from tinylm.objectives.xlnet import XLNetConfig
    >>> from_config({"d_model": 48, "n_head": 4, "mem_len": None}, XLNetConfig).d_model
    48
    """
    fixed = hub.tied(HEAD, names)
    width = fields.get("d_model", config_class.d_model)
    heads = fields.get("n_head", config_class.n_head)
    if isinstance(width, int) and isinstance(heads, int) and heads > 0:
        fixed["d_head"] = width // heads
    hub.refuse_others(fields, fixed, "XLNet")
    usual = {"dropatt": fields.get("dropout", config_class.dropout)}  # theirs has one for both
    reuse = fields.get("reuse_len")
    if isinstance(reuse, int) and reuse > 0:  # their file does not say how to learn: as usual
        length = max(2 * reuse, reuse + SHORTEST)
        count = min(length // 6, 2 * reuse - 1)
        usual |= {"seq_len": length, "num_predict": count, "perm_size": reuse}
    return hub.fields_of({**usual, **fields}, config_class)


def layout(config) -> Iterator["hub.Stored"]:
    """Where the file keeps each tensor of an XLNet, layer by layer.

    >>> from tinylm.objectives.xlnet import XLNetConfig
    >>> next(layout(XLNetConfig())).theirs
    ('transformer.word_embedding.weight',)
    """
    width = config.d_model
    table = f"{PREFIX}word_embedding.weight"
    rows = (config.vocab_size, width)
    yield hub.Stored("network.word_embedding.weight", (table,), rows, tied=(HEAD,))
    yield hub.Stored("network.mask_emb", (f"{PREFIX}mask_emb",), (1, 1, width))
    for i in range(config.n_layer):
        yield from _layer(i, config)
    yield hub.Stored("bias", ("lm_loss.bias",), (config.vocab_size,))


def _layer(i: int, config) -> Iterator["hub.Stored"]:
    """Where the file keeps the tensors of layer i."""
    width = config.d_model
    heads = config.n_head
    split = (width, heads, width // heads)
    ours = f"network.layer.{i}"
    theirs = f"{PREFIX}layer.{i}"
    for name in "qkvor":
        published = f"{theirs}.rel_attn.{name}"
        own = f"{ours}.rel_attn.{name}.weight"
        yield hub.Stored(own, (published,), split, folded=True, transposed=name != "o")
    if config.untie_r or i == 0:
        yield from _biases(i, config, split[1:])
    segments = (2, *split[1:])
    yield hub.Stored(f"{ours}.rel_attn.seg_embed", (f"{theirs}.rel_attn.seg_embed",), segments)
    for part in ("rel_attn", "ff"):
        yield from encoder.norm(f"{ours}.{part}.layer_norm", f"{theirs}.{part}.layer_norm", width)
    inner = config.d_inner
    yield from encoder.linear(f"{ours}.ff.layer_1", f"{theirs}.ff.layer_1", width, inner)
    yield from encoder.linear(f"{ours}.ff.layer_2", f"{theirs}.ff.layer_2", inner, width)


def _biases(i: int, config, shape: tuple[int, ...]) -> Iterator["hub.Stored"]:
    """The three biases of layer i, which may be those of all layers."""
    others = () if config.untie_r else range(1, config.n_layer)
    for name in BIASES:
        yield hub.Stored(
            f"network.layer.{i}.rel_attn.biases.{name}",
            (f"{PREFIX}layer.{i}.rel_attn.{name}",),
            shape,
            tied=tuple(f"{PREFIX}layer.{n}.rel_attn.{name}" for n in others),
            repeated=True,
        )
