"""Attention: softmax(q kᵀ/√D) v, for separate q, k, v and for the packed product of one layer.

Both ops call the kernel of kernels/attention.py, which never holds all (T, S) weights at once. It
takes arrays (G, T, M, H', D): G groups of H' heads that lie beside each other, in M parts. Packed
q, k and v are M = 3 parts of one array, so they need no copy.
"""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import kernels
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor, record

from .registry import Operand, check_rate, contiguous, op, optional, same_dtype, tensor


def _boolean_mask(mask, shape):
    """The mask with four axes, each full or 1; None allows everything.

    mask : (S,), (T, S), (B, T, S) or (B, H, T, S)   shape : (B, H, T, S)
    """
    if mask is None:
        return np.ones((1, 1, 1, 1), bool)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ShapeError(
            f"scaled_dot_product_attention: the mask has dtype {mask.dtype}; "
            "expected bool, True = may attend."
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
            f"scaled_dot_product_attention: the mask {mask.shape} does not fit {shape}, "
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


def _check_heads(q, k, v):
    """raises ShapeError  unless q is (B, H, T, D), k and v are (B, H, S, D)"""
    fits = q.ndim == k.ndim == 4 and k.shape == v.shape
    if not fits or q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ShapeError(
            f"scaled_dot_product_attention: q {q.shape}, k {k.shape} and v {v.shape} do not fit; "
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
    _check_heads(q, k, v)
    same_dtype("scaled_dot_product_attention", q, k, v, bias)
    batch, heads, length, _ = q.shape
    shape = (batch, heads, length, k.shape[2])  # (B,H,T,S)
    mask = _boolean_mask(mask, shape)
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
    return record("scaled_dot_product_attention", y, inputs, vjp)


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
    if qkv.ndim != 3 or qkv.shape[2] % (3 * heads):
        raise ShapeError(
            f"packed_attention: qkv {qkv.shape} does not split into 3 x {heads} heads; "
            "expected (B, T, 3·C)."
        )
    batch, length, triple = qkv.shape
    width = triple // (3 * heads)
    mask = _boolean_mask(mask, (batch, heads, length, length))
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
