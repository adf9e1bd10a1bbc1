"""Learning-rate schedules: pure functions of the step that return a factor in [0, 1].

`step` counts from 0; `steps` is the length of the run; `warmup` is its first part, in steps. Ours begin at 1/warmup. The
published ones are as their code has them, and so begin at 0 where there is a warm-up: their first update changes nothing.
An argument that is not finite or out of its range raises ArgumentError.
"""

import functools
import inspect
import math

from ..settings import argument, at_least, between

SCHEDULES = {}  # name -> schedule, as TrainConfig names them
RANGES = {
    "step": at_least(0),
    "steps": at_least(0),
    "warmup": at_least(0),
    "floor": between(0, 1),
    "ratio": at_least(1),
}


def schedule(function):
    """Decorator: the function is one of SCHEDULES, and its arguments are held to RANGES."""
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*arguments, **named):
        for name, value in (*zip(names, arguments, strict=False), *named.items()):
            if name in RANGES:
                argument(function.__name__, name, value, float, RANGES[name])
        return function(*arguments, **named)

    SCHEDULES[function.__name__] = checked
    return checked


def _ramp(step, warmup):
    """Linear from 1/warmup to 1 over the first `warmup` steps."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def _progress(step, steps, warmup):
    """How far the part after the warm-up has come, in [0, 1]."""
    return min(1.0, max(0.0, (step - warmup) / max(steps - warmup, 1)))


def _left(step, steps):
    """The share of the run that is still to come, in [0, 1]."""
    return max(0.0, 1 - step / max(steps, 1))


def _rise(step, warmup):
    """Linear from 0 to 1 over the first `warmup` steps."""
    return min(1.0, step / warmup) if warmup else 1.0


@schedule
def constant(step, steps, warmup=0):
    """1 after the warm-up."""
    return _ramp(step, warmup)


@schedule
def linear(step, steps, warmup=0, floor=0.0):
    """Linear decay from 1 after the warm-up to `floor` at the end."""
    return _ramp(step, warmup) * (1 - (1 - floor) * _progress(step, steps, warmup))


@schedule
def cosine(step, steps, warmup=0, floor=0.0):
    """Half a cosine from 1 after the warm-up to `floor` at the end.   Source: Loshchilov & Hutter 2017"""
    return _ramp(step, warmup) * (
        floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * _progress(step, steps, warmup)))
    )


@schedule
def bert(step, steps, warmup=0):
    """1 − x from step 0 on, x = step/steps; step/warmup takes its place during the warm-up, whose end is a jump down.

    Source: Devlin et al. 2019, the released code. Differs: none.
    """
    return step / warmup if step < warmup else _left(step, steps)


@schedule
def electra(step, steps, warmup=0):
    """(1 − x) · min(1, step/warmup), x = step/steps: no jump, and never quite 1.   Source: Clark et al. 2020, the code"""
    return _left(step, steps) * _rise(step, warmup)


@schedule
def xlnet(step, steps, warmup=0, floor=0.001):
    """step/warmup, then a linear decay from 1 that begins after the warm-up and ends at `floor` (min_lr_ratio).

    Source: Yang et al. 2019, the released code. Differs: none.
    """
    return step / warmup if step < warmup else 1 - (1 - floor) * _progress(step, steps, warmup)


@schedule
def warmup_linear(step, steps, warmup=0):
    """x/w · (1 − x) while x ≤ w, then 1 − x; x = step/steps, w = warmup/steps.   Source: Radford et al. 2018, the code"""
    return _left(step, steps) * _rise(step, warmup)


@schedule
def warmup_cosine(step, steps, warmup=0):
    """x/w while x ≤ w, then ½(1 + cos πx), x = step/steps (of all steps, so with a jump).   Source: as warmup_linear"""
    return (
        _rise(step, warmup)
        if step <= warmup and warmup
        else 0.5 * (1 + math.cos(math.pi * (1 - _left(step, steps))))
    )


@schedule
def warmup_constant(step, steps, warmup=0):
    """x/w while x ≤ w, then 1; x = step/steps.   Source: as warmup_linear"""
    return _rise(step, warmup)


@schedule
def slanted_triangular(step, steps, warmup=0, ratio=32):
    """(1 + p·(ratio − 1))/ratio; p rises from 0 to 1 over the warm-up and falls back to 0 at the end.

    warmup : the paper's cut, 0.1 of the steps there
    Source: Howard & Ruder 2018, section 3.2. Differs: none.
    """
    p = step / warmup if step < warmup else 1 - _progress(step, steps, warmup)
    return (1 + p * (ratio - 1)) / ratio
