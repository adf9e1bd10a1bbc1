"""Laws of the tape: what accumulates, what is freed, what is refused, and how long a chain may be."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import tinylm.ops as F
from tinylm.errors import ArgumentError, ShapeError, TinylmError
from tinylm.tensor import (
    Rows,
    Tensor,
    gradient_like,
    is_grad_enabled,
    no_grad,
    record,
    unbroadcast,
)


def leaf(values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


# --- gradients by hand


def test_a_product_of_two_numbers():
    a, b = leaf(3), leaf(5)
    (a * b).backward()
    assert a.grad == 5 and b.grad == 3


def test_gradients_of_a_leaf_accumulate_over_backwards_and_over_uses():
    x = leaf([1, 2])
    (x * 3).sum().backward()
    (x * 4 + x).sum().backward()
    assert x.grad.tolist() == [3 + 4 + 1] * 2


def test_a_shared_node_is_visited_once_with_the_sum_of_its_gradients():
    calls, x = [], leaf(2)

    def counted(dy):
        calls.append(float(dy))
        return (dy * 3,)

    shared = record("triple", x.data * 3, (x,), counted)  # a diamond: y = 5·shared + shared²
    (5 * shared + shared * shared).backward()
    assert calls == [5 + 2 * 6] and x.grad == 3 * (5 + 2 * 6)


def test_thirty_doublings_do_not_walk_every_path():
    x = leaf(1)
    y = x
    for _ in range(30):
        y = y + y
    y.backward()
    assert x.grad == 2**30


@pytest.mark.parametrize("shape", ((), (1,), (3,)))
def test_one_tensor_used_three_times_gets_three_gradients(shape):
    x = leaf(np.full(shape, 2.0))
    y = x * 1
    (y * y * y).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 12.0))


def test_a_gradient_that_an_op_passes_on_unchanged_is_not_changed_by_others():
    x, y = leaf([1, 2]), leaf([3, 4])
    total = x * 1 + y * 1  # add hands the same dy to both
    (total + x * 10).sum().backward()
    assert x.grad.tolist() == [11, 11] and y.grad.tolist() == [1, 1]


def test_backward_contracts_with_the_given_gradient_and_leaves_it_alone():
    x, weights = leaf([1, 2, 3]), np.array([1.0, 10, 100])
    (x * x).backward(weights)
    assert x.grad.tolist() == [2, 40, 600] and weights.tolist() == [1, 10, 100]


def test_backward_of_a_leaf_is_the_gradient_itself():
    x = leaf([1, 2])
    x.backward([5, 6])
    x.backward([1, 1])
    assert x.grad.tolist() == [6, 7]


def test_the_first_gradient_is_a_copy():
    x, weights = leaf([1, 2]), np.ones(2)
    (x + 0).backward(weights)
    x.grad += 1
    assert weights.tolist() == [1, 1]


# --- broadcasting is undone: da is dy summed over every axis along which a was repeated


def test_a_row_added_to_two_rows_gets_the_sum_of_both():
    table, row = leaf([[1, 2, 3], [4, 5, 6]]), leaf([10, 20, 30])
    (table + row).backward([[1, 2, 3], [40, 50, 60]])
    assert row.grad.tolist() == [41, 52, 63]
    assert table.grad.tolist() == [[1, 2, 3], [40, 50, 60]]


def test_a_column_times_a_row_sums_over_the_other():
    column, row = leaf([[2], [3]]), leaf([5, 7, 11])
    (column * row).sum().backward()
    assert column.grad.tolist() == [[23], [23]] and row.grad.tolist() == [5, 5, 5]


def test_a_number_gets_the_sum_over_everything():
    number = leaf(2)
    (number * np.ones((3, 5))).sum().backward()
    assert number.grad == 15 and number.grad.shape == ()


def test_unbroadcast_sums_exactly_the_stretched_axes():
    grad = np.arange(24.0).reshape(2, 3, 4)
    assert unbroadcast(grad, (2, 3, 4)) is grad
    np.testing.assert_array_equal(unbroadcast(grad, (3, 1)), grad.sum((0, 2))[:, None])
    np.testing.assert_array_equal(unbroadcast(np.ones((0, 3)), (1, 3)), np.zeros((1, 3)))


# --- what is recorded, and for how long


def test_interior_gradients_live_for_one_backward_only():
    x = leaf([1, 2])
    y = x * 2
    y.sum().backward()
    assert y.grad is None and x.grad is not None


def test_a_second_backward_through_a_freed_record_is_one_sentence():
    x = leaf(2)
    shared = x * 3
    (shared * 2).backward()
    with pytest.raises(TinylmError, match="freed by an earlier backward.*compute the loss again"):
        (shared * 5).backward()
    loss = x * x
    loss.backward()
    with pytest.raises(TinylmError, match="freed"):
        loss.backward()
    assert x.grad == 6 + 4, "a refused backward must not leave half a gradient"


def test_no_grad_records_nothing_in_this_thread_only():
    x, seen = leaf(2), []
    with no_grad():
        y = x * x
        other = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        other.start()
        other.join()
        with no_grad():
            assert not is_grad_enabled()
        assert not is_grad_enabled()
    assert not y.requires_grad and seen == [True] and is_grad_enabled()
    with pytest.raises(TinylmError, match="nothing to differentiate"):
        y.backward()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_detach_and_constants_get_no_gradient():
    x, constant = leaf([1, 2]), Tensor(np.ones(2))
    (x.detach() * x + constant).sum().backward()
    assert x.grad.tolist() == [1, 2] and constant.grad is None


def test_rows_are_added_to_leaves_and_inside_the_graph():
    ids, table = np.array([1, 1, 0]), leaf(np.arange(6).reshape(3, 2))
    F.embedding(ids, table).sum().backward()
    assert table.grad.tolist() == [[1, 1], [2, 2], [0, 0]]
    F.embedding(ids, table * 2).sum().backward()
    assert table.grad.tolist() == [[3, 3], [6, 6], [0, 0]]
    (F.embedding(ids, table).sum() + table.sum()).backward()
    assert table.grad.tolist() == [[5, 5], [9, 9], [1, 1]]
    assert Rows(ids, np.ones((3, 2))).dense((3, 2)).tolist() == [[1, 1], [2, 2], [0, 0]]


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_a_dtype_stays_what_it_is(dtype):
    x = leaf([1, 2], dtype)
    for y in (x * 2, 2.5 - x, x / 3, x**2, x.mean(), -x, x * np.float64(3), np.ones(2, dtype) * x):
        assert y.dtype == dtype
    (x * 2.5).sum().backward()
    assert x.grad.dtype == dtype


def test_other_numbers_become_float32():
    assert Tensor([1, 2]).dtype == Tensor(3.5).dtype == Tensor(np.array([True])).dtype == np.float32


def test_operators_and_methods_are_the_ops():
    x = leaf([[1.0, 4.0], [9.0, 16.0]])
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    for got, wanted in (
        (x + 1, x.data + 1),
        (1 - x, 1 - x.data),
        (2 / x, 2 / x.data),
        (x @ rows, x.data @ rows),
        (rows @ x, rows @ x.data),
        (rows - x, rows - x.data),
        (x**0.5, x.data**0.5),
        (x[0], x.data[0]),
        (x.sum(0), x.data.sum(0)),
        (x.mean(), x.data.mean()),
        (x.max(1), x.data.max(1)),
        (x.reshape(4), x.data.reshape(4)),
        (x.transpose(), x.data.T),
        (x.swapaxes(0, 1), x.data.T),
        (x.exp(), np.exp(x.data)),
        (x.log(), np.log(x.data)),
        (x.sqrt(), np.sqrt(x.data)),
        (x.tanh(), np.tanh(x.data)),
    ):
        assert isinstance(got, Tensor) and got.requires_grad
        np.testing.assert_array_equal(got.data, wanted)


# --- a Tensor among Python's own values


def test_repr_shows_the_numbers_and_where_they_come_from():
    x = leaf([1, 2.5])
    assert repr(Tensor([1, 2.5])) == "Tensor([1.  2.5])"
    assert repr(x) == "Tensor([1.  2.5], requires_grad=True)"
    assert repr(x * 2) == "Tensor([2. 5.], made by mul)"
    assert repr(Tensor(np.zeros(1000))) == "Tensor([0. 0. 0. ... 0. 0. 0.])"


def test_t_is_the_transpose_and_passes_its_gradient_back():
    x = leaf(np.ones((2, 3)))
    assert x.T.shape == (3, 2)
    x.T.backward(np.arange(6.0).reshape(3, 2))
    assert x.grad.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_iteration_gives_rows_that_pass_their_gradients_back():
    x = leaf([[1, 2], [3, 5]])
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3, 5], [1, 2]]
    with pytest.raises(TypeError):
        list(leaf(3))


def test_len_is_the_first_axis_as_in_numpy():
    assert len(Tensor(np.zeros((5, 3)))) == 5
    with pytest.raises(TypeError):
        len(Tensor(3.0))


def test_a_single_number_is_a_float_and_a_truth_value():
    assert float(Tensor(2.5)) == Tensor([2.5]).item() == 2.5
    assert bool(Tensor(1.0)) and not bool(Tensor(0.0))
    with pytest.raises(TypeError):
        float(Tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Tensor([1.0, 2.0]))


# --- the slots of flat buffers


def test_the_first_gradient_goes_into_the_slot_and_later_ones_are_added_there():
    x = leaf([1, 2])
    slot = x.grad_home = np.empty(2)
    assert gradient_like(x) is slot
    (x * 3).sum().backward()
    assert x.grad is slot and gradient_like(x) is not slot
    (x * 4).sum().backward()
    assert slot.tolist() == [7, 7]


def test_a_leaf_that_is_an_input_twice_gets_both_gradients_in_its_slot():
    x = leaf([1, 2])
    x.grad_home = np.full(2, np.nan)

    def vjp(dy):
        first = gradient_like(x)
        first[...] = 3 * dy
        second = gradient_like(x)
        second[...] = 5 * dy
        return first, second

    record("twice", x.data * 8, (x, x), vjp).sum().backward()
    assert x.grad is x.grad_home and x.grad.tolist() == [8, 8]


# --- mistakes


def test_assignment_names_the_alternatives():
    with pytest.raises(
        TinylmError, match="cannot be changed in place.*where, concatenate or stack"
    ):
        leaf([1, 2])[0] = 5


@pytest.mark.parametrize(
    "call", (lambda x: np.asarray(x), lambda x: np.sum(np.array(x)), lambda x: np.stack([x, x]))
)
def test_a_numpy_function_would_lose_the_gradient_and_says_so(call):
    with pytest.raises(TinylmError, match="NumPy function was called on a Tensor.*tinylm.ops"):
        call(leaf([1, 2]))


def test_a_ufunc_on_a_tensor_is_refused():
    with pytest.raises(TypeError, match="__array_ufunc__"):
        np.exp(leaf([1, 2]))


def test_a_tensor_without_gradient_is_an_array_to_numpy():
    np.testing.assert_array_equal(np.asarray(Tensor(np.arange(3.0))), np.arange(3))


def test_backward_of_several_elements_needs_a_gradient_of_their_shape():
    x = leaf([1, 2])
    with pytest.raises(ShapeError, match=r"needs a single number.*\(2,\).*\.sum\(\)"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"grad has shape \(3,\), expected \(2,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(TinylmError, match="nothing to differentiate"):
        Tensor([1.0]).backward()


def test_words_are_not_numbers():
    with pytest.raises(TinylmError, match="holds numbers, but the data has dtype"):
        Tensor(["a"])


def test_a_vjp_that_returns_a_wrong_shape_is_named():
    x = leaf([1, 2, 3])
    with pytest.raises(
        ShapeError, match=r"mine: its vjp returned a gradient of shape \(2,\).*\(3,\)"
    ):
        record("mine", x.data * 2, (x,), lambda dy: (dy[:2],)).sum().backward()


def test_a_vjp_must_return_one_gradient_per_input():
    x, y = leaf(1), leaf(2)
    with pytest.raises(ValueError, match="zip"):
        record("mine", x.data * y.data, (x, y), lambda dy: (dy,)).backward()


MISTAKES = {
    "add": (lambda: F.add(np.ones((2, 3)), np.ones((3, 2))), r"\(2, 3\) and \(3, 2\)"),
    "matmul": (
        lambda: F.matmul(np.ones((2, 3)), np.ones((2, 3))),
        r"\(2, 3\) and \(2, 3\).*\(\.\.\., N, K\)",
    ),
    "linear": (
        lambda: F.linear(np.ones((2, 3)), np.ones((5, 2))),
        r"\(2, 3\).*\(5, 2\).*\(\.\.\., C\)",
    ),
    "layer_norm": (
        lambda: F.layer_norm(np.ones((2, 3)), 3, np.ones(3), np.ones(2)),
        r"\(2, 3\).*\(2,\).*expected",
    ),
    "embedding": (
        lambda: F.embedding(np.array([0, 5]), np.ones((5, 3))),
        "id 5 is out of range.*0 to 4",
    ),
    "getitem": (lambda: Tensor(np.ones((5, 3)))[7], r"\(5, 3\)"),
    "reshape": (lambda: F.reshape(np.ones((5, 3)), (4, 4)), r"15 elements.*\(5, 3\).*\(4, 4\)"),
    "transpose": (lambda: F.transpose(np.ones((5, 3)), (0, 0)), r"\(0, 0\).*\(5, 3\)"),
    "swapaxes": (lambda: F.swapaxes(np.ones((5, 3)), 0, 2), r"0 and 2.*\(5, 3\)"),
    "broadcast_to": (lambda: F.broadcast_to(np.ones((5, 3)), (5, 2)), r"\(5, 3\).*\(5, 2\)"),
    "concatenate": (
        lambda: F.concatenate([np.ones((5, 3)), np.ones((5, 2))]),
        r"\(5, 3\), \(5, 2\)",
    ),
    "stack": (lambda: F.stack([np.ones((5, 3)), np.ones((5, 2))]), r"\(5, 3\), \(5, 2\)"),
    "stack's axis": (lambda: F.stack([np.ones((5, 3))] * 2, axis=5), "axis 5"),
    "sum": (lambda: F.sum(np.ones((5, 3)), axis=2), r"axis 2.*\(5, 3\)"),
    "sum's axes": (lambda: F.sum(np.ones((5, 3)), axis=(0, -2)), r"axis \(0, -2\).*each once"),
    "softmax": (lambda: F.softmax(np.ones((5, 3)), axis=2), r"axis 2.*\(5, 3\)"),
    "softmax's axis": (lambda: F.softmax(np.ones((5, 3)), axis=(0, 1)), "expected one axis"),
    "binary_cross_entropy_with_logits": (
        lambda: F.binary_cross_entropy_with_logits(np.ones((3, 1)), np.ones((3, 5))),
        r"\(3, 5\).*\(3, 1\)",
    ),
    "nll_loss": (
        lambda: F.nll_loss(np.ones((5, 3)), np.arange(5)),
        "target 4 is out of range.*0 to 2",
    ),
    "linear_cross_entropy": (
        lambda: F.linear_cross_entropy(np.ones((5, 3)), np.ones((7, 2)), np.arange(5)),
        r"\(5, 3\).*\(7, 2\)",
    ),
    "scaled_dot_product_attention": (
        lambda: F.scaled_dot_product_attention(
            np.ones((1, 2, 3, 5)), np.ones((1, 2, 3, 7)), np.ones((1, 2, 3, 7))
        ),
        r"\(1, 2, 3, 5\).*\(1, 2, 3, 7\).*\(B, H, T, D\)",
    ),
    "gather_positions": (
        lambda: F.gather_positions(np.ones((2, 3, 5)), np.ones((3, 2), int)),
        r"\(2, 3, 5\).*\(3, 2\).*\(B, P\)",
    ),
    "sampled_softmax_loss": (
        lambda: F.sampled_softmax_loss(
            np.ones((2, 3)), np.ones((7, 5)), None, np.ones(2, int), (np.arange(3),)
        ),
        r"\(2, 3\), weight \(7, 5\), bias None.*expected \(\.\.\., C\), \(V, C\)",
    ),
    "nce_loss": (
        lambda: F.nce_loss(np.ones((2, 3)), np.ones((7, 3)), np.ones(7), 1, (np.arange(3),)),
        r"\(\).*\(2, 3\)",
    ),
    "hierarchical_softmax_loss": (
        lambda: F.hierarchical_softmax_loss(
            np.ones((2, 3)), np.ones((7, 3)), np.ones((2, 5), int), np.ones(2, bool)
        ),
        r"\(2, 5\) and codes \(2,\)",
    ),
    "kl_div": (lambda: F.kl_div(np.ones((2, 3)), np.ones(3)), r"\(2, 3\).*\(3,\)"),
    "cosine_similarity": (
        lambda: F.cosine_similarity(np.ones((2, 3)), np.ones((5, 3))),
        r"\(2, 3\) and \(5, 3\)",
    ),
    "cosine_embedding_loss": (
        lambda: F.cosine_embedding_loss(np.ones((2, 3)), np.ones((2, 3)), np.zeros(2)),
        r"\(2,\).*1 or -1",
    ),
    "packed_attention": (
        lambda: F.packed_attention(np.ones((1, 2, 9)), 2),
        r"\(1, 2, 9\).*3 x 2 heads",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_shape_mistakes_name_the_op_the_shapes_and_the_pattern(name):
    call, pattern = MISTAKES[name]
    with pytest.raises(ShapeError, match=f"{name.split(chr(39))[0]}: .*{pattern}") as caught:
        call()
    assert "\n" not in str(caught.value)


ARGUMENTS = {
    "linear: activation is 'gelu_new'": lambda: F.linear(
        np.ones((2, 3)), np.ones((5, 3)), activation="gelu_new"
    ),
    "linear: the dropout rate is 1.0": lambda: F.linear(
        np.ones((2, 3)), np.ones((5, 3)), dropout=1.0
    ),
    "attention: the dropout rate is -1": lambda: F.packed_attention(
        np.ones((1, 2, 6)), 1, dropout=-1
    ),
    "dropout: the dropout rate is 1": lambda: F.dropout(np.ones(3), 1, 0),
    "conv1d: stride 0": lambda: F.conv1d(np.ones((1, 5, 2)), np.ones((3, 2, 2)), stride=0),
    "power: the exponent is a Tensor": lambda: Tensor(np.ones(3)) ** Tensor(np.ones(3)),
    "reduction is 'average'": lambda: F.mse_loss(np.ones(3), 0.0, reduction="average"),
}


@pytest.mark.parametrize("message", ARGUMENTS)
def test_arguments_outside_their_range_are_one_sentence(message):
    with pytest.raises(ArgumentError, match=message):
        ARGUMENTS[message]()


def test_mixed_dtypes_in_a_kernel_are_named():
    with pytest.raises(ShapeError, match="linear: operands have dtypes float32 and float64"):
        F.linear(np.ones((2, 3), np.float32), np.ones((5, 3)))


def test_float_ids_and_number_masks_are_refused():
    with pytest.raises(ShapeError, match="embedding: ids have dtype float64; expected integers"):
        F.embedding(np.ones(2), np.ones((5, 3)))
    with pytest.raises(ShapeError, match="mask has dtype float64; expected bool"):
        F.scaled_dot_product_attention(*np.ones((3, 1, 2, 3, 5)), mask=np.ones((3, 3)))


# --- long chains

CHAIN = """
import sys, threading
import numpy as np
from tinylm.tensor import Tensor
import tinylm.ops

def work():
    x = Tensor(np.ones(1), requires_grad=True)
    for backward in (True, False):
        y = x
        for _ in range(50_000):
            y = y * 1.0 + 0.0  # two ops
        if backward:
            y.backward()
        del y
    print(float(x.grad[0]))

if sys.argv[1] == "thread":
    threading.stack_size(1 << 20)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
"""


@pytest.mark.parametrize("where", ("main", "thread"))
def test_a_chain_of_100000_ops_runs_backward_and_is_freed_without_one(where):
    done = subprocess.run(
        [sys.executable, "-c", CHAIN, where],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0 and done.stdout == "1.0\n", (
        f"status {done.returncode}: {done.stderr}"
    )
