"""Floor 5: one chapter per system, in the order of history: from word2vec to ELECTRA.

base.py says what each of them promises.

>>> find("glove").unit
'squared error per cell'
"""

from .base import Objective, ObjectiveConfig, read_by
from .registry import by_model_type, find, is_student, names

__all__ = [
    "Objective",
    "ObjectiveConfig",
    "by_model_type",
    "find",
    "is_student",
    "names",
    "read_by",
]
