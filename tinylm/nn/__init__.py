"""Floor 3: modules.

Read in this order: module.py, layers.py, recurrent.py, transformer.py, characters.py, pooling.py.
"""

from .characters import CharCNN, CharCNNConfig, Highway
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
    uniform,
)
from .pooling import ConcatPool, Pooler, ScalarMix
from .recurrent import LSTM, LSTMConfig, detach
from .transformer import MLP, BlockConfig, Cache, MultiHeadAttention, TransformerBlock

__all__ = [
    "LSTM",
    "MLP",
    "BlockConfig",
    "Cache",
    "Dropout",
    "Embedding",
    "LSTMConfig",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Noise",
    "Parameter",
    "TransformerBlock",
    "detach",
    "freeze_to",
    "full",
    "initial_vectors",
    "normal",
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
