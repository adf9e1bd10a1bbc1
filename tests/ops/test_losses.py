"""Laws of the losses that gradients and PyTorch's values do not show: memory, blocks, samples, trees."""

import heapq
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

import tinylm.ops as F
from tinylm.kernels import huffman_tree
from tinylm.ops import loss as loss_module
from tinylm.sampling import log_uniform
from tinylm.tensor import Tensor, no_grad

# --- the head in blocks of rows


def head(rng, rows, vocabulary, width, dtype=np.float64):
    """h, weight and bias as leaves, and targets of which some are not counted."""
    shapes = ((rows, width), (vocabulary, width), (vocabulary,))
    leaves = [Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True) for shape in shapes]
    return leaves, np.where(rng.random(rows) < 0.2, -100, rng.integers(0, vocabulary, rows))


def run_head(leaves, targets, factor=3.0):
    """The loss and the gradients of h, weight and bias, all times `factor`."""
    h, weight, bias = leaves
    for leaf in leaves:
        leaf.grad = None
    loss = F.linear_cross_entropy(h, weight, targets, bias=bias) * factor
    loss.backward()
    return [loss.data, *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("at_once", (1, 53, 997, 5_000))
@pytest.mark.parametrize("rows, vocabulary", ((0, 53), (1, 53), (101, 53), (101, 1), (7, 2003)))
def test_blocks_of_rows_give_what_all_logits_at_once_give(rows, vocabulary, at_once, monkeypatch):
    leaves, targets = head(np.random.default_rng(0), rows, vocabulary, 7)
    whole = run_head(leaves, targets)
    monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", at_once)
    for got, wanted in zip(run_head(leaves, targets), whole, strict=True):
        largest = np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * largest)


def test_the_logits_of_a_large_vocabulary_are_never_all_in_memory(monkeypatch):
    rows, vocabulary, width = 1009, 2003, 5
    leaves, targets = head(np.random.default_rng(0), rows, vocabulary, width, np.float32)
    logits = rows * vocabulary * 4
    peaks = []
    for at_once in (loss_module.LOGITS_AT_ONCE, rows * vocabulary // 20):
        monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", at_once)
        run_head(leaves, targets)  # compiled before it is measured
        tracemalloc.start()
        run_head(leaves, targets)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > logits and peaks[1] < logits / 3


def test_evaluation_keeps_no_logits():
    leaves, targets = head(np.random.default_rng(0), 101, 2003, 5)
    with no_grad():
        F.linear_cross_entropy(*leaves[:2], targets)
        tracemalloc.start()
        loss = F.linear_cross_entropy(*leaves[:2], targets)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert loss.node is None and kept < 101 * 2003


# --- label smoothing


def test_full_smoothing_forgets_the_target_and_a_wrong_share_is_refused():
    logits = np.random.default_rng(0).normal(size=(5, 7))
    losses = [
        F.cross_entropy(logits, np.full(5, target), label_smoothing=1.0).item() for target in (0, 6)
    ]
    assert (
        losses[0] == pytest.approx(losses[1]) == pytest.approx(-F.log_softmax(logits).data.mean())
    )
    with pytest.raises(ValueError, match=r"label_smoothing is 1.5; expected a share in \[0, 1\]"):
        F.cross_entropy(logits, np.zeros(5, int), label_smoothing=1.5)


# --- sampled losses


def leaves_of(rng, *shapes):
    """Random float64 leaves."""
    return [Tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


def gradients(loss, leaves):
    """The loss and what it adds to the leaves."""
    for leaf in leaves:
        leaf.grad = None
    loss.backward()
    return [loss.data, *(leaf.grad for leaf in leaves)]


def test_sampling_the_whole_vocabulary_without_correction_is_the_full_softmax():
    rng = np.random.default_rng(0)
    leaves = h, weight, bias = leaves_of(rng, (5, 3, 7), (11, 7), (11,))
    targets = rng.integers(0, 11, (5, 3))
    targets[1, 2] = -100
    full = gradients(F.linear_cross_entropy(h, weight, targets, bias=bias), leaves)
    sampled = gradients(
        F.sampled_softmax_loss(h, weight, bias, targets, (rng.permutation(11),)), leaves
    )
    for got, wanted in zip(sampled, full, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)


def test_a_sampled_target_is_left_out_and_a_lone_target_costs_nothing():
    rng = np.random.default_rng(0)
    h, weight = leaves_of(rng, (5, 7), (11, 7))
    targets = np.array([0, 3, 3, 5, 10])
    with_hits = F.sampled_softmax_loss(h, weight, None, targets, (np.array([1, 3, 5]),), "none")
    without = [
        F.sampled_softmax_loss(
            h[i], weight, None, targets[i], (np.setdiff1d([1, 3, 5], targets[i]),)
        ).item()
        for i in range(5)
    ]
    np.testing.assert_allclose(with_hits.data, without, rtol=1e-12)
    assert F.sampled_softmax_loss(h[1], weight, None, 3, (np.array([3]),)).item() == 0


def test_the_correction_brings_the_sampled_gradient_near_the_full_one():
    rng, vocabulary = np.random.default_rng(0), 211
    h, weight = leaves = [
        Tensor(rng.normal(size=shape) / 2, requires_grad=True)
        for shape in ((101, 5), (vocabulary, 5))
    ]
    targets = np.concatenate(
        [log_uniform((), 1, vocabulary, rng)[0] for _ in range(101)]
    )  # as frequent as words are
    full = gradients(F.linear_cross_entropy(h, weight, targets), leaves)[2]
    distance = {}
    for kept in (3, 1):  # with the logs of the expected counts, and without
        total = np.zeros_like(full)
        for _ in range(150):
            sampled = log_uniform(targets, 67, vocabulary, rng)[:kept]
            total += gradients(F.sampled_softmax_loss(h, weight, None, targets, sampled), leaves)[2]
        distance[kept] = np.linalg.norm(total / 150 - full) / np.linalg.norm(full)
    assert distance[3] < 0.06 < 2 * distance[3] < distance[1]


def test_a_large_table_costs_only_the_rows_that_were_looked_at():
    rng, vocabulary = np.random.default_rng(0), 50_021
    h, weight = leaves_of(rng, (13, 11), (vocabulary, 11))
    targets, peaks = rng.integers(0, vocabulary, 13), []
    for _ in range(2):  # the first call compiles
        weight.grad = np.zeros_like(weight.data)  # as an optimiser keeps it
        sampled = log_uniform(targets, 101, vocabulary, rng)
        tracemalloc.start()
        F.sampled_softmax_loss(h, weight, None, targets, sampled).backward()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < weight.data.nbytes / 10
    touched = np.flatnonzero(np.abs(weight.grad).sum(axis=1))
    assert set(touched) == {*targets.tolist(), *sampled[0].tolist()}


def logistic(x):
    """1/(1 + e^−x)."""
    return 1 / (1 + np.exp(-x))


def test_negative_sampling_is_the_sum_of_its_formula_and_skips_negative_ids():
    rng = np.random.default_rng(0)
    h, weight = leaves_of(rng, (5, 7), (11, 7))
    targets, negatives = np.array([0, 3, -1, 5, 10]), rng.integers(-1, 11, (5, 3))
    scores = h.data @ weight.data.T
    wanted = [
        0 if t < 0 else -np.log(logistic(s[t])) - sum(np.log(logistic(-s[k])) for k in ks if k >= 0)
        for s, t, ks in zip(scores, targets, negatives, strict=True)
    ]
    np.testing.assert_allclose(
        F.negative_sampling_loss(h, weight, targets, negatives, "none").data, wanted, rtol=1e-12
    )
    assert F.negative_sampling_loss(h, weight, targets, negatives).item() == pytest.approx(
        sum(wanted) / 4
    )


def test_nce_asks_how_likely_a_word_is_to_come_from_the_text():
    rng, K = np.random.default_rng(0), 3
    h, weight, bias = leaves_of(rng, (5, 7), (11, 7), (11,))
    noise = rng.dirichlet(np.ones(11))
    targets, negatives = rng.integers(0, 11, 5), rng.integers(0, 11, (5, K))
    model = np.exp(h.data @ weight.data.T + bias.data)  # p(word | row), not normalised
    from_text = model / (model + K * noise)
    rows = np.arange(5)
    wanted = -np.log(from_text[rows, targets]) - np.log(
        1 - from_text[rows[:, None], negatives]
    ).sum(axis=1)
    sampled = (negatives, np.log(K * noise[targets]), np.log(K * noise[negatives]))
    np.testing.assert_allclose(
        F.nce_loss(h, weight, bias, targets, sampled, "none").data, wanted, rtol=1e-10
    )


def test_noise_for_all_rows_is_noise_for_each():
    rng = np.random.default_rng(0)
    leaves = h, weight, bias = leaves_of(rng, (5, 3, 7), (11, 7), (11,))
    targets, ids = rng.integers(0, 11, (5, 3)), np.array([2, 9, 2, 4])
    for function in (F.nce_loss, F.sampled_softmax_loss):
        shared = gradients(function(h, weight, bias, targets, (ids,)), leaves)
        own = gradients(
            function(h, weight, bias, targets, (np.broadcast_to(ids, (5, 3, 4)),)), leaves
        )
        for got, wanted in zip(shared, own, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)


# --- hierarchical softmax


def smallest_cost(counts):
    """Σ count · code length of the best code: the two least frequent are joined until one is left."""
    heap, cost = [max(c, 1) for c in counts], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    return cost


vocabularies = st.lists(st.integers(0, 20), min_size=1, max_size=29).map(np.array)


@given(vocabularies)
def test_a_huffman_code_is_free_of_prefixes_and_the_shortest_there_is(counts):
    paths, codes = huffman_tree(counts)
    lengths = (paths >= 0).sum(axis=1)
    words = [
        "".join("01"[int(bit)] for bit in code[:n]) for code, n in zip(codes, lengths, strict=True)
    ]
    assert not any(
        b.startswith(a) for i, a in enumerate(words) for j, b in enumerate(words) if i != j
    )
    assert (np.maximum(counts, 1) * lengths).sum() == smallest_cost(counts.tolist())
    assert ((paths >= 0) == (np.arange(paths.shape[1]) < lengths[:, None])).all()
    assert (paths[:, 0] == len(counts) - 2).all() if len(counts) > 1 else paths.shape == (1, 0)


def test_ties_are_those_of_the_released_program():
    paths, codes = huffman_tree(
        [2, 5, 3, 1, 2]
    )  # worked by hand; of equal counts a node goes before a word
    bits = [
        "".join("01"[int(bit)] for bit in code[path >= 0])
        for code, path in zip(codes, paths, strict=True)
    ]
    assert bits == ["110", "0", "10", "1110", "1111"]
    assert paths.tolist() == [
        [3, 2, 1, -1],
        [3, -1, -1, -1],
        [3, 2, -1, -1],
        [3, 2, 1, 0],
        [3, 2, 1, 0],
    ]


@given(vocabularies, generators)
def test_the_probabilities_of_all_codes_sum_to_one(counts, rng):
    paths, codes = huffman_tree(counts)
    h, nodes = rng.normal(size=7), rng.normal(size=(len(counts) - 1, 7))
    losses = F.hierarchical_softmax_loss(np.tile(h, (len(counts), 1)), nodes, paths, codes, "none")
    np.testing.assert_allclose(np.exp(-losses.data).sum(), 1, rtol=1e-12)


# --- distances and positions


def test_a_distribution_is_at_no_distance_from_itself_and_zeros_cost_nothing():
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    with np.errstate(divide="ignore"):
        assert F.kl_div(np.log(p), p, "sum").item() == 0
        assert F.kl_div(np.log(p), np.log(p), "sum", log_target=True).item() == 0
    assert F.kl_div(np.zeros((2, 3)), p, "batchmean").item() == pytest.approx(
        (p[p > 0] * np.log(p[p > 0])).sum() / 2
    )
    assert (
        F.kl_div(np.zeros((2, 3), np.float32), p).dtype == np.float32
    )  # a teacher's array does not widen the student


def test_a_vector_of_zeros_is_like_nothing_and_gets_a_finite_gradient():
    a, b = Tensor(np.zeros(5), requires_grad=True), Tensor(np.arange(5.0), requires_grad=True)
    cosine = F.cosine_similarity(a, b)
    cosine.backward()
    assert cosine.item() == 0 and np.isfinite(a.grad).all() and (b.grad == 0).all()


def test_positions_that_are_padding_give_zeros_whatever_stands_there():
    x = Tensor(np.arange(2 * 3 * 5.0).reshape(2, 3, 5), requires_grad=True)
    x.data[0, 0] = np.nan
    y = F.gather_positions(x, np.array([[1, -1, 1], [2, 0, -1]]))
    (_, a, _), (b, _, c), none = *x.data, np.zeros(5)
    np.testing.assert_array_equal(y.data, [[a, none, a], [c, b, none]])
    y.backward(np.ones(y.shape))
    assert x.grad[:, :, 0].tolist() == [
        [0, 2, 0],
        [1, 0, 1],
    ]  # repeats add up, padding gets nothing


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32])
def test_targets_that_do_not_count_are_none_of_the_classes_in_any_dtype_of_integers(dtype):
    """Without a sign, -1 would be class 255."""
    x = np.zeros((2, 300))
    x[:, 255] = 9
    found = []
    for kind in (np.int64, dtype):
        targets = np.array([1, 0], kind)
        given = Tensor(x, requires_grad=True)
        loss = F.cross_entropy(given, targets, ignore_index=0)
        loss.backward()
        head = F.linear_cross_entropy(np.eye(2), x.T.copy(), targets, ignore_index=0)
        found.append((loss.item(), head.item(), given.grad))
    for wanted, got in zip(*found, strict=True):
        np.testing.assert_array_equal(got, wanted)
