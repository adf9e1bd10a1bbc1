"""Laws of going on from a trained model: step 0 is where it stood, and what contradicts it is refused."""

import json
import re

import numpy as np
import pytest

from tinylm import GPT, GPTConfig, hub, text
from tinylm.app.cli import main
from tinylm.data import encode_corpus, toy
from tinylm.errors import TinylmError
from tinylm.objectives import find
from tinylm.objectives.registry import CHAPTERS
from tinylm.training import checkpoint
from tinylm.training.evaluation import evaluate
from tinylm.training.pretrain import PretrainConfig, complete, learn_encoding, pretrain
from tinylm.training.train import Trainer

SIZES = {"n_positions": 16, "n_embd": 20, "n_head": 2, "n_layer": 1, "batch_size": 5}
FIRST = toy.documents(40, seed=1)
SECOND = toy.documents(40, seed=2)
STRANGE = ["0123 {} [] 4567 ~~ 89 " * 30] * 5


def learn(out, texts, init=None, steps=30, encoding=None, resume=False, **options):
    """A run, from scratch or going on from `init`."""
    if init is None:
        options = SIZES | options
    asked = PretrainConfig(
        "gpt", "mine", out, options={"steps": steps, **options}, encoding=encoding, init=init
    )
    return pretrain(asked, texts, resume=resume, quiet=True)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A finished run on the first text, by characters."""
    out = tmp_path_factory.mktemp("first") / "run"
    learn(out, FIRST, steps=120, encoding="chars", lr=1e-2)
    return out


def test_step_0_has_the_folders_weights_and_its_loss(first, tmp_path):
    before, tokenizer = hub.load(first)
    learn(tmp_path, FIRST, init=first, steps=1, lr=1e-30, weight_decay=0.0)
    after, _ = hub.load(tmp_path)
    for name, weight in before.state_dict().items():
        assert np.array_equal(weight, after.state_dict()[name]), name
    held_out = encode_corpus(SECOND, tokenizer, tokenizer.end_id)
    assert evaluate(before, held_out) == evaluate(after, held_out)


def test_the_loss_of_the_first_update_is_that_of_the_folders_model(first):
    model, _ = hub.load(first)
    trained, _, result = learn(None, FIRST, init=first, steps=1)
    expected, _ = model.loss(trained.batch(0, 0))
    assert result["loss"] == pytest.approx(expected.item(), rel=1e-6)


def test_a_text_with_new_characters_gets_rows_and_old_tokens_keep_their_logits(first, tmp_path):
    before, old = hub.load(first)
    learn(tmp_path, STRANGE, init=first, steps=1, lr=1e-30, weight_decay=0.0)
    after, new = hub.load(tmp_path)
    assert new.vocab[: old.vocab_size] == old.vocab and new.vocab_size > old.vocab_size
    assert new.unk_id not in new.encode(STRANGE[0])
    assert after.config.vocab_size == new.vocab_size
    ids = np.array([old.encode("the sea and the wave")[:16]])
    scores = after.logits(ids).data[..., : old.vocab_size]
    assert np.array_equal(before.encode(ids)[-1].data, after.encode(ids)[-1].data)
    assert np.array_equal(before.wte.weight.data, after.wte.weight.data[: old.vocab_size])
    # States and rows have the same bits; BLAS may round their product otherwise where it has more columns.
    np.testing.assert_allclose(before.logits(ids).data, scores, rtol=1e-5, atol=1e-6)
    added = after.wte.weight.data[old.vocab_size :]
    assert added.std() == pytest.approx(before.config.initializer_range, rel=0.3)


def test_the_command_says_how_many_rows_it_adds(first, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text(STRANGE[0] * 9)
    command = ["pretrain", "gpt", "--data", str(tmp_path / "mine.txt"), "--init", str(first)]
    assert main([*command, "--out", str(tmp_path / "run"), "--steps", "1"]) == 0
    old = hub.load(first)[1].vocab_size
    new = hub.load(tmp_path / "run")[1].vocab_size
    said = capsys.readouterr().err
    assert f"{new - old} new tokens, {new} in all; the model gets {new - old} new rows" in said


def test_rows_that_the_model_has_to_spare_are_used_before_it_grows(first, tmp_path):
    _, tokenizer = hub.load(first)
    spare = GPT(GPTConfig(tokenizer.vocab_size + 100, **SIZES))
    hub.save(tmp_path / "spare", spare, tokenizer)
    learn(tmp_path / "run", STRANGE, init=tmp_path / "spare", steps=1, lr=1e-30, weight_decay=0.0)
    after, new = hub.load(tmp_path / "run")
    assert new.vocab_size > tokenizer.vocab_size
    assert after.config.vocab_size == spare.config.vocab_size
    assert np.array_equal(after.wte.weight.data, spare.wte.weight.data)


def test_what_was_learned_before_lowers_the_loss_on_another_text(first):
    _, tokenizer = hub.load(first)
    model, _, _ = learn(None, SECOND[:30], init=first, steps=40)
    scratch, other, _ = learn(None, SECOND[:30], encoding="chars", steps=40)
    losses = []
    for each, encoding in ((model, tokenizer), (scratch, other)):
        held_out = encode_corpus(SECOND[30:], encoding, encoding.end_id)
        losses.append(evaluate(each.eval(), held_out)["loss"])
    assert losses[0] < losses[1] - 0.2


def test_a_stopped_and_resumed_run_ends_with_the_bits_of_one_that_nobody_stopped(
    first, tmp_path, monkeypatch
):
    options = dict(init=first, steps=9, save_every=3, resid_pdrop=0.1)
    whole, _, _ = learn(None, STRANGE, **options)
    update = Trainer._update

    def stopping(self, step):
        if step == 5:
            raise RuntimeError("the power fails")
        return update(self, step)

    monkeypatch.setattr(Trainer, "_update", stopping)
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="power"):
        learn(out, STRANGE, **options)
    assert checkpoint.load_state(out).facts["step"] == 3
    monkeypatch.setattr(Trainer, "_update", update)
    resumed, _, _ = learn(out, STRANGE, resume=True, **options)
    for name, weight in whole.state_dict().items():
        assert np.array_equal(weight, resumed.state_dict()[name]), name


def test_a_run_with_other_first_weights_is_another_run(first, tmp_path):
    learn(tmp_path / "run", FIRST, init=first, steps=1)
    model, tokenizer = hub.load(first)
    hub.save(tmp_path / "other", GPT(model.config), tokenizer)
    with pytest.raises(TinylmError, match="has data initial weights = "):
        learn(tmp_path / "run", FIRST, init=tmp_path / "other", steps=1, resume=True)


def test_a_copy_of_the_folder_continues_the_run(first, tmp_path):
    out = tmp_path / "run"
    learn(out, FIRST, init=first, steps=3)
    model, tokenizer = hub.load(first)
    hub.save(tmp_path / "copy", model, tokenizer)
    learn(out, FIRST, init=tmp_path / "copy", steps=3, resume=True)


CONTRADICTIONS = {
    "sizes": (["--config", "small"], "brings its own sizes"),
    "width": (["--set", "n_embd=40"], "n_embd is 20 in .* and cannot become 40"),
    "heads": (["--set", "n_head=4"], "with --init you may change batch_size, resid_pdrop"),
    "encoding": (["--encoding", "words"], "brings its own encoding; leave out --encoding words"),
    "itself": (["--out", "INIT", "--overwrite"], "holds what is read here"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_the_folder_is_one_sentence(name, first, tmp_path, capsys):
    given, said = CONTRADICTIONS[name]
    given = [str(first) if part == "INIT" else part for part in given]
    command = ["pretrain", "gpt", "--data", "toy", "--init", str(first), "--steps", "1", "--quiet"]
    if "--out" not in given:
        command += ["--out", str(tmp_path / "run")]
    assert main([*command, *given]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and re.search(said, lines[0])
    assert not (tmp_path / "run").exists()


def test_another_objective_and_a_folder_without_a_tokenizer_are_refused(first, tmp_path):
    with pytest.raises(TinylmError, match="holds a gpt, which cannot go on as word2vec"):
        pretrain(PretrainConfig("word2vec", "toy", init=first), quiet=True)
    hub.save(tmp_path, GPT(GPTConfig(11, **SIZES)))
    with pytest.raises(TinylmError, match="holds no tokenizer"):
        pretrain(PretrainConfig("gpt", "toy", init=tmp_path), quiet=True)


def test_batches_and_dropout_may_change_and_equal_values_are_no_contradiction(first):
    model, _, _ = learn(None, FIRST, init=first, steps=1, batch_size=3, attn_pdrop=0.2, n_embd=20)
    assert model.config.batch_size == 3 and model.config.attn_pdrop == 0.2


def test_an_encoding_that_cannot_grow_keeps_its_size(tmp_path):
    learn(tmp_path, FIRST, steps=1, vocab_size=300)
    model, tokenizer, _ = learn(None, STRANGE, init=tmp_path, steps=1)
    assert model.config.vocab_size == tokenizer.vocab_size == 300
    with pytest.raises(TinylmError, match="leave out --set vocab_size or --init"):
        learn(None, STRANGE, init=tmp_path, steps=1, vocab_size=400)


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name != "gpt"])
def test_every_chapter_can_go_on(name, tmp_path):
    options = {"steps": 5, "vocab_size": 60 if find(name).encoding == "words" else 300}
    pretrain(PretrainConfig(name, "mine", tmp_path, options=options), FIRST, quiet=True)
    before, old = hub.load(tmp_path)
    asked = PretrainConfig(name, "mine", options={"steps": 2}, init=tmp_path)
    after, new, result = pretrain(asked, STRANGE + SECOND, quiet=True)
    assert np.isfinite(result["loss"])
    assert new.vocab[: old.vocab_size] == old.vocab
    assert (new.vocab_size > old.vocab_size) == (text.kind_of(old) in text.GROWING)


def test_a_recipe_trains_a_size_and_every_option_of_it_can_be_replaced(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("\n".join(FIRST) * 3)
    command = ["pretrain", "gpt", "--data", str(tmp_path / "mine.txt"), "--config", "nanogpt"]
    command += ["--out", str(tmp_path / "run"), "--quiet", "--json"]
    given = ["--steps", "2", "--set", "lr=2e-3", "--set", "n_layer=1"]
    assert main([*command, *given]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    option = checkpoint.load_state(tmp_path / "run").facts["identity"]["option"]
    model, tokenizer = hub.load(tmp_path / "run")
    assert text.kind_of(tokenizer) == "chars" and model.config.n_layer == 1
    assert option["lr"] == 2e-3 and option["betas"] == [0.9, 0.99]
    assert option["schedule_options"] == {"floor": 0.1}


# ---- beginning with the vectors of words


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A word2vec of whole words, 20 numbers each."""
    out = tmp_path_factory.mktemp("vectors") / "run"
    pretrain(PretrainConfig("word2vec", "mine", out, options={"steps": 20, "size": 20}), FIRST)
    return out


def test_tokens_begin_with_the_vectors_of_their_names_in_the_models_own_spread(vectors, tmp_path):
    words, known = hub.load(vectors)
    options = SIZES | {"steps": 1, "lr": 1e-30, "weight_decay": 0.0}
    asked = PretrainConfig(
        "gpt", "mine", tmp_path, options=options, encoding="words", init_embeddings=vectors
    )
    model, tokenizer, _ = pretrain(asked, SECOND, quiet=True)
    fresh = GPT(model.config, np.random.default_rng(0)).embedding_table()
    found = 0
    given = words.embedding_table()
    for i, token in enumerate(tokenizer.vocab):
        row = model.embedding_table()[i]
        if token in known.vocab and token not in tokenizer.specials:
            old = given[known.token_id(token)]
            cosine = row @ old / np.linalg.norm(row) / np.linalg.norm(old)
            assert cosine == pytest.approx(1, abs=1e-5)
            found += 1
        else:
            assert np.array_equal(row, fresh[i]), token
    assert found > 50
    assert model.embedding_table().std() == pytest.approx(fresh.std(), rel=0.1)


def test_a_file_of_vectors_serves_as_well_as_the_run_that_wrote_it(vectors, tmp_path):
    tables = []
    for source in (vectors, vectors / "vectors.bin"):
        options = SIZES | {"steps": 1}
        asked = PretrainConfig(
            "gpt", "mine", options=options, encoding="words", init_embeddings=source
        )
        tables.append(pretrain(asked, SECOND, quiet=True)[0].embedding_table())
    np.testing.assert_array_equal(*tables)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("gpt", {"n_embd": 22}, "20 numbers each, those of gpt 22"),
        ("fasttext", {"size": 20, "bucket": 101}, "fasttext has no own vectors"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors, name, options, message):
    if name == "gpt":
        options = SIZES | options
    asked = PretrainConfig(name, "mine", options=options, init_embeddings=vectors)
    with pytest.raises(TinylmError, match=message):
        pretrain(asked, SECOND, quiet=True)


def test_a_model_that_goes_on_keeps_its_own_vectors(first, vectors):
    asked = PretrainConfig("gpt", "mine", init=first, init_embeddings=vectors)
    with pytest.raises(TinylmError, match="brings its own vectors"):
        pretrain(asked, SECOND, quiet=True)


def test_a_run_that_began_with_other_vectors_is_not_resumed(vectors, tmp_path):
    def run(source, resume):
        options = SIZES | {"steps": 3, "save_every": 1}
        out = tmp_path / "run"
        asked = PretrainConfig("gpt", "mine", out, options=options, init_embeddings=source)
        return pretrain(asked, SECOND, resume=resume, quiet=True)

    run(vectors, resume=False)
    with pytest.raises(TinylmError, match="initial weights"):
        run(None, resume=True)


def test_the_command_says_how_many_tokens_found_their_vectors(vectors, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("\n\n".join(SECOND))
    command = ["pretrain", "gpt", "--data", str(tmp_path / "mine.txt"), "--encoding", "words"]
    command += ["--init-embeddings", str(vectors), "--steps", "1", "--out", str(tmp_path / "run")]
    assert main([*command, "--set", "n_embd=20", "--set", "n_head=2"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"\d+ of \d+ tokens begin with vectors of their own", said)


def test_an_objective_may_ask_for_fewer_words_than_is_usual():
    texts = [" ".join(f"w{i}" for i in range(9000))]
    ulmfit = find("ulmfit")
    sizes = {}
    for asked in (None, 8500):
        sizes[asked] = learn_encoding(ulmfit, "words", texts, asked, {}).vocab_size
    assert sizes == {None: 8000, 8500: 8500}
    assert learn_encoding(find("word2vec"), "words", texts, None, {}).vocab_size > 9000


@pytest.mark.parametrize("name", ["bert", "gpt", "xlnet", "ulmfit"])
def test_the_size_that_nobody_named_has_the_recipe_of_its_name(name):
    chapter = find(name)
    unsaid, said = (complete(chapter, PretrainConfig(name, "mine", size=s)) for s in (None, "tiny"))
    assert unsaid.options == said.options and unsaid.encoding == said.encoding
    older = complete(chapter, PretrainConfig(name, "mine", init="older"))  # it brings its sizes
    assert older.options == {"steps": unsaid.options["steps"]}


def test_where_inputs_begin_with_a_token_of_their_own_documents_do_too():
    model, words, _ = learn(None, FIRST, steps=3, encoding="words", rules=True)
    assert words.begin_id is not None
    for d in range(len(model.corpus.starts) - 1):
        document = model.corpus.document(d)
        assert document[0] == words.begin_id and words.begin_id not in document[1:]
