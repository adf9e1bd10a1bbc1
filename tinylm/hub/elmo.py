"""ELMo's published folders: the options beside the weights, as the original or AllenNLP names them.

    options.json               sizes, in the groups "lstm" and "char_cnn"
    weights.npz or .safetensors

    original                                    ours
    char_embed [261, E]                         a row of zeros, which stands for no word, before it
    CNN/W_cnn_i [1, K, E, n]                    [n, E, K]
    CNN_high_i/W_carry, W_transform [C, C]      transposed
    RNN_d/…/Celln/LSTMCell/W_0 [2P, 4H]         transposed, input and state apart; gates i g f o
                                                become i f g o
    …/B [4H]                                    the same, and 1 is added to f, which the original
                                                adds while it runs

AllenNLP's modules have PyTorch's shapes and gates i f g o, with that 1 added. Its highway gates the
input where the original's gates the change, so its gate has the other sign.

Only reading, for the files hold no softmax: the model encodes any word, but predicts none. Save it
with `hub.save`. The original's HDF5 file becomes an .npz file, with its names, by one line:

    python -c 'import h5py, numpy as np; w = {}; h5py.File("weights.hdf5").visititems(\
lambda name, x: w.update({name: x[()]}) if "Dataset" in str(type(x)) else None); \
np.savez("weights.npz", **w)'

Source: the released bilm-tf and AllenNLP.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import objectives, settings, text
from tinylm.errors import CheckpointError, TinylmError
from tinylm.tensors import load_npz, load_tensors, read_json

from .stored import Stored, match, renamed

OPTIONS = "*options.json"  # the released files have a longer name before it
READERS = {"*weights.npz": load_npz, "*weights.safetensors": lambda path: load_tensors(path)[0]}
CHARACTERS = 261  # the original's kinds of characters; ours has one more for no word
LENGTH = 50  # characters of a word
# What a task learned on top of AllenNLP's module, and its cache of a vocabulary.
IGNORED = re.compile(r"scalar_mix_\d+\..*|.*_word_embedding\..*")
PREFIX = re.compile(r"(_elmo_lstm\.)+")  # of AllenNLP's names, one or two as modules nest
EMBEDDER = "_token_embedder."
DIRECTIONS = ("forward", "backward")
# Options in the groups "lstm" and "char_cnn", and above them -> fields of ElmoConfig.
LSTM = ("use_skip_connections", "projection_dim", "cell_clip", "proj_clip", "dim", "n_layers")
CHAR_CNN = ("activation", "filters", "n_highway")
TRAINING = ("dropout", "unroll_steps", "batch_size", "n_negative_samples_batch")


@dataclass(frozen=True)
class Turned(Stored):
    """Where one of our tensors, or a part of a published one, is stored.

    turn : the published array -> ours

    >>> Turned("w", ("W",), (2, 1), turn=np.transpose).read({"W": np.array([[1.0], [2.0]])})
    array([[1., 2.]])
    """

    turn: Callable[[np.ndarray], np.ndarray] = np.asarray

    def read(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Our array, from the published ones."""
        return np.ascontiguousarray(self.turn(arrays[self.theirs[0]]))


def found(folder: Path) -> bool:
    """Whether a folder looks like one of ELMo's: it holds options and no config.json.

    >>> found(Path("no_such_folder"))
    False
    """
    return (
        os.path.isdir(folder)
        and any(folder.glob(OPTIONS))
        and not os.path.exists(folder / "config.json")
    )


def load(folder: Path) -> tuple[Any, text.ElmoWords]:
    """The model, in evaluation mode, and an encoding without words, which spells all of them.

    raises CheckpointError  if a file is missing, damaged, or does not fit the other
    """
    options = _only(folder, [OPTIONS])
    place = _only(folder, READERS)
    [read] = [read for pattern, read in READERS.items() if place.match(pattern)]
    encoding = text.ElmoWords([])
    try:
        config = from_options(read_json(options), encoding.vocab_size)
    except TinylmError as error:
        raise CheckpointError(f"{options} describes no ELMo that tinylm has: {error}") from error
    arrays = renamed(place, read(place), _without_prefix)
    is_allennlp = any(name.startswith(EMBEDDER) for name in arrays)
    layout = allennlp(config) if is_allennlp else original(config)
    state = match(place, arrays, layout, IGNORED, options.name)
    width = config.projection_dim
    state["softmax.weight"] = np.zeros((config.predicted, width), np.float32)
    state["softmax.bias"] = np.zeros(config.predicted, np.float32)
    model = objectives.find("elmo")(config)
    model.spell(encoding.vocab, encoding.special_ids)
    model.load_state_dict(state)
    return model.eval(), encoding


def _without_prefix(name):
    """A name without the modules that hold the biLM."""
    return PREFIX.sub("", name, count=1) if PREFIX.match(name) else name


def _only(folder, patterns):
    """The one file of a folder that fits a pattern.   raises CheckpointError for none or several"""
    paths = []
    for pattern in patterns:
        paths += sorted(folder.glob(pattern))
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise CheckpointError(
            f"{folder} must hold one file called {' or '.join(patterns)}, it holds {names}; an "
            "HDF5 file becomes .npz by the line in tinylm/hub/elmo.py"
        )
    return paths[0]


def from_options(options: Mapping[str, Any], vocab_size: int) -> Any:
    """ElmoConfig from the object in an options.json.

    raises TinylmError  for options that are missing, or that our model does not have

    >>> cnn = {"filters": [[1, 4]], "n_highway": 1, "embedding": {"dim": 3}, "activation": "relu"}
    >>> from_options({"lstm": {"dim": 8, "projection_dim": 4}, "char_cnn": cnn}, 4).filters
    ((1, 4),)
    """
    lstm = _group(options, "lstm")
    cnn = _group(options, "char_cnn")
    embedding = _group(cnn, "embedding")
    fixed = (
        ("bidirectional", options.get("bidirectional", True), (True,)),
        ("n_characters", cnn.get("n_characters", CHARACTERS), (CHARACTERS, CHARACTERS + 1)),
        ("max_characters_per_token", cnn.get("max_characters_per_token", LENGTH), (LENGTH,)),
    )
    for name, value, allowed in fixed:
        if value not in allowed:
            raise TinylmError(f"{name} is {value!r}, tinylm's ELMo computes only {allowed[0]}")
    fields = {"vocab_size": vocab_size, "embedding_dim": embedding.get("dim")}
    for names, group in ((LSTM, lstm), (CHAR_CNN, cnn), (TRAINING, options)):
        fields |= {name: group[name] for name in names if name in group}
    # The released program has no highway and no clip where an option is left out.
    fields.setdefault("n_highway", 0)
    for name in ("cell_clip", "proj_clip"):
        fields.setdefault(name, None)
    fields.setdefault("use_skip_connections", False)
    return settings.build(objectives.find("elmo").Config, fields)


def _group(options, name):
    """A group of options.   raises TinylmError if it is missing"""
    group = options.get(name)
    if not isinstance(group, Mapping):
        raise TinylmError(f"it lacks the group {name!r}; only an ELMo of characters can be read")
    return group


# -- the original's layout ------------------------------------------------------------------------


def original(config: Any) -> Iterator[Turned]:
    """Where the original keeps each tensor.

    >>> from tinylm import ElmoConfig
    >>> [place.theirs[0] for place in original(ElmoConfig.tiny(4))][:2]
    ['char_embed', 'CNN/W_cnn_0']
    """
    width = config.embedding_dim
    yield Turned("reader.char_embed.weight", ("char_embed",), (CHARACTERS, width), turn=_no_word)
    for i, (size, count) in enumerate(config.filters):
        ours = f"reader.convolutions.{i}"
        shape = (1, size, width, count)
        yield Turned(f"{ours}.weight", (f"CNN/W_cnn_{i}",), shape, turn=_filters)
        yield Turned(f"{ours}.bias", (f"CNN/b_cnn_{i}",), (count,))
    n_filters = sum(count for _, count in config.filters)
    for i in range(config.n_highway):
        for gate in ("carry", "transform"):
            ours = f"reader.highway.{i}.{gate}"
            theirs = (f"CNN_high_{i}/W_{gate}", f"CNN_high_{i}/b_{gate}")
            yield from _linear(ours, theirs, n_filters, n_filters)
    if config.projection_dim != n_filters:
        theirs = ("CNN_proj/W_proj", "CNN_proj/b_proj")
        yield from _linear("reader.projection", theirs, n_filters, config.projection_dim)
    for way in range(2):
        for layer in range(config.n_layers):
            ours = f"lm.directions.{way}.rnns.{layer}"
            theirs = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            yield from _cell(ours, theirs, config)


def _no_word(table):
    """A row of zeros before the characters: it stands where no word is."""
    return np.pad(table, ((1, 0), (0, 0)))


def _filters(weights):
    """[1, K, E, n] -> [n, E, K]"""
    return weights[0].transpose(2, 1, 0)


def _linear(ours, theirs, n_in, n_out):
    """A matrix and its bias."""
    weight, bias = theirs
    yield Turned(f"{ours}.weight", (weight,), (n_in, n_out), turn=np.transpose)
    yield Turned(f"{ours}.bias", (bias,), (n_out,))


def _cell(ours, theirs, config):
    """The tensors of one LSTM layer."""
    cells = config.dim
    width = config.projection_dim
    kernel = (f"{theirs}/W_0",)
    shape = (2 * width, 4 * cells)
    for name, rows in (("ih", slice(width)), ("hh", slice(width, None))):

        def part(weights, rows=rows):
            return _gates(weights[rows].T)

        yield Turned(f"{ours}.weight_{name}_l0", kernel, shape, turn=part)
    yield Turned(f"{ours}.bias_l0", (f"{theirs}/B",), (4 * cells,), turn=_forget)
    if width < cells:
        projection = (f"{theirs}/W_P_0",)
        yield Turned(f"{ours}.weight_hr_l0", projection, (cells, width), turn=np.transpose)


def _gates(rows):
    """Rows of the gates i g f o -> i f g o."""
    i, g, f, o = np.split(rows, 4)
    return np.concatenate([i, f, g, o])


def _forget(bias):
    """The bias of the gates i g f o -> i f g o, with the 1 that the original adds to f."""
    i, f, g, o = np.split(_gates(bias), 4)
    return np.concatenate([i, f + 1, g, o])


# -- AllenNLP's layout ----------------------------------------------------------------------------


def allennlp(config: Any) -> Iterator[Turned]:
    """Where AllenNLP's modules keep each tensor.

    >>> from tinylm import ElmoConfig
    >>> [place.theirs[0] for place in allennlp(ElmoConfig.tiny(4))][1]
    '_token_embedder.char_conv_0.weight'
    """
    width = config.embedding_dim
    table = (f"{EMBEDDER}_char_embedding_weights",)
    yield Turned("reader.char_embed.weight", table, (CHARACTERS + 1, width))
    for i, (size, count) in enumerate(config.filters):
        ours = f"reader.convolutions.{i}"
        yield from _same(ours, f"{EMBEDDER}char_conv_{i}", (count, width, size))
    n_filters = sum(count for _, count in config.filters)
    for i in range(config.n_highway):
        for part, shape in (("weight", (2 * n_filters, n_filters)), ("bias", (2 * n_filters,))):
            theirs = (f"{EMBEDDER}_highways._layers.{i}.{part}",)
            ours = f"reader.highway.{i}"
            yield Turned(f"{ours}.transform.{part}", theirs, shape, turn=_upper)
            yield Turned(f"{ours}.carry.{part}", theirs, shape, turn=_negated_lower)
    if config.projection_dim != n_filters:
        shape = (config.projection_dim, n_filters)
        yield from _same("reader.projection", f"{EMBEDDER}_projection", shape)
    for way, name in enumerate(DIRECTIONS):
        for layer in range(config.n_layers):
            ours = f"lm.directions.{way}.rnns.{layer}"
            theirs = f"{name}_layer_{layer}"
            gates = 4 * config.dim
            shape = (gates, config.projection_dim)
            inputs = (f"{theirs}.input_linearity.weight",)
            yield Turned(f"{ours}.weight_ih_l0", inputs, shape)
            yield Turned(f"{ours}.weight_hh_l0", (f"{theirs}.state_linearity.weight",), shape)
            yield Turned(f"{ours}.bias_l0", (f"{theirs}.state_linearity.bias",), (gates,))
            if config.projection_dim < config.dim:
                projection = (f"{theirs}.state_projection.weight",)
                shape = (config.projection_dim, config.dim)
                yield Turned(f"{ours}.weight_hr_l0", projection, shape)


def _same(ours, theirs, shape):
    """A weight and its bias, as they are."""
    yield Turned(f"{ours}.weight", (f"{theirs}.weight",), shape)
    yield Turned(f"{ours}.bias", (f"{theirs}.bias",), shape[:1])


def _upper(both):
    """The first half of the rows: the transformation."""
    return both[: len(both) // 2]


def _negated_lower(both):
    """The second half of the rows: the gate of the input, opposite to that of the change."""
    return -both[len(both) // 2 :]
