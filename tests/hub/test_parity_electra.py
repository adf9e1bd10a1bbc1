"""ELECTRA against transformers, where its two sides are two models: states, scores, losses and gradients."""

from dataclasses import dataclass, replace

import numpy as np
import parity
import pytest

from tinylm import files, hub
from tinylm import ops as F
from tinylm.errors import CheckpointError, TinylmError
from tinylm.hub import electra
from tinylm.hub.electra import DECODER, OWN
from tinylm.objectives.electra import Electra, ElectraBatch, ElectraConfig
from tinylm.tensors import load_tensors, read_json, save_tensors

pytestmark = pytest.mark.peer

N_TYPES = 3
NARROW = 5  # width of generators


def config_of(sizes, **over):
    """ElectraConfig of a case, transformers' own; tables as wide as the layers in every third case."""
    from transformers import ElectraConfig

    fields = dict(
        vocab_size=sizes.vocab,
        embedding_size=sizes.width if sizes.case % 3 == 2 else 9,
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
    return ElectraConfig(**fields | over)


def narrow_of(sizes):
    """ElectraConfig of the generator beside it, transformers' own."""
    return config_of(sizes, hidden_size=NARROW, num_attention_heads=1, intermediate_size=4 * NARROW)


@dataclass
class Batch:
    """A text, its gaps with what stands in them, answers to learn, and positions for a look at one side."""

    text: ElectraBatch
    samples: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray

    @property
    def mask(self):
        """(B, T) bool, True = a real token."""
        return self.text.mask

    @property
    def corrupted(self):
        """The text as the discriminator reads it, (B, T)."""
        filled = self.text.ids.copy()
        filled.reshape(-1)[self.text.picks] = self.samples
        return filled


def batch_of(sizes):
    """Five random picks at real places, one of them with a lucky guess."""
    ids, mask, position_ids = parity.ids_and_mask(sizes)
    rng = sizes.rng
    token_types = rng.integers(N_TYPES, size=ids.shape)
    picks = np.sort(rng.choice(np.flatnonzero(mask), 5, replace=False))
    masked = ids.copy()
    masked.reshape(-1)[picks] = 1
    samples = rng.integers(sizes.vocab, size=5)
    samples[2] = ids.reshape(-1)[picks[2]]
    text = ElectraBatch(ids, token_types, mask, masked, picks, mask, int(mask.sum()))
    return Batch(text, samples, rng.integers(2, size=ids.shape), position_ids)


def read_there(theirs, ids, batch, position_ids=None):
    """The output of a model of transformers."""
    import torch

    positions = None if position_ids is None else torch.tensor(position_ids)
    return theirs(
        torch.tensor(ids),
        attention_mask=torch.tensor(batch.mask),
        token_type_ids=torch.tensor(batch.text.token_types),
        position_ids=positions,
        output_hidden_states=True,
    )


def judged_loss(logits, labels, mask):
    """Mean loss of the answers at real positions; transformers' own is float32, as its labels are."""
    import torch

    counted = torch.tensor(mask)
    answers = torch.tensor(labels).double()[counted]
    return torch.nn.functional.binary_cross_entropy_with_logits(logits[counted], answers)


def guessed_loss(logits, text):
    """Mean loss of the tokens that stood at the picks."""
    targets = text.ids.reshape(-1)[text.picks]
    return parity.loss_of(logits, parity.labels_at(text.ids, text.picks, targets))


# ---- one side alone


def judge_here(model, batch):
    """What our discriminator says of the text itself, with random answers to learn."""
    text = batch.text
    family = {"token_types": text.token_types, "position_ids": batch.position_ids}
    states = model.encode(text.ids, text.mask, **family)
    scores = model.judge(text.ids, text.mask, **family)
    losses = F.binary_cross_entropy_with_logits(scores, batch.labels, reduction="none")
    loss = (losses * text.mask.astype(losses.dtype)).sum() * (1 / text.mask.sum())
    return parity.Answer(states, {"judge": scores}, loss)


def judge_there(theirs, batch):
    """What a discriminator of transformers says of the same."""
    out = read_there(theirs, batch.text.ids, batch, batch.position_ids)
    loss = judged_loss(out.logits, batch.labels, batch.mask)
    return parity.Answer(list(out.hidden_states), {"judge": out.logits}, loss)


def fill_here(model, batch):
    """What our generator says of the masked text; its own loss is that of a plain masked model."""
    text = batch.text
    states = model.generator(text.masked, text.mask, text.token_types)
    family = {"token_types": text.token_types, "position_ids": batch.position_ids}
    scores = {
        "logits": model.logits(text.masked, text.mask, token_types=text.token_types),
        "other positions": model.logits(text.masked, text.mask, **family),
    }
    loss, _ = model.loss(text)
    return parity.Answer(states, scores, loss)


def fill_there(theirs, batch):
    """What a generator of transformers says of the same."""
    out = read_there(theirs, batch.text.masked, batch)
    elsewhere = read_there(theirs, batch.text.masked, batch, batch.position_ids).logits
    scores = {"logits": out.logits, "other positions": elsewhere}
    return parity.Answer(list(out.hidden_states), scores, guessed_loss(out.logits, batch.text))


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_discriminator_judges_here_as_there(tmp_path, case, dtype):
    from transformers import ElectraForPreTraining

    sizes = parity.draw(case)
    theirs = parity.publish(ElectraForPreTraining(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.generator is None and model.logits is None
    batch = batch_of(sizes)
    parity.compare(model, theirs, judge_here, judge_there, batch, electra, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_generator_scores_here_as_there(tmp_path, case, dtype):
    from transformers import ElectraForMaskedLM

    sizes = parity.draw(case)
    theirs = parity.publish(ElectraForMaskedLM(config_of(sizes)), sizes, tmp_path)
    model, _ = hub.load(tmp_path)
    assert model.generator is model.encoder and model.dense is None
    parity.compare(model, theirs, fill_here, fill_there, batch_of(sizes), electra, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
@pytest.mark.parametrize("side", ["judge", "fill"])
def test_one_side_written_here_computes_there_what_it_computes_here(tmp_path, case, dtype, side):
    over = {"uniform_generator": True} if side == "judge" else {"electra_objective": False}
    sizes, model = drawn(case, **over)
    theirs = parity.adopt(model, tmp_path)
    here = judge_here if side == "judge" else fill_here
    there = judge_there if side == "judge" else fill_there
    parity.compare(model, theirs, here, there, batch_of(sizes), electra, dtype)


# ---- both sides: two models there, one here


def both_sides(sizes, folder):
    """A discriminator and a generator of transformers that share their tables, and our folder of both."""
    import torch
    from transformers import ElectraForMaskedLM, ElectraForPreTraining

    judge = parity.publish(ElectraForPreTraining(config_of(sizes)), sizes, folder / "judge")
    share = NARROW / sizes.width
    narrow = narrow_of(sizes)
    filler = parity.perturb(ElectraForMaskedLM(narrow), sizes).double().eval()
    with torch.no_grad():
        own = filler.electra.embeddings.state_dict()
        for name, weights in judge.electra.embeddings.state_dict().items():
            own[name].copy_(weights)
        for weights in filler.parameters():
            weights.copy_(weights.float())  # what a file of float32 holds
    arrays = {}
    for name, weights in judge.state_dict().items():
        arrays[name] = weights.numpy().astype(np.float32)
    for name, weights in filler.state_dict().items():
        if not name.startswith("electra.embeddings.") and name != DECODER:
            arrays[OWN + name] = weights.numpy().astype(np.float32)
    save_tensors(folder / "both" / "model.safetensors", arrays)
    fields = read_json(folder / "judge" / "config.json") | {"generator_size": share}
    files.write_json(folder / "both" / "config.json", fields)
    return judge, filler, folder / "both"


class Pair:
    """Both models of transformers, with the names of our folder for their weights."""

    def __init__(self, judge, filler):
        self.judge = judge
        self.filler = filler

    def named_parameters(self):
        """(name, a tensor with .grad), the gradients of shared tables added up."""
        shared = dict(self.filler.named_parameters())
        for name, p in self.judge.named_parameters():
            if name.startswith("electra.embeddings."):
                p.grad = p.grad + shared[name].grad
            yield name, p
        for name, p in shared.items():
            if not name.startswith("electra.embeddings.") and name != DECODER:
                yield OWN + name, p


def both_here(model, batch):
    """What our Electra makes of a batch with given samples."""
    text = batch.text
    model._samples = lambda *_: batch.samples
    loss, parts = model.loss(text)
    family = {"token_types": text.token_types}
    scores = {
        "logits": model.logits(text.masked, text.mask, **family),
        "judge": model.judge(batch.corrupted, text.mask, **family),
    }
    losses = {}
    for name in ("generator", "discriminator"):
        total, count = parts[name]
        losses[name] = np.asarray(total / count)
    states = model.encode(batch.corrupted, text.mask, **family)
    return parity.Answer(states, scores, loss, losses)


def both_there(pair, batch):
    """What both models of transformers make of it together."""
    guessed = read_there(pair.filler, batch.text.masked, batch)
    judged = read_there(pair.judge, batch.corrupted, batch)
    losses = {
        "generator": guessed_loss(guessed.logits, batch.text),
        "discriminator": judged_loss(judged.logits, batch.corrupted != batch.text.ids, batch.mask),
    }
    loss = losses["generator"] + 50 * losses["discriminator"]
    scores = {"logits": guessed.logits, "judge": judged.logits}
    return parity.Answer(list(judged.hidden_states), scores, loss, losses)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_both_sides_together_are_the_sum_of_the_two_published_models(tmp_path, case, dtype):
    sizes = parity.draw(case)
    judge, filler, folder = both_sides(sizes, tmp_path)
    model, _ = hub.load(folder)
    pair = Pair(judge, filler)
    parity.compare(model, pair, both_here, both_there, batch_of(sizes), electra, dtype)


def drawn(case, **over):
    """An Electra of ours with drawn sizes, its weights moved."""
    sizes = parity.draw(case)
    config = ElectraConfig(
        sizes.vocab,
        embedding_size=sizes.width if case % 3 == 2 else 9,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        hidden_act=sizes.activation,
        max_position_embeddings=sizes.positions,
        type_vocab_size=N_TYPES,
        layer_norm_eps=sizes.eps or 1e-12,
        generator_size=NARROW / sizes.width,
    )
    return sizes, parity.moved(Electra(replace(config, **over), sizes.rng), sizes)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_an_electra_written_here_computes_there_what_it_computes_here(tmp_path, case, dtype):
    import torch
    from transformers import ElectraForMaskedLM, ElectraForPreTraining

    sizes, model = drawn(case)
    hub.save(tmp_path, model)
    judge, found = ElectraForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager", pad_token_id=None
    )
    assert not found["missing_keys"] and not found["mismatched_keys"]
    assert all(name.startswith(OWN) for name in found["unexpected_keys"])
    filler = ElectraForMaskedLM(narrow_of(sizes))
    stored = {}
    for name, array in load_tensors(tmp_path / "model.safetensors")[0].items():
        if name.startswith((OWN, "electra.embeddings.")):
            stored[name.removeprefix(OWN)] = torch.tensor(array)
    stored[DECODER] = stored["electra.embeddings.word_embeddings.weight"]
    filler.load_state_dict(stored)
    pair = Pair(judge.double().eval(), filler.double().eval())
    parity.compare(model, pair, both_here, both_there, batch_of(sizes), electra, dtype)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uniform_generator": True},
        {"untied_generator": False},
        {"uniform_generator": True, "untied_generator": False},
        {"untied_generator_embeddings": True},
        {"electra_objective": False},
        {"generator_layers": 0.0},
        {"disallow_correct": True, "discriminate": "picked"},
    ],
)
def test_every_kind_of_electra_comes_back(tmp_path, options):
    _, model = drawn(3, **options)
    hub.save(tmp_path, model)
    again, _ = hub.load(tmp_path)
    assert again.config == model.config
    assert set(again.state_dict()) == set(model.state_dict())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_a_file_without_any_head_is_one_sentence(tmp_path):
    from transformers import ElectraModel

    sizes = parity.draw(0)
    parity.publish(ElectraModel(config_of(sizes)), sizes, tmp_path)
    with pytest.raises(CheckpointError, match="hold neither discriminator_predictions"):
        hub.load(tmp_path)


def test_a_discriminator_alone_cannot_score_tokens(tmp_path):
    from transformers import ElectraForPreTraining

    sizes = parity.draw(0)
    parity.publish(ElectraForPreTraining(config_of(sizes)), sizes, tmp_path)
    with pytest.raises(TinylmError, match="electra has no scores"):
        hub.load(tmp_path)[0].need("scores")
