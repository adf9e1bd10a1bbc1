"""One training step of ELMo and of AWD-LSTM beside the programs that a PyTorch user would write.

A step is zero grad, forward with the full softmax, backward, AdamW. Both sides have the same sizes,
read the same random tokens, and compute the same loss: with equal weights and without dropout the
losses agree to 2e-6 and every gradient to 3e-6 of its largest. These differences remain:

    biases     nn.LSTM has two for each gate, which only add up; ours has one
    clips      ours bounds ELMo's |c| and |h| by 3; nn.LSTM has no bounds
    CNN        ours finds the words that a batch repeats itself; the program is given each word once

The words of ELMo's vocabulary are 48 random bytes long, so neither side can leave out padding. Both
models go on from the state in which their last step ended. The program drops recurrent weights of
AWD-LSTM as everybody does: it hands dropped copies to PyTorch's fused LSTM.
"""

import numpy as np

from .gpt import time_steps, time_training

# ELMo
LANES = 16
WORDS = 32
VOCABULARY = 5000
LETTERS = 50  # of a word
FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128))
CHARACTERS = 262
CHARACTER_WIDTH = 16
PROJECTION = 128
CELLS = 512
LAYERS = 2

# AWD-LSTM
AWD_LANES = 32
AWD_TOKENS = 70
AWD_VOCABULARY = 8192
EMBEDDING = 128
HIDDEN = 384
RATES = {"output_p": 0.1, "hidden_p": 0.15, "input_p": 0.25, "embed_p": 0.02, "weight_p": 0.2}
ALPHA = 2.0  # of the penalties
BETA = 1.0


# ---- what both sides read


def elmo_batch():
    """Token ids (B, T + 1), and the vocabulary's characters (V, 50), word begin and end included."""
    rng = np.random.default_rng(0)
    ids = rng.integers(4, VOCABULARY, (LANES, WORDS + 1))
    chars = rng.integers(1, 257, (VOCABULARY, LETTERS)).astype(np.int16)
    chars[:, 0] = 259
    chars[:, -1] = 260
    return ids, chars


def awd_batch():
    """inputs and targets (B, T)."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, AWD_VOCABULARY, (AWD_LANES, AWD_TOKENS + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


# ---- tinylm


def elmo_ours():
    """The model and its batch. Forward predicts the next word, backward the one before."""
    import tinylm
    from tinylm.objectives.elmo import ElmoBatch

    config = tinylm.ElmoConfig.small(
        VOCABULARY,
        filters=FILTERS,
        projection_dim=PROJECTION,
        dim=CELLS,
        n_layers=LAYERS,
        unroll_steps=WORDS,
        batch_size=LANES,
    )
    model = tinylm.Elmo(config)
    ids, chars = elmo_batch()
    model.spell(["<S>", "</S>", "<UNK>", "<pad>", *(f"w{i}" for i in range(4, VOCABULARY))])
    model.reader.chars = chars
    model.reader.size = len(chars)
    turned = ids[:, ::-1]
    inputs = np.stack([ids[:, :-1], turned[:, :-1]])
    targets = np.stack([ids[:, 1:], turned[:, 1:]])
    return model, ElmoBatch(inputs, targets, fresh=False)


def awd_ours():
    """The model and its batch."""
    import tinylm
    from tinylm.objectives.ulmfit import UlmfitBatch

    config = tinylm.UlmfitConfig(
        AWD_VOCABULARY,
        emb_sz=EMBEDDING,
        n_hid=HIDDEN,
        n_layers=3,
        alpha=ALPHA,
        beta=BETA,
        bptt=AWD_TOKENS,
        batch_size=AWD_LANES,
        **RATES,
    )
    return tinylm.Ulmfit(config), UlmfitBatch(*awd_batch(), fresh=False)


OURS = {"elmo": elmo_ours, "awd_lstm": awd_ours}


def run_ours(name):
    """Median ms per step of tinylm on two threads."""
    model, batch = OURS[name]()
    return time_training(name, model, batch, lr=1e-3)


# ---- PyTorch


def elmo_peer():
    """The program's module, and a function that gives its loss."""
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

    class WordReader(nn.Module):
        def __init__(self):
            super().__init__()
            features = sum(count for _, count in FILTERS)
            self.embedding = nn.Embedding(CHARACTERS, CHARACTER_WIDTH)
            self.convolutions = nn.ModuleList(
                nn.Conv1d(CHARACTER_WIDTH, count, size) for size, count in FILTERS
            )
            self.highway = Highway(features)
            self.projection = nn.Linear(features, PROJECTION)

        def forward(self, chars):
            x = self.embedding(chars).transpose(1, 2)  # (N,50) -> (N,C,50)
            maxima = []
            for convolution in self.convolutions:
                y = convolution(x)
                maxima.append(F.max_pool1d(y, y.shape[2]))  # faster than amax and max
            x = torch.cat(maxima, dim=1).squeeze(2)
            return self.projection(self.highway(F.relu(x)))

    class Direction(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = {"proj_size": PROJECTION, "batch_first": True}
            self.layers = nn.ModuleList(nn.LSTM(PROJECTION, CELLS, **sizes) for _ in range(LAYERS))
            self.carried = [None] * LAYERS

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                read = x
                x, (h, c) = layer(read, self.carried[i])
                self.carried[i] = (h.detach(), c.detach())
                x = x + read if i else x
            return x

    class Elmo(nn.Module):
        def __init__(self):
            super().__init__()
            self.reader = WordReader()
            self.forwards = Direction()
            self.backwards = Direction()
            self.softmax = nn.Linear(PROJECTION, VOCABULARY)

        def forward(self, chars, places, ids):
            words = F.embedding(places, self.reader(chars))  # (B,T+1,P)
            left = self.forwards(words[:, :-1])
            right = self.backwards(words[:, 1:].flip(1))
            return (self.nats(left, ids[:, 1:]) + self.nats(right, ids[:, :-1].flip(1))) / 2

        def nats(self, top, targets):
            return F.cross_entropy(self.softmax(top).flatten(0, 1), targets.flatten())

    ids, chars = elmo_batch()
    once, places = np.unique(ids, return_inverse=True)
    chars = torch.from_numpy(chars[once].astype(np.int64))
    places = torch.from_numpy(places.reshape(ids.shape))
    ids = torch.from_numpy(ids)
    model = Elmo()
    return model, lambda: model(chars, places, ids)


def awd_peer():
    """The program's module, and a function that gives its loss."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def locked(x, rate):
        """Dropout with one mask for all steps.   x (B, T, C)"""
        mask = F.dropout(torch.ones(x.shape[0], 1, x.shape[2]), rate)
        return x * mask

    class WeightDropLSTM(nn.LSTM):
        def forward(self, x, state):
            inputs, recurrent, *biases = self._flat_weights
            weights = [inputs, F.dropout(recurrent, RATES["weight_p"]), *biases]
            # biases: yes, layers: 1, dropout: 0, training: yes, both ways: no, batch first: yes
            out, h, c = torch._VF.lstm(x, state, weights, True, 1, 0.0, True, False, True)
            return out, (h, c)

    class AwdLSTM(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [EMBEDDING, HIDDEN, HIDDEN, EMBEDDING]
            self.table = nn.Embedding(AWD_VOCABULARY, EMBEDDING)
            nn.init.uniform_(self.table.weight, -0.1, 0.1)
            self.layers = nn.ModuleList(
                WeightDropLSTM(below, width, batch_first=True)
                for below, width in zip(widths, widths[1:], strict=False)
            )
            self.bias = nn.Parameter(torch.zeros(AWD_VOCABULARY))
            self.carried = [
                (torch.zeros(1, AWD_LANES, width), torch.zeros(1, AWD_LANES, width))
                for width in widths[1:]
            ]

        def forward(self, inputs, targets):
            kept = F.dropout(torch.ones(AWD_VOCABULARY, 1), RATES["embed_p"])
            x = self.table(inputs) * kept[inputs]
            x = locked(x, RATES["input_p"])
            for i, layer in enumerate(self.layers):
                x = locked(x, RATES["hidden_p"]) if i else x
                x, (h, c) = layer(x, self.carried[i])
                self.carried[i] = (h.detach(), c.detach())
            dropped = locked(x, RATES["output_p"])
            scores = F.linear(dropped, self.table.weight, self.bias)
            nats = F.cross_entropy(scores.flatten(0, 1), targets.flatten())
            activation = dropped.square().mean()
            slowness = (x[:, 1:] - x[:, :-1]).square().mean()
            return nats + ALPHA * activation + BETA * slowness

    inputs, targets = (torch.from_numpy(each) for each in awd_batch())
    model = AwdLSTM()
    return model, lambda: model(inputs, targets)


PEERS = {"elmo": elmo_peer, "awd_lstm": awd_peer}


def run_peer(name):
    """Median ms per step of PyTorch on two threads, eager."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model, loss = PEERS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return time_steps(name, step)


RUNS = dict.fromkeys(PEERS, (run_ours, run_peer))
