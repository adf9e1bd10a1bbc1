"""Entities without a tagged sentence: clusters named by hand, votes of descriptors, the neutral sentence."""

import json

import numpy as np
import pytest

from tinylm import Bert, BertConfig, hub
from tinylm.app.cli import main
from tinylm.data import encode_corpus, load_tagged, load_texts, toy
from tinylm.data.tags import Span
from tinylm.errors import ArgumentError, ShapeError, TinylmError
from tinylm.training.filling import fill
from tinylm.training.pretrain import learn_encoding
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer.naming import UnsupervisedTagger, capitalised, clusters

LANGUAGE = toy.Language()
TYPES = {
    "person": LANGUAGE.first_names[:4] + LANGUAGE.last_names[:4],
    "place": LANGUAGE.places[:4],
}
STEPS = 600


@pytest.fixture(scope="module")
def reader():
    """A BERT that has read the toy language, and its tokenizer; nobody showed it a tag."""
    texts = []
    for document in load_texts("toy"):
        texts += [f"{text} ." for text in document.removesuffix(" .").split(" . ")]
    words = learn_encoding(Bert, "words", texts, 1000, {})
    options = dict(hidden_size=48, next_sentence=False, mask_rate=0.3, sequence_length=14)
    config = BertConfig.tiny(words.vocab_size, batch_size=32, **options)
    model = Bert(config)
    model.spell(words.vocab, words.special_ids)
    model.prepare(encode_corpus(texts, words, end_id=words.end_id))
    training = TrainConfig.of(Bert, **BertConfig.recipes["tiny"], steps=STEPS)
    Trainer(model, words, config=training, quiet=True).run()
    return model, words


@pytest.fixture(scope="module")
def blank():
    """A BERT that learned nothing."""
    words = learn_encoding(Bert, "words", ["Anna met Otto in Oslo ."], 100, {})
    model = Bert(BertConfig.tiny(words.vocab_size, hidden_size=12))
    model.spell(words.vocab, words.special_ids)
    return model, words


def test_a_small_masked_model_tags_the_entities_of_the_toy_language(reader):
    sentences = load_tagged("toy", "test")[:100]
    words = [tokens for tokens, _ in sentences]
    truth = [tags for _, tags in sentences]
    tagger = UnsupervisedTagger(*reader, TYPES)
    right = 0
    entities = 0
    for tags, found in zip(truth, tagger.predict(words), strict=True):
        for tag, other in zip(tags, found, strict=True):
            entities += tag != "O"
            right += tag != "O" and tag == other
    assert right >= 0.9 * entities
    assert tagger.evaluate(words, truth).f1 >= 0.9


def test_a_name_that_the_model_never_read_is_tagged_by_its_context(reader):
    tagger = UnsupervisedTagger(*reader, TYPES)
    verb = LANGUAGE.lexicon["music", "verb"][0]
    noun = LANGUAGE.lexicon["music", "noun"][0]
    sentence = ["Qwx", "in", "Xqw", verb, "the", LANGUAGE.feeling["positive"][0], noun, "."]
    assert tagger.predict([sentence])[0] == ["B-person", "O", "B-place", *"OOOOO"]


def test_candidates_are_runs_of_capitals_or_what_the_caller_says(blank):
    assert capitalised(["A", "B", "c", "D"]) == [Span("", 0, 2), Span("", 3, 4)]
    assert capitalised([]) == capitalised(["1", "x"]) == []
    tagger = UnsupervisedTagger(*blank, {"x": ["Anna", "met", "Otto", "in", "Oslo", "."]})
    words = "anna met Otto".split()
    assert tagger.predict([words]) == [["O", "O", "B-x"]]
    assert tagger.predict([words], [[Span("", 0, 2)]]) == [["B-x", "I-x", "O"]]
    assert tagger.predict([]) == []


def test_every_word_of_a_cluster_is_near_its_first_and_no_first_is_near_an_earlier_one():
    vectors = np.random.default_rng(0).standard_normal((41, 3))
    found = clusters(vectors, 0.6)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    firsts = [int(np.flatnonzero(found == number)[0]) for number in range(found.max() + 1)]
    assert firsts == sorted(firsts)
    cosines = unit @ unit.T
    for word, number in enumerate(found):
        assert word == firsts[number] or cosines[word, firsts[number]] >= 0.6
        earlier = [first for first in firsts[:number] if first < word]
        assert all(cosines[word, first] < 0.6 for first in earlier)
    assert clusters(vectors, 1.0).tolist() == list(range(41))
    assert clusters(np.zeros((3, 2))).tolist() == [0, 1, 2]


def test_the_vote_is_the_share_of_the_probability_of_the_named_words(blank):
    model, words = blank
    types = {"person": ["Anna", "Otto"], "place": ["Oslo"]}
    tagger = UnsupervisedTagger(model, words, types, threshold=1.0, count=3)
    chances = {}
    for choice in fill(model, words, "met [MASK] in", count=3)[0]:
        chances[choice.text] = choice.probability
    person = chances.get("Anna", 0) + chances.get("Otto", 0)
    place = chances.get("Oslo", 0)
    expected = {}
    if person:
        expected["person"] = person / (person + place)
    if place:
        expected["place"] = place / (person + place)
    assert tagger.shares(["met", "Anna", "Otto", "in"], 1, 3) == pytest.approx(expected)


def test_a_neutral_sentence_is_asked_only_where_the_context_is_in_doubt(blank):
    model, words = blank
    types = {"person": ["Anna", "Otto"], "place": ["Oslo"]}
    how = dict(threshold=1.0, count=9)
    sentence = (["met", "Anna", "in"], 1, 2)
    context = UnsupervisedTagger(model, words, types, **how).shares(*sentence)
    template = "{span} [MASK] ."
    sure = UnsupervisedTagger(model, words, types, **how, template=template, margin=0.0)
    assert sure.shares(*sentence) == context
    doubtful = UnsupervisedTagger(model, words, types, **how, template=template, margin=1.0)
    chances = {c.text: c.probability for c in fill(model, words, "Anna [MASK] .", count=9)[0]}
    person = chances["Anna"] + chances["Otto"]
    second = person / (person + chances["Oslo"])
    expected = (context["person"] + second) / 2
    assert doubtful.shares(*sentence)["person"] == pytest.approx(expected)


def test_a_sentence_too_long_is_read_around_the_gap(blank):
    model, words = blank
    tagger = UnsupervisedTagger(model, words, {"x": ["Anna"]}, count=9)
    long = ["met"] * 200 + ["Otto"] + ["in"] * 300
    assert tagger.shares(long, 200, 201) == {"x": 1.0}


def test_mistakes_are_one_sentence(blank):
    model, words = blank
    with pytest.raises(TinylmError, match="none of the words Berta of the type 'person'"):
        UnsupervisedTagger(model, words, {"person": ["Berta"]})
    with pytest.raises(TinylmError, match="must hold {span} and .MASK."):
        UnsupervisedTagger(model, words, {"person": ["Anna"]}, template="a [MASK]")
    with pytest.raises(ArgumentError, match="threshold is 0"):
        UnsupervisedTagger(model, words, {"person": ["Anna"]}, threshold=0)
    tagger = UnsupervisedTagger(model, words, {"person": ["Anna"]})
    with pytest.raises(ArgumentError, match=r"sentences\[0\] is one string"):
        tagger.predict(["Anna met Otto"])
    with pytest.raises(ShapeError, match="spans are of 1 sentences, but there are 2"):
        tagger.predict([["Anna"], ["Otto"]], [[]])
    for start, end in ((0, 2), (-1, 1), (1, 1)):
        with pytest.raises(ShapeError, match="is not within the 1 words"):
            tagger.predict([["Anna"]], [[Span("", start, end)]])


def test_true_tags_of_another_scheme_are_the_same_entities(blank):
    tagger = UnsupervisedTagger(*blank, {"person": ["Anna", "Otto", "Oslo", "met", "in"]}, 0.01)
    words = [["Anna", "Otto", "met", "Oslo"]]
    [found] = tagger.predict(words)
    assert "I-person" in found and found.count("O") < 4, found
    singles = [tag.replace("B-", "S-") if "I-" not in "".join(found[n + 1 : n + 2]) else tag
               for n, tag in enumerate(found)]  # fmt: skip
    assert tagger.evaluate(words, [singles]).accuracy == 1.0


def test_the_command_tags_a_file_and_scores_one_with_tags(reader, tmp_path, capsys):
    hub.save(tmp_path / "bert", *reader)
    sentences = load_tagged("toy", "test")[:7]
    tagged = "\n".join("".join(f"{w} {t}\n" for w, t in zip(*s, strict=True)) for s in sentences)
    (tmp_path / "tagged.conll").write_text(tagged)
    types = ",".join(f"{kind}={'|'.join(words)}" for kind, words in TYPES.items())
    command = ["entities", str(tmp_path / "bert"), "--types", types]
    assert main([*command, str(tmp_path / "tagged.conll"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = UnsupervisedTagger(*reader, TYPES).predict([tokens for tokens, _ in sentences])
    assert [row["tags"] for row in result["sentences"]] == expected
    assert 0 <= result["f1"] <= 1
    assert main([*command, str(tmp_path / "tagged.conll")]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(f"F1 {result['f1']:.3f} on 7 sentences")
    first = zip(result["sentences"][0]["tokens"], expected[0], strict=True)
    assert "\n".join(f"{word}\t{tag}" for word, tag in first) in "\n".join(lines)
