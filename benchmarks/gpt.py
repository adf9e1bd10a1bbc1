"""One training step of a GPT (zero grad, forward, backward, AdamW), in tinylm and in PyTorch.

The PyTorch program is the one that a good engineer would write.
"""

import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """B windows of T tokens through L layers of width C with H heads over V tokens."""

    B: int
    T: int
    C: int
    L: int
    H: int
    V: int

    def flops(self):
        """Floating-point operations of one step's products; the backward has twice the forward's."""
        tokens = self.B * self.T
        per_token = self.L * (24 * self.C**2 + 4 * self.T * self.C) + 2 * self.C * self.V
        return 3 * tokens * per_token


SHAPES = {
    "gpt": Shape(16, 128, 128, 4, 4, 4096),
    "gpt_small": Shape(4, 64, 64, 2, 2, 256),
    "gpt_wide": Shape(8, 128, 256, 6, 8, 8192),
    "gpt2_124m": Shape(1, 256, 768, 12, 12, 50257),
}
STEPS = {"gpt": 24, "gpt_small": 300, "gpt_wide": 12, "gpt2_124m": 4, "charcnn": 24}
WARM_UP = {"gpt_small": 30}


def time_steps(name, step, between=None):
    """Median ms of `step()` over STEPS[name] (or 20) calls, after a warm-up.

    between : called before each of them, outside the time
    """
    for _ in range(WARM_UP.get(name, 3)):
        step()
    times = []
    for _ in range(STEPS.get(name, 20)):
        if between is not None:
            between()
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def time_training(name, model, batch, lr=1e-4):
    """Median ms of a training step of an objective on two threads: AdamW, always the same batch."""
    import tinylm
    from tinylm.optim import AdamW

    optimizer = AdamW(model, lr=lr)

    def step():
        optimizer.zero_grad()
        loss, _ = model.loss(batch)
        loss.backward()
        optimizer.step()

    tinylm.set_threads(2)
    with tinylm.one_pool():
        return time_steps(name, step)


def batch(shape):
    """inputs and targets (B, T) of random ids from a fixed seed."""
    ids = np.random.default_rng(0).integers(0, shape.V, (shape.B, shape.T + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def our_step(name, dropout):
    """One training step of tinylm on two threads, as a function."""
    import tinylm
    from tinylm.objectives.gpt import GPTBatch
    from tinylm.optim import AdamW

    shape = SHAPES[name]
    inputs, targets = batch(shape)
    config = tinylm.GPTConfig(
        shape.V,
        shape.T if name != "gpt2_124m" else 1024,
        shape.C,
        shape.L,
        shape.H,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
    )
    model = tinylm.GPT(config)
    optimizer = AdamW(model, lr=1e-4)

    def step():
        optimizer.zero_grad()
        loss, _ = model.loss(GPTBatch(inputs, targets))
        loss.backward()
        optimizer.step()

    tinylm.set_threads(2)
    return step


def run_ours(name, dropout, between=None):
    """Median ms per step of tinylm; between : see `time_steps`."""
    import tinylm

    step = our_step(name, dropout)
    with tinylm.one_pool():
        return time_steps(name, step, between)


def torch_model(shape, positions, dropout):
    """A PyTorch module ids -> logits: GPT-2 with scaled_dot_product_attention and a tied head."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(shape.C), nn.LayerNorm(shape.C)
            self.qkv, self.out = nn.Linear(shape.C, 3 * shape.C), nn.Linear(shape.C, shape.C)
            self.up, self.down = nn.Linear(shape.C, 4 * shape.C), nn.Linear(4 * shape.C, shape.C)
            self.drop_1, self.drop_2 = nn.Dropout(dropout), nn.Dropout(dropout)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = (
                z.view(b, t, shape.H, -1).transpose(1, 2)
                for z in self.qkv(self.ln_1(x)).split(c, 2)
            )
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
            x = x + self.drop_1(self.out(y.transpose(1, 2).reshape(b, t, c)))
            return x + self.drop_2(self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh")))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(shape.V, shape.C), nn.Embedding(positions, shape.C)
            self.blocks, self.ln_f = (
                nn.Sequential(*(Block() for _ in range(shape.L))),
                nn.LayerNorm(shape.C),
            )
            self.drop = nn.Dropout(dropout)

        def forward(self, ids):
            x = self.drop(self.wte(ids) + self.wpe(torch.arange(ids.shape[1])))
            return self.ln_f(self.blocks(x)) @ self.wte.weight.T

    return Net()


def peer_step(name, dropout, compiled=False):
    """One training step of PyTorch on two threads, eager or (on request) compiled, as a function."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(2)
    torch.manual_seed(0)
    shape = SHAPES[name]
    inputs, targets = (torch.from_numpy(x) for x in batch(shape))
    model = torch_model(shape, shape.T if name != "gpt2_124m" else 1024, dropout)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(inputs).view(-1, shape.V), targets.view(-1))
        loss.backward()
        optimizer.step()

    return step


def run_peer(name, dropout, compiled=False):
    """Median ms per step of PyTorch, eager or (on request) compiled."""
    return time_steps(name, peer_step(name, dropout, compiled))
