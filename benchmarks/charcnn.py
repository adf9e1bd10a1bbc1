"""One training step (zero grad, forward, backward, AdamW) of a small character CNN like ELMo's.

tinylm beside plain PyTorch. All 50 characters of a word are drawn at random, because tinylm cuts off
the padding in which the words of a text end.
"""

import numpy as np

from .gpt import time_steps

B, T, L, CHARACTERS, WIDTH, PROJECTION = 16, 20, 50, 262, 16, 128
FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512))


def batch():
    """Characters (B, T, L) and targets (B, T, PROJECTION) from a fixed seed."""
    rng = np.random.default_rng(0)
    return rng.integers(0, CHARACTERS, (B, T, L)), rng.standard_normal(
        (B, T, PROJECTION), dtype=np.float32
    )


def run_ours():
    """Median ms per step of tinylm."""
    import tinylm
    from tinylm import nn
    from tinylm import ops as F
    from tinylm.optim import AdamW

    ids, targets = batch()
    config = nn.CharCNNConfig(CHARACTERS, WIDTH, FILTERS, n_highway=2, projection_dim=PROJECTION)
    model = nn.CharCNN(config, rng=np.random.default_rng(0))
    optimizer = AdamW(model, lr=1e-4)

    def step():
        optimizer.zero_grad()
        F.mse_loss(model(ids), targets).backward()
        optimizer.step()

    tinylm.set_threads(2)
    with tinylm.one_pool():
        return time_steps("charcnn", step)


def torch_model():
    """The same module in PyTorch, ids (B, T, L) -> (B, T, PROJECTION)."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Highway(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.both = nn.Linear(width, 2 * width)

        def forward(self, x):
            transformed, gate = self.both(x).chunk(2, dim=-1)
            return torch.lerp(x, F.relu(transformed), torch.sigmoid(gate))

    class CharCNN(nn.Module):
        def __init__(self):
            super().__init__()
            features = sum(count for _, count in FILTERS)
            self.embedding = nn.Embedding(CHARACTERS, WIDTH)
            self.convolutions = nn.ModuleList(
                nn.Conv1d(WIDTH, count, size) for size, count in FILTERS
            )
            self.highway = nn.Sequential(Highway(features), Highway(features))
            self.projection = nn.Linear(features, PROJECTION)

        def forward(self, ids):
            x = self.embedding(ids.view(B * T, L)).transpose(1, 2)  # (B·T,L,C) -> (B·T,C,L)
            maxima = []
            for convolution in self.convolutions:
                y = convolution(x)
                maxima.append(F.max_pool1d(y, y.shape[2]))  # faster than amax and max
            x = torch.cat(maxima, dim=1).squeeze(2)
            return self.projection(self.highway(F.relu(x))).view(B, T, PROJECTION)

    return CharCNN()


def run_peer(compiled=False):
    """Median ms per step of PyTorch, eager or (on request) compiled."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(2)
    torch.manual_seed(0)
    ids, targets = (torch.from_numpy(x) for x in batch())
    model = torch_model()
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        F.mse_loss(forward(ids), targets).backward()
        optimizer.step()

    return time_steps("charcnn", step)
