"""Every kernel is its reference: in both dtypes, at odd sizes, with NaN, on any number of threads."""

import contextlib

import numba
import numpy as np
import pytest
from arguments import WRITTEN, build, copies, dimension_names, large_sizes, sizes, written
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import kernels
from tinylm.kernels import KERNELS
from tinylm.kernels.runtime import compiler
from tinylm.kernels.runtime.pool import one_thread, threads
from tinylm.kernels.runtime.registry import ITEMS, Kernel, parse_spec

TOLERANCE = {
    np.float32: 1e-5,
    np.float64: 1e-12,
}  # relative to the largest magnitude of the output or the inputs
LOCK_FREE = {
    "word2vec",
    "glove",
}  # exact with one thread only: threads write the same rows without asking
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
both_dtypes = pytest.mark.parametrize("dtype", (np.float32, np.float64))
seeds = st.integers(0, 2**32 - 1)


@contextlib.contextmanager
def thread_count(count):
    """Within this context parallel kernels use `count` threads."""
    before = kernels.threads()
    kernels.set_threads(count)
    try:
        yield
    finally:
        kernels.set_threads(before)


def run(function, values):
    """Call with fresh copies; returns the copies."""
    values = copies(values)
    with np.errstate(all="ignore"):
        function(*values.values())
    return values


def both(kernel, values):
    """What the compiled kernel and what the reference made of the arguments."""
    with thread_count(1 if kernel.name in LOCK_FREE else kernels.threads()):
        return run(kernel.compiled, values), run(kernel.reference, values)


@every_kernel
def test_the_first_argument_tells_which_version_runs(kernel):
    first = kernel.arguments[0]
    assert first.dims is not None
    assert kernel.integer or first.kind not in ITEMS, "its dtype would be that of its integers"


def test_a_child_compiles_each_kernel_for_the_dtypes_that_it_serves_alone(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(
        Kernel, "compile", lambda self, dtype: found.append((self.name, str(dtype)))
    )
    for dtype in ("float32", "float64", "int64"):
        claims = tmp_path / dtype
        claims.mkdir()
        compiler.main(dtype, str(claims), ["tinylm.kernels.lattice"])
    floats = [
        (name, dtype) for dtype in ("float32", "float64") for name in ("viterbi", "expectation")
    ]
    assert sorted(found) == sorted([*floats, ("double_array", "int64")])


def largest(array):
    """Largest finite magnitude of a float array, 0 of an empty one."""
    return float(np.abs(np.where(np.isfinite(array), array, 0)).max(initial=0))


def assert_close(kernel, values, got, wanted, dtype):
    """All written arrays agree, relative to the largest magnitude of each or of the inputs (dropout enlarges these)."""
    inputs = [
        largest(values[a.name])
        for a in kernel.arguments
        if a.kind in ("float", "inout", "posinout")
    ]
    for name, expected in written(kernel, wanted).items():
        if expected.size:
            scale = max([largest(expected), *inputs]) / (1 - values.get("rate", 0))
            np.testing.assert_allclose(
                got[name],
                expected,
                rtol=0,
                atol=TOLERANCE[dtype] * scale,
                err_msg=f"{kernel.name}: {name}",
            )


@every_kernel
@both_dtypes
@settings(max_examples=40)
@given(data=st.data(), seed=seeds)
def test_the_compiled_kernel_equals_its_reference(kernel, dtype, data, seed):
    values = build(kernel, data.draw(sizes(kernel)), dtype, np.random.default_rng(seed))
    assert_close(kernel, values, *both(kernel, values), dtype)


def _poisoned(kernel, values, rng):
    """Put NaN into one element of one non-empty float input; returns False when there is none."""
    derived = ()
    if kernel.name in ("attention_backward", "relative_attention_backward"):
        derived = ("out", "lse")  # the reference computes them anew
    inputs = [
        values[a.name]
        for a in kernel.arguments
        if a.kind in ("float", "inout", "posinout")
        and a.name not in derived
        and not (a.name == "r" and "begins" in values)  # a row of r that no query looks at
        and values[a.name].size
    ]
    if not inputs:
        return False
    chosen = inputs[rng.integers(len(inputs))]
    chosen[tuple(rng.integers(n) for n in chosen.shape)] = np.nan
    if "attention" in kernel.name:  # what may not be attended need not be looked at
        values["mask"] = np.ones((1, 1, 1, 1), bool)
    if "causal" in values:
        values["causal"] = 0
    if "other" in values:  # z and g matter to keys of other segments alone
        values["other"] = np.ones((*values["begins"].shape, values["k"].shape[1]), bool)
    return True


@every_kernel
@both_dtypes
@settings(max_examples=20)
@given(data=st.data(), seed=seeds)
def test_nan_goes_in_and_comes_out(kernel, dtype, data, seed):
    rng = np.random.default_rng(seed)
    values = build(kernel, data.draw(sizes(kernel)), dtype, rng)
    if not _poisoned(kernel, values, rng):
        return
    got, wanted = (written(kernel, result) for result in both(kernel, values))
    for name, expected in wanted.items():
        assert np.isnan(got[name]).any() == np.isnan(expected).any(), name
        assert not (np.isnan(got[name]) & ~np.isnan(expected)).any(), (
            f"{name}: NaN spread further than in the reference"
        )


@pytest.mark.parametrize(
    "kernel",
    [k for k in KERNELS.values() if k.name not in LOCK_FREE],
    ids=lambda kernel: kernel.name,
)
@both_dtypes
def test_one_and_two_threads_give_the_same_bits(kernel, dtype):
    names, rng = dimension_names(kernel), np.random.default_rng(5)
    for enlarged in names:  # each dimension in turn spans several blocks
        dims = {
            name: large_sizes(kernel)[-1] if name == enlarged else 13 if len(names) <= 3 else 5
            for name in names
        }
        values = build(kernel, dims, dtype, rng)
        results = []
        for place in (thread_count(1), thread_count(2), one_thread()):
            with place:
                results.append(written(kernel, run(kernel.compiled, values)))
        for name, array in results[0].items():
            for other in results[1:]:
                assert array.tobytes() == other[name].tobytes(), (
                    f"{kernel.name}: {name} depends on the threads"
                )


def test_within_one_thread_a_kernel_runs_its_version_without_threads(monkeypatch):
    """One that has none runs its loops on the caller's thread alone."""
    asked = []
    number = np.ones(1, np.float32)

    def version(parallel):
        return lambda _: asked.append((parallel, numba.get_num_threads()))

    versions = {(number.dtype, parallel): version(parallel) for parallel in (False, True)}
    for name in ("block_step", "linear"):  # the second has no such version
        kernel = KERNELS[name]
        monkeypatch.setattr(kernel, "dispatchers", versions)
        with thread_count(2):
            kernel.compiled(number)
            with one_thread(), one_thread():
                kernel.compiled(number)
            kernel.compiled(number)
    shared = (True, 2)
    assert [way for way, _ in asked[:3]] == [True, False, True]
    assert asked[3:] == [shared, (True, 1), shared]


def test_one_thread_within_one_thread_and_a_failure_inside_leave_no_trace():
    with thread_count(2):
        with one_thread():
            KERNELS["linear"].compiled(*a_product())
            with pytest.raises(ZeroDivisionError), one_thread():
                _ = 1 / 0
            assert (threads(), numba.get_num_threads()) == (1, 1)
        assert (threads(), numba.get_num_threads()) == (2, 2)


def a_product():
    """Arguments of `linear`: one number by one number."""
    one, row, nothing = np.ones((1, 1)), np.empty(0), np.empty((0, 0))
    return one, one, row, nothing, 0, 0.0, np.uint64(0), nothing, np.empty((1, 1))


@every_kernel
def test_a_spec_names_the_kernels_arguments_and_nothing_unwritten(kernel):
    code = kernel.function.__code__
    assert tuple(a.name for a in kernel.arguments) == code.co_varnames[: code.co_argcount]
    assert (
        kernel.reference.__code__.co_varnames[: code.co_argcount]
        == code.co_varnames[: code.co_argcount]
    )
    assert any(a.kind in WRITTEN for a in kernel.arguments)


def test_a_spec_may_stand_on_one_line_or_on_several():
    lines = """
        x: float[N,3*C]?
        lr: real
    """
    assert parse_spec(lines) == parse_spec("x: float[N,3*C]?; lr: real")


def test_a_spec_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="name: kind"):
        parse_spec("x float[N]")


def test_there_cannot_be_two_kernels_of_one_name():
    def dropout(x, out):
        out[...] = x

    with pytest.raises(ValueError, match="two kernels named 'dropout'"):
        kernels.kernel(reference=dropout, spec="x: float[N]; out: out[N]")(dropout)
