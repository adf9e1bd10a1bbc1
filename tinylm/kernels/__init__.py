"""Floor 0: arrays in, arrays out. Each kernel stands beside the NumPy reference that defines it.

Read in this order: runtime/registry.py, elementary.py, activation.py, linear.py, layer_norm.py,
attention.py, block_step.py, lstm.py, convolution.py, cross_entropy.py, embedding.py, softmax.py,
dropout.py, adamw.py, sgd.py, word2vec.py, huffman.py, glove.py, merges.py, lattice.py, greedy.py. The rest of
runtime/ shows how they are compiled, cached and run on one pool of threads.
"""

from .activation import ACTIVATIONS, activate_ref, derivative_ref
from .adamw import BLOCK as NORM_BLOCK
from .adamw import adamw, squared_norm
from .attention import attention, attention_backward
from .block_step import block_step
from .convolution import conv1d_max, conv1d_max_backward
from .cross_entropy import head_backward, linear_cross_entropy
from .dropout import dropout
from .embedding import embedding_gather, embedding_scatter
from .glove import cooccurrence, glove, row_parts
from .greedy import longest_match, merge
from .huffman import huffman_tree
from .lattice import double_array, expectation, viterbi
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .lstm import lstm, lstm_backward
from .merges import learn_merges
from .runtime.pool import one_pool, set_threads, threads
from .runtime.registry import BACKEND, KERNELS, kernel
from .sgd import adagrad, sgd
from .softmax import softmax, softmax_backward
from .word2vec import CBOW_MEAN, CBOW_SUM, SKIP_GRAM, alias_table, draw_windows, word2vec

__all__ = [
    "ACTIVATIONS",
    "BACKEND",
    "KERNELS",
    "NORM_BLOCK",
    "activate_ref",
    "adagrad",
    "adamw",
    "alias_table",
    "attention",
    "attention_backward",
    "block_step",
    "derivative_ref",
    "draw_windows",
    "dropout",
    "embedding_gather",
    "embedding_scatter",
    "head_backward",
    "huffman_tree",
    "kernel",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "linear_cross_entropy",
    "lstm",
    "lstm_backward",
    "one_pool",
    "set_threads",
    "sgd",
    "softmax",
    "softmax_backward",
    "squared_norm",
    "threads",
    "conv1d_max",
    "conv1d_max_backward",
    "double_array",
    "CBOW_MEAN",
    "CBOW_SUM",
    "SKIP_GRAM",
    "cooccurrence",
    "expectation",
    "glove",
    "row_parts",
    "learn_merges",
    "longest_match",
    "merge",
    "viterbi",
    "word2vec",
]
