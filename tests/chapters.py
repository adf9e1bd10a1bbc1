"""A small model of each chapter, for tests of what all of them promise."""

import numpy as np

from tinylm.objectives import find

V = 11
SIZES = {
    "word2vec": {"size": 5},
    "fasttext": {"size": 5, "bucket": 101},
    "glove": {"vector_size": 5},
    "elmo": {"filters": ((1, 5), (3, 7)), "projection_dim": 5, "dim": 11},
    "ulmfit": {"emb_sz": 5, "n_hid": 7},
    "xlnet": {"d_model": 6, "n_head": 3, "n_layer": 1},
    "gpt1": {"n_positions": 7, "n_embd": 6, "n_head": 3, "n_layer": 1},
    "gpt": {"n_positions": 7, "n_embd": 6, "n_head": 3, "n_layer": 1},
}


def made(name, seed=3):
    """A small model of a chapter with every weight drawn, so that none is zero."""
    chapter = find(name)
    model = chapter(chapter.Config.tiny(V, **SIZES.get(name, {})), np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data[...] = rng.standard_normal(p.shape)
    model.spell([f"word{i}" for i in range(V)])
    return model.eval()
