"""Floor 2: differentiable functions, by family. `import tinylm.ops as F`.

Names and arguments follow NumPy and PyTorch's functional vocabulary. Read in this order: registry.py, elementary.py,
reduction.py, shape.py, product.py, layer.py, recurrent.py, convolution.py, loss.py, sampled.py, distance.py. Here the
operators of Tensor are attached.
"""

from ..tensor import Tensor
from .convolution import conv1d, conv1d_max, max_over_time
from .distance import cosine_embedding_loss, cosine_similarity, kl_div
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
    sqrt,
    square,
    sub,
    tanh,
    where,
)
from .layer import (
    batch_norm,
    dropout,
    embedding,
    gather_positions,
    layer_norm,
    packed_attention,
    scaled_dot_product_attention,
)
from .loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    linear_cross_entropy,
    mse_loss,
    nll_loss,
)
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
    "cross_entropy",
    "div",
    "dropout",
    "embedding",
    "exp",
    "gather_positions",
    "gelu",
    "getitem",
    "hierarchical_softmax_loss",
    "kl_div",
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
    "relative_shift",
    "relu",
    "reshape",
    "sampled_softmax_loss",
    "scaled_dot_product_attention",
    "sigmoid",
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

_OPERATORS = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "truediv": div,
    "matmul": matmul,
}
for _name, _function in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", lambda b, a, _function=_function: _function(a, b))
Tensor.__neg__, Tensor.__pow__, Tensor.__getitem__ = neg, power, getitem
Tensor.__iter__ = lambda x: (x[i] for i in range(len(x)))
Tensor.T = property(transpose, doc="The transpose, axes reversed.")
for _function in (sum, mean, max, min, var, reshape, transpose, swapaxes, exp, log, sqrt, tanh):
    setattr(Tensor, _function.__name__, _function)
