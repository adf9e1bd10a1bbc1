"""GPT-2 against transformers: the same folder gives the same states, scores, losses and gradients."""

import numpy as np
import parity
import pytest

import tinylm
from tinylm import hub
from tinylm import ops as F
from tinylm.hub import gpt2
from tinylm.objectives.gpt import GPT, GPTBatch, GPTConfig

pytestmark = pytest.mark.peer


def config_of(sizes):
    """GPT2Config of a case."""
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=sizes.vocab,
        n_positions=sizes.positions,
        n_embd=sizes.width,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        n_inner=sizes.inner if sizes.case % 3 else None,
        activation_function=sizes.activation,
        layer_norm_epsilon=sizes.eps or 1e-5,
        attn_implementation="eager",
    )


def here(model, batch):
    """What a GPT makes of a batch; without padding its own loss is the same."""
    family = {"position_ids": batch.position_ids}
    states = model.encode(batch.ids, batch.mask, **family)
    loss = F.linear_cross_entropy(states[-1], model.wte.weight, batch.targets)
    losses = {"own": loss}
    if batch.mask.all():
        losses["own"], _ = model.loss(GPTBatch(batch.ids, batch.targets))
    scores = model.logits(batch.ids, batch.mask, **family)
    return parity.Answer(states, {"logits": scores}, loss, losses)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_gpt2_computes_here_what_it_computes_there(tmp_path, case, dtype):
    from transformers import GPT2LMHeadModel

    sizes = parity.draw(case)
    theirs = parity.publish(GPT2LMHeadModel(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    batch = parity.causal_batch(sizes)
    parity.compare(model, theirs, here, parity.causal_there, batch, gpt2, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_gpt2_written_here_computes_there_what_it_computes_here(tmp_path, case, dtype):
    sizes = parity.draw(case)
    published = config_of(sizes)
    names = [field for field in vars(GPTConfig()) if field != "batch_size"]
    config = GPTConfig(**{name: getattr(published, name) for name in names})
    model = parity.moved(GPT(config, sizes.rng), sizes)
    theirs = parity.adopt(model, tmp_path)
    batch = parity.causal_batch(sizes)
    parity.compare(model, theirs, here, parity.causal_there, batch, gpt2, dtype)


@pytest.mark.parametrize(
    "kind", ["GPT2Model", "GPT2DoubleHeadsModel", "GPT2ForSequenceClassification"]
)
def test_models_with_other_heads_load_without_them(tmp_path, kind, capsys):
    import torch
    import transformers

    sizes = parity.draw(1)
    config = config_of(sizes)
    config.num_labels = 3
    config.pad_token_id = 0
    theirs = parity.publish(getattr(transformers, kind)(config), sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(np.float64)
    has_head = kind != "GPT2Model"
    assert ("the head of a task is not read" in capsys.readouterr().err) == has_head
    ids, _, _ = parity.ids_and_mask(sizes)
    body = theirs.transformer if has_head else theirs
    with torch.no_grad(), tinylm.no_grad():
        reference = body(torch.tensor(ids)).last_hidden_state
        parity.expect_close(model.encode(ids)[-1], reference, 1e-9, "states")
