"""Floor 3: modules. Read in this order: module.py, layers.py, recurrent.py, transformer.py."""

from .layers import Dropout, Embedding, LayerNorm, Linear, Noise
from .module import Module, ModuleList, Parameter, freeze_to, normal
from .recurrent import LSTM, LSTMConfig, detach
from .transformer import MLP, BlockConfig, Cache, MultiHeadAttention, TransformerBlock

__all__ = [
    "LSTM", "MLP", "BlockConfig", "Cache", "Dropout", "Embedding", "LSTMConfig", "LayerNorm", "Linear", "Module",
    "ModuleList", "MultiHeadAttention", "Noise", "Parameter", "TransformerBlock", "detach", "freeze_to",
    "normal",
]
