"""Laws of the LSTM module: chunks, padding, directions, clips, what training drops; and it is PyTorch's, every option."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.gradcheck import check_grads
from tinylm.tensor import Tensor


def lstm(seed=0, **options):
    """A float64 LSTM over inputs of width 3 with 5 hidden units."""
    config = nn.LSTMConfig(3, 5, **options)
    return nn.LSTM(config, noise=nn.Noise(), rng=np.random.default_rng(seed)).astype(np.float64)


X = np.random.default_rng(1).normal(size=(2, 7, 3))


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"proj_size": 2, "num_layers": 3}, {"cell_clip": 0.1}]
)
def test_chunks_with_carried_state_are_the_whole(options):
    model = lstm(**options)
    whole, end = model(X)
    first, state = model(X[:, :4])
    second, last = model(X[:, 4:], nn.detach(state))
    np.testing.assert_allclose(np.concatenate([first.data, second.data], 1), whole.data, atol=1e-12)
    for (h, c), (h_end, c_end) in zip(last, end, strict=True):
        np.testing.assert_allclose(h.data, h_end.data, atol=1e-12)
        np.testing.assert_allclose(c.data, c_end.data, atol=1e-12)


def test_detached_state_passes_no_gradient_and_the_other_does():
    model, x = lstm(), Tensor(X[:, :4], requires_grad=True)
    for cut in (True, False):
        x.grad = None
        _, state = model(x)
        model(X[:, 4:], nn.detach(state) if cut else state)[0].backward(np.ones((2, 3, 5)))
        assert (x.grad is None) == cut


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing_at_real_steps(bidirectional):
    model = lstm(num_layers=2, bidirectional=bidirectional)
    mask = np.arange(7) < np.array([4, 7])[:, None]
    out, _ = model(X, mask=mask)
    noisy = np.where(mask[:, :, None], X, 1e3)
    other, _ = model(noisy, mask=mask)
    assert np.array_equal(out.data, other.data) and not out.data[~mask].any()
    short, _ = model(X[:1, :4])
    np.testing.assert_allclose(out.data[:1, :4], short.data, atol=1e-12)


def test_the_second_direction_is_the_first_one_on_the_reversed_text():
    both = lstm(bidirectional=True)
    one = lstm()
    own = one.state_dict()
    for name, array in both.state_dict().items():
        if name.endswith("_reverse"):
            own[name.removesuffix("_reverse")][...] = array
    backward, _ = one(X[:, ::-1])
    np.testing.assert_allclose(both(X)[0].data[:, :, 5:], backward.data[:, ::-1], atol=1e-12)


def test_clips_bound_the_cell_and_the_projected_state():
    model = lstm(proj_size=2, cell_clip=0.05, projection_clip=0.01)
    out, [(h, c)] = model(10 * X)
    assert (
        np.abs(c.data).max() == 0.05
        and np.abs(out.data).max() <= 0.01
        and np.abs(h.data).max() <= 0.01
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_gradient_passes_where_a_clip_cut(seed):
    rng = np.random.default_rng(
        seed
    )  # fixed: a cell that lies at its bound by chance has no derivative
    arrays = [rng.normal(size=size) for size in ((5, 2, 3), (28, 3), (28, 2), (28,), (2, 7))]

    def outputs(x, *weights):
        out, (h, c) = F.lstm(x, None, weights, clip=(0.4, 0.2))
        return F.concatenate([F.reshape(part, -1) for part in (out, h, c)])

    y = outputs(*arrays).data
    assert (np.abs(y) == 0.2).any() and (np.abs(y) == 0.4).any()
    check_grads(outputs, *arrays)


def test_the_forget_bias_is_added_to_the_forget_gate_alone():
    plain, biased = lstm(), lstm(forget_bias=1.0)
    difference = biased.bias_l0.data - plain.bias_l0.data
    np.testing.assert_allclose(difference, np.repeat([0, 1, 0, 0], 5), atol=1e-6)


def test_dropped_recurrent_weights_are_one_mask_per_forward_and_training_only():
    model, plain = lstm(weight_drop=0.5), lstm()
    outs = [model(X)[0].data for _ in range(2)]
    assert not np.allclose(*outs)
    assert not np.allclose(outs[0], plain(X)[0].data)
    assert np.array_equal(model.eval()(X)[0].data, plain(X)[0].data)


def test_a_variational_mask_is_the_same_at_every_step():
    ones = F.mul(np.ones((2, 7, 11)), 1.0)
    y = nn.Dropout(0.5, nn.Noise(), shared=(1,))(ones).data
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {0.0, 2.0}


def test_word_dropout_takes_whole_rows():
    y = nn.Dropout(0.5, nn.Noise(), shared=(1,))(F.mul(np.ones((50, 3)), 1.0)).data
    assert set(map(tuple, y)) == {(0.0, 0.0, 0.0), (2.0, 2.0, 2.0)}


# ---- stacks of single layers


def stack(**options):
    """A float64 stack of three layers of widths 5, 7 and 2 over inputs of width 3."""
    sizes = [nn.LSTMConfig(3, 5), nn.LSTMConfig(5, 7), nn.LSTMConfig(7, 2)]
    noise = nn.Noise()
    made = nn.LSTMStack(sizes, **options, noise=noise, rng=np.random.default_rng(2))
    return made.astype(np.float64)


def test_a_stack_of_equal_layers_is_a_deep_lstm():
    deep = lstm(num_layers=3)
    sizes = [nn.LSTMConfig(3, 5), nn.LSTMConfig(5, 5), nn.LSTMConfig(5, 5)]
    one_by_one = nn.LSTMStack(sizes, noise=nn.Noise(), rng=np.random.default_rng(0))
    one_by_one.astype(np.float64)
    for i, layer in enumerate(one_by_one.rnns):
        for name, array in layer.state_dict().items():
            array[...] = deep.state_dict()[name.replace("_l0", f"_l{i}")]
    outs, ends = one_by_one(X)
    wanted, wanted_ends = deep(X)
    np.testing.assert_allclose(outs[-1].data, wanted.data, atol=1e-12)
    for pair, wanted_pair in zip(ends, wanted_ends, strict=True):
        for part, wanted_part in zip(pair, wanted_pair, strict=True):
            np.testing.assert_allclose(part.data, wanted_part.data, atol=1e-12)


def test_chunks_of_a_stack_with_carried_state_are_the_whole():
    model = stack()
    whole, _ = model(X)
    first, state = model(X[:, :3])
    second, _ = model(X[:, 3:], nn.detach(state))
    for all_of_it, one, two in zip(whole, first, second, strict=True):
        joined = np.concatenate([one.data, two.data], axis=1)
        np.testing.assert_allclose(joined, all_of_it.data, atol=1e-12)


def test_reading_in_reverse_is_reading_the_reversed_text_padding_or_not():
    model = stack()
    mask = np.arange(7) < np.array([4, 7])[:, None]
    outs, _ = model(X, mask=mask, reverse=True)
    for b, length in enumerate((4, 7)):
        turned, _ = model(X[b : b + 1, :length][:, ::-1])
        for out, wanted in zip(outs, turned, strict=True):
            np.testing.assert_allclose(out.data[b, :length], wanted.data[0, ::-1], atol=1e-12)


@pytest.mark.parametrize("variational", [True, False])
def test_the_mask_between_layers_is_one_for_all_steps_only_if_variational(variational):
    model = stack(dropout=0.5, variational=variational)
    read = []
    second = model.rnns[1]

    class Watched(nn.Module):
        def forward(self, x, *rest):
            read.append(x.data)
            return second(x, *rest)

    model.rnns._list[1] = Watched()
    outs, _ = model(X)
    dropped = (read[0] == 0) & (outs[0].data != 0)
    assert 0.2 < dropped.mean() < 0.8
    assert (dropped == dropped[:, :1]).all() == variational
    kept = ~dropped
    np.testing.assert_allclose(read[0][kept], 2 * outs[0].data[kept])
    model.eval()(X)
    np.testing.assert_array_equal(read[1], outs[0].data)


def test_a_residual_adds_what_was_read_from_the_second_layer_on_but_not_to_the_state():
    sizes = [nn.LSTMConfig(5, 5)] * 3
    options = dict(noise=nn.Noise(), rng=np.random.default_rng(0))
    model = nn.LSTMStack(sizes, residual=True, **options).astype(np.float64)
    x = np.random.default_rng(1).normal(size=(2, 7, 5))
    outs, ends = model(x)
    np.testing.assert_allclose(outs[0].data[:, -1], ends[0][0].data)
    for below, out, (h, _) in zip(outs, outs[1:], ends[1:], strict=False):
        np.testing.assert_allclose(out.data[:, -1], (h + below[:, -1]).data)


def test_a_carried_state_goes_on_with_the_rows_that_are_asked_for():
    model = stack()
    _, state = model(X[:, :4])
    cache = nn.Carried(state)
    cache.reorder([1, 0, 1])
    outs, _ = model(X[[1, 0, 1], 4:], cache.state)
    wanted, _ = model(X)
    np.testing.assert_allclose(outs[-1].data, wanted[-1].data[[1, 0, 1], 4:], atol=1e-12)


def test_layers_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="width 5 is read by one of input_size 7"):
        nn.LSTMStack([nn.LSTMConfig(3, 5), nn.LSTMConfig(7, 2)], noise=nn.Noise(), rng=None)


@pytest.mark.parametrize(
    "weights, match",
    [
        ([np.ones((8, 3)), np.ones((8, 3))], r"weight_hh.*\(8, 3\).*without a projection"),
        ([np.ones((8, 4)), np.ones((8, 2))], r"weight_ih has shape \(8, 4\); expected \(8, 3\)"),
    ],
)
def test_misfits_are_named(weights, match):
    with pytest.raises(ShapeError, match=match):
        F.lstm(np.ones((5, 2, 3)), None, weights)


def _paired(draw):
    """An LSTM of ours and PyTorch's with the same weights and options."""
    import torch

    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "proj_size": draw(st.sampled_from((0, 2))),
    }
    ours = lstm(seed=draw(st.integers(0, 9)), **options)
    theirs = torch.nn.LSTM(3, 5, batch_first=True, dtype=torch.float64, **options)
    state = {
        name.replace("bias_", "bias_ih_"): torch.tensor(array)
        for name, array in ours.state_dict().items()
    }
    zeros = {
        name: torch.zeros_like(p)
        for name, p in theirs.named_parameters()
        if name.startswith("bias_hh")
    }
    theirs.load_state_dict(state | zeros)
    return ours, theirs


@pytest.mark.peer
@settings(max_examples=30)
@given(data=st.data(), seed=st.integers(0, 99))
def test_the_module_is_pytorchs_with_every_option(data, seed):
    import torch

    ours, theirs = _paired(data.draw)
    rng = np.random.default_rng(seed)
    batch, length = (data.draw(st.sampled_from((1, 2, 3, 7))) for _ in range(2))
    x, lengths = rng.normal(size=(batch, length, 3)), rng.integers(1, length + 1, batch)
    mine, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, ends = ours(mine, mask=np.arange(length) < lengths[:, None])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        other, torch.tensor(lengths), True, enforce_sorted=False
    )
    wanted, (h, c) = theirs(packed)
    wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(wanted, True, total_length=length)
    np.testing.assert_allclose(out.data, wanted.detach().numpy(), atol=1e-10)
    for i, (h_end, c_end) in enumerate(ends):
        np.testing.assert_allclose(h_end.data, h[i].detach().numpy(), atol=1e-10)
        np.testing.assert_allclose(c_end.data, c[i].detach().numpy(), atol=1e-10)
    cotangent = rng.normal(size=out.shape)
    out.backward(cotangent)
    wanted.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(mine.grad, other.grad.numpy(), atol=1e-10)
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(
            p.grad, gradients[name.replace("bias_", "bias_ih_")], atol=1e-9, err_msg=name
        )
