"""AdamW over flat buffers: parameters, gradients and moments each lie in one array, so that a step is one pass."""

import re

import numpy as np

from .. import kernels
from ..errors import CheckpointError, TinylmError


class _Segment:
    """A stretch of the flat buffers whose parameters share dtype, decay and rate."""

    def __init__(self, decay, scale, members):
        self.decay, self.scale, self.members = decay, scale, members
        size, dtype = sum(p.size for p in members), members[0].dtype
        self.data, self.grad = np.empty(size, dtype), np.zeros(size, dtype)
        self.m, self.v = np.zeros(size, dtype), np.zeros(size, dtype)
        start = 0
        for p in members:
            place = slice(start, start + p.size)
            self.data[place] = p.data.ravel()
            p.data = self.data[place].reshape(p.shape)
            p.grad_home, p.grad = self.grad[place].reshape(p.shape), None
            start += p.size

    def collect(self):
        """Bring gradients that were set by hand or never came (zeros) into the flat buffer."""
        for p in self.members:
            if p.grad is None:
                p.grad_home[...] = 0
            elif p.grad is not p.grad_home:
                p.grad_home[...] = p.grad

    def squared_norm(self):
        """Σ g² as a Python float, added up in a fixed order."""
        partial = np.empty(-(-self.grad.size // kernels.NORM_BLOCK), self.grad.dtype)
        kernels.squared_norm(self.grad, partial)
        return float(partial.sum(dtype=np.float64))


class AdamW:
    """Adam with decoupled weight decay.

        m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²,  p ← p − lr·(m̂/(√v̂ + ε) + λp)

    params : Module, (name, Parameter) pairs, or groups {"params": pairs, "scale": factor on lr}
    bias_correction : m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ); False as in BERT
    no_decay : regular expressions; parameters whose name matches one are not decayed
    The parameters' data move into a flat buffer, so build the optimiser after loading weights and before keeping arrays.
    raises TinylmError  if there is nothing to train
    Source: Loshchilov & Hutter 2019. Differs from PyTorch: a parameter without a gradient counts as gradient zero.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01,  # noqa: PLR0913 (PyTorch's)
                 bias_correction=True, no_decay=(r"bias$", r"ln_", r"[Ll]ayer_?[Nn]orm")):
        self.lr, self.betas, self.eps, self.bias_correction, self.steps = lr, betas, eps, bias_correction, 0
        buckets = {}
        for scale, name, p in _flatten(params):
            decay = 0.0 if any(re.search(pattern, name) for pattern in no_decay) else weight_decay
            buckets.setdefault((str(p.dtype), -scale, -decay), []).append(p)
        if not buckets:
            raise TinylmError("AdamW got no parameters; expected a Module or its named_parameters().")
        self.segments = [_Segment(-decay, -scale, members) for (_, scale, decay), members in sorted(buckets.items())]

    def zero_grad(self):
        """Forget all gradients."""
        for segment in self.segments:
            for p in segment.members:
                p.grad = None

    def step(self, lr=None, max_norm=None):
        """One update; with max_norm returns the gradient's global norm, a float, as it was before clipping to max_norm."""
        for segment in self.segments:
            segment.collect()
        norm, clip = None, 1.0
        if max_norm is not None:
            norm = sum(segment.squared_norm() for segment in self.segments) ** 0.5
            clip = min(1.0, max_norm / (norm + 1e-6))
        self.steps += 1
        beta1, beta2 = self.betas
        correction1, correction2 = (1 - beta1**self.steps, 1 - beta2**self.steps) if self.bias_correction else (1.0, 1.0)
        rate = self.lr if lr is None else lr
        for s in self.segments:
            kernels.adamw(s.data, s.grad, s.m, s.v, rate * s.scale, beta1, beta2, self.eps, s.decay,
                          correction1, correction2, clip)
        return norm

    def state(self):
        """name -> array of everything that a resumed run needs: the moments (flat) and the number of steps."""
        arrays = {"steps": np.array(self.steps, np.int64)}
        for i, s in enumerate(self.segments):
            arrays |= {f"m.{i}": s.m, f"v.{i}": s.v}
        return arrays

    def load_state(self, arrays):
        """Take up what state() returned.

        raises CheckpointError  if the arrays belong to other parameters
        """
        for i, s in enumerate(self.segments):
            for name, own in ((f"m.{i}", s.m), (f"v.{i}", s.v)):
                if name not in arrays or arrays[name].shape != own.shape:
                    raise CheckpointError(f"The optimiser's state {name!r} is missing or does not fit {own.size} "
                                          "parameters; it belongs to another model.")
                own[...] = arrays[name]
        self.steps = int(arrays["steps"])


def _flatten(params):
    """(scale, name, Parameter) of a Module, of pairs, or of groups; a shared Parameter once."""
    pairs = params.named_parameters() if hasattr(params, "named_parameters") else list(params)
    groups = pairs if pairs and isinstance(pairs[0], dict) else [{"params": pairs}]
    seen = set()
    for group in groups:
        for name, p in group["params"]:
            if id(p) not in seen:
                seen.add(id(p))
                yield float(group.get("scale", 1.0)), name, p
