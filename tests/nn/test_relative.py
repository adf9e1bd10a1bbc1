"""Laws of relative attention: scores as on paper, gradients, masks, memory, and the second stream."""

import numpy as np
import pytest

from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.gradcheck import check_grads
from tinylm.nn import BlockConfig, Noise, RelativeLayer, View, distance_table, distances
from tinylm.nn.relative import score
from tinylm.tensor import Tensor

B, T, M, H, D, K = 2, 5, 3, 2, 7, 3
C = H * D
S = M + T
CONFIG = BlockConfig(width=C, heads=H, hidden=11, std=0.3)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, C))
MEMORY = RNG.normal(size=(B, M, C))
ALLOWED = RNG.random((B, T, S)) < 0.6
ALLOWED[..., 0] = True
OTHER = RNG.random((B, T, S)) < 0.5
TABLE = distance_table(distances(T, S), C)[None]
BOTH_WAYS = np.concatenate([TABLE, distance_table(-distances(T, S), C)[None]])
PLACES = np.array([[4, 0, 2], [1, 3, 2]])


def layer_of(seed=0):
    """A layer in float64 with every weight moved."""
    layer = RelativeLayer(CONFIG, noise=Noise(), rng=np.random.default_rng(seed))
    layer.astype(np.float64).eval()
    for p in layer.parameters():
        p.data += 0.3 * np.random.default_rng(1).normal(size=p.shape)
    return layer


def on_paper(attention, b, t, allowed, other, sign=1):
    """Attention at one position, head by head and key by key; returns (C,) before the projection."""
    known = np.concatenate([MEMORY[b], X[b]])
    queries = (X[b, t] @ attention.q.weight.data.T).reshape(H, D)
    keys = (known @ attention.k.weight.data.T).reshape(S, H, D)
    values = (known @ attention.v.weight.data.T).reshape(S, H, D)
    biases = attention.biases
    heads = []
    for h in range(H):
        scores = np.full(S, -np.inf)
        for j in range(S):
            if not allowed[t, j]:
                continue
            step = distance_table(np.array([sign * (M + t - j)]), C)
            r = (step @ attention.r.weight.data.T).reshape(H, D)[h]
            g = attention.seg_embed.data[int(other[t, j]), h]
            u, v, s = (
                getattr(biases, name).data[h] for name in ("r_w_bias", "r_r_bias", "r_s_bias")
            )
            scores[j] = score(queries[h], keys[j, h], r, g, u, v, s)
        weights = np.exp(scores - scores.max())
        heads.append(weights / weights.sum() @ values[:, h])
    return np.concatenate(heads)


@pytest.mark.parametrize("both_ways", [False, True])
def test_attention_is_the_score_on_paper(both_ways):
    attention = layer_of().rel_attn
    known = Tensor(np.concatenate([MEMORY, X], axis=1))
    table = Tensor(BOTH_WAYS if both_ways else TABLE)
    y = attention(Tensor(X), attention.keys(known, table), View(ALLOWED, OTHER))
    for b in range(B):
        sign = -1 if both_ways and b else 1
        rows = [on_paper(attention, b, t, ALLOWED[b], OTHER[b], sign) for t in range(T)]
        mixed = np.array(rows) @ attention.o.weight.data.T + X[b]
        expected = attention.layer_norm(Tensor(mixed)).data
        np.testing.assert_allclose(y.data[b], expected, rtol=0, atol=1e-12)


def test_shifting_equals_an_explicit_loop_for_all_queries_and_for_some():
    scores = RNG.normal(size=(B, H, T, S + T))
    whole = F.relative_shift(scores, S).data
    some = F.relative_shift(
        np.take_along_axis(scores, PLACES[:, None, :, None], axis=2), S, PLACES
    ).data
    for b in range(B):
        for t in range(T):
            for j in range(S):
                distance = S - T + t - j
                assert (whole[b, :, t, j] == scores[b, :, t, S - distance]).all()
        for k, place in enumerate(PLACES[b]):
            assert (some[b, :, k] == whole[b, :, place]).all()


def test_attention_by_distance_is_a_product_a_shift_and_a_bias():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(B, H, n, D)) for n in (K, S, S))
    r = rng.normal(size=(1, H, S + T, D))
    u, w, z, g = rng.normal(size=(4, H, D))
    other = OTHER[:, :K]

    def parts(q, k, v, r, u, w, z, g):
        u, w, z, g = (x.reshape(H, 1, D) for x in (u, w, z, g))
        shifted = F.relative_shift(F.matmul(q + w, F.swapaxes(r, 2, 3)), S, PLACES)
        apart = F.where(other[:, None], F.sum((q + z) * g, axis=3, keepdims=True), 0.0)
        bias = (shifted + apart) * D**-0.5
        return F.scaled_dot_product_attention(q + u, k, v, ALLOWED[:, :K], bias=bias)

    def whole(q, k, v, r, u, w, z, g):
        mask = ALLOWED[:, :K]
        return F.relative_attention(q, k, v, r, T - PLACES, u, w, z, g, other, mask)

    cotangent = rng.normal(size=q.shape)
    found = []
    for attend in (parts, whole):
        inputs = [Tensor(x, requires_grad=True) for x in (q, k, v, r, u, w, z, g)]
        y = attend(*inputs)
        y.backward(cotangent)
        found.append([y.data, *(x.grad for x in inputs)])
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_a_distance_that_is_not_there_is_refused():
    q = np.zeros((B, H, T, D))
    bias = np.zeros((H, D))
    r = np.zeros((1, H, S + 1, D))
    with pytest.raises(ShapeError, match="beyond"):
        F.relative_attention(q, q, q, r, np.full((B, T), S + 2 - T), bias, bias)
    with pytest.raises(ShapeError, match="G dividing"):
        F.relative_attention(q, q, q, r.repeat(3, axis=0), np.zeros((B, T), int), bias, bias)


@pytest.mark.parametrize("shape", [(1, D), (H, 1), (H + 1, D), (D,)])
@pytest.mark.parametrize("wrong", [[0], [1], [2], [3], [0, 1, 2, 3]])
def test_every_bias_has_a_number_for_each_head_and_channel(shape, wrong):
    q = np.zeros((B, H, T, D))
    r = np.zeros((1, H, 2 * T, D))
    biases = [np.zeros((H, D)) for _ in range(4)]
    for place in wrong:
        biases[place] = np.zeros(shape)
    with pytest.raises(ShapeError, match=r"expected \(H, D\)"):
        F.relative_attention(q, q, q, r, np.zeros((B, T), int), *biases)


def test_a_step_needs_its_segment_bias():
    q = np.zeros((B, H, T, D))
    r = np.zeros((1, H, 2 * T, D))
    bias = np.zeros((H, D))
    with pytest.raises(ShapeError, match="segment_bias and step"):
        F.relative_attention(q, q, q, r, np.zeros((B, T), int), bias, bias, step=bias)


def test_a_place_that_does_not_exist_is_refused():
    with pytest.raises(ShapeError, match="places"):
        F.relative_shift(np.zeros((B, H, K, S + T)), S, np.full((B, K), T))


@pytest.mark.parametrize("case", ["plain", "masked", "segments", "two streams", "both ways"])
def test_gradients_are_derivatives(case):
    layer = layer_of()
    names = [name for name, _ in layer.named_parameters()]
    arrays = [p.data.copy() for p in layer.parameters()]
    allowed = None if case == "plain" else ALLOWED.copy()
    if case == "masked":
        allowed[0, 2] = False  # a query that sees nothing
    other = OTHER if case in ("segments", "two streams") else None
    view = View(allowed, other)
    table = Tensor(BOTH_WAYS if case == "both ways" else TABLE)
    query = RNG.normal(size=(B, K, C))

    def run(x, g, *weights):
        for name, weight in zip(names, weights, strict=True):
            module, _, last = name.rpartition(".")
            place = layer
            for part in module.split(".") if module else ():
                place = getattr(place, part)
            setattr(place, last, weight)
        if case != "two streams":
            return layer(x, None, table, view, memory=MEMORY)[0] + 0.0 * F.sum(g)
        content, asked = layer(x, g, table, view, view.at(PLACES), MEMORY)
        return F.concatenate([content, asked], axis=1)

    check_grads(run, X, query, *arrays)


def test_the_second_stream_with_the_firsts_states_gives_the_firsts_results():
    layer = layer_of()
    view = View(ALLOWED, OTHER)
    query = np.take_along_axis(X, PLACES[..., None], axis=1)
    content, asked = layer(
        Tensor(X), Tensor(query), Tensor(TABLE), view, view.at(PLACES), memory=MEMORY
    )
    expected = np.take_along_axis(content.data, PLACES[..., None], axis=1)
    np.testing.assert_allclose(asked.data, expected, rtol=0, atol=1e-12)


def test_a_query_that_sees_nothing_takes_the_mean_of_all_values():
    layer = layer_of()
    allowed = np.zeros((B, T, S), bool)
    attention = layer.rel_attn
    known = Tensor(np.concatenate([MEMORY, X], axis=1))
    seen = attention.keys(known, Tensor(TABLE))
    y = attention(Tensor(X), seen, View(allowed, None))
    mean = np.repeat(known.data.mean(axis=1, keepdims=True), T, axis=1)
    values = mean @ attention.v.weight.data.T
    expected = attention.layer_norm(Tensor(values @ attention.o.weight.data.T + X))
    np.testing.assert_allclose(y.data, expected.data, rtol=0, atol=1e-12)


def test_an_odd_number_of_rows_cannot_be_read_in_two_directions():
    with pytest.raises(ShapeError, match="even number"):
        layer_of()(Tensor(X[:1]), None, Tensor(BOTH_WAYS), View(None, None), memory=MEMORY[:1])


def test_clamped_distances_are_all_the_same_from_there_on():
    assert (distances(T, S, clamp=2) == np.clip(distances(T, S), -2, 2)).all()
