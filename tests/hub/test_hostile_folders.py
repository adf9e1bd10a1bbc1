"""Damaged and hostile folders: one sentence each; nothing is written, run, or allocated beyond the files."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from hostile import refused, shard, weights_of
from hypothesis import given
from hypothesis import strategies as st

from tinylm import files, hub, text
from tinylm.errors import CheckpointError, TinylmError
from tinylm.hub.weights import INDEX, WEIGHTS
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.tensors import load_tensors
from tinylm.training import checkpoint

CONFIG = GPTConfig(vocab_size=53, n_positions=13, n_embd=22, n_layer=3, n_head=2, n_inner=17)
BERT = BertConfig(
    53,
    hidden_size=22,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=17,
    max_position_embeddings=13,
)


@pytest.fixture
def folder(tmp_path):
    """A folder with a whole GPT."""
    hub.save(tmp_path / "gpt", GPT(CONFIG))
    return tmp_path / "gpt"


def test_shards_are_read_as_one_file_is(folder):
    whole, _ = hub.load(folder)
    shard(folder)
    again, _ = hub.load(folder)
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


@pytest.mark.parametrize(
    "name",
    ["../gpt/model-00001-of-00003.safetensors", "/etc/passwd", "..", "", "a/b.safetensors",
     "model.bin", ".hidden.safetensors", "C:\\\\x.safetensors", "a\\\\b.safetensors", 7, None,
     ["model.safetensors"], "x\n.safetensors", "model.safetensors.index.json"],
)  # fmt: skip
def test_an_index_that_points_elsewhere_is_refused(folder, name):
    index = shard(folder)
    index["weight_map"]["transformer.wte.weight"] = name
    files.write_json(folder / INDEX, index)
    refused(folder, "expected the name of a .safetensors file in the same folder")


def test_a_missing_shard_is_named(folder):
    shard(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    refused(folder, "holds no model-00002-of-00003.safetensors")


def test_a_tensor_that_stands_in_two_shards_is_refused(folder):
    shard(folder)
    first, second = sorted(folder.glob("model-*"))[:2]
    arrays = load_tensors(first)[0] | load_tensors(second)[0]
    checkpoint.save_tensors(second, arrays)
    refused(folder, "holds unlisted transformer")


def test_a_tensor_that_its_shard_lacks_is_named(folder):
    shard(folder)
    first = min(folder.glob("model-*"))
    arrays = load_tensors(first)[0]
    checkpoint.save_tensors(first, dict(list(arrays.items())[1:]))
    refused(folder, "lacks transformer.* its index says otherwise")


@pytest.mark.parametrize("total", [0, 10**15, "many", -1, True])
def test_a_wrong_total_is_refused(folder, total):
    shard(folder, total_size=total)
    refused(folder, "announces .* bytes, its shards hold")


@pytest.mark.parametrize("index", [{}, [], 3, {"weight_map": {}}, {"weight_map": []},
                                   {"weight_map": {"a": "b.safetensors"}, "metadata": 3}])  # fmt: skip
def test_a_damaged_index_is_refused(folder, index):
    shard(folder)
    files.write_json(folder / INDEX, index)
    refused(folder, "damaged|expected an object")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(folder, name):
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    refused(folder, r"save_pretrained\(folder, safe_serialization=True\)")


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_weights_that_are_no_floating_point_numbers_are_refused(folder, dtype):
    arrays = weights_of(folder)
    name = "transformer.h.1.mlp.c_fc.weight"
    checkpoint.save_tensors(folder / WEIGHTS, arrays | {name: arrays[name].astype(dtype)})
    refused(folder, f"{name} holds {dtype}, not floating-point numbers")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_weights_that_are_not_finite_are_refused(folder, value, dtype):
    from safetensors.numpy import save_file

    arrays = {name: array.astype(dtype) for name, array in weights_of(folder).items()}
    arrays["transformer.ln_f.bias"][7] = value
    save_file(arrays, folder / WEIGHTS)
    refused(folder, "transformer.ln_f.bias holds NaN or infinity")


def test_a_number_too_large_for_float32_is_refused(folder):
    arrays = {name: array.astype(np.float64) for name, array in weights_of(folder).items()}
    arrays["transformer.ln_f.bias"][7] = 1e300
    checkpoint.save_tensors(folder / WEIGHTS, arrays)
    refused(folder, "too large")


def raw(header, numbers=b""):
    """The bytes of a safetensors file with any header."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + numbers


def tensor(dtype="F32", shape=(2,), begin=0, end=8):
    """The facts of one tensor in a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 7, struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 2**40), struct.pack("<Q", 9) + b"{}",
     raw(b"[" * 100_000), raw(b"not json"), raw([]), raw(3), raw({"a": 3}), raw({"a": {}}),
     raw({"a": tensor(shape=(2**40,))}, bytes(8)), raw({"a": tensor(end=2**50)}, bytes(8)),
     raw({"a": tensor(shape=(-2,))}, bytes(8)), raw({"a": tensor(begin=-8, end=0)}, bytes(8)),
     raw({"a": tensor("BF16", (2**30, 2**30), 0, 8)}, bytes(8)), raw({"a": tensor("BF16", (4,), 0, 2**45)}, bytes(8)),
     raw({"a": tensor("BF16", (4,), 8, 0)}, bytes(8)), raw({"a": tensor("F8_E4M3", (8,), 0, 8)}, bytes(8)),
     raw({"a": tensor(), "b": tensor()}, bytes(8)), raw({"a": tensor()}, bytes(9)), raw({"a": tensor()}, bytes(7)),
     raw(b'{"a":' + json.dumps(tensor()).encode() + b',"a":' + json.dumps(tensor("BF16", (4,))).encode() + b"}", bytes(9))],
)  # fmt: skip
def test_a_damaged_weights_file_is_one_sentence(folder, content):
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, "is damaged or not a safetensors file")


@given(st.data())
def test_any_changed_byte_gives_a_model_or_one_sentence(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    hub.save(folder, GPT(dataclasses.replace(CONFIG, n_layer=1)))
    path = folder / data.draw(st.sampled_from([WEIGHTS, hub.CONFIG]))
    content = bytearray(path.read_bytes())
    head = min(len(content), 500)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, head - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.sampled_from([None, head, head // 2]))]))
    try:
        hub.load(folder)
    except TinylmError as error:
        assert "\n" not in str(error)


def test_bfloat16_is_read_as_the_float32_numbers_whose_upper_half_it_is(tmp_path):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(3, 5)).astype(np.float32)
    halves = (whole.view(np.uint32) >> 16).astype(np.uint16)
    header = {
        "odd": tensor("U8", (1,), 0, 1),
        "w": tensor("BF16", (3, 5), 1, 31),
        "none": tensor("BF16", (0, 5), 31, 31),
        "scalar": tensor("BF16", (), 31, 33),
    }
    numbers = b"\7" + halves.tobytes() + halves[0, :1].tobytes()
    (tmp_path / "w.safetensors").write_bytes(raw(header, numbers))
    arrays, _ = load_tensors(tmp_path / "w.safetensors")
    expected = (halves.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(arrays["w"], expected)
    assert arrays["w"].dtype == np.float32 and arrays["none"].shape == (0, 5)
    assert arrays["scalar"] == expected[0, 0] and arrays["scalar"].shape == ()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_read_as_float32(folder, dtype):
    arrays = {name: array.astype(dtype) for name, array in weights_of(folder).items()}
    checkpoint.save_tensors(folder / WEIGHTS, arrays)
    model, _ = hub.load(folder)
    table = model.state_dict()["wte.weight"]
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, arrays["transformer.wte.weight"].astype(np.float32))


def test_the_first_five_wrong_tensors_of_each_kind_are_named(folder):
    arrays = weights_of(folder)
    changed = {}
    for name, array in arrays.items():
        if ".h.0." in name:
            continue
        if ".h.1." in name:
            array = array[..., :3]
        changed[name] = array
    changed |= {f"extra.{i}": np.zeros(2, np.float32) for i in range(7)}
    checkpoint.save_tensors(folder / WEIGHTS, changed)
    with pytest.raises(CheckpointError) as caught:
        hub.load(folder)
    lacks, shapes, others = str(caught.value).split("; ")[0:3]
    assert "lacks transformer.h.0.ln_1.weight, " in lacks and lacks.endswith("and 7 more")
    assert "transformer.h.1.ln_1.weight has the shape (3,), not (22,)" in shapes
    assert shapes.endswith("and 7 more")
    assert "extra.4 and 2 more" in others and "no place" in others


def test_two_names_of_the_same_tensor_are_refused(folder):
    arrays = weights_of(folder)
    arrays["wte.weight"] = arrays["transformer.wte.weight"]
    checkpoint.save_tensors(folder / WEIGHTS, arrays)
    refused(folder, "holds transformer.wte.weight twice")


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"num_hidden_layers": 3}, "lacks bert.encoder.layer.2.attention.self.query.weight"),
        ({"num_hidden_layers": 1}, "for which the model has no place"),
        ({"hidden_size": 24}, "word_embeddings.weight has the shape"),
        ({"type_vocab_size": 0}, "holds bert.embeddings.token_type_embeddings.weight"),
        ({"num_attention_heads": 5}, "not a multiple"),
        ({"hidden_act": "mish"}, "mish"),
        ({"position_embedding_type": "relative_key"}, "computes only absolute"),
        ({"is_decoder": True}, "computes only False"),
        ({"tie_word_embeddings": False}, "computes only True"),
        ({"vocab_size": [53]}, "vocab_size is"),
        ({"vocab_size": 2**24}, "word_embeddings.weight has the shape"),
        ({"max_position_embeddings": 2**20}, "position_embeddings.weight has the shape"),
        ({"model_type": "roberta"}, "roberta"),
    ],
)
def test_a_bert_config_that_contradicts_the_weights_is_one_sentence(tmp_path, fields, sentence):
    folder = tmp_path / "bert"
    hub.save(folder, Bert(BERT))
    stored = checkpoint.read_json(folder / hub.CONFIG)
    files.write_json(folder / hub.CONFIG, stored | fields)
    refused(folder, sentence)


def test_norms_of_tensorflow_and_names_without_prefix_are_read(tmp_path):
    model = Bert(BERT)
    hub.save(tmp_path, model)
    old = {}
    for name, array in weights_of(tmp_path).items():
        name = name.removeprefix("bert.")
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old[name.replace("LayerNorm.bias", "LayerNorm.beta")] = array
    old["embeddings.position_ids"] = np.arange(13)[None]
    old["cls.predictions.decoder.weight"] = old["embeddings.word_embeddings.weight"]
    checkpoint.save_tensors(tmp_path / WEIGHTS, old)
    again, _ = hub.load(tmp_path)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    old["cls.predictions.decoder.weight"] = old["cls.predictions.decoder.weight"] + 1
    checkpoint.save_tensors(tmp_path / WEIGHTS, old)
    refused(tmp_path, "a model with its own head cannot be loaded")


# ---- the tokenizer beside the weights


@pytest.fixture
def spoken(tmp_path):
    """A folder with a GPT and a byte-pair encoding of two special tokens."""
    tokenizer = text.BPE.train(["the sea and the rocks"] * 3, 264, exact=False)
    tokenizer.add_specials(["<stop>"])
    hub.save(tmp_path, GPT(dataclasses.replace(CONFIG, vocab_size=270)), tokenizer)
    return tmp_path


def edit(path, **fields):
    """Replace fields of a JSON file, or make it."""
    stored = checkpoint.read_json(path) if path.exists() else {}
    files.write_json(path, stored | fields)


def test_the_end_of_text_is_the_one_that_the_folder_names(spoken):
    end = hub.load(spoken)[1].end_id
    other = hub.load(spoken)[1].token_id("<stop>")
    assert other != end
    edit(spoken / hub.CONFIG, eos_token_id=None)
    edit(spoken / "tokenizer_config.json", eos_token=None)
    edit(spoken / "special_tokens_map.json", eos_token={"content": "<stop>", "special": True})
    assert hub.load(spoken)[1].end_id == other
    edit(spoken / "tokenizer_config.json", eos_token="<|endoftext|>")
    assert hub.load(spoken)[1].end_id == end
    edit(spoken / hub.CONFIG, eos_token_id=other)
    assert hub.load(spoken)[1].end_id == other
    edit(spoken / "generation_config.json", eos_token_id=[end, other])
    assert hub.load(spoken)[1].end_id == end
    hub.save(spoken, *hub.load(spoken), overwrite=True)
    assert hub.load(spoken)[1].end_id == end and not (spoken / "generation_config.json").exists()


@pytest.mark.parametrize("value", [50256, -1, "2", 1.5, True, [], {}, [[]], None])
def test_an_end_of_text_that_is_no_token_is_ignored(spoken, value):
    end = hub.load(spoken)[1].end_id
    edit(spoken / hub.CONFIG, eos_token_id=value)
    edit(spoken / "generation_config.json", eos_token_id=value)
    assert hub.load(spoken)[1].end_id == end


def test_added_tokens_count_in_whichever_file_they_stand(spoken):
    before = hub.load(spoken)[1]
    n = before.vocab_size
    edit(spoken / "tokenizer_config.json",
         added_tokens_decoder={"0": {"content": before.vocab[0]}, str(n): {"content": "<x>", "special": True}})  # fmt: skip
    edit(spoken / "tokenizer.json", added_tokens=[{"id": n + 1, "content": "<y>", "special": True}])
    tokenizer = hub.load(spoken)[1]
    assert tokenizer.vocab[n:] == ["<x>", "<y>"]
    assert tokenizer.encode("the<x><y>", special="all")[-2:] == [n, n + 1]
    hub.save(spoken, hub.load(spoken)[0], tokenizer, overwrite=True)
    assert hub.load(spoken)[1].vocab == tokenizer.vocab
    edit(spoken / "tokenizer_config.json", added_tokens_decoder={str(n + 7): {"content": "<z>"}})
    refused(spoken, "says that '<z>' has the id")
