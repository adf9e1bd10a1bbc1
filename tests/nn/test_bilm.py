"""Laws of both directions: their gradients, what they carry on, what a damaged state says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import nn
from tinylm.errors import CheckpointError
from tinylm.gradcheck import check_grads
from tinylm.tensor import Tensor


def bilm(layers=2, **options):
    """A float64 BiLM of width 3 with 5 cells and weights large enough for its clips to act."""
    layer = nn.LSTMConfig(3, 5, proj_size=3, cell_clip=0.5, projection_clip=0.4)
    how = dict(skip=True, dropout=0.0, noise=nn.Noise(), rng=np.random.default_rng(0))
    lm = nn.BiLM(layer, layers, **how | options).astype(np.float64)
    for p in lm.parameters():
        p.data *= 2
    return lm


X = np.random.default_rng(1).normal(size=(2, 7, 3))
MASK = np.arange(7) < np.array([4, 7])[:, None]


@settings(max_examples=10)
@given(layers=st.sampled_from((1, 2, 3)), skip=st.booleans(), masked=st.booleans())
def test_gradients_pass_through_both_directions_clips_and_masks(layers, skip, masked):
    lm = bilm(layers, skip=skip)
    lm(Tensor(X), reading="before")  # what is carried on passes no gradient
    carried = dict(lm.carried)

    def outputs(x, weight):
        lm.carried.update(carried)
        lm.directions[1].rnns[0].weight_hh_l0 = weight
        return tuple(lm(x, MASK if masked else None, reading="before"))

    for number in range(layers):

        def output(x, weight, number=number):
            return outputs(x, weight)[number]

        weight = lm.directions[1].rnns[0].weight_hh_l0.data
        check_grads(output, X, weight, eps=1e-7)  # a small step: clips have kinks


def test_the_second_half_is_the_first_one_of_the_reversed_text_with_its_weights():
    lm = bilm()
    turned = bilm()
    own = lm.state_dict()
    for name, array in turned.state_dict().items():
        other = name.replace("directions.0", "directions.x")
        other = other.replace("directions.1", "directions.0").replace(
            "directions.x", "directions.1"
        )
        array[...] = own[other]
    for layer, other in zip(lm(Tensor(X)), turned(Tensor(X[:, ::-1])), strict=True):
        np.testing.assert_allclose(layer.data[:, :, 3:], other.data[:, ::-1, :3], atol=1e-12)


def test_readings_are_carried_on_apart_and_a_state_that_was_saved_goes_on():
    lm = bilm()
    plain = lm(Tensor(X))
    lm(Tensor(X), reading="a")
    saved = {name: array.copy() for name, array in lm.state("a", 2).items()}
    second = lm(Tensor(X), reading="a")
    assert np.array_equal(lm(Tensor(X), reading="b")[0].data, plain[0].data)
    assert not np.allclose(second[0].data, plain[0].data)
    lm.load_state("a", saved)
    again = lm(Tensor(X), reading="a")
    for one, other in zip(second, again, strict=True):
        assert np.array_equal(one.data, other.data)
    lm.forget("a")
    assert not any(array.any() for array in lm.state("a", 2).values())


def test_a_state_that_does_not_fit_is_one_sentence():
    lm = bilm()
    state = lm.state("a", 2)
    with pytest.raises(CheckpointError, match="the shape .* expected .2, 2, B, 5."):
        lm.load_state("a", {**state, "c": state["c"][:, :1]})
    with pytest.raises(CheckpointError, match="carried state h"):
        lm.load_state("a", {"c": state["c"]})
