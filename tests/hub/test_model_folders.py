"""Folders: what is saved comes back, published names and shapes are theirs, what does not fit is one sentence."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest

import tinylm
from tinylm import files, hub, text
from tinylm.errors import CheckpointError, DataError, VocabularyError
from tinylm.hub.card import CARD, SIGNATURE
from tinylm.objectives import glove as glove_chapter
from tinylm.objectives.fasttext import FastText, FastTextConfig
from tinylm.objectives.glove import GloVe, GloVeConfig
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.training import checkpoint
from tinylm.vectors import read_vectors, write_vectors

TEXTS = ["the sea and the rocks and the sea", "the rocks of the other sea are not the rocks"] * 3
BARE = {hub.CONFIG, hub.WEIGHTS, SIGNATURE, CARD}  # the files of a model without a tokenizer
CONFIG = GPTConfig(vocab_size=271, n_positions=13, n_embd=22, n_layer=3, n_head=2, n_inner=17)


@pytest.fixture
def gpt():
    """A GPT whose biases and norms differ from their initial zeros and ones."""
    model, rng = GPT(CONFIG), np.random.default_rng(1)
    for array in model.state_dict().values():
        array += rng.normal(size=array.shape).astype(np.float32) * 0.1
    return model.eval()


@pytest.fixture
def tokenizer():
    return text.BPE.train(TEXTS, 271, exact=False)


def logits(model):
    """Scores of a fixed batch of 2 x 11 ids."""
    with tinylm.no_grad():
        return model.logits(
            np.random.default_rng(2).integers(CONFIG.vocab_size - 20, size=(2, 11))
        ).data


def change(folder, **fields):
    """Replace fields of a folder's config.json."""
    files.write_json(folder / hub.CONFIG, {**checkpoint.read_json(folder / hub.CONFIG), **fields})


def test_a_saved_gpt_comes_back_with_its_tokenizer(tmp_path, gpt, tokenizer):
    hub.save(tmp_path, gpt, tokenizer)
    model, same = hub.load(tmp_path)
    assert model.config == CONFIG and not model.training
    np.testing.assert_array_equal(logits(model), logits(gpt))
    assert same.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    hub.save(tmp_path / "bare", gpt)
    assert hub.load(tmp_path / "bare")[1] is None


def test_gpt_is_stored_under_the_published_names_and_shapes(tmp_path, gpt):
    hub.save(tmp_path, gpt)
    arrays, metadata = checkpoint.load_tensors(tmp_path / hub.WEIGHTS)
    assert metadata["format"] == "pt" and all(name.startswith("transformer.") for name in arrays)
    assert arrays["transformer.h.0.attn.c_attn.weight"].shape == (22, 66)
    assert arrays["transformer.h.2.mlp.c_fc.weight"].shape == (22, 17)
    np.testing.assert_array_equal(
        arrays["transformer.h.1.mlp.c_proj.weight"], gpt.h[1].mlp.c_proj.weight.data.T
    )
    config = checkpoint.read_json(tmp_path / hub.CONFIG)
    assert (config["model_type"], config["architectures"]) == ("gpt2", ["GPT2LMHeadModel"])


def test_old_published_files_without_prefix_and_with_buffers_are_read(tmp_path, gpt):
    hub.save(tmp_path, gpt)
    arrays, _ = checkpoint.load_tensors(tmp_path / hub.WEIGHTS)
    old = {name.removeprefix("transformer."): array for name, array in arrays.items()}
    old |= {f"h.{i}.attn.bias": np.ones((1, 1, 13, 13), np.float32) for i in range(3)}
    checkpoint.save_tensors(tmp_path / hub.WEIGHTS, old | {"lm_head.weight": old["wte.weight"]})
    (tmp_path / hub.CONFIG).write_text(
        json.dumps(
            {
                **dataclasses.asdict(CONFIG),
                "model_type": "gpt2",
                "n_ctx": 13,
                "summary_type": "cls_index",
                "task_specific_params": {"a": 1},
            }
        )
    )
    np.testing.assert_array_equal(logits(hub.load(tmp_path)[0]), logits(gpt))


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"n_layer": 4}, "lacks transformer.h.3.ln_1.weight, .* and 7 more;?"),
        ({"n_layer": 2**30}, "n_layer is"),
        ({"n_layer": 2**10}, "lacks transformer.h.3.ln_1.weight"),
        ({"n_positions": 2**20}, "wpe.weight has the shape"),
        ({"vocab_size": 2**24}, "wte.weight has the shape"),
        ({"n_embd": 2**16}, "wte.weight has the shape"),
        ({"n_inner": 2**18}, "c_fc.weight has the shape"),
        ({"n_embd": "wide"}, "n_embd is 'wide', expected a whole number"),
        ({"n_embd": 2**70}, "n_embd is"),
        ({"n_head": 0}, "n_head is 0"),
        ({"n_head": 3}, "not a multiple"),
        ({"n_head": -2}, "n_head is -2"),
        ({"model_type": "llama"}, "llama"),
        ({"model_type": "../../etc"}, "describes no model"),
        ({"model_type": ["gpt2"]}, "describes no model"),
        ({"activation_function": "mish"}, "mish"),
        ({"scale_attn_by_inverse_layer_idx": True}, "computes only False"),
        (
            {"n_layer": 2},
            "holds transformer.h.2.attn.c_attn.bias.*, for which the model has no place",
        ),
        ({"tie_word_embeddings": False}, "computes only True"),
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_one_sentence_before_anything_is_built(
    tmp_path, gpt, fields, sentence
):
    hub.save(tmp_path, gpt)
    change(tmp_path, **fields)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        hub.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_parts_are_named(tmp_path, gpt, tokenizer):
    with pytest.raises(CheckpointError, match="does not exist"):
        hub.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="config.json"):
        hub.load(tmp_path)
    hub.save(tmp_path, gpt, tokenizer)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nonly-one-part\n")
    with pytest.raises(CheckpointError, match="tokenizer"):
        hub.load(tmp_path)
    small = GPT(dataclasses.replace(CONFIG, vocab_size=17))
    apart = f"has {tokenizer.vocab_size} ids, the model only 17"
    hub.save(tmp_path, gpt, tokenizer, overwrite=True)
    with pytest.raises(CheckpointError, match=apart):
        hub.save(tmp_path, small, tokenizer, overwrite=True)
    assert hub.load(tmp_path)[1].vocab == tokenizer.vocab  # the model that was there is still whole
    hub.save(tmp_path / "small", small)
    for name in ("config.json", hub.WEIGHTS):
        (tmp_path / "small" / name).replace(tmp_path / name)
    with pytest.raises(CheckpointError, match=apart):
        hub.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made a folder"):
        hub.save(tmp_path / "file", gpt, tokenizer)


def test_a_save_that_is_cut_short_leaves_no_mixture_of_two_models(tmp_path, gpt, monkeypatch):
    hub.save(tmp_path, gpt)
    monkeypatch.setattr(hub, "save_weights", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        same_shapes = GPT(dataclasses.replace(CONFIG, n_head=11))
        hub.save(tmp_path, same_shapes, overwrite=True)
    np.testing.assert_array_equal(logits(hub.load(tmp_path)[0]), logits(gpt))
    assert {path.name for path in tmp_path.iterdir()} == BARE


def test_saving_into_a_used_folder_leaves_nothing_of_the_model_before(
    tmp_path, gpt, tokenizer, word2vec, words
):
    hub.save(tmp_path, gpt, tokenizer)
    (tmp_path / "vocab.bpe").write_text(
        "", encoding="utf-8"
    )  # as a published folder names its merges
    hub.save(tmp_path, word2vec, words, overwrite=True)
    assert hub.load(tmp_path)[1].vocab == read_vectors(tmp_path / hub.VECTORS)[0] == words.vocab
    hub.save(tmp_path, gpt, overwrite=True)
    assert hub.load(tmp_path)[1] is None
    assert {path.name for path in tmp_path.iterdir()} == BARE


def test_a_head_that_differs_from_the_table_is_refused_and_an_equal_one_is_read(tmp_path, gpt):
    hub.save(tmp_path, gpt)
    arrays, _ = checkpoint.load_tensors(tmp_path / hub.WEIGHTS)
    head = arrays["transformer.wte.weight"]
    checkpoint.save_tensors(tmp_path / hub.WEIGHTS, arrays | {"lm_head.weight": head})
    np.testing.assert_array_equal(logits(hub.load(tmp_path)[0]), logits(gpt))
    checkpoint.save_tensors(tmp_path / hub.WEIGHTS, arrays | {"lm_head.weight": head + 1})
    with pytest.raises(CheckpointError, match="lm_head.weight differs from transformer.wte"):
        hub.load(tmp_path)


def test_one_of_our_tensors_may_be_several_published_ones_stacked_and_turned():
    rng = np.random.default_rng(0)
    packed = rng.normal(size=(3 * 5, 7))
    stored = hub.Stored("qkv", ("q", "k", "v"), (7, 5), transposed=True)
    published = stored.write(packed)
    assert {name: array.shape for name, array in published.items()} == dict.fromkeys("qkv", (7, 5))
    np.testing.assert_array_equal(published["k"], packed[5:10].T)
    np.testing.assert_array_equal(stored.read(published), packed)


def test_one_of_our_tables_may_be_several_published_ones_of_different_length():
    table = np.random.default_rng(0).normal(size=(11 + 3, 7))
    stored = hub.Stored("table", ("tokens", "positions"), (11, 7), rows=(11, 3))
    published = stored.write(table)
    np.testing.assert_array_equal(published["positions"], table[11:])
    np.testing.assert_array_equal(stored.read(published), table)


def test_a_tokenizer_that_cannot_be_stored_is_refused_before_the_old_model_goes(
    tmp_path, gpt, tokenizer
):
    hub.save(tmp_path, gpt, tokenizer)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    odd = text.BPE(list(tokenizer.vocab), tokenizer.merges, tokenizer.specials)
    odd.specials = (*odd.specials, "a")  # vocab.json could not say so
    with pytest.raises(VocabularyError, match="'a' is a special token"):
        hub.save(tmp_path, gpt, odd)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.peer
def test_transformers_reads_our_folder_and_gives_our_logits(tmp_path, gpt, tokenizer):
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    hub.save(tmp_path, gpt, tokenizer)
    theirs, found = GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = np.random.default_rng(2).integers(CONFIG.vocab_size - 20, size=(2, 11))
    with torch.no_grad():
        out = theirs.eval()(torch.tensor(ids), output_hidden_states=True)
    reference = out.logits.numpy()
    np.testing.assert_allclose(logits(gpt), reference, atol=1e-5 * np.abs(reference).max())
    with tinylm.no_grad():
        for ours, state in zip(gpt.encode(ids), out.hidden_states, strict=True):
            np.testing.assert_allclose(
                ours.data, state.numpy(), atol=1e-5 * np.abs(state.numpy()).max()
            )
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0])["input_ids"] == tokenizer.encode(
        TEXTS[0]
    )


@pytest.mark.peer
def test_a_folder_written_by_transformers_loads_here(tmp_path):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

    config = GPT2Config(vocab_size=271, n_positions=13, n_embd=22, n_layer=3, n_head=2)
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for (
            weights
        ) in theirs.parameters():  # biases that are not 0, activations beyond their linear part
            weights += 0.1 * torch.randn(weights.shape)
        theirs.save_pretrained(tmp_path / "head")
        ids = torch.tensor(np.random.default_rng(2).integers(CONFIG.vocab_size - 20, size=(2, 11)))
        reference = theirs(ids).logits.numpy()
    model, tokenizer = hub.load(tmp_path / "head")
    assert tokenizer is None
    np.testing.assert_allclose(logits(model), reference, atol=1e-5 * np.abs(reference).max())
    GPT2Model(config).save_pretrained(tmp_path / "bare")
    hub.load(tmp_path / "bare")


# ---- word2vec ----


@pytest.fixture
def words():
    return text.Words.train(TEXTS, 100)


@pytest.fixture
def word2vec(words):
    return Word2Vec(Word2VecConfig(vocab_size=words.vocab_size, size=7))


def test_word2vec_comes_back_and_leaves_vectors_for_everybody(tmp_path, word2vec, words):
    hub.save(tmp_path, word2vec, words)
    model, same = hub.load(tmp_path)
    assert model.config == word2vec.config and same.vocab == words.vocab
    for name, array in word2vec.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    names, table = read_vectors(tmp_path / hub.VECTORS)
    assert names == words.vocab
    np.testing.assert_array_equal(table, word2vec.embedding_table())


def test_fasttext_comes_back_with_its_spellings(tmp_path, words):
    model = FastText(FastTextConfig(vocab_size=words.vocab_size, size=7, maxn=4, bucket=101))
    model.spell(words.vocab, words.special_ids)
    hub.save(tmp_path, model, words)
    again, _ = hub.load(tmp_path)
    np.testing.assert_array_equal(again.embedding_table(), model.embedding_table())
    np.testing.assert_array_equal(again.subwords()["unheard"], model.subwords()["unheard"])
    np.testing.assert_array_equal(read_vectors(tmp_path / hub.VECTORS)[1], model.embedding_table())


def test_glove_comes_back_and_leaves_the_sum_of_both_tables(tmp_path, words, monkeypatch):
    monkeypatch.setattr(glove_chapter, "RAREST", 2)
    glove = GloVe(GloVeConfig(vocab_size=words.vocab_size, vector_size=7))
    hub.save(tmp_path, glove, words)
    model, _ = hub.load(tmp_path)
    for name, array in glove.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    names, table = read_vectors(tmp_path / hub.VECTORS)
    assert names == words.vocab
    np.testing.assert_array_equal(table[1:], glove.embedding_table()[1:])
    np.testing.assert_allclose(table[0], table[-2:].mean(axis=0), rtol=1e-6)  # <unk>


def test_rows_beyond_the_words_are_left_out_of_the_vectors(tmp_path, words):
    many = words.vocab_size + 5
    for model in (
        GloVe(GloVeConfig(many, vector_size=7)),
        Word2Vec(Word2VecConfig(many, size=7)),
    ):
        hub.save(tmp_path, model, words, overwrite=True)
        names, table = read_vectors(tmp_path / hub.VECTORS)
        assert names == words.vocab
        expected = model.embedding_table()[1 : len(words.vocab)]  # <unk> is its own test
        np.testing.assert_array_equal(table[1:], expected)


@pytest.mark.parametrize("binary", [True, False])
def test_vectors_round_trip_in_both_forms(tmp_path, binary):
    table = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    write_vectors(tmp_path / "v", ["a", "größe", "c d"], table, binary)
    names, back = read_vectors(tmp_path / "v", binary)
    assert names == ["a", "größe", "c_d"]
    np.testing.assert_array_equal(back, table)


def test_vectors_without_newlines_and_with_broken_letters_are_read(tmp_path):
    row = np.arange(2, dtype="<f4").tobytes()
    (tmp_path / "v").write_bytes(
        b"2 2\nab " + row + b"\xc3 " + row
    )  # as gensim writes; half a letter
    names, _ = read_vectors(tmp_path / "v")
    assert names[0] == "ab" and names[1].encode("utf-8", "surrogateescape") == b"\xc3"


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "does not begin with"),
        (b"x y\n", "does not begin with"),
        (b"1\n", "does not begin with"),
        (b"1000000000000 300\nab ", "more than its size can hold"),
        (b"-1 5\n", "more than its size"),
        (b"1 2\nab " + b"1234567", "ends inside the numbers"),
        (b"1 1\n" + b"abcdefg", "ends inside a word"),
    ],
)
def test_damaged_vectors_are_one_sentence(tmp_path, content, sentence):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        read_vectors(tmp_path / "v", binary=True)


def test_a_line_of_text_vectors_with_too_few_numbers_is_named(tmp_path):
    (tmp_path / "v").write_text("1 3\nword 1 2    \n")
    with pytest.raises(CheckpointError, match="does not hold 3 numbers"):
        read_vectors(tmp_path / "v", binary=False)
    with pytest.raises(CheckpointError, match="no file"):
        read_vectors(tmp_path / "none")


@pytest.mark.peer
def test_gensim_reads_our_vectors_and_we_read_gensims(tmp_path, word2vec, words):
    from gensim.models import KeyedVectors

    hub.save(tmp_path, word2vec, words)
    theirs = KeyedVectors.load_word2vec_format(tmp_path / hub.VECTORS, binary=True)
    assert theirs.index_to_key == words.vocab
    np.testing.assert_array_equal(theirs.vectors, word2vec.embedding_table())
    for binary in (True, False):
        theirs.save_word2vec_format(tmp_path / "theirs", binary=binary)
        names, table = read_vectors(tmp_path / "theirs", binary)
        assert names == theirs.index_to_key
        np.testing.assert_array_equal(table, theirs.vectors)


def test_a_config_of_our_own_cannot_ask_for_more_memory_than_its_weights_justify(tmp_path, words):
    """Without a published layout nothing is known of the shapes before the model is built."""
    config = FastTextConfig(words.vocab_size, size=7, minn=3, maxn=4, bucket=101)
    model = FastText(config)
    model.spell(words.vocab, words.special_ids)
    hub.save(tmp_path, model, words)
    assert hub.load(tmp_path)[0].config == config
    change(tmp_path, bucket=2**24)  # 470 MB, which this machine has
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="do not belong together.*more than its file"):
        hub.load(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
