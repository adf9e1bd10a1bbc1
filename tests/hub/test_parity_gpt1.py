"""GPT-1 against transformers: the same folder gives the same states, scores, losses and gradients."""

import numpy as np
import parity
import pytest

import tinylm
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
        layer_norm_epsilon=1e-3 if sizes.case % 5 == 1 else 1e-5,
        attn_implementation="eager",
    )


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_gpt1_computes_here_what_it_computes_there(tmp_path, case, dtype):
    import torch
    from transformers import OpenAIGPTLMHeadModel

    sizes = parity.draw(case)
    theirs = parity.publish(OpenAIGPTLMHeadModel(config_of(sizes)), sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(dtype)
    ids, mask, position_ids = parity.ids_and_mask(sizes)
    targets = parity.next_tokens(ids, mask)

    out = theirs(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        position_ids=torch.tensor(position_ids),
        output_hidden_states=True,
    )
    reference = parity.loss_of(out.logits, targets)
    reference.backward()
    states = model.encode(ids, mask, position_ids=position_ids)
    scores = model.logits(ids, mask, position_ids=position_ids)
    loss = F.cross_entropy(scores, targets)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    for ours, state in zip(states, out.hidden_states, strict=True):
        parity.expect_close(ours, state, tolerance, "states", mask)
    parity.expect_close(scores, out.logits, tolerance, "logits", mask)
    parity.expect_close(loss, reference, tolerance, "loss")
    parity.expect_same_gradients(model, theirs, openai_gpt, dtype)
    if sizes.padding == "none":
        own, _ = model.loss(GPTBatch(ids, targets))
        parity.expect_close(own, reference, tolerance, "loss of a batch")


@pytest.mark.parametrize("case", parity.CASES)
def test_a_gpt1_written_here_computes_there_what_it_computes_here(tmp_path, case):
    import torch
    from transformers import OpenAIGPTLMHeadModel

    sizes = parity.draw(case)
    published = config_of(sizes)
    names = [field for field in vars(GPT1Config()) if field != "batch_size"]
    config = GPT1Config(**{name: getattr(published, name) for name in names})
    model = GPT1(config, np.random.default_rng(case)).eval()
    for array in model.state_dict().values():
        array += 0.2 * sizes.rng.normal(size=array.shape).astype(np.float32)
    hub.save(tmp_path, model)
    theirs, found = OpenAIGPTLMHeadModel.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids, _, _ = parity.ids_and_mask(sizes)
    with tinylm.no_grad(), torch.no_grad():
        out = theirs.double().eval()(torch.tensor(ids), output_hidden_states=True)
        model.astype(np.float64)
        for ours, state in zip(model.encode(ids), out.hidden_states, strict=True):
            parity.expect_close(ours, state, 1e-9, "states")
        parity.expect_close(model.logits(ids), out.logits, 1e-9, "logits")


def test_a_bare_gpt1_loads_and_its_targets_are_the_next_tokens(tmp_path):
    from transformers import OpenAIGPTModel

    sizes = parity.draw(2)
    parity.publish(OpenAIGPTModel(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.table.weight.shape == (sizes.vocab + sizes.positions, sizes.width)
    assert parity.next_tokens(np.array([[5, 6, 7]]), np.array([[0, 1, 1]]) > 0).tolist() == [
        [NOT_COUNTED, 7, NOT_COUNTED]
    ]
