"""The LSTM: layers, directions, projection, carried state, and the dropout of AWD-LSTM.

`LSTM` is PyTorch's: layers of one size. `LSTMStack` is a tower of single layers with sizes of their
own, and gives back what each of them says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.memory import must_fit
from tinylm.ops.registry import Operand
from tinylm.settings import Config, above, at_least, from_to_below
from tinylm.tensor import Tensor

from .layers import Dropout
from .module import Module, ModuleList, Noise, Parameter, uniform

State = list[tuple[Tensor, Tensor]]  # (h, c) for each layer and direction


@dataclass(frozen=True)
class LSTMConfig(Config):
    """Sizes under PyTorch's names, and what ELMo and AWD-LSTM add.

    dropout : rate between layers     variational : one dropout mask for all steps
    weight_drop : rate on the recurrent weights, one mask for a whole forward
    cell_clip, projection_clip : bounds on |c| and on |r|, None = no bound
    forget_bias : the initial value of b_f

    >>> LSTMConfig(input_size=5, hidden_size=7, proj_size=3).width
    3
    """

    ranges = {
        "input_size": at_least(1),
        "hidden_size": at_least(1),
        "num_layers": at_least(1, 1000),
        "dropout": from_to_below(0, 1),
        "proj_size": at_least(0),
        "weight_drop": from_to_below(0, 1),
        "cell_clip": above(0),
        "projection_clip": above(0),
    }
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    variational: bool = False
    weight_drop: float = 0.0
    cell_clip: float | None = None
    projection_clip: float | None = None
    forget_bias: float = 0.0

    def check(self) -> None:
        """raises ArgumentError if the weights do not fit into the memory"""
        directions = 1 + self.bidirectional
        inputs = max(self.input_size, directions * self.width) + 2 * self.width
        shape = (self.num_layers, directions, 4 * self.hidden_size, inputs)
        must_fit(shape, 4, "LSTMConfig: the weights")

    @property
    def width(self) -> int:
        """Columns of the output per direction."""
        return self.proj_size or self.hidden_size


class LSTM(Module):
    """Layers of LSTM.   (B, T, C) -> (B, T, D·P) for D directions, and the last state

    config : LSTMConfig
    noise : nn.Noise
    rng : Generator of the initial weights, U(−1/√H, 1/√H)
    Parameters: weight_ih_l0 (4H, C), weight_hh_l0 (4H, P), bias_l0 (4H,), weight_hr_l0 (P, H); the
    second direction's names end in "_reverse". Gates in the order i, f, g, o.
    Source: as PyTorch's nn.LSTM, batch first; one bias where PyTorch has two that add up. Merity et
    al. 2018 (weight drop).

    >>> lstm = LSTM(LSTMConfig(5, 7), noise=Noise(), rng=np.random.default_rng(0))
    >>> [(name, p.shape) for name, p in lstm.named_parameters()]
    [('weight_ih_l0', (28, 5)), ('weight_hh_l0', (28, 7)), ('bias_l0', (28,))]
    """

    def __init__(self, config: LSTMConfig, *, noise: Noise, rng: np.random.Generator):
        self.config = config
        self.noise = noise
        directions = 1 + config.bidirectional
        for layer in range(config.num_layers):
            inputs = config.width * directions if layer else config.input_size
            for suffix in self._suffixes(layer):
                self._build(suffix, inputs, rng)

    def _build(self, suffix, inputs, rng):
        """Make the parameters of one layer and direction."""
        c = self.config
        gates = 4 * c.hidden_size
        shapes = {"weight_ih": (gates, inputs), "weight_hh": (gates, c.width)}
        if c.bias:
            shapes["bias"] = (gates,)
        if c.proj_size:
            shapes["weight_hr"] = (c.proj_size, c.hidden_size)
        bound = 1 / c.hidden_size**0.5
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(uniform(rng, shape, bound)))
        if c.bias:
            bias = getattr(self, "bias" + suffix).data
            bias[c.hidden_size : 2 * c.hidden_size] += c.forget_bias

    def _suffixes(self, layer):
        """The ends of the parameters' names, one for each direction."""
        forward = f"_l{layer}"
        return [forward, forward + "_reverse"] if self.config.bidirectional else [forward]

    def _weights(self, suffix):
        """W_ih, W_hh (dropped while training), b, W_p of one layer and direction."""
        recurrent = getattr(self, "weight_hh" + suffix)
        rate = self.config.weight_drop
        if self.training and rate:
            recurrent = F.dropout(recurrent, rate, self.noise.key())
        inputs = getattr(self, "weight_ih" + suffix)
        bias = vars(self).get("bias" + suffix)
        projection = vars(self).get("weight_hr" + suffix)
        return inputs, recurrent, bias, projection

    def forward(
        self,
        x: Operand,
        state: State | None = None,
        mask: ArrayLike | None = None,
        reverse: bool = False,
    ) -> tuple[Tensor, State]:
        """x : (B, T, C) -> out (B, T, D·P), and the state after the last step.

        state : for every layer and direction a pair h (B, P), c (B, H), as an earlier call returned
            it (`detach` cuts its history); None for zeros
        mask : bool (B, T); at False no step is made: the state passes on, the output is 0
        reverse : read from the last step to the first (and with two directions, both turned)
        """
        c = self.config
        cell_bound = np.inf if c.cell_clip is None else c.cell_clip
        projection_bound = np.inf if c.projection_clip is None else c.projection_clip
        bounds = (cell_bound, projection_bound)
        if mask is not None:
            mask = np.asarray(mask).T  # (B,T) -> (T,B)
        x = F.swapaxes(x, 0, 1)  # (B,T,C) -> (T,B,C)
        ends = []
        for layer in range(c.num_layers):
            if layer and c.dropout and self.training:
                shared = (0,) if c.variational else ()
                x = F.dropout(x, c.dropout, self.noise.key(), shared=shared)
            outs = []
            for suffix in self._suffixes(layer):
                turned = suffix.endswith("_reverse") != reverse
                start = None if state is None else state[len(ends)]
                weights = self._weights(suffix)
                out, end = F.lstm(x, start, weights, mask, turned, bounds)
                outs.append(out)
                ends.append(end)
            x = outs[0] if len(outs) == 1 else F.concatenate(outs, axis=2)
        return F.swapaxes(x, 0, 1), ends


class LSTMStack(Module):
    """Single layers of LSTM, one on another, each with its own sizes.   (B, T, C) -> L of (B, T, P)

    configs : an LSTMConfig for each layer, of one layer and one direction; the input size of each
        is the width of the one below
    dropout : rate between layers; one mask for all steps if `variational`
    residual : from the second layer on, an output is what the layer says plus what it has read
    noise : nn.Noise     rng : Generator of the initial weights
    raises ShapeError  if two neighbours do not fit
    Source: Merity et al. 2018 (sizes, variational dropout); Peters et al. 2018 (residual: it adds
    the dropped input, and the state that is carried on does not hold it).

    >>> sizes = [LSTMConfig(5, 7), LSTMConfig(7, 3)]
    >>> stack = LSTMStack(sizes, noise=Noise(), rng=np.random.default_rng(0))
    >>> outs, state = stack(np.zeros((2, 11, 5), np.float32))
    >>> [out.shape for out in outs]
    [(2, 11, 7), (2, 11, 3)]
    """

    def __init__(
        self,
        configs: Sequence[LSTMConfig],
        dropout: float = 0.0,
        variational: bool = True,
        residual: bool = False,
        *,
        noise: Noise,
        rng: np.random.Generator,
    ):
        for below, above_it in pairwise(configs):
            if below.width != above_it.input_size:
                raise ShapeError(
                    f"LSTMStack: a layer of width {below.width} is read by one of input_size "
                    f"{above_it.input_size}; expected equal numbers."
                )
        self.rnns = ModuleList(LSTM(config, noise=noise, rng=rng) for config in configs)
        self.drop = Dropout(dropout, noise, shared=(1,) if variational else ())
        self.residual = residual

    def forward(
        self,
        x: Operand,
        state: State | None = None,
        mask: ArrayLike | None = None,
        reverse: bool = False,
    ) -> tuple[list[Tensor], State]:
        """x : (B, T, C) -> the output of every layer, (B, T, P) each, and the state after the end.

        The arguments are those of `LSTM.forward`; the state has a pair (h, c) for each layer. What
        is returned of a layer has not been dropped; the layer above reads it dropped.
        """
        outs = []
        ends = []
        for i, layer in enumerate(self.rnns):
            read = self.drop(x) if i else x
            start = None if state is None else state[i : i + 1]
            x, end = layer(read, start, mask, reverse)
            if i and self.residual:
                x = x + read
            outs.append(x)
            ends += end
        return outs, ends


class Carried:
    """What a stack of LSTMs has read so far, as a cache for generation: a fixed number of numbers.

    state : after the tokens read, None before the first

    >>> cache = Carried([(Tensor([[1.0], [2.0]]), Tensor([[3.0], [4.0]]))])
    >>> cache.reorder([1, 1])
    >>> cache.state[0][0].data.tolist()
    [[2.0], [2.0]]
    """

    def __init__(self, state: State | None = None):
        self.state = state

    def reorder(self, rows: ArrayLike) -> None:
        """Go on with these rows of the batch, in this order; a row may come several times."""
        rows = np.asarray(rows, np.int64)
        if self.state is not None:
            picked = [[Tensor(part.data[rows]) for part in pair] for pair in self.state]
            self.state = [tuple(pair) for pair in picked]


def detach(state: State) -> State:
    """The same state without its history: truncated backpropagation through time stops here."""
    return [tuple(part.detach() for part in pair) for pair in state]
