"""Multi-head attention and the transformer block, pre-norm or post-norm, under GPT-2's names."""

from dataclasses import dataclass

import numpy as np

from tinylm import kernels
from tinylm import ops as F
from tinylm.errors import ShapeError, TinylmError
from tinylm.memory import must_fit
from tinylm.ops.registry import contiguous, tensor
from tinylm.settings import Config, at_least, from_to_below, one_of
from tinylm.tensor import Tensor, is_grad_enabled

from .cache import LayerCache
from .layers import LayerNorm, Linear
from .module import STANDARD, Module, Noise


@dataclass(frozen=True)
class BlockConfig(Config):
    """Sizes of a block and the rates and constants of its paper.

    width : C     heads : H     hidden : units of the MLP
    pre_norm : see TransformerBlock     eps : of the norms
    std : of the initial weights     residual_std : of the two projections that a residual follows

    >>> BlockConfig(width=10, heads=3, hidden=40)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: BlockConfig: width = 10 is not a multiple of heads = 3.
    """

    ranges = {
        "width": at_least(1),
        "heads": at_least(1),
        "hidden": at_least(1),
        "activation": one_of(*(name for name in kernels.ACTIVATIONS if name)),
        "eps": at_least(0),
        "residual_dropout": from_to_below(0, 1),
        "attention_dropout": from_to_below(0, 1),
        "std": STANDARD,
        "residual_std": STANDARD,
    }
    width: int
    heads: int
    hidden: int
    activation: str = "gelu_tanh"
    pre_norm: bool = True
    eps: float = 1e-5
    residual_dropout: float = 0.0
    attention_dropout: float = 0.0
    std: float = 0.02
    residual_std: float = 0.02

    def check(self) -> None:
        """raises ShapeError if heads does not divide width, ArgumentError if memory is short"""
        if self.width % self.heads:
            raise ShapeError(
                f"BlockConfig: width = {self.width} is not a multiple of heads = {self.heads}."
            )
        rows = 4 * self.width + 2 * self.hidden
        must_fit((rows, self.width), 4, "BlockConfig: the weights of a block")


class MultiHeadAttention(Module):
    """Self-attention with H heads.   x : (B, T, C) -> (B, T, C)

    One product makes queries, keys and values together; then attention, and one projection.
    config : BlockConfig     noise : nn.Noise     rng : Generator of the initial weights
    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, config: BlockConfig, *, noise: Noise, rng: np.random.Generator):
        self.config = config
        self.noise = noise
        self.c_attn = Linear(config.width, 3 * config.width, rng=rng, std=config.std)
        self.c_proj = Linear(config.width, config.width, rng=rng, std=config.residual_std)

    def forward(self, x, mask=None, causal=False, cache=None, residual=None, scores=None):
        """x : (B, T, C) -> residual + (B, T, C)

        mask : bool, broadcasts to (B, H, T, S), True = may attend
        causal : True hides the positions after each query
        cache : a LayerCache, which takes the new keys and values; only without gradients
        scores : None, or a list that gets `self.scores` of x
        """
        c = self.config
        qkv = self.c_attn(x)  # (B,T,C) -> (B,T,3C)
        if scores is not None:
            scores.append(self.scores(qkv))
        if cache is None:
            rate = c.attention_dropout if self.training else 0.0
            key = self.noise.key() if rate else 0
            y = F.packed_attention(qkv, c.heads, mask, rate, causal, key)
        else:
            y = self._attend_cached(qkv, cache, mask, causal)
        rate = c.residual_dropout if self.training else 0.0
        key = self.noise.key() if rate else 0
        return self.c_proj(y, dropout=rate, key=key, residual=residual)

    def scores(self, qkv) -> Tensor:
        """q kᵀ/√D of every head, before any mask and the softmax.   (B, T, 3C) -> (B, H, T, T)"""
        batch, length, triple = qkv.shape
        heads = self.config.heads
        width = triple // (3 * heads)
        split = qkv.reshape(batch, length, 3, heads, width)  # (B,T,3C) -> (B,T,3,H,D)
        q = split[:, :, 0].transpose((0, 2, 1, 3))  # (B,T,H,D) -> (B,H,T,D)
        k = split[:, :, 1].transpose((0, 2, 3, 1))  # (B,T,H,D) -> (B,H,D,T)
        return (q * width**-0.5) @ k

    def _attend_cached(self, qkv, cache, mask, causal):
        """Attention over the cached positions and the new ones.   qkv (B, T, 3C) -> (B, T, C)"""
        if qkv.requires_grad:
            raise TinylmError(
                "A key/value cache keeps no history for a backward pass: call the model within "
                "tinylm.no_grad(), or without a cache."
            )
        batch, length, triple = qkv.shape
        heads = self.config.heads
        width = triple // (3 * heads)
        split = qkv.data.reshape(batch, length, 3, heads, width)
        q, k, v = split.transpose(2, 0, 3, 1, 4)  # (B,T,3C) -> three (B,H,T,D)
        keys, values = cache.extend(k, v)
        y = F.scaled_dot_product_attention(q, keys, values, mask, is_causal=causal)
        return y.swapaxes(1, 2).reshape(batch, length, triple // 3)  # (B,H,T,D) -> (B,T,C)


class MLP(Module):
    """Two products with an activation between them.   (B, T, C) -> (B, T, hidden) -> (B, T, C)

    config : BlockConfig     noise : nn.Noise     rng : Generator of the initial weights
    """

    def __init__(self, config: BlockConfig, *, noise: Noise, rng: np.random.Generator):
        self.config = config
        self.noise = noise
        self.c_fc = Linear(config.width, config.hidden, rng=rng, std=config.std)
        self.c_proj = Linear(config.hidden, config.width, rng=rng, std=config.residual_std)

    def forward(self, x, residual=None) -> Tensor:
        """x : (B, T, C) -> residual + dropout(W₂ f(W₁ x)), (B, T, C)"""
        hidden = self.c_fc(x, activation=self.config.activation)
        rate = self.config.residual_dropout if self.training else 0.0
        key = self.noise.key() if rate else 0
        return self.c_proj(hidden, dropout=rate, key=key, residual=residual)


class TransformerBlock(Module):
    """Attention and MLP, each with a residual connection.   (B, T, C) -> (B, T, C)

    pre-norm (GPT-2)           h = x + attn(LN₁ x),    y = h + mlp(LN₂ h)
    post-norm (GPT-1, BERT)    h = LN₁(x + attn x),    y = LN₂(h + mlp h)

    config : BlockConfig     noise : nn.Noise     rng : Generator of the initial weights

    >>> config = BlockConfig(width=6, heads=3, hidden=24)
    >>> block = TransformerBlock(config, noise=Noise(), rng=np.random.default_rng(0))
    >>> sum(p.size for p in block.parameters())  # 12·C² + 13·C
    510
    """

    def __init__(self, config: BlockConfig, *, noise: Noise, rng: np.random.Generator):
        self.pre_norm = config.pre_norm
        self.ln_1 = LayerNorm(config.width, config.eps)
        self.attn = MultiHeadAttention(config, noise=noise, rng=rng)
        self.ln_2 = LayerNorm(config.width, config.eps)
        self.mlp = MLP(config, noise=noise, rng=rng)

    def forward(self, x, mask=None, causal=False, cache=None, scores=None):
        """x : (B, T, C) -> (B, T, C); mask, causal, cache and scores as in MultiHeadAttention."""
        if cache is not None and mask is None and x.size == x.shape[-1] and scores is None:
            if self.is_standard() and not (self.training or is_grad_enabled()):
                row = contiguous(tensor(x).data).reshape(1, self.attn.config.width)
                return Tensor(self.read_one(row, cache)[None])
        if self.pre_norm:
            h = self.attn(self.ln_1(x), mask, causal, cache, residual=x, scores=scores)
            return self.mlp(self.ln_2(h), residual=h)
        h = self.ln_1(self.attn(x, mask, causal, cache, residual=x, scores=scores))
        return self.ln_2(self.mlp(h, residual=h))

    def is_standard(self) -> bool:
        """Whether it computes what `read_one` does: the usual parts, biases, one epsilon."""
        attention = self.attn
        mlp = self.mlp
        norms = (self.ln_1, self.ln_2)
        if type(attention) is not MultiHeadAttention or type(mlp) is not MLP:
            return False
        linears = (attention.c_attn, attention.c_proj, mlp.c_fc, mlp.c_proj)
        parts = (self, attention, mlp, *norms, *linears)
        return (
            type(self).forward is TransformerBlock.forward
            and all(type(norm) is LayerNorm for norm in norms)
            and all(norm.eps == attention.config.eps for norm in norms)
            and all(type(linear) is Linear for linear in linears)
            and all(linear.bias is not None for linear in linears)
            and not any("forward" in vars(part) for part in parts)
        )

    def read_one(self, row: np.ndarray, cache: LayerCache) -> np.ndarray:
        """`forward` for the newest token of one text: the same equations in one kernel.

        row : (1, C) array, contiguous -> (1, C)     cache : the layer's, whose last slot is open
        """
        if cache.given is None:
            c = self.attn.config
            options = (kernels.ACTIVATIONS[c.activation], int(self.pre_norm), c.eps)
            cache.given = self._weights(), options
        weights, options = cache.given
        keys, values = cache.slots()  # (1,S,1,H,D)
        out = np.empty_like(row)
        kernels.block_step(row, *weights, keys, values, *options, out)
        return out

    def _weights(self) -> tuple[np.ndarray, ...]:
        """Weight and bias of every part, in the order of the kernel's arguments."""
        parts = (self.ln_1, self.attn.c_attn, self.attn.c_proj, self.ln_2)
        found = []
        for part in (*parts, self.mlp.c_fc, self.mlp.c_proj):
            found += [contiguous(part.weight.data), contiguous(part.bias.data)]
        return tuple(found)
