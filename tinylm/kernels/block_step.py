"""A transformer block for the newest token of one text, in one call.

    pre-norm      h = x + attn(LN₁ x),    y = h + mlp(LN₂ h)
    post-norm     h = LN₁(x + attn x),    y = LN₂(h + mlp h)

    attn x = W_o · attention(q, all keys, all values),    q, k, v = W_a x;  k and v join the keys
    mlp x = W₂ f(W₁ x)

These are the equations of nn.TransformerBlock, and the reference calls those of its parts. Reading
one token is little work: in a small model most of its time would pass between seven kernels and
their Python. Large weights are read by all threads, each product split by the weight's rows. Small
ones are read by one thread, for which the kernel is compiled once more, without parallel loops.

The ladder, ms a token of a GPT with 4 layers of 128 channels, one thread: the parts as ops 1.2, one
call a block 0.31, without parallel loops 0.27.
"""

import numpy as np
from numba import prange

from .attention import _attention_ref, one_query
from .layer_norm import _layer_norm_ref
from .linear import _linear_ref, one_row, strips_of
from .runtime.registry import helper, kernel


def _normal_ref(x, gain, shift, eps):
    """Layer norm of one row (1, C)."""
    statistic = np.empty(1, x.dtype)
    out = np.empty_like(x)
    _layer_norm_ref(x, gain, shift, eps, statistic, statistic.copy(), out)
    return out


def _product_ref(x, weight, bias, residual, act):
    """residual + f(x Wᵀ + b) of one row (1, C); an empty residual is none."""
    out = np.empty((1, len(weight)), x.dtype)
    _linear_ref(x, weight, bias, residual, act, 0.0, 0, np.empty_like(out), out)
    return out


def _block_step_ref(
    x,
    gain_1,
    shift_1,
    w_attn,
    b_attn,
    w_proj,
    b_proj,
    gain_2,
    shift_2,
    w_up,
    b_up,
    w_down,
    b_down,
    keys,
    values,
    act,
    pre_norm,
    eps,
    out,
):
    heads, width = keys.shape[3:]
    nothing = np.empty((0, 0), x.dtype)
    h = _normal_ref(x, gain_1, shift_1, eps) if pre_norm else x
    qkv = _product_ref(h, w_attn, b_attn, nothing, 0).reshape(3, heads, width)
    keys[0, -1, 0] = qkv[1]
    values[0, -1, 0] = qkv[2]
    query = qkv[:1].reshape(1, 1, 1, heads, width)
    mixed = np.empty_like(query)
    everything = np.ones((1, 1, 1, 1), bool)
    no_bias = np.empty((0, 0, 0, 0), x.dtype)
    lse = np.empty((1, heads, 1), x.dtype)
    _attention_ref(query, keys, values, everything, no_bias, 0, 0.0, 0, lse, mixed)
    h = _product_ref(mixed.reshape(x.shape), w_proj, b_proj, x, 0)
    h = h if pre_norm else _normal_ref(h, gain_1, shift_1, eps)
    normal = _normal_ref(h, gain_2, shift_2, eps) if pre_norm else h
    inner = _product_ref(normal, w_up, b_up, nothing, act)
    y = _product_ref(inner, w_down, b_down, h, 0)
    out[...] = y if pre_norm else _normal_ref(y, gain_2, shift_2, eps)


@helper
def _normalise(x, gain, shift, eps, out):
    """out = layer norm of one row (C,); out may be x itself."""
    share = x.dtype.type(1) / x.dtype.type(x.size)
    total = x.dtype.type(0)
    for j in range(x.size):
        total += x[j]
    centre = total * share
    square = x.dtype.type(0)
    for j in range(x.size):
        distance = x[j] - centre
        square += distance * distance
    inverse = x.dtype.type(1 / np.sqrt(square * share + eps))
    for j in range(x.size):
        normal = (x[j] - centre) * inverse
        out[j] = normal * gain[j] + shift[j]


@kernel(
    reference=_block_step_ref,
    parallel=True,
    alone=True,
    spec="""
        x: float[1,H*D]
        gain_1: float[H*D]
        shift_1: float[H*D]
        w_attn: float[3*H*D,H*D]
        b_attn: float[3*H*D]
        w_proj: float[H*D,H*D]
        b_proj: float[H*D]
        gain_2: float[H*D]
        shift_2: float[H*D]
        w_up: float[U,H*D]
        b_up: float[U]
        w_down: float[H*D,U]
        b_down: float[H*D]
        keys: inout[1,S+1,1,H,D]
        values: inout[1,S+1,1,H,D]
        act: 1..6
        pre_norm: 0..1
        eps: real
        out: out[1,H*D]
    """,
)
def block_step(
    x,
    gain_1,
    shift_1,
    w_attn,
    b_attn,
    w_proj,
    b_proj,
    gain_2,
    shift_2,
    w_up,
    b_up,
    w_down,
    b_down,
    keys,
    values,
    act,
    pre_norm,
    eps,
    out,
):
    """out = a transformer block of x, the newest token; its key and value fill the last slot.

    x, out : (1, C)   gain, shift : (C,)   w_attn : (3C, C)   w_proj : (C, C)
    w_up : (U, C)   w_down : (C, U)   keys, values : (1, S, 1, H, D), S with the newest token
    """
    channels = x.shape[1]
    inner_width = w_up.shape[0]
    heads = keys.shape[3]
    width = keys.shape[4]
    last = keys.shape[1] - 1
    normal = np.empty((1, channels), x.dtype)
    qkv = np.empty((1, 3 * channels), x.dtype)
    mixed = np.empty((1, 1, 1, heads, width), x.dtype)
    h = np.empty((1, channels), x.dtype)
    inner = np.empty((1, inner_width), x.dtype)
    slope = np.empty((1, inner_width), x.dtype)
    lse = np.empty((1, heads, 1), x.dtype)
    nothing = np.empty((0, 0), x.dtype)
    no_bias = np.empty((0, 0, 0, 0), x.dtype)
    everything = np.ones((1, 1, 1, 1), np.bool_)
    no_key = np.uint64(0)
    if pre_norm:
        _normalise(x[0], gain_1, shift_1, eps, normal[0])
    else:
        normal[:] = x
    for strip in prange(strips_of(3 * channels)):
        one_row(normal[0], w_attn, b_attn, nothing, 0, 0.0, no_key, nothing, qkv, strip)
    parts = qkv.reshape((1, 1, 3, heads, width))
    keys[0, last, 0] = parts[0, 0, 1]
    values[0, last, 0] = parts[0, 0, 2]
    for head in prange(heads):
        one_query(
            parts,
            keys,
            values,
            everything,
            no_bias,
            0.0,
            no_key,
            lse,
            mixed,
            0,
            np.int64(head),
            last + 1,
            True,
        )
    rows = mixed.reshape((1, channels))
    for strip in prange(strips_of(channels)):
        one_row(rows[0], w_proj, b_proj, x, 0, 0.0, no_key, nothing, h, strip)
    if pre_norm:
        _normalise(h[0], gain_2, shift_2, eps, normal[0])
    else:
        _normalise(h[0], gain_1, shift_1, eps, h[0])
        normal[:] = h
    for strip in prange(strips_of(inner_width)):
        one_row(normal[0], w_up, b_up, nothing, act, 0.0, no_key, slope, inner, strip)
    for strip in prange(strips_of(channels)):
        one_row(inner[0], w_down, b_down, h, 0, 0.0, no_key, nothing, out, strip)
    if not pre_norm:
        _normalise(out[0], gain_2, shift_2, eps, out[0])
