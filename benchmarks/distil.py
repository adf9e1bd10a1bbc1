"""One training step of a DistilBERT beside transformers' two models in eager PyTorch.

A teacher of L layers reads a batch without dropout and without gradients; a student of L/2 layers
reads it with dropout 0.1 and learns from the three losses of the published recipe: the teacher's
softened distribution over all V words at every token (weight 5, temperature 2), the masked words
(2), and the direction of the last states (1). All B·T tokens are real on both sides. The step is
zero grad, both forwards, backward and AdamW on the student; its positions stay frozen. Widths,
layers, vocabulary and the number of weights are equal. transformers scores every token once and
takes the masked words' loss from those scores; ours scores the masked tokens a second time.
"""

import numpy as np

from .encoders import DROPOUT, SHAPE, corpus, sizes_of, texts
from .gpt import time_steps, time_training

TEMPERATURE = 2.0


def run_ours():
    """Median ms per step of tinylm on two threads."""
    import tinylm

    config = tinylm.DistilConfig(
        SHAPE.V,
        hidden_size=SHAPE.C,
        num_hidden_layers=SHAPE.L // 2,
        num_attention_heads=SHAPE.H,
        intermediate_size=4 * SHAPE.C,
        max_position_embeddings=SHAPE.T,
        batch_size=SHAPE.B,
        sequence_length=SHAPE.T,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        temperature=TEMPERATURE,
    )
    model = tinylm.Distil(config)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(5, SHAPE.V))]
    model.spell(words, (0, 1, 2, 3, 4))
    model.prepare(corpus(SHAPE))
    model.learn_from(tinylm.Distil.stand_in(config, np.random.default_rng(0)))
    batch = model.batch(0, 0)
    assert batch.mask.all()
    return time_training("distil", model, batch)


def run_peer(compiled=False):
    """Median ms per step of PyTorch on two threads, eager or (on request) compiled."""
    import torch
    from torch.nn import functional as F
    from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

    torch.set_num_threads(2)
    torch.manual_seed(0)
    teacher = BertForMaskedLM(BertConfig(**sizes_of(SHAPE, SHAPE.C))).eval()
    config = DistilBertConfig(
        vocab_size=SHAPE.V,
        dim=SHAPE.C,
        n_layers=SHAPE.L // 2,
        n_heads=SHAPE.H,
        hidden_dim=4 * SHAPE.C,
        max_position_embeddings=SHAPE.T,
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
    )
    student = DistilBertForMaskedLM(config).train()
    student.distilbert.embeddings.position_embeddings.weight.requires_grad_(False)
    ask = torch.compile(teacher) if compiled else teacher
    answer = torch.compile(student) if compiled else student
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-4)
    ids, targets = (torch.from_numpy(array) for array in texts(SHAPE))
    alike = torch.ones(ids.numel())

    def step():
        optimizer.zero_grad()
        with torch.no_grad():
            theirs = ask(input_ids=ids, output_hidden_states=True)
            soft = F.softmax(theirs.logits.view(-1, SHAPE.V) / TEMPERATURE, dim=-1)
        ours = answer(input_ids=ids, output_hidden_states=True)
        scores = ours.logits.view(-1, SHAPE.V)
        log_q = F.log_softmax(scores / TEMPERATURE, dim=-1)
        loss = 5.0 * TEMPERATURE**2 * F.kl_div(log_q, soft, reduction="batchmean")
        loss = loss + 2.0 * F.cross_entropy(scores, targets.view(-1))
        states = ours.hidden_states[-1].view(-1, SHAPE.C)
        wanted = theirs.hidden_states[-1].view(-1, SHAPE.C)
        loss = loss + F.cosine_embedding_loss(states, wanted, alike)
        loss.backward()
        optimizer.step()

    return time_steps("distil", step)
