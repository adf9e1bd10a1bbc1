"""Floor 3: modules. Read in this order: module.py, layers.py, transformer.py."""

from .layers import Dropout, Embedding, LayerNorm, Linear, Noise
from .module import Module, ModuleList, Parameter, normal
from .transformer import MLP, BlockConfig, Cache, MultiHeadAttention, TransformerBlock

__all__ = [
    "MLP", "BlockConfig", "Cache", "Dropout", "Embedding", "LayerNorm", "Linear", "Module", "ModuleList",
    "MultiHeadAttention", "Noise", "Parameter", "TransformerBlock", "normal",
]
