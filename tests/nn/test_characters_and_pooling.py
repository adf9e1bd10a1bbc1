"""Laws of the character CNN, highway layers, the mix of layers and the pooling heads."""

import numpy as np
import pytest

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor

SMALL = dict(n_characters=11, embedding_dim=3, filters=((1, 5), (2, 7), (3, 2)), projection_dim=13)


def random(*shape, seed=0):
    """A float32 Tensor from N(0, 1)."""
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def char_cnn(**options):
    return nn.CharCNN(nn.CharCNNConfig(**SMALL | options), rng=np.random.default_rng(1)).astype(
        np.float64
    )


def characters(words, length, used, seed=0):
    """ids (1, words, length): up to `used` random characters, then 10, the padding."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 10, (1, words, length))
    ids[np.arange(length) >= rng.integers(1, used + 1, (1, words, 1))] = 10
    return ids


def test_a_closed_highway_carries_its_input_and_an_open_one_transforms_it():
    layer, x = nn.Highway(7, rng=np.random.default_rng(0)), random(3, 5, 7)
    assert np.all(layer.carry.bias.data == -2)
    layer.carry.bias.data[...] = -50
    np.testing.assert_allclose(layer(x).data, x.data, atol=1e-6)
    layer.carry.bias.data[...] = 50
    np.testing.assert_allclose(layer(x).data, F.relu(layer.transform(x)).data, atol=1e-6)


def by_hand(model, ids):
    """The character CNN in NumPy, from its definition."""
    act = (lambda a: np.maximum(a, 0)) if model.config.activation == "relu" else np.tanh
    features = []
    for conv in model.convolutions:
        w = conv.weight.data
        z = [
            np.einsum(
                "btkc,ock->bto", model.char_embed.weight.data[ids[..., i : i + w.shape[2]]], w
            )
            for i in range(ids.shape[-1] - w.shape[2] + 1)
        ]
        features.append(act(np.max(z, axis=0) + conv.bias.data))
    x = np.concatenate(features, axis=-1)
    for layer in model.highway:
        g = 1 / (1 + np.exp(-(x @ layer.carry.weight.data.T + layer.carry.bias.data)))
        t = np.maximum(x @ layer.transform.weight.data.T + layer.transform.bias.data, 0)
        x = g * t + (1 - g) * x
    return (
        x
        if model.projection is None
        else x @ model.projection.weight.data.T + model.projection.bias.data
    )


@pytest.mark.parametrize(
    "options", [{}, {"activation": "tanh", "n_highway": 1}, {"projection_dim": 14, "n_highway": 0}]
)
def test_the_character_cnn_is_its_definition(options):
    model, ids = char_cnn(**options), np.random.default_rng(2).integers(0, 11, (2, 5, 7))
    for layer in model.convolutions:
        layer.bias.data[...] = np.random.default_rng(3).normal(size=layer.bias.shape)
    y = model(ids)
    assert y.shape == (2, 5, model.config.projection_dim) and (model.projection is None) == (
        y.shape[2] == 14
    )
    np.testing.assert_allclose(y.data, by_hand(model, ids), atol=1e-12)


def gradients(model, ids, words):
    """The vectors of the first `words` words, and every gradient that these words alone send back."""
    for p in model.parameters():
        p.grad = None
    y = model(ids)
    dy = np.zeros(y.shape)
    dy[:, :words] = np.random.default_rng(4).normal(size=(1, words, y.shape[2]))
    y.backward(dy)
    return [y.data[:, :words], *(p.grad for p in model.parameters())]


def test_padding_that_every_word_has_is_not_even_embedded(monkeypatch):
    model, ids, seen = char_cnn(), characters(17, 19, used=5), []
    embed = model.char_embed.forward
    monkeypatch.setattr(
        model.char_embed, "forward", lambda ids: seen.append(ids.shape) or embed(ids)
    )
    model(ids)
    assert seen == [(17, 5 + 3)]


def test_padding_that_is_left_out_changes_neither_vectors_nor_gradients():
    model, ids = char_cnn(), characters(17, 19, used=5)
    whole = np.arange(19).reshape(1, 1, 19) % 7  # a word without padding: nothing can be left out
    beside_it = gradients(model, np.concatenate([ids, whole], axis=1), words=17)
    for got, wanted in zip(gradients(model, ids, words=17), beside_it, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_padding_characters_take_part_in_the_maximum_as_published():
    model, ids = char_cnn(), characters(3, 7, used=2)
    before = model(ids).data.copy()
    model.char_embed.weight.data[10] = 9
    assert not np.allclose(model(ids).data, before)


def test_reading_equal_words_once_changes_neither_vectors_nor_gradients():
    model, ids = char_cnn(), characters(17, 19, used=5)
    repeated = ids[0][np.random.default_rng(5).integers(0, 17, (3, 23))]  # (3,23,19)
    dy = np.random.default_rng(6).normal(size=(3, 23, 13))
    found = []
    for read in (model.forward, model.each_once):
        for p in model.parameters():
            p.grad = None
        y = read(repeated)
        y.backward(dy)
        found.append([y.data, *(p.grad for p in model.parameters())])
    for once, each in zip(*found, strict=True):
        np.testing.assert_allclose(once, each, atol=1e-11)


def test_a_mix_is_the_mean_times_gamma_until_it_learns_and_then_can_pick_a_layer():
    layers = [random(2, 3, 5, seed=i) for i in range(4)]
    mix = nn.ScalarMix(4)
    mix.gamma.data[...] = 3
    np.testing.assert_allclose(
        mix(layers).data, 3 * np.mean([x.data for x in layers], axis=0), atol=1e-6
    )
    mix.w.data[2] = 50
    np.testing.assert_allclose(mix(layers).data, 3 * layers[2].data, atol=1e-5)
    F.sum(mix(layers)).backward()
    assert mix.w.grad.shape == (4,) and mix.gamma.grad.shape == ()
    with pytest.raises(ShapeError, match="4 layers"):
        mix(layers[1:])


def test_a_normalised_layer_has_mean_zero_and_variance_one_over_real_positions():
    x, mask = 3 + 2 * random(5, 7, 11).data, np.random.default_rng(1).random((5, 7)) < 0.6
    y = nn.ScalarMix(1, layer_norm=True)([Tensor(x)], mask).data
    assert abs(y[mask].mean()) < 1e-5 and abs(y[mask].var() - 1) < 1e-5
    x[~mask] = 1000  # what is no position counts for nothing
    np.testing.assert_allclose(
        nn.ScalarMix(1, layer_norm=True)([Tensor(x)], mask).data[mask], y[mask], atol=1e-5
    )


def test_the_pooler_reads_the_first_token_only():
    pooler, x = nn.Pooler(5, rng=np.random.default_rng(0)), random(3, 7, 5)
    y = pooler(x).data
    x.data[:, 1:] = 9
    assert np.array_equal(pooler(x).data, y)
    np.testing.assert_allclose(y, np.tanh(x.data[:, 0] @ pooler.dense.weight.data.T), atol=1e-6)


def test_concat_pooling_is_last_maximum_and_mean_of_each_row_alone():
    x, lengths = random(5, 7, 3), [7, 1, 3, 0, 5]
    for right in (True, False):
        mask = np.arange(7) < np.array(lengths)[:, None]
        mask = mask if right else mask[:, ::-1]
        y = nn.ConcatPool()(x, mask).data
        for row, real, pooled in zip(x.data, mask, y, strict=True):
            kept = row[real]
            wanted = (
                np.concatenate([kept[-1], kept.max(0), kept.mean(0)]) if len(kept) else np.zeros(9)
            )
            np.testing.assert_allclose(pooled, wanted, atol=1e-6)
    np.testing.assert_array_equal(
        nn.ConcatPool()(x).data, nn.ConcatPool()(x, np.ones((5, 7), bool)).data
    )
