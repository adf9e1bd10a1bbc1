"""AdamW follows its equation and PyTorch's trajectory; schedules are what their papers draw."""

import numpy as np
import pytest

from tinylm import nn, optim
from tinylm import ops as F
from tinylm.errors import CheckpointError, TinylmError
from tinylm.optim import schedules


def problem(dtype=np.float64):
    """Named parameters and a loss that is not quadratic."""
    rng = np.random.default_rng(0)
    named = [
        ("layer.weight", nn.Parameter(rng.normal(size=(5, 3)).astype(dtype))),
        ("layer.bias", nn.Parameter(rng.normal(size=5).astype(dtype))),
    ]
    x = rng.normal(size=(7, 3)).astype(dtype)
    return named, lambda: F.mean(F.square(F.tanh(F.linear(x, named[0][1], named[1][1]))))


def run(optimizer, loss, steps, **how):
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step(**how)


def test_one_step_is_the_equation_with_and_without_bias_correction():
    for corrected in (True, False):
        (named, loss), settings = (
            problem(),
            dict(lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.2),
        )
        before = [p.data.copy() for _, p in named]
        optimizer = optim.AdamW(named, bias_correction=corrected, **settings)
        run(optimizer, loss, 1)
        for (name, p), old in zip(named, before, strict=True):
            g = p.grad
            m, v = (0.2 * g, 0.1 * g * g) if not corrected else (g, g * g)
            decay = 0 if name.endswith("bias") else 0.2
            np.testing.assert_allclose(
                p.data, old - 0.1 * (m / (np.sqrt(v) + 1e-3) + decay * old), atol=1e-13
            )


def test_clipping_scales_to_the_norm_and_reports_the_norm_before():
    (a, loss_a), (b, loss_b) = problem(), problem()
    first, second = optim.AdamW(a), optim.AdamW(b)
    loss_a().backward()
    loss_b().backward()
    norm = np.sqrt(sum((p.grad**2).sum() for _, p in a))
    for _, p in b:
        p.grad *= 0.5
    assert first.step(max_norm=norm / 2) == pytest.approx(norm, rel=1e-12)
    second.step()
    for (_, p), (_, q) in zip(a, b, strict=True):
        np.testing.assert_allclose(
            p.data, q.data, atol=1e-7
        )  # Adam hardly sees the scale; the moments do
    np.testing.assert_allclose(first.state()["m.0"], second.state()["m.0"], rtol=1e-5)


def test_groups_scale_the_rate():
    named, loss = problem()
    optimizer = optim.AdamW(
        [{"params": named[:1], "scale": 0.0}, {"params": named[1:]}], weight_decay=0.0
    )
    before = named[0][1].data.copy()
    run(optimizer, loss, 3)
    assert np.array_equal(named[0][1].data, before) and named[1][1].grad is not None


def test_state_continues_to_the_same_bits():
    (a, loss_a), (b, loss_b) = problem(np.float32), problem(np.float32)
    whole, first = optim.AdamW(a, lr=0.01), optim.AdamW(b, lr=0.01)
    run(whole, loss_a, 9)
    run(first, loss_b, 4)
    second = optim.AdamW(b, lr=0.01)
    second.load_state({name: value.copy() for name, value in first.state().items()})
    run(second, loss_b, 5)
    assert all(np.array_equal(p.data, q.data) for (_, p), (_, q) in zip(a, b, strict=True))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        second.load_state({"steps": np.array(1)})
    with pytest.raises(TinylmError, match="no parameters"):
        optim.AdamW([])


@pytest.mark.peer
def test_five_hundred_steps_follow_torch():
    import torch

    named, loss = problem()
    twins = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for _, p in named]
    rng = np.random.default_rng(0)
    for shape in ((5, 3), (5,)):
        rng.normal(size=shape)
    x = torch.from_numpy(rng.normal(size=(7, 3)))
    groups = [{"params": twins[:1]}, {"params": twins[1:], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    ours = optim.AdamW(named, lr=0.01, weight_decay=0.1)
    for _ in range(500):
        theirs.zero_grad()
        torch.tanh(torch.nn.functional.linear(x, *twins)).square().mean().backward()
        theirs.step()
    run(ours, loss, 500)
    for (_, p), q in zip(named, twins, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), atol=1e-8)


def test_schedules_rise_and_fall_where_they_should():
    for schedule in (schedules.linear, schedules.cosine):
        values = [schedule(step, 100, 10) for step in range(101)]
        assert values[0] == pytest.approx(0.1) and values[9] == values[10] == 1
        assert values[100] == pytest.approx(0, abs=1e-12)
        assert all(a > b for a, b in zip(values[10:], values[11:], strict=False))
        assert schedule(100, 100, 10, floor=0.25) == pytest.approx(0.25)
    assert (
        schedules.cosine(55, 100, 10) == pytest.approx(0.5) and schedules.constant(99, 100, 10) == 1
    )


def _gradients(weight, optimised):
    """Gradients of W after two backwards, W being both inputs of one op, an input of others, and the rows of a table."""
    w = nn.Parameter(weight.copy())
    if optimised:
        optim.AdamW([("w", w)]).zero_grad()
    x = np.random.default_rng(1).normal(size=(5, 7)).astype(weight.dtype)
    for _ in range(2):
        h = F.linear(F.embedding(np.array([1, 1, 3]), w), w, bias=w[0])
        loss = (
            F.linear_cross_entropy(h, w, np.array([2, 5, 0]))
            + F.sum(F.linear(w, w) * 0.1)
            + F.sum(F.linear(x, w) * x)
        )
        loss.backward()
    return w.grad


def test_gradients_written_straight_into_their_place_are_the_same():
    weight = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    np.testing.assert_allclose(
        _gradients(weight, True), _gradients(weight, False), rtol=1e-5, atol=1e-5
    )


def test_a_parameter_that_is_both_inputs_of_an_op_gets_the_sum():
    w = nn.Parameter(np.random.default_rng(0).normal(size=(3, 3)))
    optim.AdamW([("w", w)]).zero_grad()
    F.linear(w, w).backward(np.eye(3))
    np.testing.assert_allclose(w.grad, 2 * w.data, rtol=1e-12)
    x, grads = np.random.default_rng(1).normal(size=(5, 3)), []
    for optimised in (False, True):
        v = nn.Parameter(np.arange(1.0, 4))
        if optimised:
            optim.AdamW([("v", v)]).zero_grad()
        F.layer_norm(x, 3, v, v).backward(x)  # both gradients are written by one kernel
        grads.append(v.grad)
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-12)
