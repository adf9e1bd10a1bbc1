"""AdamW and Adam: one kernel updates parameters and both moments in one pass over the buffers."""

from tinylm import kernels
from tinylm.settings import above

from .base import Optimizer
from .groups import NoDecay, Params


class AdamW(Optimizer):
    """Adam with decoupled weight decay.

        m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²,  p ← p − lr·(m̂/(√v̂ + ε) + λp)

    betas : β₁, β₂ in [0, 1)     eps : ε > 0
    bias_correction : m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ); False as in BERT and ELECTRA: m̂ = m, v̂ = v
    eps_hat : ε beside √v instead of √v̂, as in TensorFlow and in GPT-1's code ("ε hat" in Kingma &
        Ba, section 2)
    params, no_decay : as in Optimizer; GPT-1 decays only matrices: no_decay=lambda name, p:
        p.ndim < 2
    Source: Loshchilov & Hutter 2019. Differs from PyTorch: a parameter without a gradient has the
    gradient zero; t counts the optimiser's steps, also for a parameter that was frozen at first.
    """

    _decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        bias_correction: bool = True,
        no_decay: NoDecay = (r"bias(_l\d|$)", r"ln_", r"[Nn]orm"),
        eps_hat: bool = False,
    ):
        super().__init__(params, lr, weight_decay, no_decay, {"m": 0.0, "v": 0.0})
        self.betas = self._number("betas", betas, tuple[float, float])
        self.eps = self._number("eps", eps, limit=above(0))
        self.bias_correction = bias_correction
        self.eps_hat = eps_hat

    def _update(self, arrays, rate, decay, factor):
        p, g, m, v = arrays
        beta1, beta2 = self.betas
        c1 = 1.0  # m̂ = m/c₁, v̂ = v/c₂
        c2 = 1.0
        if self.bias_correction:
            c1 = 1 - beta1**self.steps
            c2 = 1 - beta2**self.steps
        eps = self.eps / c2**0.5 if self.eps_hat else self.eps
        decoupled = decay if self._decoupled else 0.0
        l2 = 0.0 if self._decoupled else decay
        kernels.adamw(p, g, m, v, rate, beta1, beta2, eps, decoupled, l2, c1, c2, factor)


class Adam(AdamW):
    """Adam; weight decay is L2 regularisation, part of the gradient: g ← g + λp.

    Source: Kingma & Ba 2015. Differs: as AdamW. PyTorch's unless no_decay is given.
    """

    _decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        bias_correction: bool = True,
        no_decay: NoDecay = (),
        eps_hat: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, bias_correction, no_decay, eps_hat)
