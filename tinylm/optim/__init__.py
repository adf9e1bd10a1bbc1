"""Floor 3: optimisers and learning-rate schedules.

Read in this order: flat.py, groups.py, base.py, adamw.py, sgd.py, schedules.py.

>>> import numpy as np
>>> from tinylm import nn
>>> weight = nn.Parameter(np.array([4.0]))
>>> optimizer = SGD([("weight", weight)], lr=0.1)
>>> (weight * weight).sum().backward()  # the gradient is 2 · 4
>>> optimizer.step()
>>> weight.data
array([3.2])
"""

import inspect
from typing import Any

from tinylm.errors import TinylmError

from . import schedules
from .adamw import Adam, AdamW
from .base import Optimizer
from .groups import Params, check_patterns, groups_by_name, layerwise
from .schedules import SCHEDULES
from .sgd import ASGD, SGD, Adagrad

OPTIMIZERS = {
    "adamw": AdamW,
    "adam": Adam,
    "sgd": SGD,
    "asgd": ASGD,
    "adagrad": Adagrad,
}  # by the names that TrainConfig takes

__all__ = [
    "ASGD",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "build",
    "check_patterns",
    "groups_by_name",
    "layerwise",
    "schedules",
]


def build(
    name: str, params: Params, settings: dict[str, Any], options: dict[str, Any]
) -> Optimizer:
    """The optimiser `name` of OPTIMIZERS for params.

    settings : name -> value; those that the optimiser does not know are left out
    options : name -> value, which win over settings
    raises TinylmError  if the optimiser does not know one of the options
    """
    optimizer = OPTIMIZERS[name]
    known = list(inspect.signature(optimizer).parameters)[1:]  # not the parameters themselves
    unknown = sorted(set(options).difference(known))
    if unknown:
        names = ", ".join(known)
        raise TinylmError(f"{name} has no option {unknown[0]!r}; it knows {names}.")
    chosen = {key: value for key, value in settings.items() if key in known}
    return optimizer(params, **chosen | options)
