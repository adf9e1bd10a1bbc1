"""Flat buffers: many parameters side by side in one array, so that a step is one pass over it."""

from collections.abc import Sequence

import numpy as np

from tinylm import kernels
from tinylm.errors import TinylmError
from tinylm.tensor import Tensor


class Segment:
    """A stretch of the flat buffers whose parameters share dtype, decay and rates.

    members : the parameters; their data become views of the buffer
    scale, decay, grad_scale : factor on the rate, weight decay, factor on the gradient
    state : name -> start value of an array of state
    data, grad, average and every array of `state` are (N,), with N the elements of all members
    """

    def __init__(
        self,
        members: Sequence[Tensor],
        scale: float,
        decay: float,
        grad_scale: float,
        state: dict[str, float],
    ):
        self.members = members
        self.scale = scale
        self.decay = decay
        self.grad_scale = grad_scale
        self.average = None
        size = sum(p.size for p in members)
        dtype = members[0].dtype
        self.data = np.empty(size, dtype)
        self.grad = np.zeros(size, dtype)
        self.state = {name: np.full(size, start, dtype) for name, start in state.items()}
        self.places = []  # slice of each member in the buffers
        self.homes = []  # view of `grad` of each member
        start = 0
        for p in members:
            place = slice(start, start + p.size)
            self.places.append(place)
            self.homes.append(self._move_in(p, place))
            start = place.stop

    def _move_in(self, p, place):
        """Move a parameter's data into the buffer; returns the slot for its gradient."""
        self.data[place] = p.data.ravel()
        p.data = self.data[place].reshape(p.shape)
        p.grad = None
        p.grad_home = self.grad[place].reshape(p.shape)
        return p.grad_home

    def collect(self) -> None:
        """Complete the flat gradient: copy gradients set by hand, write zeros where none came.

        raises TinylmError  if a parameter is no longer in this buffer
        """
        for p, home in zip(self.members, self.homes, strict=True):
            if p.grad_home is not home or p.data.base is not self.data:
                raise TinylmError(
                    "A parameter has gone to another optimiser, dtype or array since this "
                    "optimiser was built; build a new one after the change, or write into the "
                    "array that it has: p.data[...] = values."
                )
            if p.grad is None or not p.requires_grad:
                home[...] = 0
            elif p.grad is not home:
                home[...] = p.grad

    def squared_norm(self) -> float:
        """Σ g², added up in a fixed order."""
        blocks = -(-self.grad.size // kernels.NORM_BLOCK)
        partial = np.empty(blocks, self.grad.dtype)
        kernels.squared_norm(self.grad, partial)
        return float(partial.sum(dtype=np.float64))

    def stretches(self) -> list[list[np.ndarray]]:
        """[data, grad, *state] of every run of neighbours that are not frozen.

        Without a frozen parameter that is one stretch: the whole buffers.
        """
        runs = []
        for p, place in zip(self.members, self.places, strict=True):
            if not p.requires_grad:
                continue
            start = place.start
            if runs and runs[-1].stop == start:
                start = runs.pop().start
            runs.append(slice(start, place.stop))
        buffers = (self.data, self.grad, *self.state.values())
        return [[array[run] for array in buffers] for run in runs]
