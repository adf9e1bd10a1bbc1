"""Floor 3: optimisers and learning-rate schedules. Read in this order: base.py, adamw.py, sgd.py, schedules.py."""

from . import schedules
from .adamw import Adam, AdamW
from .base import Optimizer, groups_by_name, layerwise
from .sgd import ASGD, SGD, Adagrad

OPTIMIZERS = {cls.__name__.lower(): cls for cls in (AdamW, Adam, SGD, ASGD, Adagrad)}  # as TrainConfig names them

__all__ = ["ASGD", "OPTIMIZERS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "groups_by_name", "layerwise", "schedules"]
