"""Floor 3: optimisers and learning-rate schedules. Read in this order: base.py, adamw.py, sgd.py, schedules.py."""

import inspect

from ..errors import TinylmError
from . import schedules
from .adamw import Adam, AdamW
from .base import Optimizer, groups_by_name, layerwise
from .schedules import SCHEDULES
from .sgd import ASGD, SGD, Adagrad

OPTIMIZERS = {
    cls.__name__.lower(): cls for cls in (AdamW, Adam, SGD, ASGD, Adagrad)
}  # as TrainConfig names them

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
    "groups_by_name",
    "layerwise",
    "schedules",
]


def build(name, params, settings, options):
    """The optimiser `name` of OPTIMIZERS for params, with those of `settings` (name -> value) that it knows, and `options`.

    raises TinylmError  if it does not know one of the options
    """
    known = inspect.signature(OPTIMIZERS[name]).parameters
    if unknown := sorted(options.keys() - known.keys()):
        raise TinylmError(
            f"{name} has no option {unknown[0]!r}; it knows {', '.join(list(known)[1:])}."
        )
    return OPTIMIZERS[name](
        params, **{key: value for key, value in settings.items() if key in known} | options
    )
