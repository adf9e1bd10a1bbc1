"""Laws of modules: names, tied parameters, state, dropout's keys, both norm placements."""

import numpy as np
import pytest

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import ArgumentError, CheckpointError, ShapeError, TinylmError
from tinylm.tensor import no_grad

RNG = np.random.default_rng(0)


class Pair(nn.Module):
    """Two layers of which the second uses the first one's weight."""

    def __init__(self):
        self.first = nn.Linear(5, 5, rng=RNG)
        self.rest = nn.ModuleList([nn.Linear(5, 5, rng=RNG), nn.LayerNorm(5)])
        self.rest[0].weight = self.first.weight


def test_a_tied_parameter_appears_once_and_names_are_dotted():
    assert [name for name, _ in Pair().named_parameters()] == [
        "first.weight",
        "first.bias",
        "rest.0.bias",
        "rest.1.weight",
        "rest.1.bias",
    ]


def test_state_goes_round_and_misfits_are_named():
    a, b = Pair(), Pair()
    b.load_state_dict(a.state_dict())
    assert all(
        np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters(), strict=True)
    )
    state = dict(a.state_dict())
    with pytest.raises(CheckpointError, match="'extra'"):
        b.load_state_dict(state | {"extra": np.zeros(1)})
    with pytest.raises(CheckpointError, match="first.bias.*shape"):
        b.load_state_dict(state | {"first.bias": np.zeros(7)})
    del state["first.weight"]
    with pytest.raises(CheckpointError, match="first.weight"):
        b.load_state_dict(state)


def test_a_gradient_reaches_a_tied_weight_from_both_places():
    pair = Pair()
    x = RNG.normal(size=(3, 5)).astype(np.float32)
    F.sum(pair.first(x)).backward()
    one = pair.first.weight.grad.copy()
    pair.first.weight.grad = None
    (F.sum(pair.first(x)) + F.sum(pair.rest[0](x))).backward()
    np.testing.assert_allclose(pair.first.weight.grad, 2 * one, rtol=1e-6)


def test_noise_gives_the_same_keys_for_the_same_step_and_others_elsewhere():
    noise = nn.Noise()
    first = [noise.at(1, 2).key(), noise.key()]
    assert [noise.at(1, 2).key(), noise.key()] == first
    others = [noise.at(1, 3).key(), noise.at(2, 2).key(), noise.at(0, 0).key()]
    assert len({*map(int, first), *map(int, others)}) == 5


def test_a_seed_may_be_a_number_of_numpys():
    seed, step = np.int64(2**62), np.int64(3)
    assert nn.Noise(seed).at(seed, step, step).key() == nn.Noise().at(2**62, 3, 3).key()


def test_evaluating_leaves_every_part_in_its_own_mode():
    pair = Pair().train()
    pair.rest.eval()  # as a frozen part is
    with pair.evaluating():
        assert not any(module.training for module in pair.modules())
    assert pair.training and pair.first.training
    assert not pair.rest.training and not pair.rest[0].training


def test_dropout_keeps_the_share_it_says_and_the_mean():
    layer = nn.Dropout(0.3, nn.Noise(7))
    x = np.ones(40_000, np.float32)
    y = layer(F.mul(x, 1.0)).data
    kept = (y != 0).mean()
    assert abs(kept - 0.7) < 4 * np.sqrt(0.3 * 0.7 / x.size) and np.allclose(y[y != 0], 1 / 0.7)
    assert np.array_equal(layer.eval()(F.mul(x, 1.0)).data, x)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_a_block_with_silent_branches_is_its_residual_path(pre_norm):
    config = nn.BlockConfig(width=6, heads=2, hidden=12, pre_norm=pre_norm)
    block = nn.TransformerBlock(config, noise=nn.Noise(), rng=RNG)
    for projection in (block.attn.c_proj, block.mlp.c_proj):
        projection.weight.data[...] = 0
    x = RNG.normal(size=(2, 5, 6)).astype(np.float32)
    y = block(F.mul(x, 1.0)).data
    wanted = x if pre_norm else block.ln_2(block.ln_1(F.mul(x, 1.0))).data
    np.testing.assert_allclose(y, wanted, atol=1e-6)


def test_apply_visits_the_parts_before_the_whole():
    pair, seen = Pair(), []
    assert pair.apply(seen.append) is pair
    assert seen == [pair.first, pair.rest[0], pair.rest[1], pair.rest, pair]


def test_repr_shows_the_nesting_and_says_equal_entries_of_a_list_once():
    assert repr(Pair()) == (
        "Pair()\n  first: Linear(weight (5, 5), bias (5,))\n  rest: ModuleList()\n"
        "    0: Linear(weight (5, 5), bias (5,))\n    1: LayerNorm(weight (5,), bias (5,))"
    )
    same = nn.ModuleList(
        [nn.LayerNorm(3), nn.LayerNorm(3), nn.ModuleList([nn.LayerNorm(2)]), nn.LayerNorm(3)]
    )
    assert repr(same) == (
        "ModuleList()\n  0 to 1: LayerNorm(weight (3,), bias (3,))\n  2: ModuleList()\n"
        "    0: LayerNorm(weight (2,), bias (2,))\n  3: LayerNorm(weight (3,), bias (3,))"
    )


def test_a_summary_counts_a_tied_parameter_once_and_what_is_frozen():
    pair = Pair()
    assert pair.summary() == (
        "first.weight   (5, 5)  25\nfirst.bias     (5,)    5\nrest.0.bias    (5,)    5\n"
        "rest.1.weight  (5,)    5\nrest.1.bias    (5,)    5\ntotal                  45"
    )
    nn.freeze_to([pair.first.parameters(), pair.rest[1].parameters()], 1)
    assert pair.summary().splitlines()[0] == "first.weight   (5, 5)  25 frozen"
    assert pair.summary().splitlines()[-1].split() == ["trained", "15"]


@pytest.mark.parametrize(
    "n, trained", [(0, "abc"), (1, "bc"), (-1, "c"), (-2, "bc"), (3, ""), (-5, "abc")]
)
def test_freeze_to_trains_the_groups_from_n_on(n, trained):
    groups = {name: nn.Parameter(np.ones(1)) for name in "abc"}
    nn.freeze_to([[p] for p in groups.values()], n)
    assert "".join(name for name, p in groups.items() if p.requires_grad) == trained


def test_a_table_tied_between_groups_is_trained_with_the_upper_one():
    shared, lower = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    nn.freeze_to([[shared, lower], [shared]], -1)
    assert shared.requires_grad and not lower.requires_grad


def test_frozen_layers_get_no_gradient_and_the_others_the_same_one():
    rng = np.random.default_rng(0)
    config = nn.BlockConfig(width=6, heads=2, hidden=12)
    blocks = nn.ModuleList(
        [nn.TransformerBlock(config, noise=nn.Noise(), rng=rng) for _ in range(2)]
    ).astype(np.float64)
    x, gradients = rng.normal(size=(2, 5, 6)), []
    for n in (0, 1):
        nn.freeze_to([block.parameters() for block in blocks], n)
        F.sum(F.square(blocks[1](blocks[0](x)))).backward()
        gradients.append([p.grad for p in blocks[1].parameters()])
    assert all(p.grad is None for p in blocks[0].parameters())
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(a).max())


class Normed(nn.Module):
    """A layer and a batch norm."""

    def __init__(self):
        self.dense = nn.Linear(3, 5, rng=RNG)
        self.norm = nn.BatchNorm1d(5)


def test_buffers_are_saved_and_converted_but_not_learned():
    a, b = Normed(), Normed()
    a.norm(RNG.normal(size=(7, 5)).astype(np.float32))
    assert {"norm.running_mean", "norm.running_var"} == a.state_dict().keys() - {
        name for name, _ in a.named_parameters()
    }
    b.load_state_dict(a.state_dict())
    assert (
        np.array_equal(b.norm.running_mean.data, a.norm.running_mean.data)
        and b.norm.running_mean.data.any()
    )
    assert b.astype(np.float64).norm.running_var.dtype == np.float64


def test_batch_norm_in_evaluation_uses_what_training_has_seen():
    layer, x = nn.BatchNorm1d(5), 3 + 2 * RNG.normal(size=(4001, 5)).astype(np.float32)
    for _ in range(100):
        trained = layer(x).data
    before = layer.running_mean.data.copy()
    np.testing.assert_allclose(
        layer.eval()(x[:1]).data, trained[:1], atol=1e-2
    )  # one row alone, as in its batch
    assert np.array_equal(layer.running_mean.data, before)
    with pytest.raises(ShapeError, match="at least two"):
        layer.train()(x[:1])


def test_a_cache_refuses_what_it_has_no_room_for_and_what_wants_a_gradient():
    config = nn.BlockConfig(width=6, heads=2, hidden=12)
    block, cache = nn.TransformerBlock(config, noise=nn.Noise(), rng=RNG), nn.Cache(1, 1, 2, 2, 3)
    x = RNG.normal(size=(1, 1, 6)).astype(np.float32)
    with pytest.raises(TinylmError, match="keeps no history"):
        block(x, cache=cache.layer(0))
    with no_grad():
        with pytest.raises(ShapeError, match="only 0 slots are open"):
            block(x, cache=cache.layer(0))
        for _ in range(2):
            cache.open(1)
            block(x, cache=cache.layer(0))
        with pytest.raises(ShapeError, match="3 positions do not fit its room for 2"):
            cache.open(1)


@pytest.mark.parametrize("dtype", [int, "float16", np.complex64, bool])
def test_weights_are_converted_to_the_two_floats_only(dtype):
    layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    before = layer.weight.data.copy()
    with pytest.raises(ArgumentError, match="expected float32 or float64"):
        layer.astype(dtype)
    assert np.array_equal(layer.weight.data, before) and layer.weight.dtype == np.float32
