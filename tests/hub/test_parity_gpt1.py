"""GPT-1 against transformers: the same folder gives the same states, scores, losses and gradients."""

import numpy as np
import parity
import pytest

from tinylm import hub
from tinylm import ops as F
from tinylm.hub import openai_gpt
from tinylm.objectives.gpt import NOT_COUNTED, GPTBatch
from tinylm.objectives.gpt1 import GPT1, GPT1Config

pytestmark = pytest.mark.peer

ACTIVATIONS = ("gelu", "relu", "silu", "swish")


def config_of(sizes):
    """OpenAIGPTConfig of a case."""
    from transformers import OpenAIGPTConfig

    return OpenAIGPTConfig(
        vocab_size=sizes.vocab,
        n_positions=sizes.positions,
        n_embd=sizes.width,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        afn=ACTIVATIONS[sizes.case % len(ACTIVATIONS)],
        layer_norm_epsilon=sizes.eps or 1e-5,
        attn_implementation="eager",
    )


def here(model, batch):
    """What a GPT1 makes of a batch; without padding its own loss is the same."""
    family = {"position_ids": batch.position_ids}
    scores = model.logits(batch.ids, batch.mask, **family)
    loss = F.cross_entropy(scores, batch.targets)
    losses = {"own": loss}
    if batch.mask.all():
        losses["own"], _ = model.loss(GPTBatch(batch.ids, batch.targets))
    states = model.encode(batch.ids, batch.mask, **family)
    return parity.Answer(states, {"logits": scores}, loss, losses)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_gpt1_computes_here_what_it_computes_there(tmp_path, case, dtype):
    from transformers import OpenAIGPTLMHeadModel

    sizes = parity.draw(case)
    theirs = parity.publish(OpenAIGPTLMHeadModel(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    batch = parity.causal_batch(sizes)
    parity.compare(model, theirs, here, parity.causal_there, batch, openai_gpt, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_gpt1_written_here_computes_there_what_it_computes_here(tmp_path, case, dtype):
    sizes = parity.draw(case)
    published = config_of(sizes)
    names = [field for field in vars(GPT1Config()) if field != "batch_size"]
    config = GPT1Config(**{name: getattr(published, name) for name in names})
    model = parity.moved(GPT1(config, sizes.rng), sizes)
    theirs = parity.adopt(model, tmp_path)
    batch = parity.causal_batch(sizes)
    parity.compare(model, theirs, here, parity.causal_there, batch, openai_gpt, dtype)


def test_a_bare_gpt1_loads_and_its_targets_are_the_next_tokens(tmp_path):
    from transformers import OpenAIGPTModel

    sizes = parity.draw(2)
    parity.publish(OpenAIGPTModel(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.table.weight.shape == (sizes.vocab + sizes.positions, sizes.width)
    assert parity.next_tokens(np.array([[5, 6, 7]]), np.array([[0, 1, 1]]) > 0).tolist() == [
        [NOT_COUNTED, 7, NOT_COUNTED]
    ]
