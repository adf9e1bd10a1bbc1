"""Learning-rate schedules: pure functions of the step that return a factor in [0, 1].

step : counts from 0     steps : length of the run     warmup : its first part, in steps

Ours begin at 1/warmup. The published ones follow their code: with a warm-up they begin at 0, so
that their first update changes nothing; only slanted_triangular begins at 1/ratio. In their
equations x = step/steps and w = warmup/steps.
An argument that is not finite or out of its range raises ArgumentError.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping

from tinylm.errors import ArgumentError
from tinylm.settings import argument, at_least, between

SCHEDULES = {}  # name -> schedule, as TrainConfig names them
RANGES = {
    "step": at_least(0),
    "steps": at_least(0),
    "warmup": at_least(0),
    "floor": between(0, 1),
    "ratio": at_least(1),
}


def schedule(function: Callable[..., float]) -> Callable[..., float]:
    """Decorator: put the function into SCHEDULES, and hold its arguments to RANGES.

    >>> SCHEDULES["constant"] is constant
    True
    """
    label = function.__name__
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*arguments, **named):
        given = dict(zip(names, arguments, strict=False)) | named
        for name, value in given.items():
            if name in RANGES:
                argument(label, name, value, float, RANGES[name])
        return function(*arguments, **named)

    SCHEDULES[label] = checked
    return checked


def check_options(name: str, options: Mapping[str, float]) -> None:
    """Check the further arguments of a schedule, those besides step, steps and warmup.

    name : a key of SCHEDULES
    raises ArgumentError    for an argument that it does not have, or a value out of its range

    >>> check_options("cosine", {"floor": 0.1})
    >>> check_options("constant", {"floor": 0.1})
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: The schedule constant has no option 'floor'; it has none.
    """
    parameters = inspect.signature(SCHEDULES[name]).parameters
    known = [each for each in parameters if each not in ("step", "steps", "warmup")]
    for option, value in options.items():
        if option not in known:
            has = ", ".join(known) or "none"
            raise ArgumentError(f"The schedule {name} has no option {option!r}; it has {has}.")
        argument(name, option, value, float, RANGES[option])


def multiplier(name: str, step: float, steps: int, warmup: float, **options: float) -> float:
    """The share of the peak rate at place `step` of `steps`, counted from 0.

    name : a key of SCHEDULES     warmup : share of the steps     options : as in `check_options`

    >>> multiplier("linear", 5, 10, warmup=0), multiplier("cosine", 10, 10, warmup=0, floor=0.25)
    (0.5, 0.25)
    """
    return SCHEDULES[name](step, steps, round(warmup * steps), **options)


def _ramp(step, warmup):
    """Linear from 1/warmup to 1 over the first `warmup` steps."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def _rise(step, warmup):
    """Linear from 0 to 1 over the first `warmup` steps."""
    return min(1.0, step / warmup) if warmup else 1.0


def _progress(step, steps, warmup):
    """The share of the part after the warm-up that is over, in [0, 1]."""
    done = (step - warmup) / max(steps - warmup, 1)
    return min(1.0, max(0.0, done))


def _left(step, steps):
    """The share of the run that is still to come, in [0, 1]: 1 − x."""
    return max(0.0, 1 - step / max(steps, 1))


@schedule
def constant(step: int, steps: int, warmup: int = 0) -> float:
    """1 after the warm-up.

    >>> [constant(step, 10, warmup=4) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return _ramp(step, warmup)


@schedule
def linear(step: int, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Linear decay from 1 after the warm-up to `floor` at the end.

    >>> [linear(step, 4) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    decayed = 1 - (1 - floor) * _progress(step, steps, warmup)
    return _ramp(step, warmup) * decayed


@schedule
def cosine(step: int, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Half a cosine from 1 after the warm-up to `floor` at the end.

    Source: Loshchilov & Hutter 2017.

    >>> [round(cosine(step, 4), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    angle = math.pi * _progress(step, steps, warmup)
    decayed = floor + (1 - floor) * 0.5 * (1 + math.cos(angle))
    return _ramp(step, warmup) * decayed


@schedule
def bert(step: int, steps: int, warmup: int = 0) -> float:
    """x/w during the warm-up, then 1 − x: the end of the warm-up is a jump down.

    Source: Devlin et al. 2019, the released code. Differs: none.
    """
    if step < warmup:
        return step / warmup
    return _left(step, steps)


@schedule
def electra(step: int, steps: int, warmup: int = 0) -> float:
    """(1 − x) · min(1, x/w): no jump, and never quite 1.

    Source: Clark et al. 2020, the released code.
    """
    return _left(step, steps) * _rise(step, warmup)


@schedule
def xlnet(step: int, steps: int, warmup: int = 0, floor: float = 0.001) -> float:
    """x/w during the warm-up, then a linear decay from 1 to `floor` (min_lr_ratio) at the end.

    Source: Yang et al. 2019, the released code. Differs: none.
    """
    if step < warmup:
        return step / warmup
    return 1 - (1 - floor) * _progress(step, steps, warmup)


@schedule
def warmup_linear(step: int, steps: int, warmup: int = 0) -> float:
    """x/w · (1 − x) while x ≤ w, then 1 − x.   Source: Radford et al. 2018, the released code"""
    return _left(step, steps) * _rise(step, warmup)


@schedule
def warmup_cosine(step: int, steps: int, warmup: int = 0) -> float:
    """x/w while x ≤ w, then ½(1 + cos πx); x counts the warm-up too, so there is a jump.

    Source: as warmup_linear.
    """
    if warmup and step <= warmup:
        return _rise(step, warmup)
    angle = math.pi * (1 - _left(step, steps))
    return 0.5 * (1 + math.cos(angle))


@schedule
def warmup_constant(step: int, steps: int, warmup: int = 0) -> float:
    """x/w while x ≤ w, then 1.   Source: as warmup_linear"""
    return _rise(step, warmup)


@schedule
def slanted_triangular(step: int, steps: int, warmup: int = 0, ratio: float = 32) -> float:
    """(1 + p·(ratio − 1))/ratio; p rises from 0 to 1 over the warm-up and falls back to 0.

    warmup : the paper's cut, 0.1 of the steps there
    Source: Howard & Ruder 2018, section 3.2. Differs: none.
    """
    if step < warmup:
        p = step / warmup
    else:
        p = 1 - _progress(step, steps, warmup)
    return (1 + p * (ratio - 1)) / ratio
