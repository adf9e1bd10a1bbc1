"""The tensors that BERT and its descendants publish alike: embeddings, layers, dense layers, norms.

theirs: <prefix>.encoder.layer.N.attention.self.{query,key,value}.weight [C, C] each
ours:   encoder.h.N.attn.c_attn.weight [3C, C]
"""

import re
from collections.abc import Iterator

from .stored import Stored

NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# Names of the encoder that some files write without the prefix of the family.
BARE = re.compile(r"(embeddings|embeddings_project|encoder|pooler|transformer)\..*")


def canonical(name: str, prefix: str) -> str:
    """Today's name of a tensor: with the prefix, and PyTorch's names for the norms of TensorFlow.

    >>> canonical("embeddings.LayerNorm.gamma", "bert.")
    'bert.embeddings.LayerNorm.weight'
    """
    for old, new in NORM.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return prefix + name if BARE.fullmatch(name) else name


def linear(ours: str, theirs: str | tuple[str, ...], n_in: int, n_out: int) -> Iterator[Stored]:
    """The two tensors of a dense layer, or of several published ones that ours stacks.

    >>> [stored.shape for stored in linear("pooler.dense", "bert.pooler.dense", 5, 7)]
    [(7, 5), (7,)]
    """
    names = (theirs,) if isinstance(theirs, str) else theirs
    weights = tuple(f"{name}.weight" for name in names)
    biases = tuple(f"{name}.bias" for name in names)
    yield Stored(f"{ours}.weight", weights, (n_out, n_in))
    yield Stored(f"{ours}.bias", biases, (n_out,))


def norm(ours: str, theirs: str, width: int) -> Iterator[Stored]:
    """The two tensors of a layer norm."""
    yield Stored(f"{ours}.weight", (f"{theirs}.weight",), (width,))
    yield Stored(f"{ours}.bias", (f"{theirs}.bias",), (width,))


def embeddings(
    ours: str, theirs: str, config, width: int, tied: tuple[str, ...] = ()
) -> Iterator[Stored]:
    """The three tables and their norm; without types if the config has none.

    tied : names under which files repeat the table of words, as the head
    """
    sizes = {
        "words": ("word_embeddings", config.vocab_size),
        "positions": ("position_embeddings", config.max_position_embeddings),
        "types": ("token_type_embeddings", config.type_vocab_size),
    }
    for name, (published, rows) in sizes.items():
        if rows == 0:
            continue
        yield Stored(
            f"{ours}.{name}.weight",
            (f"{theirs}.{published}.weight",),
            (rows, width),
            tied=tied if name == "words" else (),
        )
    yield from norm(f"{ours}.norm", f"{theirs}.LayerNorm", width)


def layers(ours: str, theirs: str, count: int, width: int, inner: int) -> Iterator[Stored]:
    """The tensors of `count` layers, bottom up.

    ours, theirs : `encoder.h`, `bert.encoder.layer`     inner : units of the MLP
    """
    for i in range(count):
        own = f"{ours}.{i}"
        layer = f"{theirs}.{i}"
        attention = f"{layer}.attention"
        stacked = tuple(f"{attention}.self.{part}" for part in ("query", "key", "value"))
        yield from linear(f"{own}.attn.c_attn", stacked, width, width)
        yield from linear(f"{own}.attn.c_proj", f"{attention}.output.dense", width, width)
        yield from norm(f"{own}.ln_1", f"{attention}.output.LayerNorm", width)
        yield from linear(f"{own}.mlp.c_fc", f"{layer}.intermediate.dense", width, inner)
        yield from linear(f"{own}.mlp.c_proj", f"{layer}.output.dense", inner, width)
        yield from norm(f"{own}.ln_2", f"{layer}.output.LayerNorm", width)
