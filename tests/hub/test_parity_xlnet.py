"""XLNet against transformers: both streams' states, memories, scores and gradients, and folders both ways."""

import dataclasses

import numpy as np
import parity
import pytest

from tinylm import hub, nn
from tinylm import ops as F
from tinylm.errors import CheckpointError, TinylmError
from tinylm.hub import xlnet
from tinylm.objectives.xlnet import XLNet, XLNetConfig
from tinylm.tensors import load_tensors, read_json, save_tensors

pytestmark = pytest.mark.peer

EIGHT = range(8)
K = 3  # places that the query stream asks for
OPTIONS = (  # what each case has besides the query stream; together they are all there are
    dict(),
    dict(memory=5, segments=True),
    dict(memory=3, mask=True, segments=True, clamp_len=4),
    dict(bi_data=True, segments=True),
    dict(bi_data=True, memory=5, clamp_len=2, mask=True),
    dict(attn_type="uni", memory=3),
    dict(attn_type="uni", same_length=True, memory=7, segments=True),
    dict(memory=11, reuse_len=4, mem_len=8, segments=True, mask=True),
)
MODEL = ("clamp_len", "bi_data", "attn_type", "same_length", "reuse_len", "mem_len")


def config_of(sizes, **over):
    """XLNetConfig of a case, transformers' own."""
    from transformers import XLNetConfig

    fields = dict(
        vocab_size=sizes.vocab,
        d_model=sizes.width - sizes.width % (2 * sizes.heads) or 2 * sizes.heads,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        d_inner=sizes.inner,
        ff_activation=sizes.activation,
        layer_norm_eps=1e-3 if sizes.case % 5 == 1 else 1e-12,
        mem_len=None,
        use_mems_train=True,
    )
    return XLNetConfig(**fields | over)


def drawn_inputs(sizes, width, options):
    """Everything that one step reads, in our terms."""
    rng = sizes.rng
    rows, length = 4, sizes.length
    found = {"ids": rng.integers(sizes.vocab, size=(rows, length))}
    visible = rng.random((rows, length, length)) < 0.6
    visible[:, :, length - 3 :] = True  # so that nobody sees nothing
    if options.get("attn_type") != "uni":  # transformers cannot have both masks at once
        found["visible"] = visible
    found["picks"] = np.array([rng.permutation(length)[:K] for _ in range(rows)])
    if options.get("mask"):
        found["mask"] = np.arange(length) >= np.arange(rows)[:, None]  # padded on the left
    if options.get("segments"):
        found["token_types"] = rng.integers(3, size=(rows, length))
    if "memory" in options:
        found["memory"] = rng.normal(size=(sizes.layers, rows, options["memory"], width))
    found["half_backwards"] = options.get("bi_data", False)
    return found


def read_there(theirs, inputs, monkeypatch, query=True):
    """The output of a model of transformers, whose sinusoids are float32 whatever the model is."""
    import torch

    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    more = {}
    if query:
        mapping = np.eye(inputs["ids"].shape[1])[inputs["picks"]]  # (B,K,T)
        more["target_mapping"] = torch.tensor(mapping)
    if "mask" in inputs:
        more["attention_mask"] = torch.tensor(inputs["mask"].astype(float))
    if "token_types" in inputs:
        more["token_type_ids"] = torch.tensor(inputs["token_types"])
    if "memory" in inputs:
        more["mems"] = [torch.tensor(part.swapaxes(0, 1)) for part in inputs["memory"]]
    if "visible" in inputs:
        more["perm_mask"] = torch.tensor(1.0 - inputs["visible"])
    return theirs(
        torch.tensor(inputs["ids"]),
        use_mems=True,
        output_hidden_states=True,
        **more,
    )


def both(case, folder, dtype=np.float64):
    """A model of transformers, ours from its folder, and the inputs of a case."""
    from transformers import XLNetLMHeadModel

    sizes = parity.draw(case)
    options = OPTIONS[case % len(OPTIONS)]
    fields = {name: options[name] for name in MODEL if name in options}
    config = config_of(sizes, **fields)
    theirs = parity.publish(XLNetLMHeadModel(config), sizes, folder)
    model = hub.load(folder)[0].astype(dtype)
    return theirs, model, drawn_inputs(sizes, config.d_model, options)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", EIGHT)
def test_a_published_model_reads_and_predicts_here_as_there(tmp_path, case, dtype, monkeypatch):
    theirs, model, inputs = both(case, tmp_path, dtype)
    targets = parity.draw(case).rng.integers(model.config.vocab_size, size=inputs["picks"].shape)
    out = read_there(theirs, inputs, monkeypatch)
    reference = parity.loss_of(out.logits, targets)
    reference.backward()

    content, query = model.streams(**inputs)
    scores = F.linear(query[-1], model.token_table, model.bias)
    loss = F.cross_entropy(scores, targets)
    loss.backward()

    tolerance = parity.TOLERANCE[dtype]
    states = [state for pair in zip(content, query, strict=True) for state in pair]
    for number, (ours, state) in enumerate(zip(states, out.hidden_states, strict=True)):
        parity.expect_close(ours, state, tolerance, f"state {number}")
    parity.expect_close(scores, out.logits, tolerance, "logits")
    if "visible" in inputs:
        parity.expect_close(model.predict(**inputs), out.logits, tolerance, "predict")
    parity.expect_close(loss, reference, tolerance, "loss")
    c = model.config
    memory = nn.remember(content[:-1], inputs.get("memory"), c.mem_len, c.reuse_len)
    for ours, mem in zip(memory, out.mems, strict=True):
        parity.expect_close(ours.swapaxes(0, 1), mem, tolerance, "memory")
    parity.expect_same_gradients(model, theirs, xlnet, dtype)


@pytest.mark.parametrize("dtype", parity.DTYPES)
@pytest.mark.parametrize("case", EIGHT)
def test_the_content_stream_alone_is_what_fine_tuning_reads_there(
    tmp_path, case, dtype, monkeypatch
):
    theirs, model, inputs = both(case, tmp_path, dtype)
    out = read_there(theirs, inputs, monkeypatch, query=False)
    weights = parity.draw(case).rng.normal(size=out.hidden_states[-1].shape)
    (out.hidden_states[-1] * out.hidden_states[-1].new_tensor(weights)).sum().backward()
    del inputs["picks"]
    states = model.encode(**inputs)
    F.sum(states[-1] * weights.astype(dtype)).backward()
    for ours, state in zip(states, out.hidden_states, strict=True):
        parity.expect_close(ours, state, parity.TOLERANCE[dtype], "states")
    parity.expect_same_gradients(model, theirs, xlnet, dtype)


def test_a_query_that_may_see_nothing_averages_here_as_there(tmp_path, monkeypatch):
    theirs, model, inputs = both(0, tmp_path)
    inputs["visible"][1] = False
    out = read_there(theirs, inputs, monkeypatch)
    parity.expect_close(model.predict(**inputs), out.logits, 1e-9)


@pytest.mark.parametrize("untie_r", [True, False])
@pytest.mark.parametrize("case", EIGHT)
def test_an_xlnet_written_here_computes_there_what_it_computes_here(
    tmp_path, case, untie_r, monkeypatch
):
    from transformers import XLNetLMHeadModel

    sizes = parity.draw(case)
    width = config_of(sizes).d_model
    config = XLNetConfig(
        sizes.vocab,
        d_model=width,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        d_inner=sizes.inner,
        ff_activation=sizes.activation,
        clamp_len=4 if case % 2 else -1,
        untie_r=untie_r,
    )
    model = XLNet(config, np.random.default_rng(case)).eval()
    for array in model.state_dict().values():
        array += 0.2 * sizes.rng.normal(size=array.shape).astype(np.float32)
    hub.save(tmp_path, model)
    theirs, found = XLNetLMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    inputs = drawn_inputs(sizes, width, dict(memory=3, segments=True))
    out = read_there(theirs.double().eval(), inputs, monkeypatch)
    model.astype(np.float64)
    parity.expect_close(model.predict(**inputs), out.logits, 1e-9)
    again = hub.load(tmp_path)[0]
    assert again.config == config
    for name, array in model.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name])


def test_names_without_the_prefix_are_read(tmp_path):
    _, model, _ = both(0, tmp_path)
    place = tmp_path / "model.safetensors"
    arrays = load_tensors(place)[0]
    bare = {name.removeprefix(xlnet.PREFIX): array for name, array in arrays.items()}
    save_tensors(place, bare)
    for name, array in hub.load(tmp_path)[0].state_dict().items():
        assert np.array_equal(array, model.state_dict()[name])


def test_a_model_with_other_heads_or_a_head_of_its_own_is_refused(tmp_path):
    both(0, tmp_path)
    fields = read_json(tmp_path / "config.json")
    with pytest.raises(TinylmError, match="d_head"):
        xlnet.from_config(fields | {"d_head": fields["d_head"] + 1}, XLNetConfig)
    place = tmp_path / "model.safetensors"
    arrays = load_tensors(place)[0]
    table = arrays["transformer.word_embedding.weight"]
    save_tensors(place, arrays | {xlnet.HEAD: table + 1})
    with pytest.raises(CheckpointError, match="differs"):
        hub.load(tmp_path)


@pytest.mark.parametrize("reuse_len", [None, 0, 1, 4, 256, 700])
def test_a_config_of_others_says_how_to_learn_from_any_reuse_len(reuse_len):
    fields = {"d_model": 12, "n_head": 3, "reuse_len": reuse_len}
    config = xlnet.from_config(fields, XLNetConfig)
    assert config.reuse_len == reuse_len and config.reused == (reuse_len or 256)
    again = xlnet.from_config(dataclasses.asdict(config), XLNetConfig)
    assert again == config


def test_the_published_sizes_are_those_of_the_published_configs():
    base, large = XLNetConfig.base(), XLNetConfig.large()
    assert (base.d_model, base.n_layer, base.n_head, base.d_inner) == (768, 12, 12, 3072)
    assert (large.d_model, large.n_layer, large.n_head, large.d_inner) == (1024, 24, 16, 4096)
    assert dataclasses.replace(base, dropout=0.0).reused == 256
