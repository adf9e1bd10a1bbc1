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
        layer_norm_epsilon=1e-3 if sizes.case % 5 == 1 else 1e-5,
        attn_implementation="eager",
    )


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_gpt2_computes_here_what_it_computes_there(tmp_path, case, dtype):
    import torch
    from transformers import GPT2LMHeadModel

    sizes = parity.draw(case)
    theirs = parity.publish(GPT2LMHeadModel(config_of(sizes)), sizes, tmp_path)
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
    loss = F.linear_cross_entropy(states[-1], model.wte.weight, targets)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    for ours, state in zip(states, out.hidden_states, strict=True):
        parity.expect_close(ours, state, tolerance, "states", mask)
    scores = model.logits(ids, mask, position_ids=position_ids)
    parity.expect_close(scores, out.logits, tolerance, "logits", mask)
    parity.expect_close(loss, reference, tolerance, "loss")
    parity.expect_same_gradients(model, theirs, gpt2, dtype)
    if sizes.padding == "none":
        own, _ = model.loss(GPTBatch(ids, targets))
        parity.expect_close(own, reference, tolerance, "loss of a batch")


@pytest.mark.parametrize("case", parity.CASES)
def test_a_gpt2_written_here_computes_there_what_it_computes_here(tmp_path, case):
    import torch
    from transformers import GPT2LMHeadModel

    sizes = parity.draw(case)
    theirs = config_of(sizes)
    names = [field for field in vars(GPTConfig()) if field != "batch_size"]
    config = GPTConfig(**{name: getattr(theirs, name) for name in names})
    model = GPT(config, np.random.default_rng(case)).eval()
    for array in model.state_dict().values():
        array += 0.2 * sizes.rng.normal(size=array.shape).astype(np.float32)
    hub.save(tmp_path, model)
    theirs, found = GPT2LMHeadModel.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids, _, _ = parity.ids_and_mask(sizes)
    with tinylm.no_grad(), torch.no_grad():
        out = theirs.double().eval()(torch.tensor(ids), output_hidden_states=True)
        model.astype(np.float64)
        for ours, reference in zip(model.encode(ids), out.hidden_states, strict=True):
            parity.expect_close(ours, reference, 1e-9, "states")
        parity.expect_close(model.logits(ids), out.logits, 1e-9, "logits")


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
