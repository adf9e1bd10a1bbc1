"""ELMo's published folders: read here, every layer and gradient equals a plain PyTorch program's."""

import json

import numpy as np
import pytest
from parity import DTYPES, GRADIENT_TOLERANCE, TOLERANCE, expect_close

from tinylm import hub
from tinylm.errors import CheckpointError
from tinylm.hub import elmo
from tinylm.objectives.elmo import Elmo
from tinylm.tensors import save_tensors
from tinylm.text.elmo import sentence_characters

CASES = range(8)
WORDS = ["a", "bank", "naïve", "東京", "x" * 60, "of", "Rivers", "!"]


class Sizes:
    """The shape of one drawn model: odd numbers, so that no axis can stand for another."""

    def __init__(self, case):
        self.rng = rng = np.random.default_rng([case, 17])
        self.embedding = int(rng.choice([3, 5]))
        sizes = rng.permutation(6)[: int(rng.integers(1, 4))] + 1
        self.filters = [[int(size), int(rng.choice([5, 7, 11]))] for size in sorted(sizes)]
        self.n_filters = sum(count for _, count in self.filters)
        self.width = self.n_filters if case == 3 else int(rng.choice([3, 13]))
        self.cells = self.width if case == 5 else max(17, self.width + 4)
        self.layers = int(rng.integers(1, 4))
        self.highway = case % 3
        self.skip = case != 2
        self.clips = {} if case == 4 else {"cell_clip": 0.4, "proj_clip": 0.3}
        self.activation = "tanh" if case % 2 else "relu"

    def options(self):
        """The object of options.json."""
        lstm = {"dim": self.cells, "projection_dim": self.width, "n_layers": self.layers}
        lstm |= {"use_skip_connections": self.skip, **self.clips}
        cnn = {"activation": self.activation, "filters": self.filters, "n_highway": self.highway}
        cnn |= {"embedding": {"dim": self.embedding}, "n_characters": 262}
        return {"lstm": lstm, "char_cnn": cnn | {"max_characters_per_token": 50}}

    def draw(self, *shape):
        return 0.5 * self.rng.standard_normal(shape)

    def weights(self):
        """Random weights under the original's names."""
        found = {"char_embed": self.draw(261, self.embedding)}
        for i, (size, count) in enumerate(self.filters):
            found[f"CNN/W_cnn_{i}"] = self.draw(1, size, self.embedding, count)
            found[f"CNN/b_cnn_{i}"] = self.draw(count)
        n = self.n_filters
        for i in range(self.highway):
            for gate in ("carry", "transform"):
                found[f"CNN_high_{i}/W_{gate}"] = self.draw(n, n)
                found[f"CNN_high_{i}/b_{gate}"] = self.draw(n)
        if self.width != n:
            found["CNN_proj/W_proj"] = self.draw(n, self.width)
            found["CNN_proj/b_proj"] = self.draw(self.width)
        for way in (0, 1):
            for layer in range(self.layers):
                cell = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
                found[f"{cell}/W_0"] = self.draw(2 * self.width, 4 * self.cells)
                found[f"{cell}/B"] = self.draw(4 * self.cells)
                if self.width < self.cells:
                    found[f"{cell}/W_P_0"] = self.draw(self.cells, self.width)
        return found


def as_allennlp(weights, sizes, prefix):
    """The same weights under AllenNLP's names, as its loader turns them."""
    place = prefix + "_token_embedder."
    table = np.zeros((262, sizes.embedding))
    table[1:] = weights["char_embed"]
    found = {place + "_char_embedding_weights": table}
    for i in range(len(sizes.filters)):
        filters = np.transpose(weights[f"CNN/W_cnn_{i}"].squeeze(axis=0), axes=(2, 1, 0))
        found[f"{place}char_conv_{i}.weight"] = filters
        found[f"{place}char_conv_{i}.bias"] = weights[f"CNN/b_cnn_{i}"]
    for i in range(sizes.highway):
        high = {name: weights[f"CNN_high_{i}/{name}"] for name in ("W_carry", "b_carry")}
        high |= {name: weights[f"CNN_high_{i}/{name}"] for name in ("W_transform", "b_transform")}
        matrices = [high["W_transform"].T, -1.0 * high["W_carry"].T]
        found[f"{place}_highways._layers.{i}.weight"] = np.concatenate(matrices, axis=0)
        biases = [high["b_transform"], -1.0 * high["b_carry"]]
        found[f"{place}_highways._layers.{i}.bias"] = np.concatenate(biases, axis=0)
    if sizes.width != sizes.n_filters:
        found[place + "_projection.weight"] = weights["CNN_proj/W_proj"].T
        found[place + "_projection.bias"] = weights["CNN_proj/b_proj"]
    n = sizes.cells
    for way, name in enumerate(("forward", "backward")):
        for layer in range(sizes.layers):
            cell = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            kernel = weights[f"{cell}/W_0"].T.copy()
            bias = weights[f"{cell}/B"].copy()
            for array in (kernel, bias):
                old = array.copy()
                array[n : 2 * n], array[2 * n : 3 * n] = old[2 * n : 3 * n], old[n : 2 * n]
            bias[n : 2 * n] += 1
            place = f"{prefix}_elmo_lstm.{name}_layer_{layer}."
            found[place + "input_linearity.weight"] = kernel[:, : sizes.width]
            found[place + "state_linearity.weight"] = kernel[:, sizes.width :]
            found[place + "state_linearity.bias"] = bias
            if sizes.width < n:
                found[place + "state_projection.weight"] = weights[f"{cell}/W_P_0"].T
    found["scalar_mix_0.gamma"] = np.ones(1)
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def folder_of(folder, sizes, weights, kind="npz", dtype=np.float64):
    """Write a published folder: the original's as npz or safetensors, AllenNLP's as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "elmo_options.json").write_text(json.dumps(sizes.options()), encoding="utf-8")
    if kind == "allennlp":
        weights = as_allennlp(weights, sizes, "_elmo_lstm." if sizes.highway else "")
    weights = {name: array.astype(dtype) for name, array in weights.items()}
    if kind == "npz":
        np.savez(folder / "elmo_weights.npz", **weights)
    else:
        save_tensors(folder / "elmo_weights.safetensors", weights)
    return folder


def original_program(weights, sizes, chars, lengths):
    """The released program in plain PyTorch: every layer (B, T, 2P) of each sentence by itself.

    weights : name -> tensor     chars : (B, T, 50), ids as the released program shifts them
    """
    import torch

    table = torch.cat([torch.zeros_like(weights["char_embed"][:1]), weights["char_embed"]])
    x = table[torch.tensor(chars.astype(np.int64))]  # (B,T,50,E)
    maxima = []
    for i, (size, _) in enumerate(sizes.filters):
        windows = x.unfold(2, size, 1)  # (B,T,51−K,E,K)
        kernel = weights[f"CNN/W_cnn_{i}"][0]
        scores = torch.einsum("btpek,ken->btpn", windows, kernel) + weights[f"CNN/b_cnn_{i}"]
        maxima.append(scores.amax(dim=2))
    act = torch.relu if sizes.activation == "relu" else torch.tanh
    x = act(torch.cat(maxima, dim=-1))
    for i in range(sizes.highway):
        high = {n: weights[f"CNN_high_{i}/{n}"] for n in ("W_carry", "b_carry")}
        high |= {n: weights[f"CNN_high_{i}/{n}"] for n in ("W_transform", "b_transform")}
        carry = torch.sigmoid(x @ high["W_carry"] + high["b_carry"])
        x = carry * torch.relu(x @ high["W_transform"] + high["b_transform"]) + (1 - carry) * x
    if sizes.width != sizes.n_filters:
        x = x @ weights["CNN_proj/W_proj"] + weights["CNN_proj/b_proj"]
    rows = []
    for row, length in zip(x, lengths, strict=True):
        words = row[:length]
        layers = [[words, words]]
        for way in (0, 1):
            inputs = words.flip(0) if way else words
            for layer in range(sizes.layers):
                outputs = cell_by_cell(weights, sizes, inputs, way, layer)
                inputs = outputs + inputs if layer and sizes.skip else outputs
                if way == 0:
                    layers.append([inputs])
                else:
                    layers[layer + 1].append(inputs.flip(0))
        rows.append([torch.cat(pair, dim=1) for pair in layers])
    return rows


def cell_by_cell(weights, sizes, inputs, way, layer):
    """TensorFlow's LSTMCell, step after step: gates i, g, f, o, one added to f, both clips."""
    import torch

    name = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
    h = torch.zeros(sizes.width, dtype=inputs.dtype)
    c = torch.zeros(sizes.cells, dtype=inputs.dtype)
    outputs = []
    for x in inputs:
        z = torch.cat([x, h]) @ weights[f"{name}/W_0"] + weights[f"{name}/B"]
        i, g, f, o = z.chunk(4)
        c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
        if "cell_clip" in sizes.clips:
            c = c.clamp(-sizes.clips["cell_clip"], sizes.clips["cell_clip"])
        h = torch.sigmoid(o) * torch.tanh(c)
        if sizes.width < sizes.cells:
            h = h @ weights[f"{name}/W_P_0"]
            if "proj_clip" in sizes.clips:
                h = h.clamp(-sizes.clips["proj_clip"], sizes.clips["proj_clip"])
        outputs.append(h)
    return torch.stack(outputs)


def text_of(sizes):
    """Sentences of different lengths as chars (B, T, 50), and their mask (B, T)."""
    sentences = [sizes.rng.choice(WORDS, length).tolist() for length in (5, 2, 3)]
    return sentence_characters(sentences)


@pytest.mark.peer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["npz", "safetensors", "allennlp"])
@pytest.mark.parametrize("case", CASES)
def test_every_layer_and_gradient_is_the_original_programs(case, kind, dtype, tmp_path):
    import torch

    sizes = Sizes(case)
    weights = sizes.weights()
    if dtype is np.float32:
        weights = {name: array.astype(np.float32) for name, array in weights.items()}
    model, encoding = hub.load(folder_of(tmp_path, sizes, weights, kind, dtype))
    if dtype is np.float64:  # read as float32: take the numbers before they were rounded
        model.astype(np.float64)
        layout = elmo.original(model.config)
        exact = {place.ours: place.read(weights) for place in layout}
        model.load_state_dict(model.state_dict() | exact)
    chars, mask = text_of(sizes)
    leaves = {}
    for name, array in weights.items():
        leaves[name] = torch.tensor(array, dtype=torch.float64, requires_grad=True)
    theirs = original_program(leaves, sizes, chars, mask.sum(axis=1))
    ours = model.encode(None, mask, chars)
    assert len(ours) == sizes.layers + 1 and encoding.vocab_size == 4
    pull = [sizes.rng.standard_normal(layer.shape) for layer in ours]
    total = 0
    for row, layers in enumerate(theirs):
        for layer, (mine, wanted) in enumerate(zip(ours, layers, strict=True)):
            length = len(wanted)
            got = mine.data[row, :length]
            expect_close(got, wanted, TOLERANCE[dtype], f"layer {layer} of row {row}")
            total = total + (wanted * torch.tensor(pull[layer][row, :length])).sum()
    total.backward()
    scalar = 0
    for mine, cotangent in zip(ours, pull, strict=True):
        scalar = (mine * (cotangent * mask[:, :, None]).astype(dtype)).sum() + scalar
    scalar.backward()
    own = dict(model.named_parameters())
    for place in elmo.original(model.config):
        name = place.theirs[0]
        value, gradient = leaves[name].detach().numpy(), leaves[name].grad.numpy()
        linear = place.read({name: value + gradient}) - place.read({name: value})
        found = own[place.ours].grad
        if place.ours == "reader.char_embed.weight":
            found, linear = found[1:], linear[1:]  # the row for no word is not read by theirs
        expect_close(found, torch.tensor(linear), GRADIENT_TOLERANCE[dtype], place.ours)


@pytest.mark.parametrize("kind", ["npz", "safetensors", "allennlp"])
def test_both_layouts_are_the_same_model_which_is_saved_as_ours(kind, tmp_path):
    sizes = Sizes(1)
    weights = sizes.weights()
    first, _ = hub.load(folder_of(tmp_path / "first", sizes, weights))
    model, encoding = hub.load(folder_of(tmp_path / "other", sizes, weights, kind))
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, first.state_dict()[name], rtol=1e-6, err_msg=name)
    hub.save(tmp_path / "saved", model, encoding)
    again, words = hub.load(tmp_path / "saved")
    texts = words(["Rivers of 東京", "a"])
    for one, other in zip(model.encode(**texts), again.encode(**texts), strict=True):
        assert np.array_equal(one.data, other.data)
    assert isinstance(again, Elmo) and again.config == model.config


@pytest.mark.parametrize(
    "change,said",
    [
        ({"char_cnn": None}, "lacks the group 'char_cnn'"),
        ({"bidirectional": False}, "bidirectional is False"),
        ({"lstm": {"dim": "many"}}, "dim is 'many'"),
        (
            {"lstm": {"dim": 19}},
            "has the shape .*elmo_options.json|elmo_options.json.*has the shape",
        ),
    ],
)
def test_options_that_describe_another_model_are_one_sentence(change, said, tmp_path):
    sizes = Sizes(0)
    folder = folder_of(tmp_path, sizes, sizes.weights())
    options = sizes.options()
    for name, value in change.items():
        options[name] = options[name] | value if isinstance(value, dict) else value
    (folder / "elmo_options.json").write_text(json.dumps(options), encoding="utf-8")
    with pytest.raises(CheckpointError, match=said):
        hub.load(folder)


def test_missing_and_unexpected_weights_are_named(tmp_path):
    sizes = Sizes(0)
    weights = sizes.weights()
    del weights["CNN/b_cnn_0"]
    weights["softmax/W"] = np.ones((3, 3))
    folder = folder_of(tmp_path, sizes, weights)
    with pytest.raises(CheckpointError, match=r"lacks CNN/b_cnn_0; it holds softmax/W"):
        hub.load(folder)
    (folder / "elmo_weights.npz").unlink()
    with pytest.raises(CheckpointError, match="it holds none; an HDF5 file becomes .npz"):
        hub.load(folder)
