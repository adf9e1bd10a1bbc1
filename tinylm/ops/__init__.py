"""Floor 2: differentiable functions, by family. `import tinylm.ops as F`.

Names and arguments follow NumPy and PyTorch's functional vocabulary: `axis` is NumPy's, the first
operand is x where PyTorch says `input`, and channels or classes are the last axis. Where an op
differs in more, its docstring says why.

Read in this order: registry.py, elementary.py, reduction.py, shape.py, product.py, lookup.py,
norm.py, attention.py, recurrent.py, convolution.py, loss.py, sampled.py, crf.py, distance.py. This
file attaches the operators of Tensor.

>>> import tinylm.ops as F
>>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> F.cross_entropy(x, 2).backward()
>>> print(x.grad.round(2))
[ 0.09  0.24 -0.33]
"""

import functools

from tinylm.errors import TinylmError
from tinylm.tensor import Tensor

from .attention import packed_attention, relative_attention, scaled_dot_product_attention
from .convolution import conv1d, conv1d_max, max_over_time
from .crf import crf_decode, crf_log_partition, crf_loss, crf_marginals, crf_score
from .distance import cosine_embedding_loss, cosine_similarity, kl_div, kl_div_with_logits
from .elementary import (
    abs,
    add,
    clip,
    div,
    exp,
    gelu,
    log,
    maximum,
    minimum,
    mul,
    neg,
    power,
    relu,
    sigmoid,
    silu,
    sqrt,
    square,
    sub,
    tanh,
    where,
)
from .lookup import embedding, embedding_bag, gather_positions
from .loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    linear_cross_entropy,
    mse_loss,
    nll_loss,
)
from .norm import batch_norm, dropout, layer_norm
from .product import linear, matmul
from .recurrent import lstm
from .reduction import log_softmax, logsumexp, max, mean, min, softmax, sum, var
from .registry import OPS
from .sampled import (
    hierarchical_softmax_loss,
    nce_loss,
    negative_sampling_loss,
    sampled_softmax_loss,
)
from .shape import (
    broadcast_to,
    concatenate,
    getitem,
    relative_shift,
    reshape,
    stack,
    swapaxes,
    transpose,
)

__all__ = [
    "OPS",
    "abs",
    "add",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "clip",
    "concatenate",
    "conv1d",
    "conv1d_max",
    "cosine_embedding_loss",
    "cosine_similarity",
    "crf_decode",
    "crf_log_partition",
    "crf_loss",
    "crf_marginals",
    "crf_score",
    "cross_entropy",
    "div",
    "dropout",
    "embedding",
    "embedding_bag",
    "exp",
    "gather_positions",
    "gelu",
    "getitem",
    "hierarchical_softmax_loss",
    "kl_div",
    "kl_div_with_logits",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log",
    "log_softmax",
    "logsumexp",
    "lstm",
    "matmul",
    "max",
    "max_over_time",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "mul",
    "nce_loss",
    "neg",
    "negative_sampling_loss",
    "nll_loss",
    "packed_attention",
    "power",
    "relative_attention",
    "relative_shift",
    "relu",
    "reshape",
    "sampled_softmax_loss",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "sqrt",
    "square",
    "stack",
    "sub",
    "sum",
    "swapaxes",
    "tanh",
    "transpose",
    "var",
    "where",
]

# --- the operators of Tensor


def _reflected(function):
    """`2 - x` asks x for __rsub__(x, 2): the operands the other way round."""
    return lambda b, a: function(a, b)


def _numpys(function):
    """A reduction as a method: np.sum(x) asks x for x.sum(axis=None, dtype=None, out=None)."""

    @functools.wraps(function)
    def method(x, axis=None, keepdims=False, *, dtype=None, out=None, ddof=0):
        if dtype is not None or out is not None or ddof:
            raise TinylmError(
                f"{function.__name__}: a Tensor takes axis and keepdims only; for dtype, out or "
                "ddof call NumPy on its .data"
            )
        return function(x, axis, keepdims)

    return method


_OPERATORS = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "truediv": div,
    "matmul": matmul,
}
for _name, _function in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
Tensor.__neg__ = neg
Tensor.__pow__ = power
Tensor.__getitem__ = getitem
Tensor.__iter__ = lambda x: (x[i] for i in range(len(x)))
Tensor.T = property(transpose, doc="The transpose, axes reversed.")
for _function in (reshape, transpose, swapaxes, exp, log, sqrt, tanh):
    setattr(Tensor, _function.__name__, _function)
for _function in (sum, mean, max, min, var):
    setattr(Tensor, _function.__name__, _numpys(_function))
