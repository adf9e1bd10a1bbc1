"""ELECTRA against transformers, where its two sides are two models: states, scores, losses and gradients."""

import dataclasses

import numpy as np
import parity
import pytest

import tinylm
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
        layer_norm_eps=1e-3 if sizes.case % 5 == 1 else 1e-12,
        pad_token_id=None,  # else the row of padding gets no gradient from its lookups there
        attn_implementation="eager",
    )
    return ElectraConfig(**fields | over)


def narrow_of(sizes):
    """ElectraConfig of the generator beside it, transformers' own."""
    return config_of(sizes, hidden_size=NARROW, num_attention_heads=1, intermediate_size=4 * NARROW)


def inputs_of(sizes):
    """ids, mask, token_types and position_ids of a case."""
    ids, mask, position_ids = parity.ids_and_mask(sizes)
    token_types = sizes.rng.integers(N_TYPES, size=ids.shape)
    return ids, mask, token_types, position_ids


def read_there(theirs, ids, mask, token_types, **more):
    """The output of a model of transformers."""
    import torch

    return theirs(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        token_type_ids=torch.tensor(token_types),
        output_hidden_states=True,
        **{name: torch.tensor(array) for name, array in more.items()},
    )


def judged_loss(logits, labels, mask):
    """Mean loss of the answers at real positions; transformers' own is float32, as its labels are."""
    import torch

    counted = torch.tensor(mask)
    answers = torch.tensor(labels).double()[counted]
    return torch.nn.functional.binary_cross_entropy_with_logits(logits[counted], answers)


def labels_at(ids, places, targets):
    """−100 but for the targets at places (P,) of the flattened ids."""
    labels = np.full(ids.shape, parity.NOT_COUNTED)
    labels.reshape(-1)[places] = targets
    return labels


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_discriminator_judges_here_as_there(tmp_path, case, dtype):
    from transformers import ElectraForPreTraining

    sizes = parity.draw(case)
    theirs = parity.publish(ElectraForPreTraining(config_of(sizes)), sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(dtype)
    assert model.generator is None and model.logits is None
    ids, mask, token_types, position_ids = inputs_of(sizes)
    family = {"token_types": token_types, "position_ids": position_ids}
    labels = sizes.rng.integers(2, size=ids.shape)

    out = read_there(theirs, ids, mask, token_types, position_ids=position_ids)
    reference = judged_loss(out.logits, labels, mask)
    reference.backward()
    scores = model.judge(ids, mask, **family)
    losses = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    loss = (losses * mask.astype(dtype)).sum() * (1 / mask.sum())
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    states = model.encode(ids, mask, **family)
    for ours, state in zip(states, out.hidden_states, strict=True):
        parity.expect_close(ours, state, tolerance, "states", mask)
    parity.expect_close(scores, out.logits, tolerance, "logits", mask)
    parity.expect_close(loss, reference, tolerance, "loss")
    parity.expect_same_gradients(model, theirs, electra, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", parity.CASES)
def test_a_published_generator_scores_here_as_there(tmp_path, case, dtype):
    from transformers import ElectraForMaskedLM

    sizes = parity.draw(case)
    theirs = parity.publish(ElectraForMaskedLM(config_of(sizes)), sizes, tmp_path)
    model = hub.load(tmp_path)[0].astype(dtype)
    assert model.generator is model.encoder and model.dense is None
    ids, mask, token_types, _ = inputs_of(sizes)
    places = sizes.rng.choice(np.flatnonzero(mask), 5, replace=False)
    labels = labels_at(ids, places, sizes.rng.integers(sizes.vocab, size=5))

    out = read_there(theirs, ids, mask, token_types, labels=labels)
    out.loss.backward()
    scores = model.logits(ids, mask, token_types=token_types)
    loss = F.cross_entropy(scores, labels)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    parity.expect_close(scores, out.logits, tolerance, "logits", mask)
    parity.expect_close(loss, out.loss, tolerance, "loss")
    parity.expect_same_gradients(model, theirs, electra, dtype)


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


class Gathered:
    """The gradients of both models, under the names of our folder."""

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


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", [0, 1, 2, 4, 5, 6, 8, 9])
def test_both_sides_together_are_the_sum_of_the_two_published_models(
    tmp_path, case, dtype, monkeypatch
):
    sizes = parity.draw(case)
    judge, filler, folder = both_sides(sizes, tmp_path)
    model = hub.load(folder)[0].astype(dtype)
    ids, mask, token_types, _ = inputs_of(sizes)
    picks = np.sort(sizes.rng.choice(np.flatnonzero(mask), 5, replace=False))
    masked = ids.copy()
    masked.reshape(-1)[picks] = 1
    samples = sizes.rng.integers(sizes.vocab, size=5)
    samples[2] = ids.reshape(-1)[picks[2]]  # a lucky guess
    corrupted = ids.copy()
    corrupted.reshape(-1)[picks] = samples
    labels = labels_at(ids, picks, ids.reshape(-1)[picks])
    batch = ElectraBatch(ids, token_types, mask, masked, picks, mask, int(mask.sum()))
    monkeypatch.setattr(model, "_samples", lambda batch, scores: samples)

    guessed = read_there(filler, masked, mask, token_types, labels=labels)
    judged = read_there(judge, corrupted, mask, token_types)
    total = guessed.loss + 50 * judged_loss(judged.logits, corrupted != ids, mask)
    total.backward()
    loss, parts = model.loss(batch)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    parity.expect_close(loss, total, tolerance, "loss")
    parity.expect_close(parts["generator"][0] / 5, guessed.loss, 10 * tolerance, "generator")
    scores = model.logits(masked, mask, token_types=token_types)
    parity.expect_close(scores, guessed.logits, tolerance, "logits", mask)
    parity.expect_same_gradients(model, Gathered(judge, filler), electra, dtype)


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
        generator_size=NARROW / sizes.width,
    )
    model = Electra(dataclasses.replace(config, **over), np.random.default_rng(case)).eval()
    for array in model.state_dict().values():
        array += 0.2 * sizes.rng.normal(size=array.shape).astype(np.float32)
    return sizes, model


@pytest.mark.parametrize("case", [0, 1, 2, 4, 5, 6, 8, 9])
def test_an_electra_written_here_computes_there_what_it_computes_here(tmp_path, case):
    import torch
    from transformers import ElectraForMaskedLM, ElectraForPreTraining

    sizes, model = drawn(case)
    hub.save(tmp_path, model)
    judge, found = ElectraForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not found["missing_keys"] and not found["mismatched_keys"]
    assert all(name.startswith(OWN) for name in found["unexpected_keys"])
    narrow = narrow_of(sizes)
    narrow.layer_norm_eps = 1e-12
    filler = ElectraForMaskedLM(narrow)
    stored = {}
    for name, array in load_tensors(tmp_path / "model.safetensors")[0].items():
        if name.startswith((OWN, "electra.embeddings.")):
            stored[name.removeprefix(OWN)] = torch.tensor(array)
    stored[DECODER] = stored["electra.embeddings.word_embeddings.weight"]
    filler.load_state_dict(stored)

    ids, mask, token_types, _ = inputs_of(sizes)
    model.astype(np.float64)
    with torch.no_grad(), tinylm.no_grad():
        out = read_there(judge.double().eval(), ids, mask, token_types)
        ours = model.judge(ids, mask, token_types=token_types)
        parity.expect_close(ours, out.logits, 1e-9, "judge", mask)
        out = read_there(filler.double().eval(), ids, mask, token_types)
        ours = model.logits(ids, mask, token_types=token_types)
        parity.expect_close(ours, out.logits, 1e-9, "logits", mask)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uniform_generator": True},
        {"untied_generator": False},
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
