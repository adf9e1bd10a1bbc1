"""What every optimiser shares: rates, clipping, the average of the weights, saved state."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinylm import kernels
from tinylm.arguments import strings
from tinylm.errors import ArgumentError, CheckpointError, TinylmError
from tinylm.memory import must_fit
from tinylm.settings import Range, argument, at_least, from_to_below

from .flat import Segment
from .groups import NoDecay, Params, check_patterns, flatten, is_decayed

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


class Optimizer:
    """Parameters, gradients and state in flat buffers, so that a step is one pass over each.

    params : Module, (name, Parameter) pairs, or groups: dicts with "params" (pairs) and, where the
        group differs, "scale" (factor on lr), "weight_decay", "grad_scale" (factor on the gradient
        after clipping)
    no_decay : regular expressions, or a function (name, Parameter) -> bool. A parameter is not
        decayed if its name matches an expression, but is if it matches a later one that begins
        with "!".
    state : name -> start value of the arrays that a subclass keeps, one element per element of the
        parameters
    raises TinylmError  if there is nothing to train, a number is out of its range, or the memory is
        too small

    A subclass has `_update(arrays, rate, decay, factor)`: one step on arrays [p, g, *state] (N,);
    the gradient is g times factor.

    The parameters' data move into a flat buffer, so build the optimiser after loading weights and
    before keeping arrays. Frozen parameters (`requires_grad` False) are left as they are; a
    trainable one without a gradient has the gradient zero.
    """

    def __init__(
        self,
        params: Params,
        lr: float,
        weight_decay: float,
        no_decay: NoDecay,
        state: dict[str, float],
    ):
        if not callable(no_decay):
            no_decay = strings(no_decay, "no_decay")
            check_patterns(type(self).__name__, no_decay)
        self.lr = self._number("lr", lr)
        self.steps = 0
        self.averages = 0
        self._number("weight_decay", weight_decay)
        buckets = {}  # (dtype, scale, decay, grad_scale) -> parameters
        for group, name, p in flatten(params):
            decay = self._number("weight_decay", group.get("weight_decay", weight_decay))
            if not is_decayed(no_decay, name, p):
                decay = 0.0
            scale = float(self._number("scale", group.get("scale", 1.0)))
            grad_scale = float(self._number("grad_scale", group.get("grad_scale", 1.0)))
            settings = (str(p.dtype), scale, decay, grad_scale)
            buckets.setdefault(settings, []).append(p)
        if not buckets:
            raise TinylmError(
                f"{type(self).__name__} got no parameters; "
                "expected a Module or its named_parameters()."
            )
        self._must_fit(buckets.values(), copies=1 + len(state))
        self.segments = []
        for settings in sorted(buckets, key=_segment_order):
            _, scale, decay, grad_scale = settings
            self.segments.append(Segment(buckets[settings], scale, decay, grad_scale, state))

    def _must_fit(self, buckets, copies):
        """Refuse to start without memory for gradients and state; the weights are there already."""
        size = sum(p.size * p.dtype.itemsize for members in buckets for p in members)
        what = f"{type(self).__name__}: what training needs beside the weights"
        must_fit((size, copies), 1, what)

    def _number(self, name, value, kind=float, limit=None):
        """An argument of this optimiser, held to its range in RANGES unless another is given."""
        return argument(type(self).__name__, name, value, kind, limit or RANGES[name])

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for segment in self.segments:
            for p in segment.members:
                p.grad = None

    def step(
        self,
        lr: float | None = None,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> float | None:
        """One update of all parameters.

        lr : instead of self.lr
        max_value : first limit every entry of the gradient to [−max_value, max_value]
        max_norm : then shrink the gradient so that its global norm is at most this
        returns the global norm before shrinking if max_norm is given, else None. If the norm is not
            finite, nothing changes.
        raises ArgumentError  for a number out of its range
        """
        for name, limit in (("max_norm", max_norm), ("max_value", max_value)):
            if limit is not None and not limit >= 0:  # infinity measures the norm alone
                raise ArgumentError(
                    f"{type(self).__name__}: {name} is {limit}; expected a number of 0 or more."
                )
        for s in self.segments:
            s.collect()
            if max_value is not None:
                np.clip(s.grad, -max_value, max_value, out=s.grad)
        norm = None
        factor = 1.0
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

    def check(self, loss: float) -> None:
        """Take note of a validation loss; an optimiser that reacts to it overrides this."""

    # ---- the average of the weights ----

    def start_average(self) -> None:
        """From the next step on keep the mean of the weights after each step.

        A second call changes nothing.
        """
        for s in self.segments:
            if s.average is None:
                s.average = np.zeros_like(s.data)

    def _add_to_average(self):
        """ā ← ā − (ā − p)/n, the n-th mean.

        That is a step of SGD on ā, at the rate 1/n, with the gradient −p and the decay 1.
        """
        if self.segments[0].average is None:
            return
        self.averages += 1
        rate = 1 / self.averages
        decay = 1.0
        factor = -1.0
        for s in self.segments:
            no_momentum = s.average[:0]
            kernels.sgd(s.average, s.data, no_momentum, rate, 0.0, 1.0, 1.0, 0.0, decay, factor)

    def adopt_average(self) -> None:
        """Put the averages, if there are any yet, in the parameters' place for good."""
        if self.averages:
            for s in self.segments:
                s.data[...] = s.average

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this context the parameters hold their averages, if there are any yet."""
        if not self.averages:
            yield
            return
        own = [s.data.copy() for s in self.segments]
        self.adopt_average()
        try:
            yield
        finally:
            for s, values in zip(self.segments, own, strict=True):
                s.data[...] = values

    # ---- saved state ----

    def state(self) -> dict[str, np.ndarray]:
        """The state that a resumed run needs: name -> array.

        Holds the flat state ("m.0" is the first segment's m), averages and the number of steps.
        """
        arrays = {
            "steps": np.array(self.steps, np.int64),
            "averages": np.array(self.averages, np.int64),
        }
        for i, s in enumerate(self.segments):
            for name, array in s.state.items():
                arrays[f"{name}.{i}"] = array
            if s.average is not None:
                arrays[f"average.{i}"] = s.average
        return arrays

    def load_state(self, arrays: dict[str, Any]) -> None:
        """Take up what state() returned.

        raises CheckpointError  if the arrays belong to other parameters or to another optimiser, or
            a count is no number
        """
        averaged = "average.0" in arrays
        steps = _count(arrays, "steps")
        averages = _count(arrays, "averages") if "averages" in arrays else 0
        for i, s in enumerate(self.segments):
            for name in s.state:
                _expect(arrays, f"{name}.{i}", s.data.shape)
            if averaged:
                _expect(arrays, f"average.{i}", s.data.shape)
        if averages and not averaged:
            raise CheckpointError("The optimiser's state counts averages, but holds none.")
        for i, s in enumerate(self.segments):
            s.average = arrays[f"average.{i}"].astype(s.data.dtype) if averaged else None
            for name, own in s.state.items():
                own[...] = arrays[f"{name}.{i}"]
        self.steps = steps
        self.averages = averages


def _segment_order(settings):
    """By dtype, then the largest scale, decay and grad_scale first.

    Saved arrays are numbered by their segment, so the order must not depend on that of the groups.
    """
    dtype, *numbers = settings
    return (dtype, *(-x for x in numbers))


def _count(arrays, name):
    """A count among saved arrays.   raises CheckpointError if it is missing or none"""
    _expect(arrays, name, ())
    count = int(arrays[name])
    if count < 0:
        raise CheckpointError(f"The optimiser's state has {name} = {count}; expected 0 or more.")
    return count


def _expect(arrays, name, shape):
    """raises CheckpointError if there is no array of that name and shape"""
    if name not in arrays or arrays[name].shape != shape:
        raise CheckpointError(
            f"The optimiser's state {name!r} is missing or has not the shape {shape}; "
            "it belongs to another model."
        )
