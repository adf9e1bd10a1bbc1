"""AWD-LSTM against a plain PyTorch program: states, the whole training loss and its gradients, and the published files."""

import copy
import json

import numpy as np
import pytest

from tinylm import Ulmfit, UlmfitConfig, hub
from tinylm import ops as F
from tinylm.errors import CheckpointError
from tinylm.hub.awd_lstm import true_weights
from tinylm.objectives.inherit import picked, rows_by_text
from tinylm.objectives.ulmfit import UlmfitBatch
from tinylm.tensors import save_tensors
from tinylm.training.pretrain import PretrainConfig, pretrain

E, B, T = 5, 3, 11
LISTS = {
    "fastai": ["xxunk", "xxpad", "xxbos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep"],
    "old fastai": ["_unk_", "_pad_"],
    "awd-lstm": ["<eos>", "<unk>"],
}
WORDS = ["the", "cat", "sat", "on", "mat", ".", "dog"]


def drawn(names, hidden=7, layers=3, dtype=np.float32):
    """The arrays of a published model under their canonical names; matrices of deviation 1/√width.

    Larger ones would make wide layers chaotic, so that float32's rounding grows from step to step.
    """
    rng = np.random.default_rng(len(names))
    arrays = {"encoder.weight": rng.normal(size=(len(names), E))}
    below = E
    for i in range(layers):
        width = E if i == layers - 1 else hidden
        arrays[f"rnns.{i}.weight_ih_l0"] = rng.normal(size=(4 * width, below)) / below**0.5
        arrays[f"rnns.{i}.weight_hh_l0"] = rng.normal(size=(4 * width, width)) / width**0.5
        arrays[f"rnns.{i}.bias_ih_l0"] = rng.normal(size=4 * width)
        arrays[f"rnns.{i}.bias_hh_l0"] = rng.normal(size=4 * width)
        below = width
    arrays["decoder.bias"] = rng.normal(size=len(names))
    return {name: array.astype(dtype) for name, array in arrays.items()}


def as_fastai_2(arrays):
    """An encoder's file of fastai 1 and 2, which also keeps the weights that drop made."""
    found = {"encoder_dp.emb.weight": arrays["encoder.weight"]}
    for name, array in arrays.items():
        if "weight_hh" in name:
            found[name + "_raw"] = array
            array = array * 0.5
        if name != "decoder.bias":
            found[_in_module(name) if "rnns" in name else name] = array
    return found


def _in_module(name):
    rnns, number, rest = name.split(".")
    return f"{rnns}.{number}.module.{rest}"


def as_fastai_07(arrays):
    """A whole language model's file of fastai 0.7, such as that of Wikipedia."""
    found = {}
    for name, array in arrays.items():
        part = "1." if name.startswith("decoder") else "0."
        inner = _in_module(name) if name.startswith("rnns") else name
        found[part + inner + ("_raw" if "weight_hh" in name else "")] = array
    found["0.encoder_with_dropout.embed.weight"] = arrays["encoder.weight"]
    found["1.decoder.weight"] = arrays["encoder.weight"]
    return found


NAMINGS = {"as they are": dict, "fastai 2": as_fastai_2, "fastai 0.7": as_fastai_07}


def folder(path, arrays, names, kind="safetensors", stem="lstm_wt103"):
    """A published model's folder."""
    path.mkdir(exist_ok=True)
    (path / "itos.json").write_text(json.dumps(names))
    if kind == "npz":
        np.savez(path / f"{stem}.npz", **arrays)
    else:
        save_tensors(path / f"{stem}.safetensors", arrays)
    return path


# -- the program on the other side --------------------------------------------------------------


def torch_states(arrays, ids, layers=3):
    """The states of every layer by PyTorch's own LSTM, from the published arrays."""
    import torch

    w = {name: torch.tensor(array) for name, array in arrays.items()}
    x = torch.nn.functional.embedding(torch.tensor(ids), w["encoder.weight"])
    states = [x]
    for i in range(layers):
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        parts = {name: w[f"rnns.{i}.{name}"] for name in names}
        lstm = torch.nn.LSTM(x.shape[2], len(parts["bias_ih_l0"]) // 4, batch_first=True)
        lstm.load_state_dict(parts)
        x, _ = lstm.to(x.dtype)(x)
        states.append(x)
    return [state.detach().numpy() for state in states]


@pytest.mark.peer
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("hidden", [7, 1150, 1152])
def test_a_published_file_gives_pytorchs_states(tmp_path, naming, kind, hidden):
    names = LISTS["fastai"] + WORDS
    arrays = drawn(names, hidden)
    path = folder(tmp_path / "model", NAMINGS[naming](arrays), names, kind)
    model, encoding = hub.load(path)
    assert model.config.n_hid == hidden
    ids = encoding(["The cat sat on the mat ."])["ids"]
    theirs = rows_by_text(names, encoding.vocab, {"<unk>": ["xxunk"], "<pad>": ["xxpad"]})[ids]
    assert theirs.min() >= 0
    wanted = torch_states(arrays, theirs)
    for mine, other in zip(model.encode(ids), wanted, strict=True):
        np.testing.assert_allclose(mine.data, other, atol=1e-5)
    scores = wanted[-1] @ arrays["encoder.weight"].T
    if "decoder" in " ".join(NAMINGS[naming](arrays)):
        scores = scores + arrays["decoder.bias"]
    rows = rows_by_text(names, encoding.vocab)
    known = rows >= 0
    found = model.logits(ids).data[..., known]
    np.testing.assert_allclose(found, scores[..., rows[known]], atol=1e-4)


@pytest.mark.peer
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_training_loss_and_every_gradient_are_those_of_a_pytorch_program(noise):
    """Two windows, the state carried on, all five dropouts, both penalties; the masks are ours."""
    import torch

    config = UlmfitConfig(23, emb_sz=E, n_hid=7, bptt=T, batch_size=B, alpha=2.0, beta=1.0)
    config = config.dropped(0)
    if noise:
        config = UlmfitConfig(
            23,
            emb_sz=E,
            n_hid=7,
            bptt=T,
            batch_size=B,
            **dict.fromkeys(("output_p", "hidden_p", "input_p", "embed_p", "weight_p"), noise),
        )
    model = Ulmfit(config).astype(np.float64).train()
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data[...] = 0.5 * rng.normal(size=p.shape)
    tokens = rng.integers(0, 23, (B, 2 * T + 1))
    w = {
        name: torch.tensor(array, requires_grad=True) for name, array in model.state_dict().items()
    }
    carried = None
    for step in range(2):
        ids = tokens[:, step * T : step * T + T]
        targets = tokens[:, step * T + 1 : step * T + T + 1]
        model.rewind(0, step)
        noises = copy.deepcopy(model.noise)
        for p in (*model.parameters(), *w.values()):
            p.grad = None
        loss, _ = model.loss(UlmfitBatch(ids, targets, fresh=step == 0))
        loss.backward()
        other, carried = torch_loss(w, ids, targets, carried, noise, noises)
        other.backward()
        assert loss.item() == pytest.approx(other.item(), rel=1e-12)
        for name, p in model.named_parameters():
            np.testing.assert_allclose(p.grad, w[name].grad.numpy(), atol=1e-10, err_msg=name)


def torch_loss(w, ids, targets, carried, rate, noises):
    """AWD-LSTM as one writes it with PyTorch, time first; masks in the order in which ours draws them."""
    import torch

    def mask(*shape):
        if not rate:
            return torch.ones(shape, dtype=torch.float64)
        return torch.tensor(F.dropout(np.ones(shape), rate, noises.key()).data)

    ids, targets = torch.tensor(ids), torch.tensor(targets)
    rows = mask(len(w["table"]), 1)
    x = torch.nn.functional.embedding(ids, w["table"] * rows)
    x = x * mask(B, 1, E)
    ends = []
    for i in range(3):
        name = f"lstm.rnns.{i}."
        if i:
            x = x * mask(B, 1, x.shape[2])
        recurrent = w[name + "weight_hh_l0"]
        dropped = recurrent * mask(*recurrent.shape)
        width = recurrent.shape[1]
        lstm = torch.nn.LSTM(x.shape[2], width, batch_first=True, dtype=torch.float64)
        parts = {
            "weight_ih_l0": w[name + "weight_ih_l0"],
            "weight_hh_l0": dropped,
            "bias_ih_l0": w[name + "bias_l0"],
            "bias_hh_l0": torch.zeros(4 * width, dtype=torch.float64),
        }
        start = None if carried is None else carried[i]
        x, end = torch.func.functional_call(lstm, parts, (x, start))
        ends.append(tuple(part.detach() for part in end))
    raw = x
    out = raw * mask(B, 1, E)
    scores = torch.nn.functional.linear(out, w["table"], w["bias"])
    nats = torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
    penalty = 2 * out.pow(2).mean() + (raw[:, 1:] - raw[:, :-1]).pow(2).mean()
    return nats + penalty, ends


# -- the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LISTS)
def test_rows_are_found_by_the_words_text_and_what_only_we_have_gets_the_mean(tmp_path, kind):
    names = LISTS[kind] + WORDS
    arrays = drawn(names)
    model, encoding = hub.load(folder(tmp_path / "model", arrays, names))
    table = arrays["encoder.weight"]
    for word in WORDS:
        row = model.embedding_table()[encoding.vocab.index(word)]
        assert np.array_equal(row, table[names.index(word)])
    unknown = {"fastai": "xxunk", "old fastai": "_unk_", "awd-lstm": "<unk>"}[kind]
    assert np.array_equal(model.table.data[encoding.unk_id], table[names.index(unknown)])
    bias = arrays["decoder.bias"]
    assert model.bias.data[encoding.unk_id] == bias[names.index(unknown)]
    if kind != "awd-lstm":
        np.testing.assert_allclose(model.table.data[encoding.end_id], table.mean(axis=0), atol=1e-6)
        assert model.bias.data[encoding.end_id] == pytest.approx(bias.mean(), abs=1e-6)
    assert encoding.rules == (kind == "fastai")


def test_repeated_fillers_are_left_out(tmp_path):
    names = [*LISTS["fastai"], *WORDS, "xxfake", "xxfake", "xxfake"]
    model, encoding = hub.load(folder(tmp_path / "model", drawn(names), names))
    assert "xxfake" not in encoding.vocab
    assert len(model.table) == encoding.vocab_size


def test_the_true_recurrent_weights_win_over_those_that_drop_made():
    names = LISTS["fastai"] + WORDS
    arrays = drawn(names)
    kept = true_weights(as_fastai_2(arrays))
    assert np.array_equal(kept["rnns.0.weight_hh_l0_raw"], arrays["rnns.0.weight_hh_l0"])
    assert "rnns.0.module.weight_hh_l0" not in kept


def test_a_file_called_bwd_reads_backwards(tmp_path):
    names = LISTS["old fastai"] + WORDS
    path = folder(tmp_path / "model", drawn(names), names, stem="bwd_wt103")
    model, _ = hub.load(path)
    assert model.config.backward and not model.causal


def test_a_loaded_model_is_saved_as_ours_and_goes_on_with_another_text(tmp_path):
    names = LISTS["old fastai"] + WORDS
    path = folder(tmp_path / "model", drawn(names), names)
    model, encoding = hub.load(path)
    hub.save(tmp_path / "ours", model, encoding)
    again, _ = hub.load(tmp_path / "ours")
    for name, array in model.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name])
    options = dict(steps=1, lr=1e-30, weight_decay=0.0, batch_size=2, bptt=5)
    asked = PretrainConfig("ulmfit", "mine", options=options, init=path)
    later, longer, _ = pretrain(asked, ["the cat saw a bird ."] * 30, quiet=True)
    added = later.table.data[longer.vocab.index("bird")]
    np.testing.assert_allclose(added, model.table.data.mean(axis=0), atol=1e-6)


def broken(arrays, change):
    """The arrays with one mistake."""
    arrays = dict(arrays)
    if change == "a layer is missing":
        del arrays["rnns.1.weight_hh_l0"]
    elif change == "a wrong width":
        arrays["rnns.1.weight_ih_l0"] = np.ones((28, 6), np.float32)
    elif change == "a single number":
        arrays["rnns.0.weight_hh_l0"] = np.float32(1)
    elif change == "no table":
        del arrays["encoder.weight"]
    elif change == "another head":
        arrays["decoder.weight"] = arrays["encoder.weight"] + 1
    elif change == "something else":
        arrays["rnns.0.zoneout"] = np.ones(3, np.float32)
    return arrays


@pytest.mark.parametrize(
    "change, match",
    [
        ("a layer is missing", r"lacks rnns.1.weight_hh_l0"),
        ("a wrong width", r"rnns.1.weight_ih_l0 has the shape \(28, 6\), not \(28, 7\)"),
        ("a single number", r"rnns.0.weight_hh_l0 has the shape \(\)"),
        ("no table", r"encoder.weight in .* has the shape \(0, 0\)"),
        ("another head", "decoder.weight differs from encoder.weight"),
        ("something else", "rnns.0.zoneout, for which the model has no place"),
    ],
)
def test_a_mistake_names_the_tensor_and_both_shapes(tmp_path, change, match):
    names = LISTS["fastai"] + WORDS
    path = folder(tmp_path / "model", broken(drawn(names), change), names)
    with pytest.raises(CheckpointError, match=match):
        hub.load(path)


def test_a_list_of_another_length_no_list_and_two_files_are_refused(tmp_path):
    names = LISTS["fastai"] + WORDS
    path = folder(tmp_path / "model", drawn(names), [*names, "one"])
    with pytest.raises(CheckpointError, match="names 16 words"):
        hub.load(path)
    (path / "itos.json").write_text('{"the": 1}')
    with pytest.raises(CheckpointError, match="must hold a list of words"):
        hub.load(path)
    folder(path, drawn(names), names, "npz")
    with pytest.raises(CheckpointError, match="must hold one file"):
        hub.load(path)


def test_tokens_that_are_new_get_the_mean_whatever_the_shape():
    table = np.random.default_rng(0).normal(size=(5, 3))
    rows = rows_by_text(list("abcde"), list("xeb"))
    assert rows.tolist() == [-1, 4, 1]
    np.testing.assert_allclose(picked(table, rows), [table.mean(axis=0), table[4], table[1]])
