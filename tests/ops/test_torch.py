"""Every op with a counterpart in PyTorch agrees with it, forward and backward, in both precisions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    TEMPERATURES,
    apart,
    attention_options,
    axes_of,
    bags,
    batch_norm_arguments,
    conv1d_arguments,
    conv1d_options,
    crf_arguments,
    generators,
    linear_arguments,
    lstm_arguments,
    max_arguments,
    pair_of_shapes,
    positive,
    relative_arguments,
    run_lstm,
    sampled_arguments,
    shape,
    size,
    stretched,
    target_ids,
)

import tinylm.ops as F
from tinylm.tensor import Tensor

pytestmark = pytest.mark.peer
TOLERANCE = {
    np.float64: 1e-10,
    np.float32: 1e-5,
}  # of the reference's largest magnitude, see `floor_of`
PAIRS = {}  # name -> strategy of (our function, PyTorch's function, arrays)


def torch():
    """PyTorch, imported when the first test needs it: the extra `peers` is not part of the default run."""
    import torch

    return torch


def floor_of(arrays, dtype):
    """The size of the inputs: a result that cancels to nothing is known to no more digits than they have."""
    return max(float(np.abs(a).max(initial=0)) for a in arrays)


def assert_agree(ours, theirs, arrays, dtype, rng):
    """Same value and same gradients for a random cotangent, relative to the reference's largest magnitude."""
    arrays = [np.asarray(a, dtype) for a in arrays]
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [torch().tensor(a, requires_grad=True) for a in arrays]
    y, wanted = ours(*mine), theirs(*other)
    floor = floor_of(arrays, dtype)
    compare("forward", y.data, wanted.detach().numpy(), dtype, floor)
    cotangent = np.asarray(rng.normal(size=y.shape), dtype)
    y.backward(cotangent)
    wanted.backward(torch().tensor(cotangent))
    gradients = [
        np.zeros(x.shape, dtype) if t.grad is None else t.grad.numpy()
        for x, t in zip(mine, other, strict=True)
    ]
    largest = max(floor, *(float(np.abs(g).max(initial=0)) for g in gradients))
    for i, (x, expected) in enumerate(zip(mine, gradients, strict=True)):
        compare(
            f"gradient {i}",
            np.zeros_like(x.data) if x.grad is None else x.grad,
            expected,
            dtype,
            largest,
        )


def compare(what, got, wanted, dtype, largest):
    """All entries within the tolerance, relative to the largest of `wanted` or to `largest`."""
    assert got.shape == wanted.shape and got.dtype == wanted.dtype, (
        what,
        got.shape,
        wanted.shape,
        got.dtype,
        wanted.dtype,
    )
    scale = max(float(np.abs(wanted).max(initial=0)), largest)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=what)


def pair(function):
    """Register the function, which draws (ours, theirs, arrays), under its name."""
    PAIRS[function.__name__.rstrip("_")] = st.composite(function)()
    return function


def _unary(name, values, theirs):
    def draw_case(draw):
        return getattr(F, name), theirs, [values(draw(generators), shape(draw))]

    PAIRS[name] = st.composite(draw_case)()


def _normal(rng, dims):
    return rng.normal(size=dims)


for _name, _values in {
    "neg": _normal,
    "exp": _normal,
    "tanh": _normal,
    "sigmoid": _normal,
    "square": _normal,
    "relu": apart,
    "abs": apart,
    "sqrt": positive,
    "log": positive,
}.items():
    _unary(_name, _values, lambda x, _name=_name: getattr(torch(), _name)(x))


def _binary(name, values, theirs):
    def draw_case(draw):
        rng, (a, b) = draw(generators), pair_of_shapes(draw)
        return (
            getattr(F, name),
            lambda x, y: getattr(torch(), theirs)(x, y),
            [rng.normal(size=a), values(rng, b)],
        )

    PAIRS[name] = st.composite(draw_case)()


for _name, _values, _theirs in (
    ("add", _normal, "add"),
    ("sub", _normal, "sub"),
    ("mul", _normal, "mul"),
    ("div", positive, "div"),
    ("maximum", _normal, "maximum"),
    ("minimum", _normal, "minimum"),
):
    _binary(_name, _values, _theirs)


def _reduction(name, theirs, **options):
    def draw_case(draw):
        dims = shape(draw, least=1, zero=name == "sum")
        axis, keepdims = axes_of(draw, len(dims)), draw(st.booleans())
        axes = tuple(range(len(dims))) if axis is None else axis
        return (
            lambda x: getattr(F, name)(x, axis=axis, keepdims=keepdims),
            lambda x: getattr(torch(), theirs)(x, dim=axes, keepdim=keepdims, **options),
            [apart(draw(generators), dims)],
        )

    PAIRS[name] = st.composite(draw_case)()


for _name, _theirs in (
    ("sum", "sum"),
    ("mean", "mean"),
    ("logsumexp", "logsumexp"),
    ("max", "amax"),
    ("min", "amin"),
):
    _reduction(_name, _theirs)
_reduction("var", "var", correction=0)


def _softmax(name):
    def draw_case(draw):
        dims = shape(draw, least=1, zero=False)
        axis = axes_of(draw, len(dims), several=False)
        return (
            lambda x: getattr(F, name)(x, axis=axis),
            lambda x: getattr(torch(), name)(x, dim=axis),
            [4 * draw(generators).normal(size=dims)],
        )

    PAIRS[name] = st.composite(draw_case)()


_softmax("softmax")
_softmax("log_softmax")


@pair
def power(draw):
    exponent = draw(st.sampled_from((-1.5, 0, 0.5, 1, 2, 3)))
    return (
        lambda x: F.power(x, exponent),
        lambda x: torch().pow(x, exponent),
        [positive(draw(generators), shape(draw))],
    )


@pair
def silu(draw):
    x = 2 * draw(generators).normal(size=shape(draw))
    return F.silu, torch().nn.functional.silu, [x]


@pair
def gelu(draw):
    kind = draw(st.sampled_from(("none", "tanh")))
    return (
        lambda x: F.gelu(x, approximate=kind),
        lambda x: torch().nn.functional.gelu(x, approximate=kind),
        [2 * draw(generators).normal(size=shape(draw))],
    )


@pair
def clip(draw):
    return (
        lambda x: F.clip(x, -1, 1),
        lambda x: torch().clip(x, -1, 1),
        [2 * draw(generators).normal(size=shape(draw))],
    )


@pair
def where(draw):
    rng, (a, b) = draw(generators), pair_of_shapes(draw)
    condition = rng.random(stretched(draw, np.broadcast_shapes(a, b))) < 0.5
    return (
        lambda x, y: F.where(condition, x, y),
        lambda x, y: torch().where(torch().tensor(condition), x, y),
        [rng.normal(size=a), rng.normal(size=b)],
    )


# --- shapes


@pair
def reshape(draw):
    a, b, c = size(draw), size(draw), size(draw)
    return (
        lambda x: F.reshape(x, c, -1),
        lambda x: x.reshape(c, -1),
        [draw(generators).normal(size=(a, b, c))],
    )


@pair
def transpose(draw):
    dims = shape(draw)
    axes = draw(st.permutations(range(len(dims))))
    return (
        lambda x: F.transpose(x, axes),
        lambda x: x.permute(axes),
        [draw(generators).normal(size=dims)],
    )


@pair
def swapaxes(draw):
    dims = shape(draw, least=1)
    a, b = (draw(st.integers(-len(dims), len(dims) - 1)) for _ in range(2))
    return (
        lambda x: F.swapaxes(x, a, b),
        lambda x: x.swapaxes(a, b),
        [draw(generators).normal(size=dims)],
    )


@pair
def broadcast_to(draw):
    full = shape(draw)
    return (
        lambda x: F.broadcast_to(x, full),
        lambda x: torch().broadcast_to(x, full),
        [draw(generators).normal(size=stretched(draw, full))],
    )


def _joining(name, theirs):
    def draw_case(draw):
        dims, rng = shape(draw, least=1), draw(generators)
        axis = draw(st.integers(-len(dims), len(dims) - 1))
        return (
            lambda *xs: getattr(F, name)(xs, axis),
            lambda *xs: getattr(torch(), theirs)(xs, axis),
            [rng.normal(size=dims) for _ in range(draw(st.integers(1, 3)))],
        )

    PAIRS[name] = st.composite(draw_case)()


_joining("concatenate", "cat")
_joining("stack", "stack")


@pair
def getitem(draw):
    rng, dims = draw(generators), shape(draw, least=2, zero=False)
    ids = rng.integers(0, dims[0], shape(draw, most=2))
    mask = rng.random(dims[0]) < 0.5
    theirs = {
        "ids": lambda x: x[torch().tensor(ids)],
        "mask": lambda x: x[torch().tensor(mask)],
        "slice": lambda x: x[:, ::2],
        "pair": lambda x: x[torch().tensor(ids), 0],
        "row": lambda x: x[-1],
    }
    index = {
        "ids": ids,
        "mask": mask,
        "slice": (slice(None), slice(None, None, 2)),
        "pair": (ids, 0),
        "row": -1,
    }
    kind = draw(st.sampled_from(sorted(index)))
    return lambda x: F.getitem(x, index[kind]), theirs[kind], [rng.normal(size=dims)]


@pair
def relative_shift(draw):
    batch, length, source = size(draw), size(draw), size(draw)

    def theirs(x):  # by its definition, entry for entry
        columns = length - torch().arange(length)[:, None] + torch().arange(source)
        return torch().gather(x, 2, columns.expand(batch, length, source))

    return (
        lambda x: F.relative_shift(x, source),
        theirs,
        [draw(generators).normal(size=(batch, length, length + source))],
    )


# --- products and layers


@pair
def matmul(draw):
    n, k, m, rng = size(draw), size(draw), size(draw), draw(generators)
    outer = shape(draw, most=2, zero=False)
    left, right = draw(st.permutations((outer, stretched(draw, outer))))
    a = draw(st.sampled_from(((k,), (*left, n, k))))
    b = draw(st.sampled_from(((k,), (*right, k, m))))
    return F.matmul, lambda x, y: torch().matmul(x, y), [rng.normal(size=a), rng.normal(size=b)]


def _torch_linear(x, weight, bias, residual, activation):
    """The layer as a PyTorch program writes it."""
    functional = torch().nn.functional
    y = functional.linear(x, weight, bias)
    y = {
        None: lambda y: y,
        "relu": functional.relu,
        "gelu": functional.gelu,
        "tanh": torch().tanh,
        "sigmoid": torch().sigmoid,
        "silu": functional.silu,
        "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
    }[activation](y)
    return y if residual is None else y + residual


@pair
def linear(draw):
    options, arrays, names = linear_arguments(draw)

    def theirs(x, weight, *others):
        given = dict(zip(names, others, strict=True))
        return _torch_linear(
            x, weight, given.get("bias"), given.get("residual"), options["activation"]
        )

    return (
        lambda x, w, *others: F.linear(x, w, **dict(zip(names, others, strict=True)), **options),
        theirs,
        arrays,
    )


@pair
def layer_norm(draw):
    rng, width = draw(generators), draw(st.sampled_from((2, 3, 5, 7)))
    x, (weight, bias) = apart(rng, (*shape(draw, most=2), width), 0.3), rng.normal(size=(2, width))
    return (
        lambda x, w, b: F.layer_norm(x, (width,), w, b, 1e-5),
        lambda x, w, b: torch().nn.functional.layer_norm(x, (width,), w, b, 1e-5),
        [x, weight, bias],
    )


@pair
def embedding(draw):
    rng, rows = draw(generators), size(draw)
    ids = rng.integers(0, rows, shape(draw, most=2))
    return (
        lambda weight: F.embedding(ids, weight),
        lambda weight: torch().nn.functional.embedding(torch().tensor(ids), weight),
        [rng.normal(size=(rows, size(draw)))],
    )


@pair
def embedding_bag(draw):
    rng, rows = draw(generators), size(draw)
    ids, first = bags(draw, rng, rows)
    their_ids, offsets = torch().tensor(ids), torch().tensor(first)
    return (
        lambda weight: F.embedding_bag(ids, first, weight),
        lambda weight: torch().nn.functional.embedding_bag(their_ids, weight, offsets, mode="sum"),
        [rng.normal(size=(rows, size(draw)))],
    )


def _torch_lstm(named, lengths, reverse):
    """nn.LSTM's second direction or its first, run on packed sequences; all outputs in one row as `run_lstm` gives them."""
    nn, x = torch().nn, named["x"]
    hidden, width = named["weight_ih"].shape[0] // 4, named["weight_hh"].shape[1]
    projected = width if "projection" in named else 0
    lstm = nn.LSTM(
        x.shape[2],
        hidden,
        bias="bias" in named,
        proj_size=projected,
        bidirectional=reverse,
        dtype=x.dtype,
    )
    given = {
        "weight_ih_l0": "weight_ih",
        "weight_hh_l0": "weight_hh",
        "bias_ih_l0": "bias",
        "weight_hr_l0": "projection",
    }
    values = dict(lstm.named_parameters()) | {
        name + suffix: named[ours]
        for name, ours in given.items()
        if ours in named
        for suffix in (("", "_reverse") if reverse else ("",))
    }
    values |= {
        name: torch().zeros_like(p) for name, p in values.items() if name.startswith("bias_hh")
    }
    zeros = [torch().zeros(x.shape[1], n, dtype=x.dtype) for n in (width, hidden)]
    state = [
        torch().stack([s] * (1 + reverse))
        for s in ((named["h"], named["c"]) if "h" in named else zeros)
    ]
    packed = nn.utils.rnn.pack_padded_sequence(x, torch().tensor(lengths), enforce_sorted=False)
    out, (h, c) = torch().func.functional_call(lstm, values, (packed, tuple(state)))
    out, _ = nn.utils.rnn.pad_packed_sequence(out, total_length=x.shape[0])
    return torch().cat([part.reshape(-1) for part in (out[..., -width:], h[-1], c[-1])])


@pair
def lstm(draw):
    options, names, arrays = lstm_arguments(
        draw, lambda hidden: (None, *range(1, hidden))
    )  # PyTorch's are narrower
    length, batch = arrays[0].shape[:2]
    lengths = draw(generators).integers(
        1, length + 1, batch
    )  # PyTorch masks the ends of sequences only
    options["mask"] = np.arange(length)[:, None] < lengths
    return (
        lambda *xs: run_lstm(dict(zip(names, xs, strict=True)), options),
        lambda *xs: _torch_lstm(dict(zip(names, xs, strict=True)), lengths, options["reverse"]),
        arrays,
    )


def _torch_conv1d(x, weight, *bias, **options):
    """PyTorch has the channels before the time."""
    return torch().nn.functional.conv1d(x.swapaxes(1, 2), weight, *bias, **options).swapaxes(1, 2)


@pair
def conv1d(draw):
    options, rng = conv1d_options(draw), draw(generators)
    arrays = conv1d_arguments(draw, rng, options["dilation"], options["padding"])
    return (
        lambda x, w, *bias: F.conv1d(x, w, *bias, **options),
        lambda x, w, *bias: _torch_conv1d(x, w, *bias, **options),
        arrays,
    )


@pair
def max_over_time(draw):
    x, mask = max_arguments(draw)

    def theirs(x):
        counted = torch().tensor(np.ones(x.shape[:2], bool) if mask is None else mask)[:, :, None]
        y = torch().where(counted, x, -np.inf).max(dim=1).values
        return torch().where(counted.any(dim=1), y, 0.0)

    return lambda x: F.max_over_time(x, mask), theirs, [x]


@pair
def conv1d_max(draw):
    arrays = conv1d_arguments(draw, draw(generators))
    return F.conv1d_max, lambda x, w, *bias: _torch_conv1d(x, w, *bias).max(dim=1).values, arrays


@pair
def batch_norm(draw):
    x, running, (weight, bias), training = batch_norm_arguments(draw)

    def ours(x, w, b):
        arrays = [r.astype(x.dtype) for r in running]
        y = F.batch_norm(x, *arrays, w, b, training, 0.3, 1e-3)
        return F.concatenate(
            [y, np.stack(arrays)]
        )  # what became of the running statistics is compared too

    def theirs(x, w, b):
        arrays = [torch().tensor(r).to(x.dtype) for r in running]
        y = torch().nn.functional.batch_norm(x, *arrays, w, b, training, 0.3, 1e-3)
        return torch().cat([y, torch().stack(arrays)])

    return ours, theirs, [x, weight, bias]


def allowed(mask, causal, full):
    """The boolean (B, H, T, S) of what may be attended: `mask`, and with `causal` keys up to t + S − T."""
    mask = True if mask is None else mask[:, None] if mask.ndim == 3 else mask
    mask = np.broadcast_to(mask, full)
    return mask & np.tri(full[2], full[3], full[3] - full[2], dtype=bool) if causal else mask


def _torch_attention(q, k, v, may_attend, bias=None):
    """PyTorch's attention; rows that may attend to nothing are its NaN or zeros, ours are zeros: they are cut out."""
    functional, empty = torch().nn.functional, torch().tensor(~may_attend.any(-1, keepdims=True))
    mask = torch().tensor(may_attend | ~may_attend.any(-1, keepdims=True))
    if bias is not None:
        mask = bias.expand(mask.shape).masked_fill(~mask, -np.inf)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).masked_fill(empty, 0.0)


@pair
def scaled_dot_product_attention(draw):
    rng, batch, heads, width = (
        draw(generators),
        size(draw),
        draw(st.sampled_from((1, 2, 3))),
        size(draw),
    )
    length, source = size(draw), size(draw)
    options = attention_options(draw, rng, (batch, heads, length, source)) | {"dropout": 0.0}
    may_attend = allowed(options["mask"], options["is_causal"], (batch, heads, length, source))
    arrays = [rng.normal(size=(batch, heads, n, width)) for n in (length, source, source)]
    if draw(st.booleans()):
        arrays.append(rng.normal(size=stretched(draw, (batch, heads, length, source))))
    return (
        lambda q, k, v, *bias: F.scaled_dot_product_attention(
            q, k, v, **options, bias=(*bias, None)[0]
        ),
        lambda q, k, v, *bias: _torch_attention(q, k, v, may_attend, *bias),
        arrays,
    )


@pair
def relative_attention(draw):
    begins, options, arrays = relative_arguments(draw)
    batch, heads, length, width = arrays[0].shape
    source = arrays[1].shape[2]
    may_attend = allowed(options["mask"], False, (batch, heads, length, source))
    columns = begins[:, None, :, None] + np.arange(source)

    def theirs(q, k, v, r, content, place, *segment):
        u, w, z, g = (x[:, None] for x in (content, place, *(segment or (0 * place, 0 * place))))
        steps = r.repeat_interleave(batch // len(r), dim=0)
        by_distance = (q + w) @ steps.mT
        index = torch().tensor(columns).expand(batch, heads, length, source)
        bias = (u * k).sum(3)[:, :, None] + by_distance.gather(3, index)
        if segment:
            other = torch().tensor(options["other"])[:, None]
            bias = bias + torch().where(other, ((q + z) * g).sum(3, keepdim=True), 0)
        return _torch_attention(q, k, v, may_attend, bias / width**0.5)

    return (
        lambda q, k, v, r, *biases: F.relative_attention(q, k, v, r, begins, *biases, **options),
        theirs,
        arrays,
    )


@pair
def packed_attention(draw):
    rng, batch, heads, width = (
        draw(generators),
        size(draw),
        draw(st.sampled_from((1, 2, 3))),
        size(draw),
    )
    length = size(draw)
    options = attention_options(draw, rng, (batch, heads, length, length)) | {"dropout": 0.0}
    may_attend = allowed(options["mask"], options["is_causal"], (batch, heads, length, length))

    def theirs(x):
        q, k, v = (
            part.reshape(batch, length, heads, width).swapaxes(1, 2) for part in x.chunk(3, dim=2)
        )
        return (
            _torch_attention(q, k, v, may_attend)
            .swapaxes(1, 2)
            .reshape(batch, length, heads * width)
        )

    return (
        lambda x: F.packed_attention(x, heads, **options),
        theirs,
        [rng.normal(size=(batch, length, 3 * heads * width))],
    )


# --- losses


def counted_targets(draw, rng, dims, vocabulary):
    """Targets of which at least one counts: with none PyTorch's mean is NaN, ours 0."""
    targets, ignored = target_ids(draw, rng, dims, vocabulary)
    targets.flat[0] = (ignored + 1) % vocabulary if 0 <= ignored < vocabulary else 0
    return targets, (ignored if targets.flat[0] != ignored else -100)


@pair
def cross_entropy(draw):
    rng, dims, vocabulary = (
        draw(generators),
        shape(draw, least=1, most=2, zero=False),
        draw(st.sampled_from((2, 3, 5, 7))),
    )
    weight = positive(rng, vocabulary) if draw(st.booleans()) else None
    smoothing = draw(st.sampled_from((0.0, 0.1, 1.0)))
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    soft, (targets, ignored) = draw(st.booleans()), counted_targets(draw, rng, dims, vocabulary)
    probabilities = rng.dirichlet(np.ones(vocabulary), dims)

    def ours(x, *soft_targets):
        given = soft_targets[0] if soft else targets
        return F.cross_entropy(x, given, weight, ignored, reduction, smoothing)

    def theirs(x, *soft_targets):  # PyTorch has the classes on axis 1
        flat = soft_targets[0].reshape(-1, vocabulary) if soft else torch().tensor(targets.ravel())
        factors = None if weight is None else torch().tensor(weight).to(x.dtype)
        options = {
            "ignore_index": -100 if soft else ignored,
            "reduction": reduction,
            "label_smoothing": smoothing,
        }
        y = torch().nn.functional.cross_entropy(x.reshape(-1, vocabulary), flat, factors, **options)
        return y.reshape(dims) if reduction == "none" else y

    return (
        ours,
        theirs,
        [2 * rng.normal(size=(*dims, vocabulary)), *([probabilities] if soft else [])],
    )


@pair
def nll_loss(draw):
    rng, count, vocabulary = draw(generators), size(draw), size(draw)
    targets, ignored = target_ids(draw, rng, (count,), vocabulary)
    return (
        lambda x: F.nll_loss(x, targets, ignored),
        lambda x: torch().nn.functional.nll_loss(
            x, torch().tensor(targets), ignore_index=ignored, reduction="none"
        ),
        [rng.normal(size=(count, vocabulary))],
    )


@pair
def linear_cross_entropy(draw):
    rng, dims, width = draw(generators), shape(draw, least=1, most=2, zero=False), size(draw)
    vocabulary = draw(st.sampled_from((2, 3, 5, 7, 521)))
    targets, ignored = counted_targets(draw, rng, dims, vocabulary)

    def theirs(h, weight, *bias):
        logits = torch().nn.functional.linear(h, weight, *bias).reshape(-1, vocabulary)
        return torch().nn.functional.cross_entropy(
            logits, torch().tensor(targets.ravel()), ignore_index=ignored
        )

    bias = [rng.normal(size=vocabulary)] if draw(st.booleans()) else []
    return (
        lambda h, w, *b: F.linear_cross_entropy(h, w, targets, ignored, *b),
        theirs,
        [rng.normal(size=(*dims, width)), rng.normal(size=(vocabulary, width)), *bias],
    )


@pair
def mse_loss(draw):
    rng, dims, reduction = (
        draw(generators),
        shape(draw, zero=False),
        draw(st.sampled_from(("mean", "sum", "none"))),
    )
    return (
        lambda x, y: F.mse_loss(x, y, reduction),
        lambda x, y: torch().nn.functional.mse_loss(x, y, reduction=reduction),
        [rng.normal(size=dims), rng.normal(size=dims)],
    )


@pair
def binary_cross_entropy_with_logits(draw):
    rng, dims, reduction = (
        draw(generators),
        shape(draw, zero=False),
        draw(st.sampled_from(("mean", "sum", "none"))),
    )
    targets = rng.random(dims)

    def theirs(x):
        function = torch().nn.functional.binary_cross_entropy_with_logits
        return function(x, torch().tensor(targets).to(x.dtype), reduction=reduction)

    return (
        lambda x: F.binary_cross_entropy_with_logits(x, targets, reduction),
        theirs,
        [4 * rng.normal(size=dims)],
    )


@pair
def sampled_softmax_loss(draw):
    (targets, sampled, arrays), reduction = (
        sampled_arguments(draw),
        draw(st.sampled_from(("sum", "none"))),
    )

    def theirs(
        h, weight, *bias
    ):  # the cross-entropy of the target's score before all others, what is left out far below
        ids, *logs = (
            torch().tensor(each)
            for each in (
                np.broadcast_to(sampled[0], (*targets.shape, len(sampled[0].T))),
                *sampled[1:],
            )
        )
        target = torch().tensor(targets).unsqueeze(-1)
        every = torch().cat([target, ids], -1)
        scores = torch().einsum("...c,...kc->...k", h, weight[every.clamp(min=0)])
        scores = scores + bias[0][every.clamp(min=0)] if bias else scores
        if logs:
            scores = scores - torch().cat(
                [logs[0].unsqueeze(-1), logs[1].broadcast_to(ids.shape)], -1
            ).to(scores.dtype)
        left_out = torch().cat(
            [torch().zeros_like(target, dtype=bool), (ids == target) | (ids < 0)], -1
        )
        losses = -scores.masked_fill(left_out, -1e30).log_softmax(-1)[..., 0] * (
            target[..., 0] >= 0
        )
        return losses if reduction == "none" else losses.sum()

    return (
        lambda h, w, b=None: F.sampled_softmax_loss(h, w, b, targets, sampled, reduction),
        theirs,
        arrays,
    )


@pair
def kl_div(draw):
    rng, dims, log_target = draw(generators), shape(draw, least=1, zero=False), draw(st.booleans())
    reduction = draw(st.sampled_from(("mean", "sum", "none", "batchmean")))

    def theirs(x, t):  # PyTorch warns that its "mean" will change
        asked = "none" if reduction == "mean" else reduction
        losses = torch().nn.functional.kl_div(x, t, reduction=asked, log_target=log_target)
        return losses.mean() if reduction == "mean" else losses

    return (
        lambda x, t: F.kl_div(x, t, reduction, log_target),
        theirs,
        [rng.normal(size=dims), rng.normal(size=dims) if log_target else positive(rng, dims)],
    )


@pair
def kl_div_with_logits(draw):
    rng, dims, temperature = draw(generators), shape(draw, least=1, zero=False), draw(TEMPERATURES)
    target, reduction = rng.normal(size=dims), draw(st.sampled_from(("mean", "sum", "none")))

    def theirs(x):
        log_p = (torch().tensor(target, dtype=x.dtype) / temperature).log_softmax(-1)
        log_q = (x / temperature).log_softmax(-1)
        losses = (log_p.exp() * (log_p - log_q)).sum(-1)
        return losses if reduction == "none" else getattr(losses, reduction)()

    def ours(x):
        return F.kl_div_with_logits(x, target.astype(x.dtype), temperature, reduction)

    return ours, theirs, [rng.normal(size=dims)]


@pair
def cosine_similarity(draw):
    rng, (a, b), width = draw(generators), pair_of_shapes(draw), size(draw)
    axis, eps = draw(st.integers(-1 - min(len(a), len(b)), -1)), draw(st.sampled_from((1e-8, 1e-3)))
    # the sums give the gradients a size: those of parallel vectors alone are rounding
    return (
        lambda x, y: F.cosine_similarity(x, y, axis, eps) + F.sum(x) + F.sum(y),
        lambda x, y: (
            torch().nn.functional.cosine_similarity(x, y, dim=axis, eps=eps) + x.sum() + y.sum()
        ),
        [positive(rng, (*dims, width)) * rng.choice([-1, 1], (*dims, width)) for dims in (a, b)],
    )


@pair
def cosine_embedding_loss(draw):
    rng, count, width, margin = (
        draw(generators),
        size(draw),
        draw(st.sampled_from((2, 3, 5))),
        draw(st.floats(-0.9, 0.9)),
    )
    target, reduction = rng.choice([-1, 1], count), draw(st.sampled_from(("mean", "sum", "none")))

    def theirs(x, y):
        function = torch().nn.functional.cosine_embedding_loss
        return (
            function(x, y, torch().tensor(target), margin=margin, reduction=reduction)
            + x.sum()
            + y.sum()
        )

    return (
        lambda x, y: F.cosine_embedding_loss(x, y, target, margin, reduction) + F.sum(x) + F.sum(y),
        theirs,
        [x + np.copysign(0.5, x) for x in rng.normal(size=(2, count, width))],  # torch adds 1e-12
    )


@pair
def gather_positions(draw):
    rng, batch, length, width = draw(generators), size(draw), size(draw), size(draw)
    positions = rng.integers(0, length, (batch, size(draw)))
    return (
        lambda x: F.gather_positions(x, positions),
        lambda x: torch().gather(x, 1, torch().tensor(positions)[..., None].expand(-1, -1, width)),
        [rng.normal(size=(batch, length, width))],
    )


def _torch_log_partition(scores, transitions, starts, ends, mask):
    """The forward algorithm without scaling, text by text, by torch.logsumexp."""
    found = []
    for row, real in zip(scores, mask, strict=True):
        alpha = None
        for place in row[torch().tensor(real)]:
            before = starts if alpha is None else (alpha[:, None] + transitions).logsumexp(0)
            alpha = before + place
        found.append(0 * row.sum() if alpha is None else (alpha + ends).logsumexp(0))
    return torch().stack(found) if found else scores.sum((1, 2))


@pair
def crf_log_partition(draw):
    arrays, mask = crf_arguments(draw)
    real = np.ones(arrays[0].shape[:2], bool) if mask is None else mask
    return (
        lambda *xs: F.crf_log_partition(*xs, mask),
        lambda *xs: _torch_log_partition(*xs, real) + 0 * sum(x.sum() for x in xs),
        arrays,
    )


WITHOUT_COUNTERPART = {"dropout"}  # another generator draws the mask


def test_every_op_is_compared_or_named_as_having_no_counterpart():
    assert set(F.OPS) - set(PAIRS) == WITHOUT_COUNTERPART


@pytest.mark.parametrize("dtype", (np.float64, np.float32))
@pytest.mark.parametrize("name", sorted(PAIRS))
@settings(max_examples=60)
@given(data=st.data(), rng=generators)
def test_values_and_gradients_are_those_of_pytorch(name, dtype, data, rng):
    ours, theirs, arrays = data.draw(PAIRS[name])
    assert_agree(ours, theirs, arrays, dtype, rng)
