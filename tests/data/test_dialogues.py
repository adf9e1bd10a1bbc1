"""Dialogues: distractors from a fixed seed, Persona-Chat files, the toy dialogues with known replies."""

import json

import pytest

from tinylm.data import toy
from tinylm.data.dialogues import (
    Utterance,
    load_dialogues,
    read_personas,
    toy_dialogues,
    with_distractors,
)
from tinylm.errors import DataError


def test_distractors_are_other_replies_from_a_fixed_seed():
    pairs = [(f"q{n}", f"r{n % 11}") for n in range(40)]
    found = with_distractors(pairs, 7, seed=3)
    assert found == with_distractors(pairs, 7, seed=3) != with_distractors(pairs, 7, seed=4)
    for pair, utterance in zip(pairs, found, strict=True):
        assert (utterance.history, utterance.reply) == ((pair[0],), pair[1])
        assert len(set(utterance.candidates)) == 7
    with pytest.raises(DataError, match="11 different replies, too few for 12"):
        with_distractors(pairs, 12, seed=0)


def test_the_parts_of_a_set_never_mix():
    train, test = load_dialogues("toy", "train"), load_dialogues("toy", "test")
    assert len(train) == 2000 and len(test) == 500
    assert load_dialogues("toy", "all") == toy_dialogues(2500)


def test_a_persona_file_is_read_part_by_part(tmp_path):
    row = {"history": ["hi"], "candidates": ["no", "yes"]}
    dialogue = {"personality": ["i sail"], "utterances": [row, row]}
    path = tmp_path / "persona.json"
    path.write_text(json.dumps({"train": [dialogue] * 3, "valid": [dialogue]}))
    assert len(read_personas(path)) == 6 and len(read_personas(path, "test")) == 2
    assert read_personas(path)[0] == Utterance(("i sail",), ("hi",), ("no", "yes"))
    path.write_text(json.dumps({"train": [dialogue] * 10}))
    assert (len(read_personas(path)), len(read_personas(path, "test"))) == (16, 4)
    assert len(read_personas(path, "all")) == 20


def test_a_file_of_one_part_that_serves_one_purpose_gives_all_of_it(tmp_path):
    dialogue = {"utterances": [{"history": ["hi"], "candidates": ["no", "yes"]}]}
    path = tmp_path / "mine.json"
    for part in ("train", "valid"):
        path.write_text(json.dumps({part: [dialogue] * 5}))
        for split in ("train", "test"):
            assert len(load_dialogues(path, split, alone=True)) == 5
    path.write_text(json.dumps({"train": [dialogue] * 5, "valid": [dialogue]}))
    assert len(load_dialogues(path, "train", alone=True)) == 5
    assert len(load_dialogues(path, "test", alone=True)) == 1


@pytest.mark.parametrize(
    "whole, where",
    [
        ("[]", "no file of dialogues"),
        ("{", "not valid JSON"),
        ('{"train": 3}', "train: expected a list of dialogues"),
        ('{"train": [3]}', r"train\[0\]: expected an object"),
        ('{"train": [{"utterances": 3}]}', r"utterances: expected a list"),
        ('{"train": [{"utterances": [{"history": []}]}]}', r"\[0\].history: expected"),
        ('{"train": [{"utterances": [{"history": ["a"]}]}]}', r"\[0\].candidates: expected"),
        ('{"train": [{"personality": [1], "utterances": []}]}', r"personality: expected"),
        ('{"train": []}', "no utterance"),
    ],
)
def test_a_bad_persona_file_is_one_sentence_with_its_place(tmp_path, whole, where):
    (tmp_path / "bad.json").write_text(whole)
    with pytest.raises(DataError, match=where):
        load_dialogues(tmp_path / "bad.json")


def test_a_toy_reply_translates_what_the_persona_likes():
    language = toy.Language()
    for utterance in toy_dialogues(37, candidates=5):
        thing = utterance.persona[0].split()[2]
        assert utterance.reply == f"{language.foreign[thing]} ."
        assert len(set(utterance.candidates)) == 5 and len(utterance.history) % 2 == 1


def test_what_is_no_source_is_one_sentence():
    with pytest.raises(DataError, match="'dialog' is neither an existing file nor a known set"):
        load_dialogues("dialog")
    with pytest.raises(DataError, match="no split 'dev'"):
        load_dialogues("toy", "dev")
    with pytest.raises(DataError, match="has 30 replies, too few for 31"):
        load_dialogues("toy", candidates=31)
    with pytest.raises(DataError, match="candidates is 1"):
        load_dialogues("toy", candidates=1)


@pytest.mark.named_set
def test_the_film_dialogues_have_twenty_candidates():
    test = load_dialogues("dialogs", "test")
    assert len(test) > 12_000 and all(len(set(u.candidates)) == 20 for u in test)


def test_one_long_reply_costs_no_more_than_itself():
    """NumPy would give every reply the room of the longest one: 40 GB here."""
    pairs = [(f"q{n}", f"r{n}") for n in range(10_000)] + [("q", "r" * 10**6)]
    found = with_distractors(pairs, 2, seed=3)
    assert found[-1].reply == "r" * 10**6 and len(found) == len(pairs)
