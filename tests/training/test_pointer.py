"""The continuous cache: probabilities that mix a model's own with the words of the text's past."""

from dataclasses import replace

import numpy as np
import pytest

import tinylm
from tinylm.errors import ShapeError, TinylmError
from tinylm.sampling import log_probabilities
from tinylm.training.pointer import PointerConfig, choose, next_token_nats

V = 11
CONFIG = PointerConfig(theta=0.7, share=0.3, window=5)


def gpt():
    """Reads windows of 7."""
    sizes = dict(n_positions=7, n_embd=6, n_layer=2, n_head=3, initializer_range=0.5)
    return tinylm.GPT(tinylm.GPTConfig(V, **sizes), np.random.default_rng(0))


def awd_lstm():
    """Reads a text of any length."""
    config = tinylm.UlmfitConfig(V, emb_sz=5, n_hid=7, bptt=3)
    return tinylm.Ulmfit(config, np.random.default_rng(0))


MODELS = {"gpt": gpt, "awd_lstm": awd_lstm}
IDS = np.random.default_rng(3).integers(0, V, 23)


def by_the_formula(model, ids, config):
    """p of all tokens after each position, by loops over the formula at the top of pointer.py."""
    size = model.max_length or len(ids)
    states = []
    own = []
    with model.evaluating():
        for begin in range(0, len(ids), size):
            window = ids[None, begin : begin + size]
            states += list(model.encode(window)[-1].data[0].astype(np.float64))
            own += list(np.exp(log_probabilities(model.logits(window).data[0])))
    found = []
    for t in range(len(ids) - 1):
        p = own[t].copy()
        past = range(max(t - config.window, 0), t)
        weights = {i: np.exp(config.theta * states[t] @ states[i]) for i in past}
        if weights:
            p *= 1 - config.share
            for i, weight in weights.items():
                p[ids[i + 1]] += config.share * weight / sum(weights.values())
        found.append(p)
    return np.array(found)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_formula_and_a_distribution(name):
    model = MODELS[name]()
    p = by_the_formula(model, IDS, CONFIG)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    expected = -np.log(p[np.arange(len(IDS) - 1), IDS[1:]])
    np.testing.assert_allclose(next_token_nats(model, IDS, CONFIG), expected, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_without_belief_in_it_the_model_is_alone(name):
    model = MODELS[name]()
    alone = next_token_nats(model, IDS, replace(CONFIG, share=0.0))
    expected = by_the_formula(model, IDS, replace(CONFIG, share=0.0))
    np.testing.assert_allclose(np.exp(-alone), expected[np.arange(22), IDS[1:]], rtol=1e-5)


def test_a_text_that_repeats_itself_becomes_likely_and_the_choice_sees_it():
    model = awd_lstm()
    text = np.tile([3, 8, 5, 2, 9], 13)
    best = choose(model, [text])
    assert best.share == 0.3  # the most that is tried
    alone = next_token_nats(model, text, replace(best, share=0.0))
    # An untrained model knows nothing, and its states are alike: the cache counts five words.
    assert next_token_nats(model, text, best).mean() < alone.mean() - 0.2


def test_where_nothing_repeats_the_choice_is_the_model_alone():
    assert choose(awd_lstm(), [np.arange(V)]).share == 0


def test_short_texts_have_no_past():
    model = gpt()
    assert next_token_nats(model, [], CONFIG).shape == (0,)
    assert next_token_nats(model, [4], CONFIG).shape == (0,)
    np.testing.assert_allclose(
        next_token_nats(model, [4, 6], CONFIG),
        next_token_nats(model, [4, 6], replace(CONFIG, share=0.0)),
    )


def test_rows_and_models_that_read_both_sides_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(T,\)"):
        next_token_nats(gpt(), [[1, 2]])
    with pytest.raises(TinylmError, match="generation"):
        next_token_nats(tinylm.Bert(tinylm.BertConfig.tiny(V)), IDS)


@pytest.mark.parametrize("place", [3, 7, 22])
def test_an_id_out_of_range_is_named_wherever_it_stands(place):
    ids = IDS.copy()
    ids[place] = 999
    with pytest.raises(ShapeError, match="id 999 is out of range"):
        next_token_nats(gpt(), ids)
