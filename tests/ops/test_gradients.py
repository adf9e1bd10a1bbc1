"""Every op's gradient is proven, and the proof is proven: a wrong gradient of any input of any op is caught."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from strategies import STRATEGIES

import tinylm.kernels
import tinylm.ops
import tinylm.tensor
from tinylm.gradcheck import GradientError, check_grads
from tinylm.ops import OPS
from tinylm.tensor import Rows

BROADCASTING = dict.fromkeys(
    ("add", "sub", "mul", "div", "maximum", "minimum", "where", "broadcast_to", "matmul"), (0, 1)
)
BROADCASTING["scaled_dot_product_attention"] = (
    3,
)  # op -> the inputs that are broadcast; here the bias


def test_every_op_has_a_strategy():
    assert not set(OPS) - set(STRATEGIES), "write a strategy in tests/ops/strategies.py"


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(data=st.data())
def test_the_gradient_is_the_derivative(name, data):
    f, arrays = data.draw(STRATEGIES[name])
    check_grads(f, *arrays, draws=2)


def turned(array):
    """The same array with its axes the other way round in memory; a single row has a stride that means nothing."""
    return array.T.copy().T


def locked(array):
    """The same array, read-only."""
    array = np.array(array)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@settings(max_examples=20)
@given(data=st.data())
def test_float32_stays_float32_and_no_layout_in_memory_matters(name, data):
    f, arrays = data.draw(STRATEGIES[name])
    results = []
    for layout in (np.copy, turned, locked):
        inputs = [
            tinylm.tensor.Tensor(layout(a.astype(np.float32)), requires_grad=True) for a in arrays
        ]
        y = f(*inputs)
        assert y.dtype == np.float32
        y.backward(layout(np.cos(np.arange(y.size)).reshape(y.shape)))
        assert all(
            x.grad is None or (x.grad.dtype == np.float32 and x.grad.shape == x.shape)
            for x in inputs
        )
        results.append([y.data] + [x.grad for x in inputs if x.grad is not None])
    largest = max(np.abs(array).max(initial=0) for array in results[0])
    rounding = 1e-6 * largest  # of sums that cancel, such as the gradient of one common bias
    for other in results[1:]:
        for found, wanted in zip(other, results[0], strict=True):
            atol = max(rounding, 1e-4 * np.abs(wanted).max(initial=0))
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_one_and_two_threads_give_the_same_bits(name, restored_threads):
    for f, arrays in cases_of(
        name, 10
    ):  # small arrays; the kernels' own test has them span several blocks
        found = []
        for count in (1, 2):
            tinylm.kernels.set_threads(count)
            inputs = [tinylm.tensor.Tensor(a, requires_grad=True) for a in arrays]
            y = f(*inputs)
            y.backward(np.ones(y.shape))
            found.append(
                [y.data.tobytes()] + [x.grad is not None and x.grad.tobytes() for x in inputs]
            )
        assert found[0] == found[1]


# --- mutants, made at the one place where an op is recorded

TRUE_NODE, TRUE_UNBROADCAST = tinylm.tensor.Node, tinylm.tensor.unbroadcast


def averaging(grad, shape):
    """A wrong `unbroadcast`: the mean where the sum belongs."""
    return TRUE_UNBROADCAST(grad, shape) * (np.prod(shape) / max(grad.size, 1))


def taking_the_first(grad, shape):
    """A wrong `unbroadcast`: one copy's gradient where the sum of all belongs."""
    grad = grad[(0,) * (grad.ndim - len(shape))]
    return grad[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


def scaled(factor):
    """Mutants that multiply the gradient of input i."""

    def mutate(vjp, dy, inputs, i):
        grads = list(vjp(dy))
        dx = grads[i]
        grads[i] = Rows(dx.ids, dx.values * factor) if isinstance(dx, Rows) else dx * factor
        return tuple(grads)

    return mutate


def un_broadcast_by(wrong):
    """Mutants that undo the broadcasting of input i wrongly, whether the op or the tape does it."""

    def mutate(vjp, dy, inputs, i):
        grads, places = (
            list(vjp(dy)),
            [m for m in vars(tinylm.ops).values() if hasattr(m, "unbroadcast")],
        )
        for module in places:
            module.unbroadcast = wrong
        try:
            dx = vjp(dy)[i]
        finally:
            for module in places:
                module.unbroadcast = TRUE_UNBROADCAST
        stretched = not isinstance(dx, Rows) and dx.shape != inputs[i].shape and dx.size
        grads[i] = wrong(dx, inputs[i].shape) if stretched else dx
        return tuple(grads)

    return mutate


MUTANTS = {"zero": scaled(0), "sign": scaled(-1), "scale": scaled(1.01)}
UNBROADCAST_MUTANTS = {
    "mean": un_broadcast_by(averaging),
    "first": un_broadcast_by(taking_the_first),
}


def recorded_by(f, name, made):
    """f, with `made(node)` instead of every node of op `name` that f records (not those that the checker records)."""

    def node(op, inputs, vjp):
        true = TRUE_NODE(op, inputs, vjp)
        return made(true) if op == name else true

    def wrapped(*tensors):
        tinylm.tensor.Node = node
        try:
            return f(*tensors)
        finally:
            tinylm.tensor.Node = TRUE_NODE

    return wrapped


def mutant_of(f, name, mutate, arity, i):
    """f with the gradient of input i mutated wherever op `name` is recorded with `arity` inputs."""

    def made(node):
        if len(node.inputs) != arity:
            return node
        inputs, vjp = node.inputs, node.vjp
        return TRUE_NODE(node.name, inputs, lambda dy: mutate(vjp, dy, inputs, i))

    return recorded_by(f, name, made)


def cases_of(name, count):
    """`count` cases from the strategy, the same in every run."""
    cases = []

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate])
    @given(STRATEGIES[name])
    def collect(drawn):
        cases.append(drawn)

    collect()
    return cases


def arities(f, arrays, name):
    """With how many inputs f recorded op `name`."""
    found = []
    inputs = [tinylm.tensor.Tensor(a, requires_grad=True) for a in arrays]
    recorded_by(f, name, lambda node: found.append(len(node.inputs)) or node)(*inputs)
    return found


def caught(f, arrays):
    """True when the checker sees that a gradient is wrong."""
    try:
        check_grads(f, *arrays, draws=1)
    except GradientError:
        return True
    return False


@pytest.mark.parametrize("name", sorted(OPS))
def test_a_wrong_gradient_of_any_input_is_caught(name):
    cases = cases_of(name, 200)
    by_arity = {}
    for f, arrays in cases:
        for arity in set(arities(f, arrays, name)):
            by_arity.setdefault(arity, []).append((f, arrays))
    assert by_arity, f"no case of the strategy records a node called {name!r}"
    mutants = [
        MUTANTS | (UNBROADCAST_MUTANTS if i in BROADCASTING.get(name, ()) else {})
        for i in range(max(by_arity))
    ]
    survivors = [
        f"{kind} of input {i} of {arity}"
        for arity, drawn in by_arity.items()
        for i in range(arity)
        for kind, mutate in mutants[i].items()
        if not any(caught(mutant_of(f, name, mutate, arity, i), arrays) for f, arrays in drawn)
    ]
    assert not survivors, f"{name}: mutants that no case of the strategy catches: {survivors}"


def test_an_unmutated_op_passes_through_the_same_machinery():
    f, arrays = next(
        (f, arrays) for f, arrays in cases_of("mul", 20) if all(a.size for a in arrays)
    )
    assert not caught(mutant_of(f, "mul", scaled(1), 2, 0), arrays)


def reporting_shapes(node):
    """The node, failing when its vjp leaves broadcasting to be undone."""
    inputs, vjp = node.inputs, node.vjp

    def checked(dy):
        grads = vjp(dy)
        assert all(
            isinstance(dx, Rows) or dx.shape == x.shape for dx, x in zip(grads, inputs, strict=True)
        )
        return grads

    return TRUE_NODE(node.name, inputs, checked)


@pytest.mark.parametrize("name", sorted(set(OPS) - set(BROADCASTING)))
def test_only_the_listed_ops_broadcast_their_inputs(name):
    for f, arrays in cases_of(name, 10):
        inputs = [tinylm.tensor.Tensor(a, requires_grad=True) for a in arrays]
        y = recorded_by(f, name, reporting_shapes)(*inputs)
        y.backward(np.ones(y.shape))
