"""SGD and its relatives: averaged SGD (AWD-LSTM) and Adagrad (GloVe, ELMo)."""

from typing import Any

import numpy as np

from tinylm import kernels
from tinylm.errors import ArgumentError, CheckpointError
from tinylm.settings import at_least

from .base import Optimizer
from .groups import NoDecay, Params


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

        g ← g + λp,   b ← μb + (1−τ)g (at first b = g),   p ← p − lr·b
        nesterov:                                          p ← p − lr·(g + μb)

    μ momentum, τ dampening, λ weight_decay     params, no_decay : as in Optimizer
    Source: Sutskever et al. 2013 in PyTorch's form. Differs: a parameter that was frozen at first
    starts with b = 0.

    >>> from tinylm.tensor import Tensor
    >>> p = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([("p", p)], lr=0.5)
    >>> p.grad = np.array([2.0, 0.0], np.float32)
    >>> optimizer.step()
    >>> p.data.tolist()
    [0.0, 2.0]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        no_decay: NoDecay = (),
    ):
        self.momentum = self._number("momentum", momentum)
        self.dampening = self._number("dampening", dampening)
        self.nesterov = nesterov
        super().__init__(params, lr, weight_decay, no_decay, {"b": 0.0} if momentum else {})

    def _update(self, arrays, rate, decay, factor):
        p, g = arrays[:2]
        b = arrays[2] if self.momentum else p[:0]
        share = 1 - self.dampening if self.steps > 1 else 1.0
        direct = 1.0 if self.nesterov else 0.0  # p ← p − lr·(direct·g + along·b)
        along = self.momentum if self.nesterov else 1.0
        kernels.sgd(p, g, b, rate, self.momentum, share, direct, along, decay, factor)


class ASGD(SGD):
    """SGD that goes over to the mean of its weights once the validation loss stops falling.

    nonmono : number of checks in which the loss may fall again (NT-ASGD)
    Call optimizer.check(loss) after each evaluation, and evaluate in `with optimizer.averaged():`,
    where the weights are the mean if there is one.
    Source: Merity et al. 2018, section 4. Differs from PyTorch's ASGD, which they use: λ = 0 and
    t₀ = 0, as they set them; the mean begins with the first step after the switch, not with the
    second.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        nonmono: int = 5,
        no_decay: NoDecay = (),
    ):
        super().__init__(params, lr, weight_decay=weight_decay, no_decay=no_decay)
        self.nonmono = self._number("nonmono", nonmono, int, at_least(0))
        self.losses = []

    def check(self, loss: float) -> None:
        """Note a validation loss; start the average if one older than `nonmono` checks is lower."""
        old = max(len(self.losses) - self.nonmono, 0)
        earlier = self.losses[:old]
        self.losses.append(float(loss))
        if earlier and min(earlier) < loss:
            self.start_average()

    def state(self) -> dict[str, np.ndarray]:
        """As Optimizer.state, and the validation losses so far."""
        return super().state() | {"losses": np.array(self.losses, np.float64)}

    def load_state(self, arrays: dict[str, Any]) -> None:
        """Take up what state() returned.   raises CheckpointError as Optimizer.load_state"""
        super().load_state(arrays)
        losses = np.asarray(arrays.get("losses", ()))
        if losses.ndim != 1:
            raise CheckpointError(
                f"The optimiser's state has losses of shape {losses.shape}; expected a list."
            )
        self.losses = losses.tolist()


class Adagrad(Optimizer):
    """Every element has a rate of its own, which shrinks with the squares of its gradients.

        s ← s + g²,   p ← p − lr·g/(√s + ε)

    initial_accumulator_value : s at first; PyTorch's default is 0, TensorFlow's 0.1, ELMo's and
        GloVe's 1.0
    delayed : divide by the root of s as it was before this gradient, as GloVe's code does (s must
        not start at 0)
    weight_decay : λ in g ← g + λp     params, no_decay : as in Optimizer
    Source: Duchi et al. 2011. Differs from TensorFlow: there is an ε; 0 turns it off (then too s
    must not start at 0).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        delayed: bool = False,
        no_decay: NoDecay = (),
    ):
        start = self._number("initial_accumulator_value", initial_accumulator_value)
        self.eps = self._number("eps", eps, limit=at_least(0))
        self.delayed = delayed
        if not start and (delayed or not eps):
            raise ArgumentError(
                "Adagrad: initial_accumulator_value is 0; expected more where eps is 0 or with "
                "delayed=True, for a gradient of zero would be divided by zero."
            )
        super().__init__(params, lr, weight_decay, no_decay, {"s": start})

    def _update(self, arrays, rate, decay, factor):
        p, g, s = arrays
        kernels.adagrad(p, g, s, rate, self.eps, int(self.delayed), decay, factor)
