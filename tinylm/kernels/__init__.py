"""Floor 0: arrays in, arrays out. Each kernel stands beside the NumPy reference that defines it.

>>> import numpy as np
>>> x = np.log([[1.0, 3.0]])
>>> out = np.empty_like(x)
>>> softmax(x, 0, out)  # 0: not its logarithm
>>> out
array([[0.25, 0.75]])

Read in this order: runtime/registry.py, elementary.py, softmax.py, layer_norm.py, dropout.py,
activation.py, runtime/panels.py, linear.py, heads.py, attention.py, relative.py, block_step.py,
lstm.py, convolution.py, crf.py, cross_entropy.py, divergence.py, embedding.py, adamw.py, sgd.py,
word2vec.py, huffman.py, glove.py, merges.py, lattice.py, greedy.py.
The rest of runtime/ shows how they are compiled, cached and run on one pool of threads.
"""

from .activation import ACTIVATIONS, activate_ref, derivative_ref
from .adamw import BLOCK as NORM_BLOCK
from .adamw import adamw, squared_norm
from .attention import attention, attention_backward
from .block_step import block_step
from .convolution import conv1d_max, conv1d_max_backward
from .crf import crf, crf_backward
from .cross_entropy import head_backward, linear_cross_entropy
from .divergence import kl_with_logits, kl_with_logits_backward
from .dropout import dropout
from .embedding import embedding_bag, embedding_gather, embedding_scatter
from .glove import cooccurrence, glove, row_parts
from .greedy import longest_match, merge
from .huffman import huffman_tree
from .lattice import double_array, expectation, viterbi
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .lstm import lstm, lstm_backward
from .merges import learn_merges
from .relative import relative_attention, relative_attention_backward
from .runtime.pool import one_pool, set_threads, threads
from .runtime.registry import BACKEND, KERNELS, kernel
from .sgd import adagrad, sgd
from .softmax import softmax, softmax_backward
from .word2vec import CBOW_MEAN, CBOW_SUM, SKIP_GRAM, alias_table, draw_windows, word2vec

__all__ = [
    "ACTIVATIONS",
    "BACKEND",
    "CBOW_MEAN",
    "CBOW_SUM",
    "KERNELS",
    "NORM_BLOCK",
    "SKIP_GRAM",
    "activate_ref",
    "adagrad",
    "adamw",
    "alias_table",
    "attention",
    "attention_backward",
    "block_step",
    "conv1d_max",
    "conv1d_max_backward",
    "cooccurrence",
    "crf",
    "crf_backward",
    "derivative_ref",
    "double_array",
    "draw_windows",
    "dropout",
    "embedding_bag",
    "embedding_gather",
    "embedding_scatter",
    "expectation",
    "glove",
    "head_backward",
    "huffman_tree",
    "kernel",
    "kl_with_logits",
    "kl_with_logits_backward",
    "layer_norm",
    "layer_norm_backward",
    "learn_merges",
    "linear",
    "linear_backward",
    "linear_cross_entropy",
    "longest_match",
    "lstm",
    "lstm_backward",
    "merge",
    "one_pool",
    "relative_attention",
    "relative_attention_backward",
    "row_parts",
    "set_threads",
    "sgd",
    "softmax",
    "softmax_backward",
    "squared_norm",
    "threads",
    "viterbi",
    "word2vec",
]
