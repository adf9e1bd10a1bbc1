"""One Hypothesis strategy per op: legal inputs as (function of Tensors, float64 arrays).

Sizes are distinct small primes, 1, and 0 where legal; operands broadcast, ids repeat, and values keep away from kinks, where
no derivative exists. `STRATEGIES[name]` is drawn by the tests; an op without an entry fails them.
"""

from functools import partial

import numpy as np
from hypothesis import strategies as st

import tinylm.ops as F
from tinylm import kernels

PRIMES = (1, 2, 3, 5, 7)
STRATEGIES = {}

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
keys = st.integers(0, 2**64 - 1)


def case(function):
    """Register the function, which draws one case, as the strategy of the op it is named after (minus the last _)."""
    STRATEGIES[function.__name__.rstrip("_")] = st.composite(function)()
    return function


def size(draw, zero=False):
    """One length; now and then 0 where that is legal."""
    return 0 if zero and draw(st.integers(0, 11)) == 7 else draw(st.sampled_from(PRIMES))


def shape(draw, least=0, most=3, zero=True):
    """A shape of `least` to `most` axes."""
    return tuple(size(draw, zero) for _ in range(draw(st.integers(least, most))))


def stretched(draw, full):
    """A shape that broadcasts to `full`: leading axes dropped, others 1."""
    kept = full[draw(st.integers(0, len(full))) :]
    return tuple(1 if draw(st.integers(0, 2)) == 1 else n for n in kept)


def pair_of_shapes(draw):
    """Two shapes that broadcast against each other; either may be the smaller one."""
    full = shape(draw)
    shapes = [full, stretched(draw, full)]
    return shapes if draw(st.booleans()) else shapes[::-1]


def apart(rng, shape, distance=0.1):
    """Values that are all at least `distance` apart, and from 0: no kink of max, abs or relu is near."""
    count = int(np.prod(shape))
    steps = rng.permutation(2 * count)[:count] - count + 0.5
    return (2 * distance * steps).reshape(shape)


def positive(rng, shape):
    """Values of at least 0.3."""
    return 0.3 + np.abs(rng.normal(size=shape))


def axes_of(draw, ndim, several=True):
    """None, one axis or a tuple of different axes, counted from either end."""
    if ndim == 0:
        return None
    chosen = draw(st.lists(st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True))
    chosen = tuple(a - ndim if draw(st.booleans()) else a for a in chosen)
    return draw(st.sampled_from((None, chosen, chosen[0]))) if several else chosen[0]


def bags(draw, rng, rows):
    """(ids, where each bag of them begins), empty bags among them."""
    sizes = rng.integers(0, 4, size(draw))
    return rng.integers(0, rows, int(sizes.sum())), np.cumsum(sizes) - sizes


# --- elementwise


def _elementwise(name, values, **arguments):
    def draw_case(draw):
        return partial(getattr(F, name), **arguments), [values(draw(generators), shape(draw))]

    STRATEGIES[name] = st.composite(draw_case)()


def _normal(rng, shape):
    return rng.normal(size=shape)


for _name, _values in {
    "neg": _normal,
    "square": _normal,
    "exp": _normal,
    "tanh": _normal,
    "sigmoid": _normal,
    "silu": _normal,
    "sqrt": positive,
    "log": positive,
    "abs": apart,
    "relu": apart,
}.items():
    _elementwise(_name, _values)


def _binary(name, second):
    def draw_case(draw):
        rng, (a, b) = draw(generators), pair_of_shapes(draw)
        return getattr(F, name), [rng.normal(size=a), second(rng, b)]

    STRATEGIES[name] = st.composite(draw_case)()


for _name in ("add", "sub", "mul"):
    _binary(_name, _normal)
_binary("div", lambda rng, shape: positive(rng, shape) * rng.choice([-1, 1], shape))


def _extreme_of_two(name):
    def draw_case(draw):
        rng, (a, b) = (
            draw(generators),
            pair_of_shapes(draw),
        )  # even against odd multiples: never equal
        return getattr(F, name), [0.4 * rng.integers(-5, 5, a), 0.4 * rng.integers(-5, 5, b) + 0.2]

    STRATEGIES[name] = st.composite(draw_case)()


_extreme_of_two("maximum")
_extreme_of_two("minimum")


@case
def power(draw):
    exponent, rng, dims = (
        draw(st.sampled_from((-1.5, -1, 0, 0.5, 1, 2, 3))),
        draw(generators),
        shape(draw),
    )
    signs = rng.choice([-1, 1], dims) if exponent == int(exponent) else 1
    return lambda x: F.power(x, exponent), [positive(rng, dims) * signs]


@case
def gelu(draw):
    kind = draw(st.sampled_from(("none", "tanh")))
    return lambda x: F.gelu(x, approximate=kind), [2 * draw(generators).normal(size=shape(draw))]


@case
def clip(draw):
    low, high = draw(st.sampled_from(((-1.0, 1.0), (0.0, 2.0), (-3.0, -1.0), (-np.inf, 1.0))))
    rng, dims = draw(generators), shape(draw)
    return lambda x: F.clip(x, low, high), [
        rng.integers(-4, 4, dims) + 0.5 + rng.uniform(-0.3, 0.3, dims)
    ]


@case
def where(draw):
    rng, (a, b) = draw(generators), pair_of_shapes(draw)
    condition = rng.random(stretched(draw, np.broadcast_shapes(a, b))) < 0.5
    return lambda x, y: F.where(condition, x, y), [rng.normal(size=a), rng.normal(size=b)]


# --- reductions and softmax


def _reduction(name, values, empty):
    def draw_case(draw):
        dims = shape(draw, zero=empty)
        axis, keepdims = axes_of(draw, len(dims)), draw(st.booleans())
        return lambda x: getattr(F, name)(x, axis=axis, keepdims=keepdims), [
            values(draw(generators), dims)
        ]

    STRATEGIES[name] = st.composite(draw_case)()


_reduction("sum", _normal, empty=True)
for _name in ("mean", "var", "logsumexp"):
    _reduction(_name, _normal, empty=False)
_reduction("max", apart, empty=False)
_reduction("min", apart, empty=False)


def _softmax(name):
    def draw_case(draw):
        dims = shape(draw, least=1)
        axis = axes_of(draw, len(dims), several=False)
        return lambda x: getattr(F, name)(x, axis=axis), [2 * draw(generators).normal(size=dims)]

    STRATEGIES[name] = st.composite(draw_case)()


_softmax("softmax")
_softmax("log_softmax")


# --- shapes


@case
def reshape(draw):
    a, b, c = size(draw, zero=True), size(draw), size(draw)
    new = draw(st.sampled_from(((c, a * b), (a * b * c,), (b, 1, a, c))))
    if a and draw(st.booleans()):
        new = (-1, *new[1:])
    separate = draw(st.booleans())
    return (lambda x: F.reshape(x, *new)) if separate else (lambda x: F.reshape(x, new)), [
        draw(generators).normal(size=(a, b, c))
    ]


@case
def transpose(draw):
    dims = shape(draw)
    axes = draw(st.one_of(st.none(), st.permutations(range(len(dims)))))
    if axes is not None:
        axes = [a - len(dims) if draw(st.booleans()) else a for a in axes]
    return lambda x: F.transpose(x, axes), [draw(generators).normal(size=dims)]


@case
def swapaxes(draw):
    dims = shape(draw, least=1)
    a, b = (draw(st.integers(-len(dims), len(dims) - 1)) for _ in range(2))
    return lambda x: F.swapaxes(x, a, b), [draw(generators).normal(size=dims)]


@case
def broadcast_to(draw):
    full = shape(draw)
    return lambda x: F.broadcast_to(x, full), [draw(generators).normal(size=stretched(draw, full))]


@case
def concatenate(draw):
    dims, rng = shape(draw, least=1), draw(generators)
    axis = draw(st.integers(-len(dims), len(dims) - 1))
    lengths = [size(draw, zero=True) for _ in range(draw(st.integers(1, 3)))]
    arrays = [
        rng.normal(size=tuple(n if i == axis % len(dims) else m for i, m in enumerate(dims)))
        for n in lengths
    ]
    return lambda *xs: F.concatenate(xs, axis), arrays


@case
def stack(draw):
    dims, rng = shape(draw), draw(generators)
    axis = draw(st.integers(-len(dims) - 1, len(dims)))
    return lambda *xs: F.stack(xs, axis), [
        rng.normal(size=dims) for _ in range(draw(st.integers(1, 3)))
    ]


@case
def getitem(draw):
    rng, dims = draw(generators), shape(draw, least=2, zero=False)
    ids = rng.integers(-dims[0], dims[0], shape(draw, most=2))  # repeats, negatives, none at all
    columns = rng.integers(0, dims[1], ids.shape)
    mask = rng.random(dims) < 0.5
    index = draw(
        st.sampled_from(
            (
                int(dims[0] - 1),
                -1,
                slice(None, None, 2),
                slice(None, None, -1),
                slice(1, 1),
                (Ellipsis, 0),
                (slice(None), None, 0),
                ids,
                (ids, columns),
                (slice(None), columns),
                (ids, slice(0, 1)),
                mask,
                mask[:, 0] if mask.ndim == 2 else mask[:, 0, 0],
                ids.tolist() if ids.ndim == 1 and ids.size else ids,
            )
        )
    )
    return lambda x: F.getitem(x, index), [rng.normal(size=dims)]


@case
def relative_shift(draw):
    length, source, more = size(draw), size(draw), draw(st.integers(0, 2))
    rng = draw(generators)
    if draw(st.booleans()):  # some of the queries only
        batch, heads, some = size(draw), size(draw), size(draw)
        places = rng.integers(length, size=(batch, some))
        x = rng.normal(size=(batch, heads, some, length + source))
        return lambda x: F.relative_shift(x, source, places), [x]
    dims = (*shape(draw, most=2), length, length + source + more)
    return lambda x: F.relative_shift(x, source), [rng.normal(size=dims)]


# --- products


@case
def matmul(draw):
    n, k, m = (size(draw, zero=True) for _ in range(3))
    rng, kind = (
        draw(generators),
        draw(st.sampled_from(("matrices", "vector left", "vector right", "vectors"))),
    )
    outer = shape(draw, most=2, zero=False)
    left, right = draw(st.permutations((outer, stretched(draw, outer))))
    a = (k,) if kind in ("vector left", "vectors") else (*left, n, k)
    b = (k,) if kind in ("vector right", "vectors") else (*right, k, m)
    return F.matmul, [rng.normal(size=a), rng.normal(size=b)]


def linear_arguments(draw):
    """(keyword arguments, arrays x, weight[, bias][, residual], names of the optional two); relu's kink is kept away."""
    outer, width, rows, rng = (
        shape(draw, most=2),
        size(draw, zero=True),
        size(draw, zero=True),
        draw(generators),
    )
    names = [name for name in ("bias", "residual") if draw(st.booleans())]
    options = {"activation": draw(st.sampled_from((*kernels.ACTIVATIONS,)))}
    optional = {"bias": (rows,), "residual": (*outer, rows)}
    while True:
        x, weight = rng.normal(size=(*outer, width)), rng.normal(size=(rows, width))
        others = [rng.normal(size=optional[name]) for name in names]
        pre = x @ weight.T + (others[0] if "bias" in names else 0)
        if not width:  # relu would stand at its kink
            options["activation"] = (
                options["activation"] if options["activation"] != "relu" else None
            )
        if options["activation"] != "relu" or np.abs(pre).min(initial=1) > 0.01:
            return options, [x, weight, *others], names


@case
def linear(draw):
    options, arrays, names = linear_arguments(draw)
    options |= {"dropout": draw(st.sampled_from((0.0, 0.0, 0.3))), "key": draw(keys)}
    return lambda x, w, *others: F.linear(
        x, w, **dict(zip(names, others, strict=True)), **options
    ), arrays


# --- layers


@case
def layer_norm(draw):
    rng, width = draw(generators), size(draw)
    eps = draw(st.sampled_from((1e-5, 1e-2)))
    given = draw(st.sampled_from((width, (width,))))
    x, (weight, bias) = apart(rng, (*shape(draw, most=2), width)), rng.normal(size=(2, width))
    return lambda x, w, b: F.layer_norm(x, given, w, b, eps), [x, weight, bias]


@case
def embedding(draw):
    rng, rows = draw(generators), size(draw)
    ids = rng.integers(0, rows, shape(draw, most=2))
    return lambda weight: F.embedding(ids, weight), [rng.normal(size=(rows, size(draw)))]


@case
def embedding_bag(draw):
    rng, rows = draw(generators), size(draw)
    ids, first = bags(draw, rng, rows)
    weight = rng.normal(size=(rows, size(draw)))
    return lambda weight: F.embedding_bag(ids, first, weight), [weight]


@case
def dropout(draw):
    rate, key, dims = draw(st.sampled_from((0.0, 0.1, 0.5, 0.9))), draw(keys), shape(draw)
    shared = draw(st.lists(st.integers(-len(dims), len(dims) - 1), max_size=2)) if dims else ()
    return lambda x: F.dropout(x, rate, key, shared), [draw(generators).normal(size=dims)]


def lstm_arguments(draw, widths=lambda hidden: (None, 1, 2, 3)):
    """(options, names, arrays): x (T, B, C), W_ih, W_hh and, as named, bias, projection, and the state h_0, c_0.

    widths : the widths of a projection that are drawn for so many hidden units, None for none
    """
    rng, dims = draw(generators), [size(draw) for _ in range(4)]
    length, batch, inputs, hidden = dims
    width = draw(st.sampled_from(widths(hidden)))
    shapes = {
        "x": (length, batch, inputs),
        "weight_ih": (4 * hidden, inputs),
        "weight_hh": (4 * hidden, width or hidden),
    }
    if draw(st.booleans()):
        shapes["bias"] = (4 * hidden,)
    if width:
        shapes["projection"] = (width, hidden)
    if draw(st.booleans()):
        shapes |= {"h": (batch, width or hidden), "c": (batch, hidden)}
    mask = rng.random((length, batch)) < 0.7 if draw(st.booleans()) else None
    arrays = [
        rng.normal(size=shape) / (shape[-1] ** 0.5 if "weight" in name else 1)
        for name, shape in shapes.items()
    ]
    return {"mask": mask, "reverse": draw(st.booleans())}, list(shapes), arrays


def run_lstm(named, options):
    """ops.lstm on tensors by name: one row of all outputs, so that a cotangent weighs each of them."""
    weights = [named.get(name) for name in ("weight_ih", "weight_hh", "bias", "projection")]
    state = (named["h"], named["c"]) if "h" in named else None
    out, (h, c) = F.lstm(named["x"], state, weights, **options)
    return F.concatenate([F.reshape(part, -1) for part in (out, h, c)])


@case
def lstm(draw):
    options, names, arrays = lstm_arguments(draw)
    return lambda *xs: run_lstm(dict(zip(names, xs, strict=True)), options), arrays


def conv1d_arguments(draw, rng, dilation=1, padding=0):
    """Arrays x (B, T, C), weight (O, C, K) and perhaps bias (O,), of which x is long enough once it is padded."""
    batch, width, filters, span = (
        size(draw, zero=True),
        size(draw),
        size(draw),
        draw(st.sampled_from((1, 2, 3))),
    )
    least = max(1, dilation * (span - 1) + 1 - 2 * padding)
    arrays = [
        rng.normal(size=(batch, least + draw(st.integers(0, 5)), width)),
        rng.normal(size=(filters, width, span)),
    ]
    return [*arrays, rng.normal(size=filters)] if draw(st.booleans()) else arrays


def conv1d_options(draw):
    """stride, padding and dilation."""
    return {
        name: draw(st.sampled_from(values))
        for name, values in (
            ("stride", (1, 1, 2, 3)),
            ("padding", (0, 0, 1, 2)),
            ("dilation", (1, 1, 2)),
        )
    }


@case
def conv1d(draw):
    options, rng = conv1d_options(draw), draw(generators)
    arrays = conv1d_arguments(draw, rng, options["dilation"], options["padding"])
    return lambda x, w, *bias: F.conv1d(x, w, *bias, **options), arrays


def max_arguments(draw):
    """x (B, T, C) and a mask of its positions or None; rows may have none that counts."""
    rng, dims = draw(generators), (size(draw, zero=True), size(draw), size(draw))
    mask = rng.random(dims[:2]) < 0.6 if draw(st.booleans()) else None
    return apart(rng, dims), mask


@case
def max_over_time(draw):
    x, mask = max_arguments(draw)
    return lambda x: F.max_over_time(x, mask), [x]


@case
def conv1d_max(draw):
    while True:
        arrays = conv1d_arguments(draw, draw(generators))
        z = np.sort(F.conv1d(*arrays).data, axis=1)
        if np.diff(z[:, -2:], axis=1).min(initial=1) > 0.01:  # no other window close to the best
            return F.conv1d_max, arrays


def batch_norm_arguments(draw):
    """x (N, C), running mean and variance, weight, bias, and training; the running arrays change, so each call copies."""
    rng, width, training = draw(generators), size(draw), draw(st.booleans())
    x = apart(rng, (draw(st.sampled_from((2, 3, 5, 7) if training else PRIMES)), width), 0.3)
    return x, (rng.normal(size=width), positive(rng, width)), rng.normal(size=(2, width)), training


@case
def batch_norm(draw):
    x, running, (weight, bias), training = batch_norm_arguments(draw)

    def normalise(x, w, b):
        return F.batch_norm(x, *(r.astype(x.dtype) for r in running), w, b, training)

    return normalise, [x, weight, bias]


def attention_options(draw, rng, full):
    """mask, is_causal, dropout and key for scores of shape `full` (B, H, T, S)."""
    dims = stretched(draw, full)
    if len(dims) == 3:  # then the first axis is the batch
        dims = (draw(st.sampled_from((1, full[0]))), *dims[1:])
    mask = rng.random(dims) < 0.6 if draw(st.booleans()) else None
    rate = draw(st.sampled_from((0.0, 0.0, 0.3)))
    return {"mask": mask, "is_causal": draw(st.booleans()), "dropout": rate, "key": draw(keys)}


@case
def scaled_dot_product_attention(draw):
    rng, batch, heads, width = (
        draw(generators),
        size(draw, zero=True),
        draw(st.sampled_from((1, 2, 3))),
        size(draw),
    )
    length, source = size(draw, zero=True), size(draw)
    options = attention_options(draw, rng, (batch, heads, length, source))
    arrays = [rng.normal(size=(batch, heads, n, width)) for n in (length, source, source)]
    if draw(st.booleans()):
        arrays.append(rng.normal(size=stretched(draw, (batch, heads, length, source))))
    if draw(st.booleans()):  # as they lie after a projection: (B, T, H, D) in memory
        arrays[:3] = [np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2) for a in arrays[:3]]

    def attend(q, k, v, bias=None):
        return F.scaled_dot_product_attention(q, k, v, bias=bias, **options)

    return attend, arrays


@case
def packed_attention(draw):
    rng, batch, heads, width = (
        draw(generators),
        size(draw, zero=True),
        draw(st.sampled_from((1, 2, 3))),
        size(draw),
    )
    length = size(draw)
    options = attention_options(draw, rng, (batch, heads, length, length))
    return lambda x: F.packed_attention(x, heads, **options), [
        rng.normal(size=(batch, length, 3 * heads * width))
    ]


def relative_arguments(draw):
    """begins, options and arrays q, k, v, r, u, w[, z, g] of relative attention, without dropout."""
    rng, batch, heads, width = (
        draw(generators),
        size(draw),
        draw(st.sampled_from((1, 2, 3))),
        size(draw),
    )
    length, source, more = size(draw, zero=True), size(draw), draw(st.integers(0, 3))
    directions = draw(st.sampled_from([n for n in (1, 2, 3, 5, 7) if batch % n == 0]))
    begins = rng.integers(0, more + 1, (batch, length))
    mask = attention_options(draw, rng, (batch, heads, length, source))["mask"]
    segments = draw(st.booleans())
    other = rng.random((batch, length, source)) < 0.5 if segments else None
    arrays = [rng.normal(size=(batch, heads, n, width)) for n in (length, source, source)]
    arrays.append(rng.normal(size=(directions, heads, source + more, width)))
    arrays += [rng.normal(size=(heads, width)) for _ in range(4 if segments else 2)]
    return begins, {"mask": mask, "other": other}, arrays


@case
def relative_attention(draw):
    begins, options, arrays = relative_arguments(draw)
    options |= {"dropout": draw(st.sampled_from((0.0, 0.0, 0.3))), "key": draw(keys)}
    if draw(st.booleans()):  # as they lie after a projection: (B, T, H, D) in memory
        arrays[:4] = [np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2) for a in arrays[:4]]

    def attend(q, k, v, r, *biases):
        return F.relative_attention(q, k, v, r, begins, *biases, **options)

    return attend, arrays


# --- losses


def target_ids(draw, rng, dims, vocabulary):
    """Targets of shape `dims`, some of them ignored, and the number that says so."""
    ignored = draw(st.sampled_from((-100, -1, 0)))
    return np.where(rng.random(dims) < 0.3, ignored, rng.integers(0, vocabulary, dims)), ignored


@case
def nll_loss(draw):
    rng, dims, vocabulary = draw(generators), shape(draw, most=2), size(draw)
    targets, ignored = target_ids(draw, rng, dims, vocabulary)
    return lambda x: F.nll_loss(x, targets, ignore_index=ignored), [
        rng.normal(size=(*dims, vocabulary))
    ]


@case
def cross_entropy(draw):
    rng, dims, vocabulary = draw(generators), shape(draw, most=2), size(draw)
    options = {
        "reduction": draw(st.sampled_from(("mean", "sum", "none"))),
        "weight": draw(st.sampled_from((None, positive(rng, vocabulary)))),
        "label_smoothing": draw(st.sampled_from((0.0, 0.1, 1.0))),
    }
    logits = rng.normal(size=(*dims, vocabulary))
    if draw(st.booleans()):
        return lambda x, t: F.cross_entropy(x, t, **options), [
            logits,
            rng.random((*dims, vocabulary)),
        ]
    targets, ignored = target_ids(draw, rng, dims, vocabulary)
    return lambda x: F.cross_entropy(x, targets, ignore_index=ignored, **options), [logits]


@case
def linear_cross_entropy(draw):
    rng, dims, vocabulary, width = draw(generators), shape(draw, most=2), size(draw), size(draw)
    targets, ignored = target_ids(draw, rng, dims, vocabulary)
    bias = [rng.normal(size=vocabulary)] if draw(st.booleans()) else []
    return lambda h, w, *b: F.linear_cross_entropy(h, w, targets, ignored, *b), [
        rng.normal(size=(*dims, width)),
        rng.normal(size=(vocabulary, width)),
        *bias,
    ]


@case
def mse_loss(draw):
    rng, full = draw(generators), shape(draw, zero=False)
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    return lambda x, y: F.mse_loss(x, y, reduction), [
        rng.normal(size=full),
        rng.normal(size=stretched(draw, full)),
    ]


@case
def binary_cross_entropy_with_logits(draw):
    rng, dims = draw(generators), shape(draw)
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    targets = rng.random(stretched(draw, dims))
    return lambda x: F.binary_cross_entropy_with_logits(x, targets, reduction), [
        3 * rng.normal(size=dims)
    ]


# --- losses that look at a few words, distances

REDUCTIONS = st.sampled_from(("mean", "sum", "none"))
TEMPERATURES = st.sampled_from((1.0, 2.0, 0.7))


def sampled_arguments(draw):
    """(targets, sampled as ops.sampled_softmax_loss takes it, arrays h, weight and, or not, bias); some ids are negative."""
    rng, dims, vocabulary, width, count = (
        draw(generators),
        shape(draw, most=2),
        size(draw),
        size(draw),
        size(draw),
    )
    ids = rng.integers(0, vocabulary, (count,) if draw(st.booleans()) else (*dims, count))
    targets = rng.integers(0, vocabulary, dims)
    if draw(st.booleans()):
        ids, targets = (
            np.where(rng.random(np.shape(each)) < 0.3, -1, each) for each in (ids, targets)
        )
    sampled = (
        (ids, rng.normal(size=dims), rng.normal(size=ids.shape)) if draw(st.booleans()) else (ids,)
    )
    arrays = [rng.normal(size=(*dims, width)), rng.normal(size=(vocabulary, width))]
    return targets, sampled, arrays + ([rng.normal(size=vocabulary)] if draw(st.booleans()) else [])


def _sampled(name):
    def draw_case(draw):
        (targets, sampled, arrays), reduction = sampled_arguments(draw), draw(REDUCTIONS)
        return lambda h, w, b=None: getattr(F, name)(h, w, b, targets, sampled, reduction), arrays

    STRATEGIES[name] = st.composite(draw_case)()


_sampled("sampled_softmax_loss")
_sampled("nce_loss")


@case
def negative_sampling_loss(draw):
    (targets, sampled, arrays), reduction = sampled_arguments(draw), draw(REDUCTIONS)
    return lambda h, w: F.negative_sampling_loss(h, w, targets, sampled[0], reduction), arrays[:2]


@case
def hierarchical_softmax_loss(draw):
    rng, dims, nodes, width, reduction = (
        draw(generators),
        shape(draw, most=2),
        size(draw),
        size(draw),
        draw(REDUCTIONS),
    )
    paths = rng.integers(-1, nodes, (*dims, size(draw, zero=True)))
    return lambda h, w: F.hierarchical_softmax_loss(h, w, paths, paths % 2, reduction), [
        rng.normal(size=(*dims, width)),
        rng.normal(size=(nodes, width)),
    ]


@case
def kl_div(draw):
    rng, dims, log_target = draw(generators), shape(draw, least=1), draw(st.booleans())
    reduction = draw(st.sampled_from(("mean", "sum", "none", "batchmean")))
    target = rng.normal(size=dims) if log_target else positive(rng, dims)
    return lambda x, t: F.kl_div(x, t, reduction, log_target), [rng.normal(size=dims), target]


@case
def kl_div_with_logits(draw):
    rng, dims, temperature = draw(generators), shape(draw, least=1, zero=False), draw(TEMPERATURES)
    target, reduction = rng.normal(size=dims), draw(REDUCTIONS)

    def apart(x):
        return F.kl_div_with_logits(x, target.astype(x.dtype), temperature, reduction)

    return apart, [rng.normal(size=dims)]


@case
def cosine_similarity(draw):
    rng, (a, b), width = draw(generators), pair_of_shapes(draw), size(draw)
    axis = draw(st.integers(-1 - min(len(a), len(b)), -1))
    return lambda x, y: F.cosine_similarity(x, y, axis), [
        rng.normal(size=(*a, width)) + 0.5,
        rng.normal(size=(*b, width)),
    ]


@case
def cosine_embedding_loss(draw):
    rng, dims, width, reduction = (
        draw(generators),
        shape(draw, most=2),
        size(draw),
        draw(REDUCTIONS),
    )
    target, margin = rng.choice([-1, 1], dims), draw(st.sampled_from((0.0, -0.5, 0.3)))
    while True:  # no cosine near the margin
        a, b = rng.normal(size=(2, *dims, width))
        if np.abs(F.cosine_similarity(a, b).data - margin).min(initial=1) > 0.01:
            return lambda x, y: F.cosine_embedding_loss(x, y, target, margin, reduction), [a, b]


@case
def gather_positions(draw):
    rng, batch, length, width = draw(generators), size(draw, zero=True), size(draw), size(draw)
    positions = rng.integers(-draw(st.integers(0, 1)), length, (batch, size(draw, zero=True)))
    return lambda x: F.gather_positions(x, positions), [rng.normal(size=(batch, length, width))]


def crf_arguments(draw):
    """scores (B, T, K), transitions, starts and ends, and a mask with gaps anywhere, or None."""
    rng, batch, length, width = draw(generators), size(draw, True), size(draw, True), size(draw)
    mask = rng.random((batch, length)) < 0.7 if draw(st.booleans()) else None
    shapes = ((batch, length, width), (width, width), (width,), (width,))
    return [2 * rng.normal(size=shape) for shape in shapes], mask


@case
def crf_log_partition(draw):
    arrays, mask = crf_arguments(draw)
    return lambda *xs: F.crf_log_partition(*xs, mask), arrays
