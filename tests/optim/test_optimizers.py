"""Every optimiser follows PyTorch's trajectory, keeps its state, and treats groups, frozen parameters and clips alike."""

import numpy as np
import pytest

from tinylm import kernels, nn, optim
from tinylm import ops as F
from tinylm.errors import ArgumentError, CheckpointError, TinylmError

X = np.random.default_rng(1).normal(size=(7, 3))
RNG = np.random.default_rng(3)
Y = np.random.default_rng(2).integers(0, 5, 7)
CASES = {
    "AdamW": dict(lr=0.01, weight_decay=0.1),
    "Adam": dict(lr=0.01, weight_decay=0.1),
    "Adam-plain": dict(lr=0.003),
    "SGD": dict(lr=0.1),
    "SGD-momentum": dict(lr=0.03, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "SGD-nesterov": dict(lr=0.03, momentum=0.9, nesterov=True, weight_decay=0.01),
    "ASGD": dict(lr=0.1, weight_decay=0.01),
    "Adagrad": dict(lr=0.05, weight_decay=0.01),
    "Adagrad-one": dict(lr=0.2, initial_accumulator_value=1.0),
}
every_case = pytest.mark.parametrize("case", CASES)


class Network(nn.Module):
    """Two layers with tanh between them; its loss is a cross-entropy."""

    def __init__(self, dtype=np.float64):
        rng = np.random.default_rng(0)
        self.first = nn.Linear(3, 11, rng=rng, std=0.5)
        self.second = nn.Linear(11, 5, rng=rng, std=0.5)
        self.astype(dtype)

    def loss(self, x=X, y=Y):
        """Mean cross-entropy of rows x (N, 3) with targets y (N,)."""
        hidden = self.first(x.astype(self.first.weight.dtype), activation="tanh")
        return F.cross_entropy(self.second(hidden), y)


def build(case, model, **more):
    """The case's optimiser; every parameter is decayed, as in PyTorch."""
    return getattr(optim, case.partition("-")[0])(model, **{"no_decay": ()} | CASES[case] | more)


def train(model, optimizer, steps, **how):
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss().backward()
        optimizer.step(**how)


def values(model):
    return np.concatenate([p.data.ravel() for p in model.parameters()])


@pytest.mark.peer
@every_case
def test_five_hundred_steps_follow_torch(case):
    import torch

    model = Network()
    twins = {
        name: torch.nn.Parameter(torch.tensor(p.data.copy()))
        for name, p in model.named_parameters()
    }
    ours, given = (
        build(case, model),
        CASES[case] | ({"lambd": 0.0, "t0": 0} if case == "ASGD" else {}),
    )
    theirs = getattr(torch.optim, case.partition("-")[0])(twins.values(), **given)
    x, y = torch.tensor(X), torch.tensor(Y)
    for step in range(500):
        theirs.zero_grad()
        hidden = torch.tanh(
            torch.nn.functional.linear(x, twins["first.weight"], twins["first.bias"])
        )
        logits = torch.nn.functional.linear(hidden, twins["second.weight"], twins["second.bias"])
        torch.nn.functional.cross_entropy(logits, y).backward()
        theirs.step()
        train(model, ours, 1)
        if step == 0 and case == "ASGD":
            ours.start_average()  # PyTorch's mean leaves out the first step
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.data, twins[name].detach().numpy(), rtol=0, atol=1e-8)
    if case == "ASGD":
        with ours.averaged():
            for name, p in model.named_parameters():
                np.testing.assert_allclose(
                    p.data, theirs.state[twins[name]]["ax"].numpy(), rtol=0, atol=1e-8
                )


@every_case
def test_a_saved_state_continues_to_the_same_bits_and_float32_stays(case):
    whole, halved = Network(np.float32), Network(np.float32)
    straight, first = build(case, whole), build(case, halved)
    train(whole, straight, 9)
    train(halved, first, 4)
    second = build(case, halved)
    second.load_state({name: np.array(array) for name, array in first.state().items()})
    train(halved, second, 5)
    assert np.array_equal(values(whole), values(halved)) and values(whole).dtype == np.float32
    assert all(
        array.dtype in (np.float32, np.int64, np.float64) for array in second.state().values()
    )
    if first.segments[0].state:
        with pytest.raises(CheckpointError, match="another model"):
            second.load_state({"steps": np.array(1)})


@every_case
def test_one_and_two_threads_give_the_same_bits(case, restored_threads):
    results = []
    for threads in (1, 2):
        kernels.set_threads(threads)
        p = nn.Parameter(np.random.default_rng(3).normal(size=40_009).astype(np.float32))
        optimizer = build(case, [("p", p)])
        for seed in range(3):
            p.grad = np.random.default_rng(seed).normal(size=p.shape).astype(np.float32)
            optimizer.step(max_norm=1.0, max_value=0.5)
        results.append(p.data.tobytes())
    assert results[0] == results[1]


@every_case
def test_what_is_frozen_stays_and_moves_again_when_it_is_thawed(case):
    model = Network()
    optimizer = build(case, model)
    train(model, optimizer, 2)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    nn.freeze_to([model.first.parameters(), model.second.parameters()], -1)
    train(model, optimizer, 2)
    moved = {
        name for name, p in model.named_parameters() if not np.array_equal(p.data, before[name])
    }
    assert moved == {"second.weight", "second.bias"} and model.first.weight.grad is None
    nn.freeze_to([model.first.parameters(), model.second.parameters()], 0)
    train(model, optimizer, 1)
    assert not any(np.array_equal(p.data, before[name]) for name, p in model.named_parameters())


def test_accumulated_gradients_are_those_of_the_sum_of_the_losses():
    one, other = Network(), Network()
    first, second = optim.AdamW(one), optim.AdamW(other)
    for _ in range(3):
        first.zero_grad()
        for part in (slice(0, 3), slice(3, 7)):  # means of 3 and of 4 rows
            (one.loss(X[part], Y[part]) * (len(X[part]) / 7)).backward()
        first.step()
        train(other, second, 1)
    np.testing.assert_allclose(values(one), values(other), rtol=0, atol=1e-12)


def test_clipping_by_value_limits_every_entry_before_the_norm_is_taken():
    p = nn.Parameter(np.zeros(3))
    optimizer = optim.SGD([("p", p)], lr=1.0)
    p.grad = np.array([3.0, -0.5, -4.0])
    norm = optimizer.step(max_norm=100.0, max_value=2.0)
    assert np.array_equal(p.data, [-2, 0.5, 2]) and norm == pytest.approx(np.sqrt(8.25))


def test_epsilon_stands_where_the_papers_code_has_it():
    g, eps = 0.3, 0.1
    for hat, wanted in ((False, g / (g + eps)), (True, 0.001**0.5 * g / (0.001**0.5 * g + eps))):
        p = nn.Parameter(np.zeros(1))
        optimizer = optim.AdamW([("p", p)], lr=1.0, eps=eps, weight_decay=0.0, eps_hat=hat)
        p.grad = np.array([g])
        optimizer.step()
        assert p.data[0] == pytest.approx(-wanted, rel=1e-12)


def decays(model, **options):
    """The decay of each parameter by name."""
    optimizer = optim.AdamW(model, weight_decay=0.25, **options)
    named = {id(p): name for name, p in model.named_parameters()}
    return {named[id(p)]: s.decay for s in optimizer.segments for p in s.members}


def test_decay_is_left_out_by_name_by_rank_and_taken_back_by_a_later_pattern():
    weights, biases = (
        {"first.weight": 0.25, "second.weight": 0.25},
        {"first.bias": 0.0, "second.bias": 0.0},
    )
    assert decays(Network()) == weights | biases
    assert decays(Network(), no_decay=lambda name, p: p.ndim < 2) == weights | biases
    assert decays(Network(), no_decay=("bias$", "!^first")) == weights | biases | {
        "first.bias": 0.25
    }
    lstm = nn.LSTM(nn.LSTMConfig(3, 5, bidirectional=True), noise=nn.Noise(), rng=RNG)
    assert decays(lstm)["bias_l0_reverse"] == decays(lstm)["bias_l0"] == 0
    assert decays(lstm)["weight_hh_l0"] == 0.25
    assert decays(Network(), no_decay=()) == dict.fromkeys(weights | biases, 0.25)


def test_groups_by_name_have_their_own_rate_and_decay():
    model = Network()
    groups = optim.groups_by_name(
        model, {"^second": {"scale": 10.0, "weight_decay": 0.5}, "weight$": {"scale": 2.0}}
    )
    found = {name: group for group in groups for name, _ in group["params"]}
    assert (
        found["second.weight"]["scale"] == found["second.bias"]["scale"] == 10
        and found["first.weight"]["scale"] == 2
    )
    assert "scale" not in found["first.bias"]
    optimizer = optim.SGD(groups, lr=0.1, weight_decay=0.25)
    assert {(s.scale, s.decay) for s in optimizer.segments} == {
        (10.0, 0.5),
        (2.0, 0.25),
        (1.0, 0.25),
    }


def test_layerwise_rates_are_those_of_ulmfit_electra_and_xlnet():
    model = nn.ModuleList([nn.Linear(2, 2, rng=np.random.default_rng(0)) for _ in range(4)])
    *layers, head = [module.parameters() for module in model]

    def rates(key="scale", **options):
        optimizer = optim.SGD(optim.layerwise(model, key=key, **options), lr=1.0)
        return [
            next(getattr(s, key) for s in optimizer.segments if any(p is q[0] for p in s.members))
            for q in (*layers, head)
        ]

    assert rates(layers=[*layers, head], factor=1 / 2.6) == pytest.approx(
        [2.6**-3, 2.6**-2, 2.6**-1, 1]
    )
    d, top = 0.8, 3  # embeddings and 2 layers below the head: d^(L+2), d^(L+1), d^2
    assert rates(layers=layers, factor=d, top=d**2) == pytest.approx([d**4, d**top, d**2, 1])
    assert rates("grad_scale", layers=layers[1:], factor=0.75) == pytest.approx([1, 0.75, 1, 1])


def test_a_factor_on_the_gradient_comes_after_clipping():
    p, q = nn.Parameter(np.zeros(1)), nn.Parameter(np.zeros(1))
    optimizer = optim.SGD(
        [{"params": [("p", p)], "grad_scale": 0.5}, {"params": [("q", q)]}], lr=1.0
    )
    p.grad, q.grad = np.array([3.0]), np.array([4.0])
    assert optimizer.step(max_norm=1.0) == pytest.approx(5)
    assert p.data[0] == pytest.approx(-0.3, rel=1e-5) and q.data[0] == pytest.approx(-0.8, rel=1e-5)


def test_delayed_adagrad_divides_by_what_it_had_seen_before():
    p = nn.Parameter(np.zeros(1))
    optimizer = optim.Adagrad(
        [("p", p)], lr=1.0, initial_accumulator_value=1.0, eps=0.0, delayed=True
    )
    for _ in range(2):
        p.grad = np.array([2.0])
        optimizer.step()
    assert p.data[0] == pytest.approx(-2 - 2 / np.sqrt(5), rel=1e-14)


def test_the_mean_of_the_weights_is_lent_and_given_back():
    model, optimizer, seen = (m := Network()), optim.ASGD(m, lr=0.5), []
    train(model, optimizer, 3)
    with optimizer.averaged():
        assert np.array_equal(
            values(model), own := values(model)
        )  # no mean yet: the weights themselves
    optimizer.start_average()
    for _ in range(4):
        train(model, optimizer, 1)
        seen.append(values(model))
    with optimizer.averaged():
        np.testing.assert_allclose(values(model), np.mean(seen, axis=0), rtol=0, atol=1e-14)
    assert np.array_equal(values(model), seen[-1]) and not np.array_equal(own, seen[-1])
    again = optim.ASGD(model, lr=0.5)
    again.load_state({name: np.array(array) for name, array in optimizer.state().items()})
    with again.averaged():
        np.testing.assert_allclose(values(model), np.mean(seen, axis=0), rtol=0, atol=1e-14)


def test_the_switch_waits_until_the_loss_is_worse_than_one_more_than_nonmono_checks_old():
    optimizer, started = optim.ASGD(Network(), nonmono=2), []
    for loss in (3.0, 2.0, 2.5, 2.4, 2.2):  # 2.4 is compared with 3.0 alone, 2.2 with 3.0 and 2.0
        optimizer.check(loss)
        started.append(optimizer.segments[0].average is not None)
    assert started == [False, False, False, False, True]
    again = optim.ASGD(Network(), nonmono=2)
    again.load_state(optimizer.state())
    assert again.losses == optimizer.losses


def test_a_norm_that_is_no_number_changes_nothing():
    p = nn.Parameter(np.ones(3, np.float32))
    optimizer = optim.AdamW([("p", p)])
    p.grad = np.array([1, np.nan, 1], np.float32)
    assert np.isnan(optimizer.step(max_norm=1.0)) and optimizer.steps == 0 and (p.data == 1).all()


def test_a_parameter_that_went_elsewhere_is_one_sentence():
    p = nn.Parameter(np.ones(3, np.float32))
    first = optim.SGD([("p", p)], lr=1.0)
    optim.SGD([("p", p)], lr=1.0)
    with pytest.raises(TinylmError, match="gone to another optimiser"):
        first.step()


def test_an_array_put_in_place_of_a_parameters_is_one_sentence():
    p = nn.Parameter(np.ones(3, np.float32))
    optimizer = optim.SGD([("p", p)], lr=1.0)
    p.data = p.data * 0.5
    with pytest.raises(TinylmError, match=r"p.data\[...\] = values"):
        optimizer.step()


def test_groups_may_be_generators():
    model, other = Network(), Network()
    generators = [{"params": (pair for pair in each.named_parameters())} for each in (model, other)]
    optimizer = optim.SGD(generators, lr=1.0)
    assert sum(len(segment.members) for segment in optimizer.segments) == 8


def test_parameters_without_names_are_one_sentence():
    with pytest.raises(TinylmError, match=r"named_parameters\(\)"):
        optim.AdamW(Network().parameters())


def test_a_state_that_does_not_fit_changes_nothing():
    optimizer = optim.AdamW([("p", nn.Parameter(np.ones(3, np.float32)))])
    state = {name: array.copy() + 1 for name, array in optimizer.state().items()}
    without_steps = {name: array for name, array in state.items() if name != "steps"}
    for broken in ({**state, "v.0": np.ones(2, np.float32)}, without_steps):
        with pytest.raises(CheckpointError, match="missing or has not the shape"):
            optimizer.load_state(broken)
        assert optimizer.steps == 0 and not optimizer.segments[0].state["m"].any()


def test_counts_of_a_state_that_cannot_be_are_one_sentence():
    optimizer = optim.ASGD([("p", nn.Parameter(np.ones(3, np.float32)))])
    state = optimizer.state()
    for name, array in {
        "steps": np.array(-1),
        "averages": np.array([1, 2]),
        "losses": np.ones((2, 2)),
    }.items():
        with pytest.raises(CheckpointError, match=name):
            optimizer.load_state({**state, name: array})
    with pytest.raises(CheckpointError, match="counts averages, but holds none"):
        optimizer.load_state({**state, "averages": np.array(3)})


def test_a_group_is_named_by_a_regular_expression():
    with pytest.raises(ArgumentError, match=r"settings holds '\(', which is no regular expression"):
        optim.groups_by_name(Network(), {"(": {"scale": 2.0}})
