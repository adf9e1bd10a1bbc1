"""Damage of every kind in the folders of every published family: one sentence each, nothing written or run."""

import functools
import math
import re
import shutil

import numpy as np
import pytest
from hostile import contents, refused, shard, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tinylm import files, hub
from tinylm.errors import TinylmError
from tinylm.hub.weights import INDEX, WEIGHTS
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.objectives.electra import Electra, ElectraConfig
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.objectives.gpt1 import GPT1, GPT1Config
from tinylm.training import checkpoint

SIZES = dict(vocab_size=23, n_positions=7, n_embd=6, n_layer=2, n_head=2)
WIDE = dict(hidden_size=6, num_hidden_layers=2, num_attention_heads=2, intermediate_size=11)
WIDE |= dict(max_position_embeddings=7)
FAMILIES = {
    "openai-gpt": lambda: GPT1(GPT1Config(**SIZES)),
    "gpt2": lambda: GPT(GPTConfig(**SIZES, n_inner=11)),
    "bert": lambda: Bert(BertConfig(23, **WIDE)),
    "distilbert": lambda: Bert(BertConfig(23, **WIDE, type_vocab_size=0, heads=("masked",))),
    "electra": lambda: Electra(ElectraConfig(23, **WIDE, embedding_size=5)),
}
LAYERS = {"openai-gpt": "n_layer", "gpt2": "n_layer", "distilbert": "n_layers"}
few = settings(max_examples=15)
every = pytest.mark.parametrize("family", FAMILIES)
NUMBERS = st.integers(-3, 40) | st.sampled_from([2**16, 2**20, 2**31, 2**63, 10**30])
JSON = st.none() | st.booleans() | NUMBERS | st.floats() | st.text(max_size=3)
JSON |= st.lists(JSON, max_size=2) | st.dictionaries(st.text(max_size=3), JSON, max_size=2)
HEADS = st.sampled_from(["", ".", "..", "/", "../", "sub/", "\\\\host\\", "C:", "~", "file:"])


SAVED = {}  # family -> the folder that all others are copies of


def published(family, tmp_path_factory):
    """A new folder with a whole model of a family, inside a folder of its own."""
    if family not in SAVED:
        SAVED[family] = tmp_path_factory.mktemp(family) / "saved"
        hub.save(SAVED[family], FAMILIES[family]())
        assert checkpoint.read_json(SAVED[family] / hub.CONFIG)["model_type"] == family
    folder = tmp_path_factory.mktemp(family) / "model"
    shutil.copytree(SAVED[family], folder)
    return folder


@functools.cache
def names_of(family):
    """The published names of a family's tensors."""
    module = hub._family(family)
    config = FAMILIES[family]().config
    return sorted(name for stored in module.layout(config) for name in stored.theirs)


def replace(folder, changed, shards):
    """Write other tensors into a folder, in one file or in shards, whatever numbers they hold."""
    save_file(changed, folder / WEIGHTS)
    if shards:
        shard(folder, shards)


@every
@pytest.mark.parametrize("damage", ["missing", "misshapen", "kind", "not finite", "further"])
@few
@given(data=st.data(), shards=st.sampled_from([0, 2]))
def test_any_damaged_tensor_is_named(tmp_path_factory, family, damage, shards, data):
    """A head is known by one of its tensors; without that one the others have no place."""
    folder = published(family, tmp_path_factory)
    arrays = weights_of(folder)
    name = data.draw(st.sampled_from(names_of(family)))
    array = arrays.pop(name)
    if damage == "misshapen":
        axes = data.draw(st.lists(st.integers(0, 12), max_size=3))
        shape = tuple(axes) if tuple(axes) != array.shape else (*axes, 1)
        arrays[name] = np.zeros(shape, np.float32)
    elif damage == "kind":
        kind = data.draw(st.sampled_from(["int8", "int64", "uint8", "bool", "uint32"]))
        arrays[name] = np.zeros(array.shape, kind)
    elif damage == "not finite":
        kind = data.draw(st.sampled_from(["float16", "float32", "float64"]))
        array = array.astype(kind)
        place = data.draw(st.integers(0, array.size - 1))
        array.flat[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        arrays[name] = array
    elif damage == "further":
        arrays[name] = array
        name = data.draw(
            st.sampled_from(["extra.weight", f"{name}.more", name.replace("0", "7") + "x"])
        )
        arrays[name] = array
    replace(folder, arrays, 0 if damage == "not finite" else shards)
    sentence = re.escape(name)
    if damage == "missing":
        sentence += "|has no place|heads = |hold neither"
    refused(folder, sentence)


@every
@few
@given(data=st.data())
def test_an_index_cannot_name_a_file_elsewhere(tmp_path_factory, family, data):
    folder = published(family, tmp_path_factory)
    index = shard(folder, 2)
    name = data.draw(st.sampled_from(sorted(index["weight_map"])))
    real = index["weight_map"][name]
    outside = folder.parent / "secret.safetensors"
    outside.write_bytes((folder / real).read_bytes())
    head = data.draw(HEADS)
    place = data.draw(
        st.sampled_from([f"{head}{real}", f"../{outside.name}", str(outside), f"{head}{real}\n"])
        | JSON
    )
    if place == real:
        place = "../" + place
    index["weight_map"][name] = place
    files.write_json(folder / INDEX, index)
    refused(
        folder, "expected the name of a .safetensors file in the same folder|holds no .*safetensors"
    )


@every
def test_a_missing_shard_is_named(tmp_path_factory, family):
    for missing in range(3):
        folder = published(family, tmp_path_factory)
        index = shard(folder, 3)
        name = sorted(set(index["weight_map"].values()))[missing]
        (folder / name).unlink()
        refused(folder, f"holds no {name}")


@every
def test_weights_that_could_run_code_are_not_read(tmp_path_factory, family):
    folder = published(family, tmp_path_factory)
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    refused(folder, r"save_pretrained\(folder, safe_serialization=True\)")


@every
@few
@given(data=st.data())
def test_a_config_that_contradicts_its_weights_is_refused_or_changes_no_tensor(
    tmp_path_factory, family, data
):
    """A number of heads that divides the width, or a rate of dropout, contradicts nothing."""
    folder = published(family, tmp_path_factory)
    own = weights_of(folder)
    fields = checkpoint.read_json(folder / hub.CONFIG)
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(
        JSON | st.sampled_from(["../..", "gpt2", "bert", "t5", "relu", "mish"])
    )
    files.write_json(folder / hub.CONFIG, fields)
    before = contents(folder.parent)
    try:
        model, _ = hub.load(folder)
    except TinylmError as error:
        assert "\n" not in str(error)
    else:
        count = sum(math.prod(array.shape) for array in own.values())
        assert sum(p.size for p in model.parameters()) == count
        hub.save(folder.parent / "again", model)
        for tensor, array in weights_of(folder.parent / "again").items():
            np.testing.assert_array_equal(array, own[tensor])
    assert before.items() <= contents(folder.parent).items()


@every
@pytest.mark.parametrize("layers", [0, 1, 3, 50])
def test_another_number_of_layers_is_refused(tmp_path_factory, family, layers):
    folder = published(family, tmp_path_factory)
    fields = checkpoint.read_json(folder / hub.CONFIG)
    name = LAYERS.get(family, "num_hidden_layers")
    assert fields[name] == 2
    files.write_json(folder / hub.CONFIG, fields | {name: layers})
    refused(folder, "lacks|no place|is 0")


@every
@few
@given(data=st.data())
def test_any_changed_bytes_give_a_model_or_one_sentence(tmp_path_factory, family, data):
    folder = published(family, tmp_path_factory)
    path = folder / data.draw(st.sampled_from([WEIGHTS, hub.CONFIG]))
    content = bytearray(path.read_bytes())
    head = min(len(content), 4000)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, head - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.sampled_from([None, head, head // 2]))]))
    before = contents(folder.parent)
    try:
        hub.load(folder)
    except TinylmError as error:
        assert "\n" not in str(error)
    assert contents(folder.parent) == before
