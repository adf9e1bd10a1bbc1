"""Laws of TinyBERT: which layers learn from which, one projection for all, and what padding counts."""

from dataclasses import replace

import numpy as np
import pytest

from tinylm import Bert, BertConfig, TinyBert, hub
from tinylm.data import encode_corpus, toy
from tinylm.errors import TinylmError
from tinylm.objectives.tinybert import tinybert_loss
from tinylm.tensor import Tensor
from tinylm.text import WordPiece

TEXTS = toy.documents(40, seed=1)
TOKENIZER = WordPiece.train(TEXTS, 211)
CORPUS = encode_corpus(TEXTS, TOKENIZER, TOKENIZER.end_id, structure=True)
TEACHER = BertConfig(
    TOKENIZER.vocab_size,
    hidden_size=21,
    num_hidden_layers=4,
    num_attention_heads=3,
    intermediate_size=29,
    hidden_dropout_prob=0.1,
    max_position_embeddings=43,
    sequence_length=41,
    batch_size=5,
    initializer_range=0.4,
)


def teacher_of(**changes):
    """An untrained teacher."""
    return Bert(replace(TEACHER, **changes), np.random.default_rng(7))


def student_of(teacher, **options):
    """Its student, prepared for the toy text."""
    student = TinyBert(TinyBert.student_config(teacher, None, options), np.random.default_rng(11))
    student.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    student.prepare(CORPUS)
    student.learn_from(teacher)
    return student


def text_of(batch):
    """What a batch shows to student and teacher."""
    return batch.ids, batch.mask, batch.token_types


def arrays(tensors):
    """The arrays of some Tensors."""
    return [tensor.data for tensor in tensors]


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_loss_is_the_one_on_paper(layers):
    student = student_of(teacher_of(short_rate=0.9), num_hidden_layers=layers)
    student.astype(np.float64).eval()
    student.teacher.astype(np.float64)
    batch = student.batch(3, 0)
    assert not batch.mask.all()
    states, scores = student.looked_into(student.encoder, *text_of(batch))
    shown, their_scores = student.looked_into(student.teacher.encoder, *text_of(batch))
    w, b = student.fit.weight.data, student.fit.bias.data
    on_paper = tinybert_loss(
        arrays(states), arrays(scores), arrays(shown), arrays(their_scores), batch.mask, w, b
    )
    loss, parts = student.loss(batch)
    assert loss.item() == pytest.approx(on_paper, rel=1e-12)
    named = sum(parts[name][0] / parts[name][1] for name in ("embeddings", "states", "scores"))
    assert loss.item() == pytest.approx(named, rel=1e-12)
    assert student.loss_of_texts(*text_of(batch)).item() == loss.item()


def test_a_student_of_one_layer_copies_the_teachers_last_and_its_embeddings():
    student = student_of(teacher_of(), num_hidden_layers=1).eval()
    batch = student.batch(0, 0)
    states, scores = student.looked_into(student.encoder, *text_of(batch))
    shown, their_scores = student.looked_into(student.teacher.encoder, *text_of(batch))
    before = student.imitate(states, scores, shown, their_scores, batch.mask)[0].item()
    other = Tensor(np.full_like(shown[0].data, 9.0))
    for place, counts in enumerate([True, False, False, False, True]):
        changed = list(shown)
        changed[place] = other
        after = student.imitate(states, scores, changed, their_scores, batch.mask)[0].item()
        assert (after != before) == counts
    for place, counts in enumerate([False, False, False, True]):
        changed = list(their_scores)
        changed[place] = Tensor(changed[place].data + 1)
        after = student.imitate(states, scores, shown, changed, batch.mask)[0].item()
        assert (after != before) == counts


def test_scores_of_padding_and_those_up_to_minus_100_count_as_0():
    student = student_of(teacher_of(), num_hidden_layers=4).eval()
    shown = [Tensor(np.tile(student.fit.bias.data, (1, 2, 1)))] * 5
    low, zero = Tensor(np.full((1, 3, 2, 2), -100.0)), Tensor(np.zeros((1, 3, 2, 2)))
    states = [Tensor(np.zeros((1, 2, student.config.hidden_size), np.float32))] * 5
    both = np.ones((1, 2), bool)
    assert student.imitate(states, [low] * 4, shown, [zero] * 4, both)[0].item() == 0
    near = Tensor(np.full((1, 3, 2, 2), -99.0))
    assert student.imitate(states, [near] * 4, shown, [zero] * 4, both)[0].item() == 4 * 99.0**2
    half = np.array([[True, False]])
    found = student.imitate(states, [near] * 4, shown, [zero] * 4, half)[0].item()
    assert found == 4 * 99.0**2 / 2


def test_a_copy_of_the_teacher_has_nothing_to_learn():
    teacher = teacher_of()
    student = student_of(teacher, num_hidden_layers=4, hidden_size=21, intermediate_size=29).eval()
    weights = teacher.state_dict()
    own = {name: weights[name] for name in student.plain().state_dict()}
    own |= {"fit.weight": np.eye(21), "fit.bias": np.zeros(21)}
    student.load_state_dict(own)
    assert student.loss(student.batch(0, 0))[0].item() == pytest.approx(0, abs=1e-9)


def test_the_teacher_gets_no_gradients_no_dropout_and_is_no_part_of_the_student():
    teacher = teacher_of().train()
    student = student_of(teacher).train()
    student.loss(student.batch(0, 0))[0].backward()
    assert all(p.grad is None for p in teacher.parameters()) and not teacher.training
    assert not {id(p) for p in student.parameters()} & {id(p) for p in teacher.parameters()}
    assert all(p.grad is not None for _, p in student.named_parameters())


def test_a_student_is_half_as_wide_and_deep_with_as_many_heads():
    config = TinyBert.student_config(teacher_of(), None, {})
    assert (config.num_hidden_layers, config.hidden_size, config.teacher_size) == (2, 9, 21)
    assert config.num_attention_heads == 3 and config.heads == ()


@pytest.mark.parametrize(("layers", "taken"), [(1, 1), (3, 1), (4, 2), (5, 1), (9, 3), (12, 6)])
def test_a_student_of_any_teacher_has_layers_that_divide_its(layers, taken):
    teacher = teacher_of(num_hidden_layers=layers)
    assert TinyBert.student_config(teacher, None, {}).num_hidden_layers == taken
    student_of(teacher)


def test_a_student_can_be_published_as_a_bert(tmp_path):
    student = student_of(teacher_of()).eval()
    hub.save(tmp_path / "bert", student.plain(), TOKENIZER)
    loaded, _ = hub.load(tmp_path / "bert")
    batch = student.batch(0, 0)
    ours = student.encode(batch.ids, batch.mask, batch.token_types)[-1].data
    assert type(loaded) is Bert
    assert np.array_equal(loaded.encode(batch.ids, batch.mask, batch.token_types)[-1].data, ours)


def test_a_teacher_that_does_not_fit_is_refused():
    for options in ({"num_hidden_layers": 3}, {"num_attention_heads": 9}, {"teacher_size": 19}):
        with pytest.raises(TinylmError, match="does not fit"):
            student_of(teacher_of(), **options)
    with pytest.raises(TinylmError, match="leave out --config tiny"):
        TinyBert.student_config(teacher_of(), "tiny", {})
    student = TinyBert(TinyBert.student_config(teacher_of(), None, {}))
    with pytest.raises(TinylmError, match="A tinybert cannot teach"):
        TinyBert.student_config(student, None, {})
    with pytest.raises(TinylmError, match="no teacher yet"):
        student.loss(student_of(teacher_of()).batch(0, 0))
