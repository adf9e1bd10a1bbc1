"""Sentence vectors: pooled as the folder says, independent of the batch, and the nearest found first."""

import dataclasses
import json

import numpy as np
import pytest

import tinylm
from tinylm import files, hub, text
from tinylm.app.cli import main
from tinylm.errors import ArgumentError, CheckpointError, ShapeError, TinylmError
from tinylm.hub.sentences import MODES, read_pooling
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.transfer.sentences import SentenceEncoder, pool

TEXTS = ["the sea is calm", "the rocks and the other rocks of the sea", "a wave", "", "the sea"]
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}


@pytest.fixture
def folder(tmp_path):
    """A sentence encoder of two small layers."""
    tokenizer = text.WordPiece.train(TEXTS * 3, 60, exact=False)
    config = BertConfig(
        tokenizer.vocab_size,
        hidden_size=22,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=17,
        max_position_embeddings=13,
        initializer_range=0.5,
        heads=(),
    )
    hub.save(tmp_path, Bert(config), tokenizer)
    describe(tmp_path, MEAN)
    return tmp_path


def describe(folder, modes, kinds=("Transformer", "Pooling", "Normalize"), **limits):
    """Write the files that say how a folder pools."""
    places = ["", "1_Pooling", "2_Normalize"]
    parts = []
    for kind, place in zip(kinds, places, strict=False):
        parts.append({"path": place, "type": f"sentence_transformers.models.{kind}"})
    files.write_json(folder / "modules.json", parts)
    files.write_json(folder / "1_Pooling" / "config.json", modes)
    files.write_json(folder / "sentence_bert_config.json", limits)


def states_of(folder, sentence, max_length=13):
    """The last layer's states of one text alone, (T, C)."""
    model, tokenizer = hub.load(folder)
    with tinylm.no_grad():
        return model.encode(**tokenizer([sentence], max_length=max_length))[-1].data[0]


def test_vectors_are_the_normalised_means_of_the_last_layer(folder):
    vectors = SentenceEncoder.load(folder)(TEXTS)
    assert vectors.shape == (len(TEXTS), 22) and vectors.dtype == np.float32
    for sentence, vector in zip(TEXTS, vectors, strict=True):
        mean = states_of(folder, sentence).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_every_way_of_pooling_is_its_formula(folder, mode):
    describe(folder, {mode: True, "word_embedding_dimension": 22}, kinds=("Transformer", "Pooling"))
    vectors = SentenceEncoder.load(folder)(TEXTS)
    formula = {
        "first": lambda states: states[0],
        "max": lambda states: states.max(axis=0),
        "mean": lambda states: states.mean(axis=0),
        "root": lambda states: states.sum(axis=0) / np.sqrt(len(states)),
    }[MODES[mode]]
    for sentence, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, formula(states_of(folder, sentence)), atol=1e-5)


def test_several_ways_of_pooling_stand_side_by_side_in_the_published_order(folder):
    describe(folder, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True})
    assert read_pooling(folder)[1].modes == ("first", "mean")
    vectors = SentenceEncoder.load(folder)(TEXTS)
    assert vectors.shape == (len(TEXTS), 2 * 22)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_what_is_padding_does_not_count():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 7, 5)).astype(np.float32)
    mask = np.arange(7) < np.array([[7], [4], [1]])
    other = np.where(mask[:, :, None], states, 99)
    for mode in MODES.values():
        np.testing.assert_array_equal(pool(states, mask, mode), pool(other, mask, mode))
        turned = pool(states[:, ::-1], mask[:, ::-1], mode)
        if mode != "first":
            np.testing.assert_allclose(turned, pool(states, mask, mode), atol=1e-6)


def test_a_text_is_cut_where_the_folder_says(folder):
    describe(folder, MEAN, max_seq_length=5)
    [vector] = SentenceEncoder.load(folder)([TEXTS[1]])
    mean = states_of(folder, TEXTS[1], max_length=5).mean(axis=0)
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_the_order_and_the_batch_change_no_vector(folder):
    encoder = SentenceEncoder.load(folder)
    vectors = encoder(TEXTS)
    encoder.batch_size = 2
    np.testing.assert_allclose(encoder(TEXTS[::-1])[::-1], vectors, atol=1e-6)


def test_the_nearest_text_is_the_query_itself(folder):
    encoder = SentenceEncoder.load(folder)
    found = encoder.search(TEXTS[1], encoder(TEXTS), count=3)
    assert found[0][0] == 1 and abs(found[0][1] - 1) < 1e-6
    cosines = [cosine for _, cosine in found]
    assert cosines == sorted(cosines, reverse=True) and len(found) == 3


def test_a_folder_without_parts_is_pooled_by_its_mean(folder):
    before = SentenceEncoder.load(folder)(TEXTS)
    (folder / "modules.json").unlink()
    np.testing.assert_array_equal(SentenceEncoder.load(folder)(TEXTS), before)


def test_the_model_may_stand_in_a_folder_of_its_own(folder):
    before = SentenceEncoder.load(folder)(TEXTS)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        (folder / name).rename(inner / name)
    parts = json.loads((folder / "modules.json").read_text())
    parts[0]["path"] = "0_Transformer"
    files.write_json(folder / "modules.json", parts)
    np.testing.assert_array_equal(SentenceEncoder.load(folder)(TEXTS), before)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"modules": 3}, "must hold a list of parts"),
        ({"modules": [3]}, "must hold a list of parts"),
        ({"modules": []}, "expected Transformer, Pooling"),
        ({"kinds": ("Transformer", "Pooling", "Dense")}, "lists the parts .*Dense"),
        ({"place": "../other"}, "expected a folder beside"),
        ({"place": "/etc"}, "expected a folder beside"),
        ({"place": 7}, "expected a folder beside"),
        ({"place": "3_None"}, "does not exist"),
        ({"modes": {}}, "pools by nothing"),
        ({"modes": {"pooling_mode_lasttoken": True}}, "pools by pooling_mode_lasttoken"),
        ({"modes": MEAN | {"pooling_mode_weightedmean_tokens": True}}, "weightedmean"),
        ({"modes": []}, "expected an object"),
        ({"limit": "long"}, "max_seq_length is 'long'"),
        ({"limit": 0}, "max_seq_length is 0"),
        ({"limit": True}, "max_seq_length is True"),
        ({"prompt": "query"}, "asks for a prompt"),
    ],
)
def test_a_folder_that_pools_otherwise_is_one_sentence(folder, change, sentence):
    limits = {"max_seq_length": change["limit"]} if "limit" in change else {}
    kinds = change.get("kinds", ("Transformer", "Pooling", "Normalize"))
    describe(folder, change.get("modes", MEAN), kinds, **limits)
    if "place" in change:
        parts = json.loads((folder / "modules.json").read_text())
        parts[1]["path"] = change["place"]
        files.write_json(folder / "modules.json", parts)
    if "modules" in change:
        files.write_json(folder / "modules.json", change["modules"])
    if "prompt" in change:
        prompt = {"default_prompt_name": change["prompt"]}
        files.write_json(folder / "config_sentence_transformers.json", prompt)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        SentenceEncoder.load(folder)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_tokenizer_is_one_sentence(tmp_path):
    hub.save(tmp_path, Bert(BertConfig(11, hidden_size=6, num_attention_heads=1, heads=())))
    with pytest.raises(TinylmError, match="holds no tokenizer"):
        SentenceEncoder.load(tmp_path)


def test_the_command_search_prints_the_nearest_lines(folder, tmp_path, capsys):
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS))
    assert main(["search", str(folder), str(lines), TEXTS[1], "--count", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2 and rows[0]["line"] == 2 and rows[0]["text"] == TEXTS[1]
    assert main(["search", str(folder), str(lines), TEXTS[4], "--count", "1"]) == 0
    assert capsys.readouterr().out == f"1.000\t5\t{TEXTS[4]}\n"
    lines.write_text("\n \n")
    assert main(["search", str(folder), str(lines), "x"]) == 2
    assert "holds no text" in capsys.readouterr().err


SENTENCES = [
    "The sea is calm today.", "There are no waves on the water.", "Taxes will rise next year.", "",
    "The government wants more money from its citizens. " * 30, "Un café, s'il vous plaît!", "東京 is large",
]  # fmt: skip


@pytest.mark.named_set
@pytest.mark.peer
def test_the_published_minilm_gives_the_vectors_of_transformers():
    import torch
    from transformers import AutoModel, AutoTokenizer

    encoder = SentenceEncoder.load("minilm")
    assert encoder.pooling.max_length == 256 and encoder.encoder.config.heads == ("pooler",)
    folder = hub.folder_of("minilm")
    theirs = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(
        SENTENCES, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    with torch.no_grad():
        states = theirs(**inputs).last_hidden_state
        real = inputs["attention_mask"][:, :, None]
        means = (states * real).sum(dim=1) / real.sum(dim=1)
        reference = torch.nn.functional.normalize(means, dim=1).numpy()
    np.testing.assert_allclose(encoder(SENTENCES), reference, atol=1e-5)


@pytest.mark.named_set
def test_the_published_minilm_finds_what_means_the_same():
    encoder = SentenceEncoder.load("minilm")
    vectors = encoder(SENTENCES)
    assert encoder.search("the ocean is quiet", vectors, 2)[0][0] == 0
    assert {place for place, _ in encoder.search("the state needs higher taxes", vectors, 2)} == {
        2,
        4,
    }


@pytest.mark.parametrize("lower", [False, True])
def test_one_string_is_no_list_of_letters(folder, lower):
    encoder = SentenceEncoder.load(folder)
    encoder.pooling = dataclasses.replace(encoder.pooling, lower=lower)
    with pytest.raises(ArgumentError, match="texts"):
        encoder("SEA")


def test_a_search_among_other_vectors_is_refused(folder):
    encoder = SentenceEncoder.load(folder)
    vectors = encoder(TEXTS)
    for wrong in (vectors[:, :5], vectors[0]):
        with pytest.raises(ShapeError, match=r"search: vectors have the shape .*\(N, 22\)"):
            encoder.search("sea", wrong)
    with pytest.raises(ArgumentError, match="search: count is -1"):
        encoder.search("sea", vectors, count=-1)
