"""nanoGPT's recipe for a laptop, by tinylm and by a plain PyTorch program: ms a step, loss on unseen text.

    python -m benchmarks nanogpt --text FILE

Both read FILE by characters and learn from its first nine tenths: 2,000 updates of 12 windows of 64, 4 layers of
128 with 4 heads, AdamW, the rate 1e-3 → 1e-4 along a cosine after 100 updates, betas 0.9 and 0.99, decay 0.1,
clipped at 1, no dropout. The loss is that of the whole last tenth, in windows of 64 that do not overlap.
The PyTorch program draws its windows at random places and has no biases, as nanoGPT; ours cuts the text anew in
every epoch, shuffles the windows, and has GPT-2's biases.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

STEPS = 2000
LENGTH, BATCH, WIDTH, LAYERS, HEADS = 64, 12, 128, 4, 4
SHARE = 0.9  # of the text, to learn from
SEEDS = (1, 2, 3)


def parts(path):
    """The encoding of a text, and the ids of its first nine tenths and of the rest."""
    from tinylm.text import Chars

    text = Path(path).read_text(encoding="utf-8")
    encoding = Chars.train([text])
    ids = np.array(encoding.encode(text))
    cut = int(SHARE * len(ids))
    return encoding, ids[:cut], ids[cut:]


def in_windows(ids):
    """inputs and targets (B, T) that cover the ids in order; a rest shorter than a window is left out."""
    rows = (len(ids) - 1) // LENGTH
    inputs = ids[: rows * LENGTH].reshape(rows, LENGTH)
    targets = ids[1 : rows * LENGTH + 1].reshape(rows, LENGTH)
    return inputs, targets


def run_ours(path, seed):
    """Train as `tinylm pretrain gpt --config nanogpt` does; returns ms (median of a step) and loss."""
    import tinylm
    from tinylm.data import Corpus
    from tinylm.objectives.gpt import GPTBatch

    tinylm.set_threads(2)
    encoding, train, held_out = parts(path)
    recipe = dict(tinylm.GPTConfig.recipes["nanogpt"])
    recipe.pop("encoding")
    recipe.pop("held_out")
    recipe["steps"] = STEPS
    config = tinylm.GPTConfig.nanogpt(encoding.vocab_size)
    model = tinylm.GPT(config, np.random.default_rng(seed))
    starts = np.array([0, len(train)])
    corpus = Corpus(train.astype(np.int32), starts, encoding.vocab_size, len(train), len(train))
    model.prepare(corpus)
    training = tinylm.TrainConfig.of(model, seed=seed, **recipe)
    trainer = tinylm.Trainer(model, config=training, quiet=True)
    moments = []

    def clock():
        moments.append(time.perf_counter())
        return moments[-1]

    trainer.clock = clock
    trainer.run()
    inputs, targets = in_windows(held_out)
    model.eval()
    losses = []
    with tinylm.no_grad(), tinylm.one_pool():
        for first in range(0, len(inputs), 256):
            batch = GPTBatch(inputs[first : first + 256], targets[first : first + 256])
            losses.append(batch.tokens * model.loss(batch)[0].item())
    ms = 1e3 * statistics.median(np.diff(moments)[::2])
    return {"ms": ms, "loss": sum(losses) / targets.size}


def torch_model(vocab_size):
    """nanoGPT's model: pre-norm blocks without biases, the head tied to the embedding."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class LayerNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(WIDTH))

        def forward(self, x):
            return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.c_proj = nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = self.c_attn(x).split(C, dim=2)
            q = q.view(B, T, HEADS, C // HEADS).transpose(1, 2)
            k = k.view(B, T, HEADS, C // HEADS).transpose(1, 2)
            v = v.view(B, T, HEADS, C // HEADS).transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))

    class MLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_fc = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
            self.c_proj = nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x):
            return self.c_proj(F.gelu(self.c_fc(x)))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1 = LayerNorm()
            self.attn = Attention()
            self.ln_2 = LayerNorm()
            self.mlp = MLP()

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(vocab_size, WIDTH)
            self.wpe = nn.Embedding(LENGTH, WIDTH)
            self.h = nn.ModuleList(Block() for _ in range(LAYERS))
            self.ln_f = LayerNorm()
            self.lm_head = nn.Linear(WIDTH, vocab_size, bias=False)
            self.lm_head.weight = self.wte.weight
            for name, p in self.named_parameters():
                if p.dim() >= 2:
                    std = 0.02 / math.sqrt(2 * LAYERS) if name.endswith("c_proj.weight") else 0.02
                    nn.init.normal_(p, mean=0.0, std=std)

        def forward(self, ids, targets):
            x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
            for block in self.h:
                x = block(x)
            logits = self.lm_head(self.ln_f(x))
            return F.cross_entropy(logits.view(-1, vocab_size), targets.reshape(-1))

    return GPT()


def rate(step):
    """nanoGPT's learning rate: 100 updates of warm-up, then a cosine from 1e-3 to 1e-4."""
    if step < 100:
        return 1e-3 * (step + 1) / 101
    share = (step - 100) / (STEPS - 100)
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * share)) * 9e-4


def run_peer(path, seed):
    """The same recipe in PyTorch, eager, on two threads; returns ms (median of a step) and loss."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(seed)
    encoding, train, held_out = parts(path)
    train = torch.from_numpy(train)
    model = torch_model(encoding.vocab_size)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    times = []
    for step in range(STEPS):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        places = torch.randint(len(train) - LENGTH, (BATCH,))
        inputs = torch.stack([train[i : i + LENGTH] for i in places])
        targets = torch.stack([train[i + 1 : i + 1 + LENGTH] for i in places])
        loss = model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    inputs, targets = map(torch.from_numpy, in_windows(held_out))
    model.eval()
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(inputs), 256):
            some = targets[first : first + 256]
            total += some.numel() * model(inputs[first : first + 256], some).item()
    return {"ms": 1e3 * statistics.median(times), "loss": total / targets.numel()}


def measure(side, path, seed):
    """One run in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.nanogpt", side, str(path), str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"nanogpt ({side}) failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(path, seeds=SEEDS):
    """Yield a row for each seed, sides alternating: seed, ours and peer, each {"ms", "loss"}."""
    for seed in seeds:
        yield {side: measure(side, path, seed) for side in ("ours", "peer")} | {"seed": seed}


def show(row):
    """A row of `compare` for reading."""
    ours, peer = row["ours"], row["peer"]
    times = f"{ours['ms']:6.2f} ms a step, PyTorch {peer['ms']:6.2f} (ratio {peer['ms'] / ours['ms']:.2f})"
    return f"nanogpt seed {row['seed']}   {times}   loss {ours['loss']:.4f}, PyTorch {peer['loss']:.4f}"


def summary(rows):
    """The means over the seeds, for reading."""
    mean = {
        (side, what): statistics.mean(row[side][what] for row in rows)
        for side in ("ours", "peer")
        for what in ("ms", "loss")
    }
    share = mean["ours", "ms"] / mean["peer", "ms"]
    difference = mean["ours", "loss"] - mean["peer", "loss"]
    times = f"{mean['ours', 'ms']:6.2f} ms a step, PyTorch {mean['peer', 'ms']:6.2f}: {share:.2f} of its time"
    losses = (
        f"loss {mean['ours', 'loss']:.4f}, PyTorch {mean['peer', 'loss']:.4f} ({difference:+.4f})"
    )
    return f"nanogpt mean     {times}   {losses}"


if __name__ == "__main__":
    side, path, seed = sys.argv[1:]
    print(json.dumps({"ours": run_ours, "peer": run_peer}[side](path, int(seed))))
