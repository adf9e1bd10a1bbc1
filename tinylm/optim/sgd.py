"""SGD and what is built on its step: averaged SGD (AWD-LSTM) and Adagrad (GloVe, ELMo)."""

import numpy as np

from .. import kernels
from ..errors import ArgumentError
from ..settings import at_least
from .base import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

        g ← g + λp,   b ← μb + (1−τ)g (at first b = g),   p ← p − lr·b     nesterov: p ← p − lr·(g + μb)

    μ momentum, τ dampening, λ weight_decay     params, no_decay : as in Optimizer
    Source: Sutskever et al. 2013 in PyTorch's form. Differs: a parameter that was frozen at first starts with b = 0.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0.0,
        dampening=0.0,
        weight_decay=0.0,
        nesterov=False,
        no_decay=(),
    ):
        self.momentum = self._number("momentum", momentum)
        self.dampening = self._number("dampening", dampening)
        self.nesterov = nesterov
        super().__init__(params, lr, weight_decay, no_decay, {"b": 0.0} if momentum else {})

    def _update(self, arrays, rate, decay, factor):
        share = 1 - self.dampening if self.steps > 1 else 1.0
        direct, along = (1.0, self.momentum) if self.nesterov else (0.0, 1.0)
        p, g, b = (*arrays, arrays[0][:0])[:3]
        kernels.sgd(p, g, b, rate, self.momentum, share, direct, along, decay, factor)


class ASGD(SGD):
    """SGD that goes over to the mean of its weights once the validation loss no longer falls (NT-ASGD).

    nonmono : that many checks are given to the loss to fall again     use: optimizer.check(loss) after each evaluation, in
    `with optimizer.averaged():`, where the weights are the mean if there is one
    Source: Merity et al. 2018, section 4. Differs from PyTorch's ASGD, which they use: λ = 0 and t₀ = 0, as they set them;
    the mean begins with the first step after the switch, not with the second.
    """

    def __init__(self, params, lr=1e-3, weight_decay=0.0, nonmono=5, no_decay=()):
        super().__init__(params, lr, weight_decay=weight_decay, no_decay=no_decay)
        self.nonmono = self._number("nonmono", nonmono, int, at_least(0))
        self.losses = []

    def check(self, loss):
        """Note a validation loss; starts the average when one more than `nonmono` checks old is lower."""
        earlier = self.losses[: max(len(self.losses) - self.nonmono, 0)]
        self.losses.append(float(loss))
        if earlier and min(earlier) < loss:
            self.start_average()

    def state(self):
        """As Optimizer.state, and the validation losses so far."""
        return super().state() | {"losses": np.array(self.losses, np.float64)}

    def load_state(self, arrays):
        """Take up what state() returned.   raises CheckpointError as Optimizer.load_state"""
        super().load_state(arrays)
        self.losses = [float(loss) for loss in arrays.get("losses", ())]


class Adagrad(Optimizer):
    """Every element has a rate of its own, which shrinks with the squares of its gradients.

        s ← s + g²,   p ← p − lr·g/(√s + ε)

    initial_accumulator_value : s at first; PyTorch's default 0, TensorFlow's 0.1, ELMo's and GloVe's 1.0
    delayed : divide by the root of s as it was before this gradient, as GloVe's code does (s must not start at 0)
    weight_decay : λ in g ← g + λp     params, no_decay : as in Optimizer
    Source: Duchi et al. 2011. Differs from TensorFlow: ε, which 0 turns off (s must not start at 0 then either).
    """

    def __init__(
        self,
        params,
        lr=0.01,
        weight_decay=0.0,
        initial_accumulator_value=0.0,
        eps=1e-10,
        delayed=False,
        no_decay=(),
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
        kernels.adagrad(*arrays, rate, self.eps, int(self.delayed), decay, factor)
