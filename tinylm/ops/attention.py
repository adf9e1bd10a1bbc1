"""Attention: softmax(q kᵀ/√D) v, for separate q, k, v, for a packed product, and by distance.

The ops call the kernels of kernels/attention.py and relative.py, which never hold all (T, S)
weights at once. These take arrays (G, T, M, H', D): G groups of H' heads that lie beside each
other, in M parts. Packed q, k and v are M = 3 parts of one array, so they need no copy.
"""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor, record

from .registry import Operand, check_rate, contiguous, op, optional, same_dtype, tensor


def _boolean_mask(name, mask, shape):
    """The mask with four axes, each full or 1; None allows everything.

    mask : (S,), (T, S), (B, T, S) or (B, H, T, S)   shape : (B, H, T, S)
    """
    if mask is None:
        return np.ones((1, 1, 1, 1), bool)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ShapeError(
            f"{name}: the mask has dtype {mask.dtype}; expected bool, True = may attend."
        )
    if mask.ndim == 3:
        mask = mask[:, None]  # (B,T,S) -> (B,1,T,S)
    missing = (1,) * (4 - mask.ndim)
    mask = mask.reshape(missing + mask.shape)
    fits = mask.ndim == 4
    for given, full in zip(mask.shape, shape, strict=False):
        fits = fits and given in (1, full)
    if not fits:
        raise ShapeError(
            f"{name}: the mask {mask.shape} does not fit {shape}, "
            "that is (B, H, T, S); "
            "expected (S,), (T, S), (B, T, S) or (B, H, T, S), any of them 1."
        )
    return contiguous(mask)


def _full_bias(bias, shape, dtype):
    """The bias as a contiguous array (B, H, T, S); an empty one for None."""
    if bias is None:
        return np.empty((0, 0, 0, 0), dtype)
    try:
        full = np.broadcast_to(bias.data, shape)
    except ValueError:
        raise ShapeError(
            f"scaled_dot_product_attention: the bias {bias.shape} does not broadcast to {shape}, "
            "that is (B, H, T, S)."
        ) from None
    return contiguous(full)


def _to_kernel(x):
    """The kernel's view (G, T, 1, H', D) of an array (B, H, T, D), whose layout may be any.

    in memory (B, T, H, D): G = B,   H' = H     a packed product
    in memory (T, B, H, D): G = 1,   H' = B·H   an nn.Cache
    in memory (B, H, T, D): G = B·H, H' = 1
    None of these is copied.
    """
    batch, heads, length, width = x.shape
    turned = x.transpose(0, 2, 1, 3)
    if turned.flags.c_contiguous and turned.flags.writeable:
        return turned[:, :, None]
    by_time = x.transpose(2, 0, 1, 3)
    if by_time.flags.c_contiguous and by_time.flags.writeable:
        return by_time.reshape(1, length, 1, batch * heads, width)
    x = contiguous(x)
    return x.reshape(batch * heads, length, 1, 1, width)


def _from_kernel(x, shape):
    """The inverse of `_to_kernel`: an array of `shape` (B, H, T, D)."""
    heads = x[:, :, 0].transpose(0, 2, 1, 3)
    return heads.reshape(shape)


def _check_heads(name, q, k, v):
    """raises ShapeError  unless q is (B, H, T, D), k and v are (B, H, S, D)"""
    fits = q.ndim == k.ndim == 4 and k.shape == v.shape
    if not fits or q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ShapeError(
            f"{name}: q {q.shape}, k {k.shape} and v {v.shape} do not fit; "
            "expected (B, H, T, D), (B, H, S, D) and (B, H, S, D)."
        )


@op
def scaled_dot_product_attention(
    q: Operand,
    k: Operand,
    v: Operand,
    mask: ArrayLike | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    key: int = 0,
    bias: Operand | None = None,
) -> Tensor:
    """softmax(q kᵀ/√D + bias) v; a row that may attend to nothing is 0.
    gradients: kernels/attention.py

    q : (B, H, T, D)   k, v : (B, H, S, D)   returns (B, H, T, D)
    mask : bool (S,), (T, S), (B, T, S) or (B, H, T, S), any axis 1, True = may attend
    dropout : rate on the weights; the uint64 `key` draws its mask
    is_causal : query t sees keys up to t + S − T
    bias : None, or scores added before the softmax, broadcast to (B, H, T, S); it gets a gradient
    raises ShapeError  if shapes or dtypes do not fit, ArgumentError  for a rate outside [0, 1)
    Source: Vaswani et al. 2017. Differs from PyTorch: its attn_mask is `mask` if boolean, `bias` if
    not, and the first axis of a mask of three is the batch; its dropout_p is `dropout`, as in
    `linear`; is_causal aligns the last query with the last key, so that a key prefix works.

    >>> equal, values = np.zeros((1, 1, 2, 1)), np.array([[[[2.0], [4.0]]]])
    >>> scaled_dot_product_attention(equal, equal, values, is_causal=True).numpy().ravel()
    array([2., 3.])
    """
    q = tensor(q)
    k = tensor(k)
    v = tensor(v)
    bias = optional(bias)
    name = "scaled_dot_product_attention"
    _check_heads(name, q, k, v)
    same_dtype(name, q, k, v, bias)
    batch, heads, length, _ = q.shape
    shape = (batch, heads, length, k.shape[2])  # (B,H,T,S)
    mask = _boolean_mask(name, mask, shape)
    scores = _full_bias(bias, shape, q.dtype)
    rate = check_rate("attention", dropout)
    causal = int(is_causal)
    key = np.uint64(key)
    queries = _to_kernel(q.data)
    keys = _to_kernel(k.data)
    values = _to_kernel(v.data)
    lse = np.empty((batch, heads, length), q.dtype)
    out = np.empty(queries.shape, q.dtype)
    kernels.attention(queries, keys, values, mask, scores, causal, rate, key, lse, out)

    def vjp(dy):
        dout = _to_kernel(dy)
        dq = np.empty_like(queries)
        dk = np.empty_like(keys)
        dv = np.empty_like(values)
        dscores = scores.copy()  # the kernel reads the bias and writes its gradient over it
        kernels.attention_backward(
            dout, queries, keys, values, out, lse, mask, dscores, causal, rate, key, dq, dk, dv
        )
        dq = _from_kernel(dq, q.shape)
        dk = _from_kernel(dk, k.shape)
        dv = _from_kernel(dv, v.shape)
        return (dq, dk, dv) if bias is None else (dq, dk, dv, dscores)

    inputs = (q, k, v) if bias is None else (q, k, v, bias)
    y = _from_kernel(out, q.shape)
    return record(name, y, inputs, vjp)


@op
def packed_attention(
    qkv: Operand,
    heads: int,
    mask: ArrayLike | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    key: int = 0,
) -> Tensor:
    """Self-attention whose q, k and v lie side by side, read and written without a copy.

    qkv : (B, T, 3·C), queries, keys, values, each of `heads` slices   returns (B, T, C)
    The other arguments, and the result, are those of `scaled_dot_product_attention`.
    raises ShapeError  if 3·heads does not divide the last axis

    >>> packed_attention(np.zeros((2, 5, 3 * 6)), heads=3).shape
    (2, 5, 6)
    """
    qkv = tensor(qkv)
    if qkv.ndim != 3 or heads < 1 or qkv.shape[2] % (3 * heads):
        raise ShapeError(
            f"packed_attention: qkv {qkv.shape} does not split into 3 x {heads} heads; "
            "expected (B, T, 3·C)."
        )
    batch, length, triple = qkv.shape
    width = triple // (3 * heads)
    mask = _boolean_mask("packed_attention", mask, (batch, heads, length, length))
    bias = _full_bias(None, None, qkv.dtype)
    rate = check_rate("attention", dropout)
    causal = int(is_causal)
    key = np.uint64(key)
    parts = contiguous(qkv.data).reshape(batch, length, 3, heads, width)  # (B,T,3C) -> (B,T,3,H,D)
    lse = np.empty((batch, heads, length), qkv.dtype)
    out = np.empty((batch, length, 1, heads, width), qkv.dtype)
    kernels.attention(parts, parts, parts, mask, bias, causal, rate, key, lse, out)

    def vjp(dy):
        dout = contiguous(dy).reshape(out.shape)
        grad = np.empty_like(parts)  # holds dq, dk and dv
        dbias = bias.copy()
        kernels.attention_backward(
            dout, parts, parts, parts, out, lse, mask, dbias, causal, rate, key, grad, grad, grad
        )
        return (grad.reshape(qkv.shape),)

    y = out.reshape(batch, length, triple // 3)  # (B,T,1,H,D) -> (B,T,C)
    return record("packed_attention", y, (qkv,), vjp)


def _check_distances(r, begins, shape, source):
    """raises ShapeError  unless each of G directions serves B/G texts and r has every key's row"""
    batch, heads, length, width = shape
    fits = r.ndim == 4 and (r.shape[1], r.shape[3]) == (heads, width)
    fits = fits and len(r) > 0 and batch % len(r) == 0 and begins.shape == (batch, length)
    if not fits:
        raise ShapeError(
            f"relative_attention: r {r.shape} and begins {begins.shape} do not fit q {shape}; "
            f"expected (G, {heads}, R, {width}) with G dividing {batch}, and {(batch, length)}."
        )
    if begins.size and (begins.min() < 0 or begins.max() + source > r.shape[2]):
        raise ShapeError(
            f"relative_attention: begins from {begins.min()} to {begins.max()} and {source} keys "
            f"reach beyond the {r.shape[2]} rows of r."
        )


def _vectors(shape, content_bias, place_bias, segment_bias, step):
    """u, w, z and g as one array (4, H, D) for the kernel, and those that were given as Tensors.

    shape : (H, D)
    """
    given = [content_bias, place_bias]
    if (segment_bias is None) != (step is None):
        raise ShapeError("relative_attention: give segment_bias and step, or neither of the two.")
    if step is not None:
        given += [segment_bias, step]
    tensors = tuple(tensor(x) for x in given)
    vectors = np.zeros((4, *shape), tensors[0].dtype)
    for i, x in enumerate(tensors):
        if x.shape != shape:
            raise ShapeError(
                f"relative_attention: a bias of shape {x.shape}; expected (H, D) = {shape}."
            )
        vectors[i] = x.data
    return vectors, tensors


@op
def relative_attention(
    q: Operand,
    k: Operand,
    v: Operand,
    r: Operand,
    begins: ArrayLike,
    content_bias: Operand,
    place_bias: Operand,
    segment_bias: Operand | None = None,
    step: Operand | None = None,
    other: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    dropout: float = 0.0,
    key: int = 0,
) -> Tensor:
    """softmax(([q + u]·k_s + [q + w]·r_{begin + s} + o_s [q + z]·g)/√D) v, by content and distance.
    gradients: kernels/relative.py

    q : (B, H, T, D)   k, v : (B, H, S, D)   returns (B, H, T, D)
    r : (G, H, R, D), a row for each distance; each of G directions serves B/G texts, in order
    begins : (B, T) integers, the row of r of each query's first key; that of key s is s rows behind
    content_bias, place_bias, segment_bias, step : (H, D), u, w, z, g; the last two None without
        `other`
    other : (B, T, S) bool, True = query and key are of different segments; None = of the same
    mask, dropout, key : as in `scaled_dot_product_attention`
    raises ShapeError  if shapes or dtypes do not fit, ArgumentError  for a rate outside [0, 1)
    Source: Dai et al. 2019, section 3.3; Yang et al. 2019, sections 2.3 to 2.5.

    >>> nothing, values = np.zeros((1, 1, 2, 1)), np.array([[[[2.0], [4.0]]]])
    >>> r = np.array([[[[0.0], [9.0], [0.0]]]])  # distances 1, 0 and -1: each looks at itself
    >>> bias, one = np.zeros((1, 1)), np.ones((1, 1))
    >>> relative_attention(nothing, nothing, values, r, [[1, 0]], bias, one).numpy().ravel()
    array([2.0002..., 3.9997...])
    """
    q = tensor(q)
    k = tensor(k)
    v = tensor(v)
    r = tensor(r)
    name = "relative_attention"
    _check_heads(name, q, k, v)
    batch, heads, length, width = q.shape
    source = k.shape[2]
    begins = contiguous(np.asarray(begins, np.int64))
    _check_distances(r, begins, q.shape, source)
    other = np.empty((0, 0, 0), bool) if other is None else contiguous(np.asarray(other, bool))
    if other.size and (step is None or other.shape != (batch, length, source)):
        raise ShapeError(
            f"relative_attention: other {other.shape}; expected {(batch, length, source)}, "
            "and a segment_bias and a step."
        )
    shape = (heads, q.shape[3])
    vectors, given = _vectors(shape, content_bias, place_bias, segment_bias, step)
    same_dtype(name, q, k, v, r, *given)
    mask = _boolean_mask(name, mask, (batch, heads, length, source))
    rate = check_rate(name, dropout)
    key = np.uint64(key)
    arrays = [_to_kernel(x.data) for x in (q, k, v, r)]
    arrays += [begins, vectors]
    lse = np.empty((batch, heads, length), q.dtype)
    out = np.empty(arrays[0].shape, q.dtype)
    kernels.relative_attention(*arrays, mask, other, rate, key, lse, out)

    def vjp(dy):
        grads = [np.empty_like(x) for x in arrays[:4]]
        dvectors = np.empty_like(vectors)
        kernels.relative_attention_backward(
            _to_kernel(dy), *arrays, out, lse, mask, other, rate, key, *grads, dvectors
        )
        shaped = [_from_kernel(g, x.shape) for g, x in zip(grads, (q, k, v, r), strict=True)]
        return (*shaped, *dvectors[: len(given)])

    y = _from_kernel(out, q.shape)
    return record(name, y, (q, k, v, r, *given), vjp)
