"""GPT-1: learn the language from text first, then the task from few labels (Radford et al. 2018).

The idea: labelled texts are rare and plain text is not. So a transformer first learns to predict
the next token of much plain text. Then all of it learns the task, with nothing new but one linear
layer on the state of the last token. Tasks with several texts are written as one text with three
new tokens between the parts, so that the network itself stays as it is.

    pretraining    L_1(x) = −1/N Σ_t log p(x_t | x_1 … x_{t−1}),    p = softmax(W_e · h_t)
    fine-tuning    L = −log p(y | x) + λ L_1(x),    p = softmax(W_y · h at the last token)

Sees x_1 … x_{t−1}, predicts x_t; while it learns a task it goes on predicting the text.

Changes from word2vec.py: a token's vector depends on all tokens before it; a softmax over the whole
vocabulary in place of K draws; all weights, not a table of vectors, are what a task gets.

gpt.py, the successor, holds what both share. Here stands what GPT-1 does in its own way: the norm
follows each sub-layer and none follows the last block; tokens, special tokens and positions are
rows of one table, and dropout acts on that table.
"""

from dataclasses import dataclass, replace

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.settings import at_least, between, one_of
from tinylm.tensor import Tensor

from .base import ObjectiveConfig
from .gpt import GPT, check_sizes
from .inherit import for_tasks as for_tasks  # of any model; the idea, and so the name, is GPT-1's

# The published names -> ours. What GPT-1 calls gelu is the tanh form.
_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "swish": "silu", "silu": "silu"}


@dataclass(frozen=True)
class GPT1Config(ObjectiveConfig):
    """Sizes and rates under the names of the published config.json.

    afn : the activation; "gelu" means its tanh form, "swish" is x·σ(x)
    batch_size : windows of n_positions tokens per step

    >>> GPT1Config.gpt1().n_positions
    512
    >>> GPT1Config(vocab_size=11, n_embd=10, n_head=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: GPT1Config: n_embd = 10 is not a multiple of n_head = 3.
    """

    ranges = {
        "n_positions": at_least(1, 2**20),
        "n_embd": at_least(1, 2**16),
        "n_layer": at_least(1, 2**10),
        "n_head": at_least(1, 2**16),
        "afn": one_of(*_ACTIVATIONS),
        "resid_pdrop": between(0, 1),
        "embd_pdrop": between(0, 1),
        "attn_pdrop": between(0, 1),
        "layer_norm_epsilon": at_least(0),
        "initializer_range": at_least(0),
        "batch_size": at_least(1, 2**20),
    }
    changeable = ("batch_size", "resid_pdrop", "embd_pdrop", "attn_pdrop")
    vocab_size: int = 40478
    n_positions: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: str = "gelu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    batch_size: int = 16

    def check(self) -> None:
        """raises ShapeError if n_head does not divide n_embd, ArgumentError if memory is short"""
        check_sizes(self)

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "GPT1Config":
        """Trains in a minute on a laptop: 2 layers of 64, as GPTConfig.tiny."""
        sizes = dict(n_positions=64, n_embd=64, n_layer=2, n_head=2, initializer_range=0.1)
        config = cls(vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **sizes)
        return replace(config, **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "GPT1Config":
        """The size that `tinylm compare` trains: 2 layers of 96, as GPTConfig.small."""
        sizes = dict(n_positions=256, n_embd=96, n_layer=2, n_head=4, initializer_range=0.08)
        rates = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        config = cls(vocab_size, batch_size=4, **sizes, **rates)
        return replace(config, **over)

    @classmethod
    def gpt1(cls, **over) -> "GPT1Config":
        """The published model of 117 million parameters."""
        return replace(cls(), **over)


class GPT1(GPT, name="gpt1", encoding="bpe"):
    """The model and its objective.

    config : GPT1Config     rng : numpy Generator of the initial weights (a fixed one by default)
    table : (V + n_positions, C), the tokens with the special ones, then the positions
    Source: Radford et al. 2018; the released code. Differs: the released code scores the positions'
    rows beside the tokens; here they are never scored, as in the published conversion.

    >>> model = GPT1(GPT1Config(vocab_size=11, n_positions=7, n_embd=6, n_layer=2, n_head=3))
    >>> model.table.weight.shape
    (18, 6)
    >>> model.logits(np.array([[3, 4, 3]])).shape
    (1, 3, 11)
    """

    Config = GPT1Config
    model_type = "openai-gpt"

    def build(self, config: GPT1Config, rng: np.random.Generator) -> None:
        """Make the one table and the blocks; the table's tokens serve as the head too."""
        c = config
        std = c.initializer_range
        self.noise = nn.Noise()
        self.table = nn.Embedding(c.vocab_size + c.n_positions, c.n_embd, rng=rng, std=std)
        self.table_drop = nn.Dropout(c.embd_pdrop, self.noise)
        self.drop = nn.Dropout(0.0, self.noise)  # of the sum: the table has had its own
        block = nn.BlockConfig(
            width=c.n_embd,
            heads=c.n_head,
            hidden=4 * c.n_embd,
            activation=_ACTIVATIONS[c.afn],
            pre_norm=False,
            eps=c.layer_norm_epsilon,
            residual_dropout=c.resid_pdrop,
            attention_dropout=c.attn_pdrop,
            std=std,
            residual_std=std,
        )
        self.h = nn.ModuleList(
            nn.TransformerBlock(block, noise=self.noise, rng=rng) for _ in range(c.n_layer)
        )

    # -- the model -------------------------------------------------------------------------------

    def tables(self) -> tuple[Tensor, Tensor]:
        """The vectors of tokens (V, C) and of positions (P, C), after dropout on the one table.

        An entry that is dropped is missing wherever its token stands, and in the head too.
        """
        table = self.table_drop(self.table.weight)
        return table[: self.config.vocab_size], table[self.config.vocab_size :]

    def finish(self, x) -> Tensor:
        """The last block's states as they are: its second norm is the last."""
        return x

    def summary(self, states: list[Tensor], mask) -> Tensor:
        """The top state at the last real token, which in a task's input is <classify>.

        states : as `encode` returns them     mask : (B, T) bool, True = a real token
        returns (B, C)
        """
        from_the_end = np.argmax(np.asarray(mask)[:, ::-1], axis=1)
        last = mask.shape[1] - 1 - from_the_end  # (B,)
        top = F.gather_positions(states[-1], last[:, None])  # (B,T,C) -> (B,1,C)
        return top.reshape(len(last), -1)

    @property
    def token_table(self) -> nn.Parameter:
        """The token embeddings, and those of the positions behind them, (V + n_positions, C)."""
        return self.table.weight

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters from the bottom up: the table, then each block."""
        groups = [self.table.parameters()]
        for block in self.h:
            groups.append(block.parameters())
        return groups
