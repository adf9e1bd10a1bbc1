"""AWD-LSTM's and fastai's published models: a file of weights beside the list of their words.

    itos.json                    ["xxunk", "xxpad", "xxbos", …], the words by their row
    NAME.npz or .safetensors     the encoder, or the whole language model

    theirs                                                  ours
    encoder.weight [V, E]                                   table, rows found by the words' text
    rnns.N.module.weight_ih_l0, …weight_hh_l0_raw           lstm.rnns.N.weight_ih_l0, weight_hh_l0
    rnns.N.module.bias_ih_l0, bias_hh_l0                    lstm.rnns.N.bias_l0, their sum
    decoder.bias [V], in a whole language model             bias

Names may begin with the number of the part they stand in (0. or 1.), lack "module.", and lack
"_raw"; a file that has the recurrent weights with and without it keeps its true ones under "_raw".
Layers may be 1150 wide (AWD-LSTM) or 1152 (fastai). A file whose name holds "bwd" is of a model
that reads backwards. A token that only we have gets the mean of all rows.

Only reading; save the model with `hub.save`. The originals are pickles. PyTorch makes them a file
that can be read without running it:

    python -c 'import json, pickle, torch; from safetensors.torch import save_file; \
w = torch.load("model.pth", map_location="cpu", weights_only=True); w = w.get("model", w); \
save_file({n: x.clone().contiguous() for n, x in w.items()}, "model.safetensors"); \
json.dump(list(pickle.load(open("itos.pkl", "rb"))), open("itos.json", "w"))'

Source: the released code of Merity et al. 2018 and of fastai, versions 0.7 to 2.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import files, objectives
from tinylm.errors import CheckpointError, TinylmError
from tinylm.objectives.inherit import picked, rows_by_text
from tinylm.tensors import load_npz, load_tensors
from tinylm.text import Words
from tinylm.text.rules import CAPITAL

from .stored import Stored, match, renamed

WORDS = "*itos.json"
READERS = {".npz": load_npz, ".safetensors": lambda path: load_tensors(path)[0]}
PART = re.compile(r"[01]\.(module\.)?")  # of a language model: the encoder, the head
LAYER = re.compile(r"rnns\.(\d+)\.(?:module\.)?((?:weight|bias)_[ih]h_l0)(?:_raw)?")
COPIES = ("encoder_dp.emb.weight", "encoder_with_dropout.embed.weight", "decoder.weight")
IGNORED = re.compile(r"layers\..*")  # a classifier's head
# Our special tokens, and what the published lists call them.
NAMES = {
    "<unk>": ("xxunk", "_unk_", "UNK"),
    "<pad>": ("xxpad", "_pad_"),
    "<eos>": ("xxeos",),
}
FILLER = "xxfake"  # fastai's: rows that make the table's size a multiple of eight


@dataclass(frozen=True)
class Summed(Stored):
    """Where one of our tensors is stored as several that add up.

    >>> Summed("b", ("b_ih", "b_hh"), (2,)).read({"b_ih": np.ones(2), "b_hh": np.ones(2)})
    array([2., 2.])
    """

    def read(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Our array: the sum of the published ones."""
        return sum(arrays[name] for name in self.theirs)


def found(folder: Path) -> bool:
    """Whether a folder looks like one of these: it holds a list of words and no config.json.

    >>> found(Path("no_such_folder"))
    False
    """
    return (
        os.path.isdir(folder)
        and any(folder.glob(WORDS))
        and not os.path.exists(folder / "config.json")
    )


def load(folder: Path) -> tuple[Any, Words]:
    """The model, in evaluation mode, and the encoding of its words.

    raises CheckpointError  if a file is missing, damaged, or does not fit the other
    """
    listed = _only(folder, sorted(folder.glob(WORDS)), WORDS)
    weights = [path for path in sorted(folder.iterdir()) if path.suffix in READERS]
    place = _only(folder, weights, "*.npz or *.safetensors")
    arrays = true_weights(READERS[place.suffix](place))
    arrays = renamed(place, arrays, canonical)
    names = _read_words(listed)
    table = arrays.get("encoder.weight", np.empty((0, 0)))
    if table.ndim != 2 or len(table) != len(names):
        raise CheckpointError(
            f"{listed} names {len(names)} words, and encoder.weight in {place} has the shape "
            f"{table.shape}; expected a row for each word, take both files from the same model"
        )
    shape = Shape.of(arrays)
    state = match(place, arrays, layout(shape, "decoder.bias" in arrays), IGNORED, listed.name)
    try:
        encoding = encoding_of(names)
    except TinylmError as error:
        raise CheckpointError(f"{listed} is no list of words: {error}") from error
    rows = rows_by_text(names, encoding.vocab, NAMES)
    state["table"] = picked(state["table"], rows)
    state["bias"] = picked(state.get("bias", np.zeros(len(names), np.float32)), rows)
    chapter = objectives.find("ulmfit")
    config = chapter.Config(
        encoding.vocab_size,
        emb_sz=shape.width,
        n_hid=shape.hidden,
        n_layers=shape.layers,
        backward="bwd" in place.name,
    )
    model = chapter(config)
    model.spell(encoding.vocab, encoding.special_ids)
    model.load_state_dict(state)
    return model.eval(), encoding


def true_weights(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays without those that weight drop made from the true ones, which end in "_raw".

    >>> both = {"rnns.0.weight_hh_l0_raw": 1, "rnns.0.module.weight_hh_l0": 2, "encoder.weight": 3}
    >>> list(true_weights(both))
    ['rnns.0.weight_hh_l0_raw', 'encoder.weight']
    """
    raw = {canonical(name) for name in arrays if name.endswith("_raw")}
    kept = {}
    for name, array in arrays.items():
        if name.endswith("_raw") or canonical(name) not in raw:
            kept[name] = array
    return kept


def canonical(name: str) -> str:
    """The name of a tensor without the parts that only some files write.

    >>> canonical("0.rnns.2.module.weight_hh_l0_raw"), canonical("1.decoder.bias")
    ('rnns.2.weight_hh_l0', 'decoder.bias')
    """
    name = PART.sub("", name, count=1) if PART.match(name) else name
    return LAYER.sub(r"rnns.\1.\2", name) if LAYER.fullmatch(name) else name


@dataclass(frozen=True)
class Shape:
    """The sizes of a published model, as its arrays say.

    words : V     width : E, of vectors and the last layer     hidden : of the layers below
    """

    words: int
    width: int
    hidden: int
    layers: int

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Shape":
        """The sizes of arrays under their canonical names; a layer that is missing counts as one.

        >>> arrays = {"encoder.weight": np.ones((11, 5)), "rnns.1.weight_hh_l0": np.ones((20, 5))}
        >>> Shape.of(arrays | {"rnns.0.weight_hh_l0": np.ones((28, 7))})
        Shape(words=11, width=5, hidden=7, layers=2)
        """
        words, width = arrays["encoder.weight"].shape
        numbers = [int(m[1]) for m in map(LAYER.fullmatch, arrays) if m and len(m[1]) <= 3]
        layers = max(numbers, default=0) + 1
        recurrent = arrays.get("rnns.0.weight_hh_l0")
        hidden = width if recurrent is None or not recurrent.ndim else recurrent.shape[-1]
        return cls(words, width, hidden, layers)


def layout(shape: Shape, has_bias: bool) -> Iterator[Stored]:
    """Where the file keeps each tensor.   has_bias : it holds the head's bias

    >>> [stored.theirs for stored in layout(Shape(11, 5, 7, 1), has_bias=False)][:2]
    [('encoder.weight',), ('rnns.0.weight_ih_l0',)]
    """
    yield Stored("table", ("encoder.weight",), (shape.words, shape.width), tied=COPIES)
    if has_bias:
        yield Stored("bias", ("decoder.bias",), (shape.words,))
    below = shape.width
    for i in range(shape.layers):
        width = shape.width if i == shape.layers - 1 else shape.hidden
        gates = 4 * width
        theirs = f"rnns.{i}."
        ours = f"lstm.rnns.{i}."
        yield Stored(ours + "weight_ih_l0", (theirs + "weight_ih_l0",), (gates, below))
        yield Stored(ours + "weight_hh_l0", (theirs + "weight_hh_l0",), (gates, width))
        biases = (theirs + "bias_ih_l0", theirs + "bias_hh_l0")
        yield Summed(ours + "bias_l0", biases, (gates,))
        below = width


def encoding_of(names: Sequence[str]) -> Words:
    """The encoding whose tokens are the words of a published list, our special ones first.

    >>> encoding_of(["xxunk", "xxpad", "xxbos", "xxmaj", "the", "xxfake"]).vocab
    ['<unk>', '<pad>', '<eos>', 'xxbos', 'xxmaj', 'the']
    """
    special = {name for known in NAMES.values() for name in known}
    special |= {*Words.specials, FILLER}
    rules = CAPITAL in names
    if rules:
        special.add("xxbos")
    words = [word for word in dict.fromkeys(names) if word not in special]
    is_lower = all(word == word.lower() for word in words)
    return Words(words, lower=is_lower, rules=rules)


def _read_words(path):
    """The list in an itos.json.   raises CheckpointError"""
    names = files.read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path} is damaged: it must hold a list of words, by their row")
    return names


def _only(folder, paths, pattern):
    """The only one of some files.   raises CheckpointError for none or several"""
    if len(paths) != 1:
        held = ", ".join(path.name for path in paths) or "none"
        raise CheckpointError(
            f"{folder} must hold one file called {pattern}, it holds {held}; a pickle becomes one "
            "by the lines in tinylm/hub/awd_lstm.py"
        )
    return paths[0]
