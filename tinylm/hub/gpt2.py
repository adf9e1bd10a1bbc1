"""GPT-2's published folder: names with an optional prefix, Conv1D matrices stored [in, out], the head tied to `wte`.

    transformer.h.N.attn.c_attn.weight  [C, 3C]   =   ours, h.N.attn.c_attn.weight [3C, C], transposed

Buffers of old files (attn.bias, attn.masked_bias) and a stored lm_head.weight say nothing new and are not read.
Source: the released checkpoints; transformers' GPT2LMHeadModel.
"""

from tinylm import hub
from tinylm.errors import TinylmError

PREFIX = "transformer."
LAYOUT = (r"h\.\d+\.(attn|mlp)\.c_\w+\.weight",)  # Conv1D: [in, out]
# Switches of the published config that change the model, with the only value that our GPT computes.
FIXED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
         "tie_word_embeddings": True}  # fmt: skip


def to_config(config, end_id):
    """What transformers wants to know beside the fields of GPTConfig. end_id : id of the end of text, or None."""
    return {"architectures": ["GPT2LMHeadModel"], "bos_token_id": end_id, "eos_token_id": end_id}


def from_config(fields, config_class):
    """GPTConfig from a config.json.

    raises TinylmError for a switch that our model does not have, or sizes that no model has
    """
    for name, value in FIXED.items():
        if fields.get(name, value) != value:
            raise TinylmError(f"{name} is {fields[name]}, tinylm's GPT computes only {value}")
    return hub.fields_of(fields, config_class)


def shapes(config):
    """Iterator of (our name, published name, published shape), layer by layer."""
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    norm = {"weight": (width,), "bias": (width,)}
    layer = {"ln_1": norm, "attn.c_attn": {"weight": (width, 3 * width), "bias": (3 * width,)},
             "attn.c_proj": {"weight": (width, width), "bias": (width,)},
             "ln_2": norm, "mlp.c_fc": {"weight": (width, inner), "bias": (inner,)},
             "mlp.c_proj": {"weight": (inner, width), "bias": (width,)}}  # fmt: skip
    yield "wte.weight", PREFIX + "wte.weight", (config.vocab_size, width)
    yield "wpe.weight", PREFIX + "wpe.weight", (config.n_positions, width)
    for i in range(config.n_layer):
        for part, members in layer.items():
            for member, shape in members.items():
                yield f"h.{i}.{part}.{member}", f"{PREFIX}h.{i}.{part}.{member}", shape
    for member, shape in norm.items():
        yield f"ln_f.{member}", f"{PREFIX}ln_f.{member}", shape


def also(name):
    """Other names under which published files hold a tensor: without the prefix."""
    return (name.removeprefix(PREFIX),)


def export(path, model):
    """Nothing beside the weights."""
