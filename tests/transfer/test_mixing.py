"""Laws of a learned mix of layers: it finds the layer that knows, for any encoder, frozen or not."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import ShapeError, TinylmError
from tinylm.gradcheck import check_grads
from tinylm.objectives import Objective
from tinylm.tensor import Tensor
from tinylm.text import Words
from tinylm.transfer import AdaptConfig, Classifier, Features
from tinylm.transfer.features import pool
from tinylm.transfer.linear import SoftmaxRegression
from tinylm.transfer.mixing import learn_shares, mixed

WORDS = "puck goal skate star orbit moon".split()
NOISE = "a of the and with in on by".split()
TOKENIZER = Words([*WORDS, *NOISE])


@dataclass(frozen=True)
class LayeredConfig(Objective.Config):
    """V words, and which of the three layers knows the word; the others are noise."""

    knowing: int = 1
    wider: int = 0  # columns that the last layer has more


class Layered(Objective):
    """Three tables; only one of them tells the topics apart."""

    Config = LayeredConfig

    def build(self, config, rng):
        tables = []
        for layer in range(3):
            width = 5 + config.wider * (layer == 2)
            table = nn.Embedding(config.vocab_size, width, rng=rng, std=1.0)
            topics = table.weight.data[TOKENIZER.first : TOKENIZER.first + 6]
            if layer == config.knowing:
                topics[:3] += 2
                topics[3:] -= 2
            else:
                topics[...] = topics[0]
            tables.append(table)
        self.tables = nn.ModuleList(tables)

    def encode(self, ids, mask=None):
        return [table(ids) for table in self.tables]


def encoder(knowing=1, **more):
    return Layered(LayeredConfig(TOKENIZER.vocab_size, knowing, **more), np.random.default_rng(4))


def posts(n, seed=0):
    """Texts of one word of a topic and many of none."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(n):
        label = i % 2
        words = [*rng.choice(WORDS[3 * label : 3 * label + 3], 1), *rng.choice(NOISE, 7)]
        texts.append(" ".join(words))
        labels.append(label)
    return texts, np.array(labels)


CONFIG = AdaptConfig(layers=("mix",), C=(0.1, 1.0), updates=80, rates=(3e-2,), dropout=0.0)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), layers=st.sampled_from((1, 2, 5)))
def test_the_gradient_of_a_scalar_mix_is_its_derivative(seed, layers):
    rng = np.random.default_rng(seed)
    shape = (2, 3, 7)
    mix = nn.ScalarMix(layers, layer_norm=seed % 2 == 0).astype(np.float64)
    mask = rng.random(shape[:2]) < 0.7

    def mixture(w, gamma, *states):
        mix.w = w
        mix.gamma = gamma
        return mix(list(states), mask)

    states = [rng.standard_normal(shape) for _ in range(layers)]
    check_grads(mixture, rng.standard_normal(layers), rng.standard_normal(()), *states)


def test_a_mix_of_means_is_the_mean_of_the_mix():
    rng = np.random.default_rng(0)
    states = [Tensor(rng.standard_normal((3, 7, 5))) for _ in range(4)]
    mask = np.arange(7) < np.array([7, 2, 5])[:, None]
    shares = rng.dirichlet(np.ones(4))
    both = Tensor(mixed([state.data for state in states], shares))
    wanted = nn.masked_mean(both, mask).data
    np.testing.assert_allclose(pool(states, mask, ("mix",), mix=shares), wanted, atol=1e-12)
    equal = pool(states, mask, ("mix",))
    np.testing.assert_allclose(equal, pool(states, mask, ("mean",)), atol=1e-12)


@pytest.mark.parametrize("knowing", [0, 1, 2])
@pytest.mark.parametrize("method", ["features", "finetune"])
def test_the_task_finds_the_layer_that_knows(knowing, method):
    texts, labels = posts(80)
    unseen, truth = posts(60, seed=1)
    model = Classifier(encoder(knowing), TOKENIZER, method, CONFIG).fit(texts, labels)
    assert model.features_.mix_.argmax() == knowing
    if method == "features":
        equal = AdaptConfig(layers=("mean",), C=CONFIG.C)
        mean = Classifier(encoder(knowing), TOKENIZER, method, equal).fit(texts, labels)
        assert model.score(unseen, truth) > max(0.9, mean.score(unseen, truth))


def test_shares_are_stationary_where_they_end():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, 70)
    layers = rng.standard_normal((3, 70, 5))
    layers[2, :, :3] += np.eye(3)[codes]
    start = SoftmaxRegression(0.3).fit(layers.mean(axis=0), codes)
    shares = learn_shares(layers, codes, start)
    assert abs(shares.sum() - 1) < 1e-12 and (shares > 0).all()

    def best(shares):
        rows = mixed(layers, shares)
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        model = SoftmaxRegression(0.3).fit(rows, codes)
        scores = Tensor(model.decision_function(rows))
        penalty = (model.weights_**2).sum() / (2 * 0.3 * 70)
        return F.cross_entropy(scores, codes).item() + penalty

    found = best(shares)
    for _ in range(5):
        other = shares * np.exp(0.3 * rng.standard_normal(3))
        assert best(other / other.sum()) > found - 1e-6


def test_a_mix_stands_alone_and_wants_layers_of_one_width():
    with pytest.raises(TinylmError, match="'mix' stands alone"):
        AdaptConfig(layers=("mix", "last"))
    texts, labels = posts(20)
    uneven = Classifier(encoder(wider=2), TOKENIZER, "features", CONFIG)
    with pytest.raises(ShapeError, match="layers of one shape"):
        uneven.fit(texts, labels)
    with pytest.raises(ShapeError, match="2 layers .* 3 shares"):
        mixed([np.zeros(2), np.zeros(2)], np.ones(3))


def test_a_classifier_with_a_mix_comes_back(tmp_path):
    import tinylm

    texts, labels = posts(40)
    sizes = dict(n_positions=16, n_embd=10, n_head=2)
    gpt = tinylm.GPT(tinylm.GPTConfig.tiny(TOKENIZER.vocab_size, **sizes))
    for method in ("features", "finetune"):
        model = Classifier(gpt, TOKENIZER, method, CONFIG).fit(texts, labels)
        model.save(tmp_path / method)
        again = Classifier.load(tmp_path / method)
        assert np.array_equal(again.features_.mix_, model.features_.mix_)
        assert np.array_equal(again.predict_proba(texts), model.predict_proba(texts))
        assert isinstance(again.features_, Features) and again.features_.layers == ("mix",)
