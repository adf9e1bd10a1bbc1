"""Distillation against PyTorch: the released loss on transformers' models has our value and our gradients."""

from dataclasses import replace

import numpy as np
import pytest

from tinylm import Bert, BertConfig, Distil, hub
from tinylm.data import encode_corpus, toy
from tinylm.hub import distilbert
from tinylm.text import WordPiece

pytestmark = pytest.mark.peer

TEXTS = toy.documents(40, seed=1)
TOKENIZER = WordPiece.train(TEXTS, 211)
CORPUS = encode_corpus(TEXTS, TOKENIZER, TOKENIZER.end_id, structure=True)
TEACHER = BertConfig(
    TOKENIZER.vocab_size,
    hidden_size=15,
    num_hidden_layers=4,
    num_attention_heads=3,
    intermediate_size=29,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    max_position_embeddings=43,
    sequence_length=41,
    batch_size=5,
    initializer_range=0.3,
    short_rate=0.8,
)


def released_loss(student, teacher, batch, config):
    """The step of the released distiller.py, with its own names.   returns a torch number"""
    import torch
    from torch import nn

    ids = torch.as_tensor(batch.ids)
    attention_mask = torch.as_tensor(batch.mask).long()
    labels = torch.full(ids.shape, -100)
    for b, p in np.argwhere(batch.picks >= 0):
        labels[b, batch.picks[b, p]] = int(batch.targets[b, p])
    s = student(ids, attention_mask=attention_mask, output_hidden_states=True)
    with torch.no_grad():
        t = teacher(ids, attention_mask=attention_mask, output_hidden_states=True)
    chosen = (labels > -1) if config.restrict_ce_to_mask else attention_mask.bool()
    s_logits, t_logits = s.logits[chosen], t.logits[chosen]
    temperature = config.temperature
    loss_ce = nn.KLDivLoss(reduction="batchmean")(
        nn.functional.log_softmax(s_logits / temperature, dim=-1),
        nn.functional.softmax(t_logits / temperature, dim=-1),
    )
    loss = config.alpha_ce * loss_ce * temperature**2
    vocabulary = s.logits.size(-1)
    cross_entropy = nn.CrossEntropyLoss(ignore_index=-100)
    loss = loss + config.alpha_mlm * cross_entropy(s.logits.view(-1, vocabulary), labels.view(-1))
    squares = nn.MSELoss(reduction="sum")(s_logits, t_logits) / s_logits.size(0)
    loss = loss + config.alpha_mse * squares
    real = attention_mask.bool()
    s_hidden, t_hidden = s.hidden_states[-1][real], t.hidden_states[-1][real]
    target = torch.ones(len(s_hidden), dtype=s_hidden.dtype)
    cosine = nn.CosineEmbeddingLoss(reduction="mean")(s_hidden, t_hidden, target)
    return loss + config.alpha_cos * cosine


@pytest.mark.parametrize("restricted", [False, True])
def test_the_loss_and_every_gradient_are_those_of_the_released_code(tmp_path, restricted):
    from transformers import BertForMaskedLM, DistilBertForMaskedLM

    teacher = Bert(TEACHER, np.random.default_rng(3))
    options = dict(alpha_mse=0.01, temperature=1.7, freeze_pos_embs=False)
    config = Distil.student_config(teacher, None, options | {"restrict_ce_to_mask": restricted})
    student = Distil(config, np.random.default_rng(5))
    student.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    student.prepare(CORPUS)
    student.learn_from(teacher)
    hub.save(tmp_path / "student", student, TOKENIZER)
    masked = Bert(replace(TEACHER, heads=("masked",)))
    masked.load_state_dict({name: teacher.state_dict()[name] for name in masked.state_dict()})
    hub.save(tmp_path / "teacher", masked, TOKENIZER)
    theirs = DistilBertForMaskedLM.from_pretrained(tmp_path / "student").double().eval()
    their_teacher = BertForMaskedLM.from_pretrained(tmp_path / "teacher").double().eval()

    batch = next(b for b in (student.batch(i, 0) for i in range(99)) if not b.mask.all())
    student.astype(np.float64).eval()
    teacher.astype(np.float64)
    loss, _ = student.loss(batch)
    loss.backward()
    expected = released_loss(theirs, their_teacher, batch, config)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    own = dict(student.named_parameters())
    found = dict(theirs.named_parameters())
    for stored in distilbert.layout(config):
        parts = [found[name].grad.numpy() for name in stored.theirs if name in found]
        gradient = np.concatenate(parts)
        np.testing.assert_allclose(own[stored.ours].grad, gradient, atol=1e-8, err_msg=stored.ours)
