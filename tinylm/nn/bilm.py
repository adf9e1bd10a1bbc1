"""Two stacks of LSTM layers, one for each direction of reading, and the states they carry on.

    forward     x_1 x_2 … x_T, from the left       h_{t,l} = LSTM_l(h_{t,l−1}) (+ h_{t,l−1}, l > 1)
    backward    x_T … x_2 x_1, from the right, with weights of its own

"bi" means both directions beside each other: neither reads what the other has found.
Source: Peters et al. 2018.
"""

import numpy as np

from tinylm import ops as F
from tinylm.errors import CheckpointError
from tinylm.tensor import Tensor

from .layers import Dropout
from .module import Module, ModuleList, Noise
from .recurrent import LSTMConfig, LSTMStack

REVERSED = slice(None, None, -1)


class BiLM(Module):
    """Both directions, and the states in which their readings ended.

    layer : LSTMConfig of every layer; its output is as wide as its input
    skip : from the second layer on, a layer's input is added to its output, see `LSTMStack`
    dropout : rate on every layer's input
    noise, rng : nn.Noise, Generator of the initial weights

    Several readings can go on beside each other, each under a name of its own: training,
    evaluation, encoding. A reading that is not carried on begins with zeros.

    >>> lm = BiLM(LSTMConfig(5, 7, proj_size=5), 2, skip=True, dropout=0.0, noise=Noise(),
    ...           rng=np.random.default_rng(0))
    >>> x = Tensor(np.ones((2, 3, 5), np.float32))
    >>> [layer.shape for layer in lm(x)]
    [(2, 3, 10), (2, 3, 10)]
    """

    def __init__(
        self,
        layer: LSTMConfig,
        layers: int,
        *,
        skip: bool,
        dropout: float,
        noise: Noise,
        rng: np.random.Generator,
    ):
        self.shapes = {
            "h": (2, layers, layer.width),
            "c": (2, layers, layer.hidden_size),
        }  # of a carried state, without its rows
        self.drop = Dropout(dropout, noise)
        how = dict(variational=False, residual=skip, noise=noise, rng=rng)
        self.directions = ModuleList(LSTMStack([layer] * layers, dropout, **how) for _ in range(2))
        self.carried: dict[str, dict[str, np.ndarray]] = {}  # reading -> h, c (2, L, B, ·)

    def forward(
        self, x: Tensor, mask: np.ndarray | None = None, reading: str | None = None
    ) -> list[Tensor]:
        """The layers above some words, both directions side by side: Tensors (B, T, 2·P).

        x : (B, T, P), from left to right     mask : (B, T) bool, True = a real word
        reading : the name of the reading that this one goes on from, None for none
        """
        backwards = None if mask is None else mask[:, REVERSED]
        forward, backward = self.read((x, x[:, REVERSED]), (mask, backwards), reading)
        layers = []
        for left, right in zip(forward, backward, strict=True):
            layers.append(F.concatenate([left, right[:, REVERSED]], axis=2))
        return layers

    def read(
        self,
        inputs: tuple[Tensor, Tensor],
        masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
        reading: str | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs of every layer of each direction, in the order in which it reads.

        inputs : (B, T, P) for each direction     masks : (B, T) bool for each, or None
        reading : as in `forward`
        """
        rows = inputs[0].shape[0]
        starts = (None, None)
        if reading in self.carried:
            starts = self._recalled(reading, rows, inputs[0].dtype)
        found = []
        ends = []
        for direction, x, start, mask in zip(self.directions, inputs, starts, masks, strict=True):
            outputs, end = direction(self.drop(x), start, mask)
            found.append(outputs)
            ends.append(end)
        if reading is not None:
            self._remember(reading, ends)
        forward, backward = found
        return forward, backward

    # -- carried states --------------------------------------------------------------------------

    def forget(self, reading: str) -> None:
        """Let a reading begin anew."""
        self.carried.pop(reading, None)

    def _recalled(self, reading, rows, dtype):
        """Where a reading ended: for each direction (h, c) of each layer, for so many rows.

        Rows that it did not have begin with zeros.
        """
        arrays = {}
        for name, known in self.carried[reading].items():
            missing = max(rows - known.shape[2], 0)
            widened = np.pad(known, ((0, 0), (0, 0), (0, missing), (0, 0)))
            arrays[name] = widened[:, :, :rows].astype(dtype)
        starts = []
        for h, c in zip(arrays["h"], arrays["c"], strict=True):
            starts.append([(Tensor(a), Tensor(b)) for a, b in zip(h, c, strict=True)])
        return starts

    def _remember(self, reading, ends):
        """Keep where a reading ended; rows that it had before and has no more stay as they are."""
        before = self.carried.get(reading, {})
        after = {}
        for place, name in enumerate(("h", "c")):
            ways = [[state[place].data for state in end] for end in ends]
            now = np.array(ways)  # (2,L,B,·)
            if name in before:
                now = np.concatenate([now, before[name][:, :, now.shape[2] :]], axis=2)
            after[name] = now
        self.carried[reading] = after

    def state(self, reading: str, rows: int) -> dict[str, np.ndarray]:
        """Where a reading ended: "h" (2, L, B, P) and "c" (2, L, B, H), the direction first.

        rows : B before it began; then the state is zero
        """
        if reading in self.carried:
            return dict(self.carried[reading])
        zeros = {}
        for name, (ways, layers, width) in self.shapes.items():
            zeros[name] = np.zeros((ways, layers, rows, width), np.float32)
        return zeros

    def load_state(self, reading: str, arrays: dict[str, np.ndarray]) -> None:
        """Take what `state` gave.   raises CheckpointError if an array is missing or misshapen"""
        taken = {}
        for name, (ways, layers, width) in self.shapes.items():
            found = np.array(arrays.get(name, ()))
            fits = found.ndim == 4 and (*found.shape[:2], found.shape[3]) == (ways, layers, width)
            if not fits:
                raise CheckpointError(
                    f"The carried state {name} has the shape {found.shape}; expected ({ways}, "
                    f"{layers}, B, {width}). It is damaged or another model's."
                )
            taken[name] = found
        self.carried[reading] = taken
