"""BERT against transformers: the same folder gives the same states, scores, losses and gradients."""

from dataclasses import dataclass, replace

import numpy as np
import parity
import pytest

from tinylm import hub
from tinylm import ops as F
from tinylm.errors import TinylmError
from tinylm.hub import bert, distilbert
from tinylm.objectives.bert import HEADS, Bert, BertBatch, BertConfig

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
        layer_norm_eps=sizes.eps or 1e-12,
        pad_token_id=None,  # else the row of padding gets no gradient from its lookups there
        attn_implementation="eager",
    )


@dataclass
class Batch:
    """A BertBatch, and positions for a further look at its text."""

    text: BertBatch
    position_ids: np.ndarray

    @property
    def mask(self):
        """(B, T) bool, True = a real token."""
        return self.text.mask


def batch_of(sizes):
    """Random picks at real positions, one of them padding, and random positions."""
    ids, mask, _ = parity.ids_and_mask(sizes)
    rng = sizes.rng
    token_types = rng.integers(N_TYPES, size=ids.shape)
    picks = np.full((sizes.rows, 3), -1)
    targets = np.full((sizes.rows, 3), parity.NOT_COUNTED)
    for row in range(sizes.rows):
        n = 2 if row else 3
        picks[row, :n] = np.sort(rng.choice(np.flatnonzero(mask[row]), n, replace=False))
        targets[row, :n] = rng.integers(sizes.vocab, size=n)
    is_random = rng.integers(2, size=sizes.rows)
    text = BertBatch(ids, token_types, mask, picks, targets, is_random)
    return Batch(text, rng.integers(sizes.positions, size=ids.shape))


def labels_of(text):
    """transformers' labels: the targets at their places, −100 elsewhere."""
    labels = np.full(text.ids.shape, parity.NOT_COUNTED)
    rows, columns = np.nonzero(text.picks >= 0)
    labels[rows, text.picks[rows, columns]] = text.targets[rows, columns]
    return labels


def here(model, batch):
    """What a Bert makes of a batch, with the heads that it has; its loss is that of all its tasks."""
    text = batch.text
    heads = model.config.heads
    token_types = text.token_types if model.config.type_vocab_size else None
    states = model.encode(text.ids, text.mask, token_types)
    elsewhere = model.encode(text.ids, text.mask, token_types, batch.position_ids)[-1]
    scores = {"other positions": elsewhere}
    losses = {}
    loss = 0.0
    if "pooler" in heads:
        scores["pooler"] = model.pooler(states[-1])
    if "next" in heads:
        scores["next"] = model.next(scores["pooler"])
        losses["next"] = F.cross_entropy(scores["next"], text.is_random)
        loss = loss + losses["next"]
    if "masked" in heads:
        scores["logits"] = model.logits(text.ids, text.mask, token_types=token_types)
        loss, parts = model.loss(text)
        losses["masked"] = parts["masked"]
        if "next" in heads:
            total, count = parts["next"]
            assert abs(total / count - losses["next"].item()) < 1e-6
    if not losses:
        loss = (elsewhere * elsewhere * text.mask[..., None].astype(elsewhere.dtype)).sum()
    return parity.Answer(states, scores, loss, losses)


def there(theirs, batch):
    """What a BERT of transformers makes of a batch, with the heads that it has."""
    import torch

    text = batch.text
    inputs = {
        "input_ids": torch.tensor(text.ids),
        "attention_mask": torch.tensor(text.mask),
        "token_type_ids": torch.tensor(text.token_types),
        "output_hidden_states": True,
    }
    if theirs.base_model_prefix == "distilbert":
        del inputs["token_type_ids"]
    body = theirs.base_model
    bare = body(**inputs)
    positions = torch.tensor(batch.position_ids)
    elsewhere = body(**inputs, position_ids=positions).last_hidden_state
    out = bare if body is theirs else theirs(**inputs)
    scores = {"other positions": elsewhere}
    losses = {}
    if getattr(body, "pooler", None) is not None:
        scores["pooler"] = bare.pooler_output
    kind = type(theirs).__name__
    if kind.endswith("ForMaskedLM"):
        scores["logits"] = out.logits
    elif kind.endswith("ForNextSentencePrediction"):
        scores["next"] = out.logits
    elif kind.endswith("ForPreTraining"):
        scores["logits"] = out.prediction_logits
        scores["next"] = out.seq_relationship_logits
    if "logits" in scores:
        losses["masked"] = parity.loss_of(scores["logits"], labels_of(text))
    if "next" in scores:
        losses["next"] = parity.loss_of(scores["next"], text.is_random)
    loss = sum(losses.values())
    if not losses:
        loss = (elsewhere.square() * torch.tensor(text.mask)[..., None]).sum()
    return parity.Answer(list(out.hidden_states), scores, loss, losses)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_bert_computes_here_what_it_computes_there(tmp_path, case, dtype):
    from transformers import BertForPreTraining

    sizes = parity.draw(case)
    theirs = parity.publish(BertForPreTraining(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.config.heads == HEADS
    parity.compare(model, theirs, here, there, batch_of(sizes), bert, dtype)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("case", [2, 3, 4])
def test_a_model_has_the_heads_that_its_file_holds(tmp_path, kind, case):
    import transformers

    sizes = parity.draw(case)
    theirs = parity.publish(getattr(transformers, kind)(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.config.heads == CLASSES[kind]
    batch = batch_of(sizes)
    parity.compare(model, theirs, here, there, batch, bert, np.float64)
    if "masked" not in model.config.heads:
        with pytest.raises(TinylmError, match="bert has no scores"):
            model.loss(batch.text)
    hub.save(tmp_path / "again", model.astype(np.float32))
    again, _ = hub.load(tmp_path / "again")
    assert again.config == model.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_bert_written_here_computes_there_what_it_computes_here(tmp_path, case, dtype):
    sizes = parity.draw(case)
    heads = (HEADS, ("masked",), ("pooler", "next"), ("pooler",), ())[case % 5]
    config = BertConfig(
        sizes.vocab,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        hidden_act=sizes.activation,
        max_position_embeddings=sizes.positions,
        type_vocab_size=N_TYPES,
        layer_norm_eps=sizes.eps or 1e-12,
        heads=heads,
    )
    model = parity.moved(Bert(config, sizes.rng), sizes)
    more = {} if heads else {"add_pooling_layer": False}
    theirs = parity.adopt(model, tmp_path, **more)
    parity.compare(model, theirs, here, there, batch_of(sizes), bert, dtype)


# ---- DistilBERT, which here is a Bert


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
    from transformers import DistilBertForMaskedLM

    sizes = parity.draw(case)
    theirs = DistilBertForMaskedLM(distilled(sizes))
    for p in theirs.parameters():
        p.requires_grad = True  # sinusoids too
    theirs = parity.publish(theirs, sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.config.heads == ("masked",) and model.config.type_vocab_size == 0
    parity.compare(model, theirs, here, there, alone(sizes), distilbert, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_bert_without_types_written_here_is_a_distilbert_there(tmp_path, case, dtype):
    sizes = parity.draw(case)
    config = BertConfig(
        sizes.vocab,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        hidden_act=sizes.activation,
        max_position_embeddings=sizes.positions,
        type_vocab_size=0,
        heads=("masked",) if case % 3 else (),
        mask_rate=0.25,
    )
    model = parity.moved(Bert(config, sizes.rng), sizes)
    theirs = parity.adopt(model, tmp_path)
    assert theirs.base_model_prefix == "distilbert"
    again, _ = hub.load(tmp_path)
    assert again.config == config
    parity.compare(again, theirs, here, there, alone(sizes), distilbert, dtype)


def alone(sizes):
    """A batch without the second task."""
    batch = batch_of(sizes)
    return replace(batch, text=replace(batch.text, is_random=None))


@pytest.mark.parametrize("kind", ["DistilBertModel", "DistilBertForSequenceClassification"])
def test_a_distilbert_without_its_head_comes_back(tmp_path, kind):
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
