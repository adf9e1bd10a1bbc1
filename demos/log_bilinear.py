"""The log-bilinear model (Mnih & Hinton 2007): predict the next word from a sum of turned vectors.

p(w | w_1 … w_t) = softmax(v_w · h_t + b_w)      h_t = Σ_{i=0..n−1} C_i v_{w_{t−i}}
"""

from dataclasses import dataclass

import numpy as np

import tinylm
import tinylm.ops as F
from tinylm import nn
from tinylm.data import windows


@dataclass(frozen=True)
class Batch:
    inputs: np.ndarray  # (B, T) ids
    targets: np.ndarray  # (B, T), targets[b, t] follows inputs[b, t]

    @property
    def tokens(self):
        return self.targets.size


class LogBilinear(tinylm.Objective, name="lbl", encoding="words"):
    causal = True
    training_defaults = {"lr": 3e-3, "schedule": "cosine"}

    @dataclass(frozen=True)
    class Config(tinylm.Objective.Config):
        width: int = 64
        context: int = 5
        length: int = 32
        batch_size: int = 16

    def build(self, config, rng):
        self.table = nn.Embedding(config.vocab_size, config.width, rng=rng, std=0.1)
        self.turn = nn.Linear(config.context * config.width, config.width, rng=rng, std=0.05)
        self.bias = nn.Parameter(np.zeros(config.vocab_size, np.float32))

    def batch(self, step, seed):
        c = self.config
        starts = windows(len(self.corpus) - 1, c.length, c.batch_size, step, seed)
        ids = self.corpus.ids[starts[:, None] + np.arange(c.length + 1)]  # (B,) -> (B,T+1)
        return Batch(ids[:, :-1], ids[:, 1:])

    def encode(self, ids, mask=None):
        vectors = self.table(ids)  # (B,T) -> (B,T,C)
        batch, length, width = vectors.shape
        empty = np.zeros((batch, self.config.context, width), vectors.dtype)
        padded = F.concatenate([empty, vectors], axis=1)  # nothing stands before the text
        places = [padded[:, i + 1 : i + 1 + length] for i in range(self.config.context)]
        return [vectors, self.turn(F.concatenate(places, axis=2))]  # (B,T,nC) -> (B,T,C)

    def loss(self, batch):
        h = self.encode(batch.inputs)[-1]
        loss = F.linear_cross_entropy(h, self.table.weight, batch.targets, bias=self.bias)
        return loss, {"loss": loss.item()}
