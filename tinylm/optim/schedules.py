"""Learning-rate schedules: pure functions of the step that return a factor in [0, 1].

`step` counts from 0; `steps` is the length of the run; `warmup` is its first part, in steps.
"""

import math


def _ramp(step, warmup):
    """Linear from 1/warmup to 1 over the first `warmup` steps."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def _progress(step, steps, warmup):
    """How far the part after the warm-up has come, in [0, 1]."""
    return min(1.0, max(0.0, (step - warmup) / max(steps - warmup, 1)))


def constant(step, steps, warmup=0):
    """1 after the warm-up."""
    return _ramp(step, warmup)


def linear(step, steps, warmup=0, floor=0.0):
    """Linear decay from 1 after the warm-up to `floor` at the end."""
    return _ramp(step, warmup) * (1 - (1 - floor) * _progress(step, steps, warmup))


def cosine(step, steps, warmup=0, floor=0.0):
    """Half a cosine from 1 after the warm-up to `floor` at the end.   Source: Loshchilov & Hutter 2017"""
    return _ramp(step, warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * _progress(step, steps, warmup))))
