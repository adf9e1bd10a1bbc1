"""One training step of BERT and of ELECTRA beside transformers, and BERT beside a program that gathers its picks.

Both sides read the same number of random tokens, with dropout 0.1 and AdamW. transformers' masked language model scores
every position of a text; ours, and the third program, score only the positions that are predicted.
"""

from dataclasses import dataclass

import numpy as np

from .gpt import time_steps, time_training

DROPOUT = 0.1
PICKED = 0.15  # share of the positions that are predicted


@dataclass(frozen=True)
class Shape:
    """B texts of T tokens through L layers of width C with H heads over V tokens."""

    B: int = 16
    T: int = 128
    C: int = 128
    L: int = 4
    H: int = 4
    V: int = 4096


SHAPE = Shape()
NAMES = ("bert", "bert_gathered", "electra")


# ---- tinylm


def corpus(shape):
    """Documents of 400 random tokens in sentences of 20, and the ids of five special tokens."""
    from tinylm.data import Corpus

    n_documents = 200
    ids = np.random.default_rng(0).integers(5, shape.V, 400 * n_documents).astype(np.int32)
    starts = np.arange(n_documents + 1) * 400
    sentences = np.arange(20 * n_documents + 1) * 20
    everywhere = np.ones(len(ids), bool)
    specials = (0, 1, 2, 3, 4)
    return Corpus(ids, starts, shape.V, 1, 1, specials, sentences, everywhere)


def our_model(name, shape):
    """The prepared objective."""
    import tinylm

    sizes = {
        "hidden_size": shape.C,
        "num_hidden_layers": shape.L,
        "num_attention_heads": shape.H,
        "intermediate_size": 4 * shape.C,
        "max_position_embeddings": shape.T,
        "batch_size": shape.B,
        "sequence_length": shape.T,
    }
    if name == "electra":
        sizes |= {"embedding_size": shape.C, "generator_size": 0.5}
        model = tinylm.Electra(tinylm.ElectraConfig(shape.V, **sizes))
    else:
        model = tinylm.Bert(tinylm.BertConfig(shape.V, **sizes))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(5, shape.V))]
    model.spell(words, (0, 1, 2, 3, 4))
    model.prepare(corpus(shape))
    return model


def run_ours(name):
    """Median ms per step of tinylm on two threads."""
    model = our_model(name, SHAPE)
    return time_training(name, model, model.batch(0, 0))


# ---- PyTorch


def texts(shape):
    """ids (B, T) with [MASK] = 4 at the picks, and the tokens that stood there, −100 elsewhere."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, shape.V, (shape.B, shape.T))
    order = rng.random(ids.shape).argsort(axis=1)
    picked = order < round(PICKED * shape.T)
    return np.where(picked, 4, ids), np.where(picked, ids, -100)


def sizes_of(shape, width):
    """Fields of a published config whose blocks are `width` wide."""
    return {
        "vocab_size": shape.V,
        "hidden_size": width,
        "num_hidden_layers": shape.L,
        "num_attention_heads": shape.H * width // shape.C,
        "intermediate_size": 4 * width,
        "max_position_embeddings": shape.T,
        "hidden_dropout_prob": DROPOUT,
        "attention_probs_dropout_prob": DROPOUT,
    }


def bert_loss(shape, compiled):
    """transformers' pretraining loss, as a function, and the parameters."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    model = BertForPreTraining(BertConfig(**sizes_of(shape, shape.C)))
    forward = torch.compile(model) if compiled else model
    ids, targets = (torch.from_numpy(array) for array in texts(shape))
    types = torch.zeros_like(ids)
    types[:, shape.T // 2 :] = 1
    is_random = torch.arange(shape.B) % 2
    given = {"input_ids": ids, "token_type_ids": types, "labels": targets}

    def loss():
        return forward(**given, next_sentence_label=is_random).loss

    return loss, model.parameters()


def gathered_loss(shape, compiled):
    """The loss of a plain PyTorch program that scores only the picks, as a function, and the parameters."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    width = shape.C

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)
            self.norm_1 = nn.LayerNorm(width, 1e-12)
            self.norm_2 = nn.LayerNorm(width, 1e-12)
            self.drop = nn.Dropout(DROPOUT)

        def forward(self, x):
            b, t, c = x.shape
            parts = self.qkv(x).view(b, t, 3, shape.H, c // shape.H)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=DROPOUT)
            y = self.out(y.transpose(1, 2).reshape(b, t, c))
            x = self.norm_1(x + self.drop(y))
            return self.norm_2(x + self.drop(self.down(F.gelu(self.up(x)))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(shape.V, width)
            self.positions = nn.Embedding(shape.T, width)
            self.types = nn.Embedding(2, width)
            self.norm = nn.LayerNorm(width, 1e-12)
            self.drop = nn.Dropout(DROPOUT)
            self.blocks = nn.Sequential(*(Block() for _ in range(shape.L)))
            self.pooler = nn.Linear(width, width)
            self.next = nn.Linear(width, 2)
            self.dense = nn.Linear(width, width)
            self.head_norm = nn.LayerNorm(width, 1e-12)
            self.bias = nn.Parameter(torch.zeros(shape.V))

        def forward(self, ids, types, rows, targets, is_random):
            places = torch.arange(ids.shape[1])
            x = self.words(ids) + self.positions(places) + self.types(types)
            x = self.blocks(self.drop(self.norm(x)))
            picked = x.reshape(-1, width)[rows]
            h = self.head_norm(F.gelu(self.dense(picked)))
            masked = F.cross_entropy(F.linear(h, self.words.weight, self.bias), targets)
            pooled = torch.tanh(self.pooler(x[:, 0]))
            return masked + F.cross_entropy(self.next(pooled), is_random)

    model = Net()
    forward = torch.compile(model) if compiled else model
    ids, targets = (torch.from_numpy(array) for array in texts(shape))
    rows = (targets.view(-1) != -100).nonzero()[:, 0]
    types = torch.zeros_like(ids)
    types[:, shape.T // 2 :] = 1
    is_random = torch.arange(shape.B) % 2

    def loss():
        return forward(ids, types, rows, targets.view(-1)[rows], is_random)

    return loss, model.parameters()


def electra_loss(shape, compiled):
    """ELECTRA of transformers' two models with shared tables, as a function, and the parameters."""
    import torch
    from torch.nn import functional as F
    from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

    own = {"embedding_size": shape.C}
    generator = ElectraForMaskedLM(ElectraConfig(**sizes_of(shape, shape.C // 2), **own))
    discriminator = ElectraForPreTraining(ElectraConfig(**sizes_of(shape, shape.C), **own))
    generator.electra.embeddings = discriminator.electra.embeddings
    both = torch.nn.ModuleList([generator, discriminator])
    make = torch.compile(generator) if compiled else generator
    judge = torch.compile(discriminator) if compiled else discriminator
    ids, targets = (torch.from_numpy(array) for array in texts(shape))
    picked = targets != -100

    def loss():
        guess = make(input_ids=ids, labels=targets)
        with torch.no_grad():
            scores = guess.logits[picked]
            drawn = torch.distributions.Categorical(logits=scores).sample()
            corrupted = ids.clone()
            corrupted[picked] = drawn
            original = torch.where(picked, targets, ids)
            replaced = (corrupted != original).float()
        found = judge(input_ids=corrupted).logits
        return guess.loss + 50 * F.binary_cross_entropy_with_logits(found, replaced)

    return loss, both.parameters()


LOSSES = {"bert": bert_loss, "bert_gathered": gathered_loss, "electra": electra_loss}


def run_peer(name, compiled=False):
    """Median ms per step of PyTorch on two threads, eager or (on request) compiled."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    loss, parameters = LOSSES[name](SHAPE, compiled)
    optimizer = torch.optim.AdamW(list(parameters), lr=1e-4)

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return time_steps(name, step)
