"""One training step of XLNet beside transformers' XLNetLMHeadModel in eager PyTorch.

Both sides read B rows of T random tokens in two segments and predict K of them from a random order,
behind a memory of M tokens. Half of the rows run backwards; dropout is 0.1; the step is zero grad,
forward, backward and AdamW. The memory is carried from step to step. Layers, widths, vocabulary and
the number of weights are equal; only the K places run through the query stream and the head, since
both sides are told the places (target_mapping). transformers also computes the last layer's content
stream, which no loss reads; ours leaves it out.
"""

import numpy as np

from .encoders import DROPOUT, SHAPE
from .gpt import time_steps, time_training

PREDICTED = 21  # K
MEMORY = 64  # M


# ---- tinylm


def our_model(shape):
    """The prepared objective, on documents of 400 random tokens in sentences of 20."""
    import tinylm
    from tinylm.data import Corpus
    from tinylm.text.unigram import XLNET_CONTROLS

    config = tinylm.XLNetConfig(
        shape.V,
        d_model=shape.C,
        n_layer=shape.L,
        n_head=shape.H,
        d_inner=4 * shape.C,
        dropout=DROPOUT,
        dropatt=DROPOUT,
        mem_len=MEMORY,
        reuse_len=MEMORY,
        seq_len=shape.T,
        num_predict=PREDICTED,
        perm_size=MEMORY,
        batch_size=shape.B,
    )
    model = tinylm.XLNet(config)
    first = len(XLNET_CONTROLS)
    words = [*XLNET_CONTROLS, *(f"w{i}" for i in range(first, shape.V))]
    model.spell(words, range(first))
    documents = 200
    ids = np.random.default_rng(0).integers(first, shape.V, 400 * documents).astype(np.int32)
    starts = np.arange(documents + 1) * 400
    sentences = np.arange(20 * documents + 1) * 20
    begins_word = np.ones(len(ids), bool)
    model.prepare(Corpus(ids, starts, shape.V, 1, 1, tuple(range(first)), sentences, begins_word))
    return model


def run_ours():
    """Median ms per step of tinylm on two threads."""
    from dataclasses import replace

    model = our_model(SHAPE)
    batch = replace(model.batch(0, 0), fresh=False)  # so that the memory stays
    return time_training("xlnet", model, batch)


# ---- PyTorch


def rows(shape):
    """ids, segments (B, T), perm_mask (B, T, T), target_mapping (B, K, T) and targets (B, K).

    The last K of a random order are predicted; the others are plain context, which all may see. A
    target sees the context and the targets before it.
    """
    rng = np.random.default_rng(0)
    ids = rng.integers(9, shape.V, (shape.B, shape.T))
    segments = np.zeros_like(ids)
    segments[:, 3 * shape.T // 4 :] = 1
    order = rng.random(ids.shape).argsort(axis=1)  # (B,T), places in the order
    rank = order.argsort(axis=1)
    picks = order[:, -PREDICTED:]
    is_target = rank >= shape.T - PREDICTED
    hidden = is_target[:, None, :] & (~is_target[:, :, None] | (rank[:, :, None] <= rank[:, None]))
    mapping = np.zeros((shape.B, PREDICTED, shape.T), np.float32)
    np.put_along_axis(mapping, picks[..., None], 1, axis=2)
    return ids, segments, hidden.astype(np.float32), mapping, np.take_along_axis(ids, picks, 1)


def run_peer(compiled=False):
    """Median ms per step of PyTorch on two threads, eager or (on request) compiled."""
    import torch
    from transformers import XLNetConfig, XLNetLMHeadModel

    torch.set_num_threads(2)
    torch.manual_seed(0)
    config = XLNetConfig(
        vocab_size=SHAPE.V,
        d_model=SHAPE.C,
        n_layer=SHAPE.L,
        n_head=SHAPE.H,
        d_inner=4 * SHAPE.C,
        dropout=DROPOUT,
        summary_last_dropout=DROPOUT,
        mem_len=MEMORY,
        reuse_len=MEMORY,
        bi_data=True,
        use_mems_train=True,
    )
    model = XLNetLMHeadModel(config).train()
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    names = ("input_ids", "token_type_ids", "perm_mask", "target_mapping", "labels")
    given = {}
    for name, array in zip(names, rows(SHAPE), strict=True):
        given[name] = torch.from_numpy(array)
    memory = None

    def step():
        nonlocal memory
        optimizer.zero_grad()
        found = forward(**given, mems=memory)
        memory = found.mems
        found.loss.backward()
        optimizer.step()

    return time_steps("xlnet", step)
