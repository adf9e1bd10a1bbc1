"""The functions inside kernels are what they claim to be over their whole range, float32 against float64."""

import numpy as np
import pytest
from scipy import special

from tinylm.kernels import elementary
from tinylm.kernels.runtime.registry import helper

CASES = {  # name -> the definition, the range, relative error, absolute error
    "exp": (np.exp, (-79.9, 88.2), 3e-7, 0),
    "tanh": (np.tanh, (-12, 12), 5e-7, 0),
    "erf": (special.erf, (-6, 6), 5e-7, 1e-7),
    "logistic": (special.expit, (-59.9, 80), 5e-7, 0),
}


def on_arrays(name):
    """The function on every number of an array, compiled as in a kernel."""
    function = getattr(elementary, name)

    @helper
    def each(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def call(x):
        out = np.empty_like(x)
        each(x, out)
        return out

    return call


@pytest.mark.parametrize("name", CASES)
def test_float32_functions_are_as_exact_as_they_say(name):
    true, (low, high), relative, absolute = CASES[name]
    x = np.concatenate(
        [np.linspace(low, high, 100_003), np.linspace(-0.5, 0.5, 10_007), [0.0]]
    ).astype(np.float32)
    compiled = on_arrays(name)
    np.testing.assert_allclose(
        compiled(x), true(x.astype(np.float64)), rtol=relative, atol=absolute
    )
    assert np.isnan(compiled(np.array([np.nan], np.float32)))[0]
    np.testing.assert_allclose(
        compiled(x.astype(np.float64)), true(x.astype(np.float64)), rtol=1e-14
    )


def test_exp_ends_where_it_says():
    ends = on_arrays("exp")(np.array([-80.5, -np.inf, 89, np.inf], np.float32))
    assert ends[0] == ends[1] == 0 and 2e38 < ends[2] == ends[3] < np.inf
