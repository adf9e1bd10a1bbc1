"""The ops that layers are made of: layer norm, batch norm, embedding and what reads positions by it, dropout, attention."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..tensor import Rows, gradient_like, record
from .elementary import where
from .registry import check_ids, check_rate, contiguous, op, rows_of, same_dtype, tensor
from .shape import reshape


@op
def layer_norm(x, shape, weight, bias, eps=1e-5):
    """(x − mean)/√(var + ε)·w + b over the last axis.   gradients: kernels/layer_norm.py

    x : (..., C)   shape : C or (C,)   weight, bias : (C,)   returns (..., C)
    raises ShapeError  if they do not fit
    Source: Ba et al. 2016. Differs from PyTorch: the normalised shape has one axis.
    """
    x, weight, bias = tensor(x), tensor(weight), tensor(bias)
    width = shape if isinstance(shape, int | np.integer) else shape[0]
    if x.shape[-1:] != (width,) or weight.shape != (width,) or bias.shape != (width,):
        raise ShapeError(
            f"layer_norm: input {x.shape}, weight {weight.shape} and bias {bias.shape} do not fit "
            f"shape {shape}; expected (..., {width}), ({width},) and ({width},)."
        )
    same_dtype("layer_norm", x, weight, bias)
    flat, w, b = rows_of(x.data), contiguous(weight.data), contiguous(bias.data)
    mean, rstd, out = (
        np.empty(len(flat), x.dtype),
        np.empty(len(flat), x.dtype),
        np.empty_like(flat),
    )
    kernels.layer_norm(flat, w, b, eps, mean, rstd, out)

    def vjp(dy):
        dx, dweight, dbias = np.empty_like(flat), gradient_like(weight), gradient_like(bias)
        kernels.layer_norm_backward(rows_of(dy), flat, w, mean, rstd, dx, dweight, dbias)
        return dx.reshape(x.shape), dweight, dbias

    return record("layer_norm", out.reshape(x.shape), (x, weight, bias), vjp)


@op
def batch_norm(x, running_mean, running_var, weight, bias, training, momentum=0.1, eps=1e-5):
    """x̂·w + b, x̂ = (x − mean)/√(var + ε) over the rows.   dw = Σ dy·x̂, db = Σ dy

        g = dy·w        dx = (g − mean g − x̂·mean(g·x̂))/√(var + ε), in evaluation g/√(var + ε)

    x : (N, C)   weight, bias : (C,)   returns (N, C)
    running_mean, running_var : arrays (C,). In evaluation they are the mean and variance, constants for the gradient; in
    training the batch has its own, and these move towards them by the share `momentum`, in place, the variance as of n − 1
    raises ShapeError  if they do not fit, or a batch to train on has fewer than two rows
    Source: Ioffe & Szegedy 2015; as PyTorch's on (N, C).
    """
    x, weight, bias = tensor(x), tensor(weight), tensor(bias)
    if x.ndim != 2 or any(
        a.shape != x.shape[1:] for a in (weight, bias, running_mean, running_var)
    ):
        raise ShapeError(
            f"batch_norm: input {x.shape}, weight {weight.shape}, bias {bias.shape} and running statistics "
            f"{running_mean.shape}, {running_var.shape} do not fit; expected (N, C) and four times (C,)."
        )
    rows = len(x)
    if training and rows < 2:
        raise ShapeError(
            f"batch_norm: a batch of {rows} rows has no variance to train on; expected at least two."
        )
    same_dtype("batch_norm", x, weight, bias, running_mean, running_var)
    mean, var = (
        (x.data.mean(axis=0), x.data.var(axis=0)) if training else (running_mean, running_var)
    )
    if training:
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * (rows / (rows - 1)) - running_var)
    rstd = 1 / np.sqrt(var + eps)
    normal = (x.data - mean) * rstd

    def vjp(dy):
        g, dweight = dy * weight.data, (dy * normal).sum(axis=0)
        if training:
            g = g - g.mean(axis=0) - normal * (g * normal).mean(axis=0)
        return g * rstd, dweight, dy.sum(axis=0)

    return record("batch_norm", normal * weight.data + bias.data, (x, weight, bias), vjp)


@op
def embedding(weight, ids):
    """Rows of a table: weight[ids].   dW[v] = Σ of dy where ids = v, repeats add up

    weight : (V, C)   ids : integer array of any shape   returns (*ids.shape, C)
    raises ShapeError  if an id is not in [0, V)
    """
    weight = tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight has shape {weight.shape}; expected (V, C).")
    ids = check_ids("embedding", ids, len(weight))
    out = np.empty((ids.size, weight.shape[1]), weight.dtype)
    kernels.embedding_gather(contiguous(weight.data), ids.ravel(), out)
    return record(
        "embedding",
        out.reshape(*ids.shape, weight.shape[1]),
        (weight,),
        lambda dy: (Rows(ids.ravel(), rows_of(dy)),),
    )


def gather_positions(x, positions):
    """The states at some positions of each sequence: y[b, p] = x[b, positions[b, p]], zeros where a position is negative.

    x : (B, T, C)   positions : (B, P) integers below T, negative = padding, gets no gradient; repeats add up in dx
    returns (B, P, C)
    raises ShapeError  for another shape or a position out of range
    """
    x, positions = tensor(x), np.asarray(positions)
    if x.ndim != 3 or positions.ndim != 2 or len(positions) != len(x):
        raise ShapeError(
            f"gather_positions: x {x.shape} and positions {positions.shape} do not fit; "
            "expected (B, T, C) and (B, P)."
        )
    batch, length, width = x.shape
    ids = (
        check_ids("gather_positions", np.maximum(positions, 0), length)
        + length * np.arange(batch)[:, None]
    )
    states = embedding(reshape(x, (batch * length, width)), ids)  # (B·T,C) -> (B,P,C)
    return states if (positions >= 0).all() else where(positions[..., None] >= 0, states, 0.0)


@op
def dropout(x, rate, key, shared=()):
    """x·mask/(1 − rate), the mask numbered by `key` (a uint64, see nn.Noise).   dx = dy·mask/(1 − rate)

    x : any shape, returns the same     rate : probability of zero, in [0, 1)
    shared : axes along which one mask serves all: time for variational dropout, a table's columns to drop whole words
    raises ArgumentError  if the rate is outside [0, 1)
    Source: Srivastava et al. 2014; shared over time, Gal & Ghahramani 2016.
    """
    x = tensor(x)
    if check_rate("dropout", rate) == 0:
        return x
    axes = {axis % x.ndim for axis in shared}

    def drop(array):
        out = np.empty(array.shape, array.dtype)
        kernels.dropout(contiguous(array).ravel(), np.uint64(key), rate, out.reshape(-1))
        return out

    if not axes:
        return record("dropout", drop(x.data), (x,), lambda dy: (drop(dy),))
    mask = drop(np.ones([1 if axis in axes else n for axis, n in enumerate(x.shape)], x.dtype))
    return record("dropout", x.data * mask, (x,), lambda dy: (dy * mask,))


def _attention_mask(mask, shape):
    """A boolean mask with every axis full or 1: (S,), (T, S), (B, T, S) or (B, H, T, S); None allows everything."""
    mask = np.ones((1, 1, 1, 1), bool) if mask is None else np.asarray(mask)
    if mask.dtype != bool:
        raise ShapeError(
            f"scaled_dot_product_attention: the mask has dtype {mask.dtype}; expected bool, True = may attend."
        )
    mask = mask[:, None] if mask.ndim == 3 else mask  # (B,T,S) -> (B,1,T,S)
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    if mask.ndim != 4 or any(m not in (1, n) for m, n in zip(mask.shape, shape, strict=True)):
        raise ShapeError(
            f"scaled_dot_product_attention: the mask {mask.shape} does not fit {shape}, that is (B, H, T, S); "
            "expected (S,), (T, S), (B, T, S) or (B, H, T, S), any of them 1."
        )
    return contiguous(mask)


def _attend(arrays, shape, mask, bias, options):
    """Run the kernel on arrays q, k, v as it wants them, see kernels/attention.py; returns the output and its backward.

    shape : (B, H, T, S)   bias : None or (B, H, T, S)   options : causal, rate, key
    The backward takes dout and arrays for dq, dk, dv of the layouts of q, k, v, and returns the bias' gradient or None.
    """
    q, k, v = arrays
    mask, (causal, rate, key) = _attention_mask(mask, shape), options
    bias = np.empty((0, 0, 0, 0), q.dtype) if bias is None else bias
    options = (int(causal), check_rate("attention", rate), np.uint64(key))
    lse, out = np.empty(shape[:3], q.dtype), np.empty((*q.shape[:2], 1, *q.shape[3:]), q.dtype)
    kernels.attention(q, k, v, mask, bias, *options, lse, out)

    def backward(dout, dq, dk, dv):
        dbias = bias.copy()
        kernels.attention_backward(dout, q, k, v, out, lse, mask, dbias, *options, dq, dk, dv)
        return dbias

    return out, backward


def _attention_bias(bias, shape):
    """A bias as a contiguous (B, H, T, S) array, or None."""
    if bias is None:
        return None
    try:
        return contiguous(np.broadcast_to(bias.data, shape))
    except ValueError:
        raise ShapeError(
            f"scaled_dot_product_attention: the bias {bias.shape} does not broadcast to {shape}, "
            "that is (B, H, T, S)."
        ) from None


def _head_layout(x):
    """A (B, H, T, D) array as the kernel's (G, T, 1, H', D), without a copy if it lies as (B, H, T, D) or (B, T, H, D)."""
    batch, heads, length, width = x.shape
    turned = x.transpose(0, 2, 1, 3)
    if turned.flags.c_contiguous and turned.flags.writeable:
        return turned[:, :, None]
    return contiguous(x).reshape(batch * heads, length, 1, 1, width)


def _from_head_layout(x, shape):
    """The (B, H, T, D) array that `_head_layout` laid out."""
    return x[:, :, 0].transpose(0, 2, 1, 3).reshape(shape)


@op
def scaled_dot_product_attention(q, k, v, mask=None, causal=False, dropout=0.0, key=0, bias=None):
    """softmax(q kᵀ/√D + bias) v.   gradients: kernels/attention.py; a row that may attend to nothing gives zeros

    q : (B, H, T, D)   k, v : (B, H, S, D)   returns (B, H, T, D)
    mask : bool (S,), (T, S), (B, T, S) or (B, H, T, S), any axis 1, True = may attend
    causal : query t sees keys up to t + S − T
    dropout : rate on the weights, its mask numbered by the uint64 `key`
    bias : None, or scores added before the softmax, broadcast to (B, H, T, S); it gets a gradient, a mask does not
    raises ShapeError  if shapes or dtypes do not fit, ArgumentError  for a rate outside [0, 1)
    Source: Vaswani et al. 2017. Differs from PyTorch: causal is aligned at the last query, so a key prefix works; the first
    axis of a mask of three is the batch.
    """
    q, k, v = tensor(q), tensor(k), tensor(v)
    fits = (
        q.ndim == k.ndim == 4
        and k.shape == v.shape
        and q.shape[:2] == k.shape[:2]
        and q.shape[3] == k.shape[3]
    )
    if not fits:
        raise ShapeError(
            f"scaled_dot_product_attention: q {q.shape}, k {k.shape} and v {v.shape} do not fit; "
            "expected (B, H, T, D), (B, H, S, D) and (B, H, S, D)."
        )
    bias = None if bias is None else tensor(bias)
    same_dtype("scaled_dot_product_attention", q, k, v, bias)
    shape = (*q.shape[:3], k.shape[2])
    arrays, scores = [_head_layout(x.data) for x in (q, k, v)], _attention_bias(bias, shape)
    out, backward = _attend(arrays, shape, mask, scores, (causal, dropout, key))

    def vjp(dy):
        grads = [np.empty_like(x) for x in arrays]
        dbias = backward(_head_layout(dy), *grads)
        return (
            *(_from_head_layout(g, x.shape) for g, x in zip(grads, (q, k, v), strict=True)),
            dbias,
        )[: len(inputs)]

    inputs = (q, k, v) if bias is None else (q, k, v, bias)
    return record("scaled_dot_product_attention", _from_head_layout(out, q.shape), inputs, vjp)


@op
def packed_attention(qkv, heads, mask=None, causal=False, dropout=0.0, key=0):
    """Self-attention on the packed product of one layer: the thirds of qkv are read and written where they lie.

    qkv : (B, T, 3·C), queries, keys, values, each of `heads` slices   returns (B, T, C); the rest as in
    `scaled_dot_product_attention`, to which it is equal
    raises ShapeError  if 3·heads does not divide the last axis
    """
    qkv = tensor(qkv)
    if qkv.ndim != 3 or qkv.shape[2] % (3 * heads):
        raise ShapeError(
            f"packed_attention: qkv {qkv.shape} does not split into 3 x {heads} heads; expected (B, T, 3·C)."
        )
    batch, length, triple = qkv.shape

    parts = contiguous(qkv.data).reshape(
        batch, length, 3, heads, triple // (3 * heads)
    )  # (B,T,3C) -> (B,T,3,H,D)
    out, backward = _attend(
        [parts] * 3, (batch, heads, length, length), mask, None, (causal, dropout, key)
    )

    def vjp(dy):
        dparts = np.empty_like(parts)
        backward(contiguous(dy).reshape(out.shape), dparts, dparts, dparts)
        return (dparts.reshape(qkv.shape),)

    return record("packed_attention", out.reshape(batch, length, triple // 3), (qkv,), vjp)
