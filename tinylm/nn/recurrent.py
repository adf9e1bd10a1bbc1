"""The LSTM: layers, directions, projection, carried state, and the dropout of AWD-LSTM."""

from dataclasses import dataclass

import numpy as np

from .. import ops as F
from ..memory import must_fit
from ..settings import Config, above, at_least, from_to_below
from .module import Module, Parameter, uniform


@dataclass(frozen=True)
class LSTMConfig(Config):
    """Sizes under PyTorch's names, and what ELMo and AWD-LSTM add.

    dropout : rate between layers; variational : one mask for all steps     weight_drop : rate on the recurrent weights, one
    mask for a whole forward     cell_clip, projection_clip : bounds on |c| and on |r|, None = no bound
    forget_bias : where b_f starts
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

    def check(self):
        """The weights fit into the memory.   raises ArgumentError"""
        directions = 1 + self.bidirectional
        inputs = max(self.input_size, directions * self.width) + 2 * self.width
        shape = (self.num_layers, directions, 4 * self.hidden_size, inputs)
        must_fit(shape, 4, "LSTMConfig: the weights")

    @property
    def width(self):
        """Columns of the output per direction."""
        return self.proj_size or self.hidden_size


class LSTM(Module):
    """Layers of LSTM over (B, T, C) -> (B, T, D·P) for D directions, and the state after the last step.

    config : LSTMConfig     noise : nn.Noise     rng : Generator of the initial weights, U(−1/√H, 1/√H)
    Parameters: weight_ih_l0 (4H, C), weight_hh_l0 (4H, P), bias_l0 (4H,), weight_hr_l0 (P, H); "_reverse" behind the name
    for the second direction. Gates in the order i, f, g, o.
    Source: as PyTorch's nn.LSTM, batch first; one bias where PyTorch has two that add up. Merity et al. 2018 (weight drop).
    """

    def __init__(self, config, *, noise, rng):
        self.config, self.noise = config, noise
        bound, c = 1 / config.hidden_size**0.5, config
        directions = 2 if c.bidirectional else 1
        for layer in range(c.num_layers):
            inputs = c.width * directions if layer else c.input_size
            shapes = {
                "weight_ih": (4 * c.hidden_size, inputs),
                "weight_hh": (4 * c.hidden_size, c.width),
                "bias": (4 * c.hidden_size,),
                "weight_hr": (c.proj_size, c.hidden_size),
            }
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    if (name != "bias" or c.bias) and (name != "weight_hr" or c.proj_size):
                        setattr(
                            self,
                            name + suffix,
                            Parameter(uniform(rng, shape, bound)),
                        )
                if c.bias:
                    getattr(self, "bias" + suffix).data[c.hidden_size : 2 * c.hidden_size] += (
                        c.forget_bias
                    )

    def _suffixes(self, layer):
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.config.bidirectional]

    def _weights(self, suffix):
        """W_ih, W_hh (dropped while training), b, W_p of one layer and direction."""
        recurrent, rate = getattr(self, "weight_hh" + suffix), self.config.weight_drop
        if self.training and rate:
            recurrent = F.dropout(recurrent, rate, self.noise.key())
        return (
            getattr(self, "weight_ih" + suffix),
            recurrent,
            vars(self).get("bias" + suffix),
            vars(self).get("weight_hr" + suffix),
        )

    def forward(self, x, state=None, mask=None):
        """x : (B, T, C) -> out (B, T, D·P), state.   mask : bool (B, T), False = no step: state carried on, output 0

        state : what an earlier call returned (`detach` cuts its history), or None for zeros: for every layer and direction
        a pair h (B, P), c (B, H)
        """
        c, ends = self.config, []
        bounds = [np.inf if clip is None else clip for clip in (c.cell_clip, c.projection_clip)]
        x, mask = (
            F.swapaxes(x, 0, 1),
            None if mask is None else np.asarray(mask).T,
        )  # (B,T,C) -> (T,B,C)
        for layer in range(c.num_layers):
            if layer and c.dropout and self.training:
                x = F.dropout(x, c.dropout, self.noise.key(), shared=(0,) if c.variational else ())
            outs = []
            for reverse, suffix in enumerate(self._suffixes(layer)):
                start = None if state is None else state[len(ends)]
                out, end = F.lstm(
                    x,
                    start,
                    self._weights(suffix),
                    mask,
                    bool(reverse),
                    tuple(bounds),
                )
                outs.append(out)
                ends.append(end)
            x = outs[0] if len(outs) == 1 else F.concatenate(outs, axis=2)
        return F.swapaxes(x, 0, 1), ends


def detach(state):
    """The same state without its history: gradients stop here (truncated backpropagation through time)."""
    return [tuple(part.detach() for part in pair) for pair in state]
