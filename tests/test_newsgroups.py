"""The tables of `benchmarks.newsgroups` compare what they say: same beginnings, same gaps, no target in sight."""

from dataclasses import replace

import numpy as np
import pytest

import tinylm
from benchmarks.newsgroups import recurrent, shared, streams, students
from tinylm.data import encode_corpus, toy
from tinylm.tensor import no_grad
from tinylm.training.pretrain import learn_encoding


def given(chapter, kind, size):
    """Toy texts in an encoding, to learn from and held out."""
    texts = toy.documents(300, seed=0)
    tokenizer = learn_encoding(chapter, kind, texts, size, {})
    how = {"end_id": tokenizer.end_id, "structure": True}
    train, other = (encode_corpus(part, tokenizer, **how) for part in (texts[:250], texts[250:]))
    return shared.Posts(tokenizer, train, other)


def test_texts_up_to_a_number_of_words_are_the_first_ones_and_the_last_is_cut():
    texts = ["one two three", "", "four five", "six seven"]
    assert shared.up_to(texts, 6) == ["one two three", "four five", "six"]
    assert shared.up_to(texts, 100) == [text for text in texts if text]


def test_a_table_says_mean_and_spread():
    assert shared.said([1.0, 3.0]) == "2.0 ± 1.0"
    assert shared.said([2.0], digits=3) == "2.000 ± 0.000"


def test_processor_time_is_what_training_is_given(monkeypatch):
    posts = given(tinylm.GPT, "words", 200)
    model, how = shared.new("gpt", {}, posts, 0, size="tiny")
    ticks = iter(range(10**9))
    monkeypatch.setattr(shared.time, "process_time", lambda: float(next(ticks)))
    assert 20 <= shared.learn(model, how, seconds=30) <= 30  # each update takes a second


# ---- the recurrent tables


def test_a_table_of_lstms_measures_each_epoch_and_repeats_itself(monkeypatch):
    sizes = dict(emb_sz=7, n_hid=11, n_layers=1, bptt=13, batch_size=5)
    monkeypatch.setattr(recurrent, "SIZES", sizes)
    posts = given(tinylm.Ulmfit, "words", 200)
    _, perplexities = recurrent.learned(posts, 0, recurrent.PLAIN, epochs=3)
    assert len(perplexities) == 3 and (perplexities > 1).all()
    assert perplexities.min() < posts.tokenizer.vocab_size
    _, again = recurrent.learned(posts, 0, recurrent.PLAIN, epochs=3)
    assert perplexities.tolist() == again.tolist()


def test_the_cache_is_tuned_on_some_tokens_and_measured_on_the_next(monkeypatch):
    monkeypatch.setattr(recurrent, "POINTED", 30)
    model = tinylm.Ulmfit(tinylm.UlmfitConfig(vocab_size=11, emb_sz=5, n_hid=7))
    ids = np.tile([3, 8, 5, 2, 9], 12)
    alone, pointing = recurrent.with_cache(model, ids)
    assert pointing < 0.9 * alone
    ids[60:] = 0  # nothing behind them is read
    assert recurrent.with_cache(model, ids) == (alone, pointing)


def test_a_plain_lstm_drops_nothing_and_has_no_penalty():
    config = replace(tinylm.UlmfitConfig.awd_lstm(11), **recurrent.PLAIN)
    assert config.dropped(1.0) == config.dropped(0.0) and config.alpha == config.beta == 0
    assert tinylm.UlmfitConfig.awd_lstm(11).dropped(0.0) == replace(config, alpha=2.0, beta=1.0)


# ---- gaps and orders


def model_and_batch(chapter):
    """A small model of one of the two kinds, and a batch in its second step."""
    posts = given(chapter, "unigram", 150)
    config = chapter.Config.tiny(posts.tokenizer.vocab_size, n_layer=2, batch_size=4)
    model = chapter(config, np.random.default_rng(0))
    model.spell(posts.tokenizer.vocab, posts.tokenizer.special_ids)
    model.prepare(posts.train)
    return model, model.batch(1, 0)


@pytest.mark.parametrize("chapter", [streams.Ordered, streams.Denoising])
def test_no_target_is_in_sight_of_the_gaps_and_the_other_tokens_are(chapter):
    model, batch = model_and_batch(chapter)
    batch = replace(batch, half_backwards=False)
    hidden = streams.gaps(batch)
    assert (hidden.sum(axis=1) == (batch.picks >= 0).sum(axis=1)).all()
    rng = np.random.default_rng(5)
    other = rng.integers(9, model.config.vocab_size, size=batch.ids.shape)
    with no_grad():
        scores = model.fill(batch).data
        targets_changed = model.fill(replace(batch, ids=np.where(hidden, other, batch.ids))).data
        context_changed = model.fill(replace(batch, ids=np.where(hidden, batch.ids, other))).data
    assert scores.shape == (*batch.picks.shape, model.config.vocab_size)
    np.testing.assert_array_equal(scores, targets_changed)
    assert np.abs(scores - context_changed).max() > 1e-3


@pytest.mark.parametrize("chapter", [streams.Ordered, streams.Denoising])
def test_what_a_model_remembers_has_seen_nothing_of_the_targets_of_the_next_step(chapter):
    model, batch = model_and_batch(chapter)
    reused = model.config.reused
    later = np.arange(batch.ids.shape[1]) >= reused
    memories = []
    for ids in (batch.ids, np.where(later, 9, batch.ids)):
        model.memory.states = None
        with no_grad():
            model.loss(replace(batch, ids=ids, fresh=True))
        memories.append(model.memory.states)
    np.testing.assert_array_equal(*memories)


def test_both_kinds_have_the_same_weights_and_the_same_batches():
    (ordered, one), (denoising, other) = (
        model_and_batch(kind) for kind in (streams.Ordered, streams.Denoising)
    )
    weights = ordered.state_dict()
    for name, array in denoising.state_dict().items():
        np.testing.assert_array_equal(weights[name], array)
    for field in ("ids", "picks", "targets"):
        np.testing.assert_array_equal(vars(one)[field], vars(other)[field])


# ---- students


def test_a_student_and_its_twin_begin_alike_with_half_the_layers():
    posts = given(tinylm.Bert, "wordpiece", 200)
    teacher, _ = shared.new("bert", {}, posts, 0, size="tiny")
    (student, how), (twin, same) = (
        students.taught(teacher, posts, 3, twin) for twin in (False, True)
    )
    assert how == same
    assert len(student.encoder.h) == len(teacher.encoder.h) // 2
    weights = student.state_dict()
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(weights[name], array)
