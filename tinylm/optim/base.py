"""What each optimiser shares: flat buffers, groups, clipping, frozen parameters, the average of the weights, saved state."""

import contextlib
import math
import re

import numpy as np

from .. import kernels
from ..arguments import strings
from ..errors import CheckpointError, TinylmError
from ..memory import must_fit
from ..nn.module import Module
from ..settings import Range, argument, at_least, from_to_below
from ..tensor import Tensor

RANGES = {
    "lr": at_least(0),
    "weight_decay": at_least(0),
    "scale": at_least(0),
    "grad_scale": at_least(0),
    "momentum": at_least(0),
    "dampening": Range(),
    "betas": from_to_below(0, 1),
    "initial_accumulator_value": at_least(0),
}  # of the numbers that optimisers and their groups take


class Segment:
    """A stretch of the flat buffers whose parameters share dtype, decay and rates.

    data, grad, average and every array of `state` : (N,), N the number of elements of all members
    """

    def __init__(self, members, settings, state):
        self.members, (self.scale, self.decay, self.grad_scale), self.average = (
            members,
            settings,
            None,
        )
        size, dtype = sum(p.size for p in members), members[0].dtype
        self.data, self.grad = np.empty(size, dtype), np.zeros(size, dtype)
        self.state = {name: np.full(size, start, dtype) for name, start in state.items()}
        self.places, self.homes, start = [], [], 0
        for p in members:
            place = slice(start, start + p.size)
            self.data[place] = p.data.ravel()
            p.data = self.data[place].reshape(p.shape)
            p.grad_home, p.grad = self.grad[place].reshape(p.shape), None
            self.places.append(place)
            self.homes.append(p.grad_home)
            start += p.size

    def collect(self):
        """Bring gradients that were set by hand or never came (zeros) into the flat buffer.

        raises TinylmError  if a parameter is no longer in this buffer
        """
        for p, home in zip(self.members, self.homes, strict=True):
            if p.grad_home is not home:
                raise TinylmError(
                    "A parameter has gone to another optimiser or dtype since this optimiser was built; "
                    "build a new one after the change."
                )
            if p.grad is None or not p.requires_grad:
                home[...] = 0
            elif p.grad is not home:
                home[...] = p.grad

    def squared_norm(self):
        """Σ g² as a Python float, added up in a fixed order."""
        partial = np.empty(-(-self.grad.size // kernels.NORM_BLOCK), self.grad.dtype)
        kernels.squared_norm(self.grad, partial)
        return float(partial.sum(dtype=np.float64))

    def stretches(self):
        """[data, grad, *state] of every stretch without a frozen parameter; one stretch when none is frozen."""
        runs = []
        for p, place in zip(self.members, self.places, strict=True):
            if p.requires_grad:
                begin = runs.pop().start if runs and runs[-1].stop == place.start else place.start
                runs.append(slice(begin, place.stop))
        return [
            [array[run] for array in (self.data, self.grad, *self.state.values())] for run in runs
        ]


class Optimizer:
    """Parameters, gradients and state in flat buffers, so that a step is one pass over each.

    params : Module, (name, Parameter) pairs, or groups: dicts with "params" (pairs) and, where the group differs, "scale"
        (factor on lr), "weight_decay", "grad_scale" (factor on the gradient after clipping)
    no_decay : regular expressions; a parameter is not decayed if its name matches one, but is if it matches a later one that
        begins with "!"; or a function (name, Parameter) -> bool
    state : name -> start value of the arrays that a subclass keeps, one element per element of the parameters
    A subclass has `_update(arrays, rate, decay, factor)`: one step on arrays [p, g, *state] (N,), g times factor being the
    gradient. The parameters' data move into a flat buffer, so build the optimiser after loading weights and before keeping
    arrays. Frozen parameters (`requires_grad` False) are left as they are; a trainable one without gradient counts as zero.
    raises TinylmError  if there is nothing to train, a number is out of its range, or the memory is too small
    """

    def __init__(self, params, lr, weight_decay, no_decay, state):
        self.lr = self._number("lr", lr)
        self._number("weight_decay", weight_decay)
        self.steps = 0
        self.averages = 0
        buckets = {}
        for group, name, p in _flatten(params):
            decay = self._number("weight_decay", group.get("weight_decay", weight_decay))
            decay = decay if _decays(no_decay, name, p) else 0.0
            scale = float(self._number("scale", group.get("scale", 1.0)))
            grad_scale = float(self._number("grad_scale", group.get("grad_scale", 1.0)))
            settings = (scale, decay, grad_scale)
            buckets.setdefault((str(p.dtype), *(-x for x in settings)), (settings, []))[1].append(p)
        if not buckets:
            raise TinylmError(
                f"{type(self).__name__} got no parameters; expected a Module or its named_parameters()."
            )
        sizes = [p.size * p.dtype.itemsize for _, members in buckets.values() for p in members]
        room = (sum(sizes), 1 + len(state))  # the weights themselves are there already
        must_fit(room, 1, f"{type(self).__name__}: what training needs beside the weights")
        # sorted: the segments number the saved arrays, so their order must not depend on that of the groups
        self.segments = [
            Segment(members, settings, state) for _, (settings, members) in sorted(buckets.items())
        ]

    def _number(self, name, value, kind=float, limit=None):
        """An argument of this optimiser, held to its range in RANGES unless another is given."""
        return argument(type(self).__name__, name, value, kind, limit or RANGES[name])

    def zero_grad(self):
        """Forget all gradients."""
        for segment in self.segments:
            for p in segment.members:
                p.grad = None

    def step(self, lr=None, max_norm=None, max_value=None):
        """One update; with max_norm returns the gradient's global norm, a float, as it was before clipping to max_norm.

        lr : instead of self.lr     max_value : every entry of the gradient is limited to [−max_value, max_value] first
        A norm that is not finite is returned and nothing is changed.
        """
        for s in self.segments:
            s.collect()
            if max_value is not None:
                np.clip(s.grad, -max_value, max_value, out=s.grad)
        norm, factor = None, 1.0
        if max_norm is not None:
            norm = sum(s.squared_norm() for s in self.segments) ** 0.5
            if not math.isfinite(norm):
                return norm
            factor = min(1.0, max_norm / (norm + 1e-6))
        rate = self._number("lr", self.lr if lr is None else lr)
        self.steps += 1
        for s in self.segments:
            for arrays in s.stretches():
                self._update(arrays, rate * s.scale, s.decay, factor * s.grad_scale)
        self._add_to_average()
        return norm

    def check(self, loss):
        """A validation loss, a float, was measured: what an optimiser may react to. This one does not."""

    # ---- the average of the weights ----

    def start_average(self):
        """From the next step on keep the mean of the weights after each step (a second call changes nothing)."""
        for s in self.segments:
            s.average = np.zeros_like(s.data) if s.average is None else s.average

    def _add_to_average(self):
        """ā ← ā − (ā − p)/n, the n-th mean: a step of SGD whose gradient is p, by −1, and whose decay is 1."""
        if self.segments[0].average is not None:
            self.averages += 1
            for s in self.segments:
                kernels.sgd(
                    s.average,
                    s.data,
                    s.average[:0],
                    1 / self.averages,
                    0.0,
                    1.0,
                    1.0,
                    0.0,
                    1.0,
                    -1.0,
                )

    def adopt_average(self):
        """Put the averages, if there are any yet, in the parameters' place for good."""
        for s in self.segments if self.averages else ():
            s.data[...] = s.average

    @contextlib.contextmanager
    def averaged(self):
        """Within this context the parameters hold their averages, if there are any yet; afterwards their own values."""
        own = [s.data.copy() for s in self.segments if self.averages]
        self.adopt_average()
        try:
            yield
        finally:
            for s, values in zip(
                self.segments, own, strict=False
            ):  # none were kept where there is no average
                s.data[...] = values

    # ---- saved state ----

    def state(self):
        """name -> array of everything that a resumed run needs: the flat state, averages and the number of steps."""
        arrays = {
            "steps": np.array(self.steps, np.int64),
            "averages": np.array(self.averages, np.int64),
        }
        for i, s in enumerate(self.segments):
            arrays |= {f"{name}.{i}": array for name, array in s.state.items()}
            arrays |= {} if s.average is None else {f"average.{i}": s.average}
        return arrays

    def load_state(self, arrays):
        """Take up what state() returned.

        raises CheckpointError  if the arrays belong to other parameters or to another optimiser
        """
        averaged = "average.0" in arrays
        wanted = {"steps": ()} | {
            f"{name}.{i}": s.data.shape
            for i, s in enumerate(self.segments)
            for name in [*s.state, *(["average"] if averaged else [])]
        }
        for name, shape in wanted.items():
            if name not in arrays or arrays[name].shape != shape:
                raise CheckpointError(
                    f"The optimiser's state {name!r} is missing or has not the shape {shape}; "
                    "it belongs to another model."
                )
        for i, s in enumerate(self.segments):
            s.average = arrays[f"average.{i}"].astype(s.data.dtype) if averaged else None
            for name, own in s.state.items():
                own[...] = arrays[f"{name}.{i}"]
        self.steps, self.averages = int(arrays["steps"]), int(arrays.get("averages", 0))


def _decays(no_decay, name, p):
    """Whether a parameter is decayed: the last matching pattern decides."""
    if callable(no_decay):
        return not no_decay(name, p)
    patterns = strings(no_decay, "no_decay")
    hits = [pattern for pattern in patterns if re.search(pattern.removeprefix("!"), name)]
    return not hits or hits[-1].startswith("!")


def _flatten(params):
    """(group, name, Parameter) of a Module, of pairs, or of groups; a shared Parameter once."""
    pairs = params.named_parameters() if isinstance(params, Module) else list(params)
    groups = pairs if pairs and isinstance(pairs[0], dict) else [{"params": pairs}]
    seen = set()
    for group in groups:
        if any(isinstance(pair, Tensor) for pair in group["params"]):
            raise TinylmError(
                "An optimiser wants names, for no_decay: pass the Module or its named_parameters()."
            )
        for name, p in group["params"]:
            if id(p) not in seen:
                seen.add(id(p))
                yield group, name, p


# ---- groups ----


def groups_by_name(module, settings):
    """Groups for an optimiser: a parameter belongs to the first pattern that its name matches, else to no special group.

    settings : regular expression -> dict of the group's settings, {r"^head": {"scale": 10.0, "weight_decay": 0.0}}
    """
    groups = [{"params": [], **given} for given in [*settings.values(), {}]]
    for name, p in module.named_parameters():
        hits = [i for i, pattern in enumerate(settings) if re.search(pattern, name)]
        groups[hits[0] if hits else -1]["params"].append((name, p))
    return groups


def layerwise(module, layers, factor, top=1.0, key="scale"):
    """Groups for an optimiser whose learning rate shrinks by `factor` from layer to layer downwards.

    layers : lists of Parameters from the bottom up, an objective's layer_groups(); the last has the rate `top`, and a
        parameter of the module that is in none of them (a head) has 1
    ULMFiT: factor 1/2.6. ELECTRA: factor d, top d². XLNet: without the embeddings among the layers, and as released with
    key "grad_scale", a factor on the gradient, which Adam hardly sees.
    """
    factors = {
        id(p): top * factor ** (len(layers) - 1 - i)
        for i, layer in enumerate(layers)
        for p in layer
    }
    groups = {}
    for name, p in module.named_parameters():
        value = factors.get(id(p), 1.0)
        groups.setdefault(value, {"params": [], key: value})["params"].append((name, p))
    return list(groups.values())
