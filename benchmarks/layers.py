"""Single layers beside PyTorch's: three LSTMs in a training step, and attention with its gradient."""

import numpy as np

from .gpt import time_steps

BATCH, LENGTH, VOCABULARY, WIDTHS = 32, 70, 8192, (128, 384, 384, 128)
ATTENTION = {  # name -> (B, H, T, D), causal
    "attention_128_causal": ((16, 4, 128, 32), True),
    "attention_128_padded": ((16, 4, 128, 32), False),
    "attention_1024_causal": ((2, 12, 1024, 64), True),
    "attention_1024_padded": ((2, 12, 1024, 64), False),
}


def lstm_ours(name):
    """Median ms of a training step of an LSTM language model with a tied head.

    A step is zero grad, forward, backward, AdamW.
    """
    import tinylm
    import tinylm.ops as F
    from tinylm import nn
    from tinylm.optim import AdamW

    class Model(nn.Module):
        def __init__(self, rng):
            noise = nn.Noise()
            self.table = nn.Embedding(VOCABULARY, WIDTHS[0], rng=rng)
            sizes = zip(WIDTHS, WIDTHS[1:], strict=False)
            self.layers = nn.ModuleList(
                nn.LSTM(nn.LSTMConfig(*size), noise=noise, rng=rng) for size in sizes
            )

        def forward(self, inputs, targets):
            x = self.table(inputs)
            for layer in self.layers:
                x, _ = layer(x)
            return F.linear_cross_entropy(x, self.table.weight, targets)

    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCABULARY, (BATCH, LENGTH + 1))
    model = Model(rng)
    optimizer = AdamW(model, lr=1e-3)

    def step():
        optimizer.zero_grad()
        model(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()

    tinylm.set_threads(2)
    with tinylm.one_pool():
        return time_steps(name, step)


def lstm_peer(name):
    """The same in PyTorch: nn.LSTM, eager."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(2)
    table = nn.Embedding(VOCABULARY, WIDTHS[0])
    layers = nn.ModuleList(
        nn.LSTM(*size, batch_first=True) for size in zip(WIDTHS, WIDTHS[1:], strict=False)
    )
    optimizer = torch.optim.AdamW([*table.parameters(), *layers.parameters()], lr=1e-3)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, LENGTH + 1)))

    def step():
        optimizer.zero_grad()
        x = table(ids[:, :-1])
        for layer in layers:
            x, _ = layer(x)
        F.cross_entropy(
            (x @ table.weight.T).view(-1, VOCABULARY), ids[:, 1:].reshape(-1)
        ).backward()
        optimizer.step()

    return time_steps(name, step)


def _attention_inputs(name):
    """[q, k, v] of (B, H, T, D), the mask and whether attention is causal.

    The mask (B, 1, 1, T) is of texts from half the length to all of it; None if causal.
    """
    shape, causal = ATTENTION[name]
    rng = np.random.default_rng(0)
    lengths = np.linspace(shape[2] // 2, shape[2], shape[0])
    mask = None if causal else (np.arange(shape[2]) < lengths[:, None])[:, None, None]
    return [rng.normal(size=shape).astype(np.float32) for _ in range(3)], mask, causal


def attention_ours(name):
    """Median ms of attention forward and backward."""
    import tinylm
    import tinylm.ops as F

    arrays, mask, causal = _attention_inputs(name)
    inputs, cotangent = (
        [tinylm.Tensor(a, requires_grad=True) for a in arrays],
        np.ones_like(arrays[0]),
    )

    def step():
        for x in inputs:
            x.grad = None
        F.scaled_dot_product_attention(*inputs, mask=mask, is_causal=causal).backward(cotangent)

    tinylm.set_threads(2)
    with tinylm.one_pool():
        return time_steps(name, step)


def attention_peer(name):
    """The same in PyTorch."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(2)
    arrays, mask, causal = _attention_inputs(name)
    inputs = [torch.from_numpy(a).requires_grad_() for a in arrays]
    mask, cotangent = None if mask is None else torch.from_numpy(mask), torch.ones(arrays[0].shape)

    def step():
        for x in inputs:
            x.grad = None
        F.scaled_dot_product_attention(*inputs, attn_mask=mask, is_causal=causal).backward(
            cotangent
        )

    return time_steps(name, step)


RUNS = {"lstm": (lstm_ours, lstm_peer)} | dict.fromkeys(ATTENTION, (attention_ours, attention_peer))
