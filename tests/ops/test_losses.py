"""Laws of the losses that gradients and PyTorch's values do not show: memory, blocks, samples, trees."""

import tracemalloc

import numpy as np
import pytest

import tinylm.ops as F
from tinylm.ops import loss as loss_module
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


@pytest.mark.parametrize("at_once", (1, 997, 5_000))
def test_blocks_of_rows_give_what_all_logits_at_once_give(at_once, monkeypatch):
    leaves, targets = head(np.random.default_rng(0), 101, 53, 7)
    whole = run_head(leaves, targets)
    monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", at_once)
    assert len(loss_module._row_blocks(101, 53)) > 1
    for got, wanted in zip(run_head(leaves, targets), whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_the_blocks_share_the_rows_out_and_none_exceeds_the_limit(monkeypatch):
    monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", 1000)
    for rows, vocabulary in ((0, 53), (1, 53), (101, 53), (101, 1), (7, 2003)):
        blocks = loss_module._row_blocks(rows, vocabulary)
        assert [i for block in blocks for i in range(rows)[block]] == list(range(rows))
        assert all((block.stop - block.start) * vocabulary <= max(1000, vocabulary) for block in blocks)


def test_the_logits_of_a_large_vocabulary_are_never_all_in_memory(monkeypatch):
    rows, vocabulary, width = 1009, 2003, 5
    leaves, targets = head(np.random.default_rng(0), rows, vocabulary, width, np.float32)
    logits = rows * vocabulary * 4
    peaks = []
    for at_once in (loss_module.LOGITS_AT_ONCE, rows * vocabulary // 10):
        monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", at_once)
        run_head(leaves, targets)  # compiled before it is measured
        tracemalloc.start()
        run_head(leaves, targets)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > logits and peaks[1] < logits / 5


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
    losses = [F.cross_entropy(logits, np.full(5, target), label_smoothing=1.0).item() for target in (0, 6)]
    assert losses[0] == pytest.approx(losses[1]) == pytest.approx(-F.log_softmax(logits).data.mean())
    with pytest.raises(ValueError, match=r"label_smoothing is 1.5; expected a share in \[0, 1\]"):
        F.cross_entropy(logits, np.zeros(5, int), label_smoothing=1.5)
