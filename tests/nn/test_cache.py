"""Laws of the key/value cache: what goes in comes out where it lies, rows move whole, padding has no position."""

import numpy as np
import pytest

from tinylm import nn, ops
from tinylm.errors import ShapeError
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.ops.attention import _to_kernel
from tinylm.tensor import no_grad

B, H, D, SIZE = 3, 2, 5, 17
RNG = np.random.default_rng(0)


def heads(length, batch=B):
    """Random keys or values (B, H, T, D)."""
    return RNG.normal(size=(batch, H, length, D)).astype(np.float32)


def filled(lengths, cache):
    """Fill a cache in pieces of these lengths; returns all keys and values that went into layer 1."""
    pieces = []
    for length in lengths:
        cache.open(length)
        cache.layer(0).extend(heads(length), heads(length))
        pieces.append((heads(length), heads(length)))
        found = cache.layer(1).extend(*pieces[-1])
    return [np.concatenate(both, axis=2) for both in zip(*pieces, strict=True)], found


def test_a_layer_gives_back_all_that_it_was_given_in_order():
    given, found = filled([4, 1, 7], nn.Cache(2, B, H, SIZE, D))
    for expected, array in zip(given, found, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("batch", [1, B])
def test_attention_reads_a_cache_without_a_copy(batch):
    cache = nn.Cache(2, batch, H, SIZE, D)
    cache.open(7)
    for array in cache.layer(1).extend(heads(7, batch), heads(7, batch)):
        assert np.shares_memory(_to_kernel(array), array)


def test_attention_does_not_depend_on_how_its_arrays_lie_in_memory():
    q, k, v = heads(3), heads(7), heads(7)
    expected = ops.scaled_dot_product_attention(q, k, v, is_causal=True).data
    for order in [(0, 2, 1, 3), (2, 0, 1, 3), (1, 0, 2, 3), (3, 2, 1, 0)]:
        back = np.argsort(order)
        turned = [np.ascontiguousarray(x.transpose(order)).transpose(back) for x in (q, k, v)]
        found = ops.scaled_dot_product_attention(*turned, is_causal=True).data
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_gradients_do_not_depend_on_it_either():
    found = []
    for order in [(0, 1, 2, 3), (2, 0, 1, 3)]:
        rng = np.random.default_rng(5)
        tensors = []
        for length in (3, 7, 7):
            x = rng.normal(size=(B, H, length, D))
            x = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
            tensors.append(nn.Parameter(x))
        y = ops.scaled_dot_product_attention(*tensors, is_causal=True)
        y.backward(np.random.default_rng(6).normal(size=y.shape))
        found.append([x.grad for x in tensors])
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize("length", [0, 1, 6])
def test_the_newest_token_in_one_kernel_is_the_block_in_parts(pre_norm, activation, length):
    config = nn.BlockConfig(
        width=H * D, heads=H, hidden=67, activation=activation, pre_norm=pre_norm, std=0.5
    )
    block = nn.TransformerBlock(config, noise=nn.Noise(), rng=np.random.default_rng(1))
    for p in block.parameters():
        p.data += RNG.normal(size=p.shape) * 0.3
    block.astype(np.float64).eval()
    past = RNG.normal(size=(1, length, H * D))
    newest = RNG.normal(size=(1, 1, H * D))
    found = []
    for allowed in (None, np.ones((1, 1, 1, length + 1), bool)):  # a mask asks for the parts
        cache = nn.Cache(1, 1, H, SIZE, D, np.float64)
        with no_grad():
            if length:
                cache.open(length)
                block(past, causal=True, cache=cache.layer(0))
            cache.open(1)
            y = block(newest, allowed, causal=True, cache=cache.layer(0))
        found.append([y.data, *cache.layer(0).slots()])
    for one, parts in zip(*found, strict=True):
        np.testing.assert_allclose(one, parts, rtol=1e-12, atol=1e-12)


class Halved(nn.Linear):
    """A layer that a user changed."""

    def forward(self, x, **how):
        return super().forward(x, **how) * 0.5


class Doubled(nn.TransformerBlock):
    """A block that a user changed."""

    def forward(self, x, *others, **how):
        return super().forward(x, *others, **how) * 2.0


def test_a_block_with_a_part_of_its_own_never_goes_through_the_one_kernel():
    config = nn.BlockConfig(width=H * D, heads=H, hidden=11)
    how = dict(noise=nn.Noise(), rng=np.random.default_rng(1))
    block = nn.TransformerBlock(config, **how)
    assert block.is_standard() and not Doubled(config, **how).is_standard()
    block.mlp.c_proj = Halved(11, H * D, rng=np.random.default_rng(1))
    assert not block.is_standard()


def test_rows_move_with_keys_values_padding_and_length():
    cache = nn.Cache(1, B, H, SIZE, D)
    mask = np.array([[True] * 5, [False] * 2 + [True] * 3, [False] * 4 + [True]])
    cache.open(5, mask)
    k, v = heads(5), heads(5)
    cache.layer(0).extend(k, v)
    rows = [2, 0, 0, 2]
    cache.reorder(rows)
    np.testing.assert_array_equal(cache.real, mask[rows])
    assert cache.lengths.tolist() == [1, 5, 5, 1] and cache.padded
    cache.open(1)
    new_k, new_v = heads(1, 4), heads(1, 4)
    found_k, found_v = cache.layer(0).extend(new_k, new_v)
    np.testing.assert_array_equal(found_k, np.concatenate([k[rows], new_k], axis=2))
    np.testing.assert_array_equal(found_v, np.concatenate([v[rows], new_v], axis=2))


def test_positions_count_real_tokens_only():
    cache = nn.Cache(1, 2, H, SIZE, D)
    first = [[False, False, True], [True, True, True]]
    assert cache.positions(3, first).tolist() == [[0, 0, 0], [0, 1, 2]]
    cache.open(3, first)
    assert cache.positions(2).tolist() == [[1, 2], [3, 4]]
    second = [[True, True], [False, True]]
    assert cache.positions(2, second).tolist() == [[1, 2], [2, 3]]
    cache.open(2, second)
    assert cache.lengths.tolist() == [3, 4] and cache.length == 5


def test_a_cache_without_padding_knows_that():
    cache = nn.Cache(1, 2, H, SIZE, D)
    cache.open(3, np.ones((2, 3), bool))
    assert not cache.padded
    cache.open(1)
    assert not cache.padded and cache.real.all()


def test_slots_must_be_opened_and_suffice():
    cache = nn.Cache(1, B, H, 5, D)
    cache.open(4)
    with pytest.raises(ShapeError, match="6 positions do not fit its room for 5"):
        cache.open(2)
    with pytest.raises(ShapeError, match="5 positions come in, but only 4 slots are open"):
        cache.layer(0).extend(heads(5), heads(5))


def silent(x, residual=None):
    """An MLP's forward that adds nothing."""
    return residual


CHANGES = {
    "a forward": lambda block: setattr(block.mlp, "forward", silent),
    "an epsilon": lambda block: setattr(block.ln_1, "eps", 0.5),
    "no bias": lambda block: setattr(block.mlp.c_fc, "bias", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_part_is_heeded_when_tokens_come_one_by_one(change):
    model = GPT(GPTConfig(9, n_positions=16, n_embd=12, n_layer=2, n_head=3)).eval()
    CHANGES[change](model.h[1])
    assert not model.h[1].is_standard()
    cache = model.start_cache(1, 16)
    text = [3, 1, 4, 1, 5]
    for token in text:
        one = model.step(np.array([[token]]), cache)
    with no_grad():
        whole = model.logits(np.array([text])).data[:, -1]
    np.testing.assert_allclose(one, whole, rtol=1e-4, atol=1e-6)
