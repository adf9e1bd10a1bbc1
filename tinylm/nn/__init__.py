"""Floor 3: modules.

>>> import numpy as np
>>> layer = Linear(3, 2, rng=np.random.default_rng(0))
>>> layer(np.ones((5, 3), np.float32)).shape
(5, 2)

Read in this order: module.py, layers.py, recurrent.py, transformer.py, cache.py, encoder.py,
characters.py, pooling.py, crf.py.
"""

from .cache import Cache, LayerCache
from .characters import CharCNN, CharCNNConfig, Highway
from .crf import CRF
from .encoder import ACTIVATION_NAMES, Embeddings, Encoder, EncoderConfig, TokenHead
from .layers import BatchNorm1d, Conv1d, Dropout, Embedding, LayerNorm, Linear
from .module import (
    Buffer,
    Module,
    ModuleList,
    Noise,
    Parameter,
    freeze_to,
    full,
    initial_vectors,
    normal,
    truncate,
    uniform,
)
from .pooling import ConcatPool, Pooler, ScalarMix, masked_mean
from .recurrent import LSTM, LSTMConfig, detach
from .transformer import MLP, BlockConfig, MultiHeadAttention, TransformerBlock

__all__ = [
    "ACTIVATION_NAMES",
    "CRF",
    "LSTM",
    "MLP",
    "BlockConfig",
    "Cache",
    "Dropout",
    "Embedding",
    "Embeddings",
    "Encoder",
    "EncoderConfig",
    "LSTMConfig",
    "LayerCache",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Noise",
    "Parameter",
    "TokenHead",
    "TransformerBlock",
    "detach",
    "freeze_to",
    "full",
    "initial_vectors",
    "masked_mean",
    "normal",
    "truncate",
    "uniform",
    "BatchNorm1d",
    "Buffer",
    "CharCNN",
    "CharCNNConfig",
    "ConcatPool",
    "Conv1d",
    "Highway",
    "Pooler",
    "ScalarMix",
]
