"""Laws of distillation: what the student begins with, what it learns from whom, and what stays the teacher's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import Bert, BertConfig, Distil, DistilConfig, GPTConfig, hub
from tinylm import ops as F
from tinylm.data import encode_corpus, masking, toy
from tinylm.errors import ArgumentError, TinylmError
from tinylm.objectives import find
from tinylm.objectives.distil import layers_taken, soft_loss, soften
from tinylm.tensor import Tensor
from tinylm.text import WordPiece
from tinylm.training.evaluation import evaluate

TEXTS = toy.documents(40, seed=1)
TOKENIZER = WordPiece.train(TEXTS, 211)
CORPUS = encode_corpus(TEXTS, TOKENIZER, TOKENIZER.end_id, structure=True)
SIZES = dict(
    hidden_size=12,
    num_attention_heads=3,
    intermediate_size=29,
    hidden_dropout_prob=0.1,
    max_position_embeddings=43,
    sequence_length=41,
    batch_size=5,
    initializer_range=0.3,
)
TEACHER = BertConfig(TOKENIZER.vocab_size, num_hidden_layers=5, **SIZES)


def teacher_of(**changes):
    """An untrained teacher."""
    return Bert(replace(TEACHER, **changes), np.random.default_rng(7))


def student_of(teacher, begin=True, **options):
    """Its student, prepared for the toy text."""
    config = Distil.student_config(teacher, None, options)
    student = Distil(config, np.random.default_rng(11))
    student.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    student.prepare(CORPUS)
    student.learn_from(teacher, begin=begin)
    return student


@given(st.integers(1, 97), st.data())
def test_layers_are_evenly_spaced_rising_and_the_first_and_last_are_taken(depth, data):
    count = data.draw(st.integers(1, depth))
    taken = layers_taken(depth, count)
    steps = np.diff(taken)
    assert taken[0] == 0 and len(taken) == count and (steps > 0).all()
    if count > 1:
        assert taken[-1] == depth - 1 and np.ptp(steps) <= 1
    assert layers_taken(depth, depth) == list(range(depth))


def test_six_of_twelve_layers_are_the_published_ones():
    assert layers_taken(12, 6) == [0, 2, 4, 7, 9, 11]


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_a_student_begins_with_its_teachers_tables_head_and_evenly_spaced_layers(layers):
    teacher = teacher_of()
    own = student_of(teacher, num_hidden_layers=layers).state_dict()
    theirs = teacher.state_dict()
    for name in ("encoder.embeddings.words.weight", "encoder.embeddings.norm.bias", "head.bias"):
        assert np.array_equal(own[name], theirs[name])
    for place, number in enumerate(layers_taken(5, layers)):
        for rest in ("attn.c_attn.weight", "mlp.c_proj.weight", "ln_2.weight"):
            assert np.array_equal(
                own[f"encoder.h.{place}.{rest}"], theirs[f"encoder.h.{number}.{rest}"]
            )
    assert not any("types" in name or "pooler" in name or "next" in name for name in own)


def test_a_student_of_all_layers_is_its_teacher_if_that_has_no_token_types():
    teacher = teacher_of(type_vocab_size=0, heads=("masked",), next_sentence=False)
    student = student_of(teacher, num_hidden_layers=5).eval()
    _, parts = student.loss(student.batch(0, 0))
    for name in ("soft", "kl", "cosine"):
        assert parts[name][0] == pytest.approx(0, abs=1e-4)


def test_half_of_the_layers_unless_told_otherwise_and_never_more_than_the_teacher_has():
    assert Distil.student_config(teacher_of(), None, {}).num_hidden_layers == 2
    assert Distil.student_config(teacher_of(num_hidden_layers=1), None, {}).num_hidden_layers == 1
    with pytest.raises(TinylmError, match="6 layers, its teacher 5"):
        student_of(teacher_of(), num_hidden_layers=6)


def test_the_loss_is_the_one_on_paper():
    student = student_of(
        teacher_of(), alpha_ce=3.0, alpha_mlm=0.5, alpha_cos=0.7, alpha_mse=0.011, temperature=1.7
    ).astype(np.float64)
    student.eval()
    student.teacher.astype(np.float64)
    batch = student.batch(3, 0)
    ours = student.encode(batch.ids, batch.mask)[-1].data
    theirs = student.teacher.encode(batch.ids, batch.mask)[-1].data
    scores = student.logits(batch.ids, batch.mask).data
    answers = student.teacher.logits(batch.ids, batch.mask).data
    soft, squared, cosine, masked = [], [], [], []
    for b, t in np.argwhere(batch.mask):
        soft.append(soft_loss(scores[b, t], answers[b, t], 1.7))
        squared.append(((scores[b, t] - answers[b, t]) ** 2).sum())
        h, g = ours[b, t], theirs[b, t]
        cosine.append(1 - h @ g / np.sqrt((h @ h) * (g @ g)))
    for b, p in np.argwhere(batch.picks >= 0):
        row = scores[b, batch.picks[b, p]]
        masked.append(np.log(np.exp(row).sum()) - row[batch.targets[b, p]])
    on_paper = 3.0 * np.mean(soft) + 0.011 * np.mean(squared)
    on_paper += 0.7 * np.mean(cosine) + 0.5 * np.mean(masked)
    assert student.loss(batch)[0].item() == pytest.approx(on_paper, rel=1e-10)


def test_soft_answers_can_be_asked_for_at_the_gaps_alone():
    student = student_of(teacher_of(), restrict_ce_to_mask=True).eval()
    batch = student.batch(2, 0)
    _, parts = student.loss(batch)
    assert parts["soft"][1] == batch.tokens and parts["cosine"][1] == batch.mask.sum()
    scores = student.logits(batch.ids, batch.mask).data
    answers = student.teacher.logits(batch.ids, batch.mask).data
    losses = []
    for b, p in np.argwhere(batch.picks >= 0):
        t = batch.picks[b, p]
        losses.append(soft_loss(scores[b, t].astype(float), answers[b, t].astype(float), 2.0) / 4)
    assert parts["soft"][0] == pytest.approx(sum(losses), rel=1e-4)


def test_of_a_sure_teacher_at_temperature_1_distillation_is_cross_entropy():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(7, 13))
    targets = rng.integers(13, size=7)
    answers = np.zeros((7, 13))
    answers[np.arange(7), targets] = 1e4
    own, other = Tensor(scores, requires_grad=True), Tensor(scores, requires_grad=True)
    loss = soften(own, answers, 1.0)
    expected = F.cross_entropy(other, targets)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert np.allclose(own.grad, other.grad, atol=1e-13)


def test_at_high_temperatures_the_soft_loss_compares_centred_scores():
    """τ² · KL tends to the mean squared difference of centred scores over 2 (Hinton et al. 2015)."""
    rng = np.random.default_rng(1)
    scores, answers = rng.normal(size=(2, 11))
    apart = (scores - scores.mean()) - (answers - answers.mean())
    assert soft_loss(scores, answers, 1e4) == pytest.approx((apart**2).mean() / 2, rel=1e-3)


def test_dividing_all_scores_by_the_temperature_is_the_same_as_giving_it():
    rng = np.random.default_rng(2)
    scores, answers = rng.normal(size=(2, 5, 11))
    once = soften(Tensor(scores), answers, 3.0).item()
    assert once == pytest.approx(soften(Tensor(scores / 3), answers / 3, 1.0).item(), rel=1e-12)


def test_the_teacher_gets_no_gradients_no_dropout_and_is_no_part_of_the_student():
    teacher = teacher_of().train()
    before = {name: array.copy() for name, array in teacher.state_dict().items()}
    student = student_of(teacher).train()
    losses = []
    for _ in range(2):
        student.rewind(0, 5)
        loss, parts = student.loss(student.batch(0, 0))
        loss.backward()
        losses.append(parts["soft"])
    assert losses[0] == losses[1] and not teacher.training and student.training
    assert all(p.grad is None for p in teacher.parameters())
    own = {id(p) for p in student.parameters()}
    assert not own & {id(p) for p in teacher.parameters()}
    assert student.state_dict().keys() == Distil(student.config).state_dict().keys()
    assert all(np.array_equal(before[name], array) for name, array in teacher.state_dict().items())


def test_positions_stay_the_teachers_unless_told_otherwise():
    for frozen in (True, False):
        student = student_of(teacher_of(), freeze_pos_embs=frozen)
        student.loss(student.batch(0, 0))[0].backward()
        assert (student.encoder.embeddings.positions.weight.grad is None) == frozen


def test_a_twin_begins_alike_reads_alike_and_learns_from_the_gaps_alone():
    teacher = teacher_of()
    student, twin = student_of(teacher), student_of(teacher, twin=True)
    for name, array in student.state_dict().items():
        assert np.array_equal(array, twin.state_dict()[name])
    batch = student.batch(4, 0)
    assert np.array_equal(batch.ids, twin.batch(4, 0).ids)
    twin.train()
    twin.rewind(0, 0)
    loss, parts = twin.loss(batch)
    assert list(parts) == ["masked"] and loss.item() == pytest.approx(2 * parts["masked"])
    found = evaluate(twin, CORPUS, limit=100)
    assert found["loss"] == pytest.approx(2 * found["components"]["masked"], rel=1e-6)
    assert found["components"]["kl"] > 0


def test_rare_words_are_masked_more_often_as_their_counts_say():
    rng = np.random.default_rng(3)
    places = np.arange(4)
    weights = np.array([1.0, 2.0, 4.0, 8.0])
    firsts = np.concatenate([masking.pick_weighted(places, weights, 1, rng) for _ in range(6000)])
    shares = np.bincount(firsts, minlength=4) / 6000
    assert np.abs(shares - weights / weights.sum()).max() < 0.03
    student = student_of(teacher_of())
    counts = CORPUS.counts
    often, seldom = np.argsort(-counts * ~np.isin(np.arange(len(counts)), TOKENIZER.special_ids))[
        [0, 40]
    ]
    ratio = student.pick_weights[seldom] / student.pick_weights[often]
    assert ratio == pytest.approx((counts[often] / counts[seldom]) ** 0.7)


def test_the_number_of_gaps_is_berts_and_they_are_distinct():
    student = student_of(teacher_of(), mask_rate=0.3)
    for step in range(5):
        batch = student.batch(step, 0)
        for row, mask in zip(batch.picks, batch.mask, strict=True):
            picks = row[row >= 0]
            n = masking.count_picks(int(mask.sum()), 0.3, student.config.max_predictions)
            assert len(set(picks.tolist())) == len(picks) == n


def test_a_students_folder_is_a_distilberts_and_comes_back_as_a_student(tmp_path):
    student = student_of(teacher_of(), temperature=3.0)
    hub.save(tmp_path / "student", student, TOKENIZER)
    loaded, _ = hub.load(tmp_path / "student")
    assert type(loaded) is Distil and loaded.config == student.config
    batch = student.batch(0, 0)
    same = (
        loaded.logits(batch.ids, batch.mask).data
        == student.eval().logits(batch.ids, batch.mask).data
    )
    assert same.all()
    plain = Bert(BertConfig(19, type_vocab_size=0, heads=("masked",), next_sentence=False, **SIZES))
    hub.save(tmp_path / "plain", plain)
    assert type(hub.load(tmp_path / "plain")[0]) is Bert


def test_who_cannot_teach_is_told_so():
    with pytest.raises(TinylmError, match="A gpt cannot teach"):
        Distil.student_config(find("gpt")(GPTConfig.tiny(11)), None, {})
    with pytest.raises(TinylmError, match="head of masked words"):
        Distil.student_config(teacher_of(heads=("pooler",)), None, {})
    student = Distil(Distil.student_config(teacher_of(), None, {}))
    with pytest.raises(TinylmError, match="hidden_size is 15, the student's 12"):
        student.learn_from(teacher_of(hidden_size=15))
    with pytest.raises(TinylmError, match="hidden_size is the teacher's"):
        Distil.student_config(teacher_of(), None, {"hidden_size": 15})
    with pytest.raises(TinylmError, match="leave out --config small"):
        Distil.student_config(teacher_of(), "small", {})
    with pytest.raises(ArgumentError, match="a DistilBERT has"):
        Distil.student_config(teacher_of(layer_norm_eps=1e-5), None, {})


def test_without_a_teacher_there_is_no_loss():
    student = student_of(teacher_of())
    student.teachers = ()
    with pytest.raises(TinylmError, match="no teacher yet"):
        student.loss(student.batch(0, 0))
    assert DistilConfig(11).twin is False
