"""A model folder describes itself: what `encode` takes and returns, the case, the origin, and a card for people."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm import hub, nn, optim, text
from tinylm.app.cli import main
from tinylm.errors import CheckpointError
from tinylm.hub import card
from tinylm.objectives import find, names
from tinylm.tensor import no_grad

CHAPTERS = [name for name in names() if find(name).__module__.startswith("tinylm.")]
TEXTS = ["The sea and the rocks and the sea"] * 3


def made(name):
    """A small model of a chapter that learned nothing, and its tokenizer."""
    chapter = find(name)
    tokenizer = text.learn(chapter.encoding, TEXTS, None, chapter.needs_tokens)
    if chapter.template is not None:
        tokenizer.arrange(chapter.template)
    model = chapter(chapter.Config.tiny(tokenizer.vocab_size))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model, tokenizer


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_signature_is_what_encode_takes_and_returns_for_any_texts(name, tmp_path):
    model, tokenizer = made(name)
    hub.save(tmp_path, model, tokenizer)
    facts = json.loads((tmp_path / card.SIGNATURE).read_text())
    model, tokenizer = hub.load(tmp_path)
    assert facts["parameters"] == sum(p.data.size for p in model.parameters())
    sizes = {"B": 2, "T": tokenizer(TEXTS[:2])["ids"].shape[1]}

    def promised(arrays):
        return [
            (array["dtype"], tuple(sizes.get(n, n) for n in array["shape"])) for array in arrays
        ]

    given = tokenizer(TEXTS[:2])
    takes = facts["encode"]["takes"]
    inputs = {array["name"]: given[array["name"]] for array in takes}
    assert promised(takes) == [(str(a.dtype), a.shape) for a in inputs.values()]
    with no_grad():
        states = model.encode(**inputs)
    returns = facts["encode"]["returns"]
    assert promised(returns) == [(str(s.dtype), s.shape) for s in states]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_code_in_a_card_gives_what_the_signature_says(name, tmp_path):
    model, tokenizer = made(name)
    hub.save(tmp_path, model, tokenizer)
    code = re.search(r"```python\n(.*?)```", (tmp_path / card.CARD).read_text(), flags=re.S)[1]
    found = {}
    with no_grad():
        exec(code.replace("this folder", str(tmp_path)), found)
    facts = json.loads((tmp_path / card.SIGNATURE).read_text())
    read = {array["name"]: found["read"][array["name"]] for array in facts["encode"]["takes"]}
    with no_grad():
        wanted = found["model"].encode(**read)
    np.testing.assert_array_equal(found["states"][-1].data, wanted[-1].data)


@pytest.mark.parametrize(
    "tokenizer, case",
    [
        (text.Words(["sea", "Sea"]), "kept"),
        (text.Words(["sea"], lower=True), "lower"),
        (text.WordPiece.train(TEXTS, 60, exact=False), "lower"),
        (text.WordPiece.train(TEXTS, 60, exact=False, lower=False), "kept"),
        (text.Chars("東京"), None),
    ],
)
def test_the_case_is_told_from_what_the_encoding_does(tokenizer, case):
    assert card.casing(tokenizer) == case


def test_saving_changes_neither_the_model_nor_its_mode(tmp_path):
    model, tokenizer = made("gpt")
    before = {name: array.copy() for name, array in model.state_dict().items()}
    hub.save(tmp_path, model, tokenizer)
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_an_origin_comes_back_and_stands_in_the_card(tmp_path):
    model, tokenizer = made("word2vec")
    origin = hub.Origin("kjv", "tinylm pretrain word2vec --data kjv", "CC0-1.0", "other/run")
    hub.save(tmp_path, model, tokenizer, origin=origin)
    assert hub.origin_of(tmp_path) == origin
    said = (tmp_path / card.CARD).read_text()
    assert all(part in said for part in vars(origin).values())


def test_a_path_as_origin_is_its_text(tmp_path):
    hub.save(tmp_path, made("word2vec")[0], origin=hub.Origin(data=Path("my") / "text.txt"))
    assert hub.origin_of(tmp_path).data == str(Path("my") / "text.txt")


def test_what_nobody_states_is_not_stated(tmp_path):
    hub.save(tmp_path, made("word2vec")[0])
    said = (tmp_path / card.CARD).read_text()
    assert "- Licence: not stated" in said and hub.origin_of(tmp_path) == hub.NOTHING_SAID
    assert hub.origin_of(tmp_path / "nothing") == hub.NOTHING_SAID


def test_control_characters_and_half_characters_of_an_origin_are_spelled_out(tmp_path):
    hub.save(tmp_path, made("word2vec")[0], origin=hub.Origin("a\n# b\x1b[31m\udcff"))
    assert hub.origin_of(tmp_path).data == "a\\n# b\\x1b[31m\\udcff"
    assert "- Learned from: a\\n# b\\x1b[31m\\udcff\n" in (tmp_path / card.CARD).read_text()


def test_a_model_whose_encode_fails_is_saved_without_a_word_of_what_it_returns(tmp_path):
    model, tokenizer = made("word2vec")

    def broken(ids, mask=None):
        raise IndexError("off by one")

    model.encode = broken
    hub.save(tmp_path, model, tokenizer)
    assert json.loads((tmp_path / card.SIGNATURE).read_text())["encode"]["returns"] is None
    assert "returns" not in (tmp_path / card.CARD).read_text()


@pytest.mark.parametrize("origin", [None, [], {"data": 1}, {"author": "x"}])
def test_a_damaged_origin_is_one_sentence(tmp_path, origin):
    (tmp_path / card.SIGNATURE).write_text(json.dumps({"origin": origin}))
    with pytest.raises(CheckpointError, match="is damaged: its origin"):
        hub.origin_of(tmp_path)


def test_overwriting_leaves_no_card_of_the_model_before(tmp_path):
    hub.save(tmp_path, made("word2vec")[0], origin=hub.Origin("old text"))
    (tmp_path / "README.md").write_text("mine")
    hub.save(tmp_path, made("word2vec")[0], overwrite=True)
    assert "old text" not in (tmp_path / card.CARD).read_text()
    assert (tmp_path / "README.md").read_text() == "mine"


def test_what_is_not_trainable_gets_no_gradient_and_no_update(tmp_path):
    model, tokenizer = made("gpt")
    hub.save(tmp_path, model, tokenizer)
    frozen, _ = hub.load(tmp_path, trainable=False)
    head = nn.Linear(model.config.n_embd, 3, rng=np.random.default_rng(0))
    whole = nn.ModuleList([frozen, head])
    optimizer = optim.AdamW(whole, lr=0.1, weight_decay=0.1)
    before = {name: array.copy() for name, array in whole.state_dict().items()}
    inputs = tokenizer(TEXTS)
    tinylm.ops.mean(head(frozen.encode(**inputs)[-1])).backward()
    assert all(p.grad is None for p in frozen.parameters())
    optimizer.step()
    changed = {name for name, array in whole.state_dict().items() if (array != before[name]).any()}
    assert changed and all(name.startswith("1.") for name in changed)
    assert all(p.requires_grad for p in hub.load(tmp_path)[0].parameters())


def test_the_commands_write_what_they_were_asked_into_the_card(tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "classifier"
    table = tmp_path / "a.tsv"
    table.write_text("".join(f"a sea {n}\tsea\nthe rocks {n}\tland\n" for n in range(9)))
    pretrain = ["pretrain", "word2vec", "--data", "toy", "--steps", "2", "--set", "size=5"]
    assert main([*pretrain, "--out", str(run), "--licence", "CC0-1.0", "--quiet"]) == 0
    origin = hub.origin_of(run)
    assert (origin.data, origin.licence, origin.base) == ("toy", "CC0-1.0", None)
    line = [*pretrain, "--licence", "CC0-1.0", "--quiet"]
    assert origin.command == "tinylm " + " ".join(line)  # but not where it was written
    finetune = ["finetune", str(run), "--method", "features", "--train", str(table)]
    assert main([*finetune, "--out", str(out), "--quiet"]) == 0
    origin = hub.origin_of(out)
    assert (origin.data, origin.licence, origin.base) == (str(table), None, str(run))
    capsys.readouterr()
