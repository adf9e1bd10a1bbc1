"""Filling gaps: the model's own probabilities, at the places of the gaps, for any encoding."""

import json

import numpy as np
import pytest

from tinylm import GPT, Bert, BertConfig, GPTConfig, hub, text
from tinylm.app.cli import main
from tinylm.data import toy
from tinylm.errors import TinylmError
from tinylm.training.filling import fill, gapped
from tinylm.training.pretrain import learn_encoding

TEXTS = toy.documents(40, seed=1)


@pytest.fixture(scope="module", params=["wordpiece", "words", "bpe", "chars", "unigram"])
def pair(request):
    """A BERT that learned nothing and its tokenizer, of each kind."""
    tokenizer = learn_encoding(Bert, request.param, TEXTS, 300, {})
    model = Bert(BertConfig.tiny(tokenizer.vocab_size + 7, hidden_size=12))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model, tokenizer


def test_the_choices_are_the_most_probable_tokens_at_the_gap(pair):
    model, tokenizer = pair
    text = "The [MASK] in the sea ."
    [choices] = fill(model, tokenizer, text, count=11)
    read = tokenizer("The")  # an arranged text: what stands around it
    before = tokenizer.encode("The" if not tokenizer.spaces_alone else "The ")
    ids = [tokenizer.token_id("[CLS]"), *gapped(tokenizer, text, model.gap_id)]
    ids = np.array([[*ids, tokenizer.token_id("[SEP]")]])
    assert read["ids"][0, 0] == ids[0, 0] and ids[0, 1 + len(before)] == model.gap_id
    scores = model.eval().logits(ids).data[0, 1 + len(before)].astype(np.float64)
    chances = np.exp(scores) / np.exp(scores).sum()
    ours = [choice.probability for choice in choices]
    usual = np.delete(chances[: tokenizer.vocab_size], tokenizer.special_ids)
    np.testing.assert_allclose(ours, np.sort(usual)[::-1][:11], rtol=1e-5)
    for choice in choices:
        assert chances[tokenizer.token_id(choice.token)] == pytest.approx(choice.probability, 1e-5)


def test_each_gap_gets_its_choices_from_left_to_right(pair):
    model, tokenizer = pair
    one = fill(model, tokenizer, "a [MASK] b [MASK]", count=3)
    assert len(one) == 2 and one[0] != one[1]
    for choices in one:
        assert sorted(choices, key=lambda choice: -choice.probability) == choices


def test_a_text_around_a_gap_is_encoded_as_without_it(pair):
    model, tokenizer = pair
    whole = tokenizer.encode("the sea in the sea")
    parts = gapped(tokenizer, "the sea [MASK] in the sea", model.gap_id)
    parts.remove(model.gap_id)
    if tokenizer.spaces_alone:  # the space before the gap and the one behind it
        whole = tokenizer.encode("the sea  in the sea")
    assert parts == whole


def test_training_mode_comes_back_and_dropout_does_not_act():
    tokenizer = learn_encoding(Bert, "wordpiece", TEXTS, 300, {})
    model = Bert(BertConfig.tiny(tokenizer.vocab_size, hidden_dropout_prob=0.5)).train()
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    assert fill(model, tokenizer, "a [MASK]") == fill(model, tokenizer, "a [MASK]")
    assert model.training


def test_mistakes_are_one_sentence(pair):
    model, tokenizer = pair
    with pytest.raises(TinylmError, match="no gap"):
        fill(model, tokenizer, "no gap here")
    with pytest.raises(TinylmError, match="shorter text"):
        fill(model, tokenizer, "[MASK] " + "word " * 80)
    with pytest.raises(TinylmError, match="count is 0"):
        fill(model, tokenizer, "[MASK]", count=0)
    with pytest.raises(TinylmError, match="gpt has no filling"):
        fill(GPT(GPTConfig.tiny(11)), tokenizer, "[MASK]")


def test_the_command_prints_choices_and_the_filled_text(tmp_path, capsys):
    tokenizer = learn_encoding(Bert, "wordpiece", TEXTS, 300, {})
    model = Bert(BertConfig.tiny(tokenizer.vocab_size))
    hub.save(tmp_path / "bert", model, tokenizer)
    command = ["fill", str(tmp_path / "bert"), "the [MASK] and [MASK] .", "--count", "2"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gap 1" and lines[3] == "gap 2" and len(lines) == 7
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["filled"] == lines[-1] and "[MASK]" not in found["filled"]
    assert [len(gap) for gap in found["gaps"]] == [2, 2]
    assert found["gaps"][0][0].keys() == {"token", "text", "probability"}
    assert main(["fill", str(tmp_path / "bert"), "nothing"]) == 2
    assert "no gap" in capsys.readouterr().err


def test_a_tokenizers_own_name_for_the_gap_is_read_too():
    tokenizer = text.Words(["a", "b"])
    tokenizer.add_specials(["<mask>"])
    gap = tokenizer.token_id("<mask>")
    assert gapped(tokenizer, "a <mask> b [MASK]", gap) == [3, gap, 4, gap]
