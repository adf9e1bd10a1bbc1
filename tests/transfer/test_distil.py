"""Laws of distilling classifiers: answers come from the teacher, never from a label."""

from dataclasses import replace

import numpy as np
import pytest

from tinylm import GPT, Bert, BertConfig, Classifier, GPTConfig, TinyBert
from tinylm.data import load_labelled
from tinylm.errors import TinylmError
from tinylm.text import WordPiece, Words
from tinylm.transfer import AdaptConfig, distilled, imitated
from tinylm.transfer.distil import _softened

TRAIN = load_labelled("toy", "train")
TEXTS = TRAIN.texts[:48]
PIECES = WordPiece.train(TEXTS, 307)
SIZES = dict(hidden_size=18, num_attention_heads=3, intermediate_size=29, num_hidden_layers=2)
CONFIG = AdaptConfig(updates=60, rates=(5e-3,), max_length=31)


def bert_of(chapter=Bert, **changes):
    """An untrained BERT of the texts' words."""
    model = chapter(BertConfig.tiny(PIECES.vocab_size, **SIZES | changes))
    model.spell(PIECES.vocab, PIECES.special_ids)
    return model


@pytest.fixture(scope="module")
def teacher():
    """A fine-tuned classifier of the toy topics."""
    return Classifier(bert_of(), PIECES, "finetune", CONFIG).fit(TEXTS, TRAIN.labels[:48])


def kl(teacher, other):
    """The mean KL of a classifier's answers from the teacher's, in nats."""
    p, q = teacher.predict_proba(TEXTS), other.predict_proba(TEXTS)
    return float(np.sum(p * (np.log(p + 1e-12) - np.log(q + 1e-12)), axis=1).mean())


def test_a_student_of_any_family_and_encoding_comes_to_answer_as_its_teacher(teacher):
    words = Words.train(TEXTS)
    sizes = dict(n_embd=14, n_head=2, n_layer=1, n_positions=31)
    student = GPT(GPTConfig.tiny(words.vocab_size, **sizes))
    before = {name: array.copy() for name, array in student.state_dict().items()}
    found = distilled(teacher, student, words, TEXTS, CONFIG)
    even = np.log(len(teacher.classes_))
    assert np.array_equal(found.classes_, teacher.classes_)
    assert kl(teacher, found) < 0.25 * even
    assert all(np.array_equal(before[name], array) for name, array in student.state_dict().items())


def test_distillation_follows_the_schedule_that_the_config_names(teacher):
    def answers(schedule, **options):
        how = {"warmup": 0.0, "schedule": schedule, "schedule_options": options}
        config = replace(CONFIG, updates=3, **how)
        student = bert_of(num_hidden_layers=1)
        return distilled(teacher, student, PIECES, TEXTS, config).predict_proba(TEXTS)

    constant = answers("constant")
    assert np.array_equal(constant, answers("cosine", floor=1.0))
    assert not np.array_equal(constant, answers("linear"))


def test_a_distilled_classifier_is_saved_and_comes_back(teacher, tmp_path):
    found = distilled(teacher, bert_of(num_hidden_layers=1), PIECES, TEXTS, CONFIG, temperature=2.0)
    found.save(tmp_path / "student")
    again = Classifier.load(tmp_path / "student")
    assert np.allclose(again.predict_proba(TEXTS), found.predict_proba(TEXTS), atol=1e-6)


def test_a_student_imitates_the_layers_of_a_fine_tuned_teacher_before_its_answers(teacher):
    config = TinyBert.student_config(teacher.encoder_, None, {})
    student = TinyBert(config, np.random.default_rng(5))
    weights = {name: array.copy() for name, array in teacher.encoder_.state_dict().items()}
    copy = imitated(teacher, student, TEXTS, CONFIG)
    text = PIECES(TEXTS, max_length=31)
    student.learn_from(teacher.encoder_)
    before = student.loss_of_texts(text["ids"], text["mask"], text["token_types"]).item()
    after = copy.loss_of_texts(text["ids"], text["mask"], text["token_types"]).item()
    assert after < 0.8 * before
    after = teacher.encoder_.state_dict()
    assert all(np.array_equal(weights[name], after[name]) for name in weights)
    assert kl(teacher, distilled(teacher, copy, PIECES, TEXTS, CONFIG)) < 0.5 * np.log(
        len(teacher.classes_)
    )


def test_who_imitates_no_layers_is_told_so(teacher):
    with pytest.raises(TinylmError, match="bert has no imitation: it imitates no layers"):
        imitated(teacher, bert_of(), TEXTS, CONFIG)
    with pytest.raises(TinylmError, match="not fitted"):
        distilled(Classifier(bert_of(), PIECES), bert_of(), PIECES, TEXTS, CONFIG)


def test_softened_answers_stay_distributions_and_keep_their_order():
    chances = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    for temperature in (0.5, 1.0, 3.0):
        soft = _softened(chances, temperature)
        assert np.allclose(soft.sum(axis=1), 1)
        assert (np.argsort(-soft[0]) == [0, 1, 2]).all() and soft[1].tolist() == [1, 0, 0]
    assert np.allclose(_softened(chances, 1.0), chances)
    assert _softened(chances, 3.0)[0].max() < 0.7 < _softened(chances, 0.5)[0].max()


def test_a_student_of_mixed_layers_is_standardised_on_its_mix(teacher):
    config = replace(CONFIG, layers=("mix",), updates=1)
    found = distilled(teacher, bert_of(num_hidden_layers=1), PIECES, TEXTS, config)
    fresh = Classifier(bert_of(num_hidden_layers=1), PIECES, "finetune", config)
    own = fresh.features_of(fresh.encoder).fit(TEXTS)
    np.testing.assert_allclose(found.features_.mean_, own.mean_, rtol=1e-3, atol=1e-5)
