"""BERT against transformers: the same folder gives the same states, scores, losses and gradients."""

import numpy as np
import parity
import pytest

import tinylm
from tinylm import hub
from tinylm import ops as F
from tinylm.errors import TinylmError
from tinylm.hub import bert, distilbert
from tinylm.objectives.bert import HEADS, Bert, BertBatch, BertConfig
from tinylm.training import checkpoint

pytestmark = pytest.mark.peer

N_TYPES = 3
CLASSES = {
    "BertForPreTraining": HEADS,
    "BertForMaskedLM": ("masked",),
    "BertForNextSentencePrediction": ("pooler", "next"),
    "BertModel": ("pooler",),
    "BertForTokenClassification": (),
    "BertForSequenceClassification": ("pooler",),
    "BertForQuestionAnswering": (),
}


def config_of(sizes):
    """BertConfig of a case, transformers' own."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=sizes.vocab,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        hidden_act=sizes.activation,
        max_position_embeddings=sizes.positions,
        type_vocab_size=N_TYPES,
        layer_norm_eps=1e-3 if sizes.case % 5 == 1 else 1e-12,
        pad_token_id=None,  # else the row of padding gets no gradient from its lookups there
        attn_implementation="eager",
    )


def batch_of(sizes):
    """A BertBatch of random picks at real positions, one of them padding, and position_ids."""
    ids, mask, position_ids = parity.ids_and_mask(sizes)
    rng = sizes.rng
    token_types = rng.integers(N_TYPES, size=ids.shape)
    picks = np.full((sizes.rows, 3), -1)
    targets = np.full((sizes.rows, 3), -100)
    for row in range(sizes.rows):
        n = 2 if row else 3
        picks[row, :n] = np.sort(rng.choice(np.flatnonzero(mask[row]), n, replace=False))
        targets[row, :n] = rng.integers(sizes.vocab, size=n)
    is_random = rng.integers(2, size=sizes.rows)
    return BertBatch(ids, token_types, mask, picks, targets, is_random), position_ids


def labels_of(batch):
    """transformers' labels: the targets at their places, −100 elsewhere."""
    labels = np.full(batch.ids.shape, -100)
    rows, columns = np.nonzero(batch.picks >= 0)
    labels[rows, batch.picks[rows, columns]] = batch.targets[rows, columns]
    return labels


def their_inputs(batch):
    """The keywords that all of transformers' BERTs share."""
    import torch

    return {
        "input_ids": torch.tensor(batch.ids),
        "attention_mask": torch.tensor(batch.mask),
        "token_type_ids": torch.tensor(batch.token_types),
        "output_hidden_states": True,
    }


def expect_same_states(model, batch, out, tolerance):
    """Compare all layers at real positions."""
    states = model.encode(batch.ids, batch.mask, batch.token_types)
    for ours, reference in zip(states, out.hidden_states, strict=True):
        parity.expect_close(ours, reference, tolerance, "states", batch.mask)
    return states


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_bert_computes_here_what_it_computes_there(tmp_path, case, dtype):
    import torch
    from transformers import BertForPreTraining

    sizes = parity.draw(case)
    theirs = parity.publish(BertForPreTraining(config_of(sizes)), sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(dtype)
    assert model.config.heads == HEADS
    batch, _ = batch_of(sizes)

    out = theirs(
        labels=torch.tensor(labels_of(batch)),
        next_sentence_label=torch.tensor(batch.is_random),
        **their_inputs(batch),
    )
    out.loss.backward()
    loss, parts = model.loss(batch)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    states = expect_same_states(model, batch, out, tolerance)
    scores = model.logits(batch.ids, batch.mask, token_types=batch.token_types)
    parity.expect_close(scores, out.prediction_logits, tolerance, "logits", batch.mask)
    pairs = model.next(model.pooler(states[-1]))
    parity.expect_close(pairs, out.seq_relationship_logits, tolerance, "next")
    parity.expect_close(loss, out.loss, tolerance, "loss")
    total, count = parts["next"]
    reference = F.cross_entropy(out.seq_relationship_logits.detach().numpy(), batch.is_random)
    assert abs(total / count - reference.item()) < 1e-5
    parity.expect_same_gradients(model, theirs, bert, dtype)


@pytest.mark.parametrize("case", [1, 3, 5, 7])
def test_position_ids_may_be_given(tmp_path, case):
    import torch
    from transformers import BertModel

    sizes = parity.draw(case)
    theirs = parity.publish(BertModel(config_of(sizes)), sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(np.float64)
    batch, _ = batch_of(sizes)
    position_ids = sizes.rng.integers(sizes.positions, size=batch.ids.shape)
    with torch.no_grad(), tinylm.no_grad():
        out = theirs(position_ids=torch.tensor(position_ids), **their_inputs(batch))
        states = model.encode(batch.ids, batch.mask, batch.token_types, position_ids)
        parity.expect_close(states[-1], out.last_hidden_state, 1e-9, "states", batch.mask)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_model_has_the_heads_that_its_file_holds(tmp_path, kind):
    import torch
    import transformers

    sizes = parity.draw(2)
    theirs = parity.publish(getattr(transformers, kind)(config_of(sizes)), sizes, tmp_path)
    model = hub.load(tmp_path)[0]
    assert model.config.heads == CLASSES[kind]
    batch, _ = batch_of(sizes)
    with torch.no_grad(), tinylm.no_grad():
        out = theirs(**their_inputs(batch))
        expect_same_states(model.astype(np.float64), batch, out, 1e-9)
        if "masked" not in model.config.heads:
            with pytest.raises(TinylmError, match="bert has no scores"):
                model.loss(batch)
    hub.save(tmp_path / "again", model.astype(np.float32))
    again, _ = hub.load(tmp_path / "again")
    assert again.config == model.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


@pytest.mark.parametrize("heads", [HEADS, ("masked",), ("pooler", "next"), ("pooler",), ()])
@pytest.mark.parametrize("case", [0, 1, 4, 7])
def test_a_bert_written_here_computes_there_what_it_computes_here(tmp_path, case, heads):
    import torch
    import transformers

    sizes = parity.draw(case)
    config = BertConfig(
        sizes.vocab,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        hidden_act=sizes.activation,
        max_position_embeddings=sizes.positions,
        type_vocab_size=N_TYPES,
        heads=heads,
    )
    model = Bert(config, np.random.default_rng(case)).eval()
    for array in model.state_dict().values():
        array += 0.2 * sizes.rng.normal(size=array.shape).astype(np.float32)
    hub.save(tmp_path, model)
    name = checkpoint.read_json(tmp_path / hub.CONFIG)["architectures"][0]
    more = {} if heads else {"add_pooling_layer": False}
    theirs, found = getattr(transformers, name).from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager", **more
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    model.astype(np.float64)
    batch, _ = batch_of(sizes)
    with torch.no_grad(), tinylm.no_grad():
        out = theirs.double().eval()(**their_inputs(batch))
        states = expect_same_states(model, batch, out, 1e-9)
        if "masked" in heads:
            scores = out.prediction_logits if "next" in heads else out.logits
            ours = model.logits(batch.ids, batch.mask, token_types=batch.token_types)
            parity.expect_close(ours, scores, 1e-9, "logits", batch.mask)
        elif "next" in heads:
            parity.expect_close(model.next(model.pooler(states[-1])), out.logits, 1e-9, "next")
        elif heads:
            parity.expect_close(model.pooler(states[-1]), out.pooler_output, 1e-9, "pooler")


# ---- DistilBERT, which is read as a BERT


def distilled(sizes):
    """DistilBertConfig of a case."""
    from transformers import DistilBertConfig

    return DistilBertConfig(
        vocab_size=sizes.vocab,
        dim=sizes.width,
        n_layers=sizes.layers,
        n_heads=sizes.heads,
        hidden_dim=sizes.inner,
        activation=sizes.activation,
        max_position_embeddings=sizes.positions,
        sinusoidal_pos_embds=sizes.case % 2 == 0,
        pad_token_id=None,
        attn_implementation="eager",
    )


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_distilbert_computes_here_what_it_computes_there(tmp_path, case, dtype):
    import torch
    from transformers import DistilBertForMaskedLM

    sizes = parity.draw(case)
    theirs = DistilBertForMaskedLM(distilled(sizes))
    for p in theirs.parameters():
        p.requires_grad = True  # sinusoids too
    theirs = parity.publish(theirs, sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(dtype)
    assert model.config.heads == ("masked",) and model.config.type_vocab_size == 0
    batch, _ = batch_of(sizes)

    out = theirs(
        torch.tensor(batch.ids),
        attention_mask=torch.tensor(batch.mask),
        labels=torch.tensor(labels_of(batch)),
        output_hidden_states=True,
    )
    out.loss.backward()
    loss, _ = model.loss(batch)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    expect_same_states(model, batch, out, tolerance)
    scores = model.logits(batch.ids, batch.mask)
    parity.expect_close(scores, out.logits, tolerance, "logits", batch.mask)
    parity.expect_close(loss, out.loss, tolerance, "loss")
    parity.expect_same_gradients(model, theirs, distilbert, dtype)


@pytest.mark.parametrize("kind", ["DistilBertModel", "DistilBertForSequenceClassification"])
def test_a_distilbert_without_its_head_loads_and_is_saved_as_a_bert(tmp_path, kind):
    import transformers

    sizes = parity.draw(4)
    parity.publish(getattr(transformers, kind)(distilled(sizes)), sizes, tmp_path / "theirs")
    model, _ = hub.load(tmp_path / "theirs")
    assert model.config.heads == () and model.config.num_hidden_layers == sizes.layers
    hub.save(tmp_path / "ours", model)
    again, _ = hub.load(tmp_path / "ours")
    assert again.config == model.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
