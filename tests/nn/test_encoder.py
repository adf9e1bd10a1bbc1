"""Laws of the bidirectional encoder: what it sees, what it shares, how its weights begin."""

import numpy as np
import pytest

from tinylm import nn
from tinylm.errors import ShapeError
from tinylm.tensor import no_grad

V, T, C = 23, 11, 12
SIZES = nn.EncoderConfig(V, positions=T, types=3, layers=2, table_width=C)
BLOCK = nn.BlockConfig(
    width=C, heads=3, hidden=17, pre_norm=False, eps=1e-12, std=0.3, residual_std=0.3
)


def encoder(sizes=SIZES, seed=0, **more):
    """An encoder in evaluation mode."""
    rng = np.random.default_rng(seed)
    return nn.Encoder(sizes, BLOCK, noise=nn.Noise(), rng=rng, **more).eval()


def ids(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


def read(model, *arguments, **more):
    """The last states as an array."""
    with no_grad():
        return model(*arguments, **more)[-1].data


def test_every_position_sees_every_other():
    model = encoder()
    a = ids(1, 7)
    before = read(model, a)
    for t in range(7):
        b = a.copy()
        b[0, t] = (b[0, t] + 1) % V
        changed = np.abs(read(model, b) - before).max(axis=2)[0]
        assert (changed > 1e-6).all()


@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_no_real_position(left):
    model = encoder()
    a = ids(2, 5)
    places = slice(4, 9) if left else slice(0, 5)
    padded = ids(2, 9, seed=1)
    padded[:, places] = a
    mask = np.zeros((2, 9), bool)
    mask[:, places] = True
    positions = np.zeros((2, 9), int)
    positions[:, places] = np.arange(5)
    found = read(model, padded, mask, position_ids=positions)[:, places]
    np.testing.assert_allclose(found, read(model, a), atol=1e-5)


def test_the_scores_that_come_out_are_those_that_the_attention_weighs_by():
    model = encoder().astype(np.float64)
    mask = np.ones((2, 7), bool)
    mask[1, 5:] = False
    found = []
    states = model(ids(2, 7), mask, scores=found)
    assert [scores.shape for scores in found] == [(2, 3, 7, 7)] * 2
    attention = model.h[1].attn
    values = attention.c_attn(states[1]).data[..., 2 * C :].reshape(2, 7, 3, 4)  # (B,T,H,D)
    weights = np.exp(found[1].data) * mask[:, None, None]
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = np.einsum("bhts,bshd->bthd", weights, values).reshape(2, 7, C)
    out = attention.c_proj(mixed).data
    expected = attention(states[1], mask[:, None, None]).data
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_types_are_a_table_of_their_own_and_0_by_default():
    model = encoder()
    a = ids(2, 5)
    np.testing.assert_array_equal(read(model, a), read(model, a, token_types=np.zeros_like(a)))
    assert not np.allclose(read(model, a), read(model, a, token_types=np.full_like(a, 2)))
    bare = nn.EncoderConfig(V, positions=T, types=0, layers=1, table_width=C)
    assert encoder(bare).embeddings.types is None


def test_narrow_tables_are_projected_and_may_be_shared():
    narrow = nn.EncoderConfig(V, positions=T, types=2, layers=1, table_width=5)
    one = encoder(narrow)
    other = encoder(narrow, seed=1, embeddings=one.embeddings)
    assert one.embeddings.words.weight.shape == (V, 5)
    assert other.embeddings is one.embeddings and other.project is not one.project
    assert [state.shape for state in other(ids(2, 3))] == [(2, 3, C)] * 2


def test_no_initial_weight_is_farther_than_two_deviations_from_0():
    for p in encoder().parameters():
        if p.ndim == 2:
            assert 0 < np.abs(p.data).max() <= 2 * BLOCK.std
            # a normal distribution cut at two deviations keeps 0.88 of its own
            assert p.data.std() == pytest.approx(0.88 * BLOCK.std, rel=0.3)


def test_groups_hold_every_parameter_once_from_the_bottom_up():
    model = encoder()
    groups = model.layer_groups()
    assert len(groups) == 3
    found = [id(p) for group in groups for p in group]
    assert sorted(found) == sorted(id(p) for p in model.parameters())


def test_a_text_longer_than_the_positions_is_one_sentence():
    with pytest.raises(ShapeError, match="at most 11 positions"):
        encoder()(ids(2, T + 1))


def test_tables_that_are_shared_keep_what_they_have_learned():
    """Only new weights are drawn from the truncated normal distribution."""
    one = encoder()
    one.embeddings.words.weight.data[...] = 5.0
    two = encoder(seed=1, embeddings=one.embeddings)
    assert (one.embeddings.words.weight.data == 5.0).all()
    for p in two.h.parameters():
        assert p.ndim < 2 or np.abs(p.data).max() <= 2 * BLOCK.std
